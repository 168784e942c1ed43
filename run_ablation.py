"""Compare the 8 combinations of fusion_mode (sum, concat) and text (none, user, item, both).

    python run_ablation.py [--rerun] [--preset name] [--key value ...]

Each combination is a run of main.py under saved_dir/ablation/<tag>/; one that is finished with the same
settings and data is not run again unless --rerun. Interrupted, the same command goes on.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from config import experiment, get_config, parse_overrides, run_script
from data_loader import load_dataset
from llm_embedding import atomic_write, text_vectors, write_json
from main import run
from trainer import resolve_device

log = logging.getLogger("aglrec")

COMBINATIONS = {
    f"{fusion_mode}-{text}": {"fusion_mode": fusion_mode, "use_user_llm": text in ("user", "both"),
                              "use_item_llm": text in ("item", "both")}
    for fusion_mode in ("sum", "concat") for text in ("none", "user", "item", "both")
}


def run_all(overrides: dict[str, Any], rerun: bool) -> list[dict[str, Any]]:
    """Run every combination that is not finished, and gather the results.

    Args:
        overrides: from the command line; they outrank a combination's own settings, and a combination
            they contradict is left out.
        rerun: run finished combinations again as well.

    Returns:
        A row a combination: {"tag", "overrides", "epoch", "valid", "test", "train_s", "encoder"}.
    """
    base = get_config(overrides)
    folder, vectors_dir = Path(base["saved_dir"]) / "ablation", base["vectors_dir"] or base["saved_dir"]
    dataset = load_dataset(base)
    # one call with both sides on fills the cache that all of them read
    text_vectors(dataset, get_config({**overrides, **COMBINATIONS["sum-both"]}), str(resolve_device(base["device"])))
    rows = []
    for tag, settings in COMBINATIONS.items():
        config = get_config({**settings, **overrides, "saved_dir": str(folder / tag), "vectors_dir": vectors_dir})
        if any(config[key] != value for key, value in settings.items()):
            log.info(f"{tag}: left out, the command line says otherwise")
            continue
        metrics = None if rerun else finished(folder / tag, config, dataset.fingerprint)
        log.info(f"{tag}: {'finished before' if metrics else 'running'}")
        metrics = metrics or run({**config, "resume": "never"} if rerun else config)
        rows.append({"tag": tag, "overrides": settings, "encoder": metrics["encoder"]["used"],
                     **{key: metrics[key] for key in ("epoch", "valid", "test", "train_s")}})
    return rows


def finished(folder: Path, config: dict[str, Any], fingerprint: str) -> dict[str, Any] | None:
    """Return the metrics of a finished run with these settings and data, else None."""
    path = folder / "metrics.json"
    if not path.exists():
        return None
    metrics = json.loads(path.read_text(encoding="utf-8"))
    same = experiment(metrics["config"]) == experiment(config) and metrics["data"]["fingerprint"] == fingerprint
    return metrics if same else None


def table(rows: list[dict[str, Any]]) -> str:
    """Lay the rows out as a Markdown table of test metrics."""
    keys = [key for key in rows[0]["test"] if key.startswith(("Recall", "NDCG")) or key == "AUC"]
    lines = [["combination", *keys, "best epoch", "train s"], ["---", *["---:"] * (len(keys) + 2)]]
    lines += [[row["tag"], *(f"{row['test'][key]:.4f}" for key in keys), str(row["epoch"]), f"{row['train_s']:.1f}"]
              for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines[1] = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(cell.ljust(width) if number == 0 else cell.rjust(width) for number, (cell, width)
                                       in enumerate(zip(line, widths, strict=True))) + " |" for line in lines)


def main() -> None:
    words = sys.argv[1:]
    overrides = parse_overrides([word for word in words if word != "--rerun"])
    rows = run_all(overrides, "--rerun" in words)
    if not rows:
        raise ValueError("the command line contradicts every combination; leave fusion_mode, use_user_llm and "
                         "use_item_llm to the ablation")
    folder = Path(get_config(overrides)["saved_dir"]) / "ablation"
    write_json(folder / "results.json", rows)
    with atomic_write(folder / "results.md") as file:
        file.write((table(rows) + "\n").encode())
    log.info("\n" + table(rows))


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
