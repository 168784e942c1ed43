"""studies/sequential.py and its models: what they learn, what they must not see, what is written."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from config import get_config
from data_loader import Dataset, load_dataset
from evaluation.baseline_inputs import Inputs
from evaluation.baselines import BASELINES
from evaluator import evaluate_warm, means
from runtime.cli import run_script
from studies import sequential, sequential_models
from studies.sequential_models import MAX_LENGTH, MODELS, Fitted, fit, measure, sequences_of, vectors, windows
from tests.helpers.cycles import N_TITLES, write_cycle
from tests.helpers.data import write_data, write_tsv

POINT = {"hidden_size": 32, "dropout": 0.1, "lr": 0.01}

each_model = pytest.mark.parametrize("name", MODELS)


def settings(data: Path, **extra: Any) -> dict[str, Any]:
    shared = {"data_dir": str(data), "min_rate": 0, "top_k": [1, 5], "epochs": 15, "batch_size": 32, "device": "cpu"}
    return get_config({**shared, "early_stop_metric": "NDCG@1", **extra})


@pytest.fixture(scope="module")
def cycle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cycle(tmp_path_factory.mktemp("cycle"))


def made(name: str, n_titles: int = 9, dropout: float = 0.5) -> torch.nn.Module:
    """A model as it starts, but for larger weights and biases, so that every difference shows."""
    model = MODELS[name](n_titles, 8, dropout, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for values in model.parameters():
            values.mul_(10).add_(0.1)
        model.titles.weight[0] = 0
    return model


def test_the_command_line_knows_all_models() -> None:
    assert tuple(MODELS) == sequential.NAMES  # it names them without torch


@each_model
def test_a_cycle_is_learned_and_popularity_knows_nothing_of_it(name: str, cycle: Path, tmp_path: Path) -> None:
    config = settings(cycle)
    dataset = load_dataset(config)
    fitted = fit(name, dataset, POINT, config)
    assert fitted.valid["NDCG@1"] > 0.95
    # where the cycle goes on from another place, which only the title of valid tells
    elsewhere = load_dataset(settings(write_cycle(tmp_path, detour=(-1, -2))))
    if name == "sasrec":  # a jump that train never makes confuses the state of a GRU
        assert measure(fitted.model, elsewhere, "test", config)["NDCG@1"] > 0.5
    assert measure(fitted.model, elsewhere, "valid", config)["NDCG@1"] < 0.1
    inputs = Inputs(dataset, None, config)
    popularity = BASELINES["popularity"](inputs).factors(inputs)
    assert means(evaluate_warm(*popularity, dataset, "valid", config))["NDCG@1"] < 0.2


@each_model
def test_a_later_title_changes_no_earlier_state(name: str) -> None:
    model, sequences = made(name), torch.tensor([[0, 0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 1]])
    changed = sequences.clone()
    changed[:, 4:] = torch.tensor([[6, 7], [2, 3]])
    states, others = model(sequences), model(changed)
    assert torch.equal(states[:, 2:4][0], others[:, 2:4][0])
    assert torch.equal(states[1, :4], others[1, :4])
    assert not torch.isclose(states[:, 4:], others[:, 4:]).all(dim=2).any()


@each_model
def test_an_earlier_title_changes_the_last_state(name: str) -> None:
    model = made(name)
    first, second = model(torch.tensor([[1, 2, 3], [2, 1, 3]]))[:, -1]
    assert not torch.allclose(first, second, atol=1e-3)


@each_model
def test_padding_does_not_matter(name: str) -> None:
    model, titles = made(name), torch.tensor([[1, 2, 3]])
    for n in (1, MAX_LENGTH - 3):
        padded = torch.nn.functional.pad(titles, (n, 0))
        torch.testing.assert_close(model(padded)[:, -3:], model(titles))
    beside = torch.tensor([[0, 0, 1, 2, 3], [4, 5, 6, 7, 8]])
    torch.testing.assert_close(model(beside)[:1, -3:], model(titles))
    assert model(torch.zeros(1, 4, dtype=torch.long)).isfinite().all()


@each_model
def test_dropout_is_of_training_alone_and_of_the_models_own_generator(name: str) -> None:
    titles = torch.tensor([[1, 2, 3]])
    model = made(name)
    assert torch.equal(model(titles), model(titles))
    model.train()
    first, second = model(titles), model(titles)
    assert not torch.allclose(first, second)
    torch.rand(5)  # the global generator has no say
    again = made(name).train()
    assert torch.equal(again(titles), first)


@each_model
def test_a_held_out_row_changes_nothing_learned(name: str, cycle: Path, tmp_path: Path) -> None:
    def learned(data: Path, epochs: int) -> Fitted:
        config = settings(data, epochs=epochs)
        return fit(name, load_dataset(config), POINT, config)

    of_test = write_cycle(tmp_path / "test", detour=(-1,))
    first, second = learned(cycle, 3), learned(of_test, 3)
    assert (first.valid, first.epoch) == (second.valid, second.epoch)
    of_both = write_cycle(tmp_path / "both", detour=(-1, -2))
    first, second = learned(cycle, 1), learned(of_both, 1)  # of one epoch, which valid cannot choose
    assert first.valid != second.valid
    for ours, theirs in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_best_epoch_is_kept_and_training_stops_after_it(cycle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, figures = settings(cycle, early_stop_round=2), iter([0.1, 0.3, 0.2, 0.3, 0.9])
    dataset = load_dataset(config)
    expected = fit("gru4rec", dataset, POINT, {**config, "epochs": 2})
    monkeypatch.setattr(sequential_models, "measure", lambda *_: {"NDCG@1": next(figures)})
    fitted = fit("gru4rec", dataset, POINT, config)
    assert (fitted.epoch, fitted.valid) == (2, {"NDCG@1": 0.3})
    assert next(figures) == 0.9
    assert expected.epoch == 2
    assert all(map(torch.equal, fitted.model.parameters(), expected.model.parameters()))


def load_rows(folder: Path, rows: list[tuple[str, int, str]], **extra: Any) -> Dataset:
    write_tsv(folder, "anime.tsv", ((f"s{item}", f"title {item}", "", "") for item in range(12)))
    write_tsv(folder, "interactions.tsv", ((user, f"s{item}", 0, "", time) for user, item, time in rows))
    return load_dataset(settings(folder, **extra))


def test_sequences_are_oldest_first_and_those_of_test_have_valid(tmp_path: Path) -> None:
    rows = [("a", item, f"2020-01-{day:02d}") for item, day in ((7, 3), (2, 1), (9, 2), (0, 4), (5, 5))]
    rows += [("b", item, "2020-01-01") for item in (0, 2, 5, 7, 9)]
    dataset = load_rows(tmp_path, rows, valid_ratio=0.2, test_ratio=0.2)
    warm = dataset.warm_items
    titles = {part: [warm[each - 1].tolist() for each in sequences_of(dataset, part, 0)] for part in ("valid", "test")}
    assert titles["valid"][0] == [2, 9, 7]
    assert titles["test"][0] == [2, 9, 7, 0] if 0 in warm else [2, 9, 7]
    assert len(titles["valid"][1]) == 3


def test_titles_of_the_same_time_and_without_one_are_in_random_order(tmp_path: Path) -> None:
    rows = [("a", item, "2020-01-01") for item in range(6)] + [("a", item, "") for item in (7, 8)]
    rows += [("a", 9, "2019-01-01"), ("a", 10, "2021-01-01"), ("a", 11, "2022-01-01")]
    dataset = load_rows(tmp_path, rows, valid_ratio=0.1, test_ratio=0.1)
    found = [dataset.warm_items[sequences_of(dataset, "valid", seed)[0] - 1].tolist() for seed in range(8)]
    assert all((set(titles[:2]), titles[2]) == ({7, 8}, 9) for titles in found)
    assert all(set(titles[3:]) == set(range(6)) for titles in found)
    assert len({tuple(titles) for titles in found}) > 4
    assert sequences_of(dataset, "valid", 3)[0].tolist() == sequences_of(dataset, "valid", 3)[0].tolist()


@pytest.mark.parametrize("length", [0, 1, 2, MAX_LENGTH, MAX_LENGTH + 1, MAX_LENGTH + 2, 3 * MAX_LENGTH + 7])
def test_windows_ask_once_for_each_title_but_the_first(length: int) -> None:
    titles = np.arange(1, length + 1)
    asked = windows([titles, np.array([], int)])
    before, following = asked[:, 0], asked[:, 1]
    assert Counter(following[following > 0].tolist()) == Counter(titles[1:].tolist())
    assert (following[following > 0] == before[following > 0] + 1).all()
    assert ((before > 0) == (following > 0)).all()


@each_model
def test_users_of_whom_nothing_is_known_get_popular_titles(name: str, cycle: Path) -> None:
    dataset = load_dataset(settings(cycle))
    known = sequences_of(dataset, "valid", 0)
    user_emb, item_emb = vectors(made(name, N_TITLES), [known[0][:0], *known[1:]], dataset)
    scores, counts = (user_emb @ item_emb.T).numpy(), np.bincount(dataset.train.indices, minlength=dataset.n_items)
    assert (np.argsort(-scores[0], kind="stable") == np.argsort(-counts, kind="stable")).all()
    assert np.corrcoef(scores[1], counts)[0, 1] < 0.9


def test_the_search_stays_on_its_grid_and_within_its_budget(cycle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(cycle)
    for best in ({"hidden_size": 128, "dropout": 0.2, "lr": 0.0003}, sequential.START):

        def fake(name: str, dataset: Dataset, point: dict[str, Any], config: dict[str, Any]) -> Fitted:
            same = sum(point[key] == best[key] for key in point)  # noqa: B023
            return Fitted(None, {"NDCG@1": float(same)}, 1, 0.0)

        monkeypatch.setattr(sequential, "fit", fake)
        point, tried, fitted = sequential.search("sasrec", load_dataset(config), config)
        assert (point, fitted.valid["NDCG@1"]) == (best, 3)
        assert 4 <= len(tried) <= sequential.BUDGET
        assert all(each["point"][key] in sequential.GRID[key] for each in tried for key in sequential.GRID)


def call(words: str, folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    shared = ["--data_dir", str(data), "--saved_dir", str(folder), "--min_rate", "0", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["sequential.py", *words.split(), *shared])
    return run_script(sequential.main)


def test_the_script_writes_its_figures(
    cycle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sequential, "GRID", {"hidden_size": [64], "dropout": [0.2, 0.5], "lr": [0.001]})
    assert call("--rows gru4rec --seeds 2 --epochs 1 --top_k 3 --seed 5", tmp_path, cycle, monkeypatch) == 0
    found = json.loads((tmp_path / "sequential" / "results.json").read_text(encoding="utf-8"))
    row = found["rows"]["gru4rec"]
    assert len(row["tried"]) == 2
    assert [(run["seed"], run["split_seed"]) for run in row["runs"]] == [(5, 0), (6, 1)]
    best = max(row["tried"], key=lambda each: each["valid"]["NDCG@3"])
    assert (row["point"], row["runs"][0]["valid"]) == (best["point"], best["valid"])
    assert row["mean"]["test"]["NDCG@3"]["mean"] == pytest.approx(
        np.mean([run["test"]["NDCG@3"] for run in row["runs"]])
    )
    table = (tmp_path / "sequential" / "results.md").read_text(encoding="utf-8")
    assert "valid NDCG@3" in table
    assert table in capsys.readouterr().out


def test_a_point_is_trained_without_a_search(
    cycle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--rows gru4rec --seeds 1 --epochs 1 --top_k 3 --point hidden_size=8,lr=0.01"
    assert call(words, tmp_path, cycle, monkeypatch) == 0
    row = json.loads((tmp_path / "sequential" / "results.json").read_text(encoding="utf-8"))["rows"]["gru4rec"]
    assert row["point"] == {"hidden_size": 8, "dropout": 0.5, "lr": 0.01}
    assert (row["tried"], len(row["runs"])) == ([], 1)
    assert "gru4rec: hidden_size 8, dropout 0.5, lr 0.01, not searched." in capsys.readouterr().out
    assert call("--point layers=2", tmp_path, cycle, monkeypatch) == 2
    assert "'layers=2' is no setting" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--rows sasrec,bert", "'bert' is no model; they are sasrec, gru4rec"),
        ("--valid_ratio 0", "no valid part"),
        ("--refit true", "leave refit"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: str,
    told: str,
    cycle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(words, tmp_path, cycle, monkeypatch) == 2
    assert told in capsys.readouterr().err


def test_data_without_times_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_data(tmp_path / "data") / "interactions.tsv"
    lines = [line.rpartition("\t")[0] + "\t" for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    header = "user_id\tsubject_id\trate\tcomment\tupdated_at"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    assert call("", tmp_path / "saved", tmp_path / "data", monkeypatch) == 2
    assert "no order to learn" in capsys.readouterr().err
