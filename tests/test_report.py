"""The page: what it shows, that it shows it right, and that it opens in a real browser."""

import json
import re
import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chromium import browser
from conftest import write_data
from markupsafe import escape

from config import get_config
from main import run
from run_ablation import summary
from web import charts
from web.report_files import read_saved
from web.report_page import write_report
from web.report_training import curves

RUN, ABLATION, CURVE = "python main.py", "python run_ablation.py", "python studies/learning_curve.py"
COLD = "python run_ablation.py --cold_item_ratio 0.1"
NASTY = "<script>alert(1)</script>&\"'"
TAGS = ("popularity", "sum-none", "sum-both")
SERIES = {"with <b>text</b>": (0.0812, 0.1234), "without": (0.0431, 0.1198)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved/ folder with every part, made by a real run; ids and titles on it are hostile."""
    root = tmp_path_factory.mktemp("report")
    data = write_data(root / "data", n_users=40, n_items=30)
    for name in ("anime.tsv", "interactions.tsv"):
        text = (data / name).read_text(encoding="utf-8")
        text = text.replace("title 3\t", '"' + NASTY.replace('"', '""') + '"\t').replace("\nu", "\n<i>u")
        (data / name).write_text(text, encoding="utf-8")
    metrics = run(
        get_config(
            {
                "data_dir": str(data),
                "saved_dir": str(root / "saved"),
                "model_name": "lsa",
                "lsa_dim": 8,
                "embedding_dim": 8,
                "epochs": 3,
                "batch_size": 64,
                "device": "cpu",
                "cold_item_ratio": 0.2,
                "min_rate": 3.0,
            }
        )
    )
    _compare(root / "saved", metrics)
    (root / "saved" / "sparsity").mkdir()
    series = {label: [{"mean": mean, "sd": 0.0123} for mean in means] for label, means in SERIES.items()}
    (root / "saved" / "sparsity" / "results.json").write_text(
        json.dumps({"metric": "NDCG@20", "n": [1, 20], "series": series, "n_seeds": 2}), encoding="utf-8"
    )
    trials = [
        {"number": n, "state": state, "valid": 0.1 + n / 100, "lr": 0.01 * n}
        for n, state in enumerate(("complete", "pruned", "complete"))
    ]
    (root / "saved" / "tuning").mkdir()
    (root / "saved" / "tuning" / "tuning.json").write_text(
        json.dumps({"metric": "NDCG@20", "trials": trials, "importance": {"lr": 1.0}}), encoding="utf-8"
    )
    return root / "saved"


def _compare(saved: Path, metrics: dict[str, Any]) -> None:
    """Write ablation/ as run_ablation.py does, with two seeds that differ a little."""
    rows = []
    for tag in TAGS:
        runs = []
        for number in range(2):
            folder = saved / "ablation" / tag / f"seed_{number}"
            folder.mkdir(parents=True)
            mine = json.loads(json.dumps(metrics))
            for part, more in (("warm", 1), ("test", 2)):  # of which each is a figure of its own
                mine[part] = {key: value * (more + 0.1 * number + TAGS.index(tag)) for key, value in mine[part].items()}
            if tag == "popularity":
                mine = {**mine, "encoder": {"used": None}, "point": {"l2": 200}}
                del mine["config"]
            else:
                shutil.copy(saved / "history.jsonl", folder)
                mine["config"] |= {
                    "fusion_mode": "sum",
                    "lr": 0.01 if tag == "sum-both" else 0.001,
                    "saved_dir": str(folder),
                }
            (folder / "metrics.json").write_text(json.dumps(mine), encoding="utf-8")
            runs.append({**mine, "beyond": {"Coverage": 0.5}, "folder": str(folder)})
        rows.append({**summary(tag, {}, runs), "gain": None, "p": None})
    rows[2] |= {"gain": 0.0345, "p": 0.0021}
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")


@pytest.fixture
def saved(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil; that it has moved is a part of the test."""
    return Path(shutil.copytree(whole, tmp_path / "saved"))


class Page(HTMLParser):
    """Reads tables (caption -> lines of cells) and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.lines: list[list[str]] = []
        self.caption = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("meta", "path", "rect") or "svg" in self.open:
            self.open.append(tag)
        if tag == "table":
            self.lines, self.caption = [], ""
        if tag == "tr":
            self.lines.append([])
        if tag in ("th", "td"):
            self.lines[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self.caption] = self.lines

    def handle_data(self, data: str) -> None:
        if "caption" in self.open:
            self.caption += data
        elif {"th", "td"} & set(self.open):
            self.lines[-1][-1] += data

    def table(self, start: str) -> dict[str, dict[str, str]]:
        """Return first cell -> header -> cell of the table whose caption starts so."""
        head, *lines = next(lines for caption, lines in self.tables.items() if caption.startswith(start))
        return {line[0]: dict(zip(head, line, strict=True)) for line in lines}


def page_of(folder: Path, **options: Any) -> tuple[str, Page]:
    text = write_report(folder, **options).read_text(encoding="utf-8")
    return text, Page(text)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# --- what it says ---


def test_every_part_is_there(saved: Path) -> None:
    text, _ = page_of(saved)
    assert 'class="missing"' not in text
    groups = [group for side in read(saved / "metrics.json")["groups"].values() for group in side.values()]
    n_groups = sum("NDCG@20" in group for group in groups)
    assert 0 < n_groups < len(groups)
    # curves, comparison, groups, cold start, sparse data
    assert text.count('<svg viewBox="0 0 340') == 2 + 2 + n_groups + 2 + 1
    assert 'class="warn"' not in text


def test_figures_are_those_of_the_json(saved: Path) -> None:
    _, page = page_of(saved)
    figures, metrics = page.table("Means"), read(saved / "metrics.json")
    for row in read(saved / "ablation" / "results.json"):
        for part in ("warm", "test", "valid", "beyond"):
            for key, number in row[part].items():
                assert figures[row["tag"]][f"{part} {key}"] == f"{number['mean']:.4f} ± {number['sd']:.4f}"
        for part in ("warm", "joint"):
            number = row["listed"][part]["NDCG@20"]
            assert figures[row["tag"]][f"listed {part} NDCG@20"] == f"{number['mean']:.4f} ± {number['sd']:.4f}"
        number = row["cold"]["among_all"]["Recall@10"]
        assert figures[row["tag"]]["cold among all Recall@10"] == f"{number['mean']:.4f} ± {number['sd']:.4f}"
        assert figures[row["tag"]]["train s"] == f"{row['train_s']['mean']:.1f}"
        assert figures[row["tag"]]["seeds"] == "2"
    assert figures["sum-both"]["gain"] == "+0.0345"
    assert figures["sum-both"]["p"] == "0.002"
    head = page.table("Epochs and rows")
    for part in ("warm", "test"):
        for key, value in metrics[part].items():
            assert head[f"{part} {key}"][f"this run, epoch {metrics['epoch']}"] == f"{value:.4f}"
    sparse = page.table("Test NDCG@20 by train rows")
    assert sparse["with <b>text</b>"] == {"row": "with <b>text</b>", "1": "0.0812 ± 0.0123", "20": "0.1234 ± 0.0123"}


def test_the_best_rows_are_chosen_on_valid(saved: Path) -> None:
    rows = read(saved / "ablation" / "results.json")
    rows[1]["valid"]["NDCG@20"]["mean"] += 0.5  # sum-none, the worse of the two on test
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    head = page_of(saved)[1].table("Epochs and rows")
    for part in ("warm", "test"):
        line = head[f"{part} NDCG@20"]
        assert line["best row: sum-none"].startswith(f"{rows[1][part]['NDCG@20']['mean']:.4f}")
        assert line["best baseline: popularity"].startswith(f"{rows[0][part]['NDCG@20']['mean']:.4f}")


def test_rows_are_compared_among_titles_with_a_history(saved: Path) -> None:
    rows, page = read(saved / "ablation" / "results.json"), page_of(saved)[1]
    gains = page.table("Gain in warm NDCG@20")
    for row in rows:
        number = row["warm"]["NDCG@20"]
        assert gains[row["tag"]]["NDCG@20"] == f"{number['mean']:.4f} ± {number['sd']:.4f}"
    assert (gains["sum-both"]["gain"], gains["sum-both"]["p"]) == ("+0.0345", "0.002")


def test_one_seed_has_a_gain_without_a_p(saved: Path) -> None:
    rows = read(saved / "ablation" / "results.json")
    for row in rows:
        row["n_seeds"] = 1
    rows[2] |= {"gain": 0.0345, "p": None}
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    page = page_of(saved)[1]
    for table in (page.table("Gain in warm"), page.table("Means")):
        assert table["sum-both"]["gain"] == "+0.0345"
        assert table["sum-both"]["p"] == table["sum-none"]["p"]  # that of a row which is not tested at all
        assert not any(character.isdigit() for character in table["sum-both"]["p"])


def test_a_group_that_some_rows_lack_is_shown_for_the_others(saved: Path) -> None:
    """A group may be empty in all runs of a row and not in those of another, and then it has no metrics there."""
    rows = read(saved / "ablation" / "results.json")
    group = next(name for name, found in rows[0]["groups"]["users"].items() if "NDCG@20" in found)
    rows[1]["groups"]["users"][group] = {"n_users": {"mean": 0.0, "sd": 0.0}}
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    text, _ = page_of(saved)
    figure = re.search(rf"<figure><figcaption>{re.escape(str(escape(group)))} \(.*?</figure>", text).group()
    assert [tag in figure for tag in TAGS] == [True, False, True]


def test_bars_start_at_0_and_are_as_long_as_their_figures(saved: Path) -> None:
    text, _ = page_of(saved)
    figure = re.search(r"<figure><figcaption>warm NDCG@20</figcaption>.*?</figure>", text).group()
    bars = re.findall(r'<rect class="bar( base)?" x="8" y="\d+" width="([\d.]+)"', figure)
    numbers = [row["warm"]["NDCG@20"] for row in read(saved / "ablation" / "results.json")]
    scale = float(bars[-1][1]) / numbers[-1]["mean"]
    assert [kind for kind, _ in bars] == [" base", "", ""]
    assert [float(width) for _, width in bars] == pytest.approx([n["mean"] * scale for n in numbers], abs=0.1)
    ends = re.findall(r'class="error" d="M([\d.]+),\d+H([\d.]+)', figure)
    assert [(float(b) - float(a)) / 2 for a, b in ends] == pytest.approx([n["sd"] * scale for n in numbers], abs=0.1)


def test_a_line_passes_through_its_points(saved: Path) -> None:
    text, _ = page_of(saved)
    group = re.search(r"<title>without</title>.*?</g>", text).group()
    (_, y_0), (_, y_1) = re.findall(r"([\d.]+),([\d.]+)", re.search(r'd\d" d="M(.*?)"', group).group(1))
    ticks = {
        float(value): float(y) - 4
        for y, value in re.findall(
            r'text-anchor="end" x="39" y="([\d.]+)">([\d.]+)<', text[text.index("by train rows a user keeps") - 9999 :]
        )
    }
    low, high = ticks[0.0], ticks[0.05]
    assert [(low - float(y)) / (low - high) * 0.05 for y in (y_0, y_1)] == pytest.approx(SERIES["without"], abs=0.001)


def test_settings_that_differ_are_named(saved: Path) -> None:
    table = page_of(saved)[1].table("How the rows differ")
    assert {tag: line["differs in"] for tag, line in table.items()} == {
        "this run": "fusion_mode concat",
        "popularity": "l2 200",
        "sum-none": "nothing",
        "sum-both": "lr 0.01",
    }


def test_hits_are_those_of_an_independent_ranking(saved: Path) -> None:
    text, _ = page_of(saved)
    ids = read(saved / "id_mappings.json")
    scores = (torch.load(saved / "user_emb.pt") @ torch.load(saved / "item_emb.pt").T).numpy()
    with np.load(saved / "splits.npz") as parts:
        assert len(parts["excluded"])
        for part in ("train", "valid", "excluded"):
            scores[tuple(parts[part].T)] = -np.inf
        test, train = parts["test"], parts["train"]
    k, shown = max(read(saved / "metrics.json")["config"]["top_k"]), 0
    for user, raw in enumerate(ids["user_ids"]):
        found = re.search(
            rf"User <bdi>{re.escape(str(escape(raw)))}</bdi></b>: (\d+) collected in train, "
            r"test hits: (\d+) of (\d+)<",
            text,
        )
        if found:
            wanted, best = test[test[:, 0] == user, 1], np.argsort(-scores[user])[:k].tolist()
            ranks = [rank for rank, item in enumerate(best, start=1) if item in wanted]
            assert [int(n) for n in found.groups()] == [(train[:, 0] == user).sum(), len(ranks), len(wanted)]
            card = text[found.start() : text.index("</details>", found.start())]
            assert [int(rank) for rank in re.findall(r'"hit">✓ (\d+)<', card)] == ranks
            shown += 1
    assert shown == 20
    activity = np.bincount(train[:, 0])
    counts = [int(count) for count in re.findall(r": (\d+) collected in train", text)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (activity.max(), activity.min())
    assert text.count('<span class="hit">') > 1


def test_titles_come_from_the_argument_the_lists_or_the_file(saved: Path) -> None:
    lists = read(saved / "recommendations.json")
    for titles in lists.values():
        titles[:] = [title for title in titles if title["subject_id"] != "s5"]
    (saved / "recommendations.json").write_text(json.dumps(lists), encoding="utf-8")
    assert "<bdi>title 5</bdi>" in page_of(saved)[0]  # anime.tsv
    assert "<bdi>my 5</bdi>" in page_of(saved, item_names={"s5": "my 5"})[0]
    metrics = read(saved / "metrics.json")
    metrics["config"]["data_dir"] = "gone"
    (saved / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    text = page_of(saved)[0]
    assert "<bdi>s5</bdi>" in text
    assert "<bdi>title 6</bdi>" in text


# --- what it must not do ---


def test_titles_and_ids_cannot_inject(saved: Path) -> None:
    metrics = read(saved / "metrics.json")
    metrics["config"]["model_name"] = metrics["encoder"]["requested"] = metrics["versions"][NASTY] = NASTY
    (saved / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    text, page = page_of(saved, item_names={"s4": NASTY})
    assert escape(NASTY) in text
    assert "User <bdi>&lt;i&gt;u" in text
    assert not page.seen & {"script", "i", "img", "iframe", "link", "object"}
    assert "<b>text" not in text


def test_half_a_surrogate_pair_is_no_failure(saved: Path) -> None:
    assert "<bdi>a?</bdi>" in page_of(saved, item_names={f"s{i}": "a\ud800" for i in range(30)})[0]


def test_the_page_is_self_contained(saved: Path) -> None:
    text, _ = page_of(saved)
    assert not re.search(r"\b(src|href|action|data)\s*=\s*(?![\"']?#)", text)
    assert not re.search(r"https?:|@import|url\(|<script|<link|<img", text)
    assert "default-src 'none'" in text
    assert 'name="viewport"' in text
    assert "prefers-color-scheme:dark" in text


def test_nothing_on_disk_runs(saved: Path) -> None:
    (saved / "train_user_dict.pkl").write_bytes(b"cos\nsystem\n(S'touch " + bytes(saved / "ran") + b"'\ntR.")
    write_report(saved)
    (saved / "user_emb.pt").write_bytes((saved / "train_user_dict.pkl").read_bytes())
    with pytest.raises(ValueError, match="user_emb.pt"):
        write_report(saved)
    assert not (saved / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "metrics.json",
        "history.jsonl",
        "recommendations.json",
        "ablation/results.json",
        "sparsity/results.json",
        "ablation/sum-both/seed_0/history.jsonl",
    ],
)
def test_a_damaged_file_is_named_and_the_old_page_stays(name: str, saved: Path) -> None:
    if name == "history.jsonl":
        shutil.rmtree(saved / "ablation")
    before = write_report(saved).read_bytes()
    (saved / name).write_text('{"test": ', encoding="utf-8")
    with pytest.raises(ValueError, match=Path(name).name):
        write_report(saved)
    assert (saved / "report.html").read_bytes() == before
    assert not list(saved.glob("*.tmp"))


def test_the_page_is_written_whole_or_not_at_all(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_report(saved).read_bytes()
    monkeypatch.setattr("runtime.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        write_report(saved, {"s1": "other"})
    assert (saved / "report.html").read_bytes() == before
    assert not list(saved.glob("*.tmp"))


# --- what is missing ---


@pytest.mark.parametrize(
    ("gone", "command"),
    [
        ("metrics.json", RUN),
        ("recommendations.json", RUN),
        ("id_mappings.json", RUN),
        ("splits.npz", RUN),
        ("user_emb.pt", RUN),
        ("ablation", ABLATION),
        ("sparsity", CURVE),
        ("tuning", "python tune.py"),
    ],
)
def test_a_missing_part_names_the_command(gone: str, command: str, saved: Path) -> None:
    (shutil.rmtree if (saved / gone).is_dir() else Path.unlink)(saved / gone)
    text, _ = page_of(saved)
    assert f"<code>{command}</code>" in text
    assert len(text) > 15_000


def test_an_empty_folder_gives_a_page(tmp_path: Path) -> None:
    text, _ = page_of(tmp_path / "saved")
    assert all(f"<code>{command}</code>" in text for command in (RUN, ABLATION, COLD, CURVE))
    assert "<svg" not in text


def test_a_run_alone_has_curves_groups_and_figures(saved: Path) -> None:
    shutil.rmtree(saved / "ablation")
    text, page = page_of(saved)
    metrics = read(saved / "metrics.json")
    for part in ("warm", "test"):
        assert page.table("Means")["this run"][f"{part} NDCG@20"] == f"{metrics[part]['NDCG@20']:.4f}"
    assert "valid NDCG@20" in text
    group = metrics["groups"]["users"]["6-20"]
    assert re.search(rf"6-20 \({group['n_users']} users\)</text><text[^>]*>{group['NDCG@20']:.4f}<", text)
    assert "<code>python run_ablation.py --seeds 3</code>" in text


def test_epochs_that_were_not_evaluated_have_a_loss_alone(saved: Path) -> None:
    shutil.rmtree(saved / "ablation")
    lines = [
        {
            "epoch": epoch,
            "loss": 1 / epoch,
            "seconds": 1.0,
            **({"NDCG@20": epoch / 10, "NDCG@10": 0.3} if epoch % 3 == 0 else {}),
        }
        for epoch in range(1, 7)
    ]
    (saved / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (saved / "manifest.json").unlink()
    valid, loss = curves(read_saved(saved))[1]["charts"]
    assert [len(chart["lines"][0]["marks"]) for chart in (valid, loss)] == [2, 6]
    assert [is_best for *_, is_best in valid["lines"][0]["marks"]] == [False, True]


def test_rows_without_cold_titles_or_histories(saved: Path) -> None:
    rows = read(saved / "ablation" / "results.json")
    for row in rows:
        row["cold"] = {}
    (saved / "ablation" / "results.json").write_text(json.dumps(rows), encoding="utf-8")
    for path in (saved / "ablation").rglob("history.jsonl"):
        path.unlink()
    text, _ = page_of(saved)
    assert COLD in text
    assert "No epochs" in text


def test_another_encoder_than_asked_for_is_loud(saved: Path) -> None:
    metrics = read(saved / "metrics.json")
    metrics["encoder"]["requested"] = "BAAI/bge-m3"
    metrics["data"]["fingerprint"] = "other"
    (saved / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    text, _ = page_of(saved)
    assert re.search(r'class="warn" role="note">[^<]*lsa[^<]*BAAI/bge-m3[^<]*this run', text)
    assert re.search(r'class="warn" role="note">[^<]*same data', text)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 1), (0.64, 0.69), (0, 0.19), (3, 3), (0, 12345), (1e-6, 2e-6)])
def test_ticks_are_few_even_and_enclose(low: float, high: float) -> None:
    ticks = charts.ticks(low, high)
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert 2 <= len(ticks) <= 6
    assert np.diff(ticks) == pytest.approx(ticks[1] - ticks[0], rel=1e-3)


def test_a_loss_that_is_no_number_leaves_a_gap(saved: Path) -> None:
    shutil.rmtree(saved / "ablation")
    lines = [json.loads(line) for line in (saved / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    lines[1]["loss"] = float("nan")
    (saved / "history.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert not re.search(r"(?<![a-z])nan(?![a-z])", page_of(saved)[0])


# --- in a browser ---


def browse(page: Path, width: int, height: int, *options: str) -> tuple[str, str]:
    """Open a page; returns what the browser wrote to stdout, and the lines of its console."""
    done = subprocess.run(
        [
            browser(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            f"--user-data-dir={page.parent / 'browser'}",
            f"--window-size={width},{height}",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def pixels(path: Path) -> np.ndarray:
    """Decode an 8-bit PNG without interlacing to (h, w, channels)."""
    data, place, body = path.read_bytes(), 8, b""
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", data[place + 8 : place + 18])
        if kind == b"IDAT":
            body += data[place + 8 : place + 8 + size]
        place += 12 + size
    depth = {2: 3, 6: 4}[colour]
    raw = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + width * depth).astype(int)
    rows = [[0] * width * depth]
    for kind, line in zip(raw[:, 0], raw[:, 1:], strict=True):
        rows.append(unfiltered(int(kind), line, rows[-1], depth))
    return np.array(rows[1:], np.uint8).reshape(height, width, depth)


def unfiltered(kind: int, line: np.ndarray, above: list[int], depth: int) -> list[int]:
    """Undo a row filter of PNG (section 9.2 of its specification)."""
    if kind < 3:
        done = (line, line.reshape(-1, depth).cumsum(axis=0).ravel(), line + np.array(above))[kind]
        return (done % 256).tolist()
    out = [0] * depth
    upper = [0] * depth + above
    for x, value in enumerate(line.tolist()):
        a, b, c = out[x], upper[x + depth], upper[x]
        guess = (a + b) // 2 if kind == 3 else min((a, b, c), key=lambda near: abs(a + b - c - near))
        out.append((value + guess) % 256)
    return out[depth:]


MEASURE = """<script>addEventListener("load", () => {
const all = query => [...document.querySelectorAll(query)], box = node => node.getBoundingClientRect();
const texts = all("figure svg text"), outside = (a, b) => a.left < b.left - 1 || a.right > b.right + 1;
parent.postMessage(JSON.stringify({inner: innerWidth, page: document.documentElement.scrollWidth,
text: Math.min(...texts.map(t => box(t).height)),
clipped: texts.filter(t => outside(box(t), box(t.ownerSVGElement))).length,
scrolling: all(".scroll").filter(d => d.scrollWidth > d.clientWidth).length}), "*"); })</script></body>"""
FRAME = """<title>none</title><script>addEventListener("message", event => { document.title = event.data })</script>
<iframe src="probe.html" style="border:0;width:WIDTHpx;height:900px"></iframe>"""


def measure(page: Path, width: int) -> dict[str, float]:
    """Lay a copy of the page out in a frame, since no browser window is as narrow as a phone, and measure it there."""
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8")).replace("</body>", MEASURE)
    (page.parent / "probe.html").write_text(text, encoding="utf-8")
    frame = page.parent / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    found, _ = browse(frame, 1400, 900, "--dump-dom", "--virtual-time-budget=2000")
    return json.loads(re.search(r"<title>(.*?)</title>", found).group(1))


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
def test_the_page_opens_in_a_browser(saved: Path) -> None:
    page, looks = write_report(saved), {}
    for width, height, scheme in ((360, 800, 1), (1280, 900, 0)):
        picture = saved / f"{width}.png"
        _, console = browse(
            page, width, height, f"--screenshot={picture}", f"--blink-settings=preferredColorScheme={scheme}"
        )
        assert console == ""
        looks[width] = pixels(picture)
        assert looks[width].shape[:2] == (height, width)
        assert len(np.unique(looks[width].reshape(-1, looks[width].shape[2]), axis=0)) > 100
        found = measure(page, width)
        assert found["inner"] == width
        assert found["page"] <= width
        assert found["text"] >= 11  # of the line box: letters of about 10 px
        assert found["clipped"] == 0
    assert found["scrolling"] <= 1  # the table of all figures
    assert looks[360].mean() > 200  # light
    assert looks[1280].mean() < 60  # dark


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
def test_the_browser_test_sees_a_script_that_is_refused(saved: Path) -> None:
    page = write_report(saved)
    page.write_text(page.read_text(encoding="utf-8").replace("</main>", "<script>1</script></main>"), encoding="utf-8")
    assert "Content Security Policy" in browse(page, 360, 800, "--dump-dom")[1]
