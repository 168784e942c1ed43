"""Tags of known names come back as these names, in whatever form a program wrote them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.tags import parse_tags

# what separates, quotes or brackets is inside of a name only where the form has quotes
PLAIN = st.text(st.sampled_from("abXY 恋爱校园日常ドé-&'.0"), min_size=1, max_size=8)
ANY = PLAIN | st.text(st.sampled_from("ab 恋,;|、｜\u3000/'\"\\\n[]{}()#:"), min_size=1, max_size=8)
COUNTS = st.integers(0, 10**6)


def as_objects(names: list[str]) -> list[dict]:
    return [{"id": number, "name": name, "count": 3 * number} for number, name in enumerate(names)]


WRITERS = {
    "JSON": json.dumps,
    "JSON, not escaped": lambda names: json.dumps(names, ensure_ascii=False, indent=1),
    "JSON as text in JSON": lambda names: json.dumps(json.dumps(names)),
    "Python": str,
    "a tuple": lambda names: str(tuple(names)),
    "numpy": lambda names: str(np.array(names, dtype=object)),
    "numpy's repr": lambda names: repr(np.array(names, dtype=object)),
    "JSON of objects": lambda names: json.dumps(as_objects(names)),
    "Python of objects": lambda names: str(as_objects(names)),
    "numpy of objects": lambda names: str(np.array(as_objects(names))),
    "objects without brackets": lambda names: str(as_objects(names))[1:-1],
    "objects as texts": lambda names: str([str(one) for one in as_objects(names)]),
    "name first, nested": lambda names: json.dumps([[{"name": name, "total_cont": 1}] for name in names]),
}
PARTED = (",", ", ", ";", "；", "，", "、", "|", " | ", "｜", "\u3000", " / ")


def cleaned(names: list[str]) -> list[str]:
    return [one for name in names if (one := " ".join(name.splitlines()).strip())]


# a name that is itself a quoted text or a list of them is read as what it holds
def is_itself(name: str) -> bool:
    return name.strip()[:1] not in tuple("[{('\"") and name.strip()[-1:] not in tuple("]})'\"")


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=max(160, settings().max_examples // 10))
@given(names=st.lists(ANY.filter(is_itself), min_size=1, max_size=6))
def test_written_by_a_program(form: str, names: list[str]) -> None:
    assert parse_tags(WRITERS[form](names).strip()) == cleaned(names)


@pytest.mark.parametrize("separator", PARTED)
@given(names=st.lists(PLAIN.filter(is_itself).filter(str.strip), min_size=2, max_size=6))
def test_parted_by_people(separator: str, names: list[str]) -> None:
    assert parse_tags(separator.join(names).strip()) == cleaned(names)
