"""What the studies of finished runs share."""

from pathlib import Path
from typing import Any

from config import get_config
from inference.finished_run import FinishedRun, load_finished
from runtime.files import load_torch


def finished_run(folder: Path, data_dir: str | None = None, **settings: Any) -> FinishedRun:
    """Load the run in folder, its data from data_dir if they are no longer where the run found them.

    Settings are those of the call, such as the run's model_name, without which no encoder but lsa is opened.
    """
    trained = load_torch(folder / "best_model.pth")["config"]
    return load_finished(
        get_config({**settings, "saved_dir": str(folder), "data_dir": data_dir or trained["data_dir"]})
    )
