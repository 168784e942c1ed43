"""A small run to serve, an export to upload to it, and a server in a thread; for the tests of serve.py."""

import csv
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import uvicorn

import main
from config import get_config
from inference.finished_run import FinishedRun
from serve import listening
from tests.helpers.data import write_data
from web.app import create_app, guarded
from web.renewal import Renewal

N_ITEMS, NEW = 40, 34  # from this title on nobody has collected any
HOSTILE = '<img src=x onerror="window.ran = 1">'
NAMES = {
    0: "Kimi no Na wa. / 你的名字。 / 君の名は。",
    1: HOSTILE,
    2: "a title " + "ofgreatlength" * 20,
    NEW: "Quite new / 新作",
}
WORDS = (
    "amber birch candle dragon ember feather garden hollow island jasper kettle lantern mirror needle orchard pepper "
    "quarry river saddle thunder umbrella velvet willow xylem yonder zephyr anchor basket copper dagger engine falcon "
    "glacier harvest iron juniper kingdom ladder marble northern"
)
NO_NAMES: dict[int, str] = {}
# for a run in which some titles are seasons of one work
SEASONS = {10: "Blue Harbour", 11: "Blue Harbour 2nd Season", 12: "Blue Harbour 3rd Season"}


def raw(item: int) -> str:
    """Return the id of a title; one has what an address gives a meaning of its own."""
    return "a/b?c#d %&" if item == 5 else str(100 + item)


def name_of(item: int) -> str:
    """Return the name of a title; words, since numbers would make all of them the parts of one work."""
    return NAMES.get(item, f"{WORDS.split()[item]} title")


def write_served_data(folder: Path, names: dict[int, str] = NO_NAMES) -> Path:
    """Write data with years, several names, hostile ones, and titles that nobody collected; names: of more."""
    write_data(folder, n_users=60, n_items=NEW, per_user=10)
    rows = list(csv.DictReader((folder / "interactions.tsv").read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    with (folder / "interactions.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"subject_id": raw(int(row["subject_id"][1:]))} for row in rows)
    with (folder / "anime.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("subject_id", "name", "tags_name", "summary", "year"))
        writer.writerows(
            (
                raw(item),
                names.get(item, name_of(item)),
                f"tag{item % 5}; Tag{item % 7}; {HOSTILE[:4]}",
                f"story of {item % 6}",
                1990 + item if item % 8 else "",
            )
            for item in range(N_ITEMS)
        )
    (folder / "ids.tsv").write_text(f"subject_id\tsite\tid\n{raw(0)}\tbangumi\t7/8\n{raw(0)}\tsomewhere\t1\n")
    return folder


def make_config(folder: Path, names: dict[int, str] = NO_NAMES) -> dict[str, Any]:
    """Train a run of every kind of column in a folder and return its settings."""
    config = get_config(
        {
            "data_dir": str(write_served_data(folder / "data", names)),
            "saved_dir": str(folder / "saved"),
            "preset": "tuned",
            "rating_weight": 0.0,
            "model_name": "lsa",
            "lsa_dim": 8,
            "embedding_dim": 8,
            "linear_dim": 8,
            "epochs": 2,
            "temperature": 0.2,
            "batch_size": 16,
            "min_rate": 2.0,
            "device": "cpu",
        }
    )
    main.run(config)
    return config


def export(path: Path, entries: list[tuple[str, str, int]]) -> Path:
    """Write a MyAnimeList export of (subject_id, status, score)."""
    path.write_text(
        "<?xml version='1.0'?><myanimelist><myinfo><user_name>me</user_name></myinfo>"
        + "".join(
            f"<anime><series_animedb_id>{escape(title)}</series_animedb_id><my_status>{status}</my_status>"
            f"<my_score>{score}</my_score></anime>"
            for title, status, score in entries
        )
        + "</myanimelist>",
        "utf-8",
    )
    return path


@contextmanager
def running(run: FinishedRun, users: bool = False, renewal: Renewal | None = None) -> Iterator[str]:
    """Serve a run at a free port, and yield its address."""
    with listening("127.0.0.1", 0) as taken:
        app = guarded(create_app(run, users, renewal), "127.0.0.1")
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([taken],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
