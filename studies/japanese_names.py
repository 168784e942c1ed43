"""Which of a title's tags is its name in Japanese: the one whose kana spell the name in Latin letters."""

import re
import unicodedata
from collections.abc import Iterable

LEAST = 4  # kana, from which it is hardly by chance that they spell a name
PARTS = re.compile("([ぁ-ゖァ-ヺー]+)|([\u4e00-\u9fff々]+)|([a-zA-Z0-9]+)")
SUBTITLE = re.compile(r"[:(\[]| - ")
# consonants that are one to Japanese, or that transcriptions write in several ways; vowels are left out, since those of
# foreign words are lost in kana
ALIKE = {"th": "s", "sh": "s", "ch": "t", "ck": "k", "ph": "h", "ts": "t", "f": "h", "j": "z", "l": "r", "v": "b"}
ALIKE |= {"c": "k", "q": "k", "x": "ks"}
CHARACTERS_OF_KANJI = 4  # consonants that one of them is read as, at most


def japanese_name(tags: Iterable[str], latin: str) -> str:
    """Return the longest tag that is a name in kana, at least in part; "" if there is none.

    Args:
        tags: of a title.
        latin: its Japanese name in Latin letters, perhaps with a subtitle that a tag may leave out.
    """
    spelt = {_consonants(latin), _consonants(SUBTITLE.split(latin)[0])}
    return max((tag for tag in tags if _may_spell(tag, spelt)), key=len, default="")


def _may_spell(tag: str, spelt: set[str]) -> bool:
    parts = PARTS.findall(unicodedata.normalize("NFKC", tag))
    if sum(len(kana) for kana, _, _ in parts) < LEAST:
        return False
    pattern = "".join(
        _consonants(_sound(kana)).replace("h", "h?")  # は is wa between words
        or _consonants(letters)
        or rf"\w{{0,{CHARACTERS_OF_KANJI * len(kanji)}}}"
        for kana, kanji, letters in parts
    )
    return any(re.fullmatch(pattern, name) for name in spelt)


def _sound(kana: str) -> str:
    """Spell kana by the names that Unicode gives them, as SI of HIRAGANA LETTER SI; a small TU only doubles."""
    names = [unicodedata.name(char).removeprefix("HIRAGANA ").removeprefix("KATAKANA ") for char in kana]
    return "".join(name.split()[-1].lower() for name in names if name not in ("LETTER SMALL TU", LONG))


LONG = unicodedata.name("ー")


def _consonants(text: str) -> str:
    """Return the consonants and digits of a text, of each row of equal ones the first."""
    letters = unicodedata.normalize("NFKD", text).lower()
    for written, sound in ALIKE.items():
        letters = letters.replace(written, sound)
    return re.sub(r"(.)\1+", r"\1", re.sub("[^b-df-hj-np-tvxz0-9]", "", letters))
