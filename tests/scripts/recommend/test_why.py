"""recommend.py --why: reasons that sum to the score."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from data_loader import load_dataset
from inference import terminal
from runtime import manifest
from runtime.files import load_torch

Call = Callable[..., tuple[int, str, str]]


# --- why ---


def parts_of(line: str) -> float:
    return sum(float(part.rsplit(" ", 1)[1]) for part in line.strip().split(" + "))


@pytest.mark.parametrize("words", [("--user", "u3"), ("--new_user", "s1,s2,s5")])
def test_why_names_collected_titles_and_parts_that_sum_to_the_score(
    call: Call, config: dict[str, Any], words: tuple[str, ...]
) -> None:
    code, plain, _ = call(*words, "--k", "5")
    code, told, _ = call(*words, "--k", "5", "--parts")
    assert code == 0
    bare = call(*words, "--k", "5", "--why")[1].splitlines()
    assert [line for line in told.splitlines() if " history " in f" {line}" or line in bare] == told.splitlines()
    assert not any("history" in line for line in bare)
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
    assert terminal.printed("for y:", [entry], with_parts=True).splitlines()[2:] == [
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
        assert set(title) == {"subject_id", "name", "score", "because", "despite", "parts"}
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
