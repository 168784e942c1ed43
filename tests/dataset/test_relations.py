"""relations.tsv: what is read, what is left out and said, what is refused."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from config import get_config
from data_loader import load_dataset
from dataset.relations import RELATIONS, read_relations
from tests.helpers.data import write_data

TITLES = pd.Series(["a", "b", "c"])


def write(folder: Path, *rows: str, header: str = "subject_id\trelated_id\trelation") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "relations.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def test_rows_are_titles_and_relations_by_number_each_once(tmp_path: Path) -> None:
    folder = write(tmp_path, "b\tc\tSequel", "a\tb\tside_story", "a\tb\tside_story", "c\tb\tprequel")
    sequel, prequel, side_story = (RELATIONS.index(name) for name in ("sequel", "prequel", "side_story"))
    found = read_relations(folder, TITLES)
    assert found.tolist() == [[0, 1, side_story], [1, 2, sequel], [2, 1, prequel]]
    assert found.dtype == np.int64


def test_a_folder_without_the_file_has_none(tmp_path: Path) -> None:
    assert read_relations(tmp_path, TITLES).shape == (0, 3)


def test_unknown_titles_are_counted_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write(tmp_path, "a\tz\tsequel", "y\tz\tsequel", "a\ta\tother", "a\tb\tsequel")
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        assert read_relations(folder, TITLES).tolist() == [[0, 1, 0]]
    said = "relations.tsv: of 4 rows: 2 of titles that anime.tsv does not have, 1 of a title with itself (left out)"
    assert said in caplog.text


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a\tb\tsequal", r"relations\.tsv line 3: there is no relation 'sequal', the nearest is 'sequel'; use one of "),
        (
            "a\tb\t",
            r"relations\.tsv line 3: there is no relation '', the nearest is '.*'; use one of sequel, prequel, ",
        ),
        ("\tb\tsequel", r"relations\.tsv line 3: subject_id is empty"),
        ("a\t\tsequel", r"relations\.tsv line 3: related_id is empty"),
        ("a\tb", r"relations\.tsv line 3: 2 fields where there should be 3"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_relations(write(tmp_path, "a\tb\tsequel", row), TITLES)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, "a\tb", header="subject_id\trelated_id")
    with pytest.raises(ValueError, match=r"relations\.tsv line 1: no column relation "):
        read_relations(folder, TITLES)


def test_they_are_part_of_the_dataset_and_change_no_fingerprint(tmp_path: Path) -> None:
    config = get_config({"data_dir": str(write_data(tmp_path))})
    plain = load_dataset(config)
    write(tmp_path, "s1\ts2\tsequel")
    related = load_dataset(config)
    assert related.relations.tolist() == [[1, 2, 0]]
    assert not len(plain.relations)
    assert plain.digests == related.digests
