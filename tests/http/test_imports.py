from __future__ import annotations

import subprocess
import sys

FRAMEWORKS = {"starlette", "fastapi", "litestar", "flask", "django", "werkzeug", "limits"}


def loaded_by(code: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after ``code``."""
    run = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    return set(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_library_loads_no_middleware() -> None:
    loaded = loaded_by("import fusion_store")
    assert "fusion_store" in loaded
    assert not [name for name in loaded if name.startswith(("fusion_store.http", "fusion_store.integrations"))]


def test_the_middlewares_load_no_framework() -> None:
    loaded = loaded_by("import fusion_store.http, fusion_store.integrations")
    assert "fusion_store.http" in loaded
    assert FRAMEWORKS & loaded == set()


def test_rate_limits_without_their_library_say_what_to_install() -> None:
    code = (
        "sys.modules['limits'] = None; import fusion_store as f; from fusion_store.http import *\n"
        "try: BearerAuthMiddleware(None, f.get_repository('memory://'), rate_limit=RateLimit(per_tenant='1/second'))\n"
        "except f.ConfigError as error: assert 'fusion-store[http]' in str(error)\n"
        "else: raise SystemExit('passed')"
    )
    subprocess.run([sys.executable, "-c", f"import sys; {code}"], check=True)


def test_a_storage_for_coroutines_is_refused_by_an_optimizing_interpreter_too() -> None:
    code = (
        "from fusion_store import ConfigError; from fusion_store.http._limits import Limiter, RateLimit\n"
        "try: Limiter(RateLimit(per_tenant='1/second', storage='async+memory://'))\n"
        "except ConfigError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-O", "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.startswith("storage: ")
