"""Reading what recommend.py prints."""

import re
from typing import Any


def listed(printed: str) -> list[str]:
    """Read the ids off printed lists."""
    return re.findall(r"^ +\d+\. .*\((.*)\)$", printed, re.MULTILINE)


def ids_of(titles: list[dict[str, Any]]) -> list[str]:
    return [title["subject_id"] for title in titles]


def whole(words: tuple[str, ...]) -> tuple[str, ...]:
    """Ask for lists of all titles, unless words say how to go by franchises: titles 1, 2, 3 are taken for one."""
    says = {"--franchise", "--continue"} & {*words} or not {"--user", "--new_user"} & {*words}
    return words if says else (*words, "--franchise", "all")
