"""The converter: what reaches the files, which users are drawn, and that files are whole."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import main
from config import get_config
from data_loader import load_dataset
from dataset.readers import read_anime, read_interactions, read_user_names
from dataset.splits import PARTS
from importers.common import ENTRY_COLUMNS, Files, Format, Options, table_of
from importers.pipeline import Result
from importers.tally import Tally
from tests.helpers.conversions import converted, entry, pairs, rows_of, source, title

ROOT = Path(main.__file__).resolve().parent
NO_FILE = Path("no such file")


# --- what is written ---


def test_what_is_written_is_what_the_readers_read(tmp_path: Path) -> None:
    entries = [
        entry(
            "7",
            "a",
            8,
            "done",
            username='Ann \t"A"',
            comment='"quoted"\nand\ta tab\r\n\0end \ud83d',
            updated_at="2020-01-02T03:04:05+08:00",
        ),
        entry("7", " b ", 7.5, "doing"),
        entry("8", "a", -1, "on_hold", username="Bo"),
    ]
    titles = [
        title("a", "<i> / Name", tags_name='["x \\"y\\"", "ü"]', summary='"To be"\tor\nnot', year="1999"),
        title("b"),
        title("c"),
    ]
    result = converted(tmp_path, source(entries, titles))
    anime = read_anime(tmp_path)
    assert anime["subject_id"].tolist() == ["a", "b", "c"]
    assert anime["name"].tolist() == ["<i> / Name", "name b", "name c"]
    assert anime["tags"].tolist()[0] == 'x "y"\nü'
    assert anime["summary"].tolist()[0] == '"To be" or not'
    assert rows_of(tmp_path, "anime.tsv")[0][-1] == "1999"
    table, facts = read_interactions(tmp_path, anime["subject_id"])
    assert facts == {"rows": 3, "rows of unknown titles": 0, "unparsable times": 0, "repeated pairs": 0}
    assert table["rate"].tolist() == [8, 7.5, 0]
    assert table["comment"].tolist() == ['"quoted" and a tab end', "", ""]
    assert table["time"].tolist()[0] == pd.Timestamp("2020-01-01T19:04:05Z").timestamp()
    assert read_user_names(tmp_path, pd.Index(["7", "8"])) == ['Ann "A"', "Bo"]
    assert result._replace(told=()) == Result(2, 3, True, 3, 1, 0, {}, {})
    assert result.told == ("the rate -1 is taken for unrated, apart from all others as it is: 1 rows",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anime.tsv", "interactions.tsv", "user.tsv"]


def test_a_row_is_a_line(tmp_path: Path) -> None:
    converted(tmp_path, source([entry("u", "a", comment="one\ntwo\r\nthree\u2028four")], [title("a", summary="1\n2")]))
    assert all(len((tmp_path / name).read_bytes().splitlines()) == 2 for name in ("anime.tsv", "interactions.tsv"))


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({}, {"done", "doing", "on_hold", ""}),
        ({"statuses": ("wish", "done")}, {"wish", "done"}),
        ({"statuses": ("dropped",)}, {"dropped"}),
    ],
)
def test_statuses_decide_which_rows_stay_and_the_others_are_known(
    tmp_path: Path, asked: dict[str, Any], kept: set[str]
) -> None:
    statuses = ("wish", "done", "doing", "on_hold", "dropped", "")
    result = converted(
        tmp_path,
        source(
            [entry("u", f"of {status}", status=status) for status in statuses],
            [title(f"of {status}".strip()) for status in statuses],
        ),
        **asked,
    )
    assert pairs(tmp_path) == {("u", f"of {status}".strip()) for status in kept}
    assert {row[1] for row in rows_of(tmp_path, "known.tsv")} == {
        f"of {status}".strip() for status in statuses if status not in kept
    }
    assert (result.rows, result.known, result.dropped_rows) == (len(kept), len(statuses) - len(kept), {})


def test_known_is_of_the_users_and_titles_that_stay_and_is_read_as_seen(tmp_path: Path) -> None:
    entries = [
        entry("u", "a", 5),
        entry("u", "b", 9, "wish", updated_at="2020-01-02"),
        entry("u", "adult", 0, "wish"),
        entry("only wishes", "a", 0, "wish"),
        entry("few", "b", 5),
        entry("few", "a", 0, "dropped"),
        entry("u", "c", 5),
        entry("u", "c", 0, "wish"),
        entry("u", "ghost", 0, "wish"),
    ]
    titles = [title("a"), title("b"), title("c"), title("adult", adult="1")]
    result = converted(tmp_path, source(entries, titles), min_rows=2)
    assert rows_of(tmp_path, "known.tsv") == [["u", "b", "2020-01-02"], ["u", "c", ""]]
    assert result.known == 2
    assert result.dropped_rows == {
        "of users with fewer than 2 rows": 1,
        "of adult titles": 1,
        "of titles that no file describes": 1,
        "of other statuses, of users or titles that are left out": 2,
    }
    dataset = load_dataset(get_config({"data_dir": str(tmp_path), "min_rate": 0}))
    assert dataset.seen.toarray().tolist() == [[1, 1, 1]]
    assert sum(getattr(dataset, part) for part in PARTS).toarray().tolist() == [[1, 0, 1]]
    converted(tmp_path, source(entries[:1], titles))
    assert not (tmp_path / "known.tsv").exists()


def test_known_holds_no_titles_that_are_left_out(tmp_path: Path) -> None:
    """Where no file describes titles, or only collected ones are wanted, a title that is only wished for is none."""
    entries = [entry("u", "a", 5), entry("u", "b", 0, "wish"), entry("v", "a", 0, "wish"), entry("v", "c", 5)]
    for folder, titles, rules in (("bare", [], {}), ("few", [title(raw) for raw in "abc"], {"collected_only": True})):
        converted(tmp_path / folder, source(entries, titles), **rules)
        assert [row[:2] for row in rows_of(tmp_path / folder, "known.tsv")] == [["v", "a"]]
        assert {row[0] for row in rows_of(tmp_path / folder, "anime.tsv")} == {"a", "c"}


@pytest.mark.parametrize("order", [1, -1])
def test_known_of_drawn_users_is_whole_in_any_order(order: int, tmp_path: Path) -> None:
    entries = [
        entry(f"u{user}", raw, 5, status)
        for raw, status in (("a", "wish"), ("b", "done"), ("c", "dropped"))
        for user in range(30)
    ][::order]
    converted(tmp_path, source(entries, [title(raw) for raw in "abc"]), users=7)
    drawn = {row[0] for row in rows_of(tmp_path, "interactions.tsv")}
    assert len(drawn) == 7
    assert {(row[0], row[1]) for row in rows_of(tmp_path, "known.tsv")} == {(who, raw) for who in drawn for raw in "ac"}


def test_adult_titles_and_their_rows_go_unless_asked_for(tmp_path: Path) -> None:
    both = source([entry("u", "a"), entry("u", "b")], [title("a"), title("b", adult="1")])
    result = converted(tmp_path / "no", both)
    assert pairs(tmp_path / "no") == {("u", "a")}
    assert [row[0] for row in rows_of(tmp_path / "no", "anime.tsv")] == ["a"]
    assert (result.dropped_rows, result.dropped_titles) == ({"of adult titles": 1}, {"adult": 1})
    converted(tmp_path / "yes", both, adult=True)
    assert pairs(tmp_path / "yes") == {("u", "a"), ("u", "b")}
    assert [row[0] for row in rows_of(tmp_path / "yes", "anime.tsv")] == ["a", "b"]


def test_rows_without_ids_and_of_unknown_titles_are_counted(tmp_path: Path) -> None:
    entries = [entry("u", "a"), entry("", "a"), entry("u", " "), entry("u", "nowhere"), entry("v", "nowhere")]
    result = converted(tmp_path, source(entries, [title("a"), title(" ")]))
    assert pairs(tmp_path) == {("u", "a")}
    assert result.dropped_rows == {"without the id of a user or title": 2, "of titles that no file describes": 2}
    assert result.dropped_titles == {"without an id": 1}
    assert [row[0] for row in rows_of(tmp_path, "user.tsv")] == ["u"]


def test_without_any_title_the_ids_are_the_names(tmp_path: Path) -> None:
    result = converted(tmp_path, source([entry("u", "x"), entry("u", "y"), entry("v", "x")]))
    assert sorted(rows_of(tmp_path, "anime.tsv")) == [["x", "x", "[]", "", ""], ["y", "y", "[]", "", ""]]
    assert (result.titles, result.described) == (2, False)


def test_collected_only_leaves_out_titles_that_no_kept_row_names(tmp_path: Path) -> None:
    both = source(
        [entry("u", "a"), entry("u", "b"), entry("v", "c"), entry("v", "a", status="wish")],
        [title(name) for name in "abcd"],
    )
    assert converted(tmp_path / "all", both).titles == 4
    result = converted(tmp_path / "some", both, collected_only=True, min_rows=2)
    assert {row[0] for row in rows_of(tmp_path / "some", "anime.tsv")} == {"a", "b"}
    assert result.dropped_titles == {"not collected by anybody": 2}


def test_titles_of_several_files_are_one_row_each(tmp_path: Path) -> None:
    """Files of titles come before lists whatever the order of sources; names join, other cells are filled once."""
    of_list = source(
        [entry("u", "a"), entry("u", "z")],
        [title("a", "Third", summary="of the list", year="2001"), title("z", "Z / Zet")],
        name="list",
        together=True,
    )
    names = source(titles=[title("a", "First / Ein"), title("a", "again"), title("b")], name="names")
    stories = source(titles=[title("a", "first / Second", tags_name='["t"]', summary="the story")], name="stories")
    converted(tmp_path, of_list, names, stories)
    assert {row[0]: row[1:] for row in rows_of(tmp_path, "anime.tsv")} == {
        "a": ["First / Ein / Second / Third", '"[""t""]"', "the story", "2001"],
        "b": ["name b", "[]", "", ""],
        "z": ["Z / Zet", "[]", "", ""],
    }


def test_an_id_is_adult_if_any_file_says_so(tmp_path: Path) -> None:
    converted(
        tmp_path,
        source([entry("u", "a"), entry("u", "b")], [title("a"), title("b")], name="one"),
        source(titles=[title("a", adult="1")], name="two"),
    )
    assert pairs(tmp_path) == {("u", "b")}


# --- which users ---


def crowd(n_users: int = 60) -> list[dict[str, Any]]:
    """User n has n % 5 + 1 rows, scattered over the file."""
    rows = [entry(f"u{user}", f"t{row}") for user in range(n_users) for row in range(user % 5 + 1)]
    return [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [7, 1000])
@pytest.mark.parametrize("min_rows", [1, 4])
def test_a_sample_does_not_depend_on_chunks_or_the_order_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, min_rows: int
) -> None:
    monkeypatch.setattr("importers.spill.CHUNK", chunk)
    rows = crowd()
    converted(tmp_path / "one", source(rows), users=8, min_rows=min_rows)
    converted(tmp_path / "two", source(rows[::-1], chunk=5), users=8, min_rows=min_rows)
    assert pairs(tmp_path / "one") == pairs(tmp_path / "two")
    drawn = {user for user, _ in pairs(tmp_path / "one")}
    assert len(drawn) == 8
    assert {row[0] for row in rows_of(tmp_path / "one", "user.tsv")} == drawn
    # whoever is drawn keeps all of his rows
    assert pairs(tmp_path / "one") == {(row["user_id"], row["subject_id"]) for row in rows if row["user_id"] in drawn}
    assert all(int(user[1:]) % 5 + 1 >= min_rows for user in drawn)


def test_the_seed_decides_the_sample_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = crowd()
    drawn = {}
    for seed in range(3):
        result = converted(tmp_path / str(seed), source(rows), users=8, min_rows=2, seed=seed)
        drawn[seed] = frozenset(user for user, _ in pairs(tmp_path / str(seed)))
        assert result.users == 8
        assert result.dropped_rows["of users with fewer than 2 rows"] == 12
        assert sum(result.dropped_rows.values()) + result.rows == len(rows)
    assert len(set(drawn.values())) == 3


def test_min_rows_counts_the_rows_that_stay(tmp_path: Path) -> None:
    converted(
        tmp_path,
        source([entry("u", "a"), entry("u", "b", status="wish"), entry("v", "a"), entry("v", "b")]),
        min_rows=2,
    )
    assert pairs(tmp_path) == {("v", "a"), ("v", "b")}


def test_fewer_users_than_asked_for_are_all_kept(tmp_path: Path) -> None:
    assert converted(tmp_path, source(crowd(9)), users=100).users == 9


def test_a_tally_counts_as_a_dictionary_does() -> None:
    rng, tally, known = np.random.default_rng(0), Tally(), {}
    for _ in range(20):
        keys = rng.integers(0, 50, rng.integers(0, 30)).astype(np.uint64)
        new = [place for place, key in enumerate(keys.tolist()) if key not in known and key not in keys[:place]]
        assert tally.add(keys).tolist() == new
        for key in keys.tolist():
            known[key] = known.get(key, 0) + 1
    assert dict(zip(tally.keys.tolist(), tally.counts.tolist(), strict=True)) == known
    assert (np.diff(tally.keys.astype(int)) > 0).all()


@pytest.mark.slow
def test_memory_does_not_grow_with_rows(tmp_path: Path) -> None:
    """Ten times the rows of the same users: the peak stays, since rows wait on disk."""

    def peak(n_chunks: int) -> int:
        def lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
            for number in range(n_chunks):
                yield table_of(
                    [entry(f"u{row % 50}", f"t{row % 40}", comment=f"{number} {row}" * 9) for row in range(500)],
                    ENTRY_COLUMNS,
                )

        tracemalloc.start()
        converted(
            tmp_path / str(n_chunks),
            (Format("many", "", lambda path: None, lists, None), Files((NO_FILE,))),
            users=40,
            min_rows=2,
        )
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importers.spill.CHUNK", 500)
        peak(2)
        assert peak(40) < 1.5 * peak(4)


# --- whole or not at all ---


class Killed(BaseException):
    """What no except clause of the code expects."""


def broken(error: BaseException) -> tuple[Format, Files]:
    def lists(path: Path, options: Options, dropped: dict[str, int]) -> Iterator[pd.DataFrame]:
        yield table_of([entry("u", "a")], ENTRY_COLUMNS)
        raise error

    return Format("broken", "", lambda path: None, lists, None), Files((NO_FILE,))


@pytest.mark.parametrize("error", [ValueError("line 2: bad"), Killed()])
def test_a_failure_leaves_the_files_as_they_were(tmp_path: Path, error: BaseException) -> None:
    converted(tmp_path, source([entry("old", "a")]))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(type(error)):
        converted(tmp_path, broken(error))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_a_killed_run_leaves_no_half_file_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from importers import pipeline
from importers.common import *
def lists(path, options, dropped):
    yield table_of([{"user_id": "u", "subject_id": "a"}] * CHUNK, ENTRY_COLUMNS)
    os.kill(os.getpid(), signal.SIGKILL)
made = Format("x", "", lambda path: None, lists, None)
pipeline.convert([(made, Files((Path("x"),)))], Path(sys.argv[1]), NO_OPTIONS, pipeline.Rules())
"""
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", program, str(out)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -9, done.stderr
    assert [path.name for path in out.iterdir()] == ["converting.tmp"]
    converted(out, source([entry("u", "a")]))
    assert sorted(path.name for path in out.iterdir()) == ["anime.tsv", "interactions.tsv", "user.tsv"]


def test_a_second_conversion_into_a_folder_is_refused_and_the_first_one_ends(tmp_path: Path) -> None:
    def lists(path: Path, options: Any, dropped: dict[str, int]) -> Any:
        with pytest.raises(OSError, match="another process is writing to .*; wait for it to end, or name another"):
            converted(tmp_path, source([entry("v", "b")]))
        yield table_of([entry("u", "a")], ENTRY_COLUMNS)

    made = Format("x", "", lambda path: None, lists, None)
    converted(tmp_path, (made, Files((Path("x"),))))
    assert pairs(tmp_path) == {("u", "a")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anime.tsv", "interactions.tsv", "user.tsv"]


def test_interactions_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with interactions.tsv has the others, so a kill between two renames shows."""
    replaced: list[str] = []
    monkeypatch.setattr(Path, "replace", lambda old, new: (replaced.append(Path(new).name), old.rename(new)))
    converted(tmp_path, source([entry("u", "a")]))
    assert replaced[-1] == "interactions.tsv"


@pytest.mark.parametrize(
    ("sources", "rules", "message"),
    [
        ([source(titles=[title("a")])], {}, "none of the sources has lists"),
        ([source([entry("u", "a", status="wish")], [title("a")])], {}, "no row is left; 1 of status wish"),
        ([source([entry("u", "b")], [title("a")])], {}, "1 of titles that no file describes"),
        ([source([])], {}, "no row is left"),
        ([source([entry("u", "a")])], {"min_rows": 2}, "1 of users with fewer than 2 rows"),
    ],
)
def test_nothing_to_write_is_an_error(tmp_path: Path, sources: list[Any], rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        converted(tmp_path, *sources, **rules)
    assert not list(tmp_path.iterdir())
