"""How much room a text takes on a terminal."""

import unicodedata


def columns(text: str) -> int:
    """Return how many columns of the screen a text takes: a CJK character two, a combining mark none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
