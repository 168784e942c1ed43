"""Digests of the code that decides a run's figures, module by module, and which of them have changed.

A digest is that of the syntax tree without docstrings; comments and layout are not in it to begin with. Fields that are
empty are left out, for in these the trees of Python versions differ. Should two versions read the same code as
different trees all the same, a run of the one counts in the other as a run of other code.
"""

import ast
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# whose code decides vectors and figures. Data and split have a digest of their own (Dataset.fingerprint), so that
# dataset/ and importers/ are left out; files, pages and lists decide no figure
COUNTED = ("main", "trainer", "evaluator", "data_loader", "llm_embedding", "model", "training", "text", "evaluation")
LIST_OF_LOSSES = "training.losses"

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
END = ")"  # of a node, in the text that is digested


def run_digests(config: dict[str, Any]) -> dict[str, str]:
    """Return the digests of the modules that decide a run of main.py with this config; see source_digests."""
    return source_digests("main", loss=config["loss"])


def source_digests(*modules: str, loss: str = "") -> dict[str, str]:
    """Return the digests of some modules and of all that they import, of the rooms in COUNTED.

    The list of losses itself is left out, and of its losses only the one named counts, if it has a file of its name:
    a new loss leaves the runs of the others as they are.

    Args:
        modules: dotted names.
        loss: the loss of the run.

    Returns:
        File, as "training/bpr.py" -> a digest of 12 characters, sorted by file.
    """
    found, left = {}, list(modules)
    while left:
        module = left.pop()
        path = ROOT / (module.replace(".", "/") + ".py")
        name = path.relative_to(ROOT).as_posix()
        if name in found or module.partition(".")[0] not in COUNTED:
            continue
        status = path.stat()
        digest, imported = _read(path, status.st_mtime_ns, status.st_size)
        if module == LIST_OF_LOSSES:
            own = f"training.{loss}"
            left += [own] if own in imported else imported
        else:
            found[name] = digest
            left += imported
    return dict(sorted(found.items()))


def changed_modules(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name the files whose digests differ, or that only one of both has."""
    return sorted(name for name in {*then, *now} if then.get(name) != now.get(name))


def told(changed: list[str], at_most: int = 4) -> str:
    """Say which modules have changed since; the code of a run that recorded no digests is unknown."""
    more = f" and {len(changed) - at_most} more" if len(changed) > at_most else ""
    return f"{', '.join(changed[:at_most])}{more} changed since"


@lru_cache
def _read(path: Path, modified_ns: int, size: int) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a file and the modules of this project that it imports; once for each state of the file."""
    written, imported = [], []
    left: list[Any] = [ast.parse(path.read_bytes())]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, ast.AST):
            written.append(type(part).__name__)
            left.append(END)
            for name in part._fields:
                value = getattr(part, name, None)
                if name == "body" and isinstance(part, DOCUMENTED) and ast.get_docstring(part, clean=False) is not None:
                    value = value[1:]
                if value not in (None, []) and name != "ctx":
                    left += (value, name)
            if isinstance(part, ast.Import | ast.ImportFrom):
                imported += _names(part)
        else:
            written.append(repr(part))
    digest = hashlib.sha256("\n".join(written).encode()).hexdigest()[:12]
    return digest, tuple(name for name in imported if (ROOT / (name.replace(".", "/") + ".py")).is_file())


def _names(line: ast.Import | ast.ImportFrom) -> list[str]:
    """Name what an import may import: modules, and members that may be modules."""
    members = [alias.name for alias in line.names]
    return (
        members if isinstance(line, ast.Import) else [f"{line.module}.{name}" for name in members] + [str(line.module)]
    )
