"""One self-contained HTML page from what a run, an ablation and the studies left in saved/.

Each section's module gathers what the section shows; report.html.jinja lays it out, report.css says how it looks, and
charts.py where the parts of a chart are. The page needs no network and runs no code. Ids and titles are text of
strangers: the template escapes whatever reaches the page, and the page's own policy forbids scripts as well.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from runtime.files import atomic_write
from web.charts import HEIGHT, LEFT, MARKERS, WIDTH
from web.report_figures import all_metrics, cold_start, comparison, groups, headline
from web.report_files import Saved, read_saved
from web.report_franchises import by_franchise
from web.report_lists import sample_lists
from web.report_parts import Part, missing
from web.report_rated import by_rates
from web.report_settings import provenance, settings, warnings
from web.report_studies import searched, sparse_data
from web.report_training import chosen_on_valid, curves

HOME = Path(__file__).parent
N_TITLES = 15


class Section(NamedTuple):
    """A section of the page, and what stands in its place where there is nothing to show."""

    title: str
    parts: Callable[[Saved], list[Part]]
    needs: str  # the field of Saved that must not be empty
    missing: str  # empty: the section is left out
    command: str = "python main.py"  # makes what is missing


SECTIONS = (
    Section("Test metrics", headline, "rows", "No run"),
    Section("Learning curves", curves, "histories", "No epochs"),
    Section("Comparison", comparison, "compared", "Nothing is compared", "python run_ablation.py"),
    Section("What people rated", by_rates, "rows", ""),
    Section("Franchises", by_franchise, "rows", ""),
    Section("User and item groups", groups, "rows", "No groups"),
    Section(
        "Cold start", cold_start, "rows", "No cold titles are held out", "python run_ablation.py --cold_item_ratio 0.1"
    ),
    Section("All metrics", all_metrics, "rows", "No metrics"),
    Section("Settings", settings, "runs", "No settings"),
    Section("Chosen on valid", chosen_on_valid, "metrics", "No run of its own in this folder"),
    Section("Recommendations", sample_lists, "metrics", "No lists"),
    Section("Sparse data", sparse_data, "sparsity", "No runs on thinned data", "python studies/learning_curve.py"),
    Section("Hyperparameter search", searched, "tuning", "No search", "python tune.py"),
    Section("Provenance", provenance, "runs", "No run"),
)


def write_report(folder: Path, item_names: dict[str, str] | None = None) -> Path:
    """Write folder/report.html from whatever runs and tools have left in folder.

    Args:
        folder: a saved/ folder; a part that is missing is named on the page with the command that makes it.
        item_names: subject_id -> title; by default titles are those of the lists and of anime.tsv, if it is still in
            the run's data_dir, and a title that neither knows is shown by its id.

    Returns:
        The path of the page.

    Raises:
        ValueError: a file in folder is damaged; the message names it.
    """
    saved = read_saved(folder, item_names)
    sections = []
    for section in SECTIONS:
        parts = section.parts(saved) if getattr(saved, section.needs) else []
        if parts or section.missing:
            sections.append({"title": section.title, "parts": parts or [missing(section.missing, section.command)]})
    page = rendered("AGLRec report", sections, warnings(saved))
    with atomic_write(folder / "report.html") as file:
        file.write(page)
    return folder / "report.html"


def rendered(title: str, sections: list[dict[str, Any]], warned: list[str]) -> bytes:
    """Lay out a page: its title, its sections {"title", "parts"}, and the warnings above them."""
    environment = Environment(loader=FileSystemLoader(HOME), autoescape=True, undefined=StrictUndefined)
    environment.globals |= {"markers": MARKERS, "width": WIDTH, "height": HEIGHT, "left": LEFT, "n_titles": N_TITLES}
    page = environment.get_template("report.html.jinja").render(
        title=title, css=(HOME / "report.css").read_text(encoding="utf-8"), warnings=warned, sections=sections
    )
    return page.encode("utf-8", "replace")  # JSON may hold half a surrogate pair, UTF-8 may not
