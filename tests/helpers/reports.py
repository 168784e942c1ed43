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


class Spoken(HTMLParser):
    """Reads what a report's page says, and its tags: no names of titles and users, commands, or tables of values."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.texts: list[str] = []  # also those that are read aloud alone
        self.tags: list[str] = []
        self.silent: list[str] = []  # the open tags from the outermost one on that holds no words of the page
        self.values = False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "table":
            self.values = dict(attrs)["class"] == "text"
        if self.silent or tag in ("style", "code", "bdi", "time") or (tag == "tbody" and self.values):
            self.silent += [tag] if tag != "meta" else []
        self.texts += [value for name, value in attrs if name in ("aria-label", "title", "alt") and value]

    def handle_endtag(self, tag: str) -> None:
        if self.silent:
            assert self.silent.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.silent and data.strip():
            self.texts.append(data.strip())
