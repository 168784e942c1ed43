"""Where sites tell of a title."""

from dataset.site_ids import pages_of


def test_pages_are_those_of_known_sites_in_one_order_and_ids_are_quoted() -> None:
    rows = {("anilist", "5"): 2, ("myanimelist", "7"): 2, ("tmdb", "9"): 2, ("bangumi", "a/b"): 4}
    assert pages_of(rows) == {
        2: [
            {"site": "MyAnimeList", "address": "https://myanimelist.net/anime/7"},
            {"site": "AniList", "address": "https://anilist.co/anime/5"},
        ],
        4: [{"site": "Bangumi", "address": "https://bgm.tv/subject/a%2Fb"}],
    }
