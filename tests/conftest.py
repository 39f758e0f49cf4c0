"""What a driver or server is missing for is left out, and the summary says so."""

import os
import shutil
from importlib.util import find_spec

import pytest

from tests.chaos.instances import SERVERS
from tests.crash.surroundings import can_mount, can_trace
from tests.integrations.peers import KEY_VALUE, MCP_SDK, PEER_TESTS_VARIABLE
from tests.servers.databases import VARIABLES, server_url

_NO_DRIVER = find_spec("plyvel") is None
_NO_KMS = not all(find_spec(name) for name in ("boto3", "moto", "flask", "flask_cors"))
_HTTP_PACKAGES = ("blockbuster", "django", "fastapi", "flask", "limits", "litestar", "uvicorn", "websockets")
_NO_HTTP = not all(find_spec(name) for name in (*_HTTP_PACKAGES, "httpx2"))
_NO_REDIS = shutil.which("redis-server") is None or find_spec("redis") is None
_PEERS = (
    "fastmcp",
    "httpx",
    "httpx2",
    "key_value",
    "mcp",
    "opentelemetry",
    "prometheus_client",
    "requests_oauthlib",
)
_NO_INTEGRATIONS = _NO_HTTP or not all(find_spec(name) for name in _PEERS)
_NO_NODE = not all(shutil.which(name) for name in ("node", "npm"))
# Its packages come from npm's registry, so it has to be asked for.
_NO_PROVIDER = _NO_NODE or os.environ.get("FUSION_STORE_TEST_PROVIDER") != "1"

_NO_SERVER = [server for server in VARIABLES if server_url(server) is None]

_NO_INSTANCE = [server for server in VARIABLES if server not in SERVERS]

collect_ignore = [
    *["leveldb"] * _NO_DRIVER,
    *["kms"] * _NO_KMS,
    *["http"] * _NO_HTTP,
    *["http/test_shared_limits.py"] * _NO_REDIS,
    *["integrations"] * _NO_INTEGRATIONS,
    *["provider"] * _NO_PROVIDER,
    *["servers", "cache/test_frozen.py", "fuzz/test_server_rows.py"] * (len(_NO_SERVER) == len(VARIABLES)),
    *["chaos"] * (not SERVERS),
    *["crash"] * ("FUSION_STORE_TEST_CRASH" not in os.environ),
    *["mutation"] * ("FUSION_STORE_TEST_MUTATION" not in os.environ),
    *["soak"] * ("FUSION_STORE_TEST_SOAK_SECONDS" not in os.environ),
]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _NO_DRIVER:
        terminalreporter.section("LevelDB was left out")
        terminalreporter.line("Its driver, plyvel, isn't installed and has no wheel for every Python. To build it:")
        terminalreporter.line("    apt install libleveldb-dev g++ python3-dev")
        terminalreporter.line("    pip install plyvel")
    if _NO_KMS:
        terminalreporter.section("AWS KMS was left out")
        terminalreporter.line("boto3 or the server its tests run against isn't installed. To install them:")
        terminalreporter.line("    pip install boto3 'moto[kms]' flask flask-cors")
    if _NO_HTTP:
        terminalreporter.section("The HTTP middlewares were left out")
        terminalreporter.line("A framework, the server or a client isn't installed. To install them:")
        terminalreporter.line("    pip install 'fusion-store[http-testing]'")
    if _NO_REDIS:
        terminalreporter.section("Rate limits in Redis were left out")
        terminalreporter.line("The server (redis-server, started on a free port) or its client isn't installed:")
        terminalreporter.line("    apt install redis-server")
        terminalreporter.line("    pip install 'limits[redis]'")
    if _NO_INTEGRATIONS:
        terminalreporter.section("The adapters for other libraries were left out")
        terminalreporter.line("One of the libraries, or a server for them, isn't installed. To install them:")
        terminalreporter.line("    pip install 'fusion-store[integrations-testing]'")
    left_out = [name for name, checkout in (("py-key-value", KEY_VALUE), ("the MCP SDK", MCP_SDK)) if checkout is None]
    if left_out and not _NO_INTEGRATIONS:
        terminalreporter.section(f"Tests of other libraries were left out: {', '.join(left_out)}")
        terminalreporter.line("They are in no package. To run them, name checkouts of the repositories:")
        terminalreporter.line(
            f"    {PEER_TESTS_VARIABLE}=../py-key-value:../python-sdk python -m pytest tests/integrations"
        )
    if _NO_PROVIDER:
        terminalreporter.section("The OpenID provider was left out")
        terminalreporter.line("It runs on Node.js, and npm fetches it. With both, and the network, to test against it:")
        terminalreporter.line("    FUSION_STORE_TEST_PROVIDER=1 python -m pytest tests/provider")
    if not can_trace():
        terminalreporter.section("Kills and failures at system calls were left out")
        terminalreporter.line(
            "strace isn't installed, or may not trace other processes here (kernel.yama.ptrace_scope)."
        )
    if not can_mount():
        terminalreporter.section("A real full disk was left out")
        terminalreporter.line("Only root may mount the small file system that it needs.")
    if _NO_INSTANCE:
        terminalreporter.section(f"Servers to be killed were left out: {', '.join(_NO_INSTANCE)}")
        terminalreporter.line(
            "Their drivers and their programs (initdb, postgres; mariadb-install-db, mariadbd) have to be"
        )
        terminalreporter.line("installed; they are started on free ports, with data of their own.")
    if _NO_SERVER:
        terminalreporter.section(f"Servers left out: {', '.join(_NO_SERVER)}")
        terminalreporter.line("To test on one, name a database whose user may create and drop others:")
        for server in _NO_SERVER:
            terminalreporter.line(f"    {VARIABLES[server]}={server}://user@host/database")
