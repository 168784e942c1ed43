"""An exported list of another site than the data's, matched by ids.tsv."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from dataset.site_ids import read_site_ids
from inference.finished_run import FinishedRun
from inference.user_list import match_user_list
from tests.helpers.tastes import taste_run

Lists = Callable[..., tuple[int, ...]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return taste_run(tmp_path_factory.mktemp("tastes"))


@pytest.fixture
def rows(run: FinishedRun, tmp_path: Path) -> Lists:
    """Match a list of (subject_id, other_id, name) in a run whose data have these lines in ids.tsv."""

    def match(lines: list[str], *entries: tuple[str, str, str], of: str) -> tuple[int, ...]:
        if lines:
            (tmp_path / "ids.tsv").write_text("\n".join(["subject_id\tsite\tid", *lines]) + "\n")
        here = replace(run, config={**run.config, "data_dir": str(tmp_path)})
        table = pd.DataFrame(entries, columns=["subject_id", "other_id", "name"])
        return match_user_list(here, table.assign(status="done", rate=9.0, updated_at=""), of).person.items

    return match


IDS = ["s1\tmyanimelist\t10", "s2\tmyanimelist\t20", "s2\tanilist\t200", "s3\tanilist\t300", "zz\tanilist\t1"]


def test_a_list_of_another_site_finds_titles_by_its_ids(run: FinishedRun, rows: Lists) -> None:
    assert rows(IDS, ("10", "", "no such name"), ("20", "", ""), ("30", "", ""), of="mal-xml") == (1, 2)
    assert rows(IDS, ("99", "200", ""), ("anilist:300", "300", ""), of="anilist-json") == (2, 3)
    assert rows(IDS, ("10", "", ""), ("5", "", run.dataset.item_names[7]), of="mal-xml") == (1, 7)


def test_another_sites_number_is_not_taken_for_one_of_the_lists(rows: Lists) -> None:
    lines = ["s1\tmyanimelist\t10", "s2\tbangumi\t10", "s4\tbangumi\t11"]
    assert rows(lines, ("10", "", ""), ("11", "", ""), of="bangumi-collections") == (2, 4)
    assert rows(lines, ("10", "", ""), of="mal-xml") == (1,)


def test_of_the_datas_own_site_titles_without_a_row_in_ids_are_found_too(rows: Lists) -> None:
    lines = ["s1\tmyanimelist\ts1", "s2\tmyanimelist\ts2", "s2\tanilist\t7"]
    assert rows(lines, ("s1", "", ""), ("s9", "", ""), of="mal-xml") == (1, 9)
    assert rows([], ("s1", "", ""), ("s9", "", ""), of="mal-xml") == (1, 9)


def test_in_a_table_an_id_may_be_a_name(run: FinishedRun, rows: Lists) -> None:
    name = run.dataset.item_names[7]
    assert rows([], (name, "", ""), ("no such name", "", ""), of="pairs") == (7,)
    assert rows([], (name, "", ""), ("s3", "", ""), ("s4", "", ""), of="json-lines") == (3, 4)  # most are ids
    assert rows([], (name, "", ""), of="mal-xml") == ()


def test_an_id_of_several_titles_is_left_out_and_an_empty_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "ids.tsv"
    path.write_text("subject_id\tsite\tid\na\tAniList\t1\nb\tanilist\t2\nc\tanilist\t2\nz\tanilist\t3\n")
    assert read_site_ids(tmp_path, {"a": 0, "b": 1, "c": 2}) == {("anilist", "1"): 0}
    path.write_text("subject_id\tsite\tid\na\tanilist\t\n")
    with pytest.raises(ValueError, match=r"ids\.tsv line 2: id is empty"):
        read_site_ids(tmp_path, {"a": 0})
