"""The command line as a stranger meets it: every mistake ends in one sentence and exit code 2, never in a traceback."""

import gzip
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import main
from runtime.cli import run_script
from tests.helpers.data import write_data
from tests.helpers.runs import one_sentence

ROOT = Path(main.__file__).resolve().parent
HEADER = "user_id\tsubject_id\trate\tcomment\tupdated_at\n"
GOOD = "u{}\ts{}\t5\tfine\t2020-01-01\n"
Complain = Callable[..., str]


def command(folder: Path, saved: Path, *settings: str, model: str = "lsa") -> list[str]:
    return ["main.py", "--data_dir", str(folder), "--saved_dir", str(saved), "--model_name", model, *settings]


@pytest.fixture
def complain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complain:
    """Run main.py on a folder within this process and return its one line on stderr."""

    def run(folder: Path, *settings: str, model: str = "lsa") -> str:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", command(folder, tmp_path / "saved", *settings, model=model))
        capsys.readouterr()
        code = run_script(main.main)
        return one_sentence(code, *capsys.readouterr())

    return run


def complain_outside(folder: Path, saved: Path, *settings: str, model: str = "lsa", **env: str) -> str:
    """Run python main.py as a process of its own, for 20 seconds at most, and return its one line on stderr."""
    done = subprocess.run(
        [sys.executable, *command(folder, saved, *settings, model=model)],
        cwd=ROOT,
        timeout=20,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **env},
        check=False,
    )
    return one_sentence(done.returncode, done.stdout, done.stderr)


def write_interactions(folder: Path, *lines: str, header: str = HEADER) -> Path:
    (folder / "interactions.tsv").write_bytes("".join([header, *lines]).encode())
    return folder


def good(n: int) -> list[str]:
    return [GOOD.format(row, row) for row in range(n)]


def at_line(line: int, message: str) -> bool:
    return re.search(rf"\bline {line}\b", message) is not None


def mentions(message: str, *parts: str) -> list[str]:
    """Return the parts that the message lacks."""
    return [part for part in parts if part not in message]


# --- processes of their own ---


@pytest.mark.slow
def test_process_missing_anime(data_dir: Path, tmp_path: Path) -> None:
    (data_dir / "anime.tsv").unlink()
    error = complain_outside(data_dir, tmp_path / "saved")
    assert not mentions(error, str(data_dir / "anime.tsv"), "missing", "--data_dir")


@pytest.mark.slow
def test_process_bad_rate(data_dir: Path, tmp_path: Path) -> None:
    error = complain_outside(write_interactions(data_dir, *good(2), "u1\ts9\tabc\t\t\n"), tmp_path / "saved")
    assert not mentions(error, "interactions.tsv", "'abc'", "number")
    assert at_line(4, error)


@pytest.mark.slow
def test_process_unreachable_hub_without_fallback(data_dir: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    error = complain_outside(
        data_dir,
        tmp_path / "saved",
        "--encoder_fallback",
        "none",
        "--device",
        "cpu",
        model="nobody/no-such-model",
        HF_HUB_OFFLINE="1",
        HF_HOME=str(tmp_path / "hub"),
    )
    assert time.monotonic() - start < 20
    assert not mentions(error, "nobody/no-such-model", "not reachable")


# --- files that are missing, empty or no text ---


@pytest.mark.parametrize("name", ["anime.tsv", "interactions.tsv"])
def test_missing_file(name: str, data_dir: Path, complain: Complain) -> None:
    (data_dir / name).unlink()
    assert not mentions(complain(data_dir), str(data_dir / name), "missing", "--data_dir")


def test_no_folder(data_dir: Path, complain: Complain) -> None:
    for folder in (data_dir / "nowhere", data_dir / "anime.tsv"):
        assert not mentions(complain(folder), str(folder), "is no folder", "--data_dir")


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("anime.tsv", "subject_id"),
        ("anime.tsv", "name"),
        ("anime.tsv", "tags_name"),
        ("anime.tsv", "summary"),
        ("interactions.tsv", "user_id"),
        ("interactions.tsv", "rate"),
        ("interactions.tsv", "updated_at"),
    ],
)
def test_missing_column(name: str, column: str, data_dir: Path, complain: Complain) -> None:
    text = (data_dir / name).read_text(encoding="utf-8")
    (data_dir / name).write_text(text.replace(column, "other", 1), encoding="utf-8")
    error = complain(data_dir)
    assert not mentions(error, name, column, "other", "header")
    assert at_line(1, error)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n"])
@pytest.mark.parametrize("name", ["anime.tsv", "interactions.tsv"])
def test_empty_file(name: str, content: bytes, data_dir: Path, complain: Complain) -> None:
    (data_dir / name).write_bytes(content)
    assert not mentions(complain(data_dir), name, "header")


def test_empty_gz(data_dir: Path, complain: Complain) -> None:
    (data_dir / "anime.tsv").unlink()
    (data_dir / "anime.tsv.gz").write_bytes(b"")
    assert not mentions(complain(data_dir), "anime.tsv.gz", "empty")


@pytest.mark.parametrize("comma", [",", ";"])
def test_columns_parted_by_commas(comma: str, data_dir: Path, complain: Complain) -> None:
    path = data_dir / "interactions.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("\t", comma), encoding="utf-8")
    error = complain(data_dir)
    assert not mentions(error, "interactions.tsv", f"5 columns separated by {comma!r}", "tools/convert.py")
    assert at_line(1, error)


@pytest.mark.parametrize("tail", ["", "\n", "\n\n"])
@pytest.mark.parametrize("name", ["anime.tsv", "interactions.tsv"])
def test_header_only(name: str, tail: str, data_dir: Path, complain: Complain) -> None:
    header = (data_dir / name).read_text(encoding="utf-8").split("\n")[0]
    (data_dir / name).write_text(header + tail, encoding="utf-8")
    assert not mentions(complain(data_dir), name, "header", "no rows")


@pytest.mark.parametrize("encoding", ["gbk", "latin-1"])
def test_not_utf8(encoding: str, data_dir: Path, complain: Complain) -> None:
    lines = [*good(3), 'u7\ts7\t5\t"two\nlines"\t\n']
    bad = "u8\ts8\t5\t{}\t\n".format({"gbk": "很好看", "latin-1": "tr\u00e8s bon"}[encoding]).encode(encoding)
    write_interactions(data_dir, *lines)
    with (data_dir / "interactions.tsv").open("ab") as file:
        file.write(bad + "".join(good(3)).encode())
    error = complain(data_dir)
    assert not mentions(error, "interactions.tsv", "UTF-8")
    assert at_line(7, error)


def test_not_utf8_on_a_late_line_of_a_gz(data_dir: Path, complain: Complain) -> None:
    (data_dir / "interactions.tsv").unlink()
    content = HEADER.encode() + "".join(good(20) * 2000).encode() + b"u8\ts8\t5\t\xff\t\n"
    (data_dir / "interactions.tsv.gz").write_bytes(gzip.compress(content))
    error = complain(data_dir)
    assert not mentions(error, "interactions.tsv.gz", "UTF-8")
    assert at_line(40_002, error)


@pytest.mark.parametrize("kept", [5, 30, -9, -1])
def test_truncated_gz(kept: int, data_dir: Path, complain: Complain) -> None:
    packed = gzip.compress((data_dir / "interactions.tsv").read_bytes())
    (data_dir / "interactions.tsv").unlink()
    (data_dir / "interactions.tsv.gz").write_bytes(packed[:kept])
    assert not mentions(complain(data_dir), "interactions.tsv.gz", "gzip")


def test_gz_that_was_cut(data_dir: Path, complain: Complain) -> None:
    (data_dir / "anime.tsv").rename(data_dir / "anime.tsv.gz")
    whole = (data_dir / "anime.tsv.gz").read_bytes()
    (data_dir / "anime.tsv.gz").write_bytes(gzip.compress(whole)[:-9])
    assert not mentions(complain(data_dir), "anime.tsv.gz", "gzip")


def test_gz_with_a_damaged_middle(data_dir: Path, complain: Complain) -> None:
    packed = bytearray(gzip.compress((data_dir / "interactions.tsv").read_bytes()))
    packed[len(packed) // 2 : len(packed) // 2 + 20] = b"\xff" * 20
    (data_dir / "interactions.tsv").unlink()
    (data_dir / "interactions.tsv.gz").write_bytes(packed)
    assert not mentions(complain(data_dir), "interactions.tsv.gz")


# --- rows ---


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([], 2),
        (good(3), 5),
        ([*good(2), 'u7\ts7\t5\t"a\n\nb ""c"""\t\n'], 7),
        (["\n", "\n", *good(1)], 5),
        (['u7\ts7\t5\t"a\r\nb"\t\r\n'], 4),
        (["u7\ts7\t5\tit's 5\" long\t\n"], 3),
    ],
)
@pytest.mark.parametrize(("bad", "found"), [("u8\ts8\t5\n", "3"), ("u8\ts8\t5\tx\ty\tz\tw\n", "7"), ("u8\n", "1")])
def test_row_with_too_few_or_too_many_fields(
    lines: list[str], line: int, bad: str, found: str, data_dir: Path, complain: Complain
) -> None:
    error = complain(write_interactions(data_dir, *lines, bad, *good(2)))
    assert not mentions(error, "interactions.tsv", f"{found} field", "5")
    assert at_line(line, error)


def test_row_with_too_few_fields_in_anime(data_dir: Path, complain: Complain) -> None:
    with (data_dir / "anime.tsv").open("a", encoding="utf-8") as file:
        file.write("s99\tonly a name\n")
    error = complain(data_dir)
    assert not mentions(error, "anime.tsv", "2 fields", "4")
    assert at_line(32, error)


@pytest.mark.parametrize("rate", ["abc", "nan", "inf", "-inf", "7,5,1", "8/10", "1 2", "True"])
def test_bad_rate(rate: str, data_dir: Path, complain: Complain) -> None:
    lines = [*good(2), 'u7\ts7\t5\t"two\nlines"\t\n', "\n", f"u8\ts8\t{rate}\t\t\n", *good(2)]
    error = complain(write_interactions(data_dir, *lines))
    assert not mentions(error, "interactions.tsv", "rate", f"'{rate}'")
    assert at_line(7, error)


def test_first_of_several_bad_rates_is_named(data_dir: Path, complain: Complain) -> None:
    lines = [*good(2), "u8\ts8\tzzz\t\t\n", "u9\ts8\taaa\t\t\n", "u9\ts9\tzzz\t\t\n"]
    error = complain(write_interactions(data_dir, *lines))
    assert "'zzz'" in error
    assert at_line(4, error)


def test_bad_rate_in_a_gz(data_dir: Path, complain: Complain) -> None:
    (data_dir / "interactions.tsv").unlink()
    content = HEADER + "".join(good(3)) + "u1\ts2\tabc\t\t\n"
    (data_dir / "interactions.tsv.gz").write_bytes(gzip.compress(content.encode()))
    error = complain(data_dir)
    assert not mentions(error, "interactions.tsv.gz", "'abc'")
    assert at_line(5, error)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("u8\t\t5\t\t\n", "subject_id"),
        ("\ts8\t5\t\t\n", "user_id"),
        ("u8\t  \t5\t\t\n", "subject_id"),
        ("\t\t\t\t\n", "empty"),
    ],
)
def test_empty_id_in_interactions(row: str, column: str, data_dir: Path, complain: Complain) -> None:
    error = complain(write_interactions(data_dir, 'u7\ts7\t5\t"two\nlines"\t\n', row, *good(2)))
    assert not mentions(error, "interactions.tsv", column, "empty")
    assert at_line(4, error)


def test_empty_subject_id_in_anime(data_dir: Path, complain: Complain) -> None:
    with (data_dir / "anime.tsv").open("a", encoding="utf-8") as file:
        file.write('s98\tname\t\t"a\nb"\n\tname\t\t\n')
    error = complain(data_dir)
    assert not mentions(error, "anime.tsv", "subject_id", "empty")
    assert at_line(34, error)


@pytest.mark.parametrize("cell", ["[broken", ",;", "[a b]"])
def test_tags_that_parse_as_nothing(cell: str, data_dir: Path, complain: Complain) -> None:
    with (data_dir / "anime.tsv").open("a", encoding="utf-8") as file:
        file.write(f's98\tname\tx\t"a\nb"\ns99\tname\t{cell}\t\n')
    error = complain(data_dir)
    assert not mentions(error, "anime.tsv", "tags_name", cell)
    assert at_line(34, error)


@pytest.mark.parametrize("bad", ['u8\ts8\t5\t"never closed\t\n', 'u8\ts8\t5\tx\t"2020-01-01\n', '"u8\ts8\t5\tx\t\n'])
def test_unclosed_quote(bad: str, data_dir: Path, complain: Complain) -> None:
    error = complain(write_interactions(data_dir, *good(2), bad, *good(3)))
    assert not mentions(error, "interactions.tsv", "quote")
    assert at_line(4, error)


def test_unclosed_quote_never_swallows_rows_up_to_the_next_quote(data_dir: Path, complain: Complain) -> None:
    """The quote opened on line 4 meets the one that opens on line 6; the rows between must not vanish unsaid."""
    lines = [*good(2), 'u8\ts8\t5\t"never closed\t\n', *good(1), 'u9\ts9\t5\t"closed"\t\n', *good(2)]
    error = complain(write_interactions(data_dir, *lines), "--epochs", "1")
    assert not mentions(error, "interactions.tsv", "quote")
    assert at_line(4, error)


def test_no_subject_in_common(data_dir: Path, complain: Complain) -> None:
    error = complain(write_interactions(data_dir, "u1\tx1\t5\t\t\n", "u2\tx2\t5\t\t\n"))
    assert not mentions(error, "interactions.tsv", "anime.tsv", "subject_id")


def test_bpr_where_everyone_has_everything(data_dir: Path, complain: Complain) -> None:
    folder = write_interactions(data_dir, *(GOOD.format(user, 1) for user in range(4)))
    assert not mentions(complain(folder, "--loss", "bpr", "--valid_ratio", "0"), "bpr", "--loss softmax")


def test_no_positive_left(data_dir: Path, complain: Complain) -> None:
    error = complain(data_dir, "--min_rate", "10.5")
    assert not mentions(error, "interactions.tsv", "10.5", "10)", "--min_rate")


# --- settings ---


def test_unknown_key(data_dir: Path, complain: Complain) -> None:
    assert not mentions(complain(data_dir, "--embeding_dim", "8"), "embeding_dim", "--embedding_dim")


@pytest.mark.parametrize(
    ("key", "value", "legal"),
    [
        ("epochs", "many", "whole number"),
        ("lr", "fast", "number"),
        ("use_user_llm", "maybe", "true or false"),
        ("top_k", "10;20", "10,20"),
        ("split", "weekly", "leave_one_out"),
        ("epochs", "0", "at least 1"),
        ("seed", "-1", "0 or more"),
        ("split_seed", "-1", "0 or more"),
        ("split_seed", "0.5", "whole number"),
        ("device", "gpu", "cuda"),
        ("device", "", "cuda"),
        ("device", "meta", "cuda"),
        ("early_stop_metric", "NDCG@7", "NDCG@10"),
    ],
)
def test_illegal_setting(key: str, value: str, legal: str, data_dir: Path, complain: Complain) -> None:
    assert not mentions(complain(data_dir, f"--{key}", value), key, value, legal)


def test_missing_value(data_dir: Path, complain: Complain) -> None:
    assert not mentions(complain(data_dir, "--epochs"), "--epochs", "value")


def test_stray_word(data_dir: Path, complain: Complain) -> None:
    assert not mentions(complain(data_dir, "oops"), "'oops'", "--key value")


def test_unknown_preset(data_dir: Path, complain: Complain) -> None:
    assert not mentions(complain(data_dir, "--preset", "turbo"), "'turbo'", "tuned")


@pytest.mark.parametrize(
    ("settings", "key", "found"),
    [
        (("--top_k", "5,31", "--early_stop_metric", "NDCG@5"), "top_k", "31"),
        (("--top_k", "31,5", "--early_stop_metric", "NDCG@5"), "top_k", "31"),
        (("--recommend_k", "99"), "recommend_k", "99"),
    ],
)
def test_k_larger_than_the_catalogue(
    settings: tuple[str, ...], key: str, found: str, data_dir: Path, complain: Complain
) -> None:
    assert not mentions(complain(data_dir, *settings), key, found, "30")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so cuda is no mistake")
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_cuda_where_there_is_none(device: str, data_dir: Path, complain: Complain) -> None:
    assert not mentions(complain(data_dir, "--device", device), f"'{device}'", "cpu")


@pytest.mark.parametrize("device", ["cuda:99", "cuda:x"])
def test_cuda_number_that_is_not_there(device: str, data_dir: Path, complain: Complain) -> None:
    assert not mentions(complain(data_dir, "--device", device), f"'{device}'", "cpu")


@pytest.mark.parametrize("model", ["/no/such/folder", "./no/such/folder", "~/no-such-folder"])
def test_model_folder_that_is_not_there(model: str, data_dir: Path, complain: Complain) -> None:
    assert not mentions(complain(data_dir, model=model), "model_name", f"'{model}'", "folder")


# --- inference ---


def test_inference_without_a_model(data_dir: Path, tmp_path: Path, complain: Complain) -> None:
    error = complain(data_dir, "--mode", "inference")
    assert not mentions(error, str(tmp_path / "saved" / "best_model.pth"), "missing")


@pytest.mark.parametrize("content", [b"", b"no model at all", b"PK\x03\x04 half a zip", b"\x80\x02N."])
def test_inference_with_a_damaged_model(content: bytes, data_dir: Path, tmp_path: Path, complain: Complain) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "best_model.pth").write_bytes(content)
    assert not mentions(complain(data_dir, "--mode", "inference"), "best_model.pth")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("anime.tsv", "story of 7", "another story"), ("interactions.tsv", "user 3 on", "user 3 thinks of")],
)
def test_inference_with_other_texts(
    name: str,
    old: str,
    new: str,
    data_dir: Path,
    tmp_path: Path,
    complain: Complain,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", command(data_dir, tmp_path / "saved", "--epochs", "1", "--device", "cpu"))
    assert run_script(main.main) == 0
    path = data_dir / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    error = complain(data_dir, "--mode", "inference", "--device", "cpu")
    assert not mentions(error, "best_model.pth", "anime.tsv", "comment", "'lsa'", "--mode train")


# --- nothing is left behind ---


def test_a_failure_writes_nothing(tmp_path: Path, complain: Complain) -> None:
    folder = write_interactions(write_data(tmp_path / "data"), *good(2), "u1\ts9\tabc\t\t\n")
    before = sorted(path.name for path in folder.iterdir())
    complain(folder)
    assert not (tmp_path / "saved").exists()
    assert sorted(path.name for path in folder.iterdir()) == before
