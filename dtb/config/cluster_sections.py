"""Where the work is done and followed: a Ray cluster, the launchers of `dtb submit`, Weights & Biases."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from dtb.config.section import STRICT_AND_HIDDEN, Count, CountOrZero, PassedVariable, Positive, Section, VariableName


@dataclass(frozen=True, kw_only=True, config=STRICT_AND_HIDDEN)
class ClusterConfig(Section):
    """Which Ray cluster does the work."""

    ray_address: str | None = None
    """Address of a running cluster (`auto`, `127.0.0.1:6379`, `ray://host:10001`); a private one on this machine if not given."""
    num_cpus: Count | None = None
    """Cores of the private cluster; all that this process may use (affinity, quota) if not given."""
    pools: bool = False
    """Train only on nodes that offer the Ray resource `dtb_train`, and fan out only over those that offer `dtb_fleet`."""
    variables: tuple[PassedVariable, ...] = ()
    """Names of environment variables that are passed on, where they are set, to the processes of a cluster, and with `dtb submit` to the
    job: those of NCCL and gloo (`NCCL_IB_HCA`, `GLOO_SOCKET_IFNAME`), proxies (`https_proxy`, `no_proxy`). Secrets are refused."""
    wait_seconds: Positive = 600.0
    """How long to wait for room, where a cluster is busy or still growing; what is waited for is said every half minute."""
    grace_seconds: Positive = 25.0
    """How long a training that is told to end (SIGTERM) may take to save and end. Schedulers kill after a grace of their own, Kubernetes
    after 30 s: stay below it."""


@dataclass(frozen=True, kw_only=True, config=STRICT_AND_HIDDEN)
class LaunchConfig(Section):
    """How `dtb submit` hands the work to a cluster."""

    secrets: tuple[VariableName, ...] = ()
    """Names of environment variables that the job needs, such as WANDB_API_KEY. The cluster has their values; they never travel."""
    max_hours: Positive = 24.0
    """On Kubernetes and Slurm, the job is ended after this many hours."""
    node_cpus: Count = 8
    """Cores of a node (a pod, on Kubernetes) that is asked for."""
    node_gpus: CountOrZero = 0
    """GPUs of a node that is asked for."""
    node_memory_gib: Count = 32
    """Memory of a node that is asked for."""
    image: str = "dtb:0.1.0"
    """On Kubernetes, the container image, made from docker/Dockerfile."""
    volume_claim: str = "dtb"
    """On Kubernetes, the PersistentVolumeClaim (ReadWriteMany) with the data and OUT."""
    volume_path: Path = Path("/shared")
    """On Kubernetes, where the pods see it."""
    variables: str = "dtb"
    """On Kubernetes, the Secret that holds the values of `secrets`, under the same names."""
    keep_seconds: CountOrZero = 600
    """On Kubernetes, how long the cluster stays after the job, to be looked at."""
    environment: Path | None = None
    """On Slurm, the virtual environment with dtb, seen by all nodes; what `python` is there anyway if not given."""
    partition: Annotated[str, Field(pattern=r"^[\w.,-]+$")] | None = None
    """On Slurm, the partition; the default one if not given."""
    node_selector: dict[str, str] = dataclasses.field(default_factory=dict)
    """On Kubernetes, labels that a node must have, as in `{gpu: h100}`."""
    tolerations: tuple[dict[str, str | int], ...] = ()
    """On Kubernetes, taints of nodes that are accepted, as in a pod's `tolerations`."""
    pull_secrets: tuple[str, ...] = ()
    """On Kubernetes, names of the Secrets with which the image is pulled."""
    runtime_class: str | None = None
    """On Kubernetes, the runtime class of the pods, such as `nvidia`."""


@dataclass(frozen=True, kw_only=True, config=STRICT_AND_HIDDEN)
class TrackConfig(Section):
    """Weights & Biases."""

    wandb: Literal["auto", "online", "offline", "off"] = "auto"
    """`auto`: as `WANDB_MODE` or `WANDB_DISABLED` say; else online if the user has a key and W&B answers, offline otherwise;
    off where it is not installed."""
    project: str = "dtb"
    """W&B project."""
    name: str | None = None
    """Name of the run; made from the configuration if not given."""
    group: str | None = None
    """Group that W&B shows the run in; `dtb sweep` puts its members into one."""
