"""ids.tsv: the ids that titles have on several sites, by which a list of another site than the data's is matched."""

from pathlib import Path
from urllib.parse import quote

from dataset.readers import require_ids
from dataset.tables import find_file, read_table

COLUMNS = ("subject_id", "site", "id")
# site -> its name, and the address of an anime on it
PAGES = {
    "bangumi": ("Bangumi", "https://bgm.tv/subject/"),
    "myanimelist": ("MyAnimeList", "https://myanimelist.net/anime/"),
    "anilist": ("AniList", "https://anilist.co/anime/"),
    "kitsu": ("Kitsu", "https://kitsu.io/anime/"),
    "anidb": ("AniDB", "https://anidb.net/anime/"),
}


def read_site_ids(folder: Path, rows: dict[str, int]) -> dict[tuple[str, str], int]:
    """Read the optional ids.tsv.

    Args:
        folder: of the data.
        rows: id -> row of a title; ids of titles that it does not have are left out.

    Returns:
        (site, id on it) -> row of the title; an id that several titles have on a site tells nothing and is left out.

    Raises:
        ValueError: an id is empty, or the file damaged.
    """
    if not find_file(folder, "ids.tsv"):
        return {}
    path, table = read_table(folder, "ids.tsv", COLUMNS)
    require_ids(path, table, *COLUMNS)
    table = table[table["subject_id"].isin(rows)].drop_duplicates()
    table = table[~table.duplicated(["site", "id"], keep=False)]
    titles = table["subject_id"].map(rows)
    return dict(zip(zip(table["site"].str.lower(), table["id"], strict=True), titles.tolist(), strict=True))


def pages_of(site_rows: dict[tuple[str, str], int]) -> dict[int, list[dict[str, str]]]:
    """Return the pages of titles by their rows, {"site", "address"} each, in the order of PAGES.

    Args:
        site_rows: as from read_site_ids.
    """
    found: dict[int, list[dict[str, str]]] = {}
    for site, (name, address) in PAGES.items():
        for (of_site, number), row in site_rows.items():
            if of_site == site:
                found.setdefault(row, []).append({"site": name, "address": address + quote(number, safe="")})
    return found
