"""One run's files in the place of another's, all at the same moment: at any other the folder holds one of them, whole.

A rename replaces one file at a time. So for a moment the files of a folder are symbolic links through one that leads to
the old files, `at`; what it leads to is replaced by the new ones in one rename, and then plain files replace the links.
Where there are no symbolic links the files are renamed one by one, and a kill between them leaves a mix, which
manifest.check refuses until finish_replacing has ended it.
"""

import os
import shutil
from pathlib import Path

WORK, OLD, NEW, AT = ".replacing", "old", "new", "at"


def replace_run(folder: Path, staged: Path, names: list[str]) -> None:
    """Let the files of a run take the place of those in a folder.

    Whoever was killed in here is to call finish_replacing before anything else is done with the folder.

    Args:
        folder: of the run that is replaced.
        staged: a folder in it with the whole new run; it is gone afterwards.
        names: of the files; of these, those that staged does not have are removed.
    """
    work = folder / WORK
    for kind, source in ((OLD, folder), (NEW, staged)):
        (work / kind).mkdir(parents=True)
        for name in names:
            if (source / name).is_file():
                share((source / name).resolve(), work / kind / name)
    try:
        _link(work / AT, OLD)
    except OSError:  # a disk, or a system, without symbolic links
        (work / AT).write_text("\n".join(name for name in names if not (staged / name).is_file()))
    else:
        for name in names:
            _link(folder / name, f"{WORK}/{AT}/{name}")
        _link(work / AT, NEW)
    finish_replacing(folder)
    shutil.rmtree(staged)


def finish_replacing(folder: Path) -> None:
    """End what a killed replace_run left: with the new run if it had come to that, else with the old one."""
    work = folder / WORK
    if not work.exists():
        return
    if (work / AT).is_symlink():
        kind = (work / AT).readlink()
        links = [path for path in folder.iterdir() if path.is_symlink() and path.readlink().parts[0] == WORK]
        for path in links:
            if (work / kind / path.name).exists():
                (work / kind / path.name).replace(path)
            else:
                path.unlink()
    elif (work / AT).exists():
        for name in (work / AT).read_text().splitlines():
            (folder / name).unlink(missing_ok=True)
        for path in (work / NEW).glob("*"):  # which is gone already where a kill came late
            path.replace(folder / path.name)
    shutil.rmtree(work)


def _link(path: Path, target: str) -> None:
    """Let a path lead to a target, in one step, whatever it was before."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    fresh.symlink_to(target)
    fresh.replace(path)


def share(source: Path, path: Path) -> None:
    """Give a file a second name; on a disk where it can have one only, a copy."""
    try:
        path.hardlink_to(source)
    except OSError:
        shutil.copy2(source, path)
