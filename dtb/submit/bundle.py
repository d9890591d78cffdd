"""The files sent to a cluster with a job: the resolved configuration and the small text files that it names, never data.

A relative path in the configuration is a file here, and is sent; an absolute one is the cluster's. The files are copied beside the run
folder, to OUT.submitted: a record of the job, under a path that is the same for every node and every later --resume.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from dtb.config import Config, to_yaml
from dtb.config.labels import is_a_file
from dtb.errors import ConfigurationError
from dtb.shards.remote import url_of

MAX_MIB = 10.0
CONFIG_FILE = "config.yaml"
_TEXT = {".yaml", ".yml", ".json", ".tsv", ".csv", ".txt"}


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A job's files and its command.

    Attributes
    ----------
    files : dict of str to Path
        Files of this machine, by the names that they have on the cluster.
    config : str
        The resolved configuration as YAML, with the paths of the cluster.
    place : str
        Folder of the files on the cluster.
    command : list of str
        Command that runs there.
    """

    files: dict[str, Path]
    config: str
    place: str
    command: list[str]

    @property
    def num_bytes(self) -> int:
        """Return the size of the files."""
        return len(self.config.encode()) + sum(path.stat().st_size for path in self.files.values())

    def shell_line(self, source: str) -> str:
        """Return the shell line that copies the files from the folder `source` and runs the command."""
        place = shlex.quote(self.place)
        return f"mkdir -p {place} && cp -R {shlex.quote(source)}/. {place} && exec {shlex.join(self.command)}"

    @property
    def texts(self) -> dict[str, str]:
        """Return the contents of the files, the configuration first."""
        named = {name: path.read_text(encoding="utf-8") for name, path in self.files.items()}
        return {CONFIG_FILE: self.config, **named}

    def write(self, folder: Path) -> None:
        """Write the files into a new folder."""
        folder.mkdir(parents=True)
        for name, text in self.texts.items():
            (folder / name).write_text(text, encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Work:
    """What a job does, if not all stages of `dtb run`.

    Attributes
    ----------
    stage : str
        Name of the stage, as `sweep`.
    words : tuple of (str, object)
        Its places and its own options in their order, see `dtb.commands.options.own_words`.
    """

    stage: str
    words: tuple[tuple[str, Any], ...]

    def command(self, config_file: str, sent: Callable[[str, Any], Any]) -> list[str]:
        """Return the words of the command there; `sent(option, path)` returns a path as it is there."""
        places, options = [], []
        for name, value in self.words:
            there = _listed(_each(value, f"dtb {self.stage}: {name}", sent))
            values = [(url_of(one) if isinstance(one, Path) else None) or str(one) for one in there]
            if name.startswith("--"):
                options += [name] if isinstance(value, bool) else [name, *values]
            else:
                places += values
        return [self.stage, *places, "--config", config_file, *options]


def _listed(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def pack(config: Config, out: str, *, resume: bool, place: str | None = None, work: Work | None = None) -> Bundle:
    """Return the bundle of a job.

    Parameters
    ----------
    config : Config
        With its paths as the user gave them.
    out : str
        Run folder on the cluster.
    resume : bool
        Go on in a run folder that is in use.
    place : str, optional
        Folder of the files on the cluster; OUT.submitted if not given.
    work : Work, optional
        What the job does; `dtb run` if not given.

    Returns
    -------
    Bundle

    Raises
    ------
    ConfigurationError
        A path is neither a small text file here nor an absolute path of the cluster.
    """
    run = PurePosixPath(out)
    if not run.is_absolute():
        raise ConfigurationError(
            f"OUT is {out!r}, a relative path: the job runs on the cluster, so give the absolute path of a folder that all of "
            "its nodes see."
        )
    if not all(is_a_file(each) for each in config.ingest.participant_label):
        raise ConfigurationError(
            "ingest.participant_label: labels do not travel with a job, because its files and its log can be read on the cluster. Write "
            "them into a text file there, one a line, and give its absolute path."
        )
    folder = place or f"{run}.submitted"
    files: dict[str, Path] = {}

    def sent(option: str, value: Any) -> Any:
        path = Path(value).expanduser()
        if url_of(path):
            return value
        if path.is_absolute():
            return type(value)(path)
        if not path.is_file() or path.suffix.lower() not in _TEXT:
            found = "a folder" if path.is_dir() else "no text file" if path.exists() else "not there"
            raise ConfigurationError(
                f"{option} is '{path}', a relative path and {found}. Small text files travel with a job; data lie on the "
                "cluster: give the absolute path under which all of its nodes see them."
            )
        # A name that a ConfigMap takes as a key, and a shell as a word.
        name = f"{len(files) + 1}-{re.sub(r'[^-._a-zA-Z0-9]+', '-', path.name)}"
        files[name] = path
        return type(value)(f"{folder}/{name}")

    cluster = dataclasses.replace(config.cluster, ray_address="auto", num_cpus=None)
    there = dataclasses.replace(_with_paths(config, sent), cluster=cluster)
    config_file = f"{folder}/{CONFIG_FILE}"
    words = ["run", config_file, str(run)] if work is None else work.command(config_file, sent)
    command = ["python", "-m", "dtb", *words, *(["--resume"] if resume else [])]
    bundle = Bundle(files, to_yaml(there), folder, command)
    if bundle.num_bytes > MAX_MIB * 2**20:
        largest = max(files.values(), key=lambda path: path.stat().st_size)
        raise ConfigurationError(
            f"{bundle.num_bytes / 2**20:.1f} MiB would travel with the job, more than {MAX_MIB:g}; the largest file is "
            f"{largest}. Put it where the cluster's nodes see it and give its absolute path."
        )
    return bundle


def _with_paths(config: Config, sent: Any) -> Config:
    """Return the configuration with `sent(option, path)` in place of each path."""
    sections: dict[str, Any] = {}
    for section in dataclasses.fields(config):
        values = getattr(config, section.name)
        if dataclasses.is_dataclass(values):
            changed = {
                field.name: _each(getattr(values, field.name), f"{section.name}.{field.name}", sent)
                for field in dataclasses.fields(values)
            }
            sections[section.name] = dataclasses.replace(values, **changed)  # type: ignore[type-var]
    return dataclasses.replace(config, **sections)


def _each(value: Any, option: str, sent: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_each(entry, option, sent) for entry in value)
    is_file_of_a_task = option == "ingest.tasks" and str(value).endswith((".yaml", ".yml"))
    return sent(option, value) if isinstance(value, Path) or is_file_of_a_task else value
