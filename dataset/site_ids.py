"""ids.tsv: the ids that titles have on several sites, by which a list of another site than the data's is matched."""

from pathlib import Path

from dataset.readers import require_ids
from dataset.tables import find_file, read_table

COLUMNS = ("subject_id", "site", "id")


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
