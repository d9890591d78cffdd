"""The ``dtb`` command: parses, calls one function, sets the exit code. What it can be told is in `dtb.commands`."""

from __future__ import annotations

import dataclasses
import difflib
import errno
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, get_type_hints

import tyro
from pydantic import ValidationError
from tyro.conf import FlagCreatePairsOff

from dtb import config as cfg
from dtb.commands import COMMANDS, STAGES, Stage
from dtb.errors import StageError, UserError
from dtb.refused_options import refused_in_our_words
from dtb.shards.remote import with_absolute_paths
from dtb.terminal import err, headed, out
from dtb.version import __version__

EXIT_FAILURE = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
# What the operating system refuses because of the places that were given, or because of the state of the machine.
_EXIT_OF_ERRNO = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG), EXIT_USER_ERROR
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EIO), EXIT_FAILURE),
}
_BIDS_APP_OPTIONS = ("--participant-label", "--session-label", "--task", "--bids-filter-file")


def parse(name: str, arguments: list[str]) -> tuple[Stage, cfg.Config]:
    """Make a stage and its configuration of the command line.

    Parameters
    ----------
    name : str
        Name of the stage.
    arguments : list of str
        What follows it on the command line.

    Returns
    -------
    Stage
    Config
        Defaults, then the YAML file, then the options.

    Raises
    ------
    ConfigurationError
        An option is unknown, missing or malformed; the file has an unknown key, or a value in it is not allowed.
    ValidationError
        An option's value is not allowed.
    SystemExit
        Help was asked for.
    """
    kind = COMMANDS[name]
    arguments = [_without_prefix(argument, name) for argument in arguments]
    known = {field.name for field in dataclasses.fields(cfg.Config)}

    def parsed(base: cfg.Config) -> Stage:
        default: dict[str, Any] = {}
        for field in dataclasses.fields(kind):
            if field.name in known:
                default[field.name] = getattr(base, field.name)
            elif field.default is dataclasses.MISSING:
                default[field.name] = Path() if "--print-config" in arguments and name != "run" else tyro.MISSING
        with refused_in_our_words(name, kind):
            return tyro.cli(
                kind,
                prog=f"dtb {name}",
                args=arguments,
                default=kind(**default),
                use_underscores=False,
                config=(FlagCreatePairsOff,),
            )

    base, stage = cfg.Config(), parsed(cfg.Config())
    if stage.config_path is not None:  # the file holds the defaults, so the options are read once more on top of it
        base = cfg.load_config(stage.config_path)
        stage = parsed(base)
    given = {field.name: getattr(stage, field.name) for field in dataclasses.fields(kind) if field.name in known}
    config = dataclasses.replace(base, **given)
    return (with_absolute_paths(stage), with_absolute_paths(config)) if kind.paths_are_here else (stage, config)


def _explained(error: ValidationError, name: str) -> str:
    """Put a refused value into words that name the option as it is given to the stage `name`."""
    kinds = {getattr(kind, "__name__", ""): section for section, kind in get_type_hints(cfg.Config).items()}
    section = kinds.get(error.title, "")

    def option(key: str) -> str:
        parts = [part.replace("_", "-") for part in (section, *key.split(".")) if part and not part.isdecimal()]
        return _without_prefix("--" + ".".join(parts), name)

    return cfg.explain(error, cfg.Config, f"options of `{section}`" if section else "options", option)


def _without_prefix(argument: str, name: str) -> str:
    """Read `dtb train --train.num-workers` as `--num-workers`: the names of the YAML file are valid on every command line.

    And the options that BIDS apps have in common are called in `dtb run` as they are in `dtb ingest`.
    """
    if name == "run" and argument.partition("=")[0].replace("_", "-") in _BIDS_APP_OPTIONS:
        return "--ingest." + argument.removeprefix("--")
    own = {"run": (), "sweep": ("--train.",)}.get(name, (f"--{name}.",))
    for prefix in (*own, "--cluster."):
        if argument.startswith(prefix):
            return "--" + argument.removeprefix(prefix)
    return argument


def overview() -> str:
    """Return the text of ``dtb --help``."""
    lines = [
        "dtb trains digital twin brains: from a person's resting-state connectome, a model of what that person chooses, when they",
        "press and what their BOLD signal does - and searches for what would change it. Research use only.",
        "",
        "usage: dtb STAGE ... [--config FILE.yaml] [--resume] [--dry-run] [--print-config] [--help]",
        "",
        "Stages, in the order in which data pass through them:",
    ]
    for name, kind in STAGES.items():
        lines.append(f"  {name:<10} {(kind.__doc__ or '').splitlines()[0]}")
    lines += [
        "",
        "Beside them:",
        *(
            f"  {name:<10} {(kind.__doc__ or '').splitlines()[0]}"
            for name, kind in COMMANDS.items()
            if name not in STAGES
        ),
        "",
        "Try:  dtb run configs/demo.yaml        all stages on a small ground-truth cohort; ends with a page to look at",
        "      dtb train --help                 what a stage reads, writes and can be told",
        "      dtb train --print-config         every setting with its value, as a YAML file to start from",
        "      source <(dtb --completion bash)  complete stages and options with the Tab key; zsh and fish likewise",
        "",
        "A running Ray cluster is used with --ray-address ADDRESS; without it, a private one on this machine.",
        "Exit codes: 0 done, 1 failed, 2 the command or its input is wrong, 130 interrupted.",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the process if not given.
    """
    sys.exit(exit_code(sys.argv[1:] if arguments is None else arguments))


def exit_code(arguments: list[str]) -> int:
    """Run the command line; give 0 when done, 1 for a failure, 2 for a user's mistake, 130 when interrupted."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        out.print(overview())
        return 0
    if arguments[0] == "--version":
        out.print(f"dtb {__version__}")
        return 0
    if arguments[0] == "--completion":
        return _print_completion(arguments[1:])
    name = arguments[0]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        advice = f"Did you mean `dtb {near[0]}`?" if near else f"The stages are: {', '.join(COMMANDS)}."
        err.print(f"dtb: there is no stage '{name}'. {advice} `dtb --help` explains them.")
        return EXIT_USER_ERROR
    os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        stage, config = parse(name, arguments[1:])
        if stage.print_config:
            sys.stdout.write(cfg.to_yaml(config, labels=True))
            return 0
        stage.run(config)
    except (UserError, ValidationError) as error:
        text = _explained(error, name) if isinstance(error, ValidationError) else str(error)
        err.print(headed(f"dtb {name}:", text))
        return EXIT_USER_ERROR
    except StageError as error:
        err.print(headed(f"dtb {name} failed:", str(error)))
        return EXIT_FAILURE
    except KeyboardInterrupt:
        err.print(f"dtb {name}: interrupted. What is finished is kept; run the same command with --resume to go on.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has closed it, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    except OSError as error:
        if error.errno not in _EXIT_OF_ERRNO:
            return _tell_fault(name)
        at = "" if error.filename is None else f": {error.filename}"
        err.print(headed(f"dtb {name} failed:", f"{error.strerror}{at}"))
        return _EXIT_OF_ERRNO[error.errno]
    except Exception:  # noqa: BLE001 - the last place where a fault of ours can be told with its trace and the right exit code
        return _tell_fault(name)
    return 0


def _tell_fault(name: str) -> int:
    err.print(traceback.format_exc())  # not in rich's colours, which cut a URL into parts that are cleaned one by one
    err.print(headed(f"dtb {name} failed", "through a fault that is not yours; please report the lines above."))
    return EXIT_FAILURE


def _print_completion(shells: list[str]) -> int:
    from dtb.completion import completion_script

    try:
        sys.stdout.write(completion_script(" ".join(shells)))
    except UserError as error:
        err.print(headed("dtb --completion:", str(error)))
        return EXIT_USER_ERROR
    return 0


def _interrupt(_signal: int, _frame: object) -> None:
    """Treat the scheduler's SIGTERM as Ctrl-C, so that clusters are shut down and files are left whole."""
    raise KeyboardInterrupt
