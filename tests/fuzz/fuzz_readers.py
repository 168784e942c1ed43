"""Feed a reader what coverage leads to, until something but a sentence comes out.

    pip install atheris                                        (it has no wheels for some platforms)
    python tests/fuzz/fuzz_readers.py READER [-max_total_time=1200] [more flags of libFuzzer]

READER is tables, tags, times, xml, json or packings. Whatever ends in anything but a result, or a ValueError or OSError
of one line, is a crash: libFuzzer writes what caused it to crash-HASH.
"""

import bz2
import gzip
import io
import logging
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris
import numpy as np
import pandas as pd

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]
MODULES = [
    "dataset.readers",
    "importers",
    "runtime",
    "dataset.tables",
    "inference.title_search",
    "inference.name_forms",
]
with atheris.instrument_imports(include=MODULES):
    from dataset.readers import read_anime, read_interactions, read_user_names
    from dataset.tables import open_text
    from dataset.tags import parse_tags
    from dataset.times import parse_times
    from importers import recognise
    from importers.common import NO_OPTIONS, chunks_of
    from runtime.packings import members

ANIME = b"subject_id\tname\ttags_name\tsummary\n"
ROWS = b"user_id\tsubject_id\trate\tcomment\tupdated_at\n"
XML = (
    b"<?xml version='1.0'?><myanimelist><myinfo><user_name>a</user_name></myinfo><anime><series_animedb_id>1"
    b"</series_animedb_id><series_title><![CDATA[x]]></series_title><my_score>8</my_score><my_status>Completed"
    b"</my_status><my_finish_date>2020-00-00</my_finish_date></anime></myanimelist>"
)
JSON = (
    b'{"data": [{"subject_id": 8, "subject_type": 2, "type": 2, "rate": 7, "comment": "x", "updated_at": "2020", '
    b'"subject": {"id": 8, "name": "a", "tags": [{"name": "x", "count": 1}]}}], "offset": 0}',
    b'{"data": {"MediaListCollection": {"user": {"name": "a"}, "lists": [{"entries": [{"mediaId": 2, "status": '
    b'"CURRENT", "score": 8, "media": {"idMal": 1, "title": {"romaji": "x"}, "genres": ["y"]}}]}]}}}',
    b'{"id": 8, "type": 2, "name": "a", "name_cn": "b", "infobox": "|x= 1", "tags": [], "date": "2001"}',
    b'{"overall": 5.0, "reviewerID": "A", "asin": "B", "reviewText": "x", "unixReviewTime": 1}',
    b'{"category": ["a"], "description": ["b"], "title": "c", "asin": "B"}',
    b'{"rating": 4.0, "title": "x", "text": "y", "parent_asin": "B", "user_id": "A", "timestamp": 1598567408138}',
)


def tables(home: Path, content: bytes) -> None:
    """The first line that is a 0 byte parts anime.tsv from interactions.tsv; a user.tsv is the second of them."""
    anime, _, rows = content.partition(b"\n\0\n")
    (home / "anime.tsv").write_bytes(ANIME + anime)
    (home / "interactions.tsv").write_bytes(rows)
    (home / "user.tsv").write_bytes(rows)
    read_user_names(home, pd.Index(["a"])) if rows.startswith(b"user_id\tuser") else None
    table = read_anime(home)
    read_interactions(home, table["subject_id"])


def tags(home: Path, content: bytes) -> None:
    found = parse_tags(content.decode("utf-8", "surrogateescape"))
    assert all(isinstance(tag, str) and tag for tag in found)


def times(home: Path, content: bytes) -> None:
    column = pd.Series(content.decode("utf-8", "replace").split("\n"), dtype=object)
    seconds, _ = parse_times(column)
    assert len(seconds) == len(column)
    assert not np.isinf(seconds).any()


def xml(home: Path, content: bytes) -> None:
    exported(home / "list.xml", content)


def json(home: Path, content: bytes) -> None:
    for name in ("ann.json", "subject.jsonlines"):
        exported(home / name, content)


def packings(home: Path, content: bytes) -> None:
    (home / "a.csv").write_bytes(content)
    for path in (home / "a.csv", *(members(home / "a.csv") or ())[:3]):
        with open_text(path) as text:
            text.read()


def exported(path: Path, content: bytes) -> None:
    """Read all that a file holds, whatever format it is of."""
    path.write_bytes(content)
    made, files = recognise(path)
    for read, paths in ((made.lists, files.lists), (made.titles, files.titles)):
        for file in paths if read else ():
            list(chunks_of(read, file, NO_OPTIONS, {}))


def packed_zip(content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.csv", content)
    return made.getvalue()


SEEDS: dict[Callable[[Path, bytes], None], tuple[bytes, ...]] = {
    tables: (
        b's1\ta\t["x"]\tb\n\n\0\n' + ROWS + b"u1\ts1\t5\tfine\t2020-01-01\n",
        b's1\t"a\nb"\t\t\n\n\0\nuser_id\tusername\nu1\tann\n',
    ),
    tags: (b'["a", "b"]', b"['a', 1]", b"a,b;c|d", "名、b".encode()),
    times: (b"2020-01-01T10:00:00Z", b"1577836800\n2020-01-01\n\n2020-13-01", b"1e300\nnow", b"2020-W01-1"),
    xml: (XML,),
    json: JSON,
    packings: tuple(
        pack(b"user_id,item_id\n1,2\n")
        for pack in (
            gzip.compress,
            bz2.compress,
            lzma.compress,
            packed_zip,
            lambda text: text.decode().encode("utf-16"),
            lambda text: b"sep=;\n" + text,
        )
    ),
}


def main() -> None:
    readers = {read.__name__: read for read in SEEDS}
    if len(sys.argv) < 2 or sys.argv[1] not in readers:
        sys.exit(f"name one of: {', '.join(readers)}")
    read = readers[sys.argv[1]]
    logging.disable(logging.CRITICAL)
    with TemporaryDirectory() as work, TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[read]):
            (Path(corpus) / str(number)).write_bytes(seed)

        def once(content: bytes) -> None:
            try:
                read(Path(work), content)
            except (ValueError, OSError) as error:
                if len(str(error).splitlines()) != 1:
                    raise RuntimeError(f"no sentence: {error!r}") from error

        atheris.Setup([sys.argv[0], corpus, *sys.argv[2:]], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
