"""Titles that entries of a list probably are: named, never counted, and only where an encoder is sure."""

import numpy as np
import pandas as pd
import pytest

import main
from config import get_config
from inference import probable
from inference.finished_run import FinishedRun, load_finished
from inference.probable import matched, probable_titles
from inference.user_list import match_user_list
from tests.helpers.data import write_data, write_tsv

N = 120


def meanings(n: int, language: int) -> np.ndarray:
    """Return n distinct meanings, all with the same large part of a language."""
    rows = np.random.default_rng(0).normal(size=(N + 40, 256))[:n] / 16
    rows = np.concatenate([rows, np.zeros((n, 2))], axis=1)
    rows[:, 256 + language] = 3
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_names_come_to_their_titles_across_languages_and_strangers_to_none() -> None:
    titles, asked = meanings(N, 0), meanings(N + 40, 1)[60:]
    found = matched([str(row) for row in range(60, N + 40)], asked, titles)
    assert {item for _, item in found} == {*range(60, N)}
    assert all(int(name) == item for name, item in found)


def test_of_two_names_that_fit_a_title_the_nearer_is_taken() -> None:
    titles, asked = meanings(N, 0), meanings(40, 1)
    asked[1] = asked[0] + 0.02 * asked[2]
    found = dict(matched([str(row) for row in range(40)], asked, titles))
    assert found["0"] == 0
    assert "1" not in found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("run")
    write_data(folder / "data", n_users=40, n_items=N)
    write_tsv(folder / "data", "anime.tsv", ((f"s{i}", f"作{chr(0x4E00 + i)}", "", f"故事{i}") for i in range(N)))
    places = {"data_dir": str(folder / "data"), "saved_dir": str(folder / "saved"), "device": "cpu"}
    main.run(get_config({**places, "model_name": "lsa", "lsa_dim": 8, "embedding_dim": 8, "epochs": 1}))
    return load_finished(get_config(places))


def listed(names: list[str]) -> pd.DataFrame:
    own = pd.DataFrame({"subject_id": "s0", "name": "作一", "rate": 8.0, "status": "done"}, index=[0])
    others = pd.DataFrame({"subject_id": "", "name": names, "rate": 9.0, "status": "done"})
    return pd.concat([own, others], ignore_index=True)


def speaks(monkeypatch: pytest.MonkeyPatch, run: FinishedRun) -> None:
    """Let the run have an encoder that knows what Latin names mean: "Work 7" is title 7."""
    places = {name: row for row, name in enumerate(run.dataset.item_names)}

    def encode(texts: list[str], as_query: bool = False) -> np.ndarray:
        rows = [places[text] if text in places else int(text.split()[1]) for text in texts]
        return meanings(N + 40, int(as_query))[rows]

    monkeypatch.setitem(run.config, "model_name", "acme/tiny")
    monkeypatch.setattr(probable, "encoders_of", lambda run, further: {"encoder": encode})
    probable._encoded_names.cache_clear()


def test_probable_titles_are_told_and_not_counted(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"Work {row}" for row in range(90, N + 20)]
    plain = match_user_list(run, listed(names))
    assert (plain.probable, plain.notes) == ((), ())
    speaks(monkeypatch, run)
    found = match_user_list(run, listed(names))
    assert {*found.probable} == {(f"Work {row}", row) for row in range(90, N)}
    assert found._replace(notes=(), probable=()) == plain
    assert (
        "30 of the unknown ones are probably here under names in another language, and do not count" in found.notes[0]
    )
    assert "and 20 more; name those that are right by their ids" in found.notes[0]
    probable._encoded_names.cache_clear()


@pytest.mark.parametrize("names", [[f"Work {row}" for row in range(19)], [f"品{chr(0x5000 + i)}" for i in range(40)]])
def test_few_names_and_those_of_the_catalogues_language_are_left(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    speaks(monkeypatch, run)
    monkeypatch.setattr(probable, "encoders_of", lambda run, further: pytest.fail("opened for nothing"))
    assert probable_titles(run, names) == []
