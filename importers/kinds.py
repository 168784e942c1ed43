"""Anime and other kinds of works, which sites number apart: manga 21 is another work than anime 21."""

import re
from pathlib import Path
from typing import Any

OTHER = "of other kinds than anime"  # under which rows of manga, games and the like are counted
UNKNOWN = (
    "nothing in it says whether its titles are anime or manga, so they are taken as anime; of a list of manga the "
    "numbers would mean other works"
)
ANIME, MANGA = "anime", "manga"
# the words of sites for what a title is, in lower case, letters only
_ANIME = "anime tv tvshort tvspecial movie special ova ona oad pv cm music animation 动画 動畫 アニメ"
_MANGA = (
    "manga novel lightnovel ranobe oneshot doujin doujinshi manhwa manhua oel comic comics book literature webtoon "
    "漫画 書籍 书籍"
)
# what a title was made as, by the words of sites
_TYPES = {
    "TV": "tv tvshort",
    "Movie": "movie",
    "OVA": "ova oad",
    "ONA": "ona web",
    "Special": "special tvspecial",
    "Music": "music",
}
_TYPE = {word: made for made, words in _TYPES.items() for word in words.split()}
_KIND = {word: kind for kind, words in ((ANIME, _ANIME), (MANGA, _MANGA)) for word in words.split()}


def kind_of(word: Any) -> str:
    """Return "anime" or "manga" (for whatever is read) by a site's word for a kind or a format, "" for any other."""
    return _KIND.get(_letters(word), "")


def type_of(word: Any) -> str:
    """Return TV, Movie, OVA, ONA, Special or Music by a site's word for what an anime was made as, "" for any other."""
    return _TYPE.get(_letters(word), "")


def _letters(word: Any) -> str:
    return re.sub(r"[\W_]", "", str(word or "").casefold())


def kind_in(text: str) -> str:
    """Return the kind that a name or an address names, "" if it names none or both."""
    found = {kind for kind in (ANIME, MANGA) if kind in text.casefold()}
    return found.pop() if len(found) == 1 else ""


def kind_of_file(path: Path) -> str:
    """Return the kind that a file is called after, as mangalist.json and ann-manga.json are, "" for any other."""
    found = set(re.findall(r"(?:^|[\W_])(anime|manga)(?=list|[\W_]|$)", path.stem.casefold()))
    return found.pop() if len(found) == 1 else ""


def refusal(where: Path | str, n: int) -> str:
    """Say that a list has nothing but other kinds."""
    return (
        f"{where}: its titles, {n:,} in all, are manga or of other kinds than anime, whose numbers would mean other "
        "works here; export the list of anime and name that file"
    )
