"""Recommend with the vectors of a finished run.

    python recommend.py                  write recommendations.json: all lists
    python recommend.py --user WHO       print the list of a user of the run
    python recommend.py --new_user TITLE,TITLE:RATE,...
                                         for someone who collected these
    python recommend.py --wish "a slow, sad story about robots, no romance"
                         like these words, perhaps beside --user or --new_user

WHO and TITLE are ids, or names where only one fits; one that holds a comma
stands in double quotes. RATE is as in the data: "Naruto:9,K-On!:3". A new
title is a FILE with name, tags_name and summary, as JSON or a TSV of one row.
Without a user, --out writes everybody's lists; for one user, a .json has what
--why says as because, despite and parts.

Settings as for main.py; --saved_dir says where the run is, and --data_dir where
its data are now, if not where they were in training.
"""

import sys

from runtime.cli import Flags, answer_early, share, whole_number

FILTERS = ("new", "tags", "not_tags", "min_year", "max_year", "type", "season")
PERSON = ("franchise", "go_on", "niche", "diversity", "min_collectors")
LISTS = ("k", "out", "bom", "why", "parts", *PERSON, *FILTERS)  # of one list
# what is asked -> what can stand beside it
BESIDE = {
    "user": (*LISTS, "taste", "wish", "wish_weight"),
    "new_user": (*LISTS, "taste", "wish", "wish_weight"),
    "wish": LISTS,
    "users": ("k", "out", "bom", "taste", *PERSON, *FILTERS),
    "similar": ("k", *FILTERS),
    "new_item": ("k", *FILTERS),
    "export": (),
    "out": ("k", "bom", *FILTERS),  # everybody's lists, to a file
    "everybody": ("k",),  # to recommendations.json, which holds what main.py wrote: nothing filtered
}
FLAGS = Flags(__doc__)
one_of, beside = FLAGS.add_argument_group("what to do, one of"), FLAGS.add_argument_group("beside it")
one_of.add_argument("--user", metavar="WHO", help="print the list of a user of the run")
one_of.add_argument("--new_user", metavar="TITLES", help="... of someone who collected these, or a site's export")
one_of.add_argument("--wish", metavar="WORDS", help="... of what is asked for in words; also beside one of these two")
one_of.add_argument("--users", metavar="FILE", help="... of each user id in FILE, one a line; - is the input")
one_of.add_argument("--similar", metavar="TITLE", help="print what is nearest, by who collects it and by text")
one_of.add_argument("--new_item", metavar="FILE", help="print what a new title is like, and whom it suits")
one_of.add_argument("--export", metavar="DIR", help="write vectors for an index of inner products, and the split")
beside.add_argument("--k", metavar="N", type=whole_number(1), help="how many titles")
beside.add_argument("--out", metavar="FILE", help="write lists: .json, .jsonl, .csv, .tsv or .parquet")
beside.add_argument("--bom", action="store_true", help="begin a .csv or .tsv with a mark, by which Excel reads UTF-8")
beside.add_argument("--why", action="store_true", help="which collected titles brought each, and in spite of which")
beside.add_argument("--parts", action="store_true", help="... and what each score is the sum of")
beside.add_argument("--taste", metavar="T", type=share, help="0: what they will watch .. 1: what they will rate highly")
beside.add_argument("--franchise", choices=("first", "new", "all"), help="first: one a franchise, as for one person")
beside.add_argument("--wish_weight", metavar="W", type=share, help="0: by taste alone .. 1: by the words alone")
beside.add_argument("--continue", dest="go_on", action="store_true", help="only what goes on from titles they have")
beside.add_argument("--niche", metavar="N", type=share, help="0: what everybody knows .. 1: hidden gems")
beside.add_argument("--diversity", metavar="D", type=share, help="0: the best ones .. 1: the most unlike each other")
beside.add_argument("--min_collectors", metavar="N", type=whole_number(0), help="only titles that N people collected")
beside.add_argument("--new", action="store_true", help="only titles without a pair in train")
beside.add_argument("--tags", metavar="TAG,TAG", help="only titles with all of these tags")
beside.add_argument("--not_tags", metavar="TAG,TAG", help="only titles with none of these tags")
beside.add_argument("--min_year", metavar="YEAR", type=int, help="only titles of this year or later")
beside.add_argument("--max_year", metavar="YEAR", type=int, help="only titles of this year or earlier")
beside.add_argument("--type", metavar="TYPE,TYPE", help="only titles made as one of these, such as TV,Movie")
beside.add_argument("--season", metavar="SEASON", help="only titles that began in it, such as 2014-fall")

if __name__ == "__main__":
    answer_early(FLAGS)  # before the imports below, which take seconds

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from config import get_config
from dataset.seasons import season_of
from dataset.tables import read_input
from inference import explanations
from inference.cold_items import check_places_by_text, read_fields
from inference.export import export
from inference.finished_run import FinishedRun, load_finished
from inference.lists import Titles, for_new_item, list_for_person, similar_titles
from inference.lookup import Filters, allowed_items, title_row, user_row
from inference.name_forms import folded
from inference.people import UNKNOWN, has_of, has_of_user, named_person, place, tells_nothing
from inference.shaped_lists import Has, Rules
from inference.taste import AS_MEASURED, FOR_PEOPLE, with_taste
from inference.terminal import printed
from inference.title_search import search, split_names
from inference.top_k import check_format, each_list, write_lists
from inference.user_list import is_path, read_user_list
from inference.wishes import WEIGHT, list_for_wish, wish_for
from runtime import manifest
from runtime.cli import run_script
from runtime.encodings import unmarked_text_in

log = logging.getLogger("aglrec")

SIDES = {"collectors": "by who collects them", "text": "by their text"}


def parse(argv: list[str] | None = None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Read the command line: this script's own flags, and the settings for get_config.

    Raises:
        ValueError: a value is missing or of a wrong kind, or flags contradict each other.
    """
    asked, overrides = FLAGS.read(argv)
    asked.what = what_is_asked([name for name, value in vars(asked).items() if value != FLAGS.get_default(name)])
    if asked.min_year and asked.max_year and asked.min_year > asked.max_year:
        raise ValueError(f"--min_year {asked.min_year} is after --max_year {asked.max_year}; exchange them")
    if asked.wish_weight is not None and asked.wish is None:
        raise ValueError("--wish_weight is for what --wish asks; add --wish WORDS")
    if asked.bom and asked.out is None:
        raise ValueError("--bom is for a file that --out names; add --out lists.csv")
    asked.why = asked.why or asked.parts
    if asked.out is not None:
        check_format(Path(asked.out), asked.bom, asked.why)
    return asked, overrides if asked.k is None else {**overrides, "recommend_k": asked.k}


def what_is_asked(given: list[str]) -> str:
    """Return the key of BESIDE that the names of flags ask for.

    Raises:
        ValueError: they ask for two things, or one of them does not go with what is asked.
    """
    asked = [name for name in given if name in BESIDE and name not in ("out", "wish")]
    if len(asked) > 1:
        raise ValueError(f"--{asked[0]} and --{asked[1]} ask for two things; give one of them")
    what = asked[0] if asked else next((name for name in ("wish", "out") if name in given), "everybody")
    for name in given:
        if name not in (what, *BESIDE[what]):
            others = ", ".join(f"--{key}" for key, beside in BESIDE.items() if name in beside and key != "everybody")
            wrong = f"does not go with --{what}" if asked or what == "wish" else "alone does not say for whom"
            raise ValueError(f"--{name} {wrong}; it goes with {others}")
    return what


def candidates(run: FinishedRun, asked: argparse.Namespace) -> np.ndarray | None:
    """Return the rows of the titles that may be listed, None for all."""
    tags, not_tags = (
        tuple(split_names(given, lambda text: folded(text) in run.tags)) if given is not None else ()
        for given in (asked.tags, asked.not_tags)
    )
    types, season = tuple(map(str.strip, (asked.type or "").split(","))), asked.season or ""
    wanted = (tags, not_tags, asked.min_year, asked.max_year, types if asked.type else (), season_of(season) or season)
    among = allowed_items(run, Filters(*wanted))
    if among is not None and not len(among):
        raise ValueError("no title has all that is asked of it; ask for fewer tags, or more years, types or seasons")
    if not asked.new:
        return among
    check_places_by_text(run)
    return run.cold_items if among is None else np.intersect1d(among, run.cold_items)


def rules_of(asked: argparse.Namespace, franchise: str) -> Rules:
    """Read the rules of lists; franchise is how they go by franchises unless it is said.

    Raises:
        ValueError: two flags say different things of franchises.
    """
    if asked.go_on and asked.franchise:
        raise ValueError(f"--continue and --franchise {asked.franchise} contradict each other; give one of them")
    niche, diversity = (Rules().niche if asked.niche is None else asked.niche), asked.diversity or 0.0
    how = "continue" if asked.go_on else asked.franchise or franchise
    return Rules(how, niche, diversity, asked.min_collectors or 0)


# --- what each flag does ---


def for_user(run: FinishedRun, asked: argparse.Namespace, k: int) -> None:
    """List for a user of the run."""
    user = user_row(run, asked.user)
    raw, name, vector = run.dataset.raw_user_ids[user], run.dataset.user_names[user], run.user_emb[user]
    composition = explanations.of_user(explanations.sources_of(run), user, vector) if asked.why else None
    list_for_one(run, asked, k, f"for {name} ({raw})", raw, vector, has_of_user(run, user), composition)


def for_new_user(run: FinishedRun, asked: argparse.Namespace, k: int) -> None:
    """List for someone who is not in the run, from titles that are named or in an exported list."""
    path, is_id = Path(asked.new_user), asked.new_user in run.item_rows
    if not is_id and path.is_file():
        found, summary = read_user_list(run, path)
        who = found.person
        log.info(summary)
        heading = f"for whom {path.name} is the list of:"
    elif not is_id and is_path(asked.new_user) and not search(run.names, asked.new_user, 1):
        found = "a folder" if path.is_dir() else "missing"
        raise FileNotFoundError(
            f"{path} is {found}, and no title is called so; name an exported list, or titles separated by commas"
        )
    else:
        who, heading = named_person(run, asked.new_user)
    if tells_nothing(run, who):
        raise ValueError(f"{UNKNOWN}; name at least one more")
    user = place(run, who)
    composition = explanations.of_new_user(user, run.item_emb, run.layout) if asked.why else None
    list_for_one(run, asked, k, heading.rstrip(":"), "new user", user.users[0], has_of(who), composition)


def for_wish(run: FinishedRun, asked: argparse.Namespace, k: int) -> None:
    """List what is asked for in words, whoever asks."""
    composition = explanations.NOBODY if asked.why else None
    list_for_one(run, asked, k, "for anybody", "wish", None, Has(), composition)


def list_for_one(
    run: FinishedRun,
    asked: argparse.Namespace,
    k: int,
    heading: str,
    whose: str,
    user: torch.Tensor | None,
    has: Has,
    composition: explanations.Composition | None,
) -> None:
    """List for one person's vector, for the words that are asked with, or for both."""
    rules, among = rules_of(asked, "first"), candidates(run, asked)
    if asked.wish is None:
        titles = list_for_person(run, user, k, has, rules, among, composition)
    else:
        wish, weight = wish_for(run, asked.wish), WEIGHT if asked.wish_weight is None else asked.wish_weight
        if wish.reader.note:
            log.warning(wish.reader.note)
        titles = list_for_wish(run, wish, weight, user, k, has, rules, among, composition)
        heading += f", who asks for {wish.heading}"
    show_or_write(asked, f"{heading}:", whose, titles)


def show_or_write(asked: argparse.Namespace, heading: str, whose: str, titles: Titles) -> None:
    """Print one list, or write it to the file that --out names."""
    if asked.out is None:
        log.info(printed("new titles " * asked.new + heading, titles, asked.parts))
        return
    write_lists(Path(asked.out), [(whose, titles)], asked.bom)
    log.info(f"{asked.out}: {len(titles):,} titles {heading.rstrip(':')}")


def for_users(run: FinishedRun, asked: argparse.Namespace, k: int) -> None:
    """List for some users, or for all; to a file, or one after the other on the screen."""
    dataset, config = run.dataset, run.config
    users = np.arange(dataset.n_users) if asked.users is None else read_users(run, asked.users)
    rules, among = rules_of(asked, "all"), candidates(run, asked)
    if rules == Rules():
        lists = each_list(run.user_emb, run.item_emb, dataset, k, config, users, among)
    else:
        lists = (
            (
                dataset.raw_user_ids[user],
                list_for_person(run, run.user_emb[user], k, has_of_user(run, user), rules, among),
            )
            for user in users
        )
    if asked.what == "users" and asked.out is None:
        for raw, titles in lists:
            log.info(printed(f"for {dataset.user_names[run.user_rows[raw]]} ({raw}):", titles))
        return
    path = Path(config["saved_dir"]) / "recommendations.json" if asked.out is None else Path(asked.out)
    write_lists(path, tqdm(lists, total=len(users), unit="user", leave=False, disable=None), asked.bom)
    if asked.out is None:
        manifest.record_again(path.parent, path.name)
    log.info(f"{path}: up to {k} titles for each of {len(users):,} users")


def read_users(run: FinishedRun, name: str) -> np.ndarray:
    """Read the rows of users from a file with an id a line, or from standard input if it is called -, each once."""
    if name != "-" and not Path(name).is_file():
        raise FileNotFoundError(f"{name} is missing; --users names a file with a user id a line, or - for the input")
    ids = dict.fromkeys(line.strip() for line in read_input(name).splitlines() if line.strip())
    known, unknown = ([raw for raw in ids if (raw in run.user_rows) == is_known] for is_known in (True, False))
    if not known:
        raise ValueError(f"none of the {len(ids):,} lines of {name} is the id of a user of this run")
    if unknown:
        log.warning(
            f"{len(unknown):,} of {len(ids):,} ids are of no user of this run and get no list, the first of "
            f"them {unknown[0]!r}"
        )
    return np.array([run.user_rows[raw] for raw in known])


def like_title(run: FinishedRun, asked: argparse.Namespace, k: int) -> None:
    """List the titles nearest to a title."""
    item = title_row(run, asked.similar)
    for side, titles in similar_titles(run, item, k, candidates(run, asked)).items():
        log.info(printed(f"nearest to {run.dataset.item_names[item]}, {SIDES[side]}:", titles))


def like_new_item(run: FinishedRun, asked: argparse.Namespace, k: int) -> None:
    """List what a title in no data is like, and whom it suits."""
    found = for_new_item(run, read_fields(Path(asked.new_item)), k, candidates(run, asked))
    for side, words in SIDES.items():
        log.info(printed(f"titles it is like, {words}:", found[side]))
    log.info(printed("the users whom it suits best:", found["users"]))


ANSWERS = {
    "user": for_user,
    "new_user": for_new_user,
    "wish": for_wish,
    "users": for_users,
    "similar": like_title,
    "new_item": like_new_item,
    "export": lambda run, asked, k: export(run, Path(asked.export)),
    "out": for_users,
    "everybody": for_users,
}


# --- the screen ---


def main() -> None:
    """Answer what the command line asks."""
    asked, overrides = parse()
    config = get_config(overrides)
    with unmarked_text_in(config["encoding"]):
        answer(load_finished(config), asked)


def answer(run: FinishedRun, asked: argparse.Namespace) -> None:
    """Answer with a run."""
    k, n_items = run.config["recommend_k"], run.dataset.n_items
    if asked.k is not None and k > n_items:
        raise ValueError(f"--k asks for {k:,} titles, but the data have {n_items:,}; ask for fewer")
    run = minding_rates(run, asked)
    ANSWERS[asked.what](run, asked, min(k, n_items))


def minding_rates(run: FinishedRun, asked: argparse.Namespace) -> FinishedRun:
    """Return the run with the taste that is asked for, or with that for someone outside the run."""
    taste = FOR_PEOPLE if asked.what == "new_user" else AS_MEASURED
    if asked.taste is not None:
        taste = asked.taste
        if not run.uses_rates:
            log.warning("this run was trained without rates (--rating_weight), so --taste changes nothing")
    return with_taste(run, taste, users=asked.what != "new_user")


if __name__ == "__main__":
    sys.exit(run_script(main))
