"""Look at a data set before the first run: what is in it, what looks wrong, which settings suit, how long it takes.

    python tools/check.py DIR [--json] [--no_timing] [--key value ...]

DIR holds anime.tsv and interactions.tsv, or train.txt and test.txt, as for main.py --data_dir. Settings are those of
main.py. Where main.py would refuse the data with these settings, all that can be found wrong is named and the exit code
is 2. The time is that of --preset tuned, from a few steps timed here; the settings given, such as --model_name lsa,
hold for it as well.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from config import get_config
from data_loader import Dataset, check_k, load_dataset
from llm_embedding import uses_text
from runtime.cli import Flags, run_script
from runtime.distributed import resolve_device
from runtime.encodings import unmarked_text_in
from text.encoders import NO_TEXT
from text.hub import find_model
from text.server import PREFIX
from tools.check_page import page, percent
from tools.data_profile import profile, read_tables
from tools.run_time import Encoder, estimate
from tools.suspects import suspicious_pairs, suspicious_rows, wrong_lines
from training.losses import epoch_batches

log = logging.getLogger("aglrec")

GIVEN = "--split given (the default): the column part has a split as published, to which min_rate does not apply."


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
    found = {"folder": str(folder), "min_rate": config["min_rate"], "settings": overrides}
    with unmarked_text_in(config["encoding"]):
        return found | _checked(folder, config, overrides, timing)


def _checked(folder: Path, config: dict[str, Any], overrides: dict[str, Any], timing: bool) -> dict[str, Any]:
    """Return what check says beyond the settings."""
    found: dict[str, Any] = {}
    level = log.level
    log.setLevel(logging.ERROR)  # the page says itself what the readers log
    try:
        dataset, encoder, load_s = admit(config)
        tables = read_tables(folder)
        figures = profile(dataset, tables, config["min_rate"])
        kinds = suspicious_rows(folder) if tables.read else suspicious_pairs(dataset)
        found |= {"problems": [], "profile": figures, "suspects": [kind._asdict() for kind in kinds]}
        found |= {"advice": advice(figures, config, encoder), "encoder": encoder and encoder._asdict()}
        if timing:
            tuned = get_config({"preset": "tuned", **overrides, "data_dir": str(folder), "mode": "train"})
            found["seconds"] = estimate(dataset, tuned, resolve_device(tuned["device"]), encoder, load_s)
    except (OSError, ValueError) as error:
        if "problems" in found:
            raise
        in_utf_8 = {**config, "encoding": ""}
        problems = wrong_lines(folder, str(error), lambda copy: load_dataset({**in_utf_8, "data_dir": str(copy)}))
        found["problems"] = problems
    finally:
        log.setLevel(level)
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
    epoch_batches(dataset.train, config, np.random.default_rng(0), device)
    return dataset, encoder, load_s


def chosen_encoder(dataset: Dataset, config: dict[str, Any]) -> Encoder:
    """Find what open_encoder would open, and download nothing."""
    name = source = config["model_name"]
    if name != "lsa" and not name.startswith(PREFIX):
        try:
            source = find_model(name, config["model_revision"])
        except OSError:
            if config["encoder_fallback"] == "none":
                raise
            name = source = "lsa"
    if name == "lsa" and not any(dataset.item_texts):
        raise ValueError(NO_TEXT)
    return Encoder(name, source)


def advice(found: dict[str, Any], config: dict[str, Any], encoder: Encoder | None) -> list[str]:
    """Say which settings suit a data set of this profile, and why."""
    counts, lines = found["counts"], []
    if "texts" in found:
        is_given = found["split"] == "given"
        lines += [GIVEN] if is_given else [_split_advice(found["times"]), _rate_advice(found["rates"])]
        lines.append(_text_advice(found["texts"], found["comments"]))
    lines.append("--preset tuned: it chooses on valid what depends on the data.")
    if counts["users with fewer than 3 positives"] > counts["users"] / 2:
        lines.append(
            f"{counts['users with fewer than 3 positives']:,} of {counts['users']:,} users have fewer than 3 "
            "positives: they stay in train, and no figure shows how well their lists are."
        )
    if counts["users in test"] < 500:
        lines.append(
            f"Only {counts['users in test']:,} users are in the test part: use several seeds "
            "(run_ablation.py --seeds 5), since a single run may differ by chance."
        )
    if counts["titles without a row"]:
        lines.append(
            f"{counts['titles without a row']:,} titles have no row: they are recommended by their text "
            "(recommend.py --new); --cold_item_ratio 0.1 measures how well that goes."
        )
    if encoder and encoder.name != config["model_name"]:
        lines.append(f"{config['model_name']} is neither on disk nor reachable: lsa would take its place.")
    elif encoder and encoder.name.startswith(PREFIX):
        lines.append(f"{encoder.name}: texts are sent to {config['encoder_url']}, for which no time is estimated.")
    elif encoder and not encoder.is_here:
        lines.append(f"{encoder.name} is not on disk: the first run downloads it.")
    return lines


def _split_advice(times: dict[str, Any]) -> str:
    if times["share"] < 0.5:
        return (
            f"--split random: {percent(times['share'])} of the rows have a time; user_time would put the others "
            "in random order, as older than all."
        )
    if times["distinct"] < 0.5:
        return (
            f"--split random: only {percent(times['distinct'])} of the rows with a time have one that no other row "
            "of their user has; the others cannot be ordered."
        )
    return (
        f"--split user_time (the default): {percent(times['share'])} of the rows have a time, and "
        f"{percent(times['distinct'])} of these one that no other row of their user has."
    )


def _rate_advice(rates: dict[str, Any]) -> str:
    if rates["unrated"] > 0.5:
        return f"--min_rate 0: {percent(rates['unrated'])} of the rows are unrated; with 1 they would be no positives."
    if rates["advised"] is not None:
        return f"--min_rate {rates['advised']:g}: the least rate above 0; with 1, the default, few rates are positives."
    return f"--min_rate 1 (the default): {percent(1 - rates['unrated'])} of the rows have a rate."


def _text_advice(texts: dict[str, float], comments: dict[str, Any]) -> str:
    if texts["nothing"] == 1 and comments["share"]:
        return "Only users have texts: --use_item_llm false, with another encoder than lsa."
    if texts["nothing"] == 1:
        return "--fusion_mode none: no title has a text."
    shares = f"{percent(texts['summary'])} of the titles have a summary and {percent(texts['tags'])} tags"
    if max(texts["summary"], texts["tags"]) < 0.5:
        return f"Text says little: {shares}; compare with --fusion_mode none."
    return f"Text pays, for new titles above all: {shares}."


def main() -> None:
    """Run the command line."""
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
