"""Weights & Biases, or nothing, behind five methods; the rest of the system does not know which.

One run a job, from one process. What is logged names no machine, no path and no participant: W&B's own collection of such things is
switched off, and nothing of ours carries them.
"""

from __future__ import annotations

import html
import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dtb.config import TrackConfig
from dtb.errors import ConfigurationError, FinalError
from dtb.terminal import err
from dtb.version import DISTRIBUTION


class Tracker:
    """Takes what there is to log and forgets it; what W&B logs is in the subclass that `open_tracker` gives.

    Attributes
    ----------
    run_id : str or None
        Names the run, so that a resumed job continues it.
    """

    run_id: str | None = None

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Log numbers at a step."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table."""

    def figure(self, name: str, figure: Any) -> None:
        """Log a matplotlib figure."""

    def summarise(self, figures: Mapping[str, Any]) -> None:
        """Set the figures by which the run is listed."""

    def finish(self) -> None:
        """Write out what is left."""


class _WandbTracker(Tracker):
    def __init__(
        self, config: TrackConfig, mode: str, folder: Path, settings: Mapping[str, Any], run_id: str | None
    ) -> None:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=config.project,
            name=config.name,
            group=config.group,
            id=run_id,
            resume="allow" if run_id and mode == "online" else None,
            dir=str(folder),
            config=dict(settings),
            settings=wandb.Settings(
                mode=mode,  # type: ignore[arg-type]
                console="off",
                silent=True,
                host="",
                program="",
                root_dir=str(folder),
                disable_code=True,
                disable_git=True,
                disable_job_creation=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        self.run_id = self._run.id

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._run.log(dict(figures), step=step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        # Not wandb.Table: it is sent as an artifact, whose record names a folder of this machine.
        head = "".join(f"<th>{html.escape(str(column))}</th>" for column in columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
        self._run.log({name: self._wandb.Html(f"<table><tr>{head}</tr>{body}</table>")})

    def figure(self, name: str, figure: Any) -> None:
        importlib.import_module("matplotlib.pyplot")  # W&B looks at it and does not import it
        self._run.log({name: self._wandb.Image(figure)})

    def summarise(self, figures: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(figures))

    def finish(self) -> None:
        self._run.finish()
        # `finish` returns before an offline record is written out; the end of W&B's own process does not.
        self._wandb.teardown()


def open_tracker(
    config: TrackConfig,
    folder: Path,
    settings: Mapping[str, Any],
    run_id: str | None = None,
    tell: Callable[[str], None] = err.print,
) -> Tracker:
    """Open the tracker that the configuration asks for.

    Parameters
    ----------
    config : TrackConfig
    folder : Path
        Where an offline record is written.
    settings : mapping
        The configuration to log; it must hold no path and no label of a person.
    run_id : str, optional
        Continue this run.
    tell : callable
        Takes a sentence for the user.

    Returns
    -------
    Tracker
        One that keeps nothing where W&B is not asked for, or not installed and not asked for by name.

    Raises
    ------
    ConfigurationError
        It is asked for by name and not installed.
    FinalError
        It is to be online, and there is no key, or no connection.
    """
    mode = _mode(config)
    if mode == "off":
        return Tracker()
    if not is_installed():
        advice = f"Weights & Biases is not installed here: `pip install '{DISTRIBUTION}[wandb]'`"
        if mode != "auto":
            raise ConfigurationError(f"track.wandb is {mode}. {advice}, or set it to off.")
        if has_key():
            tell(f"{advice}. Nothing is sent to it.")
        return Tracker()
    # W&B's client would send its own errors, with paths of this machine, to another server.
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    online = mode == "online" or (mode == "auto" and has_key())
    folder.mkdir(parents=True, exist_ok=True)
    if not online:
        return _WandbTracker(config, "offline", folder, settings, run_id)
    from wandb.errors import CommError, UsageError

    try:
        return _WandbTracker(config, "online", folder, settings, run_id)
    except (CommError, UsageError) as error:  # the latter of a key that is not there, or cannot be one
        if mode == "online":
            raise FinalError(
                f"Weights & Biases cannot be used ({_first_line(error)}). Set track.wandb to offline, or to auto, which falls back to it."
            ) from None
        tell(
            f"Weights & Biases cannot be used ({_first_line(error)}): the record stays offline, in {folder / 'wandb'}, for `wandb sync`."
        )
        return _WandbTracker(config, "offline", folder, settings, run_id)


def _mode(config: TrackConfig) -> str:
    """Return what the configuration asks for; where it leaves that open, what W&B's own variables do."""
    if config.wandb != "auto":
        return config.wandb
    if os.environ.get("WANDB_DISABLED", "").lower() in {"1", "true", "yes", "on"}:
        return "off"
    return {"offline": "offline", "dryrun": "offline", "disabled": "off", "online": "online"}.get(
        os.environ.get("WANDB_MODE", "").lower(), "auto"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def is_installed() -> bool:
    """Whether W&B's client is installed."""
    return importlib.util.find_spec("wandb") is not None


def has_key() -> bool:
    """Whether this user has a W&B key, in the environment or in `~/.netrc`."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return "api.wandb.ai" in Path("~/.netrc").expanduser().read_text(encoding="utf-8")
    except OSError:
        return False
