"""relations.tsv and ids.tsv: what sources say about the titles that stay, beside what anime.tsv has of each."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.relations import COLUMNS
from dataset.site_ids import COLUMNS as ID_COLUMNS
from importers.common import Options, Source, chunks_of
from importers.nameless import clean_id
from importers.spill import cleaned, create, write
from importers.tally import among, keys_of

# what sources name from the other end: a title's parent has the title as its side story
TURNED = {"parent": "side_story", "full_story": "summary", "source": "adaptation"}


def write_relations(sources: list[Source], path: Path, kept: np.ndarray, options: Options) -> int:
    """Write relations between titles that stay, each once, if there are any; return how many.

    Args:
        sources: as from recognise(); besides the names of dataset.relations they may use those of TURNED.
        path: of the file.
        kept: ascending keys of the titles.
        options: what the sources cannot say of themselves.
    """
    files = ((made.relations, file) for made, files in sources for file in files.relations)
    table = _of_kept(files, COLUMNS, COLUMNS[:2], kept, options)
    table = table[table["subject_id"] != table["related_id"]]
    is_turned = table["relation"].isin(list(TURNED))
    turned = table[is_turned].set_axis(["related_id", "subject_id", "relation"], axis=1)[list(COLUMNS)]
    turned = turned.assign(relation=turned["relation"].map(TURNED))
    said = table[~is_turned]
    # a parent's spin-off is not its side story as well
    pairs = pd.MultiIndex.from_frame(said[list(COLUMNS[:2])])
    turned = turned[~pd.MultiIndex.from_frame(turned[list(COLUMNS[:2])]).isin(pairs)]
    return _write(path, pd.concat([said, turned]).drop_duplicates())


def write_site_ids(sources: list[Source], path: Path, kept: np.ndarray, options: Options) -> int:
    """Write the ids that titles which stay have on other sites, if there are any; return how many."""
    files = ((made.site_ids, file) for made, files in sources if made.site_ids for file in files.titles)
    return _write(path, _of_kept(files, ID_COLUMNS, ID_COLUMNS[:1], kept, options).drop_duplicates())


def refuse_two_sites(sources: list[Source], options: Options) -> None:
    """Raise if catalogues would go by the ids of different sites, where 1 is one title here and another there."""
    sites = {made.site: made.name for made, _ in sources if made.site}
    if len(sites) > 1 and not options.site:
        named = ", ".join(f"{name} by those of {site}" for site, name in sites.items())
        raise ValueError(f"catalogues go by the ids of different sites: {named}; say with --site which all go by")


def _of_kept(
    files: Iterable[tuple[Callable, Path]], columns: tuple[str, ...], titles: tuple[str, ...], kept: np.ndarray,
    options: Options,
) -> pd.DataFrame:  # fmt: skip
    """Read rows of titles that stay; only these are kept in memory."""

    def tables() -> Iterator[pd.DataFrame]:
        yield pd.DataFrame(columns=list(columns), dtype=object)
        for read, path in dict.fromkeys(files):
            for chunk in chunks_of(read, path, options, {}):
                table = pd.DataFrame({column: cleaned(chunk[column], clean_id) for column in columns}, dtype=object)
                yield table[np.logical_and.reduce([among(keys_of(table[column]), kept) for column in titles])]

    return pd.concat(list(tables()), ignore_index=True)


def _write(path: Path, table: pd.DataFrame) -> int:
    if len(table):
        with create(path, tuple(table.columns)) as out:
            write(out, table)
    return len(table)
