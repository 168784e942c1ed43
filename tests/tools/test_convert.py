"""tools/convert.py: what it says, the commands it names, and from an export to a trained run."""

import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import importers
import main
from config import get_config
from dataset.readers import read_interactions
from runtime.cli import parse_overrides, run_script
from tests.helpers.conversions import converted, entry, mal_list, pairs, source, title
from tools import convert as tool

ROOT = Path(main.__file__).resolve().parent


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


def test_a_format_may_be_left_out(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.xml").write_bytes(mal_list(1, 2).replace(b"Dropped", b"Completed"))
    Path("pairs").mkdir()  # a folder that is called like a format is no source by its name alone
    assert call("a.xml", "--out", "plain")[0] == call("auto", "a.xml", "--out", "named")[0] == 0
    assert Path("plain/interactions.tsv").read_bytes() == Path("named/interactions.tsv").read_bytes()
    for words, said in (
        (["pairs"], "pairs is a format, and no source is named after it; name a file or folder to read"),
        (["missing.xml"], "missing.xml is missing; name a file or folder to read"),
        (["mal-xm", "a.xml"], "there is no format 'mal-xm', the nearest is mal-xml"),
        (["a.xml", "missing.xml"], "missing.xml is missing"),
    ):
        code, out, err = call(*words, "--out", "none")
        assert (code, out) == (2, ""), words
        assert said in err
        assert len(err.splitlines()) == 1
    assert not Path("none").exists()


def test_rows_as_parquet(tmp_path: Path, call: Any) -> None:
    (tmp_path / "a.xml").write_bytes(mal_list(1, 2).replace(b"Dropped", b"Completed"))
    if find_spec("pyarrow") is None:
        code, _, err = call("auto", tmp_path / "a.xml", "--out", tmp_path / "out", "--parquet")
        assert code == 2
        assert "pip install pyarrow, or leave --parquet out" in err
        assert not (tmp_path / "out").exists()
        return
    for words, ending in (([], ".tsv"), (["--parquet", "--overwrite"], ".parquet"), (["--overwrite"], ".tsv")):
        assert call("auto", tmp_path / "a.xml", "--out", tmp_path / "out", *words)[0] == 0
        assert [path.suffix for path in (tmp_path / "out").glob("interactions.*")] == [ending]
        assert read_interactions(tmp_path / "out", pd.Series(["1", "2"]))[1]["rows"] >= 1


def test_the_tool_says_what_was_taken_for_granted_and_who_is_in_several_files(tmp_path: Path, call: Any) -> None:
    unsure = {"lists": [{"entries": [{"mediaId": 1, "score": 9, "media": {"idMal": None, "title": {"romaji": "A"}}}]}]}
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps({**unsure, "user": {"name": "ann"}}))
    (tmp_path / "c.xml").write_bytes(mal_list(0, 2).replace(b"Dropped", b"Completed"))
    code, out, _ = call("auto", *sorted(tmp_path.iterdir()), "--out", tmp_path / "out")
    both = f"{tmp_path / 'a.json'}, {tmp_path / 'b.json'}"
    assert code == 0
    assert f"{both}: nothing in it says whether its titles are anime or manga" in out
    assert f"{both}: it has no scoreFormat: the highest of 1 scores is 9" in out
    assert f"ann is in 3 files ({both}, {tmp_path / 'c.xml'}) and is taken as one user" in out
    assert "titles of lists without a number: 0 found by name among the others, 1 known by their names alone" in out


def test_the_tool_says_which_columns_it_took_and_drops_spoilers(tmp_path: Path, call: Any) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(",user,item,when,review\n0,1,2,2020-01-02,a<b [spoiler]he dies[/spoiler]\n", encoding="utf-8")
    code, out, err = call("auto", path, "--out", tmp_path / "D", "--spoilers", "drop")
    assert (code, err) == (0, "")
    assert out.splitlines()[1:3] == [
        "mine.csv: user is user_id, item is subject_id, review is comment; left out: the column without a name, when",
        "mine.csv: when looks like times, and no column of a usual name holds them; if it does, add --columns "
        "updated_at=when",
    ]
    assert (tmp_path / "D" / "interactions.tsv").read_text(encoding="utf-8").splitlines()[1] == "1\t2\t0\ta<b\t"
    path.write_text("0,1,2\n1,1,3\n2,2,2\n3,2,4\n4,3,2\n", encoding="utf-8")
    code, out, err = call("auto", path, "--out", tmp_path / "E")
    assert code == 2
    assert "(user_id, subject_id, rate) or as (number of the row, user_id, subject_id); which column" in err


@pytest.mark.slow
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


def test_options_say_whose_a_table_of_titles_is(tmp_path: Path, call: Any) -> None:
    """It has names of titles too, so that by itself it could describe them."""
    table, titles = tmp_path / "ratings.csv", tmp_path / "films.csv"
    table.write_text("wer,film_id,title,rating\nann,1,Akira,8\nbob,1,Akira,7\n")
    titles.write_text("film_id,title,rating\n1,Akira,8.1\n")
    code, out, err = call(table, "--out", tmp_path / "out")
    assert (code, out.count("of lists: 0")) == (2, 1)
    assert "say so with --columns user_id=NAME" in err
    code, out, _ = call(table, titles, "--columns", "user_id=wer", "--out", tmp_path / "out")
    assert (code, "2 rows of 2 users" in out) == (0, True)
    table.write_text("Date,Name,Rating\n2021-08-15,Akira,4.5\n")
    code, out, _ = call(table, "--user", "ann", "--out", tmp_path / "out", "--overwrite")
    assert (code, "1 rows of 1 users" in out) == (0, True)
    assert (tmp_path / "out/interactions.tsv").read_text().splitlines()[1] == "ann\tAkira\t4.5\t\t2021-08-15"


def test_a_split_by_files_is_told_to_be_merged(tmp_path: Path, call: Any) -> None:
    for name in ("train", "test"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.csv").write_text("user_id,item_id\n1,2\n")
    out = call(tmp_path / "in", "--out", tmp_path / "out")[1]
    assert "train.csv: its rows are merged with all others; to keep them apart give each a column part (train)" in out


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


@pytest.mark.slow
def test_the_tool_lists_formats_and_what_each_takes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "convert.py"), "--list"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(importers.FORMATS)
    assert [line.strip() for line in lines[1::2]] == [made.takes for made in importers.FORMATS.values()]


@pytest.mark.slow
def test_from_a_dump_and_lists_to_a_trained_run(tmp_path: Path, call: Any) -> None:
    """Bangumi's dump with 40 anime and a book, and the lists of 30 users: the folder trains."""
    rng, source_dir = np.random.default_rng(0), tmp_path / "source"
    source_dir.mkdir()
    with (source_dir / "subject.jsonlines").open("w", encoding="utf-8") as file:
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
    assert (metrics["data"]["users"], metrics["data"]["items"]) == (30, 38)  # 0 is the number of no title
    lists = json.loads((tmp_path / "saved" / "recommendations.json").read_text(encoding="utf-8"))
    assert set(lists) == {f"user{user}" for user in range(30)}
    assert lists["user0"][0]["name"].startswith("名")
