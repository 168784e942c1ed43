"""What is shown of titles."""

from collections import Counter
from textwrap import shorten
from typing import Any

from inference import lookup
from inference.finished_run import FinishedRun
from inference.name_forms import folded

N_TAGS = 400
SYNOPSIS = 600  # characters of it, at most, in an answer


def title(run: FinishedRun, item: int) -> dict[str, Any]:
    """Return what is shown of a title."""
    dataset = run.dataset
    return {
        "subject_id": dataset.raw_item_ids[item],
        "name": dataset.item_names[item],
        "tags": dataset.item_tags[item].splitlines(),
        "year": dataset.item_years[item] if dataset.item_years else None,
        "type": dataset.item_types[item] if dataset.item_types else "",
        "season": dataset.item_seasons[item] if dataset.item_seasons else "",
        "collectors": int(run.item_counts[item]),
        "is_new": not run.item_counts[item],
        "pages": run.pages.get(item, []),
    }


def synopsis(run: FinishedRun, item: int) -> str:
    """Return how the summary of a title begins."""
    text = " ".join(lookup.summary_of(run.dataset, item).split())
    return shorten(text, SYNOPSIS, placeholder=" …") if " " in text[:SYNOPSIS] else text[:SYNOPSIS]


def common_tags(run: FinishedRun) -> list[dict[str, Any]]:
    """Return the N_TAGS tags of most titles; spellings alike but for case are one, and the first title's is shown."""
    spellings = {folded(tag): tag for tags in reversed(run.dataset.item_tags) for tag in tags.splitlines()}
    most = sorted(run.tags, key=lambda tag: -len(run.tags[tag]))[:N_TAGS]
    return [{"name": spellings[tag], "n_titles": len(run.tags[tag])} for tag in most]


def known_types(run: FinishedRun) -> list[str]:
    """Return what titles were made as, the most frequent first; spellings are told apart as those of tags are."""
    told = [one for one in run.dataset.item_types if one]
    spellings = {folded(one): one for one in reversed(told)}
    return [spellings[one] for one, _ in Counter(map(folded, told)).most_common()]
