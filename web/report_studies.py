"""The sections of the report about studies: runs on thinned data, and a search of hyperparameters."""

import math

from evaluation.tables import best_trials, mean_and_sd
from web.charts import lines
from web.report_files import Saved
from web.report_parts import Part, as_text, table

N_TRIALS = 15


def sparse_data(saved: Saved) -> list[Part]:
    """Draw and lay out the test metric of the rows by how many train rows each user keeps."""
    counts, metric, series, n_seeds = (saved.sparsity[key] for key in ("n", "metric", "series", "n_seeds"))
    style = {label: number for number, label in enumerate(series)}
    points = {
        label: [(math.log(n), number["mean"], number["sd"]) for n, number in zip(counts, line, strict=True)]
        for label, line in series.items()
    }
    chart = lines(f"test {metric}", points, [(math.log(n), str(n)) for n in counts], style, "train rows a user keeps")
    caption = f"Test {metric} by train rows a user keeps: mean ± standard deviation over seeds"
    cells = [[label, *(mean_and_sd(number, n_seeds) for number in line)] for label, line in series.items()]
    return [{"legend": style}, {"charts": [chart]}, table(caption, ["row", *map(str, counts)], cells)]


def searched(saved: Saved) -> list[Part]:
    """Show the best trials of a search, and how much each hyperparameter matters."""
    trials, metric, importance = (saved.tuning[key] for key in ("trials", "metric", "importance"))
    if not trials:
        return []
    keys, best = best_trials(saved.tuning, N_TRIALS)
    cells = [[str(trial["number"]), *(as_text(trial[key]) for key in ("valid", *keys))] for trial in best]
    parts = [table(f"The best of {len(trials)} trials by valid {metric}", ["trial", metric, *keys], cells)]
    if importance:
        shares = [[key, f"{share:.0%}"] for key, share in importance.items()]
        parts.append(table("Share of the differences between trials that each key explains", ["key", "share"], shares))
    return parts
