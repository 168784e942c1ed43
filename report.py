"""One self-contained HTML page from what a run and an ablation left in saved/.

python report.py [FOLDER]     write FOLDER/report.html (FOLDER is saved unless given)
"""

import os
import sys
from pathlib import Path

from runtime import manifest
from web.report_page import write_report


def said(text: str | None) -> None:
    """Print; a reader that goes away, as in | head, is no failure."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would fail again when it ends


def main() -> None:
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words) or len(words) > 1:
        said(__doc__)
        return
    folder = Path(words[0] if words else "saved")
    if not folder.is_dir():
        sys.exit(f"error: {folder} is no folder; name the saved_dir of a run")
    try:
        manifest.check(
            folder,
            "metrics.json",
            "history.jsonl",
            "recommendations.json",
            "new_titles.json",
            "id_mappings.json",
            "splits.npz",
            "user_emb.pt",
            "item_emb.pt",
        )
        said(str(write_report(folder)))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
