"""JSON without the doubtful parts: no key twice, no NaN or infinity, nesting within what the parser can bear."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

from fusion_store._errors import InvalidInput


class _Doubtful(ValueError):
    pass


def read_json(text: bytes, field: str, most: int) -> Any:
    """The value of a JSON text of at most ``most`` bytes of UTF-8; ``InvalidInput`` for ``field`` when it has none."""
    if len(text) > most:
        raise InvalidInput(field, f"has more than {most} bytes")
    try:
        return _decode(text.decode())
    except _Doubtful as error:
        reason = str(error)
    except RecursionError:
        reason = "is nested too deeply"
    except ValueError:
        reason = "isn't JSON in UTF-8"
    # Not within the handlers: the parser's errors hold the text.
    raise InvalidInput(field, reason)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise _Doubtful("has a key twice in one object")
    return result


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _constant(text)
    return number


def _constant(_name: str) -> NoReturn:
    raise _Doubtful("has NaN or an infinite number")


_decode: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float).decode
