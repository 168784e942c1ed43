"""Reading a report's page."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from web.report_page import write_report


class Page(HTMLParser):
    """Reads tables (caption -> lines of cells) and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.lines: list[list[str]] = []
        self.caption = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("meta", "path", "rect") or "svg" in self.open:
            self.open.append(tag)
        if tag == "table":
            self.lines, self.caption = [], ""
        if tag == "tr":
            self.lines.append([])
        if tag in ("th", "td"):
            self.lines[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self.caption] = self.lines

    def handle_data(self, data: str) -> None:
        if "caption" in self.open:
            self.caption += data
        elif {"th", "td"} & set(self.open):
            self.lines[-1][-1] += data

    def table(self, start: str) -> dict[str, dict[str, str]]:
        """Return first cell -> header -> cell of the table whose caption starts so."""
        head, *lines = next(lines for caption, lines in self.tables.items() if caption.startswith(start))
        return {line[0]: dict(zip(head, line, strict=True)) for line in lines}


def page_of(folder: Path, **options: Any) -> tuple[str, Page]:
    text = write_report(folder, **options).read_text(encoding="utf-8")
    return text, Page(text)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
