"""Numbers as people write them, with a point or a comma."""

import numpy as np
import pandas as pd

# 7,5 as half of Europe writes it; 1,234 may be a thousand and more, so that it is no number here, nor is 1.234,5
DECIMAL_COMMA = r"^\s*([-+]?)(\d*),(\d{1,2}|\d{4,})\s*$|^\s*([-+]?)(0?),(\d{3})\s*$"
HOW = "write it with a point, and without separators of thousands"


def to_numbers(texts: pd.Series) -> np.ndarray:
    """Read numbers (n,), NaN for what is none; a comma before one or two digits, or after a 0, is a point."""
    pointed = texts.astype(str).str.replace(DECIMAL_COMMA, r"\1\2\4\5.\3\6", regex=True)
    return pd.to_numeric(pointed.astype(object), errors="coerce").to_numpy(float)
