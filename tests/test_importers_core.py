"""The converter: what reaches the three files, and that they are whole; formats told apart; one person's list."""

import gzip
import json
import logging
import os
import shlex
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import importers
import main
from config import get_config
from data_loader import load_dataset
from dataset.readers import read_anime, read_interactions, read_user_names
from dataset.splits import PARTS
from importers import read_export, recognise
from importers.common import ENTRY_COLUMNS, TITLE_COLUMNS, Files, Format, Options, joined_names, plain, table_of
from importers.pipeline import Result, Rules, convert
from importers.tally import Tally
from runtime.cli import parse_overrides, run_script
from tools import convert as tool

ROOT = Path(main.__file__).resolve().parent
NO_FILE = Path("no such file")


def entry(user: str, title: str, rate: float = 0, status: str = "", **more: str) -> dict[str, Any]:
    return {"user_id": user, "subject_id": title, "rate": float(rate), "status": status, **more}


def title(subject_id: str, name: str = "", **more: str) -> dict[str, Any]:
    return {"subject_id": subject_id, "name": name or f"name {subject_id}", "tags_name": "[]", **more}


def source(
    entries: list[dict[str, Any]] | None = None,
    titles: list[dict[str, Any]] | None = None,
    chunk: int = 2,
    name: str = "made",
    together: bool = False,
) -> tuple[Format, Files]:
    """Make a source of rows in memory, yielded a few at a time; together: the lists name the titles."""

    def tables(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Callable[..., Iterator[pd.DataFrame]]:
        return lambda path, options, dropped: (
            table_of(rows[start : start + chunk], columns) for start in range(0, len(rows), chunk)
        )

    lists = (Path(f"{name} lists"),) if entries is not None else ()
    of_titles = (lists if together else (Path(f"{name} titles"),)) if titles is not None else ()
    made = Format(
        name,
        "made for a test",
        lambda path: None,
        tables(entries or [], ENTRY_COLUMNS),
        tables(titles or [], TITLE_COLUMNS),
    )
    return made, Files(lists, of_titles)


def converted(folder: Path, *sources: tuple[Format, Files], **rules: Any) -> Result:
    return convert(list(sources), folder, Options(), Rules(**rules))


def rows_of(folder: Path, name: str) -> list[list[str]]:
    return [line.split("\t") for line in (folder / name).read_text(encoding="utf-8").splitlines()[1:]]


def pairs(folder: Path) -> set[tuple[str, str]]:
    return {(row[0], row[1]) for row in rows_of(folder, "interactions.tsv")}


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
    assert result == Result(2, 3, True, 3, 1, 0, {}, {})
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


@pytest.mark.parametrize("chunk", [7, 1000])
@pytest.mark.parametrize("min_rows", [1, 4])
def test_a_sample_does_not_depend_on_chunks_or_the_order_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, min_rows: int
) -> None:
    monkeypatch.setattr("importers.pipeline.CHUNK", chunk)
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
        patch.setattr("importers.pipeline.CHUNK", 500)
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
    monkeypatch.setattr("os.replace", lambda old, new: (replaced.append(Path(new).name), Path(old).rename(new)))
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


# --- formats told apart ---


def test_an_unknown_source_is_told_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(importers.FORMATS, "pairs", raising=False)  # which reads any table
    cases = {
        "a.csv": (b"x,y\n1,2\n", "begins with 'x,y\\\\n1,2\\\\n'"),
        "empty.json": (b"", "is an empty file"),
        "cut.gz": (b"\x1f\x8b\x08", "is a cut off gzip file"),
        "utf16.csv": ("名称,条目类型".encode("utf-16"), "not UTF-8 .save it as UTF-8."),
    }
    for name, (content, seen) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} {seen}|{name} .*{seen}") as told:
            recognise(tmp_path / name)
        assert "bangumi-archive" in str(told.value)
        assert "anilist-json" in str(told.value)
    with pytest.raises(ValueError, match="is a folder of a.csv, cut.gz, empty.json, utf16.csv, which no format reads"):
        recognise(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="is an empty folder"):
        recognise(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="is missing"):
        recognise(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no format 'mal-xlm', the nearest is mal-xml"):
        recognise(tmp_path / "a.csv", "mal-xlm")
    with pytest.raises(ValueError, match="which is not mal-xml"):
        recognise(tmp_path / "a.csv", "mal-xml")


def test_auto_is_among_the_nearest_formats(tmp_path: Path) -> None:
    for name, near in (("autoo", "auto"), ("movielense", "movielens")):
        with pytest.raises(ValueError, match=f"there is no format '{name}', the nearest is {near};"):
            recognise(tmp_path, name)


def test_pairs_are_asked_last() -> None:
    """That format takes any table for its own."""
    assert importers.MODULES[-1] == "pairs"
    names = [made.name for made in importers.FORMATS.values()]
    assert len(names) == len(set(names)) >= 6


# --- one person's list ---


def mal_list(*ids: int, user: str = "ann", pad: str = "") -> bytes:
    entries = "".join(
        f"<anime><series_animedb_id>{number}</series_animedb_id><series_title>T{number}</series_title>"
        f"<my_score>7</my_score><my_status>Dropped</my_status></anime>{pad}"
        for number in ids
    )
    return f"<myanimelist><myinfo><user_name>{user}</user_name></myinfo>{entries}</myanimelist>".encode()


def test_read_export_returns_rows_with_names(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(gzip.compress(mal_list(5, 6)))
    name, rows = read_export(path)
    assert name == "mal-xml"
    assert rows.columns.tolist() == [*ENTRY_COLUMNS, "name", "other_id"]
    assert rows[["user_id", "subject_id", "rate", "status", "name", "other_id"]].to_numpy().tolist() == [
        ["ann", "5", 7.0, "dropped", "T5", ""],
        ["ann", "6", 7.0, "dropped", "T6", ""],
    ]


def test_read_export_reads_no_more_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importers, "EXPORT_MB", 1)
    large, packed = tmp_path / "large.xml", tmp_path / "packed.xml.gz"
    large.write_bytes(mal_list(1, pad=" " * 2**20))
    packed.write_bytes(gzip.compress(b" " * 2**26))  # 64 MB in some kB
    for path in (large, packed, tmp_path):
        with pytest.raises(ValueError, match=f"{path.name} holds more than 1 MB, too much for the list of one person"):
            read_export(path)
    packed.write_bytes(gzip.compress(mal_list(1, pad=" " * (2**20 - 300))))
    large.unlink()
    assert len(read_export(packed)[1]) == 1


def test_read_export_takes_the_list_of_one_person_alone(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(mal_list(1))
    (tmp_path / "b.xml").write_bytes(mal_list(2, 3, user="bo"))
    with pytest.raises(ValueError, match=r"holds the lists of 2 people \(ann, bo, ...\); give the export of one"):
        read_export(tmp_path)
    assert read_export(tmp_path, Options(user="bo"))[1]["subject_id"].tolist() == ["2", "3"]
    (tmp_path / "none.xml").write_bytes(mal_list())
    with pytest.raises(ValueError, match="a list without a title"):
        read_export(tmp_path / "none.xml")


def test_read_export_sees_no_file_beside_the_one_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some formats look for the titles that go with a list; a stranger's upload lies among those of others."""
    seen: list[str] = []
    curious = Format("curious", "", lambda path: seen.extend(file.name for file in path.parent.iterdir()), None, None)
    monkeypatch.setattr(importers, "FORMATS", {"curious": curious, **importers.FORMATS})
    for user in ("ann", "bo"):
        (tmp_path / f"{user}.xml").write_bytes(mal_list(1, user=user))
    read_export(tmp_path / "ann.xml")
    assert seen == ["ann.xml"]


def test_read_export_names_the_file_that_was_given(tmp_path: Path) -> None:
    """Not the unpacked copy in a temporary folder."""
    (tmp_path / "list.xml.gz").write_bytes(gzip.compress(mal_list(1)[:-9]))
    with pytest.raises(ValueError, match="no XML of a list") as told:
        read_export(tmp_path / "list.xml.gz")
    assert str(told.value).startswith(str(tmp_path / "list.xml.gz"))
    (tmp_path / "cut.xml.gz").write_bytes(gzip.compress(mal_list(1))[:40])
    with pytest.raises(ValueError, match="cut.xml.gz: not a whole gzip file"):
        read_export(tmp_path / "cut.xml.gz")


def test_a_file_that_is_not_as_its_format_says_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    """Whatever a stranger puts in the place of a name or a title."""
    entry_of = {"mediaId": 1, "status": "CURRENT", "media": {"idMal": 1, "title": ["a", "b"]}}
    (tmp_path / "a.json").write_text(json.dumps({"lists": [{"entries": [entry_of]}]}))
    (tmp_path / "b.xml").write_bytes(b'<?xml version="1.0" encoding="UTv-8"?>' + mal_list(1))
    for name in ("a.json", "b.xml"):
        with pytest.raises(ValueError, match=f"{name}: something in it is not as its format says"):
            read_export(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name}: something in it is not as its format says"):
            converted(tmp_path / "out", recognise(tmp_path / name))


def test_read_export_refuses_what_is_no_list(tmp_path: Path) -> None:
    subject = {"id": 1, "type": 2, "name": "a", "name_cn": "", "infobox": ""}
    (tmp_path / "subject.jsonlines").write_text(json.dumps(subject), encoding="utf-8")
    with pytest.raises(ValueError, match="is bangumi-archive, which holds no one's list"):
        read_export(tmp_path / "subject.jsonlines")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "subject.jsonlines", "subject.jsonlines")
    with pytest.raises(ValueError, match="is a zip; unpack it"):
        read_export(tmp_path / "z.zip")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        read_export(Path("/dev/null"))
    with pytest.raises(FileNotFoundError, match="is missing"):
        read_export(tmp_path / "nowhere")


# --- texts ---


def test_names_keep_tags_and_lose_entities_and_repeats() -> None:
    names = ("Tom &amp; Jerry&#039;s", "<i>", None, float("nan"), " ", "tom &amp;amp; jerry's", "猫\n鼠")
    assert joined_names(*names) == "Tom & Jerry's / <i> / 猫 鼠"
    assert plain("<p>It&#039;s<br/>\n <b>good</b> &lt;3</p>") == "It's\ngood <3"


@pytest.mark.parametrize("name", ["Unknown", "None", "NULL", "Nan"])
def test_a_title_may_be_called_like_nothing(name: str, tmp_path: Path) -> None:
    """There are films called so; only the data sets of Kaggle write such words for a missing name."""
    assert joined_names(name, "未知") == f"{name} / 未知"
    converted(tmp_path, source([entry("u", "a")], [title("a", name)]), source(titles=[title("a", "x")], name="other"))
    assert rows_of(tmp_path, "anime.tsv")[0][1] == f"{name} / x"


# --- the tool ---


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the tool in this process and return its exit code and what it said."""
    monkeypatch.setattr(logging.getLogger("aglrec"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("aglrec"), "level", logging.NOTSET)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["convert.py", *map(str, words)])
        code = run_script(tool.main)
        return code, *capsys.readouterr()

    return run


def test_the_tool_says_what_it_read_kept_and_dropped_and_what_comes_next(tmp_path: Path, call: Any) -> None:
    (tmp_path / "a.xml").write_bytes(mal_list(1, 2).replace(b"Dropped", b"Completed", 1).replace(b">7<", b">0<"))
    code, out, err = call("auto", tmp_path / "a.xml", tmp_path / "a.xml", "--out", tmp_path / "my data")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{tmp_path / 'a.xml'}: mal-xml; files of lists: 1, of titles: 1",
        f"{tmp_path / 'my data'}: 1 rows of 1 users, 1 of them unrated; 2 titles",
        "known.tsv: 1 rows of other statuses, no positives and not recommended back",
        "lists of 10 people and more teach what goes with what; with fewer, add theirs, or convert a data set and give "
        "this list to recommend.py --new_user",
        "next:",
        f"    python tools/check.py '{tmp_path / 'my data'}'",
        f"    python main.py --data_dir '{tmp_path / 'my data'}' --preset tuned --refit true --model_name lsa "
        "--min_rate 0",
        f"    python recommend.py --data_dir '{tmp_path / 'my data'}' --user WHO",
    ]


@pytest.mark.parametrize(("described", "text"), [(True, "--model_name lsa"), (False, "--fusion_mode none")])
def test_the_next_commands_are_ones_that_run(described: bool, text: str, tmp_path: Path) -> None:
    """Their settings are legal, the lists come from every positive, and there is no text asked of bare titles."""
    folder = tmp_path / "data"
    result = converted(
        folder,
        source(
            [entry(f"u{user}", f"{(user + 3 * place) % 30}", 7) for user in range(12) for place in range(8)],
            [title(str(n)) for n in range(30)] * described,
        ),
    )
    check, train, listing = (shlex.split(line) for line in tool.convert_summary(result, folder).splitlines()[-3:])
    assert (check[:2], train[:2], listing[:2]) == (
        ["python", "tools/check.py"],
        ["python", "main.py"],
        ["python", "recommend.py"],
    )
    assert check[2:] == [str(folder)]
    assert " ".join(train).endswith(text)
    config = get_config(
        parse_overrides(
            [
                *train[2:],
                "--saved_dir",
                str(tmp_path / "saved"),
                "--epochs",
                "1",
                "--embedding_dim",
                "4",
                "--lsa_dim",
                "4",
                "--device",
                "cpu",
            ]
        )
    )
    assert config["refit"]
    main.run(config)
    lists = json.loads((tmp_path / "saved" / "recommendations.json").read_text(encoding="utf-8"))
    assert len(lists) == 12


def test_the_tool_overwrites_only_when_told(tmp_path: Path, call: Any) -> None:
    (tmp_path / "a.xml").write_bytes(mal_list(1, 2))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "anime.tsv.gz").write_bytes(b"mine")
    words = ("mal-xml", tmp_path / "a.xml", "--out", tmp_path / "out", "--statuses", "dropped,unknown")
    code, _, err = call(*words)
    assert code == 2
    assert "out has anime.tsv.gz already; name another --out, or replace them with --overwrite" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["anime.tsv.gz"]
    assert call(*words, "--overwrite")[0] == 0
    assert pairs(tmp_path / "out") == {("ann", "1"), ("ann", "2")}


def test_ctrl_c_leaves_the_folder_as_it_was(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.xml").write_bytes(mal_list(1, 2).replace(b"Dropped", b"Completed"))
    words = ("mal-xml", tmp_path / "a.xml", "--out", tmp_path / "out", "--overwrite")
    assert call(*words)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("importers.pipeline.Users.chosen", interrupted)
    with pytest.raises(SystemExit) as left:
        call(*words)
    assert left.value.code == 130
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(("flag", "value", "least"), [("--users", "-1", 0), ("--seed", "x", 0), ("--min_rows", "0", 1)])
def test_a_number_out_of_range_is_one_line(
    flag: str, value: str, least: int, call: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        call("auto", "a.xml", "--out", "out", flag, value)
    wrong = f"error: {flag}: {value!r} is not a whole number of at least {least} (see --help)\n"
    assert capsys.readouterr().err == wrong


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--statuses", "done,seen"), "--statuses names 'seen'; use some of: wish,done,doing,on_hold,dropped,unknown"),
        (("--columns", "user_id"), "write OURS=THEIRS"),
    ],
)
def test_the_tool_says_what_is_wrong_with_an_option(
    tmp_path: Path, call: Any, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "a.xml").write_bytes(mal_list(1))
    code, _, err = call("auto", tmp_path / "a.xml", "--out", tmp_path / "out", *words)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_tool_lists_formats_a_line_each() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "convert.py"), "--list"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(importers.FORMATS)


def test_from_a_dump_and_lists_to_a_trained_run(tmp_path: Path, call: Any) -> None:
    """Bangumi's dump with 40 anime and a book, and the lists of 30 users: the folder trains."""
    rng, source_dir = np.random.default_rng(0), tmp_path / "source"
    source_dir.mkdir()
    with open(source_dir / "subject.jsonlines", "w", encoding="utf-8") as file:
        for number in range(41):
            file.write(
                json.dumps(
                    {
                        "id": number,
                        "type": 1 if number == 40 else 2,
                        "name": f"name {number}",
                        "name_cn": f"名{number}",
                        "infobox": "",
                        "summary": f"story {number % 6}",
                        "nsfw": number == 39,
                        "tags": [{"name": f"tag{number % 5}", "count": 9}],
                        "date": "2001-04-05",
                    },
                    ensure_ascii=False,
                )
                + "\n"
            )
    for user in range(30):
        (source_dir / f"user{user}").mkdir()
        for offset in (0, 6):
            data = [
                {
                    "subject_id": int(number),
                    "subject_type": 2,
                    "rate": int(rng.integers(1, 11)),
                    "type": 2,
                    "comment": "fine" if number % 3 else None,
                    "updated_at": f"2020-01-{day + 1:02d}T00:00:00+08:00",
                }
                for day, number in enumerate(rng.choice(range(30), 6, replace=False))
            ]
            (source_dir / f"user{user}" / f"{offset}.json").write_text(
                json.dumps({"total": 12, "limit": 6, "offset": offset, "data": data}), encoding="utf-8"
            )
    code, out, err = call("auto", source_dir / "subject.jsonlines", source_dir, "--out", tmp_path / "data")
    assert code == 2
    assert "has files of bangumi-archive and of bangumi-collections; name the files or folders one by one" in err
    (source_dir / "subject.jsonlines").rename(tmp_path / "subject.jsonlines")
    code, out, err = call("auto", source_dir, tmp_path / "subject.jsonlines", "--out", tmp_path / "data")
    assert code == 0, err
    metrics = main.run(
        get_config(
            {
                "data_dir": str(tmp_path / "data"),
                "saved_dir": str(tmp_path / "saved"),
                "model_name": "lsa",
                "lsa_dim": 8,
                "embedding_dim": 8,
                "epochs": 1,
                "batch_size": 64,
                "device": "cpu",
            }
        )
    )
    assert (metrics["data"]["users"], metrics["data"]["items"]) == (30, 39)
    lists = json.loads((tmp_path / "saved" / "recommendations.json").read_text(encoding="utf-8"))
    assert set(lists) == {f"user{user}" for user in range(30)}
    assert lists["user0"][0]["name"].startswith("名")
