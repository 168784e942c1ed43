"""Learn from only n train rows a user, with text, without, and by the baselines: a table and a chart.

    python studies/learning_curve.py [--rows N,N] [--seeds N] [--key value ...]

For each n of --rows everything is run with --seeds seeds under saved_dir/sparsity/n_<n>/. The model
is the one that the settings describe; its text is fused by fusion_mode (sum, unless a preset or the command line says
concat). The metrics are those of the same test part for every n, ranked among the warm items; a user's train
rows that are cut are masked, like everything collected before the test. Interrupted, the same command goes on.
"""

import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runtime.cli import Flags, answer_early, whole_number, whole_numbers

FLAGS = Flags(__doc__)
FLAGS.add_argument("--rows", type=whole_numbers, default="1,3,5,10,20", metavar="N,N", help="train rows a user keeps")
FLAGS.add_argument("--seeds", type=whole_number(1), default=3, metavar="N", help="runs of each")

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds

from config import PRESETS, get_config
from evaluation.significance import holm, paired_test
from evaluation.tables import gain_and_p, markdown, mean_and_sd
from run_ablation import compare
from runtime.cli import run_script
from runtime.files import atomic_write, write_json
from web.report_files import read_json
from web.report_page import write_report

log = logging.getLogger("aglrec")

TEXT = {"fusion_mode": "sum", "use_user_llm": True, "use_item_llm": True}


def learning_curve(overrides: dict[str, Any], counts: list[int], seeds: int) -> dict[str, Any]:
    """Run the model with and without text, and the baselines, for each number of train rows a user.

    Args:
        overrides: from the command line.
        counts: how many train rows a user keeps, ascending.
        seeds: how many seeds, from that of the overrides on.

    Returns:
        {"metric", "n", "series", "gain", "p", "p_uncorrected", "n_seeds", "encoder", "text"}; series maps each row to a
        {"mean", "sd"} over seeds for each n, gain and p are of text against no-text (see significance.paired_test; p is
        None for one seed), p corrected by Holm's method over the n, and text is the settings of the row with text.

    Raises:
        ValueError: the settings leave no text, or cut the train rows themselves.
    """
    text, rest = split_settings(overrides)
    settings, config = {"text": text, "no-text": {"fusion_mode": "none"}}, get_config(overrides)
    metric, series, tests = f"NDCG@{max(config['top_k'])}", {"text": [], "no-text": []}, {}
    for n in counts:
        log.info(f"{n} train rows a user")
        folder = Path(config["saved_dir"]) / "sparsity" / f"n_{n}"
        rows = {row["tag"]: row for row in compare(settings, {**rest, "train_rows_per_user": n}, folder, seeds)}
        for tag, row in rows.items():
            series.setdefault(tag, []).append(row["warm"][metric])
        ours, theirs = (
            [read_json(Path(home) / "comparison.json") for home in rows[tag]["folders"]] for tag in settings
        )
        tests[n] = paired_test(ours, theirs)
    p_values = {n: p for n, (_, p) in tests.items()}
    return {
        "metric": metric,
        "n": counts,
        "series": series,
        "gain": [gain for gain, _ in tests.values()],
        "p": list(holm(p_values).values()),
        "p_uncorrected": list(p_values.values()),
        "n_seeds": seeds,
        "encoder": rows["text"]["encoder"],
        "text": text,
    }


def split_settings(overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the command line into the settings of the row with text, and the others, which every row shares."""
    asked = {**PRESETS.get(overrides.get("preset"), {}), **overrides}
    text = {key: asked.get(key, default) for key, default in TEXT.items()}
    if text["fusion_mode"] == "none" or not (text["use_user_llm"] or text["use_item_llm"]):
        raise ValueError(
            "one row always goes without text, and these settings leave the other one without, too; set "
            "--fusion_mode sum (or concat), and use_user_llm or use_item_llm true"
        )
    if "train_rows_per_user" in overrides:
        raise ValueError("train_rows_per_user is what is varied here; give --rows instead")
    return text, {key: value for key, value in overrides.items() if key not in TEXT}


def table(results: dict[str, Any]) -> str:
    """Lay the results out in Markdown, a line for each n."""
    lines = [["train rows", *results["series"], "gain of text", "p"]]
    for n, gain, p, *row in zip(
        *(results[key] for key in ("n", "gain", "p")), *results["series"].values(), strict=True
    ):
        lines.append([str(n), *(mean_and_sd(number, results["n_seeds"]) for number in row), *gain_and_p(gain, p)])
    return (
        f"{markdown(lines)}\n\nTest {results['metric']} by train rows a user keeps; text is that of encoder "
        f"{results['encoder']}, fused by {results['text']['fusion_mode']}. Gain and p: text against no-text, by a "
        "paired t-test over users and runs, corrected by Holm's method; no p for one seed.\n"
    )


def main() -> None:
    """Run the command line."""
    asked, overrides = FLAGS.read()
    results = learning_curve(overrides, asked.rows, asked.seeds)
    config = get_config(overrides)
    saved = Path(config["saved_dir"])
    write_json(saved / "sparsity" / "results.json", results)
    with atomic_write(saved / "sparsity" / "results.md") as file:
        file.write(table(results).encode())
    log.info("\n" + table(results))
    log.info(f"{write_report(saved, language=config['lang'])} has the chart")


if __name__ == "__main__":
    sys.exit(run_script(main))
