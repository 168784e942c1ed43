"""Exports, dumps and data sets of any format, damaged: a data folder that is read again, or one sentence."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.readers import read_anime, read_interactions
from importers import read_export, recognise
from importers.common import ENTRY_COLUMNS, NO_OPTIONS, STATUSES
from importers.pipeline import convert
from importers.users import Rules
from tests.helpers.exports import anilist, bangumi_collections, mal_api
from tests.helpers.import_samples import PUBLISHED, SAMPLES, write
from tests.properties.inputs import assert_a_sentence, cells, damaged, folder, put


def bangumi_archive(home: Path) -> Path:
    subject = {
        "id": 8,
        "type": 2,
        "name": "ARIA",
        "name_cn": "水星",
        "summary": "On &lt;b&gt;Aqua",
        "nsfw": False,
        "infobox": "{{Infobox\r\n|别名={\r\n[en|Aria]\r\n}\r\n|放送开始= 2005年\r\n}}",
        "date": "2005-10-05",
        "tags": [{"name": "日常", "count": 5}],
        "meta_tags": ["TV"],
    }
    return write(home, subject__jsonlines="".join(json.dumps({**subject, "id": number}) + "\n" for number in (8, 9)))


def bangumi_takeout(home: Path) -> Path:
    return write(
        home,
        **{
            "takeout-ann-2024-01-01__csv": (
                "\ufeff名称,名称(中文),条目类型,地址,状态,最后标注,我的评分,我的评论\n"
                'ARIA,水星,动画,https://bgm.tv/subject/8,看过,2020-01-01,8,"a, ""b"""\n'
                "K,乾,动画,https://bgm.tv/subject/9,想看,2020-01-01,(无评分),(无评论)\n"
            )
        },
    )


def bangumi_tsv(home: Path) -> Path:
    return write(
        home,
        record__tsv=(
            "uid\tiid\ttyp\tstate\tadddate\trate\ttags\tcomment\n"
            "ann\t8\tanime\tcollect\t2014-01-01\t7\t\tok\nbob\t9\tanime\tdo\t2014-01-02\tNone\t\t\n"
        ),
    )


def mal(home: Path) -> Path:
    entry = (
        "<anime><series_animedb_id>{}</series_animedb_id><series_title><![CDATA[Bebop]]></series_title>"
        "<my_score>8</my_score><my_status>Completed</my_status><my_finish_date>2020-00-00</my_finish_date>"
        "<my_comments><![CDATA[ok]]></my_comments></anime>\n"
    )
    return write(
        home,
        animelist__xml=(
            '<?xml version="1.0" encoding="UTF-8" ?>\n<myanimelist>\n<myinfo><user_name>ann</user_name>'
            "<user_export_type>1</user_export_type></myinfo>\n" + entry.format(1) + entry.format(2) + "</myanimelist>\n"
        ),
    )


def anilist_gdpr(home: Path) -> Path:
    entries = [
        {
            "series_id": number,
            "series_type": number % 2,
            "status": 2,
            "score": 85,
            "notes": None,
            "updated_at": "2020-01-02",
        }
        for number in (20, 21, 22)
    ]
    return write(home, gdpr_data__json=json.dumps({"user": {"display_name": "ann"}, "lists": entries}))


def mal_load(home: Path) -> Path:
    entries = [
        {"status": 2, "score": 8, "anime_id": number, "anime_title": "a", "updated_at": 1600000000} for number in (1, 2)
    ]
    return write(home, ann__json=json.dumps(entries))


def shikimori(home: Path) -> Path:
    entry = {"target_title": "a", "target_type": "Anime", "score": 9, "status": "completed", "text": None}
    return write(home, ann__json=json.dumps([{**entry, "target_id": number} for number in (1, 2)]))


def yamtrack(home: Path) -> Path:
    return write(
        home,
        ann__csv=(
            '"media_id","source","media_type","title","score","status","end_date"\n"1","mal","anime","a","9","Completed",""\n'
            '"2","mal","manga","b","","In progress",""\n"","manual","anime","c","7.5","Planning","2020-01-01"\n'
        ),
    )


EXPORTS = {
    **SAMPLES,
    **PUBLISHED,
    "bangumi-archive": bangumi_archive,
    "bangumi-collections": bangumi_collections,
    "bangumi-takeout": bangumi_takeout,
    "bangumi-tsv": bangumi_tsv,
    "mal": mal,
    "anilist": anilist,
    "anilist-gdpr": anilist_gdpr,
    "mal-api": mal_api,
    "mal-load": mal_load,
    "shikimori": shikimori,
    "yamtrack": yamtrack,
}
RULES = Rules(STATUSES, adult=True)
# a dump of titles needs lists to go with it
BESIDE = {"bangumi-archive": bangumi_collections}
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | cells,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(cells, inner, max_size=3),
    max_leaves=4,
)


def places(found: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a JSON value as a container and a key or number."""
    for key, part in found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ():
        yield found, key
        yield from places(part)


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """Put anything in the place of a value of some JSON, or a line of it; other content stays."""
    lines = content.decode("utf-8", "replace").splitlines()
    which = draw(st.integers(0, len(lines) - 1)) if lines else 0
    try:
        found = json.loads(lines[which])
    except (ValueError, IndexError):
        return content
    known = list(places(found))
    if not known:
        return content
    for _ in range(draw(st.integers(0, 2))):
        container, key = known[draw(st.integers(0, len(known) - 1))]
        container[key] = draw(ANY)
    return "\n".join([*lines[:which], json.dumps(found), *lines[which + 1 :]]).encode("utf-8", "surrogatepass")


def prepared(home: Path, name: str, data: st.DataObject) -> Path:
    """Write a sample with some of its files damaged."""
    source = EXPORTS[name](home / "source")
    if name in BESIDE:
        BESIDE[name](source)
    for path in sorted(source.iterdir()):
        content = data.draw(damaged(data.draw(changed(path.read_bytes())), 1))
        packed = data.draw(st.sampled_from((False, False, False, True)))
        path.unlink()
        put(path, content, packed)
    return source


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTS)
def test_a_damaged_data_set(name: str) -> None:
    @settings(max_examples=settings().max_examples // 10)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        with folder() as home:
            source, out = prepared(home, name, data), home / "out"
            try:
                convert([recognise(source)], out, NO_OPTIONS, RULES)
            except (ValueError, OSError) as error:
                assert_a_sentence(error, str(source), "no row is left", "none of the sources has lists")
                assert not (out / "interactions.tsv").exists()
                return
            anime = read_anime(out)
            rows, _ = read_interactions(out, anime["subject_id"])
            assert len(rows)
            assert anime["subject_id"].is_unique
            assert not list(out.glob("*.tmp"))

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTS)
def test_a_damaged_list_of_one_person(name: str) -> None:
    @settings(max_examples=settings().max_examples // 10)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        with folder() as home:
            for path in prepared(home, name, data).iterdir():
                try:
                    made, rows = read_export(path)
                except (ValueError, OSError) as error:
                    assert_a_sentence(error, path.name)
                    continue
                assert made
                assert set(ENTRY_COLUMNS) <= set(rows)
                assert len(rows)
                assert rows["status"].isin(STATUSES).all()
                assert np.isfinite(pd.to_numeric(rows["rate"])).all()  # below 0 where the scale has that
                assert all(isinstance(one, str) for one in rows["subject_id"])

    check()
