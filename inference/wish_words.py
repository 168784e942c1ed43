"""What is asked for in words, taken apart: what is wanted, and what is not."""

import re
from typing import NamedTuple

# up to a mark of the end, with the quotes that close behind it, and a space; or a full-width mark
SENTENCE = re.compile(r"[^\n]+?(?:[.!?…]+[\"”’)]*(?=\s)|[。！？]+[”」』）]*|(?=\n)|$)")
MARKS = ",;:.!?，、；：。！？\n"
CLAUSE = f"[^{MARKS}]"  # a sign of a clause
START = rf"(?:^|(?<=[{MARKS}]))\s*"
# "no romance", "but not too violent", "with no gore": some words of a clause that begins so; "he does not know" and
# "not knowing" tell a story, and ask for nothing
ENGLISH = re.compile(
    rf"(?:{START}(?:please |i )?(?:no|not|nothing|never|except(?: for)?|anything but|avoid|don['’]?t (?:want|like))"
    r"|\b(?:with no|without|(?:but|and) (?:not|no|nothing)))"
    r"(?! (?:only|just|longer|matter|one\b|less|more than|(?!any|some)\w+ing\b))"
    rf"((?: (?!but\b|with\b)[^\s{MARKS}]+){{1,6}})",
    re.IGNORECASE,
)
# words that say nothing of what is not wanted: "not too much of the romance"
LITTLE = re.compile(
    r"^(?:(?:any|anything|too|very|so|much|many|a|an|the|of|more|to|see|about|involving)\b\s*)+", re.IGNORECASE
)
# Chinese: 不要恋爱, 没有后宫的, 无虐; 除了机甲以外
CHINESE = re.compile(
    rf"(?:(?:但是?|也|且|并|我)?(?:不要|不想要?看?|不喜欢|不含|不带|没有|拒绝|排除|除了)"
    rf"|(?:{START}|(?<=\\s))(?:别|非|无(?![口限法数敌论比意聊头能名尽职业])))(?:任何|太多|太|什么|有)?"
    rf"({CLAUSE}{{1,8}}?)(?:(?:以外|之外)的?|的(?={CLAUSE})|(?={START}|[{MARKS}\s]|$))"
)
# Japanese: 恋愛なし, ハーレム抜き, 恋愛ではない, ホラー以外; what is not wanted stands before
JAPANESE = re.compile(
    r"([一-龯々ァ-ヴーA-Za-z0-9]+?)(?:要素|シーン|もの)?(?:は|が|の|も)?"
    r"(?:なし|無し|抜き|ぬき|以外|じゃない|ではない|のない|がない|いらない|要らない|苦手)(?:で|の|な)?"
)


class Words(NamedTuple):
    """A wish taken apart."""

    wanted: str  # "" where all of it is of what is not wanted
    unwanted: tuple[str, ...]


def read_words(text: str) -> Words:
    """Part what is wanted from what is not: after "no", "not", "without", 不要, 没有; before なし, 以外.

    Args:
        text: in English, Chinese or Japanese; of other languages all of it is wanted.
    """
    unwanted: list[str] = []

    def cut(found: re.Match[str]) -> str:
        said = LITTLE.sub("", found[1].strip()).strip()
        if not said:
            return found[0]
        parts = re.split(r"\s+(?:(?:or|and|nor)(?: not?)?)\s+|[和或与及や]", said)
        unwanted.extend(part.strip() for part in parts if part.strip())
        return " "

    text = " ".join(re.sub(r"\bplease\b", "", text, flags=re.IGNORECASE).split())
    for pattern in (ENGLISH, CHINESE, JAPANESE):
        text = pattern.sub(cut, text)
    wanted = re.sub(r"\s+", " ", text).strip(" ,;:.!?，、；：。！？")
    wanted = re.sub(r"\s*([,，、;；])(?:\s*[,，、;；])+", r"\1", wanted)
    return Words(re.sub(r"\s+([,;.，、；。])", r"\1", wanted), tuple(unwanted))


def sentences(text: str) -> list[str]:
    """Cut a text into sentences, in the order of the text."""
    return [part.strip() for part in SENTENCE.findall(text) if part.strip()]
