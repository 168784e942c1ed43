"""Titles in no data, placed by their text just as the run placed its cold items."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dataset.readers import title_text
from dataset.tables import read_text
from dataset.tags import parse_tags, tag_names
from inference.finished_run import FinishedRun
from inference.kept import kept
from llm_embedding import further_blocks, fused_titles
from runtime.safe_files import parse_json
from text.encoders import Encode, open_encoder
from text.languages import without_language
from text.scripts import is_foreign, script_of
from training.placed_by_text import score_spreads, text_regression

FIELDS = ("name", "tags_name", "summary")
# titles that are encoded again to see that an encoder still does what it did, and the least cosine of the two vectors
SAMPLE, AGREEMENT = 8, 0.99
NAMED = 32  # titles that show what a text of a name alone is like
NEAR = 0.02  # cosine by which a title counts 1/e of one that is nearer, for titles in another language


class Title(NamedTuple):
    """What there is to read of a title."""

    name: str
    tags: list[str]
    summary: str


def read_title(fields: dict[str, Any]) -> Title:
    """Check the fields of a title: name, tags_name (a list, or as a cell of anime.tsv) and summary, each optional.

    Raises:
        ValueError: a field is unknown or of a wrong type, or all are empty.
    """
    if unknown := [key for key in fields if key not in FIELDS]:
        raise ValueError(f"a title has no field {unknown[0]!r}; it has {', '.join(FIELDS)}")
    name, tags, summary = (fields.get(key, "") for key in FIELDS)
    for key, value in (("name", name), ("summary", summary)):
        if not isinstance(value, str):
            raise ValueError(f"{key} of a new title is {value!r}; it must be text")
    if not isinstance(tags, (str, list)):
        raise ValueError(f"tags_name of a new title is {tags!r}; it must be a list of tags, or text as in anime.tsv")
    try:
        tags = parse_tags(tags.strip()) if isinstance(tags, str) else tag_names(tags)
    except ValueError as error:
        raise ValueError(f"tags_name of a new title: {error}") from None
    title = Title(name.strip(), tags, summary.strip())
    if not any(title):
        raise ValueError("a new title needs a name, tags_name or summary to be placed by; all are empty")
    return title


def read_fields(path: Path) -> dict[str, Any]:
    """Read the fields of a new title: a JSON object of them, or a TSV with a header and one row.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is neither.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; --new_item names a file with {', '.join(FIELDS)} of a title")
    text = read_text(path)
    try:
        if path.suffix == ".json":
            rows = [parse_json(text)]
        else:
            table = csv.DictReader(text.splitlines(keepends=True), delimiter="\t", strict=True)
            rows = [{key: row[key] or "" for key in FIELDS if key in row} for row in table]
    except (ValueError, csv.Error) as error:  # a UnicodeDecodeError and a JSONDecodeError are ValueErrors
        raise ValueError(
            f"{path} cannot be read ({error}); write a JSON object in a .json file, or else a TSV"
        ) from None
    if len(rows) != 1 or not isinstance(rows[0], dict) or not rows[0]:
        raise ValueError(
            f"{path} must hold one title, with some of {', '.join(FIELDS)}: a JSON object in a .json "
            "file, or else a TSV with a header and one row"
        )
    return rows[0]


def check_places_by_text(run: FinishedRun) -> None:
    """Raise ValueError unless the run can place titles by their text."""
    if not run.has_item_text:
        raise ValueError(
            "this run uses no text of titles, without which new titles cannot be placed; train it with a "
            "fusion_mode of sum or concat, and use_item_llm true"
        )


def place_title(run: FinishedRun, title: Title) -> tuple[torch.Tensor, torch.Tensor]:
    """Place a title: its final vector (width,), and its text as the model fuses it (L,).

    All that placed the run's own cold items is fitted again, to the run's own titles alone, which takes seconds. Blocks
    that see nothing of the title have no part in this, see seeing_blocks: they would draw it to the mean of all titles,
    or to those of its script.

    Raises:
        OSError, ValueError: the run uses no text of titles, or its texts have changed, or an encoder cannot be had, or
            no longer gives the titles their vectors, or knows nothing in the title.
    """
    check_places_by_text(run)
    raw, sees = read_by_blocks(run, encoders_of(run), title)
    if in_another_language(run, title):
        near = place_near(run, raw)
        return torch.from_numpy(near[0]), torch.from_numpy((fused_titles(raw, run.text_vectors, run.config) * sees)[0])
    text = fused_titles(raw, run.text_vectors, run.config) * sees
    if not text.any():
        raise ValueError(
            "the encoder knows nothing in the text of this title; give more of its name, tags or summary, in a "
            "language of the other titles"
        )
    return torch.from_numpy(place_by_text(run, text, sees)[0]), torch.from_numpy(text[0])


def read_by_blocks(run: FinishedRun, encoders: dict[str, Encode], title: Title) -> tuple[np.ndarray, np.ndarray]:
    """Read a title by the encoders of a run: its row (1, L) as in TextVectors.items, and the columns that see it (L,).

    A transformer's vector of a title in a language that the catalogue lacks is moved to where it would be in the
    catalogue's own; and where there is nothing but a name, to where more of its text would be.
    """
    sources = sources_of_title(title)
    raw = {block: encode([sources[block]]) for block, encode in encoders.items()}
    if run.config["model_name"] != "lsa":
        scripts, text = _scripts(run)["lsa"], sources["encoder"]
        raw["encoder"] = without_language(encoders["encoder"], [text], raw["encoder"], scripts)
        if text == title.name and raw["encoder"].any() and in_another_language(run, title):
            raw["encoder"] = _unit(raw["encoder"] - _of_names_alone(run, encoders["encoder"]))
    sees = seeing_blocks(run, raw, sources)
    columns = np.concatenate([np.full(part.shape[1], sees[block]) for block, part in raw.items()])
    return np.concatenate([*raw.values()], axis=1), columns


def seeing_blocks(run: FinishedRun, raw: dict[str, np.ndarray], sources: dict[str, str]) -> dict[str, bool]:
    """Say which blocks know anything of what they read of a title; those for which it has nothing count as if.

    One that knows none of its words has a row of zeros. Those that count letters (lsa, names) find some in any text of
    any language, and know nothing of a script that hardly any title is written in. Of a title whose text is in such a
    script a transformer alone knows: what letters, names and tags it shares with others is chance.

    Args:
        run: as from load_finished.
        raw: block -> (1, L) what its encoder makes of the title.
        sources: block -> what it reads of the title.
    """
    scripts = _scripts(run)
    if run.config["model_name"] != "lsa" and is_foreign(sources["encoder"], scripts["lsa"]):
        return {block: block == "encoder" for block in raw}
    sees = {
        block: not sources[block] or bool(row.any()) and not is_foreign(sources[block], scripts.get(block, []))
        for block, row in raw.items()
    }
    return sees if any(sees[block] and sources[block] for block in sees) else dict.fromkeys(sees, True)


def in_another_language(run: FinishedRun, title: Title) -> bool:
    """Whether a title's text is in a script that the catalogue lacks, and an encoder is there that may know it."""
    return run.config["model_name"] != "lsa" and is_foreign(title_text(*title), _scripts(run)["lsa"])


def place_near(run: FinishedRun, raw: np.ndarray) -> np.ndarray:
    """Return the final vectors (n, width) of titles in another language: those of the titles most like them.

    A regression from whitened vectors, as place_by_text has, is sure of directions that do not survive a translation.

    Args:
        run: as from load_finished.
        raw: (n, L) as from read_by_blocks; the encoder's columns count.
    """
    width, warm = run.text_vectors.blocks["encoder"], run.dataset.warm_items
    known = run.text_vectors.items[:, :width]
    mean = known[known.any(axis=1)].mean(axis=0)
    asked, titles = (_unit(part - mean) for part in (raw[:, :width], known[warm]))
    cosines = np.where(known[warm].any(axis=1), asked @ titles.T, -np.inf)  # (n, n_warm)
    weights = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / NEAR)
    vectors = (weights / weights.sum(axis=1, keepdims=True)) @ run.item_emb[torch.from_numpy(warm)].numpy()
    decided = run.checkpoint["decided"]
    if run.layout.has_bias and "cold_offset" in decided:
        vectors[:, run.layout.dim] -= decided["cold_offset"]["offset"]
    return vectors.astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


@kept(2)
def _of_names_alone(run: FinishedRun, encode: Encode) -> np.ndarray:
    """Return how far an encoder's vectors of names alone are from those of the titles' whole texts, on average: (L,).

    It is what a name differs by from whole texts whatever it names, and would be compared along with that.
    """
    names, texts, width = run.dataset.item_names, run.dataset.item_texts, run.text_vectors.blocks["encoder"]
    known = run.text_vectors.items[:, :width]
    rows = [row for row, name in enumerate(names) if name and name != texts[row] and known[row].any()]
    some = rows[:: max(1, len(rows) // NAMED)][:NAMED]
    if not some:
        return np.zeros(width, np.float32)
    return (encode([names[row] for row in some]) - known[some]).mean(axis=0)


@kept(2)
def _scripts(run: FinishedRun) -> dict[str, list[str]]:
    """Return the script of what each block that counts letters reads of each title."""
    texts, names = ([*map(script_of, found)] for found in (run.dataset.item_texts, run.dataset.item_names))
    return {"lsa": texts, "names": names} | ({"encoder": texts} if run.config["model_name"] == "lsa" else {})


def place_by_text(run: FinishedRun, text: np.ndarray, sees: np.ndarray) -> np.ndarray:
    """Return the final vectors (n, width) of titles without edges, by their text (n, L) and the columns that see it."""
    known = run.text[run.dataset.n_users :]  # (n_items, L)
    columns = [_trained(run, known, text, sees)]
    if run.layout.has_bias:
        columns.append(_bias(run, known[:, sees], text[:, sees]))
    if run.layout.linear:
        columns.append(_linear(run, known[:, sees], text[:, sees]))
    vectors = np.concatenate(columns, axis=1).astype(np.float32)
    # a last column of popularity, which ranks for users of whom nothing is known: nobody has collected the title
    return np.pad(vectors, ((0, 0), (0, run.item_emb.shape[1] - vectors.shape[1])))


def _trained(run: FinishedRun, known: np.ndarray, text: np.ndarray, sees: np.ndarray) -> np.ndarray:
    """Return the trained columns of titles without edges, (n, D); see model.LightGCN and after_training.calibrate."""
    state = run.checkpoint["state_dict"]
    if "cold_vectors" in state:
        vectors = run.item_emb[:, : run.layout.dim].numpy()
        return text_regression(known[:, sees], run.dataset.warm_items, vectors)(text[:, sees])
    fused = torch.from_numpy(text) @ state["text_weight"]  # (n, L) @ (L, D)
    if run.config["fusion_mode"] == "concat":
        fused = fused + state["bias"]
    fused = fused / (run.config["num_layers"] + 1)
    return (torch.nn.functional.normalize(fused) if run.config["normalize"] else fused).numpy()


def _bias(run: FinishedRun, known: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Return what after_training adds to the scores of titles without edges, (n, 1), by their text."""
    decided = run.checkpoint["decided"]
    weight = decided["weights"]["popularity"] if "weights" in decided else 0.0
    offset = decided["cold_offset"]["offset"] if "cold_offset" in decided else 0.0
    if not weight:
        return np.full((len(text), 1), -offset)
    logs = np.log(np.maximum(run.item_counts, 1))[:, None]
    return weight * text_regression(known, run.dataset.warm_items, logs)(text) - offset


def _linear(run: FinishedRun, known: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Return the linear columns of titles without edges, (n, r), by their text; see linear_columns.linear_model."""
    state = run.checkpoint["state_dict"]
    length = score_spreads(run.dataset.train, state["linear_inputs"].numpy())
    outputs = state["linear_outputs"].numpy() * length
    return text_regression(known, run.dataset.warm_items, outputs)(text) / length


def encoders_of(run: FinishedRun, further: bool = True) -> dict[str, Encode]:
    """Open the encoder of every block, which is made sure to be that of training.

    Those that were fitted to the titles' own words are fitted again. "encoder" is the one that knows queries as such;
    without further blocks it is the only one.

    Raises:
        OSError, ValueError: the encoder cannot be had, this call does not name it, or it gives other vectors by now.
    """
    dataset, config, vectors = run.dataset, run.config, run.text_vectors
    run.check_names_encoder()
    used, encode = open_encoder({**config, "encoder_fallback": "none"}, run.device, dataset.item_texts)
    others = further_blocks(dataset, config, used) if further else []
    blocks = {
        "encoder": (encode, dataset.item_texts),
        **{block.name: (block.open(), block.sources) for block in others},
    }
    end = 0
    for name, (encode, sources) in blocks.items():
        end += vectors.blocks[name]
        known = vectors.items[:, end - vectors.blocks[name] : end]
        rows = np.flatnonzero(known.any(axis=1))[:: max(1, dataset.n_items // SAMPLE)]
        again = encode([sources[row] for row in rows])
        if again.shape[1] != known.shape[1] or ((again * known[rows]).sum(axis=1) < AGREEMENT).any():
            raise ValueError(
                f"{config['model_name']!r} ({name}) no longer gives the titles the vectors they were trained with; "
                "train again, or use the machine and versions of training"
            )
    return {name: encode for name, (encode, _) in blocks.items()}


def sources_of_title(title: Title) -> dict[str, str]:
    """Return what each block reads of a title."""
    text = title_text(*title)
    return {"encoder": text, "lsa": text, "names": title.name, "tags": "\n".join(title.tags)}
