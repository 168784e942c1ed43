"""Turn the exports, dumps and data sets that people have into a data folder: anime.tsv, interactions.tsv and the like.

    python tools/convert.py auto SOURCE [SOURCE ...] --out DIR
    python tools/convert.py --list

FORMAT is auto, which may be left out, or one of those that --list prints. SOURCE is a file, a folder or a zip; several
may be of different formats, such as a dump of titles and lists that go with it, as long as their ids are of the same
site. A title that no list holds stays: that new titles can be recommended from their text is the point. Relations
between titles go to relations.tsv, ids of titles on other sites to ids.tsv.

A split as published (MMRec's x_label, RecBole's NAME.train.inter and so on, train.txt and test.txt of LightGCN, the
matrices of RLMRec) arrives in the column part of interactions.tsv, and main.py takes it as it is.

What a user only wishes for, or dropped, is no positive: such rows go to known.tsv, so that nothing learns from them and
these titles are not recommended to them either. --statuses decides otherwise.
"""

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from dataset.given import COLUMN
from dataset.parquet import ENDING, write_columns
from dataset.readers import INTERACTION_COLUMNS, find_file
from dataset.tables import table_chunks
from importers import FORMATS, as_lists, recognise
from importers.common import POSITIVE, STATUSES, Options, Source, remarks_of
from importers.pipeline import FILES, KNOWN, RELATIONS, Result, convert, is_unfinished, with_owners
from importers.users import Rules
from runtime.cli import Flags, named_encoding, run_script, whole_number
from runtime.encodings import unmarked_text_in
from runtime.workbooks import needed

log = logging.getLogger("aglrec")

ROWS = "interactions.tsv"
FEW = 10  # users, from whom nothing is learned
NAMED = 5  # users whose lists are not whole
UNKNOWN = "unknown"  # how the status of sources that know none is called on the command line
ALL_STATUSES, DEFAULT_STATUSES = (",".join(status or UNKNOWN for status in some) for some in (STATUSES, POSITIVE))


def named_statuses(text: str) -> tuple[str, ...]:
    """Read statuses separated by commas; "unknown" is that of sources that know none."""
    asked = tuple(word.strip().replace(UNKNOWN, "") for word in text.split(","))
    for status in asked:
        if status not in STATUSES:
            raise ValueError(f"--statuses names {status!r}; use some of: {ALL_STATUSES}")
    return asked


def named_columns(text: str) -> dict[str, str]:
    """Read OURS=THEIRS pairs, separated by commas."""
    pairs = [pair.strip() for pair in text.split(",") if pair.strip()]
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"--columns has {pair!r}; write OURS=THEIRS, as in user_id=userId")
    return dict(pair.split("=", 1) for pair in pairs)


def refuse_to_overwrite(folder: Path) -> None:
    """Raise if the folder has any of the files that a conversion writes, unless one was killed over them."""
    there = [found.name for name in FILES if (found := find_file(folder, name))]
    if there and not is_unfinished(folder):
        raise ValueError(
            f"{folder} has {', '.join(there)} already; name another --out, or replace them with --overwrite"
        )


def format_and_paths(words: list[str]) -> tuple[str, list[Path]]:
    """Part a format from the sources after it; without one it is auto.

    Raises:
        ValueError: there is a format, and no source.
    """
    name, *others = words
    is_format = name in ("auto", *FORMATS)
    if is_format and not others:
        raise ValueError(f"{name} is a format, and no source is named after it; name a file or folder to read")
    if is_format or (others and not Path(name).exists()):  # what is neither is refused as a format
        return name, [Path(word) for word in others]
    return "auto", [Path(word) for word in words]


def sources_of(name: str, paths: list[Path], options: Options) -> list[Source]:
    """Recognise sources, each once, and say what they are."""
    sources = {path: recognise(path, name) for path in {path.resolve(): path for path in paths}.values()}
    sources = dict(zip(sources, as_lists([*sources.values()], options), strict=True))
    for path, (made, files) in sources.items():
        relations = f", of relations: {len(files.relations):,}" * bool(files.relations)
        log.info(
            f"{path}: {made.name}; files of lists: {len(files.lists):,}, of titles: {len(files.titles):,}{relations}"
        )
        for file in dict.fromkeys((*files.lists, *files.titles)) if made.tell else ():
            for line in made.tell(file, options):
                log.info(line)
    return list(sources.values())


def warn_of_lacking(sources: list[Source], options: Options) -> None:
    """Name users whose lists are not whole, the first few of them."""
    for made, files in sources:
        lacking = made.lacking(files.lists, options) if made.lacking else {}
        for user, what in list(lacking.items())[:NAMED]:
            log.warning(f"the list of {user} is not whole: {what}")
        if lacking:
            more = f", {len(lacking) - NAMED:,} more than are named" * (len(lacking) > NAMED)
            log.warning(
                f"lists that are not whole: {len(lacking):,}{more}; they are taken as they are. Save the "
                "missing pages (tools/fetch_bangumi.py does) and convert again to have all of them"
            )


def remark_on(sources: list[Source], options: Options) -> None:
    """Say what was taken for granted in lists that do not say all about themselves, the same of many in one line."""
    files: dict[str, list[Path]] = {}
    for made, found in sources:
        for file in found.lists:
            for remark in remarks_of(made, file, options):
                files.setdefault(remark, []).append(file)
    for remark, of_it in files.items():
        log.warning(f"{named(of_it)}: {remark}")


def named(files: Sequence[Path]) -> str:
    """Name the first few of some files."""
    more = f" and {len(files) - NAMED:,} more" * (len(files) > NAMED)
    return ", ".join(str(file) for file in files[:NAMED]) + more


def convert_summary(result: Result, folder: Path) -> str:
    """Lay out what was written and what was not, and the commands that come next."""
    lines = [
        f"{folder}: {result.rows:,} rows of {result.users:,} users, {result.unrated:,} of them unrated; "
        f"{result.titles:,} titles" + ", named by their ids" * (not result.described)
    ]
    if result.known:
        lines.append(f"{KNOWN}: {result.known:,} rows of other statuses, no positives and not recommended back")
    if result.relations:
        lines.append(f"{RELATIONS}: {result.relations:,} relations between titles")
    if any(result.nameless):
        by_name, own = result.nameless
        lines.append(
            f"titles of lists without a number: {by_name:,} found by name among the others, {own:,} known by their "
            "names alone (name:...)"
        )
    for user, files in list(result.shared.items())[:NAMED]:
        lines.append(
            f"{user} is in {len(files):,} files ({named(files)}) and is taken as one user; of a title in several the "
            "newest row counts"
        )
    if len(result.shared) > NAMED:
        lines.append(f"users in several files: {len(result.shared):,}, each taken as one")
    if result.parts:
        parts = ", ".join(f"{n:,} {part or 'in no part'}" for part, n in result.parts.items())
        lines.append(f"the split of the source is in the column part, and main.py takes it as it is: {parts}")
    for what, dropped in (("rows", result.dropped_rows), ("titles", result.dropped_titles)):
        if any(dropped.values()):
            lines.append(f"left out of the {what}: " + ", ".join(f"{n:,} {why}" for why, n in dropped.items() if n))
    lines += result.told
    if result.users < FEW:
        lines.append(
            f"lists of {FEW} people and more teach what goes with what; with fewer, add theirs, or convert a "
            "data set and give this list to recommend.py --new_user"
        )
    data = f"--data_dir {shlex.quote(str(folder))}"
    train = ["python main.py", data, "--preset tuned --refit true"]
    train.append("--model_name lsa" if result.described else "--fusion_mode none")
    if 2 * result.unrated > result.rows and not result.parts:
        train.append("--min_rate 0")
    elif result.min_rate is not None and not result.parts:
        train.append(f"--min_rate {np.format_float_positional(result.min_rate, trim='-')}")
    following = (
        f"python tools/check.py {shlex.quote(str(folder))}",
        " ".join(train),
        f"python recommend.py {data} --user WHO",
    )
    return "\n".join([*lines, "next:", *(f"    {command}" for command in following)])


def kept_as(folder: Path, parquet: bool) -> None:
    """Put interactions.parquet in the place of the interactions.tsv just written, or take away one from before."""
    rows = folder / ROWS
    if parquet:
        write_columns(rows.with_suffix(ENDING), table_chunks(rows, INTERACTION_COLUMNS, (COLUMN,)))
    (rows if parquet else rows.with_suffix(ENDING)).unlink(missing_ok=True)


def main() -> None:
    """Run the command line."""
    flags = Flags(__doc__)
    # argparse's own way to print something and leave, before it asks for what is missing
    formats = "\n".join(f"{name:20} {made.what}\n{'':20} {made.takes}" for name, made in FORMATS.items())
    flags.add_argument("--list", action="version", help="print the formats and leave", version=formats + "\n")
    flags.add_argument("sources", nargs="+", metavar="[FORMAT] SOURCE", help="what is read, and as what")
    flags.add_argument("--out", required=True, type=Path, metavar="DIR", help="the data folder to write")
    flags.add_argument("--overwrite", action="store_true", help="replace the files of DIR")
    flags.add_argument(
        "--parquet", action="store_true", help="write interactions.parquet (needs pyarrow), read without parsing"
    )
    flags.add_argument("--statuses", default=DEFAULT_STATUSES, help=f"whose rows may be positives, of {ALL_STATUSES}")
    flags.add_argument(
        "--users", type=whole_number(0), default=0, metavar="N", help="keep N users, drawn at random; 0: all"
    )
    flags.add_argument("--seed", type=whole_number(0), default=0, help="of that draw")
    flags.add_argument("--min_rows", type=whole_number(1), default=1, metavar="N", help="rows a user needs")
    flags.add_argument("--adult", choices=("no", "yes"), default="no", help="keep adult titles")
    flags.add_argument("--collected_only", action="store_true", help="leave out titles that no kept row names")
    flags.add_argument("--user", default="", help="whose list it is, where the file does not say")
    flags.add_argument("--spoilers", choices=("keep", "drop"), default="keep", help="what [spoiler] and the like hold")
    columns_help = "of pairs: which column is which, as in user_id=userId,subject_id=movieId"
    encoding_help = "of files without a mark of theirs, such as gb18030, big5, shift_jis, cp1252 (default: UTF-8)"
    flags.add_argument("--encoding", type=named_encoding, default="", metavar="NAME", help=encoding_help)
    flags.add_argument("--columns", default="", metavar="OURS=THEIRS,...", help=columns_help)
    lines_help = "of train.txt: a user and all their items, or user, item, weight; auto: as they look"
    flags.add_argument("--text_lines", choices=("auto", "items", "triples"), default="auto", help=lines_help)
    site_help = "whose ids titles go by in a catalogue of several sites: that of the lists (--list says the default)"
    flags.add_argument("--site", default="", metavar="NAME", help=site_help + ", such as myanimelist, anilist, bangumi")
    asked = flags.parse_args()
    if asked.parquet:
        needed("pyarrow", asked.out / "interactions.parquet", "leave --parquet out")
    if not asked.overwrite:
        refuse_to_overwrite(asked.out)
    statuses, adult = named_statuses(asked.statuses), asked.adult == "yes"
    rules = Rules(
        statuses, asked.users, asked.seed, asked.min_rows, adult, asked.collected_only, asked.spoilers == "drop"
    )
    options = Options(asked.user, named_columns(asked.columns), text_lines=asked.text_lines, site=asked.site)
    try:
        with unmarked_text_in(asked.encoding):
            sources = sources_of(*format_and_paths(asked.sources), options)
            result = convert(sources, asked.out, options, rules)
            options = with_owners(options, sources)
            warn_of_lacking(sources, options)
            remark_on(sources, options)
    except KeyboardInterrupt:
        log.info(f"interrupted; {asked.out} is as it was, and the same command starts anew")
        sys.exit(130)
    kept_as(asked.out, asked.parquet)
    log.info(convert_summary(result, asked.out))


if __name__ == "__main__":
    sys.exit(run_script(main))
