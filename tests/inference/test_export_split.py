"""A split written by --export: loaded again, it is the same dataset."""

import csv
import gzip
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from config import get_config
from data_loader import Dataset, load_dataset
from importers import recognise
from importers.common import Options
from importers.pipeline import Rules, convert
from inference.export_split import write_split
from tests.helpers.data import write_tsv
from tests.helpers.splits import DISJOINT, load, pairs, read_rows, write_timed


def written(source: Path, folder: Path, **settings: Any) -> tuple[Dataset, int]:
    """Load a folder and write its split to another one, as --export does after a run."""
    config = get_config({"data_dir": str(source), **settings})
    dataset = load_dataset(config)
    return dataset, write_split(SimpleNamespace(dataset=dataset, config=config), folder)


def assert_same(one: Dataset, other: Dataset) -> None:
    assert (one.fingerprint, one.collected) == (other.fingerprint, other.collected)
    assert all(pairs(one, part) == pairs(other, part) for part in (*DISJOINT, "seen"))
    for name in ("raw_user_ids", "raw_item_ids", "user_names", "item_texts", "item_tags", "item_years"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.user_comments.texts == other.user_comments.texts
    assert all(np.array_equal(a, b) for a, b in zip(one.user_comments[::2], other.user_comments[::2], strict=True))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with titles wished for, names of users, comments that need quotes, and packed titles."""
    folder = write_timed(tmp_path / "source", n_users=30, per_user=12)
    comments = ("", "plain", 'a "b"\tc', "two\nlines", "old\rlines", '"')
    rows = [{**row, "comment": comments[number % 6]} for number, row in enumerate(read_rows(folder))]
    with (folder / "interactions.tsv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL).writerows([rows[0], *(row.values() for row in rows)])
    users = [row["user_id"] for row in rows]
    wished = [
        f"{user}\ts{item}\t2020-01-{item % 28 + 1:02d}\n" for user in dict.fromkeys(users) for item in range(0, 40, 7)
    ]
    (folder / "known.tsv").write_text("user_id\tsubject_id\tupdated_at\n" + "".join(wished), encoding="utf-8")
    write_tsv(folder, "user.tsv", [(user, f"name of {user}", "") for user in dict.fromkeys(users)])
    titles = folder / "anime.tsv"
    (folder / "anime.tsv.gz").write_bytes(gzip.compress(titles.read_bytes()))
    titles.unlink()
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cold_item_ratio": 0.2, "min_rate": 4, "train_rows_per_user": 4},
        {"split": "global_time", "min_rate": 6},
        {"split": "random", "refit_valid": True},
    ],
    ids=["default", "every part", "by date", "refit_valid"],
)
def test_an_exported_split_is_loaded_as_the_same_dataset(
    settings: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    dataset, lost = written(source, tmp_path / "out", **settings)
    assert lost == 0
    assert (dataset.excluded + dataset.train).nnz < dataset.seen.nnz
    ratio = {"valid_ratio": 0} if "refit_valid" in settings else {}
    assert_same(dataset, load(tmp_path / "out", **ratio))
    again, _ = written(tmp_path / "out", tmp_path / "again", **ratio)
    assert_same(dataset, again)
    assert (tmp_path / "out" / "interactions.tsv").read_bytes() == (
        tmp_path / "again" / "interactions.tsv"
    ).read_bytes()


def test_a_refit_run_is_exported_as_it_is(source: Path, tmp_path: Path) -> None:
    dataset, _ = written(source, tmp_path / "out", refit=True, min_rate=4)
    assert_same(dataset, load(tmp_path / "out", refit=True))


@pytest.mark.parametrize("has_titles", [False, True])
def test_a_split_of_text_files_travels_too(has_titles: bool, tmp_path: Path) -> None:
    rng, source = np.random.default_rng(0), tmp_path / "source"
    source.mkdir()
    items = [rng.permutation(20)[:12] for _ in range(15)]
    for name, cut in (("train.txt", slice(0, 9)), ("test.txt", slice(9, 12))):
        lines = (" ".join(map(str, [user, *mine[cut]])) for user, mine in enumerate(items))
        (source / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    if has_titles:
        write_tsv(source, "anime.tsv", [(item, f"t{item}", "", "") for item in range(21)])
    (source / "known.tsv").write_text(
        "user_id\tsubject_id\n0\t3\n", encoding="utf-8"
    )  # which that format knows nothing of
    dataset, lost = written(source, tmp_path / "out")
    assert_same(dataset, load(tmp_path / "out"))
    assert lost == 0
    (source / "train.txt").open("a", encoding="utf-8").write("99\n")
    assert written(source, tmp_path / "out")[1] == 1


def test_what_an_earlier_export_left_is_replaced(source: Path, tmp_path: Path) -> None:
    written(source, tmp_path / "out")
    (tmp_path / "out" / "anime.tsv.gz").write_bytes(b"old")
    (source / "known.tsv").unlink()
    dataset, _ = written(source, tmp_path / "out", split="random")
    assert_same(dataset, load(tmp_path / "out"))
    assert not (tmp_path / "out" / "known.tsv").exists()


def test_relations_travel_too_and_old_ones_go(source: Path, tmp_path: Path) -> None:
    first, second = load(source).raw_item_ids[:2]
    (source / "relations.tsv").write_text(
        f"subject_id\trelated_id\trelation\n{first}\t{second}\tsequel\n", encoding="utf-8"
    )
    written(source, tmp_path / "out")
    assert len(load(tmp_path / "out").relations) == 1
    (source / "relations.tsv").unlink()
    written(source, tmp_path / "out")
    assert not (tmp_path / "out" / "relations.tsv").exists()


def test_the_data_themselves_are_not_written_over(source: Path) -> None:
    before = (source / "interactions.tsv").read_bytes()
    with pytest.raises(ValueError, match=r"would be written over the data in .*name another folder for --export"):
        written(source, source / ".." / "source")
    assert (source / "interactions.tsv").read_bytes() == before


def test_the_recbole_files_beside_hold_the_same_split(source: Path, tmp_path: Path) -> None:
    dataset, _ = written(source, tmp_path / "out", cold_item_ratio=0.2)
    for part in DISJOINT[:5]:
        lines = (tmp_path / "out" / f"out.{part}.inter").read_text(encoding="utf-8").splitlines()[1:]
        assert {tuple(line.split("\t")[:2]) for line in lines} == pairs(dataset, part)
    shutil.rmtree(source)
    assert_same(dataset, load(tmp_path / "out"))


def moments_of(path: Path) -> dict[tuple[str, str], float]:
    with path.open(encoding="utf-8") as file:
        return {
            (row["user_id:token"], row["item_id:token"]): float(row["timestamp:float"])
            for row in csv.DictReader(file, delimiter="\t")
        }


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000], ids=["seconds", "milliseconds", "microseconds"])
def test_times_travel_to_the_last_digit(unit: int, source: Path, tmp_path: Path) -> None:
    """Also to RecBole's files, and back through the importer."""
    rows = read_rows(source)
    cells = [str(1_629_000_000 * unit + 5 * number) for number in range(len(rows))]
    write_tsv(
        source,
        "interactions.tsv",
        [(row["user_id"], row["subject_id"], "8.5", "", cell) for row, cell in zip(rows, cells, strict=True)],
    )
    (source / "known.tsv").unlink()
    dataset, _ = written(source, tmp_path / "out")
    assert len(np.unique(dataset.times)) == dataset.seen.nnz
    again = load(tmp_path / "out")
    assert_same(dataset, again)
    np.testing.assert_array_equal(dataset.times, again.times)
    for part in ("train", "valid", "test"):
        moments = moments_of(tmp_path / "out" / f"out.{part}.inter")
        matrix = getattr(dataset, part)
        users, items = matrix.nonzero()
        expected = {
            (dataset.raw_user_ids[user], dataset.raw_item_ids[item]): time
            for user, item, time in zip(users, items, dataset.times_of(matrix), strict=True)
        }
        assert moments == expected
    for name in ("interactions.tsv", "anime.tsv", "user.tsv"):
        (tmp_path / "out" / name).unlink()
    convert([recognise(tmp_path / "out")], tmp_path / "back", Options(), Rules())
    back = load(tmp_path / "back")
    assert dict(zip(_pairs_of(back), back.times, strict=True)) == dict(
        zip(_pairs_of(dataset), dataset.times, strict=True)
    )


def _pairs_of(dataset: Dataset) -> list[tuple[str, str]]:
    users, items = dataset.seen.nonzero()
    return [(dataset.raw_user_ids[user], dataset.raw_item_ids[item]) for user, item in zip(users, items, strict=True)]


def test_days_before_months_stay_so_in_a_part_of_the_rows(tmp_path: Path) -> None:
    """The one row that says so names a title that is not there, and is not exported."""
    source = tmp_path / "source"
    write_tsv(source, "anime.tsv", [(f"s{item}", f"t{item}", "", "") for item in range(6)])
    rows = [("u", f"s{item}", 8, "", f"0{item + 1}/12/2021") for item in range(6)]
    write_tsv(source, "interactions.tsv", [*rows, ("u", "gone", 8, "", "15/12/2021")])
    dataset, _ = written(source, tmp_path / "out")
    again = load(tmp_path / "out")
    assert np.isfinite(dataset.times).all()
    np.testing.assert_array_equal(dataset.times, again.times)
