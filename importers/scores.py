"""Scores of lists -> rates of up to 10: those that say their scale, and those whose scale is told by all scores."""

import re
import unicodedata
from pathlib import Path
from typing import Any

from importers.common import rate_of

# of AniList: the highest score of each format
TOPS = {"POINT_100": 100, "POINT_10_DECIMAL": 10, "POINT_10": 10, "POINT_5": 5, "POINT_3": 3}
UNRATED = {
    "-",
    "--",
    "—",
    "#n/a",
    "undefined",
    "unrated",
    "not rated",
    "no rating",
    "未评分",
    "无评分",
    "暂无评分",
    "未評価",
}
STARS = re.compile(r"([★⭐]+)(\.5)?[☆✩]*")
# a rate with a word of its unit, or as a part of a whole
WITH_UNIT = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:分|点|pts?|points?|stars?|[★⭐])", re.IGNORECASE)
PART = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:%|/\s*(\d+(?:[.,]\d+)?))")
FEW, MANY = 3, 10  # scores from which a scale below 10 is believed: where its highest score is among them, or not


def score_of(path: Path, title: Any, score: Any) -> float:
    """Read a score as rate_of does, also "8,5" and a part of a whole, as in "8/10" (0.8 of 10)."""
    text = score.strip().replace(",", ".") if isinstance(score, str) else score
    part = re.fullmatch(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)", text) if isinstance(text, str) else None
    if part and float(part[2]) > 0 and float(part[1]) <= float(part[2]):
        return round(float(part[1]) * 10 / float(part[2]), 2)
    rate_of(path, title, text if not part else score)
    return float(text or 0)


def written_rate(text: str) -> str:
    """Return the number in what a person writes for a rate; what is none is returned as it is.

    "8分" is 8, "★★★★☆" 4, "4.5 stars" 4.5; "85%", "8.5/10" and "4.25/5" are 8.5 of 10; "(无评分)" and "-" are 0.
    """
    plain = unicodedata.normalize("NFKC", text.replace("½", ".5")).strip("\ufe0f\u200b ")
    if plain.strip("()").casefold() in UNRATED:
        return "0"
    if stars := STARS.fullmatch(plain):
        return str(len(stars[1]) + 0.5 * bool(stars[2]))
    if found := WITH_UNIT.fullmatch(plain):
        return found[1]
    if part := PART.fullmatch(plain):
        rate, top = (float((number or "100").replace(",", ".")) for number in part.groups())
        return f"{rate * 10 / top:.4g}" if 0 < top >= rate else text
    return plain


def of_ten(scores: list[float]) -> tuple[list[float], str]:
    """Take the scores of a site whose highest is 10, as other programs write them.

    Returns:
        Rates of up to 10: where most scores are above 10, all are taken as of 100; else those above 10 mean nothing,
        and become unrated. And a sentence about that, "" where there is nothing to say.
    """
    rated = [score for score in scores if score > 0]
    above = [score for score in rated if score > 10]
    if not above:
        return scores, ""
    if 2 * len(above) > len(rated) and max(above) <= 100:
        return to_ten(scores, 100), f"{len(above):,} of {len(rated):,} scores are above 10, so all are taken as of 100"
    return (
        [0.0 if score > 10 else score for score in scores],
        f"{len(above):,} of {len(rated):,} scores are above 10 (the highest is {max(above):g}), the most that a score "
        "can be; these are taken as unrated",
    )


def to_ten(scores: list[float], top: float) -> list[float]:
    """Bring scores from a scale with this highest score to 10."""
    return scores if top == 10 else [round(score * 10 / top, 2) for score in scores]


def top_of_anilist(scores: list[float], score_format: str) -> tuple[float, str]:
    """Tell the highest score of someone's scale on AniList, by the format it names, or by all their scores.

    Without a format, scores above 10 are of 100. Whole numbers of which there are some are smileys if the highest is 3
    and stars if it is 5, or if there are many and none is above that; all others are of 10.

    Returns:
        The highest score that the scale has, and what there is to say about that.
    """
    highest, n = max(scores, default=0.0), sum(score > 0 for score in scores)
    given = TOPS.get(score_format, 0)
    if given >= highest and given:
        is_low = given == 100 and 0 < highest <= 10
        said = f"its scoreFormat is POINT_100 and no score is above {highest:g}; they are taken as of 100, as it says"
        return given, said * is_low
    top = 100.0 if highest > 10 else 10.0
    if highest <= 5 and all(score == int(score) for score in scores):
        top = next((low for low in (3.0, 5.0) if highest == low and n >= FEW or highest <= low and n >= MANY), 10.0)
    if not n:
        return top, ""
    why = f"its scoreFormat is {score_format}, which cannot be" if score_format else "it has no scoreFormat"
    return top, (
        f"{why}: the highest of {n:,} scores is {highest:g}, so they are taken as of {top:g}; ask for "
        "user { mediaListOptions { scoreFormat } } to be sure"
    )
