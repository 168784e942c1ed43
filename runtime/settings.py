"""What a setting is: its default, meaning and legal values, and how a value is read, checked and written."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Legal(NamedTuple):
    """What a value has to be, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


class Setting(NamedTuple):
    """A setting: meaning is for one line of help, more for --help KEY."""

    default: Any
    meaning: str
    legal: Legal
    more: str = ""
    runtime: bool = False  # moves files or works around without changing any number


def one_of(*choices: str) -> Legal:
    """Return what is legal where a setting takes one of some words."""
    return Legal(" | ".join(choices), lambda value: value in choices, choices)


def within(words: str, holds: Callable[[Any], bool]) -> Legal:
    """Return what is legal where a setting takes a finite number of some range."""
    return Legal(words, lambda value: math.isfinite(value) and holds(value))


AT_LEAST_1 = within("at least 1", lambda value: value >= 1)
NOT_NEGATIVE = within("0 or more", lambda value: value >= 0)
POSITIVE = within("above 0", lambda value: value > 0)
OR_CHOSEN = within("0 or more, or -1 to have it chosen on valid", lambda value: value >= 0 or value == -1)
ANY_NUMBER = within("a number", lambda value: True)
BELOW_1 = within("from 0 to below 1", lambda value: 0 <= value < 1)
SHARE = within("a share, from 0 to 1", lambda value: 0 <= value <= 1)
PART = within("above 0 and below 1", lambda value: 0 < value < 1)
BOOL = Legal("true | false", lambda value: True)
TEXT = Legal("text", lambda value: True)
CUTOFFS = Legal("whole numbers of at least 1, like 10,20", lambda value: bool(value) and min(value) >= 1)

ENCODING = Legal("empty, or an encoding, such as gb18030", lambda value: not value or is_encoding(value))

LARGEST = 2**32  # of whole numbers: what seeds and sizes are put into ends not far above


def is_encoding(name: str) -> bool:
    """Tell whether text can be read in an encoding of this name."""
    try:
        return "a,1\n".encode(name).decode(name) == "a,1\n"
    except (LookupError, ValueError):
        return False


def as_argument(value: Any) -> str:
    """Write a value as the command line takes it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def check(key: str, setting: Setting, value: Any) -> None:
    """Raise ValueError if a value is not legal for a setting."""
    if setting.legal.holds(value):
        return
    if setting.legal.choices:
        raise ValueError(f"{key} is {value!r}; use one of: {', '.join(setting.legal.choices)}")
    text = as_argument(value) or "empty"
    raise ValueError(f"{key} is {text if text.isprintable() else repr(text)}; it must be {setting.legal.words}")


def parse_value(key: str, default: Any, value: Any) -> Any:
    """Return a setting's value in the type of its default; text from the command line is read, nothing is guessed.

    Raises:
        ValueError: it is of another type.
    """
    try:
        if isinstance(default, bool):
            return _as_bool(value)
        if isinstance(default, int):
            return _as_int(value)
        if isinstance(default, float):
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        if isinstance(default, list):
            return [_as_int(v) for v in (value.split(",") if isinstance(value, str) else value)]
    except (TypeError, ValueError, OverflowError):
        kind = {
            bool: "true or false",
            int: f"a whole number below {LARGEST:,}",
            float: "a number",
            list: "whole numbers like 10,20",
        }
        raise ValueError(f"{key} takes {kind[type(default)]}, not {value!r}") from None
    if not isinstance(value, str):
        raise ValueError(f"{key} takes text like {default!r}, not {value!r}")
    return value


def _as_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise ValueError
    return words[str(value).lower()]


def _as_int(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    if abs(number := int(value)) >= LARGEST:
        raise ValueError
    return number
