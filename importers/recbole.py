"""RecBole's atomic files: NAME.inter and NAME.item, tab-separated, each field of the header with its type.

Of benchmark files the name says the part: NAME.train.inter, NAME.valid.inter, NAME.test.inter. MMRec's NAME.inter has
no types, and the part in its field x_label.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dataset.splits import PARTS
from dataset.tables import on_one_line
from dataset.tags import parse_tags
from importers.columns import entries_by, guess, is_index, titles_by
from importers.common import ENTRY_COLUMNS, TITLE_COLUMNS, Files, Format, Options
from importers.layout import Layout, told
from importers.sheets import Sheet, bare_name, files_in, header, sibling_sheet

log = logging.getLogger("aglrec")

TYPE = re.compile(r":(token|token_seq|float|float_seq)$")


def find(source: Path) -> Files | None:
    """Find the .inter files of a data set, which may be in parts, and its .item file; of several sets the first.

    Raises:
        ValueError: beside the parts of a split stands a file of other rows, perhaps all of them.
    """
    files = [path for path in files_in(source) if bare_name(path).endswith((".inter", ".item")) and _fields(path)]
    sets = {path: _name_of_set(path) for path in files}
    # beside train.inter, whatever its name is, a .item file is of the same set
    of_first = [path for path in files if files[0].parent in sets.values() or sets[path] == sets[files[0]]]
    found = Files(
        *(tuple(path for path in of_first if bare_name(path).endswith(ending)) for ending in (".inter", ".item"))
    )
    others = [path.name for path in found.lists if not _part_of(path)]
    if 0 < len(others) < len(found.lists):
        parts = ", ".join(path.name for path in found.lists if _part_of(path))
        raise ValueError(
            f"{source} has {parts}, which are parts of a split, and {', '.join(others)}; name the files of the one or "
            "of the other, and the .item file"
        )
    return found if any(found) else None


def _name_of_set(path: Path) -> Path:
    """Return the path up to the first dot: ml-100k.part1.inter is of ml-100k; train.inter beside test.inter of all."""
    return path.parent if _part_of(path) and path.name.count(".") == 1 else path.with_name(path.name.split(".")[0])


def _part_of(path: Path) -> str:
    """Return the part that the name of a benchmark file says, "" if it says none."""
    *names, last = bare_name(path).split(".")[:-1]
    is_part = names or all(sibling_sheet(path, f"{part}.inter") for part in ("train", "test"))
    return last if last in PARTS and is_part else ""


def read_lists(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read a .inter file."""
    columns, part = _columns(path, options, ENTRY_COLUMNS, ("user_id", "subject_id")), _part_of(path)
    if not part and bare_name(path).count(".") > 1 and "part" not in columns:
        log.warning(
            f"{path.name}: its name says no part of a split; should it be one, call it .train, .valid or .test.inter"
        )
    for chunk in entries_by(columns, _sheet(path), "a .inter file"):
        yield chunk.assign(part=part) if part else chunk


def read_titles(path: Path, options: Options, counts: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Read a .item file."""
    columns = _columns(path, options, TITLE_COLUMNS, ("subject_id",))
    yield from titles_by(columns, _sheet(path), _tokens, "a .item file")


def tell(path: Path, options: Options) -> list[str]:
    """Say which fields of a file are taken for what."""
    wanted = ENTRY_COLUMNS if ".inter" in bare_name(path) else TITLE_COLUMNS
    return told(path, Layout(_sheet(path), _columns(path, options, wanted, ("subject_id",))))


def _columns(path: Path, options: Options, wanted: tuple[str, ...], needed: tuple[str, ...]) -> dict[str, str]:
    """Find which field holds what, types as in the header."""
    fields = _fields(path)
    if not fields:
        raise ValueError(
            f"{path} line 1: not all fields have a type; give an atomic file of RecBole, whose header is "
            "like user_id:token, item_id:token, tab-separated"
        )
    found = {ours: fields.get(name, name) for ours, name in guess(list(fields), options.columns, wanted).items()}
    for ours in needed:
        if ours not in found:
            raise ValueError(
                f"{path} line 1: which field is the {ours}? (found: {on_one_line(', '.join(fields))}); call "
                f"it {ours.replace('subject', 'item')}:token"
            )
    return found


def _fields(path: Path) -> dict[str, str]:
    """Return the fields of a header, name -> name:type; none if it is of another format."""
    names = [name for name in header(_sheet(path)) if not is_index(name)]
    if not any(map(TYPE.search, names)) and {"user_id", "subject_id", "part"} <= set(guess(names, {}, ENTRY_COLUMNS)):
        return {name: name for name in names}  # MMRec's
    return {TYPE.sub("", name): name for name in names} if all(map(TYPE.search, names)) else {}


def _sheet(path: Path) -> Sheet:
    return Sheet(path, "\t", quoted=False)


def _tokens(cell: str) -> list[str]:
    """Split a token_seq: by spaces, but what has commas by commas, and each may stand in quotes; or a list as code."""
    if cell.startswith(("[", "{")):
        return parse_tags(cell)
    return [token.strip(" '\"") for token in (cell.split(",") if "," in cell else cell.split())]


FORMATS = (
    Format(
        "recbole",
        "RecBole's atomic files: NAME.inter or its parts, NAME.item; MMRec's .inter",
        find,
        read_lists,
        read_titles,
        tell=tell,
        takes="rates of any scale (0 is unrated, below 0 a dislike), times in any form and comments, by "
        "usual names of fields",
    ),
)
