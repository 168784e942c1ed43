"""Which script a text is written in, which tells languages apart that share no words."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

KANA = 0.05  # share of kana among the letters, from which a text is Japanese, whatever its other characters
FEW = 0.05  # share of texts in a script, below which it is foreign to them


@cache
def _script(char: str) -> str:
    """Name the script of a letter, "" for anything else: LATIN, CJK, KANA, HANGUL, CYRILLIC and so on."""
    if not char.isalpha():
        return ""
    script = unicodedata.name(char, "").split(" ")[0].split("-")[0]
    return {"HIRAGANA": "KANA", "KATAKANA": "KANA", "FULLWIDTH": "LATIN", "HALFWIDTH": "KANA"}.get(script, script)


def script_of(text: str) -> str:
    """Name the script that most letters of a text are in, KANA for Japanese; "" for a text without letters."""
    counts: Counter[str] = Counter()
    for char, n in Counter(text).items():
        counts[_script(char)] += n
    del counts[""]
    if not counts:
        return ""
    return "KANA" if counts["KANA"] >= KANA * counts.total() else counts.most_common(1)[0][0]


def is_foreign(text: str, scripts: Sequence[str]) -> bool:
    """Whether hardly any of the scripts of other texts, "" for those without letters, is that of a text."""
    script, scripts = script_of(text), [found for found in scripts if found]
    return bool(script) and bool(scripts) and scripts.count(script) < FEW * len(scripts)
