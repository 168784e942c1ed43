"""The rows of a data folder, taken out and put back by tests in which data grow or change."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.helpers.data import write_tsv


class Row(NamedTuple):
    """A row of interactions.tsv."""

    user: str
    title: str
    rate: float
    comment: str
    time: str


def read_tables(folder: Path) -> list[Row]:
    """Read interactions.tsv."""
    with (folder / "interactions.tsv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t"))[1:]
    return [Row(user, title, float(rate), comment, time) for user, title, rate, comment, time in lines]


def write_rows_of(folder: Path, rows: Iterable[Row]) -> None:
    """Write interactions.tsv."""
    write_tsv(folder, "interactions.tsv", (row._replace(rate=f"{row.rate:g}") for row in rows))


def grow(folder: Path, users: int = 4, titles: int = 3) -> tuple[list[Row], list[Row]]:
    """Take the rows of the last users and titles out, and titles with them; return the rows that stay, and those gone.

    Titles are in the order of write_data; the last ones are as new as their rows.
    """
    rows = read_tables(folder)
    names = list(dict.fromkeys(row.user for row in rows))[-users:]
    lines = (folder / "anime.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    gone = {line.split("\t")[0] for line in lines[-titles:]}
    late = [row for number, row in enumerate(rows) if row.user in names or row.title in gone or number % 10 == 9]
    (folder / "anime.tsv").write_text("".join(lines[:-titles]), encoding="utf-8")
    early = [row for row in rows if row not in late]
    write_rows_of(folder, early)
    return early, late
