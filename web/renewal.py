"""A new run in the folder of the one that is served: noticed, loaded beside it, and served from then on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from inference.finished_run import FinishedRun
from inference.kept import forget
from runtime import manifest
from web import answers

log = logging.getLogger("aglrec")

EVERY = 2.0  # seconds from one look at the manifest to the next
SERVED = ("best_model.pth", "user_emb.pt", "item_emb.pt")


@dataclass
class Renewal:
    """Watches a folder for another run than the one that is served.

    Args:
        folder: saved_dir.
        load: loads the run in it, or raises OSError or ValueError.
    """

    folder: Path
    load: Callable[[], FinishedRun]

    def __post_init__(self) -> None:
        self.seen, self.served = self._changed_at(), self._files()

    async def watch(self, state: Any) -> None:
        """Put each new run in the place of state.run, for ever; who asked before is answered by the old one."""
        while True:
            await anyio.sleep(EVERY)
            run = await anyio.to_thread.run_sync(self.look, limiter=anyio.CapacityLimiter(1), abandon_on_cancel=True)
            if run:
                state.run = run
                log.info(f"{self.folder}: from now on its new run is served, {run.dataset.seen.nnz:,} collected titles")
                run = None
                await anyio.sleep(EVERY)  # who asked before is still being answered by the old one
                forget()

    def look(self) -> FinishedRun | None:
        """Return the run in the folder, ready to be asked, if it is another one than that which is served.

        One that cannot be served is told of once, until the folder changes again.
        """
        now = self._changed_at()
        if now is None or now == self.seen:
            return None
        self.seen = now
        try:
            files = self._files()
            if files == self.served:
                return None
            run = self.load()
            answers.described(run)
            if self._files() != files:  # replaced while it was read
                self.seen = None
                return None
        except Exception as error:  # whatever is wrong with it, the old one goes on
            log.warning(f"the new run in {self.folder} is not served, and the old one goes on: {error}")
            return None
        self.served = files
        return run

    def _changed_at(self) -> tuple[int, int, int] | None:
        """Tell one state of the manifest from another; None where there is none."""
        try:
            found = (self.folder / manifest.NAME).stat()
            return found.st_mtime_ns, found.st_ino, found.st_size
        except OSError:
            return None

    def _files(self) -> dict[str, Any]:
        """Return what the manifest says of the files that lists are made of; of one without a manifest nothing."""
        return manifest.entries_of(self.folder, *SERVED) if self._changed_at() else {}
