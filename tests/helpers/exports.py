"""Small exports of people's lists, as the sites' APIs answer."""

import json
from pathlib import Path

from tests.helpers.import_samples import write


def bangumi_collections(home: Path) -> Path:
    entries = [
        {
            "subject_id": number,
            "subject_type": 2,
            "type": 2,
            "rate": 7,
            "comment": "ok",
            "updated_at": "2020-01-01",
            "subject": {
                "id": number,
                "name": "a",
                "name_cn": "b",
                "short_summary": "c",
                "date": "2001-01-01",
                "tags": [{"name": "x", "count": 1}],
            },
        }
        for number in (8, 9)
    ]
    return write(home, ann__json=json.dumps({"data": entries, "total": 2, "limit": 50, "offset": 0}))


def anilist(home: Path) -> Path:
    entries = [
        {
            "mediaId": number,
            "status": "COMPLETED",
            "score": 8,
            "notes": None,
            "updatedAt": 1400000000,
            "media": {
                "idMal": number,
                "title": {"romaji": "a", "english": None, "native": "b"},
                "genres": ["Drama"],
                "isAdult": False,
                "description": "x",
                "seasonYear": 2001,
                "tags": [{"name": "t"}],
            },
        }
        for number in (20, 21)
    ]
    return write(
        home,
        ann__json=json.dumps(
            {
                "data": {
                    "MediaListCollection": {"user": {"name": "ann"}, "lists": [{"name": "done", "entries": entries}]}
                }
            }
        ),
    )


def mal_api(home: Path) -> Path:
    entries = [
        {
            "node": {"id": number, "title": "a", "media_type": "tv", "genres": [{"id": 1, "name": "x"}]},
            "list_status": {"status": "completed", "score": 8, "updated_at": "2020-01-01T00:00:00+00:00"},
        }
        for number in (20, 21)
    ]
    paging = {"next": "https://api.myanimelist.net/v2/users/ann/animelist?offset=2"}
    return write(home, ann__json=json.dumps({"data": entries, "paging": paging}))
