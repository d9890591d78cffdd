"""Failures of worker groups, as Ray Train's controller reports them: when and, in a line, why."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any

import ray.train
from ray.train import UserCallback, get_preemption_info

from dtb.cluster.shared_folder import SharedFolder
from dtb.errors import ConfigurationError, FinalError, StageError
from dtb.train.at_once import TooManyAtOnceError, is_full
from dtb.train.log import tell_broken

_MOST_LETTERS = 200
_DEAD = "WorkerHealthCheckFailedError"
"""Ray Train's error of a rank that answers no more. Its type is none of Ray's public ones."""
_MARK, _NODE = "mark", "node"


class FailureLog(UserCallback):
    """Writes a training's failures among its notes, and looks for what its ranks write.

    Ray Train's controller, which calls it, runs on the driver's node.

    Parameters
    ----------
    folder : SharedFolder
        Output folder of the training, which the driver marked.
    """

    def __init__(self, folder: SharedFolder) -> None:
        self._folder, self._out = folder, folder.folder

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Look for the marks that ranks left in the output folder (`tell_mark`).

        Raises
        ------
        ConfigurationError
            One is not there: checkpoints and the twin would be lost with that node.
        """
        del run_context, checkpoint
        for said in metrics:
            self._folder.require_seen(said[_MARK], said[_NODE])

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Report ranks that broke, unless they have reported it themselves.

        Raises
        ------
        ConfigurationError, FinalError
            A rank found what a restart would find too, or memory ran out (TooManyAtOnceError). Ray Train stops after an error of a
            callback. (Input that cannot be read may be available again after a restart.)
        """
        del run_context
        found = {rank: own_error(error) for rank, error in worker_exceptions.items()}
        ended = [rank for rank, error in found.items() if type(error).__name__ == _DEAD and is_full(error)]
        if ended:
            raise TooManyAtOnceError(f"Ray's monitor ended {_ranks(ended)}, for the memory of its node ran out")
        for error in found.values():
            if isinstance(error, ConfigurationError | FinalError):
                raise error
        if any(isinstance(error, StageError) for error in found.values()):
            tell_broken(self._out, None)
            return
        dead = [rank for rank, error in found.items() if type(error).__name__ == _DEAD]
        others = [rank for rank in found if rank not in dead]
        first = str(found[others[0]]).splitlines()[0][:_MOST_LETTERS] if others else ""
        if dead:
            lost = f"{_ranks(dead)} (its process or its node died)"
        elif "onnection" in first:
            # Whose other end is gone is told by the ranks that are left.
            lost = f"a worker or its network ({_ranks(others)} hears no more of it)"
        else:
            lost = f"{_ranks(others)} ({first})"
        tell_broken(self._out, f"Lost: {lost}. Training begins again where the newest checkpoint is.")


def tell_mark(name: str) -> None:
    """Send `FailureLog` the mark that this rank left in the output folder; every rank must call it."""
    ray.train.report({_MARK: name, _NODE: socket.gethostname()})


def leaving_nodes() -> tuple[str, ...]:
    """Return Ray's names of the nodes of this training that will be gone soon; every rank must call it.

    They are given back to a cloud, or drained. When one is gone, Ray Train begins again without counting that as a failure.
    """
    found = get_preemption_info()
    return () if found is None else tuple(found.preempted_node_ids)


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, sorted(ranks)))}"


def own_error(error: BaseException) -> BaseException:
    """Return a worker's exception without Ray's wrapping."""
    return getattr(error, "_base_exc", None) or getattr(error, "cause", None) or error
