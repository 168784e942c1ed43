"""Relations of any shape survive conversion."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.readers import read_anime
from dataset.relations import RELATIONS, read_relations
from tests.helpers.conversions import converted, with_relations


@settings(max_examples=max(40, settings().max_examples // 10))
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"), st.sampled_from(RELATIONS)), min_size=1, max_size=30
    )
)
def test_a_graph_survives_conversion(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("data")
    result = converted(folder, with_relations(rows))
    kept = {(one, other, name) for one, other, name in rows if one != other and {one, other} <= set("abc")}
    ids = read_anime(folder)["subject_id"]
    found = read_relations(folder, ids)
    assert {(ids[one], ids[other], RELATIONS[code]) for one, other, code in found.tolist()} == kept
    assert result.relations == len(kept)
    assert (folder / "relations.tsv").exists() == bool(kept)
