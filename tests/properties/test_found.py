"""What the property tests found, each by itself."""

from pathlib import Path
from typing import Any

import pytest

from config import get_config
from dataset import tables
from dataset.readers import USER_COLUMNS, read_anime, read_interactions, read_table
from dataset.tags import tag_names
from importers import read_export, recognise
from importers.common import NO_OPTIONS, STATUSES
from importers.pipeline import convert
from importers.users import Rules
from runtime.cli import parse_overrides
from tests.helpers.exports import anilist, bangumi_collections, mal_api
from tests.helpers.import_samples import write
from tests.properties.inputs import assert_a_sentence


def table(folder: Path, content: str) -> Any:
    return read_table(write(folder, user__tsv=content), "user.tsv", USER_COLUMNS[:2])


@pytest.mark.parametrize(
    "content", ['"user\nid"\tusername\nu\ta\n', "user\x0bid\tusername\nu\ta\n", '"user_id\tusername\nu\ta\n"\n']
)
def test_a_header_with_line_ends_tears_no_sentence_apart(content: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 1: no column user_id") as caught:
        table(tmp_path, content)
    assert_a_sentence(caught.value, "user.tsv")


def test_an_open_quote_in_the_header_has_a_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"user\.tsv line 1: unexpected end of data; a double quote"):
        table(tmp_path, 'user_id\t"username\nu\ta\n')


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """It was the first that counted, without a word."""
    with pytest.raises(ValueError, match=r"user\.tsv line 1: 2 columns are called username; leave one"):
        table(tmp_path, "user_id\tusername\tusername\nu\ta\tb\n")
    assert len(table(tmp_path / "other", "user_id\tusername\tmore\tmore\nu\ta\tb\tc\n")[1]) == 1


@pytest.mark.parametrize("block", [1, 5, 20, 2**20])
def test_a_mark_that_starts_a_block_after_a_lone_cr_is_part_of_an_id(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pandas took it for that of the file, since the line before it had not ended for it."""
    monkeypatch.setattr(tables, "BLOCK", block)
    (tmp_path / "user.tsv").write_bytes(b"user_id\tusername\r\xef\xbb\xbf\ta\ru\tb\r")
    assert read_table(tmp_path, "user.tsv", USER_COLUMNS[:2])[1]["user_id"].tolist() == ["\ufeff", "u"]


@pytest.mark.parametrize("sample", [mal_api, bangumi_collections, anilist])
def test_an_object_in_the_place_of_a_tags_name_is_no_tag(sample: Any, tmp_path: Path) -> None:
    """It was written as Python shows it, and the data folder then refused for it."""
    source = sample(tmp_path / "in")
    path = next(source.iterdir())
    named = {'"name": "x"': '"name": {"": null}', '"name": "t"': '"name": {"": null}'}
    text = path.read_text(encoding="utf-8")
    for before, after in named.items():
        text = text.replace(before, after)
    assert '{"": null}' in text
    path.write_text(text, encoding="utf-8")
    convert([recognise(source)], tmp_path / "out", NO_OPTIONS, Rules(STATUSES, adult=True))
    assert len(read_anime(tmp_path / "out"))
    assert "None" not in (tmp_path / "out" / "anime.tsv").read_text(encoding="utf-8")


def test_what_keys_an_object_without_a_name_has_is_said_on_one_line() -> None:
    with pytest.raises(ValueError, match="an object has no name, only a b") as caught:
        tag_names({"a\nb": None})
    assert_a_sentence(caught.value, "an object")


def test_a_rate_beyond_float32_is_refused(tmp_path: Path) -> None:
    """It made the weight of a comment infinite, and the vector of its user nan."""
    write(tmp_path, interactions__tsv="user_id\tsubject_id\trate\tcomment\tupdated_at\nu\ts\t1e300\tx\t\n")
    with pytest.raises(ValueError, match=r"interactions\.tsv line 2: rate '1e300' is not a number \(up to"):
        read_interactions(tmp_path, None)


def test_a_rate_beyond_float32_is_none_to_the_converter(tmp_path: Path) -> None:
    source = write(tmp_path / "in", ratings__csv="userId,movieId,rating,timestamp\n1,2,1e300,1\n1,3,4,1\n")
    convert([recognise(source)], tmp_path / "out", NO_OPTIONS, Rules())
    assert "1\t2\t0\t" in (tmp_path / "out" / "interactions.tsv").read_text()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rating__csv", "x\x0buser_id,x\x0banime_id,rating\n1,20,8\n"),
        (
            "record__tsv",
            "uid\tiid\ttyp\tstate\tadddate\trate\ttags\tcomment\n"
            + "".join(f"{who}\t8\tanime\tcollect\t2014-01-01\t7\t\tok\n" for who in ("ann", "a\x0bbob")),
        ),
    ],
)
def test_names_with_line_ends_tear_no_sentence_apart(name: str, content: str, tmp_path: Path) -> None:
    path = next(write(tmp_path, **{name: content}).iterdir())
    with pytest.raises(ValueError, match=path.name) as caught:
        read_export(path)
    assert_a_sentence(caught.value, path.name)


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 2**64), ("batch_size", 2**63), ("epochs", 10**400), ("lr", 10**400), ("top_k", [10**400])],
)
def test_a_whole_number_beyond_what_torch_takes_is_a_sentence(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key) as caught:
        get_config({key: value})
    assert_a_sentence(caught.value, key)


def test_a_seed_beyond_what_torch_takes_is_a_sentence_of_the_command_line() -> None:
    with pytest.raises(ValueError, match="seed takes a whole number below 4,294,967,296, not '9999"):
        get_config(parse_overrides(["--seed", "9" * 20]))


def test_a_preset_that_is_no_name_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="preset .* is unknown"):
        get_config({"preset": ["tuned"]})
