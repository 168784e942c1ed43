"""Compare finished runs and ablations: test metrics, paired tests and learning curves, side by side.

    python studies/compare.py FOLDER ... [--against FOLDER] [--out FOLDER]

FOLDER is the saved_dir of a finished run of main.py, or the folder ablation in one. Runs with the same settings and
other seeds are one row. Every row is tested against that of --against (a folder, or a row's name; the first row unless
given) by the runs that have the same data and split; others are listed and not tested. --out is where compare.md, .tex,
.csv (every figure of every run) and compare.html go, a page with the learning curves. Two runs drawn together:

    python main.py --model_name lsa --saved_dir a
    python main.py --model_name lsa --num_layers 2 --saved_dir b
    python studies/compare.py a b --out ab

Then ab/compare.html shows both.
"""

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evaluation.comparison_tables import notes, tables, write_tables
from evaluation.comparisons import Result, Row, largest_ndcg
from evaluation.tables import as_markdown
from runtime.cli import Flags, run_script
from runtime.files import atomic_write
from studies.compared_runs import read_rows, rows_against
from web.report_figures import all_metrics, groups, title_groups
from web.report_files import Saved, history_of
from web.report_page import rendered
from web.report_parts import Part, row_bars, table
from web.report_rated import by_rates
from web.report_settings import provenance, settings, warnings
from web.report_training import curves

log = logging.getLogger("aglrec")

PAGE = "compare.html"


def reference(results: dict[str, list[Result]], against: Path | None) -> str:
    """Name the row that all others are tested against: the first one, or that of a folder or a name.

    Raises:
        ValueError: there is no such row.
    """
    if against is None:
        return next(iter(results))
    for label, runs in results.items():
        if str(against) == label or against.resolve() in [Path(run["folder"]).resolve() for run in runs]:
            return label
    raise ValueError(
        f"--against names {against}, which is none of the folders nor rows; the rows are {', '.join(results)}"
    )


def write_page(folder: Path, rows: list[Row], results: dict[str, list[Result]]) -> Path:
    """Write compare.html: the tables, charts of the metrics, learning curves, and how the settings differ."""
    first = {label: runs[0] for label, runs in results.items()}
    histories = {label: history_of(Path(run["folder"]), run) for label, run in first.items()}
    known = {label: epochs for label, epochs in histories.items() if epochs}
    saved = Saved(folder, {}, None, None, rows, first, known, None, None)
    sections = {
        "Test metrics": metrics(rows),
        "Learning curves": curves(saved) if known else [{"text": "None of the runs has epochs."}],
        **({"What people rated": rated} if (rated := by_rates(saved)) else {}),
        "User groups": groups(saved),
        "Head, tail and new titles": title_groups(saved),
        "Settings": settings(saved),
        "All metrics": all_metrics(saved),
        "Provenance": provenance(saved),
    }
    page = rendered(
        "AGLRec comparison", [{"title": title, "parts": parts} for title, parts in sections.items()], warnings(saved)
    )
    with atomic_write(folder / PAGE) as file:
        file.write(page)
    return folder / PAGE


def metrics(rows: list[Row]) -> list[Part]:
    """Draw the warm metrics as bars, and lay out the tables of the comparison with their notes."""
    ndcg = largest_ndcg(rows[0]["warm"])
    charts = [row_bars(f"warm {key}", rows, "warm", key) for key in (ndcg, ndcg.replace("NDCG", "Recall"))]
    laid_out = [table(found.title, found.lines[0], found.lines[1:]) for found in tables(rows)]
    return [{"charts": charts}, *laid_out, *({"text": note} for note in notes(rows))]


def main() -> None:
    """Run the command line."""
    flags = Flags(__doc__)
    flags.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="the saved_dir of a run, or an ablation")
    flags.add_argument("--against", type=Path, metavar="FOLDER", help="the row that the others are tested against")
    flags.add_argument("--out", type=Path, metavar="FOLDER", help="where tables and page go; they are printed anyway")
    asked = flags.parse_args()
    results = read_rows(asked.folders)
    rows = rows_against(results, reference(results, asked.against))
    if asked.out is None:
        log.info("\n" + as_markdown(tables(rows), notes(rows)))
        log.info("--out FOLDER writes these tables, every figure as CSV, and a page with the learning curves")
    else:
        log.info("\n" + write_tables(asked.out, rows, results, "compare"))
        log.info(f"{write_page(asked.out, rows, results)} has the charts")


if __name__ == "__main__":
    sys.exit(run_script(main))
