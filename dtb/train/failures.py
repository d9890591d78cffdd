"""What Ray Train's controller tells of a worker group that broke: when it saw it, and in a line why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.callback import UserCallback

from dtb.errors import StageError
from dtb.train.notes import tell_broken

_MOST_LETTERS = 200


class TellFailures(UserCallback):
    """Writes a training's failures among its notes.

    Parameters
    ----------
    out : Path
        Output folder of the training.
    """

    def __init__(self, out: Path) -> None:
        self._out = out

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Tell of ranks that broke, unless they have said it themselves."""
        del run_context
        found = {rank: own_error(error) for rank, error in worker_exceptions.items()}
        if any(isinstance(error, StageError) for error in found.values()):
            tell_broken(self._out, None)
            return
        # Ranks that miss a dead one raise errors of the network's, which say nothing.
        dead = [rank for rank, error in found.items() if isinstance(error, WorkerHealthCheckFailedError)]
        ranks = sorted(dead or found)
        why = "its process or its node died" if dead else str(found[ranks[0]]).splitlines()[0][:_MOST_LETTERS]
        tell_broken(
            self._out,
            f"Lost: rank {', '.join(map(str, ranks))} ({why}). Training begins again where the newest checkpoint is.",
        )


def own_error(error: BaseException) -> BaseException:
    """Give what a worker raised, without what Ray wraps it in."""
    return getattr(error, "_base_exc", None) or getattr(error, "cause", None) or error
