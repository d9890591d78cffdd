"""The command line: a stage and its configuration from defaults, the YAML file and the options; its call; its exit code."""

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
from dtb.cli.help import help_text
from dtb.cli.refused_options import refused_in_our_words
from dtb.commands import COMMANDS, STAGES, Stage
from dtb.errors import ConfigurationError, StageError, ToldToEndError, UserError
from dtb.shards.remote import with_absolute_paths
from dtb.terminal import err, headed, out

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
LEVELS = ("participant", "group")
_BIDS_APP_OPTIONS = ("--participant-label", "--session-label", "--task", "--bids-filter-file")


def run_command(name: str, arguments: list[str]) -> int:
    """Run one command and give the exit code of the process: 0 done, 1 failed, 2 a user's mistake, 130 interrupted."""
    if name == "--version":
        from dtb.cli.overview import version_in_words

        out.print(version_in_words())
        return 0
    if name == "--completion":
        return _print_completion(arguments)
    if name not in COMMANDS and len(arguments) > 1 and arguments[1] in LEVELS:  # as BIDS apps are called
        name, arguments = "app", [name, *arguments]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        advice = f"Did you mean `dtb {near[0]}`?" if near else f"The stages are: {', '.join(COMMANDS)}."
        err.print(f"dtb: there is no stage '{name}'. {advice} `dtb --help` explains them.")
        return EXIT_USER_ERROR
    asked = {"-h", "--help", "--help-all"}.intersection(arguments)
    if asked:
        out.print(help_text(name, COMMANDS[name], everything="--help-all" in asked))
        return 0
    os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        stage, config = parse(name, arguments)
        if stage.print_config:
            sys.stdout.write(cfg.to_yaml(config, labels=True))
            return 0
        stage.run(config)
    except (UserError, ValidationError) as error:
        text = _explained(error, name) if isinstance(error, ValidationError) else str(error)
        err.print(headed(f"dtb {name}:", text))
        return EXIT_USER_ERROR
    except ToldToEndError as error:
        err.print(headed(f"dtb {name}:", str(error)))
        return EXIT_INTERRUPTED
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
    from dtb.cli.completion import completion_script

    try:
        sys.stdout.write(completion_script(" ".join(shells)))
    except UserError as error:
        err.print(headed("dtb --completion:", str(error)))
        return EXIT_USER_ERROR
    return 0


def _interrupt(_signal: int, _frame: object) -> None:
    """Treat the scheduler's SIGTERM as Ctrl-C, so that clusters are shut down and files are left whole."""
    raise KeyboardInterrupt


def _parse_submitted(arguments: list[str], command: list[str]) -> tuple[Stage, cfg.Config]:
    """Make `dtb submit` and the configuration of the stage whose command follows its ``--``."""
    name = command[0] if command else ""
    if name not in {*STAGES, "sweep"} - {"run", "app"}:
        raise ConfigurationError(
            f"After `--` stands a stage with what it takes, not {name!r}: {', '.join(sorted({*STAGES, 'sweep'} - {'run', 'app'}))}. "
            "`dtb submit CONFIG OUT` does all of `dtb run`."
        )
    stage, config = parse(name, command[1:], are_here=False)
    own = [] if stage.config is None else [str(stage.config), "OUT"]
    asked, launched = parse("submit", [*own, *arguments])
    if getattr(asked, "config_file", None) != stage.config:
        raise ConfigurationError(
            "With a stage after `--`, CONFIG and OUT stand there: `--config FILE`, and the place OUT."
        )
    return dataclasses.replace(asked, work=(name, stage)), dataclasses.replace(  # type: ignore[call-arg]
        config, launch=launched.launch, name=launched.name
    )


def parse(name: str, arguments: list[str], are_here: bool | None = None) -> tuple[Stage, cfg.Config]:
    """Make a stage and its configuration of the command line.

    Parameters
    ----------
    name : str
        Name of the stage.
    arguments : list of str
        What follows it on the command line.
    are_here : bool, optional
        Whether paths are this machine's; as the stage says if not given.

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
    """
    if name == "submit" and "--" in arguments:
        place = arguments.index("--")
        return _parse_submitted(arguments[:place], arguments[place + 1 :])
    kind = COMMANDS[name]
    are_here = kind.paths_are_here if are_here is None else are_here
    arguments = [_without_prefix(argument, name) for argument in arguments]
    known = {field.name for field in dataclasses.fields(cfg.Config)}

    def parsed(base: cfg.Config) -> Stage:
        default: dict[str, Any] = {}
        for field in dataclasses.fields(kind):
            if field.name in known:
                default[field.name] = getattr(base, field.name)
            elif field.default is dataclasses.MISSING:
                default[field.name] = Path() if "--print-config" in arguments and name != "run" else tyro.MISSING
        with refused_in_our_words(name, kind, arguments):
            return tyro.cli(
                kind,
                prog=f"dtb {name}",
                args=arguments,
                default=kind(**default),
                use_underscores=False,
                config=(FlagCreatePairsOff,),
                add_help=False,
            )

    base, stage = cfg.Config(), parsed(cfg.Config())
    (with_absolute_paths(stage) if are_here else stage).prepare()
    if stage.config_path is not None:  # the file holds the defaults, so the options are read once more on top of it
        base = cfg.load_config(stage.config_path)
        stage = parsed(base)
    given = {field.name: getattr(stage, field.name) for field in dataclasses.fields(kind) if field.name in known}
    config = dataclasses.replace(base, **given)
    return (with_absolute_paths(stage), with_absolute_paths(config)) if are_here else (stage, config)


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
    own = {"run": (), "app": ("--ingest.",), "sweep": ("--train.",)}.get(name, (f"--{name}.",))
    for prefix in (*own, "--cluster."):
        if argument.startswith(prefix):
            return "--" + argument.removeprefix(prefix)
    return argument
