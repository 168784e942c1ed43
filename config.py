"""Every setting in one place: its default, what it means, in which unit, what is legal, and where it comes from."""

import copy
import difflib
import json
from pathlib import Path
from typing import Any

from runtime.presets import PRESETS
from runtime.settings import (
    ANY_NUMBER,
    AT_LEAST_1,
    BELOW_1,
    BOOL,
    CUTOFFS,
    ENCODING,
    NOT_NEGATIVE,
    OR_CHOSEN,
    PART,
    POSITIVE,
    SHARE,
    TEXT,
    Legal,
    Setting,
    as_argument,
    check,
    one_of,
    parse_value,
    within,
)

METRIC_NAMES = ("Recall", "NDCG", "Hit", "MRR", "MAP", "Precision")  # of lists, as in evaluator.METRICS
TASTES, TASTE_METRICS = ("liked", "loved"), ("Recall", "NDCG")  # "liked NDCG@20": where only what was liked counts

LANGUAGE = Legal("empty, en or zh", lambda value: value in ("", "en", "zh"))
BLOCKS = Legal(
    "some of lsa,names,tags, separated by commas, or empty",
    lambda value: not value or set(value.split(",")) <= {"lsa", "names", "tags"},
)

# fmt: off
SETTINGS: dict[str, dict[str, Setting]] = {
    "data": {
        "data_dir": Setting("data", "folder with the data", TEXT, "It holds anime.tsv, interactions.tsv and, "
                            "optionally, user.tsv, known.tsv and relations.tsv; or else train.txt, test.txt and, "
                            "optionally, valid.txt of LightGCN, perhaps with an anime.tsv. Each may be packed (.gz). "
                            "FORMAT: README, section Bring your data.", runtime=True),
        "encoding": Setting("", "encoding of files that have no mark of theirs; empty: UTF-8", ENCODING, "Such as "
                            "gb18030, big5, shift_jis or cp1252. What is UTF-8 beyond doubt is read so.", runtime=True),
        "saved_dir": Setting("saved", "folder for everything a run writes", TEXT, runtime=True),
        "vectors_dir": Setting("", "folder of the text vectors; empty: saved_dir", TEXT, "Runs that share it, such as "
                               "those of a grid of settings, encode the texts once.", runtime=True),
        "min_rate": Setting(1.0, "smallest rate that counts as a positive", ANY_NUMBER, "0 makes every collected row "
                            "one, rated or not. A row below is no positive, is masked in rankings once it is older "
                            "than the test part, and its title is never recommended back."),
        "split": Setting("auto", "how positives are split",
                         one_of("auto", "given", "user_time", "leave_one_out", "random", "global_time"), "auto: given "
                         "where the data have a split as published, else user_time. given: the column part of "
                         "interactions.tsv (train, valid, test, cold_valid, cold_test, aside), or train.txt, valid.txt "
                         "and test.txt; min_rate does not apply. user_time: each user's newest to test, those before "
                         "to valid. leave_one_out: the newest one, and the one before. random: per user, by "
                         "split_seed. global_time: one date cuts everyone. A user with fewer than 3 positives keeps "
                         "them in train, except with global_time and given. The last four merge the parts of a column "
                         "part, and draw anew."),
        "text_lines": Setting("auto", "what lines of train.txt are", one_of("auto", "items", "triples"), "items: user "
                              "item item ... triples: user item weight. auto: items; lines like triples stop."),
        "valid_ratio": Setting(0.1, "share of positives held out to choose epoch and settings", BELOW_1,
                               "With 0 there is nothing to choose by: the last epoch stays, and titles without a "
                               "history are not listed."),
        "test_ratio": Setting(0.1, "share of positives held out for the final figures", PART),
        "cold_item_ratio": Setting(0.0, "share of titles that lose every training interaction", BELOW_1,
                                   "The pairs of one half of them are the part cold_valid, of the other cold_test."),
        "train_rows_per_user": Setting(0, "train rows a user keeps, to study sparse data; 0: all", NOT_NEGATIVE,
                                       "They are drawn at random; the others are only masked where rankings are "
                                       "measured."),
        "split_seed": Setting(0, "seed of the split: rows and titles held out, rows kept", NOT_NEGATIVE),
    },
    "text": {
        "model_name": Setting("BAAI/bge-m3", "text encoder: lsa, server:NAME, or the name or path of a model", TEXT,
                              "A model is one of sentence-transformers. server:NAME is what the server at encoder_url "
                              "calls NAME. lsa is TF-IDF over character n-grams and a truncated SVD, fitted to the "
                              "titles, and needs no download. Where the model hub is out of reach, the environment "
                              "variable HF_ENDPOINT names a mirror."),
        "model_revision": Setting("", "commit, tag or branch of a hub model; empty: its main branch", TEXT, "The "
                                  "vectors of each commit are kept apart, and a commit pins them whatever becomes of "
                                  "the model on the hub. Of server:NAME it is what the log says of its model, which "
                                  "another one is then refused by."),
        "trust_remote_code": Setting(False, "run the code of its own that the encoder brings", BOOL, "It can do "
                                     "all that you can: read it first, and pin it with --model_revision. Each command "
                                     "that opens the encoder needs this; no file of a run sets it."),
        "encoder_fallback": Setting("lsa", "if that encoder is not whole on disk, nor reachable", one_of("lsa", "none"),
                                    "lsa: warn and use lsa. none: stop with an error."),
        "max_seq_length": Setting(512, "longest text the encoder reads, in tokens; the rest is cut", AT_LEAST_1),
        "encoder_url": Setting("http://127.0.0.1:11434/v1", "address of the server of server:NAME", TEXT,
                               "With /v1/embeddings of OpenAI, as Ollama, TEI, vLLM, llama.cpp, LM Studio and hosted "
                               "ones have it. Texts are sent there. A key is read from the environment variable "
                               "AGLREC_ENCODER_KEY.", runtime=True),
        "encoder_plain_http": Setting(False, "send texts to other machines by http, which others can read", BOOL,
                                      runtime=True),
        "encoder_backend": Setting("torch", "what runs the encoder", one_of("torch", "onnx", "openvino"), "The last "
                                   "two need packages of their own: pip install 'sentence-transformers[onnx]'."),
        "document_prompt": Setting("auto", "what is put before titles and comments", TEXT, "auto: what the model "
                                   "brings, or is known to need, such as 'passage: ' for e5. Empty: nothing."),
        "query_prompt": Setting("auto", "what is put before a query in words", TEXT, "As document_prompt."),
        "truncate_dim": Setting(0, "numbers kept of the encoder's vectors, the first ones; 0: all", NOT_NEGATIVE,
                                "For models that are trained for it (matryoshka)."),
        "encode_batch_size": Setting(32, "texts a forward pass of the encoder", AT_LEAST_1, runtime=True),
        "half_vectors": Setting(False, "keep encoded texts as float16: half of the disk, rounded", BOOL),
        "lsa_dim": Setting(256, "length of the vectors of lsa", AT_LEAST_1),
        "text_blocks": Setting("", "further text vectors beside the encoder's", BLOCKS, "lsa: the whole text again. "
                               "names: the titles' names only, by character n-grams; sequels share them. tags: a bag "
                               "of tags. Each block is whitened by itself (whiten) and weighted."),
        "use_user_llm": Setting(True, "give users the vectors of what they wrote", BOOL, "A user's vector is the mean "
                                "of those of the comments in their train rows, weighted by rate; of their train titles "
                                "if they wrote nothing."),
        "use_item_llm": Setting(True, "give titles the vectors of their name, tags and summary", BOOL),
        "whiten": Setting(False, "centre the text vectors and even out their variance first", BOOL, "Source: Zhang et "
                          "al. 2024, arXiv 2402.10602; shrinkage by Ledoit and Wolf 2004."),
    },
    "model": {
        "embedding_dim": Setting(64, "length of the id vectors, and of the final ones", AT_LEAST_1),
        "num_layers": Setting(1, "rounds of propagation over the graph", NOT_NEGATIVE, "0 is matrix factorisation. "
                              "Source: He et al. 2020, LightGCN, arXiv 2002.02126."),
        "input_layer": Setting(True, "count the id vectors themselves as a layer of the mean", BOOL, "As LightGCN does "
                               "and XSimGCL does not. false goes with fusion_mode none only."),
        "fusion_mode": Setting("concat", "how text joins the id vectors", one_of("concat", "sum", "none"),
                               "concat: [id ; text] W + b. sum: id + text W. none: LightGCN alone. The fusions are "
                               "AGLRec's own."),
        "init": Setting("svd", "initial id vectors", one_of("normal", "svd"), "normal: random. svd: a truncated SVD "
                        "of the normalised train matrix (Halko et al. 2011)."),
        "init_std": Setting(0.3, "standard deviation of the initial id vectors", POSITIVE),
        "normalize": Setting(False, "a score is the cosine of the vectors, not their dot product", BOOL, "Source: Wu "
                             "et al. 2024, On the effectiveness of sampled softmax loss, arXiv 2201.02327."),
        "temperature": Setting(1.0, "what scores are divided by; 0: what short runs find best on valid", NOT_NEGATIVE,
                               "About 0.1 goes with normalize, more where users have few titles."),
        "linear_dim": Setting(0, "columns of a linear model, added to the trained ones; -1: as valid says", OR_CHOSEN,
                              "Item-item weights in closed form, denoised (Steck 2020) and with text (Jeunen et al. "
                              "2020), cut to these columns; -1: 2,048, or 4,096 where those lose over half a percent. "
                              "Beyond 25,000 titles a graph filter (Shen et al. 2021). Only calibrate weighs them."),
        "calibrate": Setting(False, "weigh popularity and the linear columns on valid", BOOL, "After training; 0 may "
                             "come out. Cosines ignore popularity, which matters most where users have few titles. "
                             "New titles get all columns from their text. Without a valid part nothing is weighed."),
    },
    "training": {
        "seed": Setting(0, "seed of the model", NOT_NEGATIVE, "It governs initial vectors, batches, negatives, drops "
                        "and the tie breaks of rankings; split_seed governs the data."),
        "epochs": Setting(20, "most passes over the training pairs", AT_LEAST_1),
        "loss": Setting("bpr", "what is minimised", one_of("bpr", "softmax", "xsimgcl", "simplex"), "bpr: each pair "
                        "against a random negative (Rendle et al. 2009). softmax: each user's titles against the whole "
                        "catalogue (Liang et al. 2018). xsimgcl: bpr with noise in the layers and a contrast between "
                        "two of them (Yu et al. 2023, arXiv 2209.02544). simplex: cosines of each pair against many "
                        "random titles (Mao et al. 2021, arXiv 2109.12613); it needs normalize."),
        "cl_weight": Setting(0.2, "weight of the contrast of xsimgcl", NOT_NEGATIVE),
        "cl_temperature": Setting(0.2, "what the cosines of that contrast are divided by", POSITIVE),
        "cl_layer": Setting(1, "layer that is contrasted with the mean of all layers", AT_LEAST_1),
        "noise": Setting(0.2, "length of the random vectors that xsimgcl adds in each layer", NOT_NEGATIVE),
        "hard_negatives": Setting(16, "random titles of which bpr takes the highest scored", AT_LEAST_1, "As "
                                  "negative; 1 is BPR as published. Source: Zhang et al. 2013, dynamic negative "
                                  "sampling."),
        "negatives": Setting(1000, "random titles a pair of simplex is set against", AT_LEAST_1),
        "negative_weight": Setting(10.0, "what the mean of their costs counts", NOT_NEGATIVE, "To be tuned on valid: "
                                   "SimpleX has 150 for Yelp2018; on small data 10 is far better."),
        "margin": Setting(0.9, "cosine up to which such a title costs nothing", within(
                          "from -1 to 1", lambda value: -1 <= value <= 1)),
        "batch_size": Setting(2048, "pairs a step; with softmax users a step", AT_LEAST_1),
        "lr": Setting(0.001, "learning rate of Adam", POSITIVE, "The id matrix of concat has lr / embedding_dim (Yang "
                      "et al. 2021, arXiv 2203.03466)."),
        "lr_schedule": Setting("constant", "course of the learning rate over the epochs", one_of("constant", "cosine"),
                               "cosine goes down to 0."),
        "id_dropout": Setting(0.0, "share of a step's titles placed by their text only", BELOW_1, "As new titles are. "
                              "Titles without text are never drawn. Source: Volkovs et al. 2017, DropoutNet."),
        "reg_lambda": Setting(0.0001, "weight of the L2 penalty on the id vectors of a batch", NOT_NEGATIVE),
        "eval_every": Setting(1, "epochs from one evaluation on valid to the next", AT_LEAST_1, "The last epoch is "
                              "evaluated always."),
        "early_stop_metric": Setting("NDCG@20", "valid metric that decides which epoch is best", TEXT, "Recall@k, "
                                     "NDCG@k, Hit@k, MRR@k, MAP@k or Precision@k for a k of top_k, or AUC; among the "
                                     "titles with a history. liked or loved in front, as liked NDCG@20: only pairs "
                                     "rated at or above the user's mean, or half a spread above, are to be found. "
                                     "Where top_k alone is given, NDCG at its largest cut-off."),
        "rating_weight": Setting(0.0, "how much a rate counts; -1: what is best on valid", OR_CHOSEN, "A train pair "
                                 "counts 1 + rating_weight z, from 0 to 3, where z is how far its rate lies above the "
                                 "user's own mean, in the user's own spreads. 0: rates decide nothing. -1: of 0, 0.25, "
                                 "0.5 and 1 the one whose liked titles are found best, see rating_cost."),
        "rating_cost": Setting(0.01, "share of valid given up to list titles that are liked", SHARE, "Of weights of "
                               "rates those count that keep this much of the best early_stop_metric of all pairs; of "
                               "these, the one is taken with the best figure for pairs rated at or above the user's "
                               "mean."),
        "recency": Setting(0.0, "titles after which what a user collected counts half; -1: by valid", OR_CHOSEN, "0: "
                           "all count alike. Titles count by how many of the user's are newer; without times, and "
                           "where a random split has mixed them, nothing is chosen."),
        "early_stop_round": Setting(10, "epochs without a better one before training stops; 0: never", NOT_NEGATIVE),
        "cold_cost": Setting(1.0, "share of valid given up to list titles without a history", SHARE, "After training "
                             "an offset is found on valid that lowers or raises them all: the best one, and from there "
                             "as many of them are listed as this share allows. With 1 their score decides. Ours."),
        "refit": Setting(False, "train once more on every positive, for lists to act on", BOOL, "The measured run is "
                         "kept in saved_dir/measured. With its best epoch and all that it decided on valid, the model "
                         "is trained again with nothing held out. Vectors and lists are those of that model, the "
                         "figures those of the measured run."),
        "refit_valid": Setting(False, "train once more on train and valid, and measure test with that", BOOL, "As "
                               "refit, but the test part stays held out, and its figures are those of the second "
                               "model: what published figures are, whose models learn from all of train.txt."),
        "resume": Setting("auto", "whether to resume what is in saved_dir", one_of("auto", "never"), "auto: an "
                          "interrupted run resumes from checkpoint.pth, one of other settings or data is refused, and "
                          "a finished run is not run again. never: start over and delete what is there.", runtime=True),
    },
    "evaluation and output": {
        "top_k": Setting([10, 20], "cut-offs of Recall, NDCG, Hit, MRR, MAP and Precision", CUTOFFS),
        "recommend_k": Setting(20, "titles in each recommendation list", AT_LEAST_1),
        "valid_users": Setting(0, "most users whose valid rows are ranked, drawn by split_seed; 0: all", NOT_NEGATIVE,
                               "Where ranking all would take longer than training: the same ones for each epoch, for "
                               "all that valid decides, and for each row of an ablation."),
        "test_users": Setting(0, "as valid_users, of the figures on test", NOT_NEGATIVE),
        "eval_memory_mb": Setting(256, "memory a block of users may take while ranking, in MiB", AT_LEAST_1,
                                  runtime=True),
    },
    "run": {
        "log_dir": Setting("", "folder for a stream of each run's epochs; empty: none", TEXT, "JSON lines, and events "
                           "of TensorBoard if that package is installed. CONTRIBUTING says how trackers read them.",
                           runtime=True),
        "mode": Setting("train", "whether to train, or to use what was trained", one_of("train", "inference", "update"),
                        "train: the whole experiment. inference: reload best_model.pth and write vectors and lists "
                        "again. update: take rows, users and titles that came since into the run in saved_dir, in a "
                        "few epochs that go on from its vectors, with all that it decided.", runtime=True),
        "device": Setting("auto", "where to train: auto | cpu | cuda | cuda:N", TEXT, "auto takes cuda, then cpu. "
                          "Apple GPUs are not used: torch has no sparse matrices there.", runtime=True),
        "lang": Setting("", "language of what the scripts print, and of report.html; empty: the terminal's", LANGUAGE,
                        "Chinese where LC_ALL, LC_MESSAGES or LANG begins with zh and the terminal can show it. --help "
                        "and all other files are English.", runtime=True),
    },
}

# fmt: on

# each setting by its name
SETTING: dict[str, Setting] = {key: setting for section in SETTINGS.values() for key, setting in section.items()}

# every setting with its default: what people read and write
CONFIG: dict[str, Any] = {key: setting.default for key, setting in SETTING.items()}

# keys that move files or work around without changing any number
RUNTIME_KEYS = frozenset(key for key, setting in SETTING.items() if setting.runtime)

# keys that a call sets for itself when it uses a finished run; all others are those of its training
CALL_KEYS = RUNTIME_KEYS | {"recommend_k", "query_prompt"}


def get_config(overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a validated copy of CONFIG with the overrides applied.

    Args:
        overrides: key -> value; "preset" names an entry of PRESETS and "config" a JSON file (see read_config), which
            outranks the preset. The other overrides outrank both.

    Returns:
        A new dict with every key of CONFIG.

    Raises:
        ValueError: unknown key or preset, wrong type or illegal value; the message names the legal ones.
        FileNotFoundError: the file is missing.
    """
    overrides = dict(overrides or {})
    preset, file = overrides.pop("preset", None), overrides.pop("config", None)
    if preset is not None and preset not in list(PRESETS):
        raise ValueError(f"preset {preset!r} is unknown; use one of: {', '.join(PRESETS)}")
    given = {**PRESETS.get(preset, {}), **(read_config(Path(file)) if file is not None else {}), **overrides}
    config = copy.deepcopy(CONFIG)
    for key, value in given.items():
        config[key] = parse_value(known(key), CONFIG[key], value)
    if "top_k" in given and "early_stop_metric" not in given and config["top_k"]:
        config["early_stop_metric"] = f"NDCG@{max(config['top_k'])}"
    _validate(config)
    return config


def read_config(path: Path) -> dict[str, Any]:
    """Read settings from a JSON file: a flat object of them, or the metrics.json of a run, to make that run again.

    From metrics.json come data_dir and what decides the numbers; where files go, and what code may run, is this call's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no JSON object, or an unknown setting.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; --config names a JSON file of settings, or a run's metrics.json")
    try:
        found = json.loads(path.read_bytes())  # of any encoding of Unicode, with a mark or without
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is no JSON ({error}); write settings as {{"lr": 0.01, "epochs": 5}}') from None
    if not isinstance(found, dict):
        raise ValueError(f'{path} holds no settings; write them as {{"lr": 0.01, "epochs": 5}}')
    if isinstance(found.get("config"), dict):
        own = RUNTIME_KEYS - {"data_dir"} | {"trust_remote_code"}
        found = {key: value for key, value in found["config"].items() if key not in own}
    for key in found:
        try:
            known(key)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return found


def trained_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that decide what is trained, which lists and queries do not: all but CALL_KEYS."""
    return {key: value for key, value in config.items() if key not in CALL_KEYS}


def known(key: str) -> str:
    """Return the name of a setting, or raise ValueError with the nearest one."""
    if key in CONFIG:
        return key
    near = difflib.get_close_matches(key, CONFIG, n=1, cutoff=0.0)
    raise ValueError(f"unknown setting {key!r}; the nearest is {near[0]!r} (--help all lists them)")


def _validate(config: dict[str, Any]) -> None:
    for key, setting in SETTING.items():
        check(key, setting, config[key])
    if config["valid_ratio"] + config["test_ratio"] >= 1:
        raise ValueError(
            f"valid_ratio {config['valid_ratio']} + test_ratio {config['test_ratio']} leave nothing "
            "to train on; their sum must be below 1"
        )
    if config["refit"] and config["refit_valid"]:
        raise ValueError("refit trains on every positive and refit_valid holds the test part out; set one of them")
    if config["linear_dim"] and not config["calibrate"]:
        raise ValueError(
            f"linear_dim is {config['linear_dim']}, but only calibrate decides what its columns count; "
            "set --calibrate true"
        )
    if config["loss"] == "simplex" and not config["normalize"]:
        raise ValueError("loss simplex compares cosines, and lists have to as well; set --normalize true")
    if config["loss"] == "xsimgcl" and config["cl_layer"] > config["num_layers"]:
        raise ValueError(
            f"cl_layer is {config['cl_layer']}, but num_layers is {config['num_layers']}; loss xsimgcl contrasts "
            "one of these layers, so set cl_layer to one of them"
        )
    if not config["input_layer"] and (config["fusion_mode"] != "none" or not config["num_layers"]):
        raise ValueError(
            "input_layer false leaves what has no edges without a vector, so it needs num_layers of 1 or more and goes "
            "without text; set --fusion_mode none, or --input_layer true"
        )
    cutoffs = config["top_k"]
    legal = [f"{name}@{k}" for k in cutoffs for name in METRIC_NAMES] + ["AUC"]
    of_rates = [f"{taste} {name}@{k}" for taste in TASTES for k in cutoffs for name in TASTE_METRICS]
    if config["early_stop_metric"] not in (*legal, *of_rates):
        raise ValueError(
            f"early_stop_metric is {config['early_stop_metric']!r}; with top_k {as_argument(cutoffs)} "
            f"use one of: {', '.join(legal)}; or, where the data have rates: {', '.join(of_rates)}"
        )
