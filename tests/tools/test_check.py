"""tools/check.py: what it finds, where, and that it refuses what main.py refuses and nothing else."""

import csv
import gzip
import json
import shlex
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

import main
from config import get_config
from data_loader import load_dataset
from dataset.tables import row_lines
from runtime.cli import parse_overrides
from tests.helpers.data import write_data, write_tsv
from tools import check, run_time
from tools.suspects import suspicious_pairs, suspicious_rows

QUICK = ("--model_name", "lsa", "--device", "cpu")
Call = Callable[..., tuple[int, str, str]]


# --- what looks wrong ---


COPIED = "a comment of a template, word for word"
ROWS = [
    ("u1", "s1", 5, "fine", "2020-01-01"),  # line 2
    ("U1", "s2", 5, "", "2020-01-01"),  # 3: u1 in capitals
    ("u1", "s9", 5, "", "2020-01-01"),  # 4: no such title
    ("u1", "s1", 6, "two\nlines", "2020-01-02"),  # 5 and 6: as line 2
    ("u2", "s1", 5, "", "2099-01-01"),  # 7: in the future
    ("u2", "s2", 5, "", "1980-01-01"),  # 8: before 1990
    ("u2", "s3", 5, "", "last summer"),  # 9: no time
    ("u2", "s4", 5, "", ""),
    ("u2", "s5", 5, "", ""),  # 10, 11: with these more than half of 8 titles
    *((f"v{n}", f"s{n}", 5, COPIED, "") for n in range(1, 6)),  # 12 to 16
    *(("w", f"s{n}", 5, "ok", "") for n in range(1, 5)),  # 17 to 20: four times only
    *((f"x{n}", f"s{n % 5 + 1}", 5, "short", "") for n in range(6)),
]  # 21 to 26: short, by different users
TITLES = [
    ("s1", "One", "", "x" * 10_001),  # line 2
    ("s2", "Ｏne ", "", "two\nlines"),  # 3 and 4: named as s1
    ("s3", "Three", "", ""),
    ("s4", "", "", ""),
    ("s5", "", "", ""),  # 5 to 7; no name is no repeated name
    ("S3", "Four", "", ""),  # 8: s3 in capitals
    ("s3", "Five", "", ""),  # 9: s3 again
    ("s6", "Six", "", ""),
    ("s7", "Seven", "", ""),
]  # 10, 11


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    write_tsv(tmp_path / "odd", "anime.tsv", TITLES)
    write_tsv(tmp_path / "odd", "interactions.tsv", ROWS)
    return tmp_path / "odd"


def test_ids_that_a_failed_formula_left_are_named(tmp_path: Path) -> None:
    write_tsv(tmp_path, "anime.tsv", [("s1", "One", "", ""), ("#N/A", "Two", "", ""), ("NA", "Na", "", "")])
    write_tsv(tmp_path, "interactions.tsv", [("u", "s1", 5, "", ""), ("None", "#N/A", 5, "", "")])
    found = {one.what: one.examples for one in suspicious_rows(tmp_path)}
    assert found["subject_ids that say there is none"] == ["line 3: '#N/A'"]
    assert found["user_ids that say there is none"] == ["line 3: 'None'"]


def test_doubtful_rows_are_named_with_their_lines(odd: Path) -> None:
    found = {kind.what: (kind.count, kind.examples) for kind in suspicious_rows(odd)}
    singles = found.pop("users with a single title")
    assert singles == (
        13,
        ["line 2: user 'u1', 1 of 8 titles", "line 3: user 'U1', 1 of 8 titles", "line 12: user 'v1', 1 of 8 titles"],
    )
    assert found == {
        "titles whose subject_id an earlier line has": (1, ["line 9: 's3'"]),
        "subject_ids that differ only in case or width": (1, ["line 5: 's3', line 8: 'S3'"]),
        "names that several titles have": (1, ["lines 2, 3: 'One'"]),
        "summaries of more than 10,000 characters": (1, ["line 2: 10,001 characters"]),
        "rows of titles that anime.tsv does not have": (1, ["line 4: 's9'"]),
        "pairs of user and title that stand in several rows": (1, ["lines 2, 5: user 'u1', title 's1'"]),
        "user_ids that differ only in case or width": (1, ["line 2: 'u1', line 3: 'U1'"]),
        "users who have more than half of all titles": (1, ["line 7: user 'u2', 5 of 8 titles"]),
        "times that cannot be read": (1, ["line 9: 'last summer'"]),
        "times in the future": (1, ["line 7: '2099-01-01'"]),
        "times before 1990": (1, ["line 8: '1980-01-01'"]),
        "comments that are repeated over and over": (1, [f"lines 12, 13, 14, 15, ...: {COPIED!r}, 5 times"]),
    }


def test_a_user_who_repeats_a_short_comment_is_named(tmp_path: Path) -> None:
    write_data(tmp_path)
    write_tsv(tmp_path, "interactions.tsv", [("u", f"s{n}", 5, "ok", "") for n in range(5)])
    [found] = suspicious_rows(tmp_path)
    assert found.examples == ["lines 2, 3, 4, 5, ...: 'ok', 5 times"]


def test_good_data_raise_no_suspicion(data_dir: Path) -> None:
    assert suspicious_rows(data_dir) == []


def test_the_text_format_has_its_own_suspects(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("1 1 2 3 3\n2 1\n3 1 2 3 4\n", encoding="utf-8")
    (tmp_path / "test.txt").write_text("1 2 4\n", encoding="utf-8")
    dataset = load_dataset(get_config({"data_dir": str(tmp_path)}))
    assert {kind.what: (kind.count, kind.examples) for kind in suspicious_pairs(dataset)} == {
        "repeated pairs": (1, []),
        "test pairs that train has": (1, []),
        "users with a single title": (1, ["user '2'"]),
        "users who have more than half of all titles": (2, ["user '1'", "user '3'"]),
    }


def test_row_lines_skip_empty_lines_and_know_line_breaks_in_fields(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b'a\tb\r\n1\t"x\r\ny"\r\n\r\n2\tz\r\n3\t"\n\n"\n4\t5')
    assert list(row_lines(tmp_path / "a.tsv")) == [2, 5, 6, 9]


# --- what main.py refuses ---


def lines_of(folder: Path, name: str) -> list[str]:
    return (folder / name).read_text(encoding="utf-8").split("\n")


def put(name: str, line: int, text: str) -> Callable[[Path], None]:
    """Return a change: put a text in place of a line (counted from 1) of a file."""

    def change(folder: Path) -> None:
        lines = lines_of(folder, name)
        lines[line - 1] = text
        (folder / name).write_text("\n".join(lines), encoding="utf-8")

    return change


def drop(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def only_text_files(folder: Path) -> None:
    drop("anime.tsv", "interactions.tsv")(folder)
    (folder / "train.txt").write_text(
        "".join(f"{user} {' '.join(map(str, range(user, user + 6)))}\n" for user in range(30)), encoding="utf-8"
    )
    (folder / "test.txt").write_text("".join(f"{user} {user + 7}\n" for user in range(30)), encoding="utf-8")


def without_texts(folder: Path) -> None:
    write_tsv(folder, "anime.tsv", [(f"s{n}", "", "", "") for n in range(30)])


def everyone_has_everything(folder: Path) -> None:
    write_tsv(folder, "interactions.tsv", [(f"u{n}", "s1", 5, "", "") for n in range(4)])


def damaged_gz(folder: Path) -> None:
    packed = gzip.compress((folder / "interactions.tsv").read_bytes())
    drop("interactions.tsv")(folder)
    (folder / "interactions.tsv.gz").write_bytes(packed[:100])


INPUTS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "good": (lambda folder: None, ()),
    "no anime.tsv": (drop("anime.tsv"), ()),
    "nothing": (drop("anime.tsv", "interactions.tsv"), ()),
    "a bad rate": (put("interactions.tsv", 5, "u\ts1\tx\t\t"), ()),
    "a short row": (put("anime.tsv", 5, "s3\tname"), ()),
    "bad tags": (put("anime.tsv", 5, "s3\tname\t[broken\t"), ()),
    "an empty id": (put("interactions.tsv", 5, "\ts1\t5\t\t"), ()),
    "an open quote": (put("interactions.tsv", 5, 'u\ts1\t5\t"x\t'), ()),
    "another header": (put("anime.tsv", 1, "id\tname\ttags_name\tsummary"), ()),
    "an unknown title": (put("interactions.tsv", 5, "u\tnone\t5\t\t"), ()),
    "an unreadable time": (put("interactions.tsv", 5, "u\ts1\t5\t\tnoon"), ()),
    "a bad user.tsv": (lambda folder: (folder / "user.tsv").write_text("user_id\n", encoding="utf-8") and None, ()),
    "half a gz": (damaged_gz, ()),
    "min_rate too high": (lambda folder: None, ("--min_rate", "11")),
    "long lists": (lambda folder: None, ("--recommend_k", "31")),
    "no texts": (without_texts, ()),
    "no texts, none asked": (without_texts, ("--fusion_mode", "none")),
    "no encoder": (lambda folder: None, ("--model_name", "./nowhere")),
    "a device": (lambda folder: None, ("--device", "cuda:77")),
    "a typo": (lambda folder: None, ("--epoch", "1")),
    "text files": (only_text_files, ("--fusion_mode", "none")),
    "text files with text": (only_text_files, ()),
    "text files, cold": (only_text_files, ("--fusion_mode", "none", "--cold_item_ratio", "0.1")),
    "no negatives": (everyone_has_everything, ()),
    "nothing to train on": (lambda folder: None, ("--cold_item_ratio", "0.99")),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", INPUTS)
def test_the_exit_code_is_that_of_main(case: str, data_dir: Path, tmp_path: Path, call: Call) -> None:
    change, settings = INPUTS[case]
    change(data_dir)
    more = (*QUICK, "--epochs", "1", "--embedding_dim", "8", "--lsa_dim", "8", *settings)
    code, _, error = call(main, "--data_dir", str(data_dir), "--saved_dir", str(tmp_path / "saved"), *more)
    checked, page, said = call(check, str(data_dir), "--no_timing", *more)
    assert checked == code, page
    assert said == error


def test_a_model_that_must_be_downloaded_is_not(data_dir: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "find_model", lambda name, revision: name)
    monkeypatch.setattr(run_time, "transformer_encoder", lambda *args: pytest.fail("it was loaded"))
    code, page, _ = call(check, str(data_dir), "--model_name", "some/model", "--device", "cpu")
    assert code == 0
    assert "some/model is not on disk: the first run downloads it" in page
    assert "and the download of some/model" in page


def test_an_encoder_out_of_reach_is_lsa_or_an_end(data_dir: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str, revision: str) -> str:
        raise OSError("the hub is not reachable; connect")

    monkeypatch.setattr(check, "find_model", not_found)
    words = (str(data_dir), "--no_timing", "--model_name", "some/model", "--device", "cpu")
    code, page, _ = call(check, *words)
    assert code == 0
    assert "lsa would take its place" in page
    assert call(check, *words, "--encoder_fallback", "none")[0] == 2


@pytest.mark.parametrize("packed", [False, True])
def test_all_wrong_lines_are_named_at_once(packed: bool, data_dir: Path, call: Call) -> None:
    put("anime.tsv", 4, "\tname\t\t")(data_dir)
    put("interactions.tsv", 5, "u\ts1\tx\t\t")(data_dir)
    put("interactions.tsv", 7, 'u\ts1\ty\t"two\nlines"\t')(data_dir)
    put("interactions.tsv", 12, "u\ts1")(data_dir)
    put("interactions.tsv", 15, 'u\ts1\t5\t"open\t')(data_dir)
    (data_dir / "known.tsv").write_text("user_id\tsubject_id\nu\t\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in data_dir.iterdir()}
    name = "interactions.tsv"
    if packed:
        (data_dir / "interactions.tsv.gz").write_bytes(gzip.compress((data_dir / name).read_bytes()))
        (data_dir / name).unlink()
        before, name = {path: path.read_bytes() for path in data_dir.iterdir()}, "interactions.tsv.gz"
    code, out, error = call(check, str(data_dir), *QUICK, "--json")
    assert code == 2
    problems = json.loads(out)["problems"]
    assert [problem.split(": ")[0].removeprefix(f"{data_dir}/") for problem in problems] == [
        "anime.tsv line 4",
        f"{name} line 12",
        f"{name} line 15",
        f"{name} line 5",
        f"{name} line 7",
        "known.tsv line 2",
    ]
    assert error == f"error: {problems[0]}\n"
    assert {path: path.read_bytes() for path in data_dir.iterdir()} == before


def test_emptied_lines_bring_no_problem_of_their_own(data_dir: Path, call: Call) -> None:
    (data_dir / "anime.tsv").write_text("subject_id\tname\ttags_name\tsummary\n\tname\t\t\n", encoding="utf-8")
    _, out, _ = call(check, str(data_dir), *QUICK, "--json")
    assert len(json.loads(out)["problems"]) == 1


# --- the page ---


def test_the_page_is_80_columns_wide_also_in_chinese(tmp_path: Path, call: Call) -> None:
    write_data(tmp_path)
    write_tsv(tmp_path, "anime.tsv", [(f"s{n}", "一个很长很长的名字" * 9, "标签", "简介" * 6000) for n in range(30)])
    code, page, _ = call(check, str(tmp_path), *QUICK, "--no_timing")
    assert code == 0
    assert "names that several titles have" in page
    for line in page.removeprefix(str(tmp_path)).splitlines():
        assert sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in line) <= 80, line


def test_json_holds_what_the_page_is_made_of(odd: Path, call: Call) -> None:
    words = (str(odd), *QUICK, "--no_timing", "--top_k", "2", "--recommend_k", "2")
    code, out, _ = call(check, *words, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["profile"]["counts"]["titles"] == 8
    assert "seconds" not in found
    assert check.page(found) + "\n" == call(check, *words)[1]


def advised(folder: Path, call: Call, *words: str) -> str:
    page = call(check, str(folder), *QUICK, "--no_timing", *words)[1]
    return " ".join(page.split("\nadvice\n")[-1].split("\nnext\n")[0].split())


@pytest.mark.parametrize(
    ("cells", "words", "wanted"),
    [
        ({}, (), "--model_name lsa --preset tuned"),
        (
            {"updated_at": "", "rate": ""},
            ("--min_rate", "0"),
            "--model_name lsa --min_rate 0.0 --split random --preset tuned",
        ),
        ({"updated_at": ""}, ("--split", "leave_one_out"), "--model_name lsa --split leave_one_out --preset tuned"),
    ],
)
def test_the_next_command_has_what_was_given_and_what_is_advised(
    cells: dict[str, str], words: tuple[str, ...], wanted: str, data_dir: Path, call: Call
) -> None:
    with (data_dir / "interactions.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    write_tsv(data_dir, "interactions.tsv", [{**row, **cells}.values() for row in rows])
    code, page, _ = call(check, str(data_dir), *QUICK, "--no_timing", *words)
    lines = page.split("next\n")[1].splitlines()
    assert all(line.endswith(" \\") for line in lines[:-1])
    command = shlex.split(" ".join(line.removesuffix("\\") for line in lines))
    assert command[:4] == ["python", "main.py", "--data_dir", str(data_dir)]
    quick = [word for word in QUICK if word not in ("--model_name", "lsa")]
    assert [word for word in command[4:] if word not in quick] == wanted.split()
    get_config(parse_overrides(command[2:]))


def test_no_other_split_is_advised_where_one_is_given(data_dir: Path, call: Call) -> None:
    header, *lines = (data_dir / "interactions.tsv").read_text(encoding="utf-8").splitlines()
    parts = [["valid", "test"][n] if n < 2 else "train" for n in range(len(lines))]
    bare = ["\t".join([*line.split("\t")[:2], "", "", "", part]) for line, part in zip(lines, parts, strict=True)]
    (data_dir / "interactions.tsv").write_text("\n".join([f"{header}\tpart", *bare]) + "\n", encoding="utf-8")
    page = call(check, str(data_dir), *QUICK, "--no_timing")[1]
    assert "(as the column part says): 398 train, 1 valid" in " ".join(page.split())
    assert "--split given (the default)" in page
    assert not [word for word in ("--split", "--min_rate") if word in page.split("\nnext\n")[1]]


def test_a_time_of_many_rows_is_named(data_dir: Path, call: Call) -> None:
    path = data_dir / "interactions.tsv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    for n_same, told in ((49, False), (50, True)):
        same = [line.rsplit("\t", 1)[0] + "\t2000-01-01" for line in lines[:n_same]]
        path.write_text("\n".join([header, *same, *lines[n_same:]]) + "\n", encoding="utf-8")
        page = call(check, str(data_dir), *QUICK, "--no_timing")[1]
        assert ("rows of one and the same time: 50 (a placeholder?" in page) == told


def test_advice_follows_the_data(data_dir: Path, call: Call) -> None:
    told = advised(data_dir, call)
    assert all(part in told for part in ("--split user_time", "--min_rate 1", "Text pays", "--preset tuned"))
    assert "Only 40 users are in the test part" in told
    rows = [line.split("\t") for line in lines_of(data_dir, "interactions.tsv")[1:-1]]
    write_tsv(
        data_dir,
        "interactions.tsv",
        [
            (user, title, 0 if n % 3 else 5, comment, "2020-01-01")
            for n, (user, title, _, comment, _) in enumerate(rows)
        ],
    )
    told = advised(data_dir, call)
    assert "--split random: only 0% of the rows with a time have one" in told
    assert "--min_rate 0: 66% of the rows are unrated" in told
    write_tsv(data_dir, "interactions.tsv", [(*row[:4], "") for row in rows])
    write_tsv(data_dir, "anime.tsv", [(f"s{n}", f"name {n}", "", "") for n in range(31)])
    told = advised(data_dir, call)
    assert "--split random: 0% of the rows have a time" in told
    assert "Text says little: 0% of the titles have a summary and 0% tags" in told
    assert "1 titles have no row" in told


def test_the_folder_may_stand_anywhere(data_dir: Path, call: Call) -> None:
    assert call(check, *QUICK, "--no_timing", str(data_dir)) == call(check, str(data_dir), *QUICK, "--no_timing")
