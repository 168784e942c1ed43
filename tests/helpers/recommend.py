"""Reading what recommend.py prints."""

from typing import Any


def listed(printed: str) -> list[str]:
    """Read the ids off printed lists."""
    return [line.rsplit("(", 1)[1].rstrip(")") for line in printed.splitlines() if line.startswith("  ")]


def ids_of(titles: list[dict[str, Any]]) -> list[str]:
    return [title["subject_id"] for title in titles]
