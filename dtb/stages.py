"""What every stage does alike: claim an output folder, look only, find nothing to do, go on, complete.

Every stage writes into one folder. A stage states its call once, as a `StageCall`, asks it whether there is anything to do, claims the
folder, works, and finishes it:

    call = StageCall("plan", out, settings, resume=resume, dry_run=dry_run)
    if call.ends_early(lambda: print("Would write ...")):
        return
    folder = call.claim()
    ...
    folder.finish(summary)

`finish` writes `stage.json` last. A folder that was not finished was interrupted, and `require_complete` says so to whoever wants to read
it. Whoever writes into a folder holds a lock of the kernel's on it, so that no second process of this machine does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dtb import terminal
from dtb.config import config_hash, plain_hash, quoted, read_yaml, to_plain, to_yaml
from dtb.errors import DamagedOutputError, InputDataError, OutputInUseError, UserError
from dtb.files import PARTIAL, lock, sha256_of, write_json, write_text
from dtb.version import __version__, versions_here

STAGE_FILE = "stage.json"
CONFIG_FILE = "config.yaml"
_NUM_NAMED = 3


@dataclasses.dataclass(frozen=True)
class StageCall:
    """One call of a stage: where it is to write, by which settings, and whether it may go on there or only look.

    Attributes
    ----------
    stage : str
        Name of the stage, for example ``"ingest"``.
    path : Path
        Its output folder.
    config : dataclass
        The settings that the stage reads, and nothing else. They are saved in the folder and hashed.
    resume : bool
        Whether to go on in a folder that this stage, with these settings, began.
    dry_run : bool
        Whether to look only, and write nothing.
    inputs : mapping of str to str
        Hashes of what the stage reads, by name, where results of several inputs must not be mixed.
    goes_on_when_complete : bool
        Whether a resumed stage has something to do in a folder that is complete.
    """

    stage: str
    path: Path
    config: Any
    _: dataclasses.KW_ONLY
    resume: bool
    dry_run: bool = False
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    goes_on_when_complete: bool = False
    _began: float = dataclasses.field(default_factory=time.monotonic, repr=False, compare=False)

    def ends_early(self, tell_plan: Callable[[], object]) -> bool:
        """Return whether the call ends here, because it only looks or because the folder is complete; nothing is written.

        Parameters
        ----------
        tell_plan : callable
            Prints what would be done; called in a dry run only.

        Raises
        ------
        OutputInUseError, UserError
            `claim` would refuse the folder.
        """
        if self.dry_run:
            tell_plan()
        found = OutputFolder.examine(self.path, self.stage, self.config, resume=self.resume, inputs=self.inputs)
        if self.dry_run:
            return True
        is_done = found.is_complete and not self.goes_on_when_complete
        if is_done:
            terminal.err.print(f"{self.path} is complete already; nothing to do.")
        return is_done

    def claim(self) -> OutputFolder:
        """Take the folder, or refuse it; see `OutputFolder.claim`."""
        folder = OutputFolder.claim(self.path, self.stage, self.config, resume=self.resume, inputs=self.inputs)
        return dataclasses.replace(
            folder, _began=self._began
        )  # a stage may claim its folder when its work is almost done


class _Lock:
    """A folder that this process alone writes into. The kernel ends it with the process, however that ends."""

    def __init__(self, descriptor: int) -> None:
        weakref.finalize(self, os.close, descriptor)


_locks: weakref.WeakValueDictionary[tuple[int, int], _Lock] = weakref.WeakValueDictionary()
_WITHOUT_LOCKS = (
    "Nothing stops a second command that writes into this folder at the same time, and the two would spoil each other's files: start only "
    "one."
)


def _lock(path: Path) -> _Lock:
    """Lock a folder until nothing refers to the lock any more, or refuse.

    Raises
    ------
    OutputInUseError
        Another process has locked it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    status = os.fstat(descriptor)
    key = (status.st_dev, status.st_ino)
    if (held := _locks.get(key)) is not None:
        os.close(descriptor)
        return held
    try:
        lock(descriptor, path, lacking=_WITHOUT_LOCKS, wait=False)
    except BlockingIOError:
        os.close(descriptor)
        raise OutputInUseError(
            f"Another process is writing into {path}. Wait until it has ended, or stop it, or give another output folder; "
            "nothing was changed."
        ) from None
    return _locks.setdefault(key, _Lock(descriptor))


@contextlib.contextmanager
def _refused_in_words(path: Path) -> Iterator[None]:
    """Turn what the file system refuses because of where `path` lies into a sentence; a full disk is no mistake of the user's."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise
        at = "" if error.filename is None or Path(error.filename) == path else f" at {error.filename}"
        raise UserError(
            f"The output folder {path} cannot be written: {error.strerror}{at}. Give another path, or the right to write there."
        ) from None


@dataclasses.dataclass(frozen=True)
class OutputFolder:
    """One stage's output folder, claimed for one configuration.

    Attributes
    ----------
    path : Path
        The folder.
    stage : str
        Which stage writes it, for example ``"ingest"``.
    config_hash : str
        Hash of the configuration that this stage reads, and of nothing else.
    is_resumed : bool
        The folder held unfinished work of the same configuration, to be continued.
    is_complete : bool
        The folder already holds this stage's finished work: there is nothing to do.
    inputs : mapping of str to str
        Hashes of what the stage reads, by name.
    """

    path: Path
    stage: str
    config_hash: str
    is_resumed: bool
    is_complete: bool
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    _lock: _Lock | None = dataclasses.field(default=None, repr=False, compare=False)
    _began: float = dataclasses.field(default_factory=time.monotonic, repr=False, compare=False)

    @classmethod
    def examine(
        cls, path: Path, stage: str, config: Any, *, resume: bool, inputs: Mapping[str, str] | None = None
    ) -> OutputFolder:
        """Return what `claim`, which takes the same, would give, or refuse what it would, and write nothing."""
        with _refused_in_words(path):
            return cls._examine(path, stage, config, resume, dict(inputs or {}))

    @classmethod
    def _examine(cls, path: Path, stage: str, config: Any, resume: bool, inputs: Mapping[str, str]) -> OutputFolder:
        wanted = config_hash(config)
        if path.exists() and not path.is_dir():
            raise OutputInUseError(f"{path} is a file; the output of `dtb {stage}` is a folder. Give another path.")
        if not path.is_dir():
            above = next(parent for parent in path.absolute().parents if parent.exists())
            if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
                number = errno.EACCES if above.is_dir() else errno.ENOTDIR
                raise OSError(number, os.strerror(number), str(above))
            return cls(path, stage, wanted, is_resumed=False, is_complete=False, inputs=inputs)
        lock = _lock(path)
        if all(each.suffix == PARTIAL for each in path.iterdir()):
            return cls(path, stage, wanted, is_resumed=False, is_complete=False, inputs=inputs, _lock=lock)
        if not resume:
            raise OutputInUseError(
                f"{path} is not empty. Add --resume to go on with what is there, or give another output folder; "
                "nothing was changed."
            )
        found = read_stage(path)
        if found["stage"] != stage:
            raise OutputInUseError(
                f"{path} was begun by `dtb {found['stage']}`, not by `dtb {stage}`. Give another output folder."
            )
        if found["config_hash"] != wanted:
            differing = _differences(path / CONFIG_FILE, found["config_hash"], config)
            if differing != []:
                raise OutputInUseError(
                    f"{path} was begun with other settings than are given now{_in_words(differing)}. Give those that it was begun with, or "
                    "another output folder."
                )
            wanted = found["config_hash"]
        begun = found.get("inputs") or {}
        other = [name for name in sorted({*begun, *inputs}) if begun.get(name) != inputs.get(name)]
        if begun and other:  # an older dtb did not say what it began with
            raise OutputInUseError(
                f"{path} was begun with another input than is given now: {', '.join(other)}. Results of the two do not belong "
                "together: give what it was begun with, or another output folder."
            )
        return cls(path, stage, wanted, is_resumed=True, is_complete=found["complete"], inputs=inputs, _lock=lock)

    @classmethod
    def claim(
        cls, path: Path, stage: str, config: Any, *, resume: bool, inputs: Mapping[str, str] | None = None
    ) -> OutputFolder:
        """Take `path` for `stage`, or refuse it.

        Parameters
        ----------
        path : Path
            Folder to write into; made if absent.
        stage : str
            Name of the stage.
        config : dataclass
            The configuration that the stage reads. It is saved in the folder and hashed.
        resume : bool
            Whether to go on in a folder that this stage, with this configuration, began.
        inputs : mapping of str to str, optional
            Hashes of what the stage reads, by name, where results of several inputs must not be mixed.

        Returns
        -------
        OutputFolder
            As long as it lives, other processes are refused the folder.

        Raises
        ------
        OutputInUseError
            The folder is not empty and `resume` is off, or it belongs to another stage or configuration, or was begun from other inputs,
            or another process writes into it.
        UserError
            It cannot be written.
        """
        with _refused_in_words(path):
            cls._examine(path, stage, config, resume, dict(inputs or {}))  # what is refused is not even made
            path.mkdir(parents=True, exist_ok=True)
            folder = cls._examine(path, stage, config, resume, dict(inputs or {}))
            if not folder.is_resumed:
                folder._write_stage(complete=False, summary={})
            for partial in path.glob(f".*{PARTIAL}"):
                partial.unlink()  # what a run was writing when it was killed
            if not (path / CONFIG_FILE).exists():
                write_text(path / CONFIG_FILE, to_yaml(config))
        return folder

    def finish(self, summary: dict[str, Any], sealed: Sequence[str] = ()) -> None:
        """Declare the folder complete, with a few figures (JSON values) that describe it, and the SHA-256 of files that are there."""
        seals = {name: sha256_of(self.path / name) for name in sealed if (self.path / name).is_file()}
        more: dict[str, Any] = {"sha256": seals} if seals else {}
        if not self.is_resumed:  # else nobody knows how long the part before took
            more["seconds"] = round(time.monotonic() - self._began, 1)
        self._write_stage(complete=True, summary=summary, **more)

    def _write_stage(self, *, complete: bool, summary: dict[str, Any], **more: Any) -> None:
        write_json(
            self.path / STAGE_FILE,
            {
                "stage": self.stage,
                "complete": complete,
                "config_hash": self.config_hash,
                "dtb_version": __version__,
                "versions": versions_here(),
                "inputs": dict(self.inputs),
                "summary": summary,
                **more,
            },
        )


def progress_of_stage(path: Path) -> str:
    """Return how far the stage is that writes into a folder: `to do`, `begun` or `done`."""
    if not (path / STAGE_FILE).exists():
        return "to do"
    return "done" if read_stage(path)["complete"] else "begun"


def seconds_of_stage(path: Path) -> float | None:
    """Return how long the stage took that completed a folder; None where it is not known."""
    found = read_stage(path).get("seconds") if progress_of_stage(path) == "done" else None
    return float(found) if isinstance(found, int | float) else None


def broken_seals(path: Path) -> list[str]:
    """Name the files of a folder that are not as the stage left them, which says of them in `stage.json`."""
    seals: dict[str, str] = read_stage(path).get("sha256", {})
    return [name for name, seal in seals.items() if not (path / name).is_file() or sha256_of(path / name) != seal]


def read_stage(path: Path) -> dict[str, Any]:
    """Read the `stage.json` of an output folder.

    Raises
    ------
    InputDataError
        There is no such folder.
    DamagedOutputError
        The folder has no readable `stage.json`.
    """
    if not path.is_dir():
        raise InputDataError(f"{path} does not exist or is not a folder. Check the path.")
    try:
        found = json.loads((path / STAGE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        within = sorted(each.parent.name for each in path.glob(f"*/{STAGE_FILE}"))
        which = f" Those within it are {', '.join(within)}: give {path}/{within[-1]}, for example." if within else ""
        raise DamagedOutputError(
            f"{path} has no {STAGE_FILE}: it was not written by a dtb stage. Give the output folder of one.{which}"
        ) from None
    except ValueError as error:
        raise DamagedOutputError(
            f"{path / STAGE_FILE} is not readable JSON ({error}). Write this stage anew."
        ) from None
    missing = {"stage", "complete", "config_hash", "summary"} - set(found if isinstance(found, dict) else ())
    if missing:
        raise DamagedOutputError(f"{path / STAGE_FILE} lacks {', '.join(sorted(missing))}. Write this stage anew.")
    return dict(found)


def require_complete(path: Path, stage: str) -> dict[str, Any]:
    """Return the summary that `stage` left in `path`, or say why the folder cannot be used.

    Raises
    ------
    InputDataError
        There is no such folder.
    DamagedOutputError
        It is another stage's folder, or the stage did not finish.
    """
    found = read_stage(path)
    if found["stage"] != stage:
        raise DamagedOutputError(
            f"{path} was written by `dtb {found['stage']}`; the output of `dtb {stage}` is needed here."
        )
    if not found["complete"]:
        raise DamagedOutputError(f"{path} is incomplete: `dtb {stage}` was interrupted. Run it again with --resume.")
    return dict(found["summary"])


def _differences(kept: Path, kept_hash: str, config: Any) -> list[tuple[str, Any, Any]] | None:
    """Return the settings in which a kept configuration differs from another one, with both values; None where it is not known.

    A setting that an older version did not have is no difference at its default.
    """
    try:
        plain = read_yaml(kept, "settings were kept there")
    except (OSError, ValueError):
        return None
    before, now, usual = _flat(plain), _flat(to_plain(config)), _defaults_of(type(config))
    new = {key for key in now if key not in before and key in usual and now[key] == usual[key]}
    differing = [key for key in {**before, **now} if key not in new and before.get(key) != now.get(key)]
    if not differing and plain_hash(plain) != kept_hash:
        return None  # the file was changed since
    return [(key, before.get(key), now.get(key)) for key in differing]


def _defaults_of(kind: type) -> dict[str, Any]:
    """Return the defaults of a configuration; nothing of one that has values to be given."""
    try:
        return _flat(to_plain(kind()))
    except (TypeError, ValueError):
        return {}


def _in_words(differing: list[tuple[str, Any, Any]] | None) -> str:
    named = [f"{key} was {quoted(before)} and is {quoted(now)}" for key, before, now in (differing or [])[:_NUM_NAMED]]
    more = f", and {len(differing) - _NUM_NAMED} more" if differing and len(differing) > _NUM_NAMED else ""
    return f": {', '.join(named)}{more}" if named else ""


def _flat(values: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {key: values}
    return {
        name: value
        for part, inner in values.items()
        for name, value in _flat(inner, f"{key}.{part}" if key else str(part)).items()
    }
