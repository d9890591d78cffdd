"""The run as a KubeRay `RayJob`: a cluster that is made for the job, grows and shrinks with it, and is removed afterwards.

The fields are those of KubeRay 1.5.1 and later (its "API reference"), where `authOptions` gives every pod the cluster's token. Training and
fan-out have separate pools, so that neither takes the GPUs of the other and each can shrink to nothing.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import re
import shlex
from typing import Any

import yaml

from dtb.cluster.connection import FLEET_POOL, TRAIN_POOL
from dtb.cluster.variables import travelling
from dtb.config import Config
from dtb.errors import ConfigurationError
from dtb.submit.bundle import Bundle, Work, pack
from dtb.submit.nodes import count_nodes

MAX_NAME = 47
_FILES = "/etc/dtb"
_MAX_CONFIGMAP_BYTES = 1_000_000
_IDLE_SECONDS = 300
_ENDING_SECONDS = 30
"""For the end of a pod's processes beside the grace in which a training saves."""
_HEAD = "ray-head"
_USER, _GROUP = 1000, 100  # those of the image


def render_rayjob(config: Config, out: str, work: Work | None = None) -> str:
    """Return the Kubernetes objects of a run: a ConfigMap with its files, and the RayJob.

    Parameters
    ----------
    config : Config
        `launch` describes the pods, `train` and `fleet` say how many.
    out : str
        Run folder, within the volume.
    work : Work, optional
        What the job does; `dtb run` if not given.

    Returns
    -------
    str
        YAML for ``kubectl apply -f -``.

    Raises
    ------
    ConfigurationError
        OUT lies outside the volume, or a worker fits on no pod.
    """
    launch = config.launch
    if not str(out).startswith(f"{launch.volume_path}/"):
        raise ConfigurationError(
            f"OUT is {out}, outside of {launch.volume_path}, where the pods see the volume (launch.volume_path)."
        )
    pooled = dataclasses.replace(config, cluster=dataclasses.replace(config.cluster, pools=True))
    # A second try has a cluster of its own and goes on where the first stopped.
    bundle = pack(pooled, out, resume=True, place=_FILES, work=work)
    if bundle.num_bytes > _MAX_CONFIGMAP_BYTES:
        raise ConfigurationError(
            f"{bundle.num_bytes:,} bytes would travel, more than a ConfigMap holds. Put the files on the volume and give their "
            "absolute paths."
        )
    name = job_name(config.name)
    objects = [_config_map(name, bundle), _ray_job(name, config, bundle)]
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def job_name(called: str) -> str:
    """Return a name that Kubernetes and KubeRay accept.

    Examples
    --------
    >>> job_name("2026: Stroop & faces")
    'dtb-2026-stroop-faces'
    """
    words = re.sub(r"[^a-z0-9]+", "-", called.lower()).strip("-")
    return f"dtb-{words}"[:MAX_NAME].strip("-")


def _config_map(name: str, bundle: Bundle) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-files"},
        "data": bundle.texts,
    }


def _ray_job(name: str, config: Config, bundle: Bundle) -> dict[str, Any]:
    launch, nodes = config.launch, count_nodes(config)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name},
        "spec": {
            "entrypoint": shlex.join(
                bundle.command
            ),  # one plain command: KubeRay runs what follows a && in the submitter
            "submissionMode": "K8sJobMode",
            "backoffLimit": 1,
            "activeDeadlineSeconds": int(launch.max_hours * 3600),
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": launch.keep_seconds,
            "rayClusterSpec": {
                "rayVersion": importlib.metadata.version("ray"),
                "authOptions": {"mode": "token"},
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": {"version": "v2", "idleTimeoutSeconds": _IDLE_SECONDS},
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0"},  # the job's own process and Ray's run here, and no worker
                    "template": _pod(_HEAD, config, name, gpus=0),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "train",
                        "replicas": nodes.train,
                        "minReplicas": nodes.train_at_least,
                        "maxReplicas": nodes.train,
                        "rayStartParams": {"resources": _mark(TRAIN_POOL)},
                        "template": _pod(
                            "ray-worker", config, name, gpus=launch.node_gpus if config.train.use_gpu else 0
                        ),
                    },
                    {
                        "groupName": "fleet",
                        "replicas": 0,
                        "minReplicas": 0,
                        "maxReplicas": nodes.fleet,
                        "rayStartParams": {"resources": _mark(FLEET_POOL)},
                        "template": _pod(
                            "ray-worker", config, name, gpus=launch.node_gpus if config.fleet.gpus_per_actor else 0
                        ),
                    },
                ],
            },
        },
    }


def _mark(pool: str) -> str:
    """Return the Ray resource of a pool's nodes, quoted twice because it passes through a shell to `ray start`."""
    return json.dumps(json.dumps({pool: 1}))


def _pod(container: str, config: Config, name: str, gpus: int) -> dict[str, Any]:
    """Return the description of a pod of the job `name`."""
    ends = _told_to_end if container == _HEAD else _drained
    launch, grace = config.launch, math.ceil(config.cluster.grace_seconds)
    size: dict[str, Any] = {"cpu": str(launch.node_cpus), "memory": f"{launch.node_memory_gib}Gi"}
    if gpus:
        size["nvidia.com/gpu"] = str(gpus)
    secrets = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": launch.variables, "key": variable}}}
        for variable in launch.secrets
    ]
    passed = [{"name": name, "value": value} for name, value in travelling(config.cluster.variables).items()]
    # A pod that is lost loses its home, and with it the key without which no other goes on from its checkpoints.
    key = {"name": "DTB_KEY", "value": f"{launch.volume_path}/.dtb/key"}
    chosen: dict[str, Any] = {
        "nodeSelector": dict(launch.node_selector),
        "tolerations": [dict(one) for one in launch.tolerations],
        "imagePullSecrets": [{"name": one} for one in launch.pull_secrets],
        "runtimeClassName": launch.runtime_class,
    }
    return {
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": grace + _ENDING_SECONDS,
            **{key: value for key, value in chosen.items() if value},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _GROUP,
                "fsGroup": _GROUP,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": container,
                    "image": launch.image,
                    "env": [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}, key, *passed, *secrets],
                    "resources": {"requests": size, "limits": dict(size)},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "lifecycle": {"preStop": {"exec": {"command": ends(grace)}}},
                    "volumeMounts": [
                        {"name": "shared", "mountPath": str(launch.volume_path)},
                        {"name": "files", "mountPath": _FILES, "readOnly": True},
                    ],
                }
            ],
            "volumes": [
                {"name": "shared", "persistentVolumeClaim": {"claimName": launch.volume_claim}},
                {"name": "files", "configMap": {"name": f"{name}-files"}},
            ],
        }
    }


def _drained(seconds: int) -> list[str]:
    """Return what a pod does before it is taken back: it says so to Ray, and leaves a training so long to save."""
    says = (
        "ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message 'the pod is taken back' "
        f"--deadline-remaining-seconds {seconds}"
    )
    return ["/bin/bash", "-lc", f"{says}; {_wait_while('[R]ayTrainWorker', seconds)}"]


def _told_to_end(seconds: int) -> list[str]:
    """Return what the pod of the job's own process does before it is taken back: it tells it to end, and leaves it so long to save.

    When the pod ends, Ray ends on all pods, and nobody tells that process of it.
    """
    own = "^[^ ]*python[^ ]* -m dtb "
    return ["/bin/bash", "-lc", f"pkill -TERM -f '{own}'; {_wait_while(own, seconds)}"]


def _wait_while(pattern: str, seconds: int) -> str:
    """Return the shell line that waits for processes, by the text of their commands, to end."""
    return f"for _ in $(seq {seconds}); do pgrep -f '{pattern}' >/dev/null || break; sleep 1; done"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - every object is written out
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
