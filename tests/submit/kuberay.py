"""What KubeRay accepts as a RayJob, as far as it can be checked without a cluster.

Three sources, each written down from its documentation: the fields and types of the custom resource (KubeRay's API reference, v1.5 to v1.7),
the rules that its operator checks beyond them (its user guides on RayJob, autoscaling and token authentication), and Kubernetes' own published
schemas for all that is a pod or a ConfigMap (package kubernetes-validate, strict: an unknown field is an error).
"""

from __future__ import annotations

import re
from typing import Any

import jsonschema
from packaging.version import Version

KUBERNETES = "1.34"


def _fields(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


STRING, BOOLEAN, NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "number"}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
STRINGS = {"type": "object", "additionalProperties": STRING}
POD = {"type": "object", "required": ["spec"]}  # looked at by Kubernetes' own schema
AUTOSCALER = _fields(
    version={"enum": ["v1", "v2"]},
    idleTimeoutSeconds=COUNT,
    upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
    image=STRING,
    imagePullPolicy=STRING,
    resources={"type": "object"},
    env={"type": "array"},
)
HEAD = _fields(
    ("template",),
    rayStartParams=STRINGS,
    template=POD,
    labels=STRINGS,
    resources=STRINGS,
    serviceType=STRING,
    enableIngress=BOOLEAN,
)
WORKERS = _fields(
    ("groupName", "minReplicas", "maxReplicas", "template"),
    groupName=STRING,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    numOfHosts=COUNT,
    idleTimeoutSeconds=COUNT,
    rayStartParams=STRINGS,
    template=POD,
    labels=STRINGS,
    resources=STRINGS,
)
CLUSTER = _fields(
    ("headGroupSpec",),
    rayVersion=STRING,
    authOptions=_fields(mode={"enum": ["disabled", "token"]}, secretName=STRING, enableK8sTokenAuth=BOOLEAN),
    enableInTreeAutoscaling=BOOLEAN,
    autoscalerOptions=AUTOSCALER,
    headGroupSpec=HEAD,
    workerGroupSpecs={"type": "array", "items": WORKERS},
    suspend=BOOLEAN,
    managedBy=STRING,
)
RAYJOB = _fields(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata={"type": "object", "required": ["name"]},
    spec=_fields(
        entrypoint=STRING,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        activeDeadlineSeconds={**COUNT, "minimum": 1},
        backoffLimit=COUNT,
        ttlSecondsAfterFinished=COUNT,
        shutdownAfterJobFinishes=BOOLEAN,
        rayClusterSpec=CLUSTER,
        entrypointNumCpus=NUMBER,
        entrypointNumGpus=NUMBER,
        entrypointResources=STRING,
        runtimeEnvYAML=STRING,
        jobId=STRING,
        metadata=STRINGS,
        clusterSelector=STRINGS,
        submitterPodTemplate=POD,
        submitterConfig=_fields(backoffLimit=COUNT),
        suspend=BOOLEAN,
        managedBy=STRING,
        deletionStrategy={"type": "object"},
    ),
)


def check(job: dict[str, Any]) -> None:
    """Raise what KubeRay or Kubernetes would hold against a RayJob."""
    import kubernetes_validate

    jsonschema.validate(job, RAYJOB)
    name, spec = job["metadata"]["name"], job["spec"]
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    _require(len(name) <= 47 and re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name), "name: DNS-1035, 47 characters")
    _require(not re.search(r"&&|\|\||[;|<>`$]", spec["entrypoint"]), "entrypoint: the submitter's shell would split it")
    _require(spec.get("shutdownAfterJobFinishes") or not spec.get("ttlSecondsAfterFinished"), "a TTL needs a shutdown")
    if cluster.get("authOptions", {}).get("mode") == "token":
        _require(Version(cluster.get("rayVersion", "0")) >= Version("2.52"), "a token needs rayVersion 2.52 or later")
    names = [group["groupName"] for group in cluster["workerGroupSpecs"]]
    _require(len(set(names)) == len(names), "groupName: each one once")
    for group in groups:
        start, pod = group.get("rayStartParams", {}), group["template"]["spec"]
        both = group.get("resources") and start.keys() & {"num-cpus", "num-gpus", "memory", "resources"}
        _require(not both, "resources: in rayStartParams or beside it, not both")
        _require("labels" not in start, "labels: not in rayStartParams")
        if cluster.get("enableInTreeAutoscaling"):
            _require(pod.get("restartPolicy", "Never") == "Never", "restartPolicy: Never with the autoscaler v2")
        bounds = [group.get(key, 0) for key in ("minReplicas", "replicas", "maxReplicas")]
        _require(bounds == sorted(bounds), "minReplicas <= replicas <= maxReplicas")
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, **group["template"]},
            KUBERNETES,
            strict=True,
        )


def _require(holds: object, rule: str) -> None:
    if not holds:
        raise ValueError(rule)
