"""All names of the titles: those of the data, what else a title is known by, and tags that are as good as names."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inference.name_forms import folded, folded_words

BETWEEN = " / "  # names of one title
KNOWN = Path(__file__).with_name("known_names.txt")
OWN, OTHER, TAG = range(3)  # where a name is from: the column name; synonyms and known names; tags
# a tag is as good as a name where it is one of the first of a title's, and few titles of a large catalogue have it
FIRST_TAGS, TITLES_OF_TAG, TITLES_A_TAG = 8, 6, 500
SHORT = 3  # letters of an abbreviation, at most, which may be the whole name of another title


class Name(NamedTuple):
    """A name of a title."""

    item: int  # row of the title
    text: str
    folded: str
    words: list[str]  # see name_forms
    source: int  # OWN, OTHER or TAG


def all_names(
    names: Sequence[str], popularity: np.ndarray, synonyms: Sequence[Sequence[str]], tags: Sequence[str]
) -> list[Name]:
    """Gather the names of titles.

    Args:
        names: (n_items,); "A / B" is two names.
        popularity: (n_items,), by which one of several titles of the same name is the well-known one.
        synonyms: (n_items,) other names of each; empty without any.
        tags: (n_items,), a tag a line; empty without any.
    """
    own = [name for item, text in enumerate(names) for name in _names(item, text.split(BETWEEN), OWN)]
    others = [name for item, texts in enumerate(synonyms) for name in _names(item, texts, OTHER)]
    return [*own, *others, *_known([*own, *others], popularity), *_tags(tags)]


def _names(item: int, texts: Iterable[str], source: int) -> list[Name]:
    forms = ((text, folded(text)) for text in dict.fromkeys(texts))
    return [Name(item, text, form, folded_words(form), source) for text, form in forms if form]


def _known(names: list[Name], popularity: np.ndarray) -> Iterator[Name]:
    """Yield what well-known titles are called elsewhere.

    They are names of the title that has the earliest name of a line as it is written, or else in another spelling.
    """
    as_written: dict[str, int] = {}
    but_for_spelling: dict[str, int] = {}
    for name in sorted(names, key=lambda name: -popularity[name.item]):
        as_written.setdefault(name.folded, name.item)
        but_for_spelling.setdefault("".join(name.words), name.item)
    for line in KNOWN.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        called = [*_names(-1, line.split(BETWEEN), OTHER)]
        telling = [called[0], *(name for name in called[1:] if len(name.text) > SHORT or not name.text.isascii())]
        found = [as_written.get(name.folded) for name in telling]
        found += [but_for_spelling.get("".join(name.words)) for name in telling]
        item = next((item for item in found if item is not None), None)
        if item is not None:
            yield from (name._replace(item=item) for name in called)


def _tags(tags: Sequence[str]) -> Iterator[Name]:
    """Yield the tags that are as good as names."""
    first = [of_one.split("\n", FIRST_TAGS)[:FIRST_TAGS] for of_one in tags]
    counts, most = Counter(chain.from_iterable(first)), min(TITLES_OF_TAG, len(tags) // TITLES_A_TAG)
    for item, of_one in enumerate(first):
        yield from _names(item, [tag for tag in of_one if counts[tag] <= most], TAG)
