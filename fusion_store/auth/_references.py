"""References to secrets, which stand elsewhere and are read when they are needed."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from fusion_store._errors import ConfigError, PermissionDenied

MAX_SECRET_BYTES: Final = 64 * 1024

_read_reference: Final = re.compile(r"env:(?P<env>[A-Za-z_][A-Za-z0-9_]*)|file:(?P<file>[^\0]+)").fullmatch


def is_reference(text: str) -> bool:
    """Whether a text is ``env:NAME`` or ``file:PATH``."""
    return _read_reference(text) is not None


def beside(reference: str, folder: Path) -> str:
    """A reference whose relative path is taken from ``folder``; any other text as it is."""
    match = _read_reference(reference)
    return f"file:{folder / match['file']}" if match and match["file"] else reference


def resolve(reference: str, field: str) -> str:
    """The secret: printable ASCII, of a file all but its outer white space.

    ``ConfigError`` naming ``field`` and the variable or file when there is none, ``PermissionDenied`` when others than
    the file's owner and group can use it.
    """
    match = _read_reference(reference)
    if match is None:
        raise ConfigError(f"{field}: must be env:NAME or file:PATH")
    value = os.environ.get(match["env"], "") if match["env"] else _read_file(match["file"], field)
    if not value:
        raise ConfigError(f"{field}: {reference} is empty or not set")
    if not re.fullmatch(r"[\x20-\x7e]+", value):
        raise ConfigError(f"{field}: {reference} isn't printable ASCII")
    return value


def _read_file(path: str, field: str) -> str:
    try:
        # A named pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        raise PermissionDenied(f"{field}: file:{path} can't be read") from None
    except OSError as error:
        raise ConfigError(f"{field}: file:{path} can't be read: {error.strerror}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise ConfigError(f"{field}: file:{path} isn't a file")
    with os.fdopen(descriptor, "rb") as file:
        if mode & stat.S_IRWXO:
            raise PermissionDenied(f"{field}: everybody can use file:{path}: chmod o= {Path(path).name!r}")
        content = file.read(MAX_SECRET_BYTES + 1)
    if len(content) > MAX_SECRET_BYTES:
        raise ConfigError(f"{field}: file:{path} is too long for a secret")
    return content.decode("latin-1").strip()
