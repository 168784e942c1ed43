"""Settings in use: the flat CONFIG dict, its checks, the command line, its help. What each means is in settings.py."""

import copy
import difflib
import json
import logging
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memory import is_out_of_memory, told
from settings import DEFAULTS, PRESETS, RUNTIME_KEYS, SETTINGS, Setting

_SETTING: dict[str, Setting] = {key: setting for section in SETTINGS.values() for key, setting in section.items()}

# every setting with its default: what people read and write
CONFIG: dict[str, Any] = dict(DEFAULTS)

LARGEST = 2**32  # of whole numbers: what seeds and sizes are put into ends not far above
_HELP_FLAGS = ("--help", "-h")


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
    said = {**PRESETS.get(preset, {}), **(read_config(Path(file)) if file is not None else {}), **overrides}
    config = copy.deepcopy(CONFIG)
    for key, value in said.items():
        config[key] = _typed(_known(key), value)
    if "top_k" in said and "early_stop_metric" not in said and config["top_k"]:
        config["early_stop_metric"] = f"NDCG@{max(config['top_k'])}"
    _validate(config)
    return config


def read_config(path: Path) -> dict[str, Any]:
    """Read settings from a JSON file: a flat object of them, or the metrics.json of a run, to make that run again.

    From metrics.json come the settings that decide its numbers, and data_dir; where files go is this call's affair.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no JSON object, or an unknown setting.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; --config names a JSON file of settings, or a run's metrics.json")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}); write settings as {{\"lr\": 0.01, \"epochs\": 5}}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no settings; write them as {{\"lr\": 0.01, \"epochs\": 5}}")
    if isinstance(found.get("config"), dict):
        found = {key: value for key, value in found["config"].items() if key not in RUNTIME_KEYS or key == "data_dir"}
    for key in found:
        try:
            _known(key)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return found


def parse_overrides(argv: list[str]) -> dict[str, Any]:
    """Read `--key value` pairs (or `--key=value`) into a dict for get_config.

    Args:
        argv: the command line without the program's name.

    Returns:
        key -> value, typed like CONFIG's; "preset" and "config" are kept as keys.

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
        if key not in _BESIDE:
            _known(key)
        if not equals:
            if not words or words[0].startswith("--"):
                example = _BESIDE[key] if key in _BESIDE else shown(CONFIG[key])
                raise ValueError(f"--{key} needs a value, as in --{key} {example}")
            value = words.pop(0)
        overrides[key] = value if key in _BESIDE else _typed(key, value)
    return overrides


# what a command line takes beside the settings, each with an example
_BESIDE = {"preset": "tuned", "config": "saved/metrics.json"}


def experiment(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that decide a run's numbers: all but RUNTIME_KEYS."""
    return {key: value for key, value in config.items() if key not in RUNTIME_KEYS}


# --- help ---

def usage(width: int = 80) -> str:
    """Return the help text: every setting in its section with meaning, legal values and default, and the presets."""
    lines = ["settings, as --key value:"]
    for section, settings in SETTINGS.items():
        lines += ["", f"{section}:"]
        for key, setting in settings.items():
            default = shown(setting.default) or "empty"
            lines += [f"  --{key} {default}", *_wrapped(f"{setting.meaning} ({setting.legal.words})", width, 6)]
    lines += ["", "beside the settings:"]
    for flag, meaning in (("--preset NAME", "settings that go together; see below"),
                          ("--config FILE", "a JSON file of settings, or the metrics.json of a run to make it again; "
                                            "it outranks the preset, and the command line outranks it"),
                          ("--help KEY", "more about a setting")):
        lines += [f"  {flag}", *_wrapped(meaning, width, 6)]
    lines += ["", "presets:"]
    for name, keys in PRESETS.items():
        lines += _wrapped(f"{name}: " + ", ".join(f"{key} {shown(value)}" for key, value in keys.items()), width, 2)
    return "\n".join(lines)


def explain(key: str, width: int = 80) -> str:
    """Return what there is to know of one setting."""
    setting = _SETTING[_known(key)]
    presets = ", ".join(f"{shown(keys[key])} in {name}" for name, keys in PRESETS.items() if key in keys)
    text = [f"{setting.meaning}.", setting.more, f"Legal: {setting.legal.words}.",
            f"Default: {shown(setting.default) or 'empty'}{'; ' * bool(presets)}{presets}.",
            "It changes no figure." if setting.runtime else ""]
    return "\n".join([f"--{key}", *(line for part in text if part for line in _wrapped(part, width, 2))])


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=" " * indent, subsequent_indent=" " * indent,
                         break_long_words=False, break_on_hyphens=False)


# --- scripts ---

def answer_early(doc: str | None, own_flags: tuple[str, ...] = ()) -> None:
    """Answer --help and a mistyped setting before a script imports torch, which takes seconds.

    Call it first of all in a script that is being run; until run_script takes over, Ctrl-C ends it without a word.

    Args:
        doc: the script's docstring, printed above the settings.
        own_flags: what the script takes beside the settings, such as "--user"; a typo is then left to the script.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    words, width = sys.argv[1:], max(40, min(100, shutil.get_terminal_size((80, 24)).columns))
    asked = [place for place, word in enumerate(words) if word in _HELP_FLAGS]
    try:
        if asked:
            key = words[asked[0] + 1].lstrip("-") if len(words) > asked[0] + 1 else None
            print(explain(key, width) if key else f"{(doc or '').strip()}\n\n{usage(width)}", flush=True)
            sys.exit(0)
        if not own_flags or not {word.partition("=")[0] for word in words} & set(own_flags):
            get_config(parse_overrides(words))
    except BrokenPipeError:  # | head
        os._exit(0)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def run_script(main: Callable[[], None]) -> int:
    """Run a script's main function and return its exit code.

    Returns:
        0; or 2 after an expected failure, told in one sentence; or 130 after Ctrl-C.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.raiseExceptions = False  # a reader that goes away, as in | head, costs no run
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # nor does a terminal that cannot show a title
    log = logging.getLogger("aglrec")
    log.handlers = [logging.StreamHandler(sys.stdout)]
    log.setLevel(logging.INFO)
    try:
        main()
        return 0
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: {told(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept, and the same command goes on after it", file=sys.stderr)
        return 130


# --- checks ---

def _known(key: str) -> str:
    if key in CONFIG:
        return key
    near = difflib.get_close_matches(key, CONFIG, n=1, cutoff=0.0)
    raise ValueError(f"unknown setting {key!r}; the nearest is {near[0]!r} (--help lists all of them)")


def shown(value: Any) -> str:
    """Write a value as the command line takes it."""
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
    except (TypeError, ValueError, OverflowError):
        kind = {bool: "true or false", int: f"a whole number below {LARGEST:,}", float: "a number",
                list: "whole numbers like 10,20"}
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
    if abs(number := int(value)) >= LARGEST:
        raise ValueError
    return number


def _validate(config: dict[str, Any]) -> None:
    for key, setting in _SETTING.items():
        if not setting.legal.holds(config[key]):
            if setting.legal.choices:
                raise ValueError(f"{key} is {config[key]!r}; use one of: {', '.join(setting.legal.choices)}")
            said = shown(config[key]) or "empty"
            raise ValueError(f"{key} is {said if said.isprintable() else repr(said)}; it must be {setting.legal.words}")
    if config["valid_ratio"] + config["test_ratio"] >= 1:
        raise ValueError(f"valid_ratio {config['valid_ratio']} + test_ratio {config['test_ratio']} leave nothing "
                         "to train on; their sum must be below 1")
    if config["refit"] and config["refit_valid"]:
        raise ValueError("refit trains on every positive and refit_valid holds the test part out; set one of them")
    if config["linear_dim"] and not config["calibrate"]:
        raise ValueError(f"linear_dim is {config['linear_dim']}, but only calibrate decides what its columns count; "
                         "set --calibrate true")
    cutoffs = config["top_k"]
    legal = [f"{name}@{k}" for k in cutoffs for name in ("Recall", "NDCG", "Hit")] + ["AUC"]
    if config["early_stop_metric"] not in legal:
        raise ValueError(f"early_stop_metric is {config['early_stop_metric']!r}; with top_k {shown(cutoffs)} "
                         f"use one of: {', '.join(legal)}")
