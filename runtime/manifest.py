"""Which run wrote each file of a folder."""

import hashlib
import json
from pathlib import Path
from typing import Any

from runtime.files import write_json
from runtime.safe_files import parse_json

NAME = "manifest.json"


def run_id(signature: dict[str, Any]) -> str:
    """Name a run by what makes it that run: the same settings, data and texts have the same name."""
    return hashlib.sha256(json.dumps(signature, sort_keys=True).encode()).hexdigest()[:12]


def record(folder: Path, run: str, *names: str) -> None:
    """Write into manifest.json that these files of a folder are this run's, with their sha256.

    After a damaged manifest the others are of no run that is known.
    """
    try:
        files = _entries(folder) if (folder / NAME).exists() else {}
    except ValueError:
        files = {}
    files |= {name: {"run": run, "sha256": _sha256(folder / name)} for name in names}
    write_json(folder / NAME, {"files": files})


def record_again(folder: Path, *names: str) -> None:
    """Record files that were written again from the model of a folder, if its run is known."""
    if run := recorded_run(folder):
        record(folder, run, *names)


def recorded_run(folder: Path) -> str | None:
    """Name the run that wrote the model of a folder; None without a manifest."""
    return _entries(folder).get("best_model.pth", {}).get("run") if (folder / NAME).exists() else None


def entries_of(folder: Path, *names: str) -> dict[str, dict[str, str]]:
    """Return run and sha256 of some files of a folder, as its manifest has them; a ValueError if it is damaged."""
    return {name: entry for name, entry in _entries(folder).items() if name in names}


def check(folder: Path, *names: str) -> None:
    """Refuse files that are not of one run, or are no longer what it wrote.

    Missing files are left to whoever needs them. A folder without a manifest is taken as it is.

    Raises:
        ValueError: the message names the run of each file, and what to do.
    """
    if not (folder / NAME).exists():
        return
    entries, origins = _entries(folder), {}
    for name in names:
        if (folder / name).exists():
            origins.setdefault(_origin(folder / name, entries.get(name)), []).append(name)
    if len(origins) > 1 or any(not origin.startswith("of run") for origin in origins):
        files = "; ".join(f"{', '.join(found)} {origin}" for origin, found in origins.items())
        raise ValueError(
            f"{folder} holds files that do not belong together: {files}. A run was interrupted while it "
            "wrote them, or one was changed or replaced; give the run's command again"
        )


def _origin(path: Path, entry: dict[str, str] | None) -> str:
    if entry is None:
        return "of no run that is known"
    return f"of run {entry['run']}" if _sha256(path) == entry["sha256"] else f"not as run {entry['run']} wrote it"


def _entries(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / NAME
    try:
        files = parse_json(path.read_text(encoding="utf-8"))["files"]
        return {name: {"run": str(entry["run"]), "sha256": str(entry["sha256"])} for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error!r}); delete it to take the other files of the folder as they are"
        ) from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
