"""Two million rows under a limit of the operating system on memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.data import HEADERS, write_tsv

ROOT = Path(__file__).resolve().parents[2]
USERS, PER_USER, TITLES = 10_000, 200, 500
ROOM_MIB = 300  # beyond what is in use before; with a text a cell it takes over 400

PROGRAM = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from config import get_config
from data_loader import load_dataset
config = get_config({"data_dir": sys.argv[2]})
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[3]) * 2**20,) * 2)
dataset = load_dataset(config)
print(json.dumps([dataset.n_users, dataset.seen.nnz, float(dataset.times.min()), float(dataset.rates.sum())]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux how much memory is in use")
def test_two_million_rows_are_read_in_little_memory(tmp_path: Path) -> None:
    write_tsv(tmp_path, "anime.tsv", ((str(item), f"title {item}", "", "") for item in range(TITLES)))
    lines = "".join(f"@\t{item * 2}\t{item % 10 + 1}\t\t15@{item:03}\n" for item in range(PER_USER))
    with (tmp_path / "interactions.tsv").open("w") as file:
        file.write("\t".join(HEADERS["interactions.tsv"]) + "\n")
        file.writelines(lines.replace("@", f"{user:05}") for user in range(USERS))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT), str(tmp_path), str(ROOM_MIB)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == f"[{USERS}, {USERS * PER_USER}, 1500000000.0, {5.5 * USERS * PER_USER}]", done.stderr
