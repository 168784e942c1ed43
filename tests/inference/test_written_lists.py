"""Files of lists whose ids look like numbers, and whose names look like formulas."""

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from inference import outputs
from inference.top_k import FORMULA, first_lists, write_indented, write_lists
from runtime.files import write_json

ODD = [
    "007",
    "-7",
    "+7",
    "1e5",
    "-1E+5",
    "12345678901234567890",
    "nan",
    "NULL",
    "true",
    "a,b",
    'say "x"',
    "１４",
    "e\u0301",
]
FORMULAS = ["=cmd|' /C calc'!A0", "+1+cmd|x", "-2+3", "@SUM(A1)", "\t=1", "＝1+1", "-Saki-", "+Tic"]


def lists_of(ids: list[str]) -> list[tuple[str, list[dict]]]:
    return [(raw, [{"subject_id": raw, "name": raw, "score": 0.5}]) for raw in ids]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_ids_that_look_like_numbers_come_back_as_they_are(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"lists{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    write_lists(path, lists_of(ODD))
    if suffix == ".json":
        found = [*json.loads(path.read_text("utf-8"))]
    elif suffix == ".jsonl":
        found = [json.loads(line)["titles"][0]["subject_id"] for line in path.read_text("utf-8").splitlines()]
    elif suffix == ".parquet":
        found = pd.read_parquet(path)["subject_id"].tolist()
    else:
        separator = "," if suffix == ".csv" else "\t"
        table = pd.read_csv(path, dtype={"user_id": str, "subject_id": str}, keep_default_na=False, sep=separator)
        assert table["user_id"].tolist() == ODD
        assert table["score"].dtype == float
        found = table["subject_id"].tolist()
    assert found == ODD


def test_a_csv_marks_its_text(tmp_path: Path) -> None:
    write_lists(tmp_path / "x.csv", lists_of(["007"]))
    assert (tmp_path / "x.csv").read_text("utf-8").splitlines()[1] == '"007",1,"007","007",0.5'
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        assert [*csv.reader(file, quoting=csv.QUOTE_NONNUMERIC)][1] == ["007", 1.0, "007", "007", 0.5]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_no_cell_is_a_formula_and_what_was_done_is_told(
    suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, separator = tmp_path / f"lists{suffix}", "," if suffix == ".csv" else "\t"
    with caplog.at_level(logging.WARNING, "aglrec"):
        write_lists(path, lists_of([*FORMULAS, "plain"]))
    with path.open(newline="", encoding="utf-8") as file:
        rows = [*csv.reader(file, delimiter=separator)][1:]
    assert [row[2] for row in rows] == [*(f"'{cell}" for cell in FORMULAS), "plain"]
    assert f"an apostrophe stands before {len(FORMULAS)} names or ids" in caplog.text


def test_json_has_formulas_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_lists(tmp_path / "x.json", lists_of(FORMULAS))
    assert [*json.loads((tmp_path / "x.json").read_text("utf-8"))] == FORMULAS
    assert not caplog.text


def test_plain_numbers_are_no_formulas() -> None:
    assert [text for text in (*ODD, "-0.5") if FORMULA.match(text)] == []


def test_the_case_of_an_ending_says_nothing(tmp_path: Path) -> None:
    write_lists(tmp_path / "x.CSV", lists_of(["007"]))
    assert (tmp_path / "x.CSV").read_text("utf-8").startswith('"user_id"')


SOME = {
    'u"1': [{"subject_id": "1", "name": "a\n ],\n火", "score": 0.1}, {"subject_id": "2", "name": "", "score": -1e-7}],
    "u2": [],
    "u]": [{"subject_id": "3", "name": "]", "score": 3.0}],
    "u4": [{"subject_id": "4", "name": "[]", "score": 2}],
}


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_lists_written_as_they_come_are_the_file_of_all_of_them(n: int, tmp_path: Path) -> None:
    lists = dict(list(SOME.items())[:n])
    write_json(tmp_path / "whole.json", lists)
    write_indented(tmp_path / "streamed.json", iter(lists.items()))
    assert (tmp_path / "streamed.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


@pytest.mark.parametrize("write", [write_indented, write_lists])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
def test_the_first_lists_are_read_without_the_rest(n: int, write: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "lists.json"
    write(path, SOME.items())
    assert first_lists(path, n) == dict(list(SOME.items())[:n])
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-2]) + "no json")  # what stands last is not looked at
    if n < 4:
        assert first_lists(path, n) == dict(list(SOME.items())[:n])


def test_vectors_are_copied_only_where_others_lie_beside_them_in_memory() -> None:
    """Torch would write all of that memory; a copy of those of a million users takes gigabytes."""
    whole = torch.arange(12.0).reshape(4, 3)
    assert outputs._alone(whole) is whole
    for part in (whole[:2], whole[1:, :2]):
        alone = outputs._alone(part)
        assert torch.equal(alone, part)
        assert alone.untyped_storage().nbytes() == part.nbytes
