"""What the property tests feed the readers: cells, tables and damage as files in the wild have them, and worse."""

import csv
import gzip
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import strategies as st

NASTY = (
    "",
    " ",
    "001",
    "1",
    "1.0",
    "1e3",
    "NaN",
    "nan",
    "None",
    "NULL",
    " x ",
    "x",
    "\t",
    "\n",
    "\r",
    "\r\n",
    '"',
    '""',
    "'",
    "a\tb",
    "a\nb",
    'a"b',
    '"a',
    "\0",
    "a\0b",
    "\ufeff",
    "\ufeffa",
    "\u3000x\u3000",
    "\u2028",
    "\x85",
    "\x1c",
    "😀",
    "👩‍👩‍👧‍👦",
    "名",
    "a\u0301",
    "-1",
    "-0",
    "0",
    "7",
    "10",
    "inf",
    "-inf",
    "1_0",
    "１",
    "0x10",
    "1" * 400,
    "x" * 5000,
    "=1+1",
    "../../x",
    "\\N",
    "True",
    "[]",
    "{}",
    "[",
    "[1,[2]]",
    "['a', \"b\"]",
    '["a", "b"]',
    "a,b;c",
    ",;",
    "[" * 300,
    "2020-01-01",
    "2020-01-01T10:00:00Z",
    "0000-00-00",
    "99999-01-01",
    "1577836800",
    "1e300",
    "-62135596801",
    "now",
    "today",
    "2020-13-45",
    "NaT",
    "2020",
    "24:00",
    "2020-01-01 25:00",
    "1970-01-01T00:00:00+99",
)
cells = st.one_of(st.sampled_from(NASTY), st.text(max_size=8), st.text(st.sampled_from('ab1 \t\n\r",;\0'), max_size=8))
ids = st.one_of(
    st.sampled_from(("u1", "u2", "u3", "001", "1", "1.0", "NaN", " x ", "x", "-1", "007", "7")), cells.filter(str.strip)
)
DAMAGE = (
    b"",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b'"',
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b",",
    b"::",
    b"|",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b"&",
    b"&#0;",
    b"nan",
    b"1e999",
    b"-1",
    b"null",
    b"true",
    b"9" * 30,
    b"\\ud800",
    b"\\",
    b"\xe5\x90\x8d",
    b"\xf0\x9f\x98\x80",
    b"[" * 2000,
    b'{"a":' * 2000,
    b" ",
    b"0",
    b"x" * 9000,
    b"<!DOCTYPE a>",
    b"\x1f\x8b\x08",
    b"PK\x03\x04",
)


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder for one case; pytest's own would be one for all of them."""
    path = Path(mkdtemp())
    try:
        yield path
    finally:
        shutil.rmtree(path)


@st.composite
def damaged(draw: st.DrawFn, content: bytes, most: int = 3) -> bytes:
    """Put some of DAMAGE in the place of up to `most` stretches, and perhaps cut the end off."""
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, *range(most + 1))))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from((0, 0, 1, 1, 3, 20, 400))))
        content = content[:start] + draw(st.one_of(st.sampled_from(DAMAGE), st.binary(max_size=4))) + content[end:]
    return content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 19)) == 19 else content


@st.composite
def written(draw: st.DrawFn, columns: tuple[str, ...], rows: list[list[str]]) -> bytes:
    """Write a table as some program might: a mark, other line ends, quotes everywhere, more and moved columns."""
    extra = draw(st.sampled_from(((), (), (), (), ("more",), ("", ""), ("a", "b\nc"), (columns[0],))))
    order = draw(st.permutations(range(len(columns) + len(extra))))
    text = io.StringIO(newline="")
    # the quotes of QUOTE_MINIMAL see to one kind of line end alone
    plain = not any(end in cell for row in (extra, *rows) for cell in row for end in "\r\n")
    writer = csv.writer(
        text,
        delimiter="\t",
        lineterminator=draw(st.sampled_from(("\n", "\n", "\r\n", "\r"))),
        quoting=csv.QUOTE_MINIMAL if plain and draw(st.booleans()) else csv.QUOTE_ALL,
    )
    for row in ([*columns, *extra], *([*row, *extra] for row in rows)):
        writer.writerow([row[place] for place in order])
    return b"\xef\xbb\xbf" * draw(st.booleans()) + text.getvalue().encode("utf-8", "surrogatepass")


def put(path: Path, content: bytes, packed: bool) -> None:
    """Write a file, or its .gz."""
    path = path.with_name(f"{path.name}.gz") if packed else path
    path.write_bytes(gzip.compress(content, 1) if packed else content)


def assert_a_sentence(error: Exception, *names: str) -> None:
    """Check that an error is one line, and names one of the files."""
    said = str(error)
    assert len(said.splitlines()) == 1, said
    assert any(name in said for name in names), said
