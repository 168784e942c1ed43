"""The forms in which names are compared: alike whatever their case, width, accents, kana or Chinese script."""

import re
import unicodedata
from functools import cache

from opencc import OpenCC

# a name in these scripts has no spaces, and each of its characters counts as a word
UNSPACED = "\u3005\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORDS = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
PHRASES = re.compile(rf"[{UNSPACED}]+|[^\s{UNSPACED}]+")
HAN = (*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000))
LATIN = (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))
# what is written in several ways: the particles of 進撃の巨人 and 鋼之煉金術師, old kana, the signs in Inu × Boku & co
ALIKE = {"の": "的", "之": "的", "ゑ": "え", "ゐ": "い", "を": "お", "×": "x", "&": " and "}
DROPPED = "'’‘`´"  # Howl's is Howls
APOSTROPHES = dict.fromkeys(map(ord, "’‘′`´＇"), "'")


def folded(text: str) -> str:
    """Return a name or a tag in the form in which two of them are compared: compatible characters and case alike."""
    if text.isascii():
        return text.lower().strip()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def words_of(text: str) -> list[str]:
    """Return the words of a name without punctuation, in the form that all spellings share; all of it without words."""
    return folded_words(folded(text))


def folded_words(text: str) -> list[str]:
    """Return words_of a text that is folded."""
    return WORDS.findall(text.translate(_spellings())) or text.split()


def end_marks(text: str) -> str:
    """Return the marks that a name ends in, by which seasons are told apart: those of Gintama', New Game!! or K-On!.

    Brackets, dashes, double quotes and spaces are none: they are spelt as a site likes.
    """
    name = folded(text.translate(APOSTROPHES))
    marks = name[len(name.rstrip("".join({c for c in name if unicodedata.category(c)[0] not in "LMN"}))) :]
    return "".join(c for c in marks if unicodedata.category(c) in ("Po", "So", "Sm", "Sk", "Sc") and c not in '"~')


def phrases_of(text: str) -> list[str]:
    """Return what has to stand together in a name: each word, and what is written without spaces, spaces around each.

    A phrase is in a name if it is in the name's words with spaces between and around them.
    """
    spelt = folded(text).translate(_spellings())
    phrases = [WORDS.findall(phrase) for phrase in PHRASES.findall(spelt)]
    return [spaced(words) for words in phrases if words] or [spaced(words_of(text))]


def spaced(words: list[str]) -> str:
    """Return words with a space between and around them."""
    return f" {' '.join(words)} "


@cache
def _spellings() -> dict[int, str]:
    """Map characters to those that they are compared as: without accents, as hiragana, as simplified Chinese."""
    table = {code: unicodedata.normalize("NFKD", chr(code))[0] for code in LATIN}
    katakana = range(0x30A1, 0x30F7)
    table |= {code: chr(code - 0x60) for code in katakana}
    table |= {code: ALIKE[kana] for code, kana in table.items() if kana in ALIKE}
    # character by character, so that a part of a name keeps its form; from Japanese by way of traditional Chinese
    traditional = OpenCC("jp2t").convert("\n".join(map(chr, HAN)))
    table |= dict(zip(HAN, OpenCC("t2s").convert(traditional).split("\n"), strict=True))
    return table | {ord(one): other for one, other in ALIKE.items()} | dict.fromkeys(map(ord, DROPPED), "")
