"""Run, kill, edit, lose files and run again, in any order: what a run leaves is what it leaves in an empty folder.

    python -m tests.faults.sequences [--sequences 200] [--steps 12] [--seed 0]

Each text is encoded alone, so that the last bits of a vector do not hang on what stood beside it.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from runtime.identity import OUTPUTS, ROWS
from runtime.manifest import run_id
from tests.helpers.data import write_data

from .__main__ import ready
from .artefacts import artefacts, differing
from .cases import tiny_encoder
from .processes import Ended, apart, run

START: dict[str, Any] = {
    "epochs": 4,
    "lr": 0.01,
    "recommend_k": 5,
    "fusion_mode": "concat",
    "refit": "false",
    "model_name": "ENCODER",
    "split_seed": 0,
}
CHOICES = [
    ("epochs", 3),
    ("epochs", 4),
    ("lr", 0.05),
    ("lr", 0.01),
    ("recommend_k", 3),
    ("recommend_k", 5),
    ("fusion_mode", "sum"),
    ("fusion_mode", "none"),
    ("fusion_mode", "concat"),
    ("refit", "true"),
    ("refit", "false"),
    ("model_name", "lsa"),
    ("model_name", "ENCODER"),
    ("split_seed", 1),
    ("split_seed", 0),
]
tried: Counter[str] = Counter()


class Work(RuleBasedStateMachine):
    """A data folder and a saved_dir, what was done to them, and what an undisturbed run makes of each state."""

    home: Path  # of encoder, data as they were, and what undisturbed runs left, by what they were given

    def __init__(self) -> None:
        super().__init__()
        self.work = Path(tempfile.mkdtemp(dir=self.home))  # where scripts run, on the data there
        shutil.copytree(self.home / "data", self.work / "data")
        self.settings, self.is_interrupted, tried["sequences"] = dict(START), False, tried["sequences"] + 1

    def teardown(self) -> None:
        shutil.rmtree(self.work)

    # --- what people do ---

    @rule(how=st.sampled_from(("summary", "summary", "order", "back")), number=st.integers(1, 23))
    def edit_the_data(self, how: str, number: int) -> None:
        tried["edits"] += 1
        if how == "back":
            shutil.copytree(self.home / "data", self.work / "data", dirs_exist_ok=True)
            return
        path = self.work / "data" / ("anime.tsv" if how == "summary" else "interactions.tsv")
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        if how == "summary":
            lines[number] = "\t".join([*lines[number].split("\t")[:3], "a robot dreams"])
        else:
            lines = [*lines[number:], *lines[:number]]
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")

    @rule(choice=st.sampled_from(CHOICES))
    def choose_a_setting(self, choice: tuple[str, Any]) -> None:
        self.settings[choice[0]] = choice[1]

    @rule(
        name=st.sampled_from(
            (
                *OUTPUTS,
                ROWS,
                "manifest.json",
                "item_llm_embeddings.npy",
                "item_llm_embeddings.npy.json",
                "user_llm_embeddings.npy",
            )
        )
    )
    def lose_a_file(self, name: str) -> None:
        tried["files lost"] += (self.work / "saved" / name).exists()
        (self.work / "saved" / name).unlink(missing_ok=True)

    @rule(share=st.integers(1, 99))
    def kill(self, share: int) -> None:
        try:
            was_killed, _ = run(self.words(), self.work, self.undisturbed()[1] * share / 100)
        except Ended as end:
            self.refused(end)
            return
        tried["kills"] += was_killed
        self.is_interrupted |= was_killed

    @rule()
    def run_it(self) -> None:
        tried["runs"] += 1
        try:
            run(self.words(), self.work)
        except Ended as end:
            self.refused(end)
            if not self.is_interrupted:
                raise
            run([*self.words(), "--resume", "never"], self.work)
        self.is_interrupted = False
        found, whole = artefacts(self.work / "saved"), self.undisturbed()[0]
        left = {name for name in found if name.endswith(".tmp")}
        if "checkpoint.pth" in found:  # that of a killed run of other settings stays beside a run that was finished
            left |= (
                {"checkpoint.pth"}
                if run_id(found["checkpoint.pth"]["signature"]) == found["metrics.json"]["run"]
                else set()
            )
        assert not left, left
        found = {name: content for name, content in found.items() if name in whole}
        for files in (found, whole):
            without_k(files)
            # a run before it may have left what this one does not
            files["manifest.json"] = {
                name: entry
                for name, entry in files["manifest.json"]["files"].items()
                if name in whole["manifest.json"].get("files", whole["manifest.json"])
            }
        assert not differing(found, whole, 0.0), differing(found, whole, 0.0)

    @rule(choice=st.sampled_from(CHOICES), share=st.integers(5, 60))
    def kill_what_has_something_to_do(self, choice: tuple[str, Any], share: int) -> None:
        """A finished run given again is mostly over before the kill."""
        self.choose_a_setting(choice)
        self.lose_a_file("best_model.pth")
        self.kill(share)
        self.run_it()

    @rule(how=st.sampled_from(("summary", "order", "back")), number=st.integers(1, 23))
    def edit_the_data_between_two_runs(self, how: str, number: int) -> None:
        """Chance alone seldom puts an edit right between two runs that end, where what is stale would show."""
        self.run_it()
        self.edit_the_data(how, number)
        self.run_it()

    @rule(script=st.sampled_from(("recommend.py", "save_embeddings.py", "main.py --mode inference", "report.py")))
    def use_it(self, script: str) -> None:
        tried["uses"] += 1
        name, *more = script.split()
        words = self.words()[1:] if name != "report.py" else ["--saved_dir", "saved"]
        try:
            run([name, *words, *more, *(["--user", "u1"] if name == "recommend.py" else [])], self.work)
        except Ended as end:
            self.refused(end)

    # --- what must come of it ---

    def words(self) -> list[str]:
        """Return the command of a run with the settings of now."""
        words = [str(word) for key, value in self.settings.items() for word in (f"--{key}", value)]
        words = [str(self.home / "encoder") if word == "ENCODER" else word for word in words]
        return [
            "main.py",
            "--data_dir",
            "data",
            "--saved_dir",
            "saved",
            "--device",
            "cpu",
            "--lsa_dim",
            "6",
            "--embedding_dim",
            "8",
            "--batch_size",
            "64",
            "--encode_batch_size",
            "1",
            *words,
        ]

    def refused(self, end: Ended) -> None:
        """Check that a script ended with a sentence and nothing else."""
        tried["refused"] += 1
        said = (self.work / "said.txt").read_text(encoding="utf-8")
        assert "Traceback" not in said, said[-3000:]
        # a killed script's progress bar can stand before it in the line
        assert re.search(r" ended with 2: (.*\[.*\])?error: ", str(end)), str(end)

    def undisturbed(self) -> tuple[dict[str, Any], float]:
        """Return what a run with data and settings as they are leaves in an empty folder, and its seconds."""
        data = b"".join((self.work / "data" / name).read_bytes() for name in ("anime.tsv", "interactions.tsv"))
        key = hashlib.sha256(data + json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]
        folder = self.home / "whole" / key
        if not folder.exists():
            shutil.copytree(self.work / "data", folder / "data")
            _, seconds = run(self.words(), folder)
            shutil.rmtree(folder / "saved" / "encoded", ignore_errors=True)  # there texts of other data stay as well
            (folder / "seconds").write_text(str(seconds))
        return artefacts(folder / "saved"), float((folder / "seconds").read_text())


def without_k(files: dict[str, Any]) -> None:
    """Leave out of the files of a run how long lists were when its model was trained: other lists need no new model."""
    for name in [name for name in files if Path(name).name in ("best_model.pth", "metrics.json")]:
        files[name].get("config", {}).pop("recommend_k", None)
    for name in [name for name in files if Path(name).name == "report.html"]:
        files[name] = re.sub(r"<tr><t[dh][^>]*>recommend_k</t[dh]>.*?</tr>", "", files[name])
    for name in [name for name in files if Path(name).name == "manifest.json"]:
        files[name].get("files", {}).get("best_model.pth", {}).pop("sha256", None)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--sequences", type=int, default=200, help="how many (default %(default)s)")
    asked.add_argument("--steps", type=int, default=12, help="at most of each (default %(default)s)")
    asked.add_argument("--seed", type=int, default=0, help="of what is done (default %(default)s)")
    asked = asked.parse_args()
    ready(["save_embeddings"])
    with tempfile.TemporaryDirectory() as home:
        Work.home = Path(home)
        apart(lambda: (write_data(Work.home / "data", n_users=30, n_items=24, per_user=8), tiny_encoder(Work.home)))
        run_state_machine_as_test(
            seed(asked.seed)(Work),
            settings=settings(
                max_examples=asked.sequences,
                stateful_step_count=asked.steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                print_blob=False,
            ),
        )
    print(", ".join(f"{count:,} {what}" for what, count in tried.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
