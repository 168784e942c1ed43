"""train.txt and test.txt in LightGCN's format."""

import gzip
import logging
import time
from pathlib import Path

import numpy as np
import pytest

from config import get_config
from data_loader import load_dataset
from dataset.splits import PARTS
from llm_embedding import text_vectors
from tests.helpers.data import write_tsv
from tests.helpers.splits import Pairs, load, pairs, per_user, warnings_of

DATASETS = Path(__file__).resolve().parents[3] / "shared" / "datasets"
MAL, GOWALLA = DATASETS / "mal-anime", DATASETS / "gowalla"


# --- LightGCN's text format ---


def write_text(folder: Path, train: str, test: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text(train, encoding="utf-8")
    (folder / "test.txt").write_text(test, encoding="utf-8")
    return folder


def write_random_text(folder: Path, n_users: int = 30, per_user: int = 10, per_test: int = 3) -> Path:
    rng = np.random.default_rng(4)
    items = [rng.permutation(50)[: per_user + per_test].tolist() for _ in range(n_users)]
    train, test = (
        "".join(" ".join(map(str, [user, *mine[cut]])) + "\n" for user, mine in enumerate(items))
        for cut in (slice(per_user), slice(per_user, None))
    )
    return write_text(folder, train, test)


def text_pairs(path: Path) -> Pairs:
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return {(user, item) for user, *items in filter(None, lines) for item in items}


def test_text_files_arrive_whole_and_in_their_parts(tmp_path: Path) -> None:
    folder = write_random_text(tmp_path)
    dataset = load(folder, valid_ratio=0.2)
    assert pairs(dataset, "test") == text_pairs(folder / "test.txt")
    assert pairs(dataset, "train", "valid") == text_pairs(folder / "train.txt")
    assert per_user(dataset, "train") == [8] * 30
    assert per_user(dataset, "valid") == [2] * 30
    assert pairs(dataset, "seen") == pairs(dataset, *PARTS)
    assert dataset.facts["rows"] == dataset.facts["positives"] == 390
    assert [dataset.facts[part] for part in PARTS] == [240, 60, 90, 0, 0]


def test_text_files_know_ids_and_no_texts(tmp_path: Path) -> None:
    dataset = load(write_text(tmp_path, "u2 b a\nu1 c a b\nalone\n", "u1 d\nlate  a\n"))
    assert dataset.raw_user_ids == dataset.user_names == ["u2", "u1", "alone", "late"]
    assert dataset.raw_item_ids == dataset.item_names == ["b", "a", "c", "d"]
    assert dataset.item_texts == [""] * 4
    assert [len(part) for part in dataset.user_comments] == [0, 0, 0, 0]
    assert pairs(dataset, "test") == {("u1", "d"), ("late", "a")}
    assert len(dataset.fingerprint) == 64


def test_integer_ids_of_text_files_are_in_numeric_order(tmp_path: Path) -> None:
    dataset = load(write_text(tmp_path, "10 7 100\n9 x 7\n", "2 3\n"))
    assert dataset.raw_user_ids == ["2", "9", "10"]
    assert dataset.raw_item_ids == ["7", "100", "x", "3"]
    assert load(write_text(tmp_path, "10 7 100\n9 7\n", "2 3\n")).raw_item_ids == ["3", "7", "100"]


def test_text_valid_is_random_seeded_and_spares_small_users(tmp_path: Path) -> None:
    folder = write_random_text(tmp_path / "many")
    parts = {seed: pairs(load(folder, split_seed=seed), "valid") for seed in (0, 1)}
    assert parts[0] == pairs(load(folder, split="global_time"), "valid") != parts[1]
    small = load(write_text(tmp_path / "few", "u a b\nv a b c\n", "u c\nv d e f g h\n"), valid_ratio=0.4)
    assert per_user(small, "valid") == [0, 1]


def test_text_files_say_that_the_split_setting_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="aglrec"):
        load(write_random_text(tmp_path), min_rate=5, split="global_time")
    said = [record.getMessage() for record in caplog.records if "ignored" in record.getMessage()]
    assert said == [
        f"{tmp_path} gives the split, and valid is drawn from its train part at random; split 'global_time', "
        "min_rate and test_ratio are ignored"
    ]
    assert warnings_of(caplog) == ""


def test_repeats_and_test_pairs_of_train_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="aglrec"):
        dataset = load(write_text(tmp_path, "u a b a\nv a c\nu b\n", "u b d d b\nv c e\n"))
    assert pairs(dataset, "train") == {("u", "a"), ("u", "b"), ("v", "a"), ("v", "c")}
    assert pairs(dataset, "test") == {("u", "d"), ("v", "e")}
    assert (dataset.facts["repeated pairs"], dataset.facts["test pairs that train has"]) == (4, 2)
    assert "4 repeated pairs, 2 test pairs that train has" in warnings_of(caplog)


def test_train_rows_per_user_cuts_text_files(tmp_path: Path) -> None:
    whole, cut = (load(write_random_text(tmp_path), train_rows_per_user=n) for n in (0, 4))
    assert per_user(cut, "train") == [4] * 30
    assert pairs(cut, "train") < pairs(whole, "train")
    assert all(pairs(cut, part) == pairs(whole, part) for part in ("valid", "test", "seen"))
    assert pairs(cut, "excluded") == pairs(whole, "train") - pairs(cut, "train")


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfu a b c\nv a\n", b"u a b c\r\nv a\r\n", b"u a b c\rv a", b"\n  u\ta  b c \n\n\nv a\n\n"]
)
def test_forms_of_the_text_files(content: bytes, tmp_path: Path) -> None:
    write_text(tmp_path, "", "v b\n")
    (tmp_path / "train.txt").unlink()
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(content))
    assert pairs(load(tmp_path, valid_ratio=0), "train") == {("u", "a"), ("u", "b"), ("u", "c"), ("v", "a")}


@pytest.mark.parametrize(("gone", "there"), [("train.txt", "test.txt"), ("test.txt", "train.txt")])
def test_half_of_the_text_files_is_an_error(gone: str, there: str, tmp_path: Path) -> None:
    (write_random_text(tmp_path) / gone).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{gone} is missing.*both train.txt and test.txt"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("", "u a\n", r"train.txt has no pair"),
        ("u\nv\n", "u a\n", r"train.txt has no pair"),
        ("u a\n", "u\n", r"test.txt has no pair"),
        ("u a b\n", "u b\n", r"test.txt has no pair that train.txt lacks"),
        ("", "", r"train.txt has no pair"),
    ],
)
def test_text_files_without_pairs_are_refused(train: str, test: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_text(tmp_path, train, test))


def test_text_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write_text(tmp_path, "u a b\n", "u c\n")
    (tmp_path / "test.txt").write_bytes(b"u c\nv \xff\xfe\n")
    with pytest.raises(ValueError, match=r"test.txt line 2: not UTF-8"):
        load(tmp_path)


def test_text_files_have_no_cold_items(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cold_item_ratio is 0.1.*set --cold_item_ratio 0"):
        load(write_random_text(tmp_path), cold_item_ratio=0.1)


def test_interactions_outrank_text_files(data_dir: Path) -> None:
    before = load(data_dir).fingerprint
    assert load(write_random_text(data_dir)).fingerprint == before


# --- valid.txt, and texts beside ---


def test_valid_txt_is_the_valid_part(tmp_path: Path) -> None:
    folder = write_text(tmp_path, "u a b c d\nv a b\n", "u f\n")
    (folder / "valid.txt").write_text("v  e c\nw a\n", encoding="utf-8")
    for ratio in (0.4, 0.0):
        dataset = load(folder, valid_ratio=ratio)
        assert [pairs(dataset, part) for part in ("train", "valid", "test")] == [
            {("u", "a"), ("u", "b"), ("u", "c"), ("u", "d"), ("v", "a"), ("v", "b")},
            {("v", "e"), ("v", "c"), ("w", "a")},
            {("u", "f")},
        ]
    assert dataset.raw_user_ids == ["u", "v", "w"]
    assert pairs(load(folder, refit=True), "train") == pairs(dataset, *PARTS)


@pytest.mark.parametrize(
    ("valid", "test", "message"),
    [
        ("v c\nu d b\n", "u e\n", r"valid\.txt line 2: user 'u' and title 'b' are here and on line 1 of train\.txt"),
        (
            "v c c\n",
            "v e\nw a\nv c\n",
            r"test\.txt line 3: user 'v' and title 'c' are here and on line 1 of valid\.txt",
        ),
    ],
)
def test_a_pair_in_two_files_of_three_is_refused(valid: str, test: str, message: str, tmp_path: Path) -> None:
    folder = write_text(tmp_path, "u a b\nv a\n", test)
    (folder / "valid.txt").write_text(valid, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_a_pair_in_valid_and_test_is_refused_before_an_empty_train_file_is(tmp_path: Path) -> None:
    folder = write_text(tmp_path, "", "u a\n")
    (folder / "valid.txt").write_text("u a\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"test\.txt line 1: .* on line 1 of valid\.txt"):
        load(folder)


def test_anime_tsv_beside_gives_titles_and_texts(tmp_path: Path) -> None:
    folder = write_text(tmp_path, "u b a\nv a\n", "u c\n")
    write_tsv(folder, "anime.tsv", [(raw, f"name of {raw}", "tag", f"story of {raw}") for raw in "cdab"])
    dataset = load(folder)
    assert dataset.raw_item_ids == ["c", "d", "a", "b"]
    assert dataset.item_names[0] == "name of c"
    assert dataset.item_texts[1] == "name of d\ntag\nstory of d"
    assert pairs(dataset, "train", "valid") == {("u", "b"), ("u", "a"), ("v", "a")}
    (folder / "test.txt").write_text("u c\nv b z\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"test\.txt line 2: anime\.tsv has no title 'z'; add a line"):
        load(folder)


def test_lines_of_user_item_and_weight_are_not_taken_for_two_items(tmp_path: Path) -> None:
    lines = "".join(f"{user} {item} 1\n" for user in range(3) for item in range(10, 14))
    with pytest.raises(ValueError, match=r"train\.txt line 1: .* user, item and weight, as SELFRec writes them"):
        load(write_text(tmp_path, lines, "0 20 1\n"))
    two_items_each = "".join(f"{user} {user + 10} 1\n" for user in range(12))
    assert load(write_text(tmp_path, two_items_each, "0 20\n"), valid_ratio=0).train.nnz == 24


def test_triples_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    lines = "".join(f"{user} {item} {item % 3}\n" for user in range(3) for item in range(10, 14))
    folder = write_text(tmp_path, lines, "0 20 1\n1 21 5\n")
    with pytest.raises(ValueError, match=r"train\.txt line 1: .* add --text_lines triples to read them"):
        load(folder)
    dataset = load(folder, text_lines="triples", valid_ratio=0)
    assert pairs(dataset, "train") == {(str(user), str(item)) for user in range(3) for item in (10, 11, 13)}
    assert pairs(dataset, "test") == {("0", "20"), ("1", "21")}
    assert load(folder, text_lines="items", valid_ratio=0).n_items == 10
    (folder / "test.txt").write_text("0 20 1\n1 21\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"test\.txt line 2: 2 words where there should be user, item and weight"):
        load(folder, text_lines="triples")
    (folder / "test.txt").write_text("0 20 1\n1 21 x\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"test\.txt line 2: the weight 'x' where"):
        load(folder, text_lines="triples")


def test_lines_that_may_be_triples_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_text(tmp_path, "".join(f"{user} {user + 10} 1\n" for user in range(12)), "0 20\n")
    with caplog.at_level(logging.WARNING, "aglrec"):
        load(folder, valid_ratio=0)
        assert "train.txt: every line has three words" in caplog.text
        assert "--text_lines triples" in caplog.text
        caplog.clear()
        load(write_text(tmp_path, "".join(f"{n} {n + 10} {n + 30}\n" for n in range(12)), "0 1\n"), valid_ratio=0)
        assert "three words" not in caplog.text


@pytest.mark.parametrize("model_name", ["lsa", "BAAI/bge-m3"])
def test_text_files_have_nothing_to_encode(model_name: str, tmp_path: Path) -> None:
    config = get_config({"data_dir": str(write_random_text(tmp_path)), "model_name": model_name})
    with pytest.raises(ValueError, match=r"no text to encode; set --fusion_mode none"):
        text_vectors(load_dataset(config), config, "cpu")


@pytest.mark.slow
@pytest.mark.skipif(not GOWALLA.is_dir(), reason="shared/datasets/gowalla is not here")
def test_gowalla_loads_whole() -> None:
    start = time.process_time()
    dataset = load(GOWALLA, valid_ratio=0)
    assert time.process_time() - start < 8  # about 2; a Python loop over pairs takes longer
    assert (dataset.n_users, dataset.n_items) == (29_858, 40_981)
    assert (dataset.train.nnz, dataset.valid.nnz, dataset.test.nnz) == (810_128, 0, 217_242)
    assert dataset.raw_item_ids == [str(item) for item in range(40_981)]
