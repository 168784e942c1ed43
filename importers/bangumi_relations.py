"""Bangumi Archive's subject-relations.jsonlines: what each work is to another, a line a pair."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dataset.relations import COLUMNS
from dataset.tables import open_bytes
from importers.common import CHUNK, Options, files_in, first_text, table_of
from importers.nameless import id_of
from runtime.safe_files import parse_json

NAME = "subject-relations.jsonlines"
# what the related work is, by the numbers of the public server's enumeration. Titles that share characters (7) or a
# setting (8), or that meet (14), may be of two works
RELATION = {
    1: "adaptation",
    2: "prequel",
    3: "sequel",
    4: "summary",
    5: "full_story",
    6: "side_story",
    9: "alternative",
    10: "alternative",
    11: "spin_off",
    12: "parent",
}
OF_BOOKS = 1000  # from here on: of books, music and games


def relations_beside(source: Path) -> tuple[Path, ...]:
    """Find the relations in a folder or zip, also beside or in the file that is named."""
    found = [file for file in files_in(source) if _are_relations(file)]
    if not found and source.is_file():
        named = (source.with_name(f"{NAME}{ending}") for ending in ("", ".gz", ".zst", ".xz", ".bz2"))
        found = [file for file in named if source.name.startswith("subject.") and file.is_file()]
    return tuple(found)


def _are_relations(path: Path) -> bool:
    if path.suffix == ".zip":
        return any(_are_relations(file) for file in files_in(path) if file.name == NAME)
    start = first_text(path) if "relations" in path.name else ""
    return start.startswith("{") and '"relation_type"' in start and '"related_subject_id"' in start


def read_relations(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
    """Yield relations between anime, line by line; those of books and the like are left out where their number says so.

    Raises:
        ValueError: a line is no JSON, or names no number of a relation.
    """
    rows = []
    with open_bytes(next((file for file in files_in(path) if file.name == NAME), path)) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                pair = parse_json(line)
                code = int(pair["relation_type"])
            except ValueError as error:
                raise ValueError(
                    f"{path} line {number}: no relation as JSON ({error}); the dump is cut off or was edited, "
                    "download it again"
                ) from None
            if code < OF_BOOKS:
                rows.append(
                    {
                        "subject_id": id_of(pair["subject_id"]),
                        "related_id": id_of(pair["related_subject_id"]),
                        "relation": RELATION.get(code, "other"),
                    }
                )
            if len(rows) == CHUNK:
                yield table_of(rows, COLUMNS)
                rows = []
    yield table_of(rows, COLUMNS)
