"""The rows of a run among those of now: which are new, what changed, and where each goes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config import get_config
from data_loader import load_dataset
from dataset.earlier_rows import new_pairs, read_rows
from dataset.recency import users_of
from dataset.splits import PARTS
from inference.outputs import write_rows
from runtime.files import write_json
from tests.helpers.data import write_data, write_tsv
from tests.helpers.tables import Row, read_tables, write_rows_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", n_users=30, n_items=24)


def config_of(folder: Path, **more: Any) -> dict[str, Any]:
    return get_config({"data_dir": str(folder), "saved_dir": str(folder.parent / "saved"), "min_rate": 3.0, **more})


def kept(config: dict[str, Any]) -> Any:
    """Write the rows of the data as a run does, and read them again."""
    dataset, saved = load_dataset(config), Path(config["saved_dir"])
    saved.mkdir(exist_ok=True)
    write_rows(saved, dataset)
    write_json(saved / "id_mappings.json", {"user_ids": dataset.raw_user_ids, "item_ids": dataset.raw_item_ids})
    return dataset, read_rows(saved)


def parts_by_id(dataset: Any) -> dict[tuple[str, str], str]:
    """Return the part of every pair by its ids; that of no part is left out."""
    return {
        (dataset.raw_user_ids[user], dataset.raw_item_ids[item]): name
        for name in (*PARTS, "excluded")
        for user, item in np.argwhere(getattr(dataset, name).toarray()).tolist()
    }


@pytest.mark.parametrize(
    "settings",
    [{}, {"split": "random"}, {"split": "global_time"}, {"cold_item_ratio": 0.2}, {"refit": True}],
    ids=["user_time", "random", "global_time", "cold", "refit"],
)
def test_old_rows_keep_their_part_and_new_positives_are_trained_on(folder: Path, settings: dict[str, Any]) -> None:
    rows = read_tables(folder)
    late = [row for row in rows if row.user in ("u1", "u29") or row.title in ("s3", "s20")]
    early = [row for row in rows if row not in late]
    write_rows_of(folder, early)
    config = config_of(folder, **settings)
    before, earlier = kept(config)
    write_rows_of(folder, [*late, *early[::-1]])
    after = load_dataset(config, earlier)
    was, now = parts_by_id(before), parts_by_id(after)
    assert {pair: now[pair] for pair in was} == was
    assert after.seen.nnz == len(rows)
    held_out = {title for (_, title), part in was.items() if part.startswith("cold")}
    assert bool(held_out) is ("cold_item_ratio" in settings)
    for row in late:
        expected = "excluded" if row.title in held_out else "train"
        if row.rate >= 3:
            assert now[row.user, row.title] == expected
        else:
            assert now.get((row.user, row.title)) in (None, "excluded")
    is_new = new_pairs(after, earlier)
    assert {
        (after.raw_user_ids[user], after.raw_item_ids[item])
        for user, item in zip(users_of(after.seen)[is_new], after.seen.indices[is_new], strict=True)
    } == {(row.user, row.title) for row in late}
    wrote = {row.comment for row in rows if now.get((row.user, row.title)) == "train"} - {""}
    assert set(after.user_comments.texts) == wrote


def test_what_did_not_change_is_the_same_dataset(folder: Path) -> None:
    for settings in ({}, {"split": "random"}, {"refit": True}):
        config = config_of(folder, **settings)
        before, earlier = kept(config)
        again = load_dataset(config, earlier)
        assert again.digests == before.digests
        assert again.user_comments.texts == before.user_comments.texts


def changed(rows: list[Row], **change: Any) -> list[Row]:
    return [rows[0]._replace(**change), *rows[1:]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: changed(rows, rate=11), "the rate of user 'u0' and title '{}' was {} and is now 11 (1 rows have"),
        (lambda rows: changed(rows, time="2021-05-06 07:08:09"), "is now 2021-05-06 07:08:09"),
        (lambda rows: changed(rows, time=""), "and is now unknown"),
        (lambda rows: rows[1:], "the row of user 'u0' and title '{}' is gone (1 such rows)"),
        (lambda rows: [row for row in rows if row.user != "u0"], "(10 such rows)"),
    ],
)
def test_a_row_that_changed_is_named(folder: Path, change: Any, says: str) -> None:
    config = config_of(folder)
    _, earlier = kept(config)
    rows = read_tables(folder)
    write_rows_of(folder, change(rows))
    with pytest.raises(ValueError, match="an update only takes in what is new; restore it, or train again") as error:
        load_dataset(config, earlier)
    assert says.format(rows[0].title, f"{rows[0].rate:g}") in str(error.value)


def test_a_title_that_is_gone_is_named(folder: Path) -> None:
    config = config_of(folder)
    _, earlier = kept(config)
    write_tsv(folder, "anime.tsv", ((f"s{i}", f"title {i}", "", "") for i in range(23)))
    with pytest.raises(ValueError, match="there is no title 's23' any more"):
        load_dataset(config, earlier)


def test_a_user_without_rows_who_is_gone_is_named(tmp_path: Path) -> None:
    """As of a line of the text format without titles: their vector would be another user's."""
    data = tmp_path / "data"
    data.mkdir()
    titles = [[user % 5, user % 5 + 1, user % 3 + 6] for user in range(9)]
    lines = [" ".join(map(str, [user, *items[:2]])) for user, items in enumerate(titles)]
    (data / "train.txt").write_text("\n".join([*lines, "99"]))
    (data / "test.txt").write_text("\n".join(f"{user} {items[2]}" for user, items in enumerate(titles)))
    config = get_config({"data_dir": str(data), "saved_dir": str(tmp_path / "saved"), "text_lines": "items"})
    before, earlier = kept(config)
    assert before.raw_user_ids[-1] == "99"
    assert load_dataset(config, earlier).digests == before.digests
    (data / "train.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"there is no user '99' any more \(1 such users\), and an update only"):
        load_dataset(config, earlier)


def test_a_folder_of_an_earlier_version_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="rows.npz is missing, so that it is not known which rows are new; train again"
    ):
        read_rows(tmp_path)
    (tmp_path / "rows.npz").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="rows.npz cannot be read"):
        read_rows(tmp_path)


def test_a_given_split_holds_out_new_rows_as_it_says(tmp_path: Path) -> None:
    """Of train.txt and test.txt, with a valid part drawn from train."""
    rng = np.random.default_rng(0)
    titles = [rng.permutation(20)[:12].tolist() for _ in range(30)]
    data = tmp_path / "data"
    data.mkdir()

    def write(name: str, parts: list[list[int]]) -> None:
        lines = (" ".join(map(str, [user, *items])) for user, items in enumerate(parts))
        (data / name).write_text("\n".join(lines))

    write("train.txt", [items[:7] for items in titles])
    write("test.txt", [items[7:9] for items in titles])
    config = config_of(data)
    before, earlier = kept(config)
    assert before.valid.nnz
    write("train.txt", [items[:7] + items[9:11] for items in titles])
    write("test.txt", [items[7:9] + items[11:] for items in titles])
    after = load_dataset(config, earlier)
    was, now = parts_by_id(before), parts_by_id(after)
    assert {pair: now[pair] for pair in was} == was
    fresh = {pair: part for pair, part in now.items() if pair not in was}
    assert set(fresh) == {(str(user), str(item)) for user, items in enumerate(titles) for item in items[9:]}
    for (user, item), part in fresh.items():
        assert part == ("test" if int(item) == titles[int(user)][11] else "train")
