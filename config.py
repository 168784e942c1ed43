"""All settings of AGLRec: one flat dict, named presets, and the command-line reader."""

import copy
import difflib
import logging
import sys
from collections.abc import Callable
from typing import Any

CONFIG: dict[str, Any] = {
    # --- data ---
    # folder with anime.tsv, interactions.tsv and, optionally, user.tsv, or else with train.txt and test.txt in the
    # format of LightGCN (each may end in .gz)
    "data_dir": "data",
    # folder for everything a run writes
    "saved_dir": "saved",
    # folder of the text vectors, to share them between runs; empty: saved_dir
    "vectors_dir": "",
    # smallest rate that counts as a positive; 0 makes every collected row one, rated or not
    "min_rate": 1.0,
    # how positives are parted: user_time | leave_one_out | random | global_time
    "split": "user_time",
    # share of each user's positives held out for choosing epoch and settings, 0 to below 1; 0 keeps the last epoch
    "valid_ratio": 0.1,
    # share of each user's positives held out for the final figures; above 0, below 1
    "test_ratio": 0.1,
    # share of items that lose every training interaction, 0 to below 1; half of them are valid, half test
    "cold_item_ratio": 0.0,
    # train rows a user keeps, drawn at random, to study sparse data; the others are only masked; 0 keeps all
    "train_rows_per_user": 0,
    # seed of the split: which rows and titles are held out, which train rows a user keeps; 0 or more
    "split_seed": 0,
    # --- text ---
    # text encoder: a sentence-transformers name or folder, or "lsa" (TF-IDF and SVD, no download)
    "model_name": "BAAI/bge-m3",
    # what to do when that encoder is neither on disk nor reachable: lsa | none (an error)
    "encoder_fallback": "lsa",
    # longest text the encoder reads, in tokens; the rest is cut off
    "max_seq_length": 512,
    # texts a forward pass of the encoder
    "encode_batch_size": 32,
    # length of the vectors of the "lsa" encoder
    "lsa_dim": 256,
    # give users the vectors of what they wrote: true | false
    "use_user_llm": True,
    # give items the vectors of their name, tags and summary: true | false
    "use_item_llm": True,
    # centre the text vectors and even out their variance before they are fused: true | false
    "whiten": False,
    # --- model ---
    # length of the id vectors, and of the final ones
    "embedding_dim": 64,
    # rounds of propagation over the graph, 0 or more; 0 is matrix factorisation
    "num_layers": 1,
    # how text joins the id vectors: concat | sum | none
    "fusion_mode": "concat",
    # the initial id vectors: normal (random) | svd (truncated SVD of the normalised train matrix)
    "init": "normal",
    # standard deviation of the initial id vectors
    "init_std": 0.1,
    # whether a score is the cosine of the vectors instead of their dot product: true | false
    "normalize": False,
    # what scores are divided by, above 0; about 0.1 goes with normalize
    "temperature": 1.0,
    # learn a bias for each item, starting at the logarithm of its popularity: true | false
    "item_bias": False,
    # --- training ---
    # seed of the model: initial vectors, batches, negatives, drops, and the tie breaks of rankings; 0 or more
    "seed": 0,
    # most passes over the training pairs
    "epochs": 20,
    # share of the valid metric that may be given up to list titles without history; 1 lets their score alone decide
    "cold_cost": 1.0,
    # what is minimised: bpr (pairs against a random negative) | softmax (each user against the whole catalogue)
    "loss": "bpr",
    # pairs a step with bpr, users a step with softmax
    "batch_size": 2048,
    # learning rate of Adam
    "lr": 0.001,
    # course of the learning rate over the epochs: constant | cosine (down to 0)
    "lr_schedule": "constant",
    # share of a step's items that are placed by their text alone, as new titles are; 0 to below 1
    "id_dropout": 0.0,
    # weight of the L2 penalty on the id vectors of a batch, 0 or more
    "reg_lambda": 0.0001,
    # valid metric that decides which epoch is best: Recall@k, NDCG@k, Hit@k for a k of top_k, or AUC
    "early_stop_metric": "NDCG@20",
    # epochs without a better valid metric before training stops; 0 never stops early
    "early_stop_round": 10,
    # auto: go on from checkpoint.pth when it belongs to this very experiment; never: start anew
    "resume": "auto",
    # --- evaluation and output ---
    # cut-offs of Recall, NDCG and Hit
    "top_k": [10, 20],
    # titles in each recommendation list
    "recommend_k": 20,
    # memory a block of users may take while ranking, in MiB
    "eval_memory_mb": 256,
    # --- run ---
    # train: the whole experiment; inference: reload best_model.pth and write vectors and lists again
    "mode": "train",
    # auto (cuda, then mps, then cpu) | cpu | cuda | cuda:N | mps
    "device": "auto",
}

PRESETS: dict[str, dict[str, Any]] = {
    # LightGCN as published: He et al. 2020, section 4.1
    "paper": {
        "fusion_mode": "none", "embedding_dim": 64, "num_layers": 3, "lr": 0.001, "batch_size": 2048,
        "reg_lambda": 0.0001, "epochs": 1000, "early_stop_round": 50,
    },
    # what the README recommends for data like MyAnimeList's, where users have tens of titles
    "tuned": {
        "loss": "softmax", "normalize": True, "temperature": 0.08, "init": "svd", "fusion_mode": "sum", "whiten": True,
        "embedding_dim": 512, "num_layers": 2, "batch_size": 256, "lr": 0.03, "lr_schedule": "cosine", "epochs": 10,
        "reg_lambda": 0.0, "id_dropout": 0.1, "cold_cost": 0.005,
    },
    # the same where users have ten titles or fewer: popularity counts, and text has to carry half of the titles
    "sparse": {
        "loss": "softmax", "normalize": True, "temperature": 0.25, "item_bias": True, "init": "svd",
        "fusion_mode": "sum", "embedding_dim": 256, "num_layers": 2, "batch_size": 512, "lr": 0.02,
        "lr_schedule": "cosine", "epochs": 12, "reg_lambda": 0.0, "id_dropout": 0.5, "cold_cost": 0.005,
    },
}

# keys that move files or work around without changing any number
RUNTIME_KEYS = frozenset({"data_dir", "saved_dir", "vectors_dir", "eval_memory_mb", "encode_batch_size", "mode",
                          "device", "resume"})

_CHOICES: dict[str, tuple[str, ...]] = {
    "split": ("user_time", "leave_one_out", "random", "global_time"),
    "encoder_fallback": ("lsa", "none"),
    "fusion_mode": ("concat", "sum", "none"),
    "resume": ("auto", "never"),
    "mode": ("train", "inference"),
    "init": ("normal", "svd"),
    "loss": ("bpr", "softmax"),
    "lr_schedule": ("constant", "cosine"),
}
_AT_LEAST_ONE = ("max_seq_length", "encode_batch_size", "lsa_dim", "embedding_dim", "epochs", "batch_size",
                 "recommend_k", "eval_memory_mb")
_NOT_NEGATIVE = ("min_rate", "seed", "split_seed", "num_layers", "reg_lambda", "early_stop_round", "cold_item_ratio",
                 "id_dropout", "cold_cost", "train_rows_per_user", "valid_ratio")
_POSITIVE = ("test_ratio", "init_std", "lr", "temperature")


def get_config(overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a validated copy of CONFIG with the overrides applied.

    Args:
        overrides: key -> value; "preset" names an entry of PRESETS, which the other overrides outrank.

    Returns:
        A new dict with every key of CONFIG.

    Raises:
        ValueError: unknown key or preset, wrong type or illegal value; the message names the legal ones.
    """
    overrides = dict(overrides or {})
    config = copy.deepcopy(CONFIG)
    preset = overrides.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown; use one of: {', '.join(PRESETS)}")
    for key, value in {**PRESETS.get(preset, {}), **overrides}.items():
        config[key] = _typed(_known(key), value)
    _validate(config)
    return config


def parse_overrides(argv: list[str]) -> dict[str, Any]:
    """Read `--key value` pairs (or `--key=value`) into a dict for get_config.

    Args:
        argv: the command line without the program's name.

    Returns:
        key -> value, typed like CONFIG's; "preset" is kept as a key.

    Raises:
        ValueError: an unknown key, a missing value, or a word that belongs to no key.
    """
    overrides: dict[str, Any] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ValueError(f"{word!r} belongs to no setting; write --key value")
        key, equals, value = word[2:].partition("=")
        if key != "preset":
            _known(key)
        if not equals:
            if not words or words[0].startswith("--"):
                raise ValueError(f"--{key} needs a value, as in --{key} {_shown(CONFIG.get(key, 'tuned'))}")
            value = words.pop(0)
        overrides[key] = value if key == "preset" else _typed(key, value)
    return overrides


def experiment(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that decide a run's numbers: all but RUNTIME_KEYS."""
    return {key: value for key, value in config.items() if key not in RUNTIME_KEYS}


def usage() -> str:
    """Return the help text: every setting with its default, and the presets."""
    lines = ["settings (--key value):"] + [f"  --{key} {_shown(value)}" for key, value in CONFIG.items()]
    lines += ["presets (--preset name):"]
    lines += [f"  {name}: " + ", ".join(f"{k} {_shown(v)}" for k, v in keys.items()) for name, keys in PRESETS.items()]
    return "\n".join(lines + ["Every setting is explained in config.py."])


def run_script(main: Callable[[], None], doc: str | None) -> int:
    """Run a script's main function and return its exit code.

    Args:
        main: called unless help is asked for.
        doc: the script's docstring, printed above the settings for --help; None leaves --help to main.

    Returns:
        0; or 2 after an expected failure, told in one sentence; or 130 after Ctrl-C.
    """
    log = logging.getLogger("aglrec")
    log.handlers = [logging.StreamHandler(sys.stdout)]
    log.setLevel(logging.INFO)
    try:
        if doc is not None and {"--help", "-h"} & set(sys.argv[1:]):
            log.info(f"{doc}\n{usage()}")
        else:
            main()
        return 0
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; finished epochs are kept, and the same command goes on after them", file=sys.stderr)
        return 130


def _known(key: str) -> str:
    if key in CONFIG:
        return key
    near = difflib.get_close_matches(key, CONFIG, n=1, cutoff=0.0)
    raise ValueError(f"unknown setting {key!r}; the nearest is {near[0]!r} (all of them are in config.py)")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(key: str, value: Any) -> Any:
    """Return value in the type of CONFIG[key]; text from the command line is read, nothing is guessed."""
    default = CONFIG[key]
    try:
        if isinstance(default, bool):
            return _as_bool(value)
        if isinstance(default, int):
            return _as_int(value)
        if isinstance(default, float):
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        if isinstance(default, list):
            return [_as_int(v) for v in (value.split(",") if isinstance(value, str) else value)]
    except (TypeError, ValueError):
        kind = {bool: "true or false", int: "a whole number", float: "a number", list: "whole numbers like 10,20"}
        raise ValueError(f"{key} takes {kind[type(default)]}, not {value!r}") from None
    if not isinstance(value, str):
        raise ValueError(f"{key} takes text like {default!r}, not {value!r}")
    return value


def _as_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise ValueError
    return words[str(value).lower()]


def _as_int(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _validate(config: dict[str, Any]) -> None:
    for key, choices in _CHOICES.items():
        if config[key] not in choices:
            raise ValueError(f"{key} is {config[key]!r}; use one of: {', '.join(choices)}")
    for keys, legal, what in ((_AT_LEAST_ONE, lambda v: v >= 1, "at least 1"),
                              (_NOT_NEGATIVE, lambda v: 0 <= v < float("inf"), "0 or more"),
                              (_POSITIVE, lambda v: 0 < v < float("inf"), "above 0")):
        for key in keys:
            if not legal(config[key]):
                raise ValueError(f"{key} is {config[key]}; it must be {what}")
    if config["cold_cost"] > 1:
        raise ValueError(f"cold_cost is {config['cold_cost']}; it is a share, from 0 to 1")
    if config["valid_ratio"] + config["test_ratio"] >= 1:
        raise ValueError(f"valid_ratio {config['valid_ratio']} + test_ratio {config['test_ratio']} leave nothing "
                         "to train on; their sum must be below 1")
    for key in ("cold_item_ratio", "id_dropout"):
        if config[key] >= 1:
            raise ValueError(f"{key} is {config[key]}; it must be below 1")
    _validate_metrics(config)


def _validate_metrics(config: dict[str, Any]) -> None:
    cutoffs = config["top_k"]
    if not cutoffs or min(cutoffs) < 1:
        raise ValueError(f"top_k is {_shown(cutoffs) or 'empty'}; it takes cut-offs of at least 1, like 10,20")
    legal = [f"{name}@{k}" for k in cutoffs for name in ("Recall", "NDCG", "Hit")] + ["AUC"]
    if config["early_stop_metric"] not in legal:
        raise ValueError(f"early_stop_metric is {config['early_stop_metric']!r}; with top_k {_shown(cutoffs)} "
                         f"use one of: {', '.join(legal)}")
