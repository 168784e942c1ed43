"""Whose list a file is, where it does not say so itself."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from importers.common import Options
from runtime.packings import members

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


def owner_of(path: Path, options: Options) -> str:
    """Return the user that the options name, or the file's own name, told apart from those of other files."""
    return options.user or options.owners.get(path) or own_name(path)


def own_name(path: Path) -> str:
    """Return a file's name without its endings; of takeout-NAME-DATE.csv, what stands for NAME.

    The only sheet of a workbook is called as that is: programs call all of them Sheet1.
    """
    is_sheet = path.parent.suffix.lower() == ".xlsx" and path.parent.is_file()
    name = path.parent.name if is_sheet and len(members(path.parent) or ()) == 1 else path.name
    while Path(name).suffix.lower() in PACKED:
        name = Path(name).stem
    return re.sub(r"^takeout-(.+)-\d{4}-\d\d-\d\d$", r"\1", Path(name).stem)


def told_apart(files: Iterable[Path]) -> dict[Path, str]:
    """Name the files whose own name a file of another folder has too: they are the lists of different people.

    Returns:
        file -> its name with as many of its folders as it takes, as in "animelist (ann)". Files of one folder whose
        names differ in their endings alone stay one list.
    """
    by_name: dict[str, dict[Path, Path]] = defaultdict(dict)
    for file in files:
        by_name[own_name(file)][file] = file.resolve().parent
    return {
        file: f"{name} ({' '.join(parent.parts[-depth:])})"
        for name, parents in by_name.items()
        if len(set(parents.values())) > 1
        for depth in (_depth(set(parents.values())),)
        for file, parent in parents.items()
    }


def _depth(folders: set[Path]) -> int:
    """Return how many of their last parts tell folders apart."""
    most = max(len(folder.parts) for folder in folders)
    return next((n for n in range(1, most) if len({folder.parts[-n:] for folder in folders}) == len(folders)), most)


class Owners:
    """In which files the lists of users are, of those whose files hold the list of one each."""

    def __init__(self) -> None:
        self.files: dict[str, dict[Path, None]] = {}

    def meet(self, file: Path, chunk: pd.DataFrame) -> pd.DataFrame:
        """Note whose a chunk of ENTRY_COLUMNS is, and return it."""
        users = chunk["user_id"]
        if len(users) and users.iloc[0] == users.iloc[-1] and users.nunique() == 1:
            self.files.setdefault(users.iloc[0], {})[file] = None
        return chunk

    def shared(self) -> dict[str, tuple[Path, ...]]:
        """Return the users whose lists are in several files."""
        return {user: tuple(files) for user, files in self.files.items() if len(files) > 1}
