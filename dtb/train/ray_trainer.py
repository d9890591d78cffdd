"""Ray Train's trainer, without the helper processes that a training here has no use for: each takes a core for seconds to start.

They hand out Ray's own data sets, which nobody reads here; ask for a larger cluster and watch for nodes that a cloud takes back, but a
private Ray is one node that neither grows nor goes; and free the places of a controller that died, but a private Ray ends with the command.

Ray has no option for this, so this file alone uses what `ray.train.v2._internal` holds, which another version of Ray may change without a
word. So it wants one that the tests have seen.
"""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from packaging.specifiers import SpecifierSet
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from dtb.cluster.shared_folder import SharedFolder
from dtb.errors import ConfigurationError
from dtb.train.driver.failures import FailureLog, leaving_nodes, tell_mark
from dtb.train.driver.room import resources_of_worker
from dtb.train.process_group import NodeTorchConfig

if TYPE_CHECKING:
    from dtb.train.worker import Job

_WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
SEEN = ">=2.60,<2.61"
"""Versions of Ray whose internals are those that this file uses; pyproject.toml asks for no other."""


def require_seen(version: str) -> None:
    """Refuse a version of Ray whose internals nobody has looked at.

    Raises
    ------
    ConfigurationError
        It is one.
    """
    if not SpecifierSet(SEEN).contains(version, prereleases=True):
        raise ConfigurationError(
            f"Ray {version} is installed, but training uses parts of Ray Train that no version promises, and was tested with {SEEN}. "
            f"Install that on every node: pip install 'ray[default,train,tune]{SEEN}'."
        )


require_seen(ray.__version__)


def run_on_ray(folders: Sequence[SharedFolder], job: Job, storage: Path) -> bool:
    """Run a training's workers to the end, or until they are told to end.

    Parameters
    ----------
    folders : sequence of SharedFolder
        The training's output folder, which each worker must see, and that of its sweep, if it has one.
    job : Job
    storage : Path
        Where Ray Train keeps what it needs itself.

    Returns
    -------
    bool
        Whether the training is over.
    """
    # The controller imports this file too, and needs none of it.
    from dtb.train.worker import work_if_shared

    plan, config = job.plan, job.plan.config.train
    is_private = plan.config.cluster.ray_address is None
    workers = (config.min_workers, config.num_workers) if config.min_workers else config.num_workers
    trainer = _Trainer(
        functools.partial(work_if_shared, folders, job, leaving_nodes=leaving_nodes, tell_mark=tell_mark),
        torch_config=NodeTorchConfig(backend="nccl" if config.use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=config.use_gpu,
            resources_per_worker=resources_of_worker(plan.config),
        ),
        run_config=RunConfig(
            # A name that was never used: Ray Train would silently go on with a run of the same name.
            name=f"train-{uuid.uuid4().hex[:12]}",
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=config.max_failures),
            callbacks=[FailureLog(folders[0])],
        ),
    )
    trainer.is_private = is_private
    with _without_watcher() if is_private else contextlib.nullcontext():
        ended: Any = trainer.fit()  # the annotations are those of an older result
        return bool(ended.return_value)


class _FixedSize(FixedScalingPolicy):
    """The workers of a cluster that cannot grow, so that nothing is asked of it."""

    def _send_resource_request(self) -> None: ...

    def _maybe_send_resource_request(self) -> None: ...

    def _cancel_resource_request(self) -> None: ...


class _Trainer(TorchTrainer):
    is_private = False

    def _create_default_callbacks(self) -> list[Any]:
        # A member of a sweep is trained by an actor, and may be stopped long before the command ends.
        ends_with_command = self.is_private and ray.get_runtime_context().get_actor_id() is None
        left_out = (DatasetsCallback, *([PlacementGroupCleanerCallback] if ends_with_command else []))
        return [one for one in super()._create_default_callbacks() if not isinstance(one, left_out)]

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        policy = parts["scaling_policy"]
        if self.is_private and isinstance(policy, FixedScalingPolicy):
            parts["scaling_policy"] = _FixedSize(policy.scaling_config)
        return super()._initialize_and_run_controller(**parts)

    def _register_sigint_handler(self, controller: Any) -> None:
        """Leave Ctrl-C to the command: Ray Train would end it with code 1 and no word, also when training is over."""


@contextlib.contextmanager
def _without_watcher() -> Iterator[None]:
    """Start no watcher of nodes that are taken back, unless the user asks for one."""
    if _WATCHER in os.environ:
        yield
        return
    os.environ[_WATCHER] = "0"
    try:
        yield
    finally:
        del os.environ[_WATCHER]
