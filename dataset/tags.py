"""Cells of tags in the forms that people have them in: text with separators, lists, and objects that have a name."""

import ast
import csv
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

# the full-width bar and the ideographic space part tags as their ASCII kin do; a plain space, "/" and "・" are inside
# of tags ("slice of life", "Sci-Fi/Fantasy", "ボーイズ・ラブ"), but " / " parts genres on Douban
SEPARATORS = re.compile(r"[,;|、，；｜\u3000\r\n\t]|\s[/•·]\s")
HASHES, BRACKETED = re.compile(r"(?:#[^\s#]+#?\s*)+"), re.compile(r"(?:【[^【】]+】\s*)+")
# {"name": "TV", "count": 12} of Bangumi's archive, {"id": 16, "name": "Animation"} of TMDB, and their kin
NAME_KEYS = ("name", "tag", "tag_name", "tagname", "title", "label", "description", "value", "text")
# whole cells that say there is none, as str() of pandas and Python writes it
NOTHING = ("", "nan", "none", "null", "<na>", "-", "--", "n/a", "#n/a", "undefined", "无", "無", "なし")
ENTITY = re.compile(r"&(?:#\d+|#x[\da-f]+|[a-z]+\d*);", re.IGNORECASE)
QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
TOKEN = re.compile(rf"({QUOTED})|([\[({{])|([\])}}])|([,:])|([^\s\[\](){{}},:'\"]+)", re.DOTALL)
WORDS = {"null": "None", "none": "None", "nan": "None", "true": "True", "false": "False"}
# what numpy and Python write around a list, outside of quoted texts
MAKER = r"(?:(?:np\.|numpy\.)?array|list|tuple|set|frozenset|Index|deque|Counter|dict_keys|dict_values)"
MAKERS = re.compile(rf"({QUOTED})|\b{MAKER}(?=\()|,\s*dtype=[^)\]]*(?=\))", re.DOTALL)
LITERAL = re.compile(rf"\s*{MAKER}?\(?\s*(?:[\[{{]|{QUOTED})", re.DOTALL)
ARRAY = re.compile(r"\{[^{}:'\[\]]+\}")  # PostgreSQL's {Action,"Slice of Life"}
# what Python and pandas write of an object that has no form as text, and an element of HTML
OF_OBJECT = re.compile(r"<[a-z_][\w.]*(?:[ :].*)?>|[a-z_][\w.]*\(\s*[\[({].*|.*\bdtype: \w+", re.IGNORECASE | re.DOTALL)
# what is left of an object that was taken for text, or parted at its commas
PIECE = re.compile(
    r"""^[\[{(]*\s*(['"])[\w ]+\1\s*:|^[\[{(]+\s*(['"])[^'"]*\2?$"""
    r"""|^[^\[({]*['"]\s*[\]})]+$|(?:\d|None|null)\s*\}[\])]*$"""
)
OBJECT = re.compile(r"""\{\s*['"][^'"]*['"]\s*:""")
DEPTH = 4  # a list as text in a list as text and so on


def parse_tags(cell: str) -> list[str]:
    """Parse a cell of tags: a list as JSON, Python or numpy write it, of texts or objects, or text with separators.

    Raises:
        ValueError: the cell holds something, but no tag can be read from it.
    """
    cell = ENTITY.sub(lambda found: html.unescape(found[0]), cell) if "&" in cell else cell
    if cell.casefold() in NOTHING:
        return []
    if ARRAY.fullmatch(cell):
        return [tag for tag in _on_one_line(next(csv.reader([cell[1:-1]], escapechar="\\"))) if tag != "NULL"]
    try:
        if LITERAL.match(cell) and (tags := _literal(cell, DEPTH)) is not None:
            return tags
    except ValueError as error:
        raise _unread(cell, f" ({error})") from None
    tags = _parted(cell)
    is_object = OF_OBJECT.fullmatch(cell) or holds_objects(cell) or cell[0] in "{(" and is_piece(cell)
    if not tags or cell.startswith("[") or is_object:
        raise _unread(cell)
    return tags


def tag_names(value: Any) -> list[str]:
    """Name the tags of a value as JSON has it: a text, an object with a name, or any nesting of lists of these.

    Raises:
        ValueError: an object has no name.
    """
    try:
        return _on_one_line(_names(value, DEPTH))
    except RecursionError:
        raise ValueError("tags are nested too deeply") from None


def is_piece(tag: str) -> bool:
    """Tell whether a tag is an object that was taken for text, or a part of one."""
    return PIECE.search(tag) is not None


def holds_objects(cell: str) -> bool:
    """Tell whether a cell of tags holds objects."""
    return OBJECT.search(cell) is not None


def _unread(cell: str, why: str = "") -> ValueError:
    return ValueError(
        f'no tag can be read from tags_name {cell[:60]!r}{why}; write a JSON list like ["a", "b"], or tags separated '
        "by commas, or leave it empty"
    )


def _on_one_line(tags: Iterable[str]) -> list[str]:
    """Return what is not empty; a tag is a line in a Dataset, so line ends are spaces."""
    return [one for tag in tags if (one := " ".join(tag.splitlines()).strip())]


def _parted(cell: str) -> list[str]:
    if HASHES.fullmatch(cell):
        return _on_one_line(re.split(r"[\s#]+", cell))
    if BRACKETED.fullmatch(cell):
        return _on_one_line(re.split("[【】]", cell))
    return _on_one_line(SEPARATORS.split(cell))


def _literal(cell: str, depth: int) -> list[str] | None:
    """Return the tags of a list or object as a program writes it, None if the cell is none.

    Raises:
        ValueError: an object has no name.
    """
    for parse in (json.loads, _evaluated, _undoubled):
        try:
            value = parse(cell)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        try:
            return _on_one_line(_names(value, depth))
        except RecursionError:
            return None
    return None


def _evaluated(cell: str) -> Any:
    """Evaluate what Python or numpy prints, and lists without brackets; commas may be missing between values.

    numpy parts the values of a list by spaces, ['Action' 'Comedy'], which Python alone would read as one text.
    """
    written, after_value, end = [], False, -1
    for token in TOKEN.finditer(MAKERS.sub(lambda found: found[1] or "", cell)):
        quoted, opens, _, mark, word = token.groups()
        if quoted and token.start() == end:
            raise ValueError("two texts with nothing between them")
        end = token.end() if quoted else -1
        if after_value and (quoted or opens or word):
            written.append(",")
        written.append(WORDS.get(word.casefold(), word) if word else token[0])
        after_value = not (opens or mark)
    return ast.literal_eval(f"[{' '.join(written)}]")


def _undoubled(cell: str) -> Any:
    """Read JSON whose quotes are still doubled, as a CSV has them."""
    return json.loads(re.sub(r'^"(.*)"$', r"\1", cell, flags=re.DOTALL).replace('""', '"'))


def _names(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _names_of_object(value, depth)
    elif isinstance(value, (list, tuple)):
        counted = bool(value) and all(map(_text_of, value))
        for part in value:
            yield from _names(_text_of(part) if counted else part, depth)
    elif isinstance(value, (set, frozenset)):
        yield from _names(sorted(value, key=str), depth)  # a set has no order of its own
    elif isinstance(value, str):
        text = value.strip()
        is_written = LITERAL.match(text) and re.search(r"""['"].*[\]})'"]$""", text, re.DOTALL)  # not "[2020]"
        nested = _literal(text, depth - 1) if depth and is_written else None
        if nested is None and OBJECT.match(text):
            raise ValueError("an object in it is not whole")
        yield from [text] if nested is None else nested
    elif value is not None and value is not ... and value == value:
        yield str(value).strip()


def _text_of(part: Any) -> str:
    """Return the text of a pair of a text and a number, as of a Counter's most_common; "" of all else."""
    if not isinstance(part, (list, tuple)) or {*map(type, part)} not in ({str, int}, {str, float}) or len(part) != 2:
        return ""
    return next(one for one in part if isinstance(one, str))


def _names_of_object(found: dict[Any, Any], depth: int) -> Iterator[str]:
    """Yield the name of an object; else the keys of {tag: count}, or the values of {id: tag}."""
    by_key = {str(key).casefold(): value for key, value in found.items()}
    name = next((by_key[key] for key in NAME_KEYS if key in by_key), None)
    if name is not None:
        yield from _names(name, depth)
    elif found and all(isinstance(value, (int, float)) for value in found.values()) and "id" not in by_key:
        yield from map(str.strip, map(str, found))
    elif found and all(isinstance(value, str) and re.search(r"[\d/]", str(key)) for key, value in found.items()):
        yield from map(str.strip, found.values())
    elif found and not set(NAME_KEYS) & set(by_key):
        raise ValueError(f"an object has no name, only {' '.join(', '.join(map(str, list(found)[:3])).split())}")
