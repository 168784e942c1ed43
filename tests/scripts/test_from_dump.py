"""From a dump of Bangumi's titles and saved pages of lists to a user's list on the screen: three commands.

The sources are made here, of the real shape and from a seed: 20,000 subjects, of which 6,000 are anime, and the lists
of 300 users. It takes half a minute on one core; with -s the seconds of each command are printed.
"""

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
N_SUBJECTS, N_USERS = 20_000, 300
TYPES, TYPE_SHARES = (1, 2, 3, 4, 6), (0.4, 0.3, 0.15, 0.1, 0.05)  # anime is 2
STATUS_SHARES = (0.2, 0.55, 0.1, 0.05, 0.1)  # wish, done, doing, on hold, dropped: 1 to 5
LIMIT = 50  # of a page
GENRES = ("日常", "治愈", "科幻", "机战", "奇幻", "恋爱", "校园", "推理", "热血", "运动", "音乐", "历史")
SYLLABLES = "あかさたなはまやらわいきしちにひみりうくすつぬふむゆるえけせてねへめれおこそとのほもよろ"
WORDS = "少年少女世界机器人魔法学校音乐宇宙战争朋友旅行梦想城市星空海洋历史英雄时间记忆未来"


class Titles:
    """All subjects of a made dump, and for each of its anime a genre and how many collect it."""

    def __init__(self, rng: np.random.Generator) -> None:
        types = rng.choice(TYPES, N_SUBJECTS, p=TYPE_SHARES)
        genres = rng.integers(len(GENRES), size=N_SUBJECTS)
        self.subjects = [_subject(rng, number, int(types[number]), genres[number]) for number in range(N_SUBJECTS)]
        self.anime = np.flatnonzero(types == 2)
        self.genres = genres[self.anime]
        self.weights = 1 / (1 + rng.permutation(len(self.anime))) ** 0.9


def _subject(rng: np.random.Generator, number: int, kind: int, genre: int) -> dict[str, Any]:
    name, story = (
        "".join(letters[place] for place in rng.integers(len(letters), size=size).tolist())
        for letters, size in ((SYLLABLES, 6), (WORDS, 80))
    )
    counts = rng.integers(1, 900, 3).tolist()
    tags = [GENRES[genre], GENRES[number % len(GENRES)], "TV"]
    year, month, day = 1980 + number % 45, number % 12 + 1, number % 28 + 1
    return {
        "id": number + 1,
        "type": kind,
        "name": f"{name} {number}",
        "name_cn": f"动画{number}" if number % 5 else "",
        "infobox": f"{{{{Infobox animanga/TVAnime\r\n|中文名= 动画{number}\r\n|别名={{\r\n[Title &amp; {number}]\r\n"
        f"}}\r\n|放送开始= {year}年{month}月{day}日\r\n|话数= 12\r\n}}}}",
        "platform": 1,
        "summary": f"{GENRES[genre]}的故事。\r\n\r\n{story}",
        "nsfw": number % 97 == 0,
        "tags": [{"name": tag, "count": count} for tag, count in zip(dict.fromkeys(tags), counts, strict=False)],
        "meta_tags": ["TV", "日本"],
        "score": 7.1,
        "score_details": {str(rate): 3 for rate in range(1, 11)},
        "rank": number,
        "date": f"{year}-{month:02d}-{day:02d}" if number % 11 else "",
        "favorite": {"wish": 9, "done": 80, "doing": 7, "on_hold": 3, "dropped": 2},
        "series": False,
    }


def write_dump(path: Path, titles: Titles) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "subject.jsonlines",
            "".join(
                json.dumps(subject, ensure_ascii=False, separators=(",", ":")) + "\n" for subject in titles.subjects
            ),
        )
        archive.writestr("person.jsonlines", '{"id":1,"name":"x","type":1,"career":[],"infobox":"","summary":""}\n')


def write_lists(folder: Path, titles: Titles, rng: np.random.Generator) -> None:
    """Write the pages of every user's list, newest first, as the API gives them."""
    for user in range(N_USERS):
        taste = titles.weights * np.where(np.isin(titles.genres, rng.choice(len(GENRES), 3)), 8, 1)
        size = int(np.clip(rng.lognormal(4, 0.9), 3, len(titles.anime) // 2))
        chosen = titles.anime[rng.choice(len(titles.anime), size, replace=False, p=taste / taste.sum())]
        entries = [_entry(rng, titles.subjects[number], age) for age, number in enumerate(chosen.tolist())]
        (folder / f"user_{user}").mkdir(parents=True)
        for offset in range(0, size, LIMIT):
            page = {"data": entries[offset : offset + LIMIT], "total": size, "limit": LIMIT, "offset": offset}
            (folder / f"user_{user}" / f"{offset}.json").write_text(json.dumps(page, ensure_ascii=False), "utf-8")


def _entry(rng: np.random.Generator, subject: dict[str, Any], age: int) -> dict[str, Any]:
    status = int(rng.choice(5, p=STATUS_SHARES)) + 1
    short = {key: subject[key] for key in ("id", "type", "name", "name_cn", "tags", "score", "rank", "date")}
    return {
        "updated_at": str(np.datetime64("2024-06-01T12:00:00") - np.timedelta64(age, "D")) + "+08:00",
        "comment": "很好看，值得推荐" if rng.random() < 0.1 else None,
        "tags": [],
        "subject_id": subject["id"],
        "subject": {
            **short,
            "short_summary": subject["summary"][:60],
            "eps": 12,
            "volumes": 0,
            "images": {},
            "collection_total": 99,
        },
        "vol_status": 0,
        "ep_status": 12,
        "subject_type": 2,
        "type": status,
        "rate": 0 if status == 1 or rng.random() < 0.4 else int(rng.integers(4, 11)),
        "private": False,
    }


def run(*words: object) -> str:
    """Run a script with one thread, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        text=True,
        encoding="utf-8",
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_a_dump_to_a_printed_list_in_three_commands(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    titles = Titles(rng)
    write_dump(tmp_path / "dump.zip", titles)
    write_lists(tmp_path / "lists", titles, rng)
    data, saved, seconds = tmp_path / "data", tmp_path / "saved", [time.perf_counter()]

    run("tools/convert.py", "auto", tmp_path / "dump.zip", tmp_path / "lists", "--out", data)
    seconds.append(time.perf_counter())
    run(
        "main.py",
        "--data_dir",
        data,
        "--saved_dir",
        saved,
        "--model_name",
        "lsa",
        "--lsa_dim",
        32,
        "--embedding_dim",
        16,
        "--epochs",
        3,
        "--refit",
        "true",
    )
    seconds.append(time.perf_counter())
    printed = run("recommend.py", "--data_dir", data, "--saved_dir", saved, "--user", "user_7")
    seconds.append(time.perf_counter())

    print("seconds of convert, main, recommend:", *np.diff(seconds).round(1))
    heading, *lines = printed.splitlines()[-21:]
    assert heading == "for user_7 (user_7):"
    listed = [re.fullmatch(r" +\d+\. +-?\d+\.\d{3}  .+ \((\d+)\)", line)[1] for line in lines]
    adult = {str(subject["id"]) for subject in titles.subjects if subject["nsfw"]}
    anime = {str(titles.subjects[number]["id"]) for number in titles.anime} - adult
    assert set(pd.read_csv(data / "anime.tsv", sep="\t", dtype=str)["subject_id"]) == anime
    assert len(set(listed)) == 20
    assert set(listed) <= anime
    rows = pd.read_csv(data / "interactions.tsv", sep="\t", dtype=str)
    assert rows["user_id"].nunique() == N_USERS
    known = pd.read_csv(data / "known.tsv", sep="\t", dtype=str)
    for table in (rows, known):  # neither what he collected, nor what he wished for or gave up
        mine = table["subject_id"][table["user_id"] == "user_7"]
        assert len(mine) > 3
        assert set(listed).isdisjoint(mine)
