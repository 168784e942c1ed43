"""Write the sample data set: anime.tsv, user.tsv and interactions.tsv.

The data are synthetic. Every title, user, rating and comment is invented by this script from a random
seed, so the sample only shows that the code runs; no result measured on it means anything about real
viewers, real anime or any recommender.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator

N_TITLES, N_UNSEEN, N_USERS = 300, 12, 600
FIRST_DAY, LAST_MOMENT = datetime(2019, 1, 1), datetime(2023, 12, 31, 23, 59, 59)
FIRST_SIGN_UP, LAST_SIGN_UP = datetime(2014, 1, 1), datetime(2023, 6, 30)
STRENGTH = 4.3  # how much taste outweighs popularity when a user picks titles

WORDS = json.loads(Path(__file__).with_name("sample_words.json").read_text(encoding="utf-8"))
THEMES, PHRASES = WORDS["themes"], WORDS["phrases"]  # words and phrases by kind: a dict a theme, and what fits any


def pick(rng: Generator, options: Sequence[str]) -> str:
    """Return one of the options, each as likely as the others."""
    return options[int(rng.integers(len(options)))]


def themed(rng: Generator, mix: np.ndarray, part: str) -> str:
    """Return a phrase of the given part from a theme drawn by its share in the title."""
    return pick(rng, THEMES[int(rng.choice(len(THEMES), p=mix))][part])


def draw_mixes(rng: Generator, count: int) -> np.ndarray:
    """Return for each title the shares of its one to three themes."""
    mixes = np.zeros((count, len(THEMES)))
    for row in mixes:
        size = int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
        row[rng.choice(len(THEMES), size, replace=False)] = rng.dirichlet(np.full(size, 3.0))
    return mixes


def draw_tastes(rng: Generator, count: int) -> np.ndarray:
    """Return for each user a taste by theme: mostly mild dislike, two or three themes liked."""
    tastes = rng.normal(-0.2, 0.1, (count, len(THEMES)))
    for row in tastes:
        liked = rng.choice(len(THEMES), int(rng.integers(2, 4)), replace=False)
        row[liked] = rng.uniform(0.6, 1.3, len(liked))
    return tastes


def make_name(rng: Generator, mix: np.ndarray, taken: set[str]) -> str:
    """Return a title that is not taken yet, and take it."""
    while True:
        noun, style = themed(rng, mix, "noun"), int(rng.integers(3))
        modifier = pick(rng, PHRASES["modifier"]) if style != 1 else ""
        name = modifier + noun + (pick(rng, PHRASES["ending"]) if style != 0 else "")
        if name not in taken:
            taken.add(name)
            return name


def make_tags(rng: Generator, mix: np.ndarray) -> str:
    """Return four to eight tags in one of the formats a tags_name field may have."""
    wanted, tags = int(rng.integers(4, 9)), []
    while len(tags) < wanted:
        tag = pick(rng, PHRASES["common_tag"]) if rng.random() < 0.2 else themed(rng, mix, "tag")
        if tag not in tags:
            tags.append(tag)
    layout = rng.random()
    if layout < 0.1:
        return repr(tags)
    return pick(rng, "、,|").join(tags) if layout < 0.2 else json.dumps(tags, ensure_ascii=False)


def make_summary(rng: Generator, mix: np.ndarray) -> str:
    """Return two to four sentences about the title; now and then nothing."""
    if rng.random() < 0.03:
        return ""
    words = {part: themed(rng, mix, part) for part in ("place", "mood", "point")}
    words["name"] = pick(rng, PHRASES["nickname"])
    for part, other in (("lead", "partner"), ("goal", "other_goal")):
        words[part] = words[other] = themed(rng, mix, part)
        while words[other] == words[part]:
            words[other] = themed(rng, mix, part)
    kinds = ["opening", "turn"] + [kind for kind in ("setback", "closing") if rng.random() < 0.65]
    return "".join(pick(rng, PHRASES[kind]).format(**words) for kind in kinds)


def make_titles(rng: Generator, mixes: np.ndarray) -> list[list[str]]:
    """Return the rows of anime.tsv."""
    ids = np.sort(rng.choice(np.arange(1000, 400_000), len(mixes), replace=False))
    taken: set[str] = set()
    return [
        [str(number), make_name(rng, mix, taken), make_tags(rng, mix), make_summary(rng, mix)]
        for number, mix in zip(ids, mixes, strict=True)
    ]


def random_moments(rng: Generator, start: datetime, end: datetime, count: int) -> list[datetime]:
    """Return moments between start and end, in order."""
    seconds = np.sort(rng.integers(0, int((end - start).total_seconds()) + 1, count))
    return [start + timedelta(seconds=int(second)) for second in seconds]


def make_users(rng: Generator) -> list[list[str]]:
    """Return the rows of user.tsv; ids grow with the registration time."""
    ids = np.sort(rng.choice(np.arange(2000, 900_000), N_USERS, replace=False))
    names: list[str] = []
    while len(names) < N_USERS:
        number = str(rng.integers(100)) if rng.random() < 0.4 else ""
        name = pick(rng, PHRASES["handle"]) + pick(rng, PHRASES["handle_end"]) + number
        if name not in names:
            names.append(name)
    moments = random_moments(rng, FIRST_SIGN_UP, LAST_SIGN_UP, N_USERS)
    return [[str(number), name, str(at)] for number, name, at in zip(ids, names, moments, strict=True)]


def collect(rng: Generator, stages: np.ndarray, appeal: np.ndarray, count: int) -> list[tuple[int, float]]:
    """Return the titles a user collects, in order and with their affinity; each stage picks its half."""
    picked: list[tuple[int, float]] = []
    for affinity, share in zip(stages, (count // 2, count - count // 2), strict=True):
        logits = STRENGTH * affinity + appeal
        logits[[title for title, _ in picked]] = -np.inf
        # the Gumbel trick: the largest are a sample without replacement from softmax(logits)
        drawn = np.argsort(-(logits + rng.gumbel(size=len(logits))), kind="stable")[:share]
        picked += [(int(title), float(affinity[title])) for title in drawn]
    return picked


def make_rate(rng: Generator, affinity: float, level: float) -> int:
    """Return 0 for a title left unrated, else 1 to 10 by how well it suits the user."""
    if rng.random() < 0.12:
        return 0
    return int(np.clip(np.rint(level + 2.0 * affinity + rng.normal(0, 1.0)), 1, 10))


def make_comment(rng: Generator, mix: np.ndarray, rate: int) -> str:
    """Return a short comment whose tone follows the rate."""
    tone = "unrated" if rate == 0 else "high" if rate >= 8 else "middle" if rate >= 5 else "low"
    template = (pick(rng, PHRASES["quoted"]) if rng.random() < 0.05 else "") + pick(rng, PHRASES[tone])
    return template.format(**{part: themed(rng, mix, part) for part in ("mood", "point", "tag")})


def draw_stages(rng: Generator, mixes: np.ndarray, count: int) -> np.ndarray:
    """Return the affinity of users to titles, shaped (users, 2, titles): at first and after a mild drift."""
    early = draw_tastes(rng, count)
    late = 0.75 * early + 0.25 * draw_tastes(rng, count)
    # Groups of viewers that no text shows, so that behaviour tells something content cannot.
    circles = 0.15 * rng.normal(size=(count, 3)) @ rng.normal(size=(3, len(mixes)))
    return np.stack([early @ mixes.T + circles, late @ mixes.T + circles], axis=1)


def make_interactions(
    rng: Generator, titles: list[list[str]], mixes: np.ndarray, users: list[list[str]]
) -> Iterable[list[str]]:
    """Yield the rows of interactions.tsv, user by user and in order of time."""
    appeal, quality = rng.normal(0, 1.0, len(titles)), rng.normal(0, 0.5, len(titles))
    appeal[rng.choice(len(titles), N_UNSEEN, replace=False)] = -np.inf
    for stages, (user_id, _, registered) in zip(draw_stages(rng, mixes, len(users)), users, strict=True):
        count = int(np.clip(np.rint(rng.lognormal(np.log(15), 1.05)), 3, 160))
        level, talk = 5.6 + rng.normal(0, 0.6), 0.41 if rng.random() < 0.87 else 0.0
        picked = collect(rng, stages, appeal, count)
        start = max(FIRST_DAY, datetime.fromisoformat(registered))
        for (title, affinity), at in zip(picked, random_moments(rng, start, LAST_MOMENT, count), strict=True):
            rate = make_rate(rng, affinity, level + quality[title])
            comment = make_comment(rng, mixes[title], rate) if rng.random() < talk else ""
            moment = "" if rng.random() < 0.01 else str(at)
            yield [user_id, titles[title][0], str(rate), comment, moment]


def main() -> None:
    """Read the command line, make the three tables and write them."""
    parser = argparse.ArgumentParser(description="write the synthetic sample data")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write to (default: data)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    mixes = draw_mixes(rng, N_TITLES)
    titles, users = make_titles(rng, mixes), make_users(rng)
    rows = list(make_interactions(rng, titles, mixes, users))
    args.out.mkdir(parents=True, exist_ok=True)
    for name, columns, table in (
        ("anime", "subject_id name tags_name summary", titles),
        ("user", "user_id username registration_time", users),
        ("interactions", "user_id subject_id rate comment updated_at", rows),
    ):
        pd.DataFrame(table, columns=columns.split()).to_csv(
            args.out / f"{name}.tsv", sep="\t", index=False, lineterminator="\n"
        )
    print(f"{args.out}: {len(rows)} interactions, {len(users)} users, {len(titles)} titles")


if __name__ == "__main__":
    main()
