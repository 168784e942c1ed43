"""Settings in any form, as JSON, as words of a command line, or as a dict: a whole config, or one sentence."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config import CONFIG, get_config, read_config
from inference.cold_items import read_fields, read_title
from recommend import parse
from runtime.cli import parse_overrides
from tests.properties.inputs import assert_a_sentence, cells, damaged, folder

keys = st.one_of(st.sampled_from((*CONFIG, "preset", "config")), cells)
numbers = (
    st.sampled_from((10**400, 2**32, 2**32 - 1)) | st.integers(-2, 99) | st.integers(-(2**80), 2**80) | st.floats()
)
values = st.one_of(
    numbers,
    cells,
    st.booleans(),
    st.none(),
    numbers.map(str),
    st.lists(numbers | cells, max_size=3),
    st.sampled_from(
        (
            "true",
            "no",
            "1e3",
            "10,20",
            "10,,20",
            ",",
            "concat",
            "lsa",
            "0.5",
            "NDCG@10",
            "user_time",
            "nan",
            "inf",
            "1_000",
            "٣",
            "cuda:1",
        )
    ),
)
words = st.one_of(keys.map("--{}".format), st.builds("--{}={}".format, keys, values), values.map(str), cells)


def assert_config(config: dict[str, Any]) -> None:
    assert list(config) == list(CONFIG)
    assert all(type(config[key]) is type(default) for key, default in CONFIG.items())
    assert get_config(config) == config
    assert max(value for value in config.values() if isinstance(value, int)) < 2**32
    assert get_config(json.loads(json.dumps(config))) == config


@example(overrides={"text_blocks": "\n"})
@given(overrides=st.dictionaries(keys.filter(lambda key: key != "config"), values, max_size=4))
def test_overrides(overrides: dict[str, Any]) -> None:
    try:
        config = get_config(overrides)
    except ValueError as error:
        assert_a_sentence(error, "setting", "preset", *CONFIG)
        return
    assert_config(config)


@pytest.mark.slow
@given(argv=st.lists(words, max_size=6).filter(lambda argv: not any("config" in word for word in argv)))
def test_the_command_line(argv: list[str]) -> None:
    try:
        config = get_config(parse_overrides(argv))
    except ValueError as error:
        assert_a_sentence(error, "setting", "preset", *CONFIG)
        return
    assert_config(config)


@given(content=st.dictionaries(keys, values, max_size=4) | values, data=st.data())
def test_a_file_of_settings(content: Any, data: st.DataObject) -> None:
    with folder() as home:
        written = json.dumps({"config": content} if data.draw(st.booleans()) else content).encode()
        (home / "x.json").write_bytes(data.draw(damaged(written, 2)))
        try:
            config = get_config(read_config(home / "x.json"))
        except ValueError as error:
            assert_a_sentence(error, "x.json", *CONFIG, "preset")
            return
    assert_config(config)


@pytest.mark.slow
@given(
    fields=st.dictionaries(st.sampled_from(("name", "tags_name", "summary", "more")) | cells, values, max_size=4),
    data=st.data(),
)
def test_a_new_title(fields: dict[str, Any], data: st.DataObject) -> None:
    with folder() as home:
        path = home / data.draw(st.sampled_from(("new.json", "new.tsv")))
        written = (
            json.dumps(fields)
            if path.suffix == ".json"
            else "\t".join(fields) + "\n" + "\t".join(map(str, fields.values()))
        )
        path.write_bytes(data.draw(damaged(written.encode("utf-8", "surrogatepass"), 2)))
        try:
            title = read_title(read_fields(path))
        except ValueError as error:
            assert_a_sentence(error, path.name, "new title", "a title has no field", "no tag can be read")
            return
    assert any(title)
    assert all(isinstance(part, str) for part in (title.name, title.summary, *title.tags))


@given(
    argv=st.lists(
        st.one_of(
            words,
            st.sampled_from(
                (
                    "--user",
                    "--new_user",
                    "--users",
                    "--similar",
                    "--new_item",
                    "--k",
                    "--out",
                    "--tags",
                    "--min_year",
                    "--why",
                    "--new",
                )
            ),
        ),
        max_size=6,
    )
)
@example(argv=["--out", "1" * 300 + "\n"])
def test_the_flags_of_recommend(argv: list[str]) -> None:
    try:
        asked, overrides = parse(argv)
    except ValueError as error:
        assert_a_sentence(error, "--", *CONFIG)
        return
    assert set(overrides) <= {*CONFIG, "preset", "config"}
    assert asked.k is None or overrides["recommend_k"] == asked.k
