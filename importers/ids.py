"""Ids that a spreadsheet or pandas rewrote as numbers: 12.0 is 12 again, and 9.78E+12 is told."""

import logging
import re

import numpy as np
import pandas as pd

from dataset.tables import on_one_line
from importers.sheets import NO_VALUE, Sheet, first_rows, header, line_of_row

log = logging.getLogger("aglrec")

NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
WHOLE = re.compile(r"[+-]?\d+")
# ="001" and '001, with which people keep a spreadsheet from making numbers of ids
KEPT_AS_TEXT = re.compile(r"=\"(.*)\"|'(?=\d)(\d+)")
AS_FLOAT = re.compile(r"(\d+)\.0+")  # pandas makes floats of a column of whole numbers in which one is missing
SAMPLE = 1_000  # rows, as far as the head of the file reaches


class Ids:
    """One column of ids of a table, as they come."""

    def __init__(self, sheet: Sheet, column: str) -> None:
        self.sheet, self.column = sheet, column
        names = header(sheet)
        place = names.index(column) if column in names else 0
        sample = [row[place] for row in first_rows(sheet, SAMPLE)[not sheet.names :] if len(row) > place]
        # among other ids, 1e5 is one of letters and digits, and 2.0 may be a title
        self.are_numbers = all(NUMBER.fullmatch(cell) for cell in sample if cell.casefold() not in NO_VALUE)
        self.n_floats, self.float, self.strange = 0, "", 0
        self.first_strange: tuple[int, str] | None = None

    def clean(self, cells: pd.Series) -> pd.Series:
        """Return the ids of some rows (n,), whole numbers as such."""
        codes, kinds = pd.factorize(cells)
        kept = [KEPT_AS_TEXT.fullmatch(kind) for kind in kinds]
        if any(kept):
            plain = [one[1] or one[2] or "" if one else kind for one, kind in zip(kept, kinds, strict=True)]
            kinds = np.array(plain, dtype=object)
            cells = pd.Series(kinds[codes], cells.index, dtype=object)
        if not self.are_numbers:
            return cells
        made = [AS_FLOAT.fullmatch(kind) for kind in kinds]
        if any(made):
            is_float = np.array([one is not None for one in made])[codes]
            self.n_floats += int(is_float.sum())
            self.float = self.float or next(one[0] for one in made if one)
        strange = np.array(
            [
                one is None and WHOLE.fullmatch(kind) is None and NUMBER.fullmatch(kind) is not None
                for one, kind in zip(made, kinds, strict=True)
            ],
            bool,
        )
        if strange.any():
            rows = np.flatnonzero(strange[codes])
            self.strange += len(rows)
            self.first_strange = self.first_strange or (int(cells.index[rows[0]]), str(cells.iloc[rows[0]]))
        clean = np.array([one[1] if one else kind for one, kind in zip(made, kinds, strict=True)], dtype=object)
        return pd.Series(clean[codes], cells.index, dtype=object)

    def tell(self) -> None:
        """Log what was found in all rows."""
        if self.n_floats:
            log.warning(
                f"{self.sheet.path}: {self.n_floats:,} cells of {self.column or 'the first column'} are whole numbers "
                f"written as floats, and are taken as such: {self.float} is {self.float.partition('.')[0]}"
            )
        if self.first_strange:
            row, cell = self.first_strange
            log.warning(
                f"{self.sheet.path} line {line_of_row(self.sheet, row)}: {self.column} {on_one_line(cell)!r} is no "
                f"whole number ({self.strange:,} such rows), and is taken as it is. If a spreadsheet or pandas "
                "shortened long ids, different ones are now the same: export the column as text; if it holds no ids, "
                "name the right one with --columns"
            )
