"""Objects of JSON as rows of a table: an object a line, or a list of them, as a csv reader gives rows."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from runtime.safe_files import parse_json

JSON = "{"  # in the place of a delimiter
DECODER = json.JSONDecoder()


class JsonRows:
    """Rows of some keys of objects, a key that one lacks being empty; line_num is the line that was read last."""

    def __init__(self, lines: Iterable[str], path: Path, names: tuple[str, ...]) -> None:
        self.line_num = 0
        self.rows = ([text_of(found.get(name)) for name in names] for found in self._objects(lines, path))

    def __iter__(self) -> Iterator[list[str]]:
        return self.rows

    def _objects(self, lines: Iterable[str], path: Path) -> Iterator[dict[str, Any]]:
        for self.line_num, found in objects(lines, path):
            yield found


def objects(lines: Iterable[str], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file and the lines on which they end.

    Raises:
        ValueError: something in it is no object.
    """
    lines = enumerate(lines, start=1)
    for number, line in lines:
        if not line.strip():
            continue
        if line.lstrip().startswith("["):
            yield from _listed(line + "".join(rest for _, rest in lines), number, path)
            return
        try:
            found = parse_json(line)
        except ValueError as error:
            raise _no_object(path, number, str(error)) from None
        yield number, _checked(path, number, found)


def _listed(text: str, number: int, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a list, as they come."""
    place = text.index("[") + 1
    while True:
        start = place
        while place < len(text) and text[place] in " \t\r\n,":
            place += 1
        if text[place : place + 1] in ("]", ""):
            if not text[place:]:
                raise _no_object(path, number, "the list does not end")
            return
        try:
            found, place = DECODER.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise _no_object(path, number + text.count("\n", start, place), str(error)[:80]) from None
        number += text.count("\n", start, place)
        yield number, _checked(path, number, found)


def _checked(path: Path, number: int, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise _no_object(path, number, f"{str(found)[:40]!r}")
    return found


def _no_object(path: Path, number: int, what: str) -> ValueError:
    return ValueError(
        f"{path} line {number}: no object of JSON ({' '.join(what.split())}); give an object a line, or a list of "
        "objects, whole and as it was saved"
    )


def text_of(value: Any) -> str:
    """Write a value as a CSV would have it; lists and objects as JSON."""
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
        return text_of(next(iter(value.values())))  # {"$date": "2021-08-15"}, as MongoDB writes values
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)
