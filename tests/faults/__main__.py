"""Kill each script at random moments, give its command again until it ends, and compare what it leaves.

    python -m tests.faults [--kills 30] [--only NAME,NAME] [--seed 0]

Moments are drawn evenly over the time that an undisturbed run takes. It ends with a table and, where a command did not
survive, with 1. Seconds, and figures that are those of a call and not of a run, are not compared.
"""

import argparse
import os
import shutil
import sys
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from evaluation.tables import markdown
from runtime import manifest
from runtime.identity import OUTPUTS

from .artefacts import artefacts, differing
from .cases import CASES, Case
from .processes import Ended, apart, run

TRIES = 4  # a kill, for moments that come when the script has ended already


class Outcome(NamedTuple):
    """What became of a command."""

    seconds: float  # of the undisturbed run
    kills: int
    survived: int
    differed: dict[str, int]  # what differed, or was said -> how often


def ready(names: list[str]) -> None:
    """Import what the scripts do, so that no moment falls into their start."""
    import optuna
    import sklearn.covariance
    import sklearn.decomposition
    import sklearn.feature_extraction.text
    import sklearn.utils.extmath

    import importers
    import main
    import run_ablation
    import save_embeddings
    import tune

    if "save_embeddings" in names:
        import sentence_transformers

        del sentence_transformers
    del importers, main, optuna, run_ablation, save_embeddings, sklearn, tune


def start_in(folder: Path, case: Case, sources: Path) -> None:
    """Make the folder that a command runs in, with the run that it goes on from."""
    folder.mkdir()
    if case.begun:
        shutil.copytree(sources / "saved", folder / "saved")


def outcome(name: str, case: Case, kills: int, seed: int, folder: Path) -> Outcome:
    """Run a command undisturbed once, and killed and repeated as often as is asked for."""
    apart(lambda: case.prepare(folder / "sources"))
    words = [word.replace("FOLDER", str(folder / "sources")) for word in case.words]
    start_in(folder / "whole", case, folder / "sources")
    _, seconds = run(words, folder / "whole")
    whole, rng = artefacts(folder / "whole"), np.random.default_rng([seed, zlib.crc32(name.encode())])
    injected, survived, differed, shortest = 0, 0, {}, seconds
    for share in rng.uniform(0, 1, TRIES * kills):
        if injected == kills:
            break
        moment = share * shortest
        shutil.rmtree(folder / "killed", ignore_errors=True)
        start_in(folder / "killed", case, folder / "sources")
        was_killed, took = run(words, folder / "killed", moment)
        if not was_killed:
            shortest = min(shortest, took)  # where other work held the first run up, moments come too late
            continue
        injected += 1
        try:
            if case.begun:
                manifest.check(folder / "killed" / "saved", *OUTPUTS)
            run(words, folder / "killed")
            found = differing(whole, artefacts(folder / "killed"), case.tolerance)
        except (Ended, ValueError) as end:  # the latter of a mix of two runs
            found = [str(end)]
        survived += not found
        differed |= {what: differed.get(what, 0) + 1 for what in found}
        print(f"{name}: killed after {moment:.2f} of {seconds:.2f} s: {', '.join(found) or 'the same'}", flush=True)
    return Outcome(seconds, injected, survived, differed)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--kills", type=int, default=30, help="of each command (default %(default)s)")
    asked.add_argument("--only", default=",".join(CASES), help="some of %(default)s")
    asked.add_argument("--seed", type=int, default=0, help="of the moments (default %(default)s)")
    asked = asked.parse_args()
    ready(asked.only.split(","))
    rows, is_well = [["command", "seconds", "killed", "survived", "what differed"]], True
    for name in asked.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found = outcome(name, CASES[name], asked.kills, asked.seed, Path(folder))
        is_well &= found.kills == found.survived == asked.kills
        rows.append(
            [
                name,
                f"{found.seconds:.1f}",
                str(found.kills),
                str(found.survived),
                "; ".join(f"{what} ({n})" for what, n in found.differed.items()),
            ]
        )
    print(markdown(rows))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
