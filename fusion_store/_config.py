"""Where the vault lies when nobody says: environment variables and the data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fusion_store._errors import ConfigError

URL_VARIABLE: Final = "FUSION_STORE_URL"
DATA_DIR_VARIABLE: Final = "FUSION_STORE_DATA_DIR"
KEYS_VARIABLE: Final = "FUSION_STORE_KEYS"
KEY_FILE_VARIABLE: Final = "FUSION_STORE_KEY_FILE"
CIPHER_VARIABLE: Final = "FUSION_STORE_CIPHER"
ACTOR_VARIABLE: Final = "FUSION_STORE_ACTOR"
AUDIT_VARIABLE: Final = "FUSION_STORE_AUDIT"
AUDIT_SINK_VARIABLE: Final = "FUSION_STORE_AUDIT_SINK"
AUDIT_ATTEMPTS_VARIABLE: Final = "FUSION_STORE_AUDIT_ATTEMPTS"
AUDIT_SAMPLE_VARIABLE: Final = "FUSION_STORE_AUDIT_SAMPLE"
_SYSTEM_DATA_DIR: Final = Path("/opt/fusion-store")
_DEFAULT_FILE: Final = "fusion-store.db"


def default_url() -> str:
    """``FUSION_STORE_URL``; without it, SQLite in the data directory."""
    return os.environ.get(URL_VARIABLE) or sqlite_url(data_directory())


def sqlite_url(directory: Path) -> str:
    """The URL of the SQLite vault in a directory."""
    return f"sqlite:///{quote(str(directory.absolute() / _DEFAULT_FILE))}"


def data_directory() -> Path:
    """``FUSION_STORE_DATA_DIR``; else ``/opt/fusion-store`` where that stands and can be written; else the
    user's data directory. It may not exist yet."""
    if given := os.environ.get(DATA_DIR_VARIABLE):
        return Path(given)
    if _SYSTEM_DATA_DIR.is_dir() and os.access(_SYSTEM_DATA_DIR, os.W_OK | os.X_OK):
        return _SYSTEM_DATA_DIR
    from platformdirs import user_data_path

    try:
        return user_data_path("fusion-store", appauthor=False)
    except RuntimeError:
        raise ConfigError(f"no home directory: set {DATA_DIR_VARIABLE} or {URL_VARIABLE}") from None
