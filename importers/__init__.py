"""Readers of the exports, dumps and data sets that people have; tools/convert.py turns them into AGLRec's files.

A module per family of formats, each with a tuple FORMATS of common.Format. recognise() tells which format a file or
folder has; read_export() reads the list of one person; importers.pipeline makes a data folder.
"""

import difflib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from dataset.tables import PACKED, on_one_line, open_bytes
from dataset.times import Unknown
from importers.columns import guess
from importers.common import (
    ENTRY_COLUMNS,
    NO_OPTIONS,
    Files,
    Format,
    Options,
    Source,
    chunks_of,
    count,
    first_text,
    remarks_of,
    unmarked,
)
from importers.json_lines import names_of
from importers.kinds import OTHER, refusal
from importers.lists import lists_of
from importers.nameless import PREFIX
from importers.owners import own_name, told_apart
from importers.scale import read_scale
from runtime.packings import members

# asked in this order: json_lines and pairs accept any table, so they come last
MODULES = (
    "bangumi",
    "bangumi_tables",
    "bangumi_tool",
    "catalogues",
    "mal",
    "anilist",
    "anilist_download",
    "trackers",
    "yamtrack",
    "kaggle",
    "movielens",
    "recbole",
    "published",
    "amazon",
    "json_lines",
    "pairs",
)
ANY_TABLE = ("json-lines", "pairs")
FORMATS: dict[str, Format] = {
    made.name: made for module in MODULES for made in import_module(f"importers.{module}").FORMATS
}
# the most that a single person's list may take, unpacked: the longest known ones are a tenth of it
EXPORT_MB = 64


def recognise(path: Path, name: str = "auto") -> tuple[Format, Files]:
    """Tell the format of a file or folder by its names and first bytes.

    Args:
        path: a file, folder or zip.
        name: the format it must have; "auto" for the first that knows it.

    Raises:
        FileNotFoundError, ValueError: there is nothing, or nothing of this format (or any); the message says what is.
    """
    if name != "auto" and name not in FORMATS:
        near = difflib.get_close_matches(name, ["auto", *FORMATS], n=1, cutoff=0.0)
        raise ValueError(
            f"there is no format {name!r}, the nearest is {near[0]}; use auto or one of: {', '.join(FORMATS)}"
        )
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; name a file or folder to read")
    members(path)  # says what is wrong with a file that no format could look into
    found = (
        (made, files)
        for made in (FORMATS.values() if name == "auto" else [FORMATS[name]])
        if (files := made.find(path)) is not None
    )
    first = next(found, None)
    if first is not None:
        _refuse_a_mixture(path, first, found)
        return first
    wanted = "which no format reads" if name == "auto" else f"which is not {name}"
    raise ValueError(f"{path} {_seen(path)}, {wanted}; use a file of one of: {', '.join(FORMATS)}")


def as_lists(sources: list[Source], options: Options) -> list[Source]:
    """Return sources, tables of titles among them as lists too where options say whose they are.

    They do so by the name of the column of users or, where no source has lists, by a user.
    """
    users, is_lacking = options.columns.get("user_id", ""), not any(files.lists for _, files in sources)
    found = []
    for made, files in sources:
        if made.name in ANY_TABLE and not files.lists:
            names = {file: names_of(file) for file in files.titles}
            of_user = is_lacking and options.user != ""
            is_list = (
                users in held or of_user and bool({"rate", "status"} & set(guess(held, options.columns, ENTRY_COLUMNS)))
                for held in names.values()
            )
            files = files._replace(lists=tuple(compress(names, is_list)))
        found.append((made, files))
    return found


def _refuse_a_mixture(path: Path, first: tuple[Format, Files], others: Iterator[tuple[Format, Files]]) -> None:
    """Raise if a folder has files of a second format, which would be left out without a word."""
    if path.is_dir():
        for other, files in others:
            if other.name not in ANY_TABLE and not {*files.lists, *files.titles} & {*first[1].lists, *first[1].titles}:
                raise ValueError(
                    f"{path} has files of {first[0].name} and of {other.name}; name the files or folders "
                    "one by one, or say which format with its name in the place of auto"
                )


def read_export(path: Path, options: Options = NO_OPTIONS) -> tuple[str, pd.DataFrame]:
    """Read the list of one person: what recommend.py --new_user takes, and what a stranger may upload.

    Nothing in the file is run, no file beside it is opened, and reading ends at EXPORT_MB, unpacked.

    Args:
        path: a list as a file, or a folder of its pages.
        options: a user, where the file holds the lists of several.

    Returns:
        The format's name, and a row a title of any status, dropped ones included: ENTRY_COLUMNS, "name", and
        "other_id", the title's id on another site (of an AniList list the AniList id, where subject_id is that of
        MyAnimeList); both may be "", as is subject_id where a list has a name alone. attrs["told"] has sentences about
        what was left out and taken for granted.

    Raises:
        FileNotFoundError, ValueError: one sentence with what was found and the remedy.
    """
    path = Path(path)
    with _apart(path) as small:
        try:
            made, files = recognise(small)
            if made.name in ANY_TABLE:
                options = options._replace(user=options.user or own_name(path))
                [(made, files)] = as_lists([(made, files)], options)
            if made.lists is None or not files.lists:
                raise ValueError(f"{path} is {made.name}, which holds no one's list; give the export of one person")
            options = options._replace(owners=told_apart(files.lists))
            dropped: dict[str, int] = {}
            unknown = Unknown()
            chunks = [chunk for _, chunk in lists_of(made, files.lists, options, dropped, unknown)]
            rows = pd.concat(chunks, ignore_index=True) if chunks else pd.DataFrame(columns=list(ENTRY_COLUMNS))
            count(dropped, "without the number or the name of a title", (rows["subject_id"] == "").sum())
            rows = _of_one(path, rows[rows["subject_id"] != ""].reset_index(drop=True), options, dropped)
            rates, of_scale = read_scale(rows["rate"].to_numpy(float))
            rows = rows.assign(rate=rates)
            told = (*_told(made, files, options, dropped), *unknown.sentences(), *of_scale)
            names = (
                {}
                if made.titles is None
                else {
                    title: name
                    for file in files.titles
                    for chunk in chunks_of(made.titles, file, options, {})
                    for title, name in zip(chunk["subject_id"], chunk["name"], strict=True)
                }
            )
            others = (
                {}
                if made.other_ids is None
                else {title: other for file in files.lists for title, other in made.other_ids(file).items()}
            )
        except ValueError as error:
            raise ValueError(str(error).replace(str(small), str(path))) from None
    rows = rows.assign(
        comment=unmarked(rows["comment"], drop=False),
        **{
            column: [known.get(title, "") for title in rows["subject_id"]]
            for column, known in (("name", names), ("other_id", others))
        },
    )
    rows["subject_id"] = rows["subject_id"].mask(rows["subject_id"].str.startswith(PREFIX), "")
    rows.attrs["told"] = told
    return made.name, rows


def _told(made: Format, files: Files, options: Options, dropped: dict[str, int]) -> tuple[str, ...]:
    """Say what of a list was left out, and what was taken for granted."""
    left_out = ", ".join(f"{n:,} {why}" for why, n in dropped.items())
    remarks = [remark for file in files.lists for remark in remarks_of(made, file, options)]
    return tuple(dict.fromkeys([f"left out: {left_out}"] * bool(left_out) + remarks))


def _of_one(path: Path, rows: pd.DataFrame, options: Options, dropped: dict[str, int]) -> pd.DataFrame:
    users = rows["user_id"].unique()
    if len(users) > 1 and options.user in users:
        rows = rows[rows["user_id"] == options.user].reset_index(drop=True)
    elif len(users) > 1:
        some = on_one_line(", ".join(users[:3]))
        raise ValueError(
            f"{path} holds the lists of {len(users):,} people ({some}, ...); give the export of one, or name the user"
        )
    if rows.empty and OTHER in dropped:
        raise ValueError(refusal(path, dropped[OTHER]))
    if rows.empty:
        raise ValueError(f"{path} holds a list without a title; add titles to it and save it again")
    return rows


@contextmanager
def _apart(path: Path) -> Iterator[Path]:
    """Yield an unpacked copy of a file in a folder of its own, or a folder itself, if neither is too large."""
    if path.is_dir():
        if sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) > EXPORT_MB * 2**20:
            raise _too_large(path)
        yield path
        return
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; name a file or folder to read")
    if not path.is_file():
        raise ValueError(f"{path} is neither a file nor a folder; give a file")
    archive = members(path)
    with TemporaryDirectory() as folder:
        # a folder's name may be the user's
        name = path.name if archive else path.name.removesuffix(next(filter(path.name.endswith, PACKED), ""))
        copy = Path(folder) / (path.resolve().parent.name or "list") / name
        copy.parent.mkdir()
        with copy.open("wb") as file:
            for block in _unpacked(path, archive or [path]):
                file.write(b"" if archive else block)
        if archive:  # its files are read where they lie
            shutil.copyfile(path, copy)
        yield copy


def _unpacked(path: Path, files: list[Path]) -> Iterator[bytes]:
    """Yield what is in some files of an export, as far as it may be read."""
    left = EXPORT_MB * 2**20
    for part in files:
        with open_bytes(part) as unpacked:
            while block := unpacked.read(2**20):
                left -= len(block)
                if left < 0:
                    raise _too_large(path)
                yield block


def _too_large(path: Path) -> ValueError:
    return ValueError(
        f"{path} holds more than {EXPORT_MB} MB, too much for the list of one person; make a data folder "
        "of it with tools/convert.py"
    )


def _seen(path: Path) -> str:
    """Say what stands at a path, in the middle of a sentence."""
    if path.is_dir():
        names = sorted(file.name for file in path.iterdir())
        return f"is a folder of {', '.join(names[:5])}{', ...' * (len(names) > 5)}" if names else "is an empty folder"
    if not path.stat().st_size:
        return "is an empty file"
    inside = members(path)
    if inside is not None:
        return f"holds {', '.join(file.name for file in inside[:5]) or 'no file'}{', ...' * (len(inside) > 5)}"
    start = first_text(path, 60)
    if not start:
        return "holds nothing"
    if "\0" in start:
        return f"holds no text (it begins with {start[:12]!r})"
    unread = ", not UTF-8 (save it as UTF-8, or name its encoding with --encoding)" * ("\ufffd" in start[:-1])
    return f"begins with {start!r}{unread}"
