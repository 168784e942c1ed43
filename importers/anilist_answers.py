"""What answers of AniList's API hold: whose lists, of anime or of manga, on which scale."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dataset.tables import on_one_line
from importers.common import read_json
from importers.kinds import ANIME, MANGA, kind_in, kind_of, kind_of_file
from importers.scores import TOPS

QUERY = (
    "user { name mediaListOptions { scoreFormat } } lists { entries { mediaId status score updatedAt notes "
    "media { type idMal title { romaji english native } synonyms "
    "relations { edges { relationType node { id idMal type } } } } } }"
)
# of the lists that AniList makes itself; a name that both kinds have, such as Completed, says nothing
ANIME_LISTS = ("watching", "rewatching", "completed tv", "completed movie", "completed ova", "completed ona")
MANGA_LISTS = ("reading", "rereading", "completed manga", "completed novel", "completed one shot")
GENERAL = ("", "data", "Page", "MediaListCollection")  # under which a collection stands without an alias
DEEP = 6  # how deep in an answer a collection may stand


class Entry(NamedTuple):
    """An entry of a list, and what is known of it from where it stands."""

    cells: dict[str, Any]
    user: str  # "" where the answer does not name one
    kind: str  # "anime" or "manga"; "" where nothing says so
    group: str  # the name of the list in which it is
    score_format: str


class Answers(NamedTuple):
    """All entries of a file, in its order, and the errors that came with them."""

    entries: list[Entry]
    errors: list[str]


def answers(path: Path) -> Answers:
    """Read a file of one answer or of several, to a query of one collection or of several under aliases.

    Raises:
        FileNotFoundError, ValueError: it is missing, no JSON, an error, or holds no collection.
    """
    whole = read_json(path)
    errors = [_message(error) for error in _errors(whole)]
    found = list(_collections(whole, "", DEEP))
    if errors and not found:
        said = on_one_line("; ".join(dict.fromkeys(errors)))
        remedy = "make the list public" if re.search("private", said, re.IGNORECASE) else "ask again"
        raise ValueError(f"{path}: AniList answered with an error ({said}); {remedy} and save it again")
    groups = [group for _, collection in found for group in collection["lists"]]
    every = [entry for group in groups for entry in group["entries"]]
    if not found or not all(isinstance(entry, dict) and {"mediaId", "media"} & set(entry) for entry in every):
        raise ValueError(f"{path}: no MediaListCollection; save the answer to a query of {QUERY}")
    kind, score_format = _asked(whole)
    asked = (kind or kind_of_file(path), score_format)
    unnamed = {alias for alias, collection in found if not _user(collection) and alias not in GENERAL}
    return Answers(
        [
            entry
            for alias, collection in found
            for entry in _entries(
                collection, alias if len(unnamed) > 1 and alias in unnamed else "", kind_in(alias), whole, asked
            )
        ],
        errors,
    )


def _collections(node: Any, alias: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what has lists of entries, by the name under which it stands: an alias, or MediaListCollection."""
    if isinstance(node, list) and node and all(isinstance(part, dict) and "mediaId" in part for part in node):
        yield alias, {"lists": [{"entries": node}]}
    elif isinstance(node, list) and depth:
        for part in node:
            yield from _collections(part, alias, depth - 1)
    elif isinstance(node, dict) and isinstance(node.get("lists"), list):
        if all(isinstance(group, dict) and isinstance(group.get("entries"), list) for group in node["lists"]):
            yield alias, node
    elif isinstance(node, dict) and isinstance(node.get("mediaList"), list):
        yield alias, {**node, "lists": [{"entries": node["mediaList"]}]}
    elif isinstance(node, dict) and depth:
        for key, part in node.items():
            yield from _collections(part, key, depth - 1)


def _entries(collection: dict[str, Any], alias: str, kind: str, whole: Any, asked: tuple[str, str]) -> Iterator[Entry]:
    """Yield the entries of a collection; its alias is the user if several go without a name, and names no kind."""
    groups = collection["lists"]
    names = [str(group.get("name") or "") for group in groups if not group.get("isCustomList")]
    own = {_kind_of(entry) for group in groups for entry in group["entries"]} - {""}
    of_names = {kind for name in names for kind in [_kind_of_list(name)] if kind}
    # a collection is of one kind: what says so of one entry says it of all, unless another entry says otherwise
    kind = kind or (own.pop() if len(own) == 1 else "") or (of_names.pop() if len(of_names) == 1 else "") or asked[0]
    named = _user(collection) or ("" if kind_in(alias) else alias) or _viewer(whole)
    for group in groups:
        for cells in group["entries"]:
            user = _user(cells)
            yield Entry(
                {"status": group.get("status"), **cells},
                user or named,
                _kind_of(cells) or kind,
                str(group.get("name") or "") if not group.get("isCustomList") else "",
                asked[1] or _score_format(cells) or _score_format(collection) or _score_format(whole),
            )


def _kind_of(entry: dict[str, Any]) -> str:
    """Tell the kind of an entry by what AniList says of its work."""
    media = entry.get("media") if isinstance(entry.get("media"), dict) else {}
    address = re.search(r"anilist\.co/(anime|manga)/", str(media.get("siteUrl") or ""))
    told = kind_of(media.get("type")) or kind_of(media.get("format")) or (address[1] if address else "")
    if told:
        return told
    if media.get("chapters") or media.get("volumes") or entry.get("progressVolumes"):
        return MANGA
    return ANIME if media.get("episodes") or media.get("season") or media.get("seasonYear") else ""


def _kind_of_list(name: str) -> str:
    name = name.casefold()
    return ANIME if name in ANIME_LISTS else MANGA if name in MANGA_LISTS else ""


def _asked(whole: Any) -> tuple[str, str]:
    """Return the kind and the format of scores that a query says which was saved with its answer."""
    text = " ".join(str(whole.get(key) or "") for key in ("query", "variables", "request")) if _is_dict(whole) else ""
    kinds = set(re.findall(r"\b(ANIME|MANGA)\b", text))
    formats = set(re.findall(r"format:?\W{1,3}(POINT_\w+)", text)) & set(TOPS)
    return (kind_of(kinds.pop()) if len(kinds) == 1 else ""), (formats.pop() if len(formats) == 1 else "")


def _user(node: dict[str, Any]) -> str:
    user = node.get("user")
    return str(user.get("name") or "") if isinstance(user, dict) else ""


def _viewer(whole: Any) -> str:
    """Return the name of whom the answer is about beside the collection."""
    data = whole.get("data") if _is_dict(whole) else None
    users = [data[key] for key in ("Viewer", "User") if _is_dict(data.get(key))] if _is_dict(data) else []
    return next((str(user["name"]) for user in users if user.get("name")), "")


def _score_format(node: Any) -> str:
    """Return the format that a collection, or what stands beside it, names for its user."""
    places = [node, *(node.get(key) for key in ("user", "data", "Viewer", "User"))] if _is_dict(node) else []
    data = node.get("data") if _is_dict(node) else None
    places += [data.get(key) for key in ("Viewer", "User")] if _is_dict(data) else []
    options = [place.get("mediaListOptions") for place in places if _is_dict(place)]
    known = [place.get("scoreFormat") for place in [*options, *places] if _is_dict(place)]
    return next((str(one) for one in known if one), "")


def _errors(whole: Any) -> list[Any]:
    parts = whole if isinstance(whole, list) else [whole]
    errors = [part["errors"] for part in parts if _is_dict(part) and part.get("errors")]
    return [error for of_one in errors for error in (of_one if isinstance(of_one, list) else [of_one])]


def _message(error: Any) -> str:
    return str(error.get("message") or "") if _is_dict(error) else str(error)


def _is_dict(node: Any) -> bool:
    return isinstance(node, dict)
