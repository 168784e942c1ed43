"""The words by which names tell seasons, films, OVAs, specials and recaps apart, in five ways of writing."""

import re


def _each(words: str) -> list[str]:
    return words.split()


# --- English and romaji, folded ---

NUMBERS = {
    **{word: number for number, word in enumerate(_each("first second third fourth fifth sixth seventh"), 1)},
    **{f"{number}{end}": number for number in range(1, 21) for end in ("st", "nd", "rd", "th")},
    **{word: number for number, word in enumerate(_each("ii iii iv"), 2)},
    **{f"{letter}{number}": number for letter in "sr" for number in range(1, 10)},
    **{"vi": 6, "vii": 7, "viii": 8, "two": 2, "three": 3, "x2": 2, "nidaime": 2, "primo": 1},
    **{"zwei": 2, "2wei": 2, "drei": 3, "3rei": 3, "secondo": 2},
}
ROMAJI = {"ichi": 1, "ni": 2, "san": 3, "shi": 4, "yon": 4, "go": 5}
# counted by a number in front of them
COUNTED = {*_each("season series stage cour gakki ki maku sho shou part act chapter raid barrage gig passo bu dai")}
# counted by a number behind them
UNITS = {*_each("season part act chapter vol volume cour disc dai episode")}
NEXT = dict.fromkeys(_each("zoku zokuhen next returns motto kai plus again encore repeat"), 2)
LAST = {*_each("final finale finals kanketsuhen last shuushou saishuushou")}
FILMS = {*_each("movie movies film gekijouban eiga ova ovas oad oav ona tv")}
EXTRAS = {
    *_each("special specials sp recap recaps soushuuhen omake pilot prologue bonus pv cm digest summary preview"),
    *_each("trailer extras shorts teaser remix picturedrama episodezero memorial opening ending ng gekijou theater"),
}
# taken off the start of a name as well, with their number
AT_THE_START = {
    "zoku": 2,
    "motto": 2,
    "shin": 2,
    "new": 2,
    "movie": 1,
    "gekijouban": 1,
    "eiga": 1,
    "special": 1,
    "recap": 1,
}
PHRASES = {
    "picture drama": "picturedrama",
    "episode 0": "episodezero",
    "episode zero": "episodezero",
    "episode ex": "episodezero",
    "the animation": "",
    "the movie": "movie",
    "motion picture": "movie",
    "the final": "final",
    "the last": "last",
    "kanketsu hen": "kanketsuhen",
    **dict.fromkeys(
        [
            *("special edition", "jump festa", "jump super anime tour", "fan disc", "mini anime", "year special"),
            *("directors cut", "music video", "manner movie", "short movie", "anniversary", "special program"),
        ],
        "special",
    ),
    **dict.fromkeys(["dai ni maku", "dai ni shou", "dai ni ki", "second season"], "season 2"),
}

# --- Chinese and Japanese: rewritten in the words above ---

# characters of both, kana too
HAN = r"\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u3400-\u9fff"
DIGITS = {
    char: number
    for number, chars in enumerate(["一壱壹", "二弐贰貳", "三叁參参", "四肆", "五伍", "六", "七", "八", "九", "十"], 1)
    for char in chars
}
_COUNTERS = "季期部幕章巻卷夜弾弹集"
_CHARS = "".join(DIGITS)
NUMERAL = re.compile(
    rf"(?<=第)[{_CHARS}](?=[{_COUNTERS}])|(?<=\s)[{_CHARS}](?=学期|學期)|(?<=\s)[壹贰叁肆伍貳參参弐壱](?=[\s之ノの]|$)"
)
REWRITTEN = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"^新?超?[剧劇][场場]版", " movie "),
        (r"[剧劇][场場]版|映画(?=\s|$)|电影版?(?=\s|$)", " movie "),
        (rf"第\s*([0-9]+)\s*[{_COUNTERS}]", r" season \1 "),
        (r"(?<=[\s!])([0-9]+)[期季](?=\s|$)|(?<=\s)([0-9])(?:学期|學期)", r" season \1\2 "),
        (r"[总總総]集[篇編编]", " recap "),
        (r"(?:特别|特別|番外)[篇編编]|番外地|未放送|未播放|映像特典|特典|特番|[小迷]剧场", " special "),
        (r"(?:完结|完結|最终|最終|终|終)[篇編编章季]", " final "),
        (r"(?:前|上)[篇編编巻卷](?!\w)", " part 1 "),
        (r"中[篇編编巻卷](?!\w)", " part 2 "),
        (r"(?:后|後|下)[篇編编巻卷](?!\w)", " part 3 "),
        (r"(?<=\S)\s+[续続續][章集篇編编]?(?=\s|$)|^[续続續]\s*(?=\S)", " zoku "),
        (r"^[新真][・·\s]", " shin "),
    )
)
