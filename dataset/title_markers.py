"""What a title's name says beside whose it is: season, part, film, OVA, special, recap, year; in five ways of writing.

Known are English, romaji, Japanese, simplified and traditional Chinese. A name is folded into words; a run of Chinese
or Japanese characters is one word, as they are written without spaces.
"""

import re
import unicodedata
from typing import NamedTuple

# what a name calls a title, in the order in which one watches: the work itself, a film or OVA, an extra
WORK, FILM, EXTRA = range(3)
FINAL = 50  # the number of a last season
BREAK = "|"  # between the name of a work and that of a part, while a name is read
BETWEEN = " / "  # names of one title

Words = tuple[str, ...]


class Markers(NamedTuple):
    """A name read: whose title it is, and where that stands."""

    stem: Words  # name of the work, without markers; never empty
    rest: Words  # name of the part, without markers
    season: int  # 1 where the name has no number
    part: int  # number of a film, a chapter or a cour; 0 without
    kind: int  # WORK, FILM or EXTRA
    year: int  # 0 without
    is_marked: bool  # whether there is a marker of a season


# --- Chinese and Japanese: rewritten in the words below ---

_DIGITS = {
    char: number
    for number, chars in enumerate(
        ("", "一壱壹", "二弐贰貳", "三叁參参", "四肆", "五伍", "六陸", "七", "八", "九", "十")
    )
    for char in chars
}
_HAN = r"\u3005-\u3007\u3040-\u30ff\u3400-\u9fff"
_REWRITTEN = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"^新?(超)?[剧劇]場?场?版", " movie "),
        (r"[剧劇][场場]版|电影版?(?=\s|$)|映画(?=\s|$)", " movie "),
        (r"第\s*([0-9]+)\s*[季期部幕章巻卷夜弾弹集]", r" season \1 "),
        (r"(?<=\s)其之?([0-9]+)", r" season \1 "),
        (r"[总總総]集[篇編编]", " recap "),
        (r"(特别|特別|番外|番外地)([篇編编地])?(?=\W|$)|未放送|未播放|映像特典|特典", " special "),
        (r"(完结|完結|最终|最終|终)([篇編编章季])", " final "),
        (r"(前|上)[篇編编巻卷](?!\w)", " part 1 "),
        (r"中[篇編编巻卷](?!\w)", " part 2 "),
        (r"(后|後|下)[篇編编巻卷](?!\w)", " part 3 "),
        (r"(?<=\S)\s+(续|続|續)(章|集|篇)?(?=\s|$)|^(续|続|續)\s*(?=\S)", " zoku "),
        (r"^(新|真)[・·\s]", " shin "),
    )
)
_NUMERAL = re.compile(
    r"(?<=第)[一二三四五六七八九十壱弐](?=[季期部幕章巻卷夜弾弹集])|(?<=\s)[壹贰叁参肆伍貳參弐壱](?=[\s之ノの]|$)"
)


# --- words ---

_NUMBERS = {
    **{
        word: number
        for number, word in enumerate(["first", "second", "third", "fourth", "fifth", "sixth", "seventh"], 1)
    },
    **{word: number for number, word in enumerate(["1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th"], 1)},
    **{word: number for number, word in enumerate(["ii", "iii", "iv"], 2)},
    **{
        "vi": 6,
        "vii": 7,
        "viii": 8,
        "two": 2,
        "zwei": 2,
        "2wei": 2,
        "drei": 3,
        "3rei": 3,
        "three": 3,
        "r2": 2,
        "s2": 2,
        "s3": 3,
        "x2": 2,
    },
}
# said of a number in front of them or behind; "ichi gakki" alone has numbers in romaji
_COUNTED = {
    "season",
    "series",
    "stage",
    "cour",
    "gakki",
    "ki",
    "maku",
    "sho",
    "shou",
    "kai",
    "part",
    "act",
    "chapter",
    "vol",
    "volume",
    "disc",
    "dai",
    "gig",
    "bu",
}
_ROMAJI = {"ichi": 1, "ni": 2, "san": 3, "shi": 4, "yon": 4, "go": 5}
_NEXT = {
    "zoku": 2,
    "zokuhen": 2,
    "next": 2,
    "returns": 2,
    "motto": 2,
    "kai": 2,
    "plus": 2,
    "again": 2,
    "encore": 2,
    "after": 2,
    "repeat": 2,
    "shin": 2,
    "new": 2,
    "dai": 2,
}
_LAST = {"final", "finale", "finals", "kanketsuhen", "last"}
_AT_THE_START = {"zoku", "shin", "new", "motto", "mata", "gekijouban", "eiga"}
_FILMS = {"movie", "movies", "film", "gekijouban", "eiga", "ova", "ovas", "oad", "oav", "ona", "tv", "ovaseries"}
_EXTRAS = {
    "special", "specials", "sp", "recap", "recaps", "soushuuhen", "omake", "pilot", "prologue", "bonus", "pv", "cm", "digest", "summary", "preview",
    "trailer", "extras", "shorts", "teaser", "remix", "specialedition", "dramacd", "picturedrama", "episode0", "memorial", "opening", "ending", "interlude", "intermission", "ng", "gekijou", "theater",
}  # fmt: skip
_PHRASES = (
    ("picture drama", "picturedrama"), ("special edition", "specialedition"), ("episode 0", "episode0"), ("episode ex", "episode0"),
    ("jump festa", "special"), ("jump super anime tour", "special"), ("the animation", ""), ("the movie", "movie"), ("motion picture", "movie"),
    ("the final", "final"), ("the last", "final"), ("kanketsu hen", "kanketsuhen"), ("fan disc", "special"), ("mini anime", "special"), ("year special", "special"),
    ("directors cut", "special"), ("music video", "special"), ("manner movie", "special"), ("short movie", "special"), ("anniversary", "special"),
    ("episode zero", "episode0"), ("dai ni maku", "season 2"), ("dai ni shou", "season 2"), ("dai ni ki", "season 2"), ("dai ichi maku", ""),
)  # fmt: skip
_PHRASES_RE = re.compile("|".join(rf"\b{phrase}\b" for phrase, _ in sorted(_PHRASES, key=lambda pair: -len(pair[0]))))
_REPLACEMENT = dict(_PHRASES)


def read_name(name: str) -> Markers:
    """Read one name of a title."""
    words, year = _words(name)
    stem, rest, found = _parted(words)
    stem, seasons = _without_seasons(stem)
    tail, tail_seasons = _without_seasons(rest) if rest else (rest, [])
    number = found["number"]
    season = max(seasons, default=1)
    part = number or max(tail_seasons, default=0)
    return Markers(tuple(stem), tuple(tail), season, part, found["kind"], year, bool(seasons))


def _words(name: str) -> tuple[list[str], int]:
    """Fold a name into words, with BREAK where its parts meet; and the year in it."""
    text = unicodedata.normalize("NFKC", name.replace("½", " half ")).casefold()
    text = _NUMERAL.sub(lambda found: str(_DIGITS[found[0]]), text)
    for pattern, words in _REWRITTEN:
        text = pattern.sub(words, text)
    text = "".join(char for char in unicodedata.normalize("NFD", text) if not "\u0300" <= char <= "\u036f")
    year = re.search(r"(?<!\d)(19[3-9]\d|20[0-4]\d)(?![\d%])", text)
    text = re.sub(r"\((19|20)\d\d\)", " ", text)
    text = re.sub(r"\(?\b(tv|ova|oad|ona|movie|special)\)", r" \1 ", text)
    text = re.sub(
        r":\s+|\s+[-~\u2013\u2014\u301c]+\s*|[(\[\u300c\u300e\u3010\u3008\u300a~\u301c]|[・:](?=[" + _HAN + "])",
        f" {BREAK} ",
        text,
    )
    text = re.sub(r"['\u2019`]", "", text)
    text = re.sub(rf"([{_HAN}])(?=[0-9a-z])|([0-9a-z])(?=[{_HAN}])", r"\1\2 ", text)
    text = re.sub(rf"[^0-9a-z{_HAN}\u0400-\u04ff\uac00-\ud7af|%]+", " ", text)
    text = _PHRASES_RE.sub(lambda found: _REPLACEMENT[found[0]], text)
    words = text.split()
    while words and words[0] == BREAK:
        words = words[1:]
    return words or [name.casefold() or "?"], int(year[1]) if year else 0


def _parted(words: list[str]) -> tuple[list[str], list[str], dict[str, int]]:
    """Part words at the first BREAK or word of a format: the work's, the part's, and what kind and number it is."""
    kind, number = WORK, 0
    left: list[str] = []
    cut = len(words)
    if words[0] in ("movie", "gekijouban", "eiga", "special", "recap") and len(words) > 1:
        kind, words = (FILM if words[0] in _FILMS else EXTRA), words[1:]
        words = words[1:] if words[0] == BREAK and len(words) > 1 else words
        cut = len(words)
    for place, word in enumerate(words):
        if place and (word == BREAK or word in _FILMS or word in _EXTRAS):
            cut = min(cut, place)
        if place and word in _FILMS | _EXTRAS:
            kind = max(kind, EXTRA if word in _EXTRAS else FILM if word != "tv" else WORK)
            follows = words[place + 1] if place + 1 < len(words) else ""
            if not number and (follows.isdigit() or follows in _NUMBERS):
                number = int(follows) if follows.isdigit() else _NUMBERS[follows]
    left = [word for word in words[:cut] if word != BREAK] or words[:1]
    rest = [word for word in words[cut:] if word not in (BREAK, *_FILMS, *_EXTRAS)]
    if number and rest and (rest[0].isdigit() or rest[0] in _NUMBERS):
        rest = rest[1:]
    return left, rest, {"kind": kind, "number": number}


def _without_seasons(words: list[str]) -> tuple[list[str], list[int]]:
    """Take markers of seasons off the end of words, and off the start; and say their numbers."""
    seasons: list[int] = []
    while len(words) > 1:
        word, before = words[-1], words[-2]
        if (
            word in _COUNTED
            and (number := _number(before, romaji=True))
            or before in _COUNTED
            and (number := _number(word, romaji=True))
        ):
            words, seasons = words[:-2], [*seasons, number]
        elif number := _number(word):
            words, seasons = words[:-1], [*seasons, number]
        elif word in _LAST:
            words, seasons = words[:-1], [*seasons, FINAL]
        elif word in _NEXT and word not in ("new", "dai"):
            words, seasons = words[:-1], [*seasons, _NEXT[word]]
        elif word in ("ni", "san", "shi", "go") and len(words) > 2:
            words, seasons = words[:-1], [*seasons, _ROMAJI[word]]
        elif words[0] in _AT_THE_START:
            words, seasons = words[1:], [*seasons, _NEXT.get(words[0], 1)]
        else:
            break
    return words, seasons


def _number(word: str, romaji: bool = False) -> int:
    if word.isdigit() and word.isascii() and len(word) <= 2:
        return int(word)
    return _NUMBERS.get(word, 0) or (_ROMAJI.get(word, 0) if romaji else 0)


def read_names(names: str) -> list[Markers]:
    """Read the names of a title, "A / B" being two."""
    return [read_name(name) for name in dict.fromkeys(names.split(BETWEEN)) if name.strip()] or [read_name(names)]
