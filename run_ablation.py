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
from data_loader import Dataset, load_dataset
from llm_embedding import text_vectors
from main import run
from report import write_json, write_text
from trainer import resolve_device

log = logging.getLogger("aglrec")

COMBINATIONS = {
    f"{fusion_mode}-{text}": {"fusion_mode": fusion_mode, "use_user_llm": text in ("user", "both"),
                              "use_item_llm": text in ("item", "both")}
    for fusion_mode in ("sum", "concat") for text in ("none", "user", "item", "both")
}
