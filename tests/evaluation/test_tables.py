"""Means over seeds, and the table of an ablation."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.comparison_tables import notes, tables, write_tables
from evaluation.comparisons import add_p_values, fit_seconds, summary
from evaluation.significance import spread
from evaluation.tables import COLUMNS, Bold, Table, as_latex, as_markdown, latex, mean_and_sd
from tests.helpers.ablations import run_of, runs_of

KEYS = ("tag", "overrides", "encoder", "folders", "epochs", "points", "n_seeds", "n_splits")

# --- means over seeds ---


def test_summary_has_means_and_sample_deviations_of_every_number() -> None:
    row = summary("tag", {"lr": 1}, [run_of(1, point={"l2": 10}), run_of(2, point={"l2": 30}), run_of(6)])
    sd = np.std([1, 2, 6], ddof=1)
    assert sd == pytest.approx(7**0.5)
    assert row["test"] == {
        "NDCG@20": {"mean": 3, "sd": pytest.approx(sd)},
        "Recall@20": {"mean": 30, "sd": pytest.approx(10 * sd)},
    }
    assert row["valid"] == row["warm"] == row["listed"]["joint"] == row["test"]
    assert row["groups"]["users"]["<=5"] == {"n_users": {"mean": 4, "sd": 0}, **row["test"]}
    assert row["beyond"]["Coverage"] == row["train_s"] == {"mean": 3, "sd": pytest.approx(sd)}
    assert row["fit_s"] == {"mean": 9, "sd": pytest.approx(3 * sd)}
    assert row["cold"] == {}
    assert {key: row[key] for key in KEYS} == {
        "tag": "tag",
        "overrides": {"lr": 1},
        "encoder": "lsa",
        "epochs": [1, 2, 6],
        "n_seeds": 3,
        "n_splits": 1,
        "folders": ["folder of 1", "folder of 2", "folder of 6"],
        "points": [{"l2": 10}, {"l2": 30}, {}],
    }


def test_summary_of_one_seed_has_no_deviation() -> None:
    row = summary("tag", {}, [run_of(2)])
    assert (row["test"]["NDCG@20"], row["n_seeds"]) == ({"mean": 2, "sd": 0.0}, 1)


def test_a_number_that_some_runs_lack_is_that_of_the_others() -> None:
    """A group that is empty in a run has no metrics there, which is not a metric of 0."""
    found = spread(
        [
            {"<=5": {"n_users": 0}, ">50": {"n_users": 2, "NDCG@20": 0.5}},
            {"<=5": {"n_users": 3, "NDCG@20": 0.2}, ">50": {"n_users": 2, "NDCG@20": 0.5}},
            {"<=5": {"n_users": 6, "NDCG@20": 0.4}, ">50": {"n_users": 2, "NDCG@20": 0.5}},
        ]
    )
    assert found["<=5"]["n_users"] == {"mean": 3, "sd": 3}
    assert found["<=5"]["NDCG@20"] == pytest.approx({"mean": 0.3, "sd": 0.02**0.5})
    assert found[">50"]["NDCG@20"] == {"mean": 0.5, "sd": 0}
    assert spread([{}, {"NDCG@20": 0.5}]) == {"NDCG@20": {"mean": 0.5, "sd": 0}}


def test_seconds_are_those_of_the_whole_fit() -> None:
    """A baseline of before they were measured has its grid's in train_s; a run whose metrics were lost has none."""
    old = {key: value for key, value in run_of(2).items() if key != "timing"}
    assert fit_seconds(run_of(2)) == 6
    assert fit_seconds({**old, "point": {"l2": 10}}) == 2
    assert fit_seconds({**old, "timing": {"infer_s": 1}}) is None
    rows = [{**summary(tag, {}, [run]), "p": None} for tag, run in (("a", run_of(2)), ("b", old))]
    assert [row["fit s"] for row in cells(rows)] == ["6.0", ""]
    assert "not measured for b" in notes(rows)[-1]
    assert summary("both", {}, [run_of(2), old])["fit_s"]["mean"] == 6


# --- figures ---


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (0.3936, 0.0032, "0.394 ± 0.003"),
        (0.3936, 0.0117, "0.394 ± 0.012"),
        (0.3936, 0.0096, "0.394 ± 0.010"),
        (0.2321, 0.0012, "0.2321 ± 0.0012"),
        (0.4431, 0.0571, "0.44 ± 0.06"),
        (0.3936, 0.00002, "0.3936 ± 0.0000"),
        (0.25, 0.0, "0.2500 ± 0.0000"),
        (1234.5678, 23.4, "1235 ± 23"),
        (1.5, 0.7, "1.5 ± 0.7"),
        (0.1, float("nan"), "0.1000 ± nan"),
    ],
)
def test_a_figure_has_the_digits_that_its_deviation_leaves(mean: float, sd: float, text: str) -> None:
    assert mean_and_sd({"mean": mean, "sd": sd}, 3) == text
    assert mean_and_sd({"mean": mean, "sd": sd}, 1) == f"{mean:.4f}"


# --- the tables ---


def cells(rows: list[dict[str, Any]], number: int = 0) -> list[dict[str, str]]:
    """Read the Markdown of a table of some rows back: column -> cell, a dict a row."""
    parts = as_markdown(tables(rows), notes(rows)).split("\n\n")[1::2]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in parts[number].splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def row_of(runs: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {**summary("sum-item", {}, runs), "gain": None, "p": None, "gain_rival": 0.1, "p_rival": None, **more}


def test_the_table_compares_titles_with_a_history_and_tells_what_listing_costs() -> None:
    other = {"NDCG@20": 0.9, "Recall@20": 0.8}
    mine = [
        run_of(value, test=other, listed={"warm": {"NDCG@20": value / 2}, "joint": {"NDCG@20": 0.6}})
        for value in (0.1, 0.2)
    ]
    [row] = cells([row_of(mine, p=0.0123, p_rival=1e-9, rival="ease")])
    assert list(row) == ["row", "Recall@20", "NDCG@20", "p text", "p rival", "fit s"]
    assert (row["Recall@20"], row["NDCG@20"]) == ("1.5 ± 0.7", "0.15 ± 0.07")
    [listed] = cells([row_of(mine)], 1)
    assert listed == {"row": "sum-item", "lost": "50.0%", "joint NDCG@20": "0.6000 ± 0.0000"}
    assert (row["p text"], row["p rival"], row["fit s"]) == ("0.012", "< 0.001", "0.5")
    places = {where: {"NDCG@20": 0.25} for where in ("among_cold", "among_all")}
    rows = [row_of([{**run, "cold": {"n_items": 7, **places}} for run in mine], p=1.0)]
    assert list(cells(rows)[0]) == ["row", "Recall@20", "NDCG@20", "p text", "fit s"]
    [row] = cells(rows, 1)
    assert list(row) == ["row", "lost", "cold NDCG@20", "among all", "joint NDCG@20"]
    assert (row["joint NDCG@20"], row["among all"]) == ("0.6000 ± 0.0000", "0.2500 ± 0.0000")


def test_the_table_of_one_seed_has_neither_sd_nor_p() -> None:
    results = {tag: runs_of(np.random.default_rng(0).random((1, 9))) for tag in ("sum-none", "sum-item")}
    rows = [summary(tag, {}, runs) for tag, runs in results.items()]
    add_p_values(rows, results)
    assert rows[1]["gain"] is not None
    assert not [column for column in cells(rows)[0] if column.startswith("p ")]
    assert "±" not in as_markdown(tables(rows), notes(rows))
    assert notes(rows)[0].startswith("One run a row")


@pytest.mark.parametrize(
    ("warm", "listed", "cost"),
    [
        (0.2, 0.15, "25.0%"),
        (0.2, 0.2, "0.0%"),
        (0.2, 0.0, "100.0%"),
        (0.2, 0.21, "-5.0%"),
        (0.2, 0.20001, "0.0%"),
        (0.0, 0.0, "0.0%"),
    ],
)
def test_listing_cost_by_hand(warm: float, listed: float, cost: str) -> None:
    run = run_of(warm, listed={"warm": {"NDCG@20": listed}, "joint": {}})
    assert cells([row_of([run])], 1)[0]["lost"] == cost


@pytest.mark.parametrize(
    ("n_runs", "p", "gain", "bold"),
    [
        (5, 0.04, 0.1, {"NDCG@20", "p rival"}),
        (5, 0.04, -0.1, {"p rival"}),
        (5, 0.05, 0.1, set()),
        (4, 1e-9, 0.1, set()),
        (5, None, 0.1, set()),
    ],
)
def test_only_what_passes_with_five_runs_is_bold(n_runs: int, p: float | None, gain: float, bold: set[str]) -> None:
    rows = [row_of([run_of(0.1), *[run_of(0.2)] * (n_runs - 1)], p=0.9, p_rival=p, gain_rival=gain, rival="ease")]
    [found] = cells(rows)
    assert {column for column, cell in found.items() if cell.startswith("**")} == bold
    rule = next(note for note in notes(rows) if note.startswith("Bold: p < 0.05"))
    assert ("only with 5 runs or more, here 4" in rule) == (n_runs == 4)


@pytest.mark.parametrize(("prints", "said"), [("aaa", "the split has none"), ("abc", "each with a split of its own")])
def test_it_is_said_what_the_seeds_change(prints: str, said: str) -> None:
    """A split by time is the same for all seeds, and the deviation over them is that of the model alone."""
    rows = [row_of([run_of(number, data={"fingerprint": one}) for number, one in enumerate(prints)])]
    assert said in notes(rows)[0]


def test_tables_and_notes_fit_a_terminal() -> None:
    places = {where: {"NDCG@20": 0.25} for where in ("among_cold", "among_all")}
    runs = [run_of(0.2 + 0.0012 * n, cold={"n_items": 7, **places}) for n in range(5)]
    rows = [row_of(runs, tag="content_whitened", p=0.001, p_rival=0.0001, rival="content_whitened")]
    rows[0]["fit_s"]["mean"] = 999.9
    text = as_markdown(tables(rows), notes(rows))
    assert max(map(len, text.splitlines())) <= COLUMNS == 100


def rated_run(value: float, **more: Any) -> dict[str, Any]:
    found = {"n_pairs": 8, "n_users": 5, "NDCG@20": value, "Recall@20": value}
    disliked = {"n_pairs": 4, "n_users": 2, "share@20": value / 2}
    rated = {"liked": found, "loved": {**found, "NDCG@20": value / 4}, "disliked": disliked, "n_rated": 20}
    return run_of(value, rated=rated, **more)


def test_rates_have_a_table_of_their_own_where_there_are_any() -> None:
    liked = {"gain": 0.1, "p": 0.2, "gain_rival": 0.3, "p_rival": 0.01}
    rows = [row_of([rated_run(0.1 + 0.01 * n) for n in range(5)], tag="bpr-svd-drop0.5", liked=liked, rival="ease")]
    [found] = cells(rows, 2)
    assert found == {
        "row": "bpr-svd-drop0.5",
        "liked NDCG@20": "**0.12 ± 0.02**",
        "loved NDCG@20": "0.030 ± 0.004",
        "disliked share": "0.060 ± 0.008",
        "p text": "0.200",
        "p rival": "**0.010**",
    }
    assert sum(note.startswith("liked, loved: NDCG@20") for note in notes(rows)) == 1
    assert max(map(len, as_markdown(tables(rows), notes(rows)).splitlines())) <= COLUMNS
    plain = [row_of([run_of(0.1)])]
    assert len(tables(plain)) == 2
    assert not any(note.startswith("liked") for note in notes(plain))
    nobody_disliked = rated_run(0.1)
    nobody_disliked["rated"]["disliked"] = {"n_pairs": 0, "n_users": 0}
    assert "disliked share" not in cells([row_of([nobody_disliked])], 2)[0]
    [with_rates, without] = cells([row_of([rated_run(0.1)]), row_of([run_of(0.1)], tag="old")], 2)
    assert (with_rates["liked NDCG@20"], without["liked NDCG@20"]) == ("0.1000", "")


# --- LaTeX and CSV ---


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a_b & c%", r"a\_b \& c\%"),
        ("{x} $5 #1", r"\{x\} \$5 \#1"),
        ("\\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("< 0.001", r"\textless{} 0.001"),
        ("0.394 ± 0.003", r"0.394 $\pm$ 0.003"),
        ("~^|>", r"\textasciitilde{}\textasciicircum{}\textbar{}\textgreater{}"),
        ("two\nlines", "two lines"),
        ("进击的巨人", "进击的巨人"),
    ],
)
def test_no_character_means_anything_to_latex(text: str, written: str) -> None:
    assert latex(text) == written


def test_a_latex_table_has_the_cells_of_the_markdown() -> None:
    shown = Table("A_table", [["row", "NDCG@20"], ["sum_none", Bold("0.1 ± 0.2")]])
    lines = as_latex([shown, shown], ["a note, 100%"]).splitlines()
    assert lines[1:11] == [
        r"\begin{table}",
        r"\centering",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"row & NDCG@20 \\",
        r"\midrule",
        r"sum\_none & \textbf{0.1 $\pm$ 0.2} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\caption{A\_table.}",
    ]
    assert lines[-2] == r"\caption{A\_table. a note, 100\%}"
    assert "booktabs" in lines[0]


def test_the_csv_has_every_figure_of_every_run(tmp_path: Path) -> None:
    places = {"among_cold": {"NDCG@20": 0.25}}
    results = {"ease": [run_of(1, cold=places), run_of(2, cold=places)], 'a,"b"': [run_of(3)]}
    rows = [summary(tag, {}, runs) for tag, runs in results.items()]
    add_p_values(rows[:1], {"ease": results["ease"]})
    markdown = write_tables(tmp_path, [{**row_of([run_of(1)]), **row} for row in rows], results)
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == markdown
    found = pd.read_csv(tmp_path / "results.csv")
    assert list(found) == ["row", "seed", "split_seed", "part", "metric", "value"]
    assert not found.duplicated(list(found)[:-1]).any()
    assert set(found["row"]) == set(results)
    values = found.set_index(["row", "seed", "part", "metric"])["value"]
    assert values["ease", 2, "warm", "Recall@20"] == 20
    assert values["ease", 1, "cold.among_cold", "NDCG@20"] == 0.25
    assert values['a,"b"', 3, "groups.users.<=5", "n_users"] == 4
    assert (values['a,"b"', 3, "run", "fit_s"], values['a,"b"', 3, "run", "train_s"]) == (9, 3)
    assert found.loc[found["seed"] == 2, "split_seed"].unique() == [3]
    for row in rows:
        of_row = found[(found["row"] == row["tag"]) & (found["part"] == "warm") & (found["metric"] == "NDCG@20")]
        assert of_row["value"].mean() == row["warm"]["NDCG@20"]["mean"]
