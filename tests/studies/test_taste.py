"""studies/taste.py: what each taste brings and costs, by figures that are those of the run where it is as measured."""

import json
import sys
from pathlib import Path

import pytest

from runtime.cli import run_script
from studies import taste
from studies.common import finished_run
from tests.helpers.tastes import taste_run

MEASURED, MOST = "0.5, as measured", "1"


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of two runs of the same settings, the seed aside."""
    folders = [tmp_path_factory.mktemp(f"seed{seed}") for seed in range(2)]
    for seed, folder in enumerate(folders):
        taste_run(folder, seed=seed)
    return [folder / "saved" for folder in folders]


@pytest.fixture(scope="module")
def rows(seeds: list[Path]) -> taste.Rows:
    return taste.measure(finished_run(seeds[0]))


def test_as_measured_the_figures_are_those_of_the_run(seeds: list[Path], rows: taste.Rows) -> None:
    metrics = json.loads((seeds[0] / "metrics.json").read_text(encoding="utf-8"))
    rated = metrics["rated"]
    assert {key: value for key, value in rows[MEASURED].items() if key != "shared when inverted"} == {
        "NDCG@20": metrics["warm"]["NDCG@20"],
        "liked NDCG@20": rated["liked"]["NDCG@20"],
        "loved NDCG@20": rated["loved"]["NDCG@20"],
        "disliked listed": rated["disliked"]["share@20"],
        "mean z of hits": rated["mean z@20"],
    }


def test_the_more_rates_count_the_more_hits_are_liked(rows: taste.Rows) -> None:
    assert list(rows) == ["0", "0.25", MEASURED, "0.75, for people", MOST]
    assert rows["0"]["disliked listed"] > rows[MOST]["disliked listed"]
    assert rows["0"]["mean z of hits"] < rows[MOST]["mean z of hits"]
    assert (
        rows["0"]["shared when inverted"] > rows[MEASURED]["shared when inverted"] > rows[MOST]["shared when inverted"]
    )


def test_it_prints_mean_and_deviation_over_the_runs(
    seeds: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["taste.py", *map(str, seeds)])
    assert run_script(taste.main) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == ["taste", *taste.COLUMNS]
    assert len(lines) == 2 + len(taste.TASTES)
    assert all(line.count("±") == len(taste.COLUMNS) for line in lines[2:])


@pytest.mark.slow
def test_a_run_trained_on_everything_is_refused_and_what_was_measured_is_not(tmp_path: Path) -> None:
    taste_run(tmp_path, refit=True)
    with pytest.raises(ValueError, match="is held out for a test; .* name the folder measured in it"):
        taste.measure(finished_run(tmp_path / "saved"))
    assert taste.measure(finished_run(tmp_path / "saved" / "measured"))[MEASURED]["NDCG@20"] > 0


def test_a_run_without_rates_is_refused(tmp_path: Path) -> None:
    taste_run(tmp_path, rating_weight=0.0)
    with pytest.raises(ValueError, match="rates decide nothing in the linear columns"):
        taste.measure(finished_run(tmp_path / "saved"))
