"""Look at a data set before the first run: what is in it, what looks wrong, which settings suit, how long it takes.

    python tools/check.py DIR [--json] [--no_timing] [--key value ...]

DIR holds anime.tsv and interactions.tsv, or train.txt and test.txt, as for main.py --data_dir. Settings are those of
main.py. Where main.py would refuse the data with these settings, all that can be found wrong is named and the exit code
is 2. The time is that of --preset tuned, from a few steps timed here; the settings given, such as --model_name lsa,
hold for it as well.
"""

import json
import logging
import os
import shlex
import sys
import textwrap
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from config import get_config
from data_loader import Dataset, check_k, load_dataset
from llm_embedding import uses_text
from runtime.cli import Flags, run_script
from runtime.distributed import resolve_device
from runtime.settings import as_argument
from text.encoders import NO_TEXT, find_model
from tools.data_profile import profile, read_tables
from tools.run_time import Encoder, estimate
from tools.suspects import suspicious_pairs, suspicious_rows, wrong_lines
from training.losses import BATCHES

log = logging.getLogger("aglrec")

WIDTH, LABEL = 80, 24


def check(folder: Path, overrides: dict[str, Any], timing: bool) -> dict[str, Any]:
    """Look at a data set.

    Args:
        folder: of the data.
        overrides: settings, as for get_config.
        timing: whether to estimate how long a run takes.

    Returns:
        {"folder", "min_rate", "settings", "problems"}: the sentences with which main.py would stop; without any,
        {"profile", "suspects", "advice", "encoder"} as well, and with timing "seconds" of the parts of a run.

    Raises:
        ValueError: a setting is unknown or illegal.
    """
    config = get_config({**overrides, "data_dir": str(folder), "mode": "train"})
    found: dict[str, Any] = {
        "folder": str(folder),
        "min_rate": config["min_rate"],
        "settings": overrides,
        "problems": [],
    }
    with quiet():
        try:
            dataset, encoder, load_s = admit(config)
        except (OSError, ValueError) as error:
            return {
                **found,
                "problems": wrong_lines(
                    folder, str(error), lambda copy: load_dataset({**config, "data_dir": str(copy)})
                ),
            }
        tables = read_tables(folder)
        found["profile"] = profile(dataset, tables, config["min_rate"])
        kinds = suspicious_rows(folder) if tables.read else suspicious_pairs(dataset)
        found["suspects"] = [kind._asdict() for kind in kinds]
        found |= {"advice": advice(found["profile"], config, encoder), "encoder": encoder and encoder._asdict()}
        if timing:
            tuned = get_config({"preset": "tuned", **overrides, "data_dir": str(folder), "mode": "train"})
            found["seconds"] = estimate(dataset, tuned, resolve_device(tuned["device"]), encoder, load_s)
    return found


def admit(config: dict[str, Any]) -> tuple[Dataset, Encoder | None, float]:
    """Do what main.run does before its first step, but for encoding.

    Returns:
        The dataset, what would encode its texts (None without text), and the seconds that loading took.

    Raises:
        OSError, ValueError: as main.run would.
    """
    device, start = resolve_device(config["device"]), time.perf_counter()
    dataset = load_dataset(config)
    load_s = time.perf_counter() - start
    check_k(config, dataset)
    encoder = chosen_encoder(dataset, config) if uses_text(dataset, config) else None
    BATCHES[config["loss"]](dataset.train, config["batch_size"], np.random.default_rng(0), device)
    return dataset, encoder, load_s


def chosen_encoder(dataset: Dataset, config: dict[str, Any]) -> Encoder:
    """Find what open_encoder would open, and download nothing."""
    name = source = config["model_name"]
    if name != "lsa":
        try:
            source = find_model(name, config["model_revision"])
        except OSError:
            if config["encoder_fallback"] == "none":
                raise
            name = source = "lsa"
    if name == "lsa" and not any(dataset.item_texts):
        raise ValueError(NO_TEXT)
    return Encoder(name, source)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what readers log from the page, which says it itself."""
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


# --- advice ---


def advice(found: dict[str, Any], config: dict[str, Any], encoder: Encoder | None) -> list[str]:
    """Say which settings suit a data set of this profile, and why."""
    told = (
        []
        if "texts" not in found
        else [
            _split_advice(found["times"]),
            _rate_advice(found["rates"]),
            _text_advice(found["texts"], found["comments"]),
        ]
    )
    told.append("--preset tuned: what depends on the data, it decides on valid.")
    counts = found["counts"]
    if counts["users with fewer than 3 positives"] > counts["users"] / 2:
        told.append(
            f"{counts['users with fewer than 3 positives']:,} of {counts['users']:,} users have fewer than 3 "
            "positives: they stay in train, and no figure tells how well they are served."
        )
    if counts["users in test"] < 500:
        told.append(
            f"Only {counts['users in test']:,} users are in the test part: use several seeds "
            "(run_ablation.py --seeds 5), for a single run may differ by chance."
        )
    if counts["titles without a row"]:
        told.append(
            f"{counts['titles without a row']:,} titles have no row: they are recommended by their text "
            "(recommend.py --new); --cold_item_ratio 0.1 measures how well that goes."
        )
    if encoder and encoder.name != config["model_name"]:
        told.append(f"{config['model_name']} is neither on disk nor reachable: lsa would take its place.")
    elif encoder and not encoder.is_here:
        told.append(f"{encoder.name} is not on disk: the first run downloads it.")
    return told


def _split_advice(times: dict[str, Any]) -> str:
    if times["share"] < 0.5:
        return (
            f"--split random: {_percent(times['share'])} of the rows have a time, and user_time takes the others "
            "in random order, as older than all."
        )
    if times["distinct"] < 0.5:
        return (
            f"--split random: only {_percent(times['distinct'])} of the rows with a time differ in it from the "
            "others of their user, which have no order among themselves."
        )
    return (
        f"--split user_time (the default): {_percent(times['share'])} of the rows have a time, and "
        f"{_percent(times['distinct'])} of these one of its own among those of their user."
    )


def _rate_advice(rates: dict[str, Any]) -> str:
    if rates["unrated"] > 0.5:
        return (
            f"--min_rate 0: {_percent(rates['unrated'])} of the rows are unrated, and with 1 they would be no "
            "positives."
        )
    return f"--min_rate 1 (the default): {_percent(1 - rates['unrated'])} of the rows have a rate."


def _text_advice(texts: dict[str, float], comments: dict[str, Any]) -> str:
    if texts["nothing"] == 1:
        return (
            "--fusion_mode none: no title has a text."
            if not comments["share"]
            else ("Only users have texts: --use_item_llm false, with an encoder that is no lsa.")
        )
    about = max(texts["summary"], texts["tags"])
    if about < 0.5:
        return (
            f"Text tells little: {_percent(texts['summary'])} of the titles have a summary and "
            f"{_percent(texts['tags'])} tags; compare with --fusion_mode none."
        )
    return (
        f"Text pays, for new titles above all: {_percent(texts['summary'])} of the titles have a summary and "
        f"{_percent(texts['tags'])} tags."
    )


def command(found: dict[str, Any]) -> str:
    """Return the command of a first run, with the settings that were given and those that differ from the defaults."""
    advised = [told.split(":")[0] for told in found["advice"] if told.startswith("--") and "(the default)" not in told]
    given = {flag: value for flag, value in found["settings"].items() if flag != "data_dir"}
    words = [f"--{key} {shlex.quote(as_argument(value))}" for key, value in given.items()]
    words += [advice for advice in advised if advice.split()[0].removeprefix("--") not in given]
    return " ".join(["python main.py --data_dir", shlex.quote(found["folder"]), *words])


# --- the page ---


def page(found: dict[str, Any]) -> str:
    """Lay out what was found, 80 columns wide."""
    if found["problems"]:
        lines = [f"{found['folder']}: main.py would refuse it", ""]
        for problem in found["problems"]:
            lines += _wrapped(f"- {problem}", 2)
        return "\n".join([*lines, "", "Mend this and look again: more may come to light behind it."])
    told = found["profile"]
    lines = [found["folder"], *_counts(told, found["min_rate"])]
    if "texts" in told:
        lines += [*_rates(told["rates"]), *_times(told["times"]), *_texts(told["texts"], told["comments"])]
    lines += ["", "worth a look" if found["suspects"] else "nothing looks wrong"]
    for kind in found["suspects"]:
        lines += _wrapped(f"{kind['what']}: {kind['count']:,} ({kind['note']})", 4, 2)
        lines += [_cut(f"      {example}") for example in kind["examples"]]
        lines += ["      ..."] * (kind["count"] > len(kind["examples"]))
    lines += ["", "advice"]
    for sentence in found["advice"]:
        lines += _wrapped(sentence, 4, 2)
    lines += ["", "next", " \\\n".join(_wrapped(command(found), 6, 2, WIDTH - 2))]  # as a shell takes it
    return "\n".join(lines + (["", *_seconds(found["seconds"], found["encoder"])] if "seconds" in found else []))


def _counts(told: dict[str, Any], min_rate: float) -> list[str]:
    counts = told["counts"]
    parts = ", ".join(
        f"{counts[name]:,} {name}" for name in ("train", "valid", "test", "cold_valid", "cold_test") if counts[name]
    )
    positive = f"rate {min_rate:g} or more" if "rates" in told else "all pairs"
    return [
        _row("users", f"{counts['users']:,}"),
        _row("titles", f"{counts['titles']:,}, {counts['titles without a row']:,} of them without any row"),
        _row(
            "rows",
            f"{counts['rows']:,}" + f", of which {counts['pairs']:,} are used" * (counts["rows"] != counts["pairs"]),
        ),
        *[_row("known only", f"{counts['known only']:,} pairs of known.tsv: no positives, never listed")]
        * (counts["known only"] > 0),
        _row("positives", f"{counts['positives']:,} ({positive}): {parts}"),
        _row("sparsity", f"{1 - counts['density']:.3%} of all pairs are not there"),
        _row("rows of a user", _quartiles(told["rows per user"])),
        _row("rows of a title", _quartiles(told["rows per title"])),
    ]


def _rates(rates: dict[str, Any]) -> list[str]:
    lines = ["", "rates", _row("unrated", _percent(rates["unrated"]))]
    total = sum(rates["counts"].values())
    lines += [
        _row(rate, f"{_percent(n / total):>5s} {'#' * round(40 * n / max(rates['counts'].values()))}")
        for rate, n in rates["counts"].items()
    ]
    return lines


def _times(times: dict[str, Any]) -> list[str]:
    lines = ["", "times", _row("rows with a time", _percent(times["share"]))]
    if times["share"]:
        often = times["most frequent"]
        lines += [
            _row("range", f"{times['first']} to {times['last']}"),
            _row("of its own", f"{_percent(times['distinct'])}: no other row of the user has the same"),
            _row("most frequent", f"{often['time']}, {_percent(often['share'])} of the rows with a time"),
        ]
    return lines


def _texts(texts: dict[str, Any], comments: dict[str, Any]) -> list[str]:
    lines = ["", "text"]
    lines += [_row(f"titles with {part}", _percent(texts[part])) for part in ("name", "tags", "summary")]
    lines += [
        _row("tags of a title", _quartiles(texts["tags of a title"])),
        _row("characters of a summary", _quartiles(texts["summary length"])),
        _row("scripts of titles", _scripts(texts["scripts"])),
        _row("rows with a comment", _percent(comments["share"])),
    ]
    if comments["share"]:
        lines += [
            _row("characters of a comment", _quartiles(comments["length"])),
            _row("scripts of comments", _scripts(comments["scripts"])),
        ]
    return lines


def _seconds(seconds: dict[str, float], encoder: dict[str, str] | None) -> list[str]:
    minutes = sum(seconds.values()) / 60
    busy = hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1)
    lines = [
        f"a run of --preset tuned here: about {_minutes(minutes)}",
        *_wrapped(", ".join(f"{name} {took:,.0f} s" for name, took in seconds.items()), 2, 2),
    ]
    if busy:
        lines += _wrapped("other programs keep this machine busy just now; without them it takes less", 2, 2)
    if encoder and not Encoder(**encoder).is_here:
        lines += _wrapped(
            f"and the download of {encoder['name']}, and its encoding of all texts: give this command "
            "again once it is on disk",
            2,
            2,
        )
    return lines


def _minutes(minutes: float) -> str:
    whole = max(1, round(minutes))
    return f"{whole} minute{'s' * (whole > 1)}" if whole < 120 else f"{minutes / 60:.0f} hours"


def _row(label: str, text: str) -> str:
    label = f"  {label}"
    lines = textwrap.wrap(text, WIDTH - LABEL - 2) or ["-"]
    return "\n".join(
        [label + " " * max(1, LABEL + 2 - _width(label)) + lines[0], *(" " * (LABEL + 2) + line for line in lines[1:])]
    )


def _quartiles(found: dict[str, float]) -> str:
    if not found:
        return "-"
    least, quarter, median, three, most = (f"{value:,.0f}" for value in found.values())
    return f"median {median}, half from {quarter} to {three}, all from {least} to {most}"


def _scripts(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {_percent(share)}" for name, share in found.items())


def _percent(share: float) -> str:
    """Write a share without rounding to nothing or to all what is neither."""
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def _width(text: str) -> int:
    """Count columns on a terminal: two for what is as wide as a Chinese character, none for a combining mark."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text
    )


def _cut(text: str) -> str:
    """Cut text to the width of the page."""
    if _width(text) <= WIDTH:
        return text
    while _width(text) > WIDTH - 1:
        text = text[:-1]
    return text + "\u2026"


def _wrapped(text: str, indent: int, first: int = 0, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def main() -> None:
    flags = Flags(__doc__)
    flags.add_argument("folder", type=Path, metavar="DIR", help="the folder with the data")
    flags.add_argument("--json", action="store_true", help="print what was found as JSON")
    flags.add_argument("--no_timing", action="store_true", help="do not time steps of a run")
    asked, overrides = flags.read()
    found = check(asked.folder, overrides, not asked.no_timing)
    log.info(json.dumps(found, ensure_ascii=False, indent=1) if asked.json else page(found))
    if found["problems"]:
        raise ValueError(found["problems"][0])


if __name__ == "__main__":
    sys.exit(run_script(main))
