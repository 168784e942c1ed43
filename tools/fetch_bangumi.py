"""Fetch the public lists of Bangumi users: what they collected, rated and wrote, a JSON file a page of the API.

    python tools/fetch_bangumi.py USERNAME [USERNAME ...] --to FOLDER --agent ME
    python tools/fetch_bangumi.py --users_file FILE --to FOLDER --agent ME

ME is your own username, by which Bangumi may reach you: it wants to know whose program asks. USERNAME is the last
part of the address of a user's page, bgm.tv/user/USERNAME. The pages become FOLDER/USERNAME/OFFSET.json. Interrupted,
the same command goes on after the last whole page; convert the folder once it is done. A list of 500 titles takes 10
requests, 20 seconds. Please leave --rate as it is, and publish no one's list.
"""

import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.tables import read_text
from importers.bangumi_api import BASE, check_username, fetch
from runtime.cli import Flags, run_script

log = logging.getLogger("aglrec")


def read_usernames(path: Path) -> list[str]:
    """Read a username a line; empty lines are skipped.

    Raises:
        FileNotFoundError, ValueError: it is missing, holds none, or something that is none.
    """
    names = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            names += [check_username(line.strip())] if line.strip() else []
        except ValueError as error:
            raise ValueError(f"{path} line {number}: {error}") from None
    if not names:
        raise ValueError(f"{path} holds no username; write one a line")
    return names


def summary(counts: dict[str, int], folder: Path) -> str:
    """Say what was fetched; where there is no list at all, that is an error.

    Raises:
        ValueError: nobody's list could be had.
    """
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    if not counts["fetched"] and not counts["already there"]:
        raise ValueError(
            f"no list came ({said}); check the names: they stand in the address of a user's page, and may "
            "differ from the name shown there"
        )
    return f"{said}; everything is in {folder}"


def main() -> None:
    """Run the command line."""
    flags = Flags(__doc__)
    flags.add_argument("usernames", nargs="*", metavar="USERNAME")
    flags.add_argument("--users_file", type=Path, metavar="FILE", help="a text file with a username a line")
    flags.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where the pages go")
    token_help = """an access token, to see your own private titles as well; better given in the environment variable
        BANGUMI_TOKEN, where other users of this machine do not see it"""
    flags.add_argument("--token", metavar="T", help=token_help)
    flags.add_argument("--rate", type=float, default=2.0, metavar="SECONDS", help="from one request to the next")
    agent_help = "your username, or a whole User-Agent such as 'NAME/VERSION (https://your.page)'"
    flags.add_argument("--agent", default="", metavar="ME", help=agent_help)
    flags.add_argument("--refresh", action="store_true", help="fetch lists anew that are there already")
    flags.add_argument("--base", default=BASE, metavar="URL", help="address of the API")
    asked = flags.parse_args()
    names = asked.usernames + (read_usernames(asked.users_file) if asked.users_file else [])
    if not names:
        raise ValueError("whose list? Name users, or a --users_file with a username a line")
    if not 0.5 <= asked.rate < float("inf"):
        raise ValueError(f"--rate is {asked.rate:g}; it must be at least half a second, and 2 are polite")
    token = os.environ.get("BANGUMI_TOKEN", "") if asked.token is None else asked.token
    counts = fetch(names, asked.to, asked.agent, token, asked.base, asked.rate, asked.refresh)
    log.info(summary(counts, asked.to))


if __name__ == "__main__":
    sys.exit(run_script(main))
