"""The command line of the scripts: settings as --key value, --help, and how a script begins and ends."""

import logging
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from config import CONFIG, PRESETS, SETTING, SETTINGS, get_config, known
from runtime.memory import is_out_of_memory, out_of_memory_message
from runtime.settings import as_argument, parse_value

_HELP_FLAGS = ("--help", "-h")


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
            known(key)
        if not equals:
            if not words or words[0].startswith("--"):
                example = _BESIDE[key] if key in _BESIDE else as_argument(CONFIG[key])
                raise ValueError(f"--{key} needs a value, as in --{key} {example}")
            value = words.pop(0)
        overrides[key] = value if key in _BESIDE else parse_value(key, CONFIG[key], value)
    return overrides


# what a command line takes beside the settings, each with an example
_BESIDE = {"preset": "tuned", "config": "saved/metrics.json"}


# --- help ---


def usage(width: int = 80) -> str:
    """Return the help text: every setting in its section with meaning, legal values and default, and the presets."""
    lines = ["settings, as --key value:"]
    for section, settings in SETTINGS.items():
        lines += ["", f"{section}:"]
        for key, setting in settings.items():
            default = as_argument(setting.default) or "empty"
            lines += [f"  --{key} {default}", *_wrapped(f"{setting.meaning} ({setting.legal.words})", width, 6)]
    lines += ["", "beside the settings:"]
    for flag, meaning in (
        ("--preset NAME", "settings that go together; see below"),
        (
            "--config FILE",
            "a JSON file of settings, or the metrics.json of a run to make it again; "
            "it outranks the preset, and the command line outranks it",
        ),
        ("--help KEY", "more about a setting"),
    ):
        lines += [f"  {flag}", *_wrapped(meaning, width, 6)]
    lines += ["", "presets:"]
    for name, keys in PRESETS.items():
        lines += _wrapped(
            f"{name}: " + ", ".join(f"{key} {as_argument(value)}" for key, value in keys.items()), width, 2
        )
    return "\n".join(lines)


def explain(key: str, width: int = 80) -> str:
    """Return what there is to know of one setting."""
    setting = SETTING[known(key)]
    presets = ", ".join(f"{as_argument(keys[key])} in {name}" for name, keys in PRESETS.items() if key in keys)
    text = [
        f"{setting.meaning}.",
        setting.more,
        f"Legal: {setting.legal.words}.",
        f"Default: {as_argument(setting.default) or 'empty'}{'; ' * bool(presets)}{presets}.",
        "It changes no figure." if setting.runtime else "",
    ]
    return "\n".join([f"--{key}", *(line for part in text if part for line in _wrapped(part, width, 2))])


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


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
        print(f"error: {out_of_memory_message(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept, and the same command goes on after it", file=sys.stderr)
        return 130
