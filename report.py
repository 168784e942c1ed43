"""Write FOLDER/report.html, a self-contained page, from what a run and an ablation left in FOLDER.

python report.py [FOLDER] [--lang zh]
"""

import logging
import sys
from pathlib import Path

from runtime import manifest
from runtime.cli import Flags, run_script

log = logging.getLogger("aglrec")

READ = ("metrics.json", "history.jsonl", "recommendations.json", "new_titles.json", "id_mappings.json", "splits.npz")


def main() -> None:
    """Run the command line."""
    flags = Flags(__doc__)
    flags.add_argument("folder", nargs="?", type=Path, default="saved", metavar="FOLDER", help="the saved_dir of a run")
    flags.add_argument("--lang", choices=("en", "zh"), default="", help="language of the page, if not the terminal's")
    asked = flags.parse_args()
    folder = asked.folder
    from web.report_page import write_report  # which takes seconds

    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; name the saved_dir of a run")
    manifest.check(folder, *READ, "user_emb.pt", "item_emb.pt")
    log.info(write_report(folder, language=asked.lang))


if __name__ == "__main__":
    sys.exit(run_script(main))
