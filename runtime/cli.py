"""The command line of the scripts: own flags, settings as --key value, --help, and how a script begins and ends."""

import argparse
import difflib
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, NoReturn

from config import LANGUAGE, PRESETS, SETTING, SETTINGS, get_config, known, read_config
from runtime.language import can_show, in_chinese, of_terminal
from runtime.memory import is_out_of_memory, out_of_memory_message
from runtime.settings import ENCODING, LARGEST, TEXT, Setting, as_argument, parse_value

# what names several settings at once, each with an example in the place of a default
_FILES = {
    "preset": Setting("tuned", f"settings that go together: {' or '.join(PRESETS)}", TEXT),
    "config": Setting("run.json", "settings as JSON, or a run's metrics.json to repeat it; outranks a preset", TEXT),
}
_SETTABLE = {**_FILES, **SETTING}
# what --help shows of the settings where they matter most; --help all shows all
_COMMON = ("data_dir", "saved_dir", "model_name", "fusion_mode", "epochs", "seed", "device", "mode")

_fill = partial(textwrap.fill, width=80, break_long_words=False, break_on_hyphens=False)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Lays help out in 80 columns, with the default of every flag that has one."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=80)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        has_default = action.default not in (None, "", argparse.SUPPRESS) and action.nargs != 0
        return f"{action.help} (default: %(default)s)" if has_default else action.help


class Flags(argparse.ArgumentParser):
    """The flags of a script; read takes the settings beside them, parse_args is for scripts without settings.

    Args:
        doc: the script's docstring, printed above the flags, its paragraphs filled unless a line is indented.
        common: whether --help shows the common settings as well.
    """

    def __init__(self, doc: str | None, common: bool = False, **more: Any) -> None:
        paragraphs = (part if "\n " in f"\n{part}" else _fill(part) for part in (doc or "").strip().split("\n\n"))
        super().__init__(
            description="\n\n".join(paragraphs), formatter_class=_HelpFormatter, allow_abbrev=False, **more
        )
        self.usage = argparse.SUPPRESS  # the docstring has it
        self.common = common

    def error(self, message: str) -> NoReturn:
        """Leave with one line and exit code 2."""
        self.exit(2, worded(f"error: {message.removeprefix('argument ')} (see --help)", sys.stderr) + "\n")

    def read(self, argv: list[str] | None = None) -> tuple[argparse.Namespace, dict[str, Any]]:
        """Read the script's own flags and the settings, or print the help that is asked for and exit.

        Args:
            argv: the command line without the program's name; sys.argv's unless given.

        Returns:
            The own flags; and key -> value for get_config, typed like CONFIG's, with "preset" and "config" as keys.

        Raises:
            ValueError: an unknown flag, a missing or illegal value, or a word that belongs to no flag.
        """
        argv = sys.argv[1:] if argv is None else argv
        if asks := [place for place, word in enumerate(argv, start=1) if word in ("-h", "--help")]:
            print(self._help(argv[asks[0]].lstrip("-") if asks[0] < len(argv) else ""))
            self.exit()
        try:
            asked, rest = self._with({"settings": _SETTABLE}).parse_known_args(argv)
        except argparse.ArgumentError as error:
            name = str(error.argument_name)
            example = _SETTABLE.get(name[2:])  # of which argparse reads text, so that only a missing one is wrong
            wrong = f" needs a value, as in {name} {as_argument(example.default)}" if example else f": {error.message}"
            raise ValueError(name + wrong) from None
        if rest and not rest[0].startswith("--"):
            name = rest[0].lstrip("-")
            how = f"write --{name} VALUE, with two dashes" if name in _SETTABLE else "write --key value"
            raise ValueError(f"{rest[0]!r} belongs to no setting; {how}")
        if rest:
            flag = rest[0].partition("=")[0]
            near = difflib.get_close_matches(flag[2:], [*vars(asked), *_SETTABLE], n=1, cutoff=0.0)
            raise ValueError(f"unknown flag {flag!r}; the nearest is --{near[0]} (--help all lists them)")
        given = {key: vars(asked).pop(key) for key in [*vars(asked)] if key in _SETTABLE}
        return asked, {key: parse_value(key, _SETTABLE[key].default, value) for key, value in given.items()}

    def _with(self, groups: dict[str, dict[str, Setting]]) -> "Flags":
        """Return these flags with settings after them."""
        whole = Flags(self.description, parents=[self], add_help=False, exit_on_error=False)
        for title, settings in groups.items():
            group = whole.add_argument_group(title)
            for key, setting in settings.items():
                meaning = setting.meaning + f": {setting.legal.words}" * bool(setting.legal.choices)
                default = as_argument(setting.default) or "''"
                group.add_argument(f"--{key}", default=argparse.SUPPRESS, metavar=default, help=meaning)
        return whole

    def _help(self, about: str) -> str:
        if own := [action for action in self._actions if f"--{about}" in action.option_strings]:
            return f"--{about}\n" + _fill(f"{own[0].help}", initial_indent="  ", subsequent_indent="  ")
        if about not in ("", "all"):
            return explain(about)
        groups = {"common settings, with their defaults": {key: SETTING[key] for key in _COMMON}} if self.common else {}
        groups = SETTINGS if about else groups
        whole = self._with({"many settings at once": _FILES, **groups} if groups else {})
        whole.epilog = "--help KEY explains a setting, --help all lists them with their defaults."
        for name, keys in PRESETS.items() if about else ():
            preset = ", ".join(f"{key} {as_argument(value)}" for key, value in keys.items())
            whole.epilog += "\n\n" + _fill(f"{name}: {preset}")
        return whole.format_help().strip()


def parse_overrides(argv: list[str]) -> dict[str, Any]:
    """Read settings, and nothing else, from a command line; see Flags.read."""
    return Flags(None).read(argv)[1]


def explain(key: str) -> str:
    """Return what there is to know of one setting."""
    setting = SETTING[known(key)]
    presets = "".join(f"; {as_argument(keys[key])} in {name}" for name, keys in PRESETS.items() if key in keys)
    text = (
        f"{setting.meaning}.",
        setting.more,
        f"Legal: {setting.legal.words}.",
        f"Default: {as_argument(setting.default) or 'empty'}{presets}.",
        "It changes no result." if setting.runtime else "",
    )
    return "\n".join([f"--{key}", *(_fill(part, initial_indent="  ", subsequent_indent="  ") for part in text if part)])


def whole_number(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """Return what reads a whole number of a range, as the type of a flag."""

    def read(text: str) -> int:
        if text.isdecimal() and least <= int(text) <= most:
            return int(text)
        legal = f"of at least {least}" + f" and at most {most}" * (most < LARGEST)
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {legal}")

    return read


def share(text: str) -> float:
    """Read a number from 0 to 1, as the type of a flag."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def named_encoding(text: str) -> str:
    """Read the name of an encoding, as the type of a flag."""
    if not ENCODING.holds(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no encoding that Python knows; gb18030 is one")
    return text


def whole_numbers(text: str) -> list[int]:
    """Read "1,3,5" as ascending whole numbers of at least 1, as the type of a flag."""
    return sorted(set(map(whole_number(1), map(str.strip, text.split(",")))))


# --- scripts ---


class _Formatter(logging.Formatter):
    """Writes what is logged in the language that is asked for."""

    def format(self, record: logging.LogRecord) -> str:
        return worded(super().format(record), sys.stdout)


def worded(text: str, stream: IO[str]) -> str:
    """Return a message in Chinese if that is asked for and the stream can show it."""
    return in_chinese(text) if _language(tuple(sys.argv[1:]), of_terminal()) == "zh" and can_show(stream) else text


@lru_cache(maxsize=1)
def _language(argv: tuple[str, ...], otherwise: str) -> str:
    """Return the language that a command line asks for, before it is read: its errors are worded as well."""
    given = {}
    for place, word in enumerate(argv):
        flag, mark, value = word.partition("=")
        given[flag] = value if mark else "".join(argv[place + 1 : place + 2])
    asked = given.get("--lang")
    if asked is None and "--config" in given:
        with suppress(OSError, ValueError):
            asked = read_config(Path(given["--config"])).get("lang")
    return asked if asked and LANGUAGE.holds(asked) else otherwise


def answer_early(flags: Flags) -> None:
    """Answer --help and a mistyped command line before a script imports torch, which takes seconds.

    Call it first of all in a script that is being run; until run_script takes over, Ctrl-C ends it without a word.
    """
    code = run_script(lambda: get_config(flags.read()[1]))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if code:
        sys.exit(code)


def run_script(main: Callable[[], Any]) -> int:
    """Run a script's main function and return its exit code.

    Returns:
        0; or 2 after an expected failure, explained in one line; or 130 after Ctrl-C.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.raiseExceptions = False  # a reader that goes away, as in | head, costs no run
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # nor does a terminal that cannot show a title
    log = logging.getLogger("aglrec")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter())
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    try:
        main()
        return 0
    except BrokenPipeError:  # of print, where a reader such as head has what it wants
        return 0
    except (OSError, ValueError, FloatingPointError) as error:
        print(worded(f"error: {error}", sys.stderr), file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(worded(f"error: {out_of_memory_message(error)}", sys.stderr), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        sentence = "interrupted; what is finished is kept, and the same command goes on after it"
        print(worded(sentence, sys.stderr), file=sys.stderr)
        return 130
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would fail again when it ends
