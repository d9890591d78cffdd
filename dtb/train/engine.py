"""DeepSpeed's settings, made from ours and merged with a user's JSON file, and the engine.

If the file contradicts an option of ours, the command is refused with both names. Settings that do not change results have defaults
here, which the file may override.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dtb.config import TrainConfig
from dtb.errors import ConfigurationError
from dtb.twin.person_effects import EFFECTS_RATE, PersonEffects

# Where a matter of ours lies in DeepSpeed's JSON.
_OURS = {
    ("optimizer", "params", "lr"): "train.learning_rate",
    ("optimizer", "params", "weight_decay"): "train.weight_decay",
    ("zero_optimization", "stage"): "train.zero_stage",
    ("bf16", "enabled"): "train.precision",
    ("gradient_clipping",): "train.gradient_clipping",
    ("train_batch_size",): "train.batch_size",
    ("train_micro_batch_size_per_gpu",): "train.batch_size divided by the number of workers",
}
_LARGEST_BUCKET = 50_000_000
"""Numbers that are summed over the ranks at once. DeepSpeed's own is ten times as many, of which it makes room for all beforehand."""


def read_user_settings(path: Path | None) -> dict[str, Any]:
    """Read a user's DeepSpeed JSON; without a file the result is empty.

    Raises
    ------
    ConfigurationError
        It is absent or not a JSON object.
    """
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"train.deepspeed: {path} cannot be read ({error.strerror}). Check the path."
        ) from None
    except ValueError as error:
        raise ConfigurationError(f"train.deepspeed: {path} is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"train.deepspeed: {path} holds a {type(found).__name__}; expected a JSON object.")
    return found


def accumulation_steps(user: dict[str, Any]) -> int:
    """Return the number of pieces of a rank's share of a global batch: `gradient_accumulation_steps` of the file, or 1."""
    found = user.get("gradient_accumulation_steps", 1)
    if found == "auto":
        return 1
    if not isinstance(found, int) or found < 1:
        raise ConfigurationError(
            f"train.deepspeed: `gradient_accumulation_steps` is {found!r}; expected a whole number from 1."
        )
    return found


def deepspeed_settings(config: TrainConfig, world_size: int, user: dict[str, Any]) -> dict[str, Any]:
    """Make DeepSpeed's configuration.

    Parameters
    ----------
    config : TrainConfig
    world_size : int
    user : dict
        The user's JSON. ``"auto"`` stands for our value; other keys than ours are taken over as they are.

    Returns
    -------
    dict

    Raises
    ------
    ConfigurationError
        The file says something else than our settings; both keys are named.

    Examples
    --------
    >>> deepspeed_settings(TrainConfig(batch_size=16), 3, {})["train_micro_batch_size_per_gpu"]
    6
    """
    assert config.batch_size is not None, "dtb.train.budget.fitted chooses it"
    accumulation = accumulation_steps(user)
    ours: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": -(-config.batch_size // (world_size * accumulation)),
        "gradient_accumulation_steps": accumulation,
        "optimizer": {
            "type": "AdamW",
            "params": {"lr": config.learning_rate, "weight_decay": config.weight_decay},
        },
        "gradient_clipping": config.gradient_clipping,
        "zero_optimization": {"stage": config.zero_stage},
        "bf16": {"enabled": config.precision == "bf16"},
    }
    user = {key: value for key, value in user.items() if key != "gradient_accumulation_steps"}
    total = user.pop("train_batch_size", "auto")
    if total not in ("auto", config.batch_size):
        _refuse(("train_batch_size",), total, config.batch_size, config)
    half = user.pop("fp16", "auto")
    enabled = half.get("enabled", False) if isinstance(half, dict) else half
    if enabled not in ("auto", False, None):
        raise ConfigurationError(
            f"{config.deepspeed or 'train.deepspeed'}: `fp16.enabled` is {enabled!r}, but train.precision may be float32 or bf16. Remove "
            "fp16 from the file."
        )
    scheduler = user.pop("scheduler", "auto")
    if scheduler not in ("auto", {}, None):
        raise ConfigurationError(
            f"{config.deepspeed or 'train.deepspeed'}: `scheduler` is {scheduler!r}, but the learning rate follows train.schedule "
            f"({config.schedule}). Remove scheduler from the file."
        )
    return _filled(_merged(ours, user, (), config), overlaps=overlaps(config))


def overlaps(config: TrainConfig) -> bool:
    """Whether gradients are sent while the backward pass goes on: on GPUs, where sending has a stream of its own, for a second bucket.

    With ZeRO 0 and 1 they are sent when it is over.
    """
    return config.use_gpu and config.zero_stage >= 2


def _filled(settings: dict[str, Any], *, overlaps: bool) -> dict[str, Any]:
    """Return the settings with defaults for what the file leaves open."""
    optimizer = settings["optimizer"]["params"]
    # torch's own: no extension to compile, and the same arithmetic on every machine.
    if _fill(optimizer, "torch_adam", True):
        # One pass over the parameters instead of a dozen.
        _fill(optimizer, "fused", not optimizer.get("foreach"))
    # A gradient goes to the rank that owns it, not to all: half the bytes.
    _fill(settings["zero_optimization"], "use_multi_rank_bucket_allreduce", False)
    if overlaps:
        _fill(settings["zero_optimization"], "overlap_comm", True)
    _fill(settings, "steps_per_print", 1 << 30)
    return settings


def _fill(settings: dict[str, Any], key: str, value: Any) -> Any:
    if settings.get(key, "auto") == "auto":
        settings[key] = value
    return settings[key]


def bucket_size(settings: dict[str, Any], num_parameters: int) -> int:
    """Return the number of gradients in a rank's buffer for summing over ranks (from ZeRO stage 1 on)."""
    found = settings["zero_optimization"].get("reduce_bucket_size", "auto")
    return min(num_parameters, _LARGEST_BUCKET) if found == "auto" else int(found)


def _merged(ours: dict[str, Any], user: dict[str, Any], path: tuple[str, ...], config: TrainConfig) -> dict[str, Any]:
    merged = dict(ours)
    for key, value in user.items():
        here = (*path, key)
        if key not in ours:
            merged[key] = value
        elif isinstance(ours[key], dict) and isinstance(value, dict):
            merged[key] = _merged(ours[key], value, here, config)
        elif value != "auto" and value != ours[key]:
            _refuse(here, value, ours[key], config)
    return merged


def _refuse(path: tuple[str, ...], found: Any, wanted: Any, config: TrainConfig) -> None:
    theirs, mine = ".".join(path), _OURS.get(path)
    where = f"{config.deepspeed or 'train.deepspeed'}: `{theirs}` is {found!r}, but"
    if mine is None:
        raise ConfigurationError(
            f"{where} dtb needs {wanted!r} there, which no option changes. Remove it from the file."
        )
    raise ConfigurationError(
        f'{where} {mine} asks for {wanted!r}. Change one of the two, or write "auto" for `{theirs}`.'
    )


def prepare_environment(use_gpu: bool) -> None:
    """Set the environment that DeepSpeed reads on import; call it in each worker before that."""
    os.environ["DS_ACCELERATOR"] = "cuda" if use_gpu else "cpu"
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    if not use_gpu:
        # DeepSpeed would compile a shared-memory all-reduce for CPU inference, over a minute on first use. Training never calls it.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    _keep_compiler_out()


def _keep_compiler_out() -> None:
    """Have optimizers run without importing PyTorch's compiler, which nothing here uses and which takes each worker a second.

    PyTorch's own import it to tell it that they are not to be compiled, DeepSpeed's to compile one that we do not use.
    """
    from torch.optim import Adam, AdamW, Optimizer

    told: list[Any] = [Optimizer.add_param_group, Optimizer.state_dict, Optimizer.load_state_dict, Optimizer.zero_grad]
    for method in told:
        method.__wrapped__.__dynamo_disable = method.__wrapped__
    step: Any = Adam.step
    setattr(AdamW, "step", torch.no_grad()(step.__wrapped__))  # noqa: B010  types: it is the same function
    compiler = torch.compile
    setattr(torch, "compile", lambda function=None, **_: function or (lambda plain: plain))  # noqa: B010
    try:
        importlib.import_module("deepspeed.runtime.zero.muon.original_muon")
    finally:
        setattr(torch, "compile", compiler)  # noqa: B010


def make_engine(module: torch.nn.Module, settings: dict[str, Any]) -> Any:
    """Make the engine of a module; its process group must exist.

    Parameters
    ----------
    module : torch.nn.Module
        Returns the loss.
    settings : dict
        From `deepspeed_settings`.

    Returns
    -------
    deepspeed.DeepSpeedEngine
    """
    import deepspeed

    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    size = bucket_size(settings, sum(parameter.numel() for parameter in parameters))
    groups: list[Any] = list(parameters)
    effects = _effects_of(module)
    if effects:
        rest = [parameter for parameter in parameters if all(parameter is not other for other in effects)]
        rate = settings["optimizer"]["params"]["lr"]
        groups = [{"params": rest}, {"params": effects, "lr": EFFECTS_RATE * rate, "weight_decay": 0.0}]
    settings = {**settings, "zero_optimization": {**settings["zero_optimization"], "reduce_bucket_size": size}}
    engine, *_ = deepspeed.initialize(model=module, model_parameters=groups, config=settings)
    return engine


def gradient_norm(engine: Any) -> torch.Tensor | None:
    """Return the gradient norm before clipping, on the device, if DeepSpeed does not report it (ZeRO stage 0 in float32), else None."""
    if engine.zero_optimization() or engine.bfloat16_enabled():
        return None
    gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def set_learning_rate(engine: Any, learning_rate: float) -> None:
    """Set the learning rate of the next step; people's effects learn `EFFECTS_RATE` times as fast."""
    groups = engine.optimizer.param_groups
    for group in groups:
        group["lr"] = learning_rate
    if _effects_of(engine.module):
        groups[-1]["lr"] = EFFECTS_RATE * learning_rate


def _effects_of(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the parameters of people's effects: the distribution over people keeps them small, so weight decay must not."""
    return [
        parameter for part in module.modules() if isinstance(part, PersonEffects) for parameter in part.parameters()
    ]


def full_weights(engine: Any, module: torch.nn.Module) -> dict[str, torch.Tensor] | None:
    """Return a copy of a module's parameters on rank 0, at any ZeRO stage; every rank must call it.

    Returns
    -------
    dict or None
        Parameters by name, in float32: with bf16 and ZeRO the optimizer's own, not their rounded copies. None on the other ranks.
    """
    import deepspeed
    from deepspeed.utils import safe_get_full_fp32_param

    parameters = dict(module.named_parameters())
    if engine.bfloat16_enabled():
        exact = {name: safe_get_full_fp32_param(parameter) for name, parameter in parameters.items()}
        found = {name: parameters[name] if tensor is None else tensor for name, tensor in exact.items()}
        return _copied(found) if engine.global_rank == 0 else None
    partitioned = engine.zero_optimization_partition_weights()
    with deepspeed.zero.GatheredParameters(list(parameters.values()), enabled=partitioned):
        return _copied(parameters) if engine.global_rank == 0 else None


def _copied(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", torch.float32, copy=True) for name, tensor in tensors.items()}
