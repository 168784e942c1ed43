"""The figures about a data folder against ones computed by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config import get_config
from data_loader import load_dataset
from tests.helpers.data import write_data, write_tsv
from tools.data_profile import profile, quartiles, read_tables, scripts

MAL = Path(__file__).resolve().parents[3] / "shared" / "datasets" / "mal-anime"


# --- figures ---


def figures(folder: Path, **overrides: Any) -> dict[str, Any]:
    config = get_config({"data_dir": str(folder), **overrides})
    return profile(load_dataset(config), read_tables(folder), config["min_rate"])


def test_figures_are_those_computed_by_hand(tmp_path: Path) -> None:
    write_tsv(
        tmp_path,
        "anime.tsv",
        [("a", "Ab", '["t", "u"]', "数字"), ("b", "", "t", "xyz1"), ("c", "Д", "", ""), ("d", "", "", "")],
    )
    write_tsv(
        tmp_path,
        "interactions.tsv",
        [
            ("u", "a", 0, "", "2020-01-01"),
            ("u", "b", 8, "好", "2020-01-01"),
            ("u", "c", 9, "ok", "2020-03-01"),
            ("v", "a", 9, "", ""),
            ("v", "a", 4, "", ""),
            ("v", "z", 9, "", "2020-01-01"),
        ],
    )
    (tmp_path / "known.tsv").write_text("user_id\tsubject_id\nv\td\nv\ta\n", encoding="utf-8")
    found = figures(tmp_path, min_rate=5)
    assert found["counts"] == {
        "users": 2,
        "titles": 4,
        "rows": 6,
        "pairs": 4,
        "known only": 1,
        "positives": 2,
        "density": 4 / 8,
        "titles without a row": 1,
        "users with fewer than 3 positives": 2,
        "users in test": 0,
        "train": 2,
        "valid": 0,
        "test": 0,
        "cold_valid": 0,
        "cold_test": 0,
    }
    assert found["rows per user"] == {"least": 1, "quarter": 1.5, "median": 2, "three quarters": 2.5, "most": 3}
    assert found["rows per title"] == {"least": 1, "quarter": 1, "median": 1, "three quarters": 1.5, "most": 2}
    assert found["rates"]["counts"] == {"4": 1, "8": 1, "9": 1}
    assert (found["rates"]["unrated"], found["rates"]["positive"]) == (0.25, 0.5)
    assert found["times"] == {
        "share": 0.75,
        "first": "2020-01-01",
        "last": "2020-03-01",
        "distinct": 1 / 3,
        "most frequent": {"time": "2020-01-01", "share": 2 / 3},
    }
    assert found["comments"]["share"] == 0.5
    assert found["comments"]["length"]["median"] == 1.5
    assert found["comments"]["scripts"] == {"Latin": 2 / 3, "Han": 1 / 3}
    assert {part: found["texts"][part] for part in ("name", "tags", "summary", "nothing")} == {
        "name": 0.5,
        "tags": 0.5,
        "summary": 0.5,
        "nothing": 0.25,
    }
    assert found["texts"]["tags of a title"]["median"] == 1.5
    assert found["texts"]["summary length"]["most"] == 4
    # Ab, t, u, t, xyz; 数字; Д
    assert found["texts"]["scripts"] == {"Latin": 8 / 11, "Han": 2 / 11, "Cyrillic": 1 / 11}


def test_scripts_are_told_by_their_letters() -> None:
    assert scripts("") == {}
    assert scripts("12 !?、。 ×÷") == {}
    text = "aé進撃のアー한Жλبกא"
    assert {name: round(share * 13) for name, share in scripts(text).items()} == {
        "Latin": 2,
        "Han": 2,
        "Kana": 3,
        "Hangul": 1,
        "Cyrillic": 1,
        "Greek": 1,
        "Arabic": 1,
        "Thai": 1,
        "other": 1,
    }


def test_many_different_rates_are_counted_in_steps(tmp_path: Path) -> None:
    write_data(tmp_path)
    write_tsv(tmp_path, "interactions.tsv", [("u", f"s{n}", n, "", "") for n in range(1, 30)])
    counted = figures(tmp_path)["rates"]["counts"]
    assert len(counted) == 10
    assert sum(counted.values()) == 29
    assert next(iter(counted)) == "1 to 3.8"


def test_quartiles_of_nothing() -> None:
    assert quartiles(np.array([])) == {}


@pytest.mark.slow
@pytest.mark.skipif(not MAL.is_dir(), reason="shared/datasets/mal-anime is not here")
def test_figures_of_mal_anime() -> None:
    found = figures(MAL, min_rate=0)
    assert {name: found["counts"][name] for name in ("users", "titles", "rows", "pairs", "positives")} == {
        "users": 4997,
        "titles": 6444,
        "rows": 513_137,
        "pairs": 513_137,
        "positives": 513_137,
    }
    assert found["times"] == {"share": 0.0}
    assert found["comments"]["share"] == 0
    assert found["texts"]["scripts"]["Latin"] > 0.99
