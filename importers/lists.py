"""What the lists of every format go through: times that only their column tells are written so that anyone can."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dataset.times import NO_ORDERS, Unknown, has_open, orders_of, plain_times
from importers.common import Format, Options, chunks_of


def lists_of(
    made: Format, paths: tuple[Path, ...], options: Options, dropped: dict[str, int], unknown: Unknown
) -> Iterator[tuple[Path, pd.DataFrame]]:
    """Yield what a Format's lists make of its files, chunk by chunk, each with its file.

    Where dates such as 03/04/2021 come up, all of the files are read ahead for what says if the day or the month is
    first. Times that are unknown stay as they are, and are counted.

    Raises:
        ValueError: as of chunks_of.
    """
    orders = None
    for path in paths:
        for chunk in chunks_of(made.lists, path, options, dropped):
            cells = chunk["updated_at"]
            texts, seconds = plain_times(cells, orders or NO_ORDERS)
            if orders is None and has_open(cells, seconds):
                orders = orders_of(
                    ahead["updated_at"] for other in paths for ahead in chunks_of(made.lists, other, options, {})
                )
                texts, seconds = plain_times(cells, orders)
            unknown.add(cells, seconds)
            yield path, chunk.assign(updated_at=texts)
