"""recommend.py as a person calls it: every flag, what contradicts itself, bad input, and the files it writes."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_data, write_tsv

import main
import recommend
from config import get_config
from data_loader import load_dataset
from inference import top_k, user_list
from runtime import manifest
from runtime.cli import run_script
from runtime.files import load_torch
from runtime.identity import OUTPUTS

Call = Callable[..., tuple[int, str, str]]
N_ITEMS = 30


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A finished run with text, years and titles nobody has collected."""
    folder = tmp_path_factory.mktemp("run")
    path = write_data(folder / "data") / "anime.tsv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    rows = [f"{header}\tyear", *(f"{line}\t{1990 + item}" for item, line in enumerate(lines))]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    write_tsv(folder / "data", "user.tsv", [("u3", "Ann", "")])
    config = get_config(
        {
            "data_dir": str(folder / "data"),
            "saved_dir": str(folder / "saved"),
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 8,
            "epochs": 3,
            "batch_size": 64,
            "device": "cpu",
            "cold_item_ratio": 0.2,
        }
    )
    main.run(config)
    return config


@pytest.fixture
def call(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the script on the run: words -> exit code, what it printed, what it said of errors."""

    def call_with(*words: str) -> tuple[int, str, str]:
        where = ["--data_dir", config["data_dir"], "--saved_dir", config["saved_dir"]]
        monkeypatch.setattr(sys, "argv", ["recommend.py", *where, *words])
        capsys.readouterr()
        code = run_script(recommend.main)
        return code, *capsys.readouterr()

    return call_with


@pytest.fixture
def saved_lists(config: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return json.loads((Path(config["saved_dir"]) / "recommendations.json").read_text(encoding="utf-8"))


def listed(printed: str) -> list[str]:
    """Read the ids off printed lists."""
    return [line.rsplit("(", 1)[1].rstrip(")") for line in printed.splitlines() if line.startswith("  ")]


def ids_of(titles: list[dict[str, Any]]) -> list[str]:
    return [title["subject_id"] for title in titles]


# --- lists on the screen ---


def test_everybodys_lists_are_written_again(
    call: Call, config: dict[str, Any], saved_lists: dict[str, list[dict[str, Any]]]
) -> None:
    path = Path(config["saved_dir"]) / "recommendations.json"
    path.unlink()
    assert call()[0] == 0
    assert json.loads(path.read_text(encoding="utf-8")) == saved_lists
    whole = path.read_bytes()
    assert call("--recommend_k", "3")[0] == 0
    assert path.read_bytes() != whole
    manifest.check(path.parent, *OUTPUTS)  # it is still of the run
    assert call()[0] == 0


@pytest.mark.parametrize("who", ["u3", "ann"])
def test_a_users_list(call: Call, saved_lists: dict[str, list[dict[str, Any]]], who: str) -> None:
    code, printed, _ = call("--user", who, "--k", "4")
    assert code == 0
    assert "for Ann (u3):" in printed
    assert listed(printed) == ids_of(saved_lists["u3"])[:4]
    assert f"{saved_lists['u3'][0]['score']:.3f}  {saved_lists['u3'][0]['name']}" in printed


def test_some_users_lists_from_a_file_and_from_the_input(
    call: Call, saved_lists: dict[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ids").write_text("u7\n\nu3\nnobody\nu7\n", encoding="utf-8")
    wanted = ids_of(saved_lists["u7"])[:3] + ids_of(saved_lists["u3"])[:3]
    code, printed, _ = call("--users", str(tmp_path / "ids"), "--k", "3")
    assert (code, listed(printed)) == (0, wanted)
    assert "1 of 3 ids are of no user of this run and get no list, the first of them 'nobody'" in printed
    monkeypatch.setattr(sys, "stdin", io.StringIO("u7\nu3\n"))
    assert listed(call("--users", "-", "--k", "3")[1]) == wanted


def test_a_list_for_someone_who_collected_some_titles(call: Call) -> None:
    code, printed, _ = call("--new_user", "s1,title 2", "--k", "5")
    assert code == 0
    assert "for someone who collected title 1, title 2:" in printed
    assert len(listed(printed)) == 5
    assert not {"s1", "s2"} & set(listed(printed))


def test_titles_like_a_title(call: Call) -> None:
    code, printed, _ = call("--similar", "title 1", "--k", "5")
    assert code == 0
    assert "nearest to title 1, by who collects them:" in printed
    assert "nearest to title 1, by their text:" in printed
    assert len(listed(printed)) == 10
    assert "s1" not in listed(printed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("new.json", '{"name": "title 99", "tags_name": ["tag1"], "summary": "story of 9"}'),
        ("new.tsv", 'year\tname\ttags_name\tsummary\n2030\ttitle 99\t["tag1"]\tstory of 9\n'),
    ],
)
def test_a_title_that_is_in_no_data(call: Call, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    code, printed, _ = call("--new_item", str(tmp_path / name), "--k", "4", "--min_year", "2000")
    assert code == 0
    assert printed.count("titles it is like") == 2
    assert "the users whom it suits best:" in printed
    assert all(int(raw[1:]) >= 10 for raw in listed(printed)[:8])
    assert all(raw.startswith("u") for raw in listed(printed)[8:])
    assert len(listed(printed)) == 12


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("no.json", None, "is missing"),
        ("bad.json", "{", "cannot be read"),
        ("list.json", "[]", "must hold one title"),
        ("two.tsv", "name\na\nb\n", "must hold one title"),
        ("none.tsv", "title\na\n", "must hold one title"),
        ("latin.tsv", b"name\n\xff\n", "UTF-8"),
        ("empty.json", '{"name": ""}', "needs a name"),
    ],
)
def test_a_new_title_that_cannot_be_read(
    call: Call, tmp_path: Path, name: str, content: str | bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    code, _, error = call("--new_item", str(tmp_path / name))
    assert code == 2
    assert told in error
    assert error.count("\n") == 1


def test_filters_hold_wherever_titles_are_listed(call: Call, config: dict[str, Any]) -> None:
    dataset = load_dataset(config)
    fit = {f"s{i}" for i in range(5, 26) if "tag1" in dataset.item_tags[i] and "tag2" not in dataset.item_tags[i]}
    filters = ("--tags", "TAG1", "--not_tags", "tag2", "--min_year", "1995", "--max_year", "2015", "--k", "30")
    for ask in (("--user", "u3"), ("--new_user", "s0,s4"), ("--similar", "s0")):
        code, printed, _ = call(*ask, *filters)
        assert code == 0
        assert set(listed(printed)) <= fit
    assert set(listed(printed)) == fit


def test_new_titles_alone_with_filters_and_without(call: Call, config: dict[str, Any]) -> None:
    dataset = load_dataset(config)
    cold = {f"s{item}" for item in np.setdiff1d(np.arange(N_ITEMS), dataset.warm_items)}
    code, printed, _ = call("--new_user", "s1", "--new", "--k", "30")
    assert (code, set(listed(printed))) == (0, cold - {"s1"})
    later = set(listed(call("--new_user", "s1", "--new", "--k", "30", "--min_year", "2005")[1]))
    assert later == {raw for raw in cold if int(raw[1:]) >= 15} - {"s1"}
    assert "there is none" in call("--new_user", sorted(cold)[0], "--new", "--tags", "tag0", "--max_year", "1990")[1]


def test_the_screen_is_80_columns_wide_whatever_the_script() -> None:
    entries = [
        {"subject_id": "12345", "name": name, "score": 1.0}
        for name in ("進撃の巨人" * 20, "a" * 200, "two\nlines", "e\u0301" * 30, "short")
    ]
    heading, *lines = recommend.printed("為" * 60, entries).splitlines()
    assert all(recommend.columns(line) <= 80 for line in (heading, *lines))
    assert all(line.endswith(" (12345)") for line in lines)
    assert [recommend.columns(line) for line in lines[:2]] == [79, 80]
    assert ["…" in line for line in lines] == [True, True, False, False, False]


# --- someone's list from a site ---


def exported(*rows: tuple[str, ...], **more: list[str]) -> pd.DataFrame:
    """Return what importers.read_export does: rows of subject_id, name, status and rate."""
    table = pd.DataFrame(rows, columns=["subject_id", "name", "status", "rate"])
    return table.assign(rate=table["rate"].astype(float), user_id="me", username="Me", comment="", **more)


@pytest.fixture
def export_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[pd.DataFrame], str]:
    """Let a file hold such rows for the importers, and return its name."""

    def of(rows: pd.DataFrame) -> str:
        monkeypatch.setattr(user_list, "read_export", lambda path: ("mal", rows))
        (tmp_path / "list.xml").write_text("<x/>", encoding="utf-8")
        return str(tmp_path / "list.xml")

    return of


def test_an_exported_list_tells_taste_but_for_what_was_wished_dropped_or_disliked(
    call: Call, export_of: Callable[[pd.DataFrame], str]
) -> None:
    path = export_of(
        exported(
            ("s1", "title 1", "done", "8"),
            ("s2", "title 2", "", "0"),
            ("s3", "title 3", "wish", "0"),
            ("s4", "title 4", "dropped", "9"),
            ("s5", "title 5", "done", "0.5"),
            ("zz", "TITLE  6", "doing", "7"),
            ("yy", "of another world", "done", "7"),
        )
    )
    code, printed, _ = call("--new_user", path, "--k", "30")
    assert code == 0
    assert "list.xml (mal): of 7 titles, 6 are known here (1 by name) and 3 count as liked" in printed
    by_hand = call("--new_user", "s1,s2,s6", "--k", "30")[1]
    assert listed(printed) == [raw for raw in listed(by_hand) if raw not in ("s3", "s4", "s5")]


def test_ids_of_another_site_count_for_nothing(call: Call, export_of: Callable[[pd.DataFrame], str]) -> None:
    rows = [(f"s{i}", f"title {i + 10}", "done", "8") for i in range(4)]
    theirs = listed(call("--new_user", export_of(exported(*rows)), "--k", "9")[1])
    assert theirs == listed(call("--new_user", "s10,s11,s12,s13", "--k", "9")[1])
    odd = listed(call("--new_user", export_of(exported(*rows, ("s20", "no such name", "done", "8"))), "--k", "9")[1])
    assert odd == theirs


def test_another_sites_id_beside_is_tried_next(call: Call, export_of: Callable[[pd.DataFrame], str]) -> None:
    rows = exported(("a1", "in words of theirs", "done", "8"), ("a2", "", "done", "8"), other_id=["s7", "s8"])
    assert listed(call("--new_user", export_of(rows))[1]) == listed(call("--new_user", "s7,s8")[1])


@pytest.mark.parametrize("rows", [[("zz", "nothing here", "done", "8")], [("s1", "title 1", "wish", "0")]])
def test_a_list_that_tells_nothing_is_a_sentence(
    call: Call, export_of: Callable[[pd.DataFrame], str], rows: list[tuple[str, ...]]
) -> None:
    code, _, error = call("--new_user", export_of(exported(*rows)))
    assert code == 2
    assert "0 count as liked" in error
    assert "nothing to go by" in error


def test_an_id_is_no_file_even_where_a_file_is_called_so(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s1").write_text("no list", encoding="utf-8")
    assert call("--new_user", "s1")[0] == 0


# --- files of lists ---


def test_lists_in_every_format_are_the_same_lists(
    call: Call, tmp_path: Path, saved_lists: dict[str, list[dict[str, Any]]]
) -> None:
    for suffix in (".json", ".jsonl", ".csv", ".tsv"):
        assert call("--out", str(tmp_path / f"new/lists{suffix}"))[0] == 0
    folder = tmp_path / "new"
    assert json.loads((folder / "lists.json").read_text(encoding="utf-8")) == saved_lists
    lines = [json.loads(line) for line in (folder / "lists.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["user_id"]: line["titles"] for line in lines} == saved_lists
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        with open(folder / f"lists{suffix}", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=delimiter))
        assert list(rows[0]) == list(top_k.COLUMNS)
        assert [list(row.values()) for row in rows] == [
            [user, str(rank), *map(str, title.values())]
            for user, titles in saved_lists.items()
            for rank, title in enumerate(titles, start=1)
        ]
    assert not list(folder.glob("*.tmp"))


def test_parquet_holds_the_same_rows_in_blocks(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved_lists: dict[str, list[dict[str, Any]]]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(top_k, "ROWS", 7)
    assert call("--out", str(tmp_path / "inference.top_k.parquet"))[0] == 0
    table = parquet.read_table(tmp_path / "inference.top_k.parquet").to_pydict()
    assert list(table) == list(top_k.COLUMNS)
    assert table["subject_id"] == [raw for titles in saved_lists.values() for raw in ids_of(titles)]
    assert table["rank"][:3] == [1, 2, 3]


def test_one_users_list_and_a_newcomers_go_to_a_file_too(
    call: Call, tmp_path: Path, saved_lists: dict[str, list[dict[str, Any]]]
) -> None:
    path = tmp_path / "one.json"
    assert call("--user", "Ann", "--out", str(path))[0] == 0
    written = json.loads(path.read_text(encoding="utf-8"))
    assert list(written) == ["u3"]
    assert ids_of(written["u3"]) == ids_of(saved_lists["u3"])
    assert call("--new_user", "s1", "--out", str(path), "--k", "3")[0] == 0
    assert len(json.loads(path.read_text(encoding="utf-8"))["new user"]) == 3
    (tmp_path / "ids").write_text("u7\nu3\n", encoding="utf-8")
    assert call("--users", str(tmp_path / "ids"), "--out", str(path))[0] == 0
    assert list(json.loads(path.read_text(encoding="utf-8"))) == ["u7", "u3"]


def test_no_lists_are_json_as_well(tmp_path: Path) -> None:
    top_k.write_lists(tmp_path / "none.json", [])
    assert json.loads((tmp_path / "none.json").read_text(encoding="utf-8")) == {}


def test_a_file_of_lists_is_whole_or_not_there(tmp_path: Path) -> None:
    def broken() -> top_k.Lists:
        yield "u1", []
        raise ValueError("half way")

    for suffix in (".json", ".csv"):
        path = tmp_path / f"lists{suffix}"
        path.write_text("before", encoding="utf-8")
        with pytest.raises(ValueError, match="half way"):
            top_k.write_lists(path, broken())
        assert path.read_text(encoding="utf-8") == "before"
    assert len(list(tmp_path.iterdir())) == 2


def test_lists_of_blocks_are_those_of_one(config: dict[str, Any], saved_lists: dict[str, list[dict[str, Any]]]) -> None:
    dataset = load_dataset(config)
    users, items = (
        torch.load(Path(config["saved_dir"]) / f"{side}_emb.pt", weights_only=True) for side in ("user", "item")
    )
    ties = torch.zeros_like(users)  # which are broken by one sequence of random numbers
    for vectors in (users, ties):
        one, again = (dict(top_k.each_list(vectors, items, dataset, 9, config)) for _ in range(2))
        many = dict(top_k.each_list(vectors, items, dataset, 9, {**config, "eval_memory_mb": 0}))
        assert again == one
        assert list(many) == list(one)
        if vectors is users:
            assert [ids_of(titles) for titles in many.values()] == [ids_of(titles) for titles in one.values()]
    assert [ids_of(titles[:9]) for titles in saved_lists.values()] == [
        ids_of(titles) for titles in top_k.recommend(users, items, dataset, 9, config).values()
    ]


# --- vectors and split for others ---


def test_exported_vectors_and_split_are_those_of_the_run(call: Call, config: dict[str, Any], tmp_path: Path) -> None:
    assert call("--export", str(tmp_path))[0] == 0
    dataset = load_dataset(config)
    for side, ids in (("user", dataset.raw_user_ids), ("item", dataset.raw_item_ids)):
        vectors = np.load(tmp_path / f"{side}_vectors.npy", allow_pickle=False)
        assert vectors.dtype == np.float32
        assert np.array_equal(vectors, torch.load(Path(config["saved_dir"]) / f"{side}_emb.pt", weights_only=True))
        assert (tmp_path / f"{side}_ids.txt").read_text(encoding="utf-8").split("\n") == [*ids, ""]
    raw = pd.read_csv(Path(config["data_dir"]) / "interactions.tsv", sep="\t", dtype=str)
    rates = {(row.user_id, row.subject_id): float(row.rate) for row in raw.itertuples()}
    for part in ("train", "valid", "test", "cold_valid", "cold_test"):
        lines = (tmp_path / "data" / f"data.{part}.inter").read_text(encoding="utf-8").splitlines()
        assert lines[0] == "user_id:token\titem_id:token\trating:float\ttimestamp:float"
        rows = [line.split("\t") for line in lines[1:]]
        pairs = np.argwhere(getattr(dataset, part))
        assert [row[:2] for row in rows] == [
            [dataset.raw_user_ids[user], dataset.raw_item_ids[item]] for user, item in pairs
        ]
        assert all(float(rate) == rates[user, item] for user, item, rate, _ in rows)
        assert all(1.57e9 < float(time) < 1.62e9 for *_, time in rows)
    titles = (tmp_path / "data" / "data.item").read_text(encoding="utf-8").splitlines()
    assert titles[:2] == ["item_id:token\tname:token_seq\ttags:token_seq", "s0\ttitle 0\ttag0 tag0"]
    assert len(titles) == N_ITEMS + 1
    assert "IndexFlatIP" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_bare_graph_is_exported_without_rates_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("train.txt", "test.txt"):
        rows = [" ".join(map(str, (user, *rng.choice(12, 5, replace=False)))) for user in range(12)]
        (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    where = ["recommend.py", "--data_dir", str(folder), "--saved_dir", str(tmp_path / "saved")]
    main.run(
        get_config(
            {
                "data_dir": str(folder),
                "saved_dir": str(tmp_path / "saved"),
                "fusion_mode": "none",
                "epochs": 1,
                "embedding_dim": 4,
                "top_k": [3],
                "recommend_k": 3,
                "device": "cpu",
            }
        )
    )
    monkeypatch.setattr(sys, "argv", [*where, "--export", str(tmp_path / "out")])
    assert run_script(recommend.main) == 0
    split = tmp_path / "out" / "my-data"
    assert {path.name for path in split.iterdir()} == {
        f"my-data.{part}" for part in ("train.inter", "valid.inter", "test.inter", "item")
    }
    assert (split / "my-data.train.inter").read_text(encoding="utf-8").startswith("user_id:token\titem_id:token\n")


def test_an_id_with_a_line_break_is_not_exported(tmp_path: Path) -> None:
    from inference.export import _write_ids

    with pytest.raises(ValueError, match=r"id 'a\\nb' holds a tab or a line break"):
        _write_ids(tmp_path / "ids.txt", ["a\nb"])


# --- what is refused ---


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--user", "u1", "--similar", "s1"), "--user and --similar ask for two things"),
        (("--export", "x", "--users", "y"), "--users and --export ask for two things"),
        (("--export", "x", "--k", "3"), "--k does not go with --export"),
        (("--similar", "s1", "--out", "x.csv"), "--out does not go with --similar"),
        (("--new_item", "x", "--out", "x.csv"), "--out does not go with --new_item"),
        (("--new",), "--new alone does not say for whom; it goes with --user, --new_user"),
        (("--tags", "tag1"), "--tags alone does not say for whom"),
        (("--min_year", "2000"), "--min_year alone does not say for whom"),
        (("--user", "u1", "--min_year", "2001", "--max_year", "2000"), "--min_year 2001 is after --max_year 2000"),
        (("--user", "u1", "--min_year", "then"), "--min_year: invalid int value: 'then'"),
        (("--user",), "--user: expected one argument"),
        (("--out", "lists.xml"), "let it end in one of: .json, .jsonl, .csv, .tsv, .parquet"),
        (("--user", "u1", "--k", "99"), "--k asks for 99 titles, but the data have 30"),
        (("--user", "u1", "--k", "x"), "--k: 'x' is not a whole number"),
        (("--user", "u333"), "no user 'u333' in this run; the nearest are u33"),
        (("--similar", "s333"), "no title 's333' in this run; the nearest are"),
        (("--new_user", "s1,nothing"), "no title 'nothing'"),
        (("--new_user", ""), "names nothing"),
        (("--user", "u1", "--tags", "tagg1"), "no title has the tag 'tagg1'; the nearest are tag1"),
        (("--user", "u1", "--tags", "tag1", "--not_tags", "tag1"), "no title has all that is asked of it"),
        (("--users", "no file"), "no file is missing; --users names a file"),
        (("--user", "u1", "--lr", "x"), "lr takes a number, not 'x'"),
        (("--similer", "s1"), "unknown flag '--similer'; the nearest is --similar"),
    ],
)
def test_bad_input_is_one_sentence(call: Call, words: tuple[str, ...], told: str) -> None:
    code, _, error = call(*words)
    assert code == 2
    assert told in error
    assert error.startswith("error: ")
    assert "everybody" not in error
    assert error.count("\n") == 1


def test_without_k_a_list_is_as_long_as_the_data_allow(call: Call) -> None:
    assert len(listed(call("--new_user", "s1", "--recommend_k", "99")[1])) == N_ITEMS - 1


def test_a_year_of_0_or_1_is_a_year(call: Call) -> None:
    assert "no title has all" in call("--user", "u1", "--max_year", "0")[2]
    assert "--max_year alone does not say for whom" in call("--max_year", "0")[2]


def test_users_of_whom_none_is_known(call: Call, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("x\ny\n", encoding="utf-8")
    assert "none of the 2 lines" in call("--users", str(tmp_path / "ids"))[2]


def test_without_pyarrow_parquet_is_refused_before_anything_is_loaded(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_k, "find_spec", lambda name: None)
    monkeypatch.setattr(recommend, "load_finished", None)
    code, _, error = call("--out", "inference.top_k.parquet")
    assert code == 2
    assert "pip install pyarrow, or write one of: .json" in error


def test_without_a_run_the_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["recommend.py", "--saved_dir", str(tmp_path)])
    assert run_script(recommend.main) == 2
    assert "run python main.py" in capsys.readouterr().err


def test_every_flag_is_answered_or_stands_beside_one_that_is() -> None:
    assert set(recommend.ANSWERS) == set(recommend.BESIDE)
    flags = set(vars(recommend.FLAGS.parse_args([])))
    assert flags | {"everybody"} == {*recommend.BESIDE, *sum(recommend.BESIDE.values(), ())}


# --- why ---


def parts_of(line: str) -> float:
    return sum(float(part.rsplit(" ", 1)[1]) for part in line.strip().split(" + "))


@pytest.mark.parametrize("words", [("--user", "u3"), ("--new_user", "s1,s2,s5")])
def test_why_names_collected_titles_and_parts_that_sum_to_the_score(
    call: Call, config: dict[str, Any], words: tuple[str, ...]
) -> None:
    code, plain, _ = call(*words, "--k", "5")
    code, told, _ = call(*words, "--k", "5", "--why")
    assert code == 0
    lines = told.splitlines()
    entries = [line for line in lines if line.lstrip()[:1].isdigit()]
    assert entries == [line for line in plain.splitlines() if line.lstrip()[:1].isdigit()]
    dataset, collected = load_dataset(config), {"title 1", "title 2", "title 5"}
    if words[0] == "--user":
        collected = {dataset.item_names[item] for item in dataset.train[dataset.raw_user_ids.index("u3")].indices}
    for entry in entries:
        start = lines.index(entry) + 1
        stop = next((place for place in range(start, len(lines)) if lines[place] in entries), len(lines))
        assert all(len(line) <= 80 and "…" not in line for line in lines[start:stop])
        because, parts = " ".join(line.strip() for line in lines[start:stop]).split(" history ")
        names, parts = because.strip().removeprefix("because of ").split("; "), f"history {parts}"
        assert set(names) <= collected | {"no title alone"}
        assert 1 <= len(names) <= 3
        assert parts_of(parts) == pytest.approx(float(entry.split()[1]), abs=0.004)


def test_reasons_are_wrapped_and_titles_named_once() -> None:
    entry = {
        "subject_id": "7",
        "name": "x",
        "score": 1.0,
        "parts": {f"part_{n}": n / 7 for n in range(6)},
        "because": [{"name": f"{letter * 40} / other name"} for letter in "abc"],
    }
    assert recommend.printed("for y:", [entry]).splitlines()[2:] == [
        "     because of " + "a" * 40 + ";",
        "     " + "b" * 40 + ";",
        "     " + "c" * 40,
        "     part 0 0.000 + part 1 0.143 + part 2 0.286 + part 3 0.429 + part 4 0.571 +",
        "     part 5 0.714",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--user", "u3", "--min_yaer=2000"), "unknown flag '--min_yaer'; the nearest is --min_year"),
        (("--user", "u3", "--embeding_dim", "3"), "unknown flag '--embeding_dim'; the nearest is --embedding_dim"),
        (("--user", "u3", "--k", "0"), "--k: '0' is not a whole number of at least 1"),
        (("--new_user", "nowhere.xml"), "nowhere.xml is missing, and no title is called so"),
    ],
)
def test_slips_of_the_pen_are_told_in_the_words_that_were_typed(
    words: tuple[str, ...], message: str, call: Call
) -> None:
    code, _, err = call(*words)
    assert (code, len(err.splitlines())) == (2, 1)
    assert message in err


@pytest.mark.parametrize("words", [("--user", "u3"), ("--new_user", "s1,s2,s5")])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_why_in_a_file_has_titles_with_shares_and_parts(
    words: tuple[str, ...], name: str, call: Call, tmp_path: Path
) -> None:
    path = tmp_path / name
    assert call(*words, "--k", "5", "--why", "--out", str(path))[0] == 0
    content = json.loads(path.read_text(encoding="utf-8"))
    titles = content["titles"] if name.endswith("l") else next(iter(content.values()))
    assert len(titles) == 5
    for title in titles:
        assert set(title) == {"subject_id", "name", "score", "because", "parts"}
        assert all(set(one) == {"subject_id", "name", "share"} and 0 < one["share"] <= 1 for one in title["because"])
        assert sum(title["parts"].values()) == pytest.approx(title["score"], abs=1e-4)
    assert any(title["because"] for title in titles)


def test_why_is_for_one_person_and_for_what_has_a_place_for_it(call: Call, tmp_path: Path) -> None:
    code, _, err = call("--user", "u3", "--why", "--out", str(tmp_path / "a.csv"))
    assert (code, "end --out in .json or .jsonl" in err) == (2, True)
    assert "it goes with --user, --new_user" in call("--why")[2]


def test_reasons_of_a_vector_that_is_not_the_models_are_refused(call: Call, config: dict[str, Any]) -> None:
    """The manifest tells of a changed file; where there is none, or it was made to fit, the model's vectors do."""
    path = Path(config["saved_dir"]) / "user_emb.pt"
    before = path.read_bytes()
    assert call("--user", "u3", "--why")[0] == 0
    vectors = load_torch(path)
    vectors[load_dataset(config).raw_user_ids.index("u3"), 0] += 0.05
    try:
        torch.save(vectors, path)
        code, _, err = call("--user", "u3", "--why")
        assert (code, "user_emb.pt not as run" in err) == (2, True)
        manifest.record_again(path.parent, path.name)
        code, _, err = call("--user", "u3", "--why")
        assert (code, call("--user", "u3")[0], call("--user", "u4", "--why")[0]) == (2, 0, 0)
    finally:
        path.write_bytes(before)
        manifest.record_again(path.parent, path.name)
    assert "user_emb.pt is not what best_model.pth makes" in err
    assert len(err.splitlines()) == 1
