"""Titles that entries of a list probably are, where no name agrees, since the list names them in another language."""

from collections.abc import Sequence

import numpy as np

from inference.cold_items import encoders_of
from inference.finished_run import FinishedRun
from inference.kept import kept
from inference.title_names import BETWEEN
from text.encoders import Encode
from text.scripts import is_foreign, script_of

LEAST, MOST = 20, 1000  # names that are asked for: fewer have no mean to speak of, more take too long
LEAST_TITLES = 100  # of a catalogue, from which on a cosine can be SURE
# spreads over the titles that the best cosine is above their mean; chosen on half of 400 names of MyAnimeList among
# 1,200 titles with Chinese names, half of which are there, with multilingual-e5-small
SURE = 6.5


def probable_titles(run: FinishedRun, names: Sequence[str]) -> list[tuple[str, int]]:
    """Find the titles that names in a language which the run's names lack are probably of, by the run's transformer.

    Both sides are centred on their own means, which takes away what their languages add. A title is found if it is the
    nearest to a name, by far, and the name is the nearest to it.

    Args:
        run: as from load_finished.
        names: of entries that are of no title by name.

    Returns:
        Names and rows of titles, the surest first; none where the run has no transformer at hand.
    """
    scripts = [*map(script_of, run.dataset.item_names)]
    foreign = [name for name in dict.fromkeys(names) if is_foreign(name, scripts)][:MOST]
    usable = run.names_encoder and run.has_item_text and run.config["model_name"] != "lsa"
    if not usable or len(foreign) < LEAST or len(scripts) < LEAST_TITLES:
        return []
    try:
        encode, titles = _encoded_names(run)
    except (OSError, ValueError):
        return []
    return matched(foreign, encode(foreign, as_query=True), titles)


@kept(1)
def _encoded_names(run: FinishedRun) -> tuple[Encode, np.ndarray]:
    """Open a run's encoder, and encode the first name of each title: (n_items, L)."""
    encode = encoders_of(run, further=False)["encoder"]
    return encode, encode([name.split(BETWEEN)[0] for name in run.dataset.item_names])


def matched(names: Sequence[str], asked: np.ndarray, titles: np.ndarray) -> list[tuple[str, int]]:
    """Match names with vectors (n, L) to titles with vectors (m, L); see probable_titles."""
    asked, titles = (_unit(part - part.mean(axis=0)) for part in (asked, titles))
    cosines = asked @ titles.T  # (n, m)
    best, rows = cosines.argmax(axis=1), np.arange(len(names))
    heights = (cosines[rows, best] - cosines.mean(axis=1)) / np.maximum(cosines.std(axis=1), 1e-12)
    is_sure = (heights >= SURE) & (cosines.argmax(axis=0)[best] == rows)
    order = np.flatnonzero(is_sure)[np.argsort(-heights[is_sure], kind="stable")]
    return [(names[row], int(best[row])) for row in order]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
