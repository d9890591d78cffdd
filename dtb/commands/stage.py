"""What every command of the command line takes."""

from __future__ import annotations

import abc
import dataclasses
from pathlib import Path
from typing import ClassVar

from dtb import config as cfg


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage(abc.ABC):
    """What every stage takes."""

    common: ClassVar[tuple[str, ...]] = ()
    """Options that ``--help`` explains, ten at most; all of them if none is named."""
    paths_are_here: ClassVar[bool] = True  # else they are another machine's, and are left as they were given

    config: Path | None = None
    """YAML file with any settings; options given here win."""
    seed: int = 0
    """Seed of everything random."""
    resume: bool = False
    """Go on in a folder that was begun with these settings."""
    dry_run: bool = False
    """Check inputs, say what would be done, write nothing."""
    print_config: bool = False
    """Print the resolved configuration as YAML, fit for --config, and stop."""

    @property
    def config_path(self) -> Path | None:
        """Where the YAML file lies, if there is one."""
        return self.config

    def prepare(self) -> None:  # noqa: B027 - most commands need nothing
        """Do what has to be done before the YAML file is read."""

    @abc.abstractmethod
    def run(self, config: cfg.Config) -> None:
        """Do the stage's work."""
