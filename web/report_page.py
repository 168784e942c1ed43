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
from runtime.language import heading_in_chinese, of_terminal
from web.charts import HEIGHT, LEFT, MARKERS, WIDTH
from web.report_commands import further
from web.report_figures import all_metrics, cold_start, comparison, groups, headline, title_groups
from web.report_files import Saved, read_saved
from web.report_franchises import by_franchise
from web.report_lists import sample_lists
from web.report_parts import Part
from web.report_rated import by_rates
from web.report_settings import provenance, settings, warnings
from web.report_studies import searched, sparse_data
from web.report_summary import summary_of
from web.report_training import chosen_on_valid, curves

HOME = Path(__file__).parent
N_TITLES = 15


class Section(NamedTuple):
    """A section of the page, and what to say at the page's end where there is nothing to show."""

    title: str
    parts: Callable[[Saved], list[Part]]
    needs: str  # the field of Saved that must not be empty
    adds: str = ""  # what the command below would add; empty where only some data have it
    script: str = "main.py"
    flags: str = ""  # of the script
    settings: dict[str, Any] = {}


SECTIONS = (
    Section("Comparison", comparison, "rows"),
    Section("Test metrics of the best rows", headline, "rows"),
    Section("What people rated", by_rates, "rows"),
    Section("Franchises", by_franchise, "rows"),
    Section("Head, tail and new titles", title_groups, "rows", "test figures"),
    Section("User groups", groups, "rows"),
    Section(
        "Cold start",
        cold_start,
        "rows",
        "figures of new titles, a tenth of all titles being held out whole",
        "run_ablation.py",
        settings={"cold_item_ratio": 0.1},
    ),
    Section("Recommendations", sample_lists, "metrics", "lists"),
    Section("Learning curves", curves, "histories", "learning curves"),
    Section("Chosen on valid", chosen_on_valid, "metrics", "a run of its own in this folder"),
    Section("Settings", settings, "runs"),
    Section("All metrics", all_metrics, "rows"),
    Section(
        "Sparse data",
        sparse_data,
        "sparsity",
        "what text is worth where users have few titles",
        "studies/learning_curve.py",
    ),
    Section("Hyperparameter search", searched, "tuning", "better settings, searched on valid", "tune.py"),
    Section("Provenance", provenance, "runs"),
)


def write_report(folder: Path, item_names: dict[str, str] | None = None, language: str = "en") -> Path:
    """Write folder/report.html from whatever runs and tools have left in folder.

    Args:
        folder: a saved/ folder; what is missing is named at the end of the page with the command that makes it.
        item_names: subject_id -> title; by default titles are those of the lists and of anime.tsv, if it is still in
            the run's data_dir, and a title that neither knows is shown by its id.
        language: "zh" for Chinese, of which names, ids, settings and commands are not; "" for the terminal's.

    Returns:
        The path of the page.

    Raises:
        ValueError: a file in folder is damaged; the message names it.
    """
    saved = read_saved(folder, item_names)
    sections, lacking = [], {}
    for section in SECTIONS:
        if parts := section.parts(saved) if getattr(saved, section.needs) else []:
            sections.append({"title": section.title, "parts": parts})
        elif section.adds:
            line = further(saved, section.script, section.flags, **section.settings)
            lacking.setdefault(line, []).append(section.adds)
    if all(row["n_seeds"] == 1 for row in saved.rows):
        others = "a comparison with other settings and with tuned baselines, over three seeds"
        adds = "standard deviations, over three seeds" if saved.compared else others
        lacking[further(saved, "run_ablation.py", "--seeds 3")] = [adds]
    if lacking:
        commands = [{"command": line, "adds": "; ".join(adds)} for line, adds in lacking.items()]
        sections.append({"title": "What further commands would add", "parts": [{"further": commands}]})
    page = rendered("AGLRec report", sections, warnings(saved), summary_of(saved), language or of_terminal())
    with atomic_write(folder / "report.html") as file:
        file.write(page)
    return folder / "report.html"


def rendered(
    title: str,
    sections: list[dict[str, Any]],
    warned: list[str],
    summary: dict[str, Any] | None = None,
    language: str = "en",
) -> bytes:
    """Lay out a page: its title, the warnings, the first screen as from summary_of, and sections {"title", "parts"}."""
    environment = Environment(loader=FileSystemLoader(HOME), autoescape=True, undefined=StrictUndefined)
    environment.globals |= {"markers": MARKERS, "width": WIDTH, "height": HEIGHT, "left": LEFT, "n_titles": N_TITLES}
    environment.filters |= {"filled": str.format, "said": heading_in_chinese if language == "zh" else str}
    page = environment.get_template("report.html.jinja").render(
        language="zh-Hans" if language == "zh" else "en",
        title=title,
        css=(HOME / "report.css").read_text(encoding="utf-8"),
        warnings=warned,
        summary=summary,
        sections=sections,
    )
    return page.encode("utf-8", "replace")  # JSON may hold half a surrogate pair, UTF-8 may not
