"""A user's DeepSpeed file is merged with our settings, and what contradicts them is refused with both names."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dtb.config import TrainConfig
from dtb.errors import ConfigurationError
from dtb.train.engine import (
    accumulation_steps,
    bucket_size,
    deepspeed_settings,
    prepare_environment,
    read_user_settings,
)


def test_settings_follow_the_configuration():
    settings = deepspeed_settings(TrainConfig(batch_size=10, zero_stage=2, precision="bf16", learning_rate=0.5), 4, {})
    assert settings["train_micro_batch_size_per_gpu"] == 3
    assert settings["zero_optimization"]["stage"] == 2
    assert settings["optimizer"]["params"]["lr"] == 0.5


def test_other_keys_are_taken_over_and_auto_means_ours():
    user = {
        "zero_optimization": {"stage": "auto", "overlap_comm": False},
        "optimizer": {"params": {"lr": "auto", "betas": [0.9, 0.95]}},
        "train_batch_size": "auto",
        "wall_clock_breakdown": True,
    }
    settings = deepspeed_settings(TrainConfig(batch_size=16), 2, user)
    assert settings["zero_optimization"].items() >= {"stage": 1, "overlap_comm": False}.items()
    assert settings["optimizer"]["params"]["betas"] == [0.9, 0.95]
    assert settings["optimizer"]["params"]["lr"] == TrainConfig(batch_size=16).learning_rate
    assert settings["wall_clock_breakdown"] is True
    assert "train_batch_size" not in settings


@pytest.mark.parametrize(
    ("user", "theirs", "ours"),
    [
        ({"zero_optimization": {"stage": 3}}, "zero_optimization.stage", "train.zero_stage"),
        ({"optimizer": {"params": {"lr": 1.0}}}, "optimizer.params.lr", "train.learning_rate"),
        ({"bf16": {"enabled": True}}, "bf16.enabled", "train.precision"),
        ({"gradient_clipping": 5}, "gradient_clipping", "train.gradient_clipping"),
        ({"train_batch_size": 7}, "train_batch_size", "train.batch_size"),
        ({"train_micro_batch_size_per_gpu": 7}, "train_micro_batch_size_per_gpu", "train.batch_size"),
        ({"fp16": {"enabled": True}}, "fp16.enabled", "train.precision"),
        ({"fp16": True}, "fp16.enabled", "train.precision"),
        ({"scheduler": {"type": "WarmupLR", "params": {}}}, "scheduler", "train.schedule"),
    ],
)
def test_contradiction_names_both_keys(user, theirs, ours):
    with pytest.raises(ConfigurationError) as caught:
        deepspeed_settings(TrainConfig(batch_size=16), 2, user)
    assert theirs in str(caught.value)
    assert ours in str(caught.value)
    assert all(
        name in {field.name for field in dataclasses.fields(TrainConfig)} for name in named_options(caught.value)
    )


def named_options(error):
    """What a message says of options: each of them is to exist."""
    return re.findall(r"train\.(\w+)", str(error))


def test_another_optimizer_is_refused_without_naming_an_option_that_does_not_exist():
    with pytest.raises(ConfigurationError, match=r"`optimizer\.type` is 'Lion', but dtb needs 'AdamW'") as caught:
        deepspeed_settings(TrainConfig(batch_size=16), 2, {"optimizer": {"type": "Lion"}})
    assert named_options(caught.value) == ["deepspeed"]


def test_how_deepspeed_goes_about_it_has_defaults_that_the_file_overrides():
    ours = deepspeed_settings(
        TrainConfig(batch_size=16), 2, {"steps_per_print": "auto", "scheduler": None, "fp16": {"enabled": False}}
    )
    assert ours["optimizer"]["params"].items() >= {"torch_adam": True, "fused": True}.items()
    assert ours["zero_optimization"]["use_multi_rank_bucket_allreduce"] is False
    assert [bucket_size(ours, count) for count in (1000, 10**9)] == [1000, 50_000_000]
    user = {
        "steps_per_print": 10,
        "optimizer": {"params": {"torch_adam": False}},
        "zero_optimization": {"use_multi_rank_bucket_allreduce": True, "reduce_bucket_size": 5e8},
    }
    theirs = deepspeed_settings(TrainConfig(batch_size=16), 2, user)
    assert theirs["steps_per_print"] == 10
    assert theirs["optimizer"]["params"]["torch_adam"] is False
    assert "fused" not in theirs["optimizer"]["params"]  # DeepSpeed's Adam does not know it
    assert theirs["zero_optimization"]["use_multi_rank_bucket_allreduce"] is True
    assert bucket_size(theirs, 1000) == 500_000_000


def test_accumulation_divides_the_micro_batch():
    settings = deepspeed_settings(TrainConfig(batch_size=16), 2, {"gradient_accumulation_steps": 4})
    assert (settings["train_micro_batch_size_per_gpu"], settings["gradient_accumulation_steps"]) == (2, 4)
    with pytest.raises(ConfigurationError, match="gradient_accumulation_steps` is 0"):
        accumulation_steps({"gradient_accumulation_steps": 0})


@pytest.mark.parametrize(("text", "said"), [("{", "not valid JSON"), ("[1]", "holds a list"), (None, "cannot be read")])
def test_unreadable_file_is_refused(tmp_path, text, said):
    path = tmp_path / "deepspeed.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_user_settings(path)


def test_shipped_files_agree_with_the_defaults():
    folder = Path(__file__).parents[2] / "configs" / "deepspeed"
    files = sorted(folder.glob("*.json"))
    assert files
    for path in files:
        wanted = json.loads(path.read_text())["zero_optimization"].get("stage", "auto")
        stage = 1 if wanted == "auto" else wanted
        deepspeed_settings(TrainConfig(batch_size=16, zero_stage=stage, deepspeed=path), 2, read_user_settings(path))


@pytest.mark.parametrize(
    ("gpu", "stage", "overlaps"), [(True, 3, True), (True, 2, True), (True, 1, None), (False, 2, None)]
)
def test_gradients_are_sent_during_the_backward_pass_where_that_is_possible(gpu, stage, overlaps):
    config = TrainConfig(batch_size=4, use_gpu=gpu, zero_stage=stage)
    assert deepspeed_settings(config, 2, {})["zero_optimization"].get("overlap_comm") is overlaps
    off = {"zero_optimization": {"overlap_comm": False}}
    assert deepspeed_settings(config, 2, off)["zero_optimization"]["overlap_comm"] is False


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_deepspeed_itself_accepts_each_stage_and_precision_on_one_and_on_many_gpus(stage, precision, monkeypatch):
    prepare_environment(use_gpu=False)
    from deepspeed.runtime.config import DeepSpeedConfig

    # It asks the process group how many ranks there are.
    for num_ranks in (1, 8):
        monkeypatch.setattr("deepspeed.comm.is_initialized", lambda: True)
        monkeypatch.setattr("deepspeed.comm.get_rank", lambda *_: 0)
        monkeypatch.setattr("deepspeed.comm.get_world_size", lambda *_, size=num_ranks: size)
        train = TrainConfig(batch_size=16, zero_stage=stage, precision=precision, use_gpu=True)
        settings = deepspeed_settings(train, num_ranks, {})
        settings["zero_optimization"]["reduce_bucket_size"] = bucket_size(settings, 1000)
        read = DeepSpeedConfig(settings)
        assert read.zero_optimization_stage == stage
        assert read.bfloat16_config.enabled == (precision == "bf16")
        assert read.train_micro_batch_size_per_gpu == 16 // num_ranks
        assert read.train_batch_size == 16


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zero3", "accumulate", "offload"])
def test_deepspeed_itself_accepts_the_shipped_files(name, monkeypatch):
    prepare_environment(use_gpu=False)
    from deepspeed.runtime.config import DeepSpeedConfig

    path = Path(__file__).parents[2] / "configs" / "deepspeed" / f"{name}.json"
    user = read_user_settings(path)
    stage = user["zero_optimization"].get("stage", "auto")
    train = TrainConfig(batch_size=16, zero_stage=1 if stage == "auto" else stage, precision="bf16", deepspeed=path)
    settings = deepspeed_settings(train, 1, user)
    settings["zero_optimization"]["reduce_bucket_size"] = bucket_size(settings, 1000)
    read = DeepSpeedConfig(settings)
    assert read.train_batch_size == 16
    assert read.zero_config.offload_optimizer is not None or name != "offload"


def test_an_optimizer_steps_as_ever_without_the_compiler():
    """`Adam`, which is left as it is, does the same if weights decay on their own."""
    script = """
        import sys
        import torch
        from dtb.train.engine import prepare_environment

        prepare_environment(use_gpu=False)
        import deepspeed.runtime.engine

        torch.manual_seed(1)
        weights, gradients = torch.randn(2, 50)
        found = []
        for kind, options in ((torch.optim.AdamW, {}), (torch.optim.Adam, {"decoupled_weight_decay": True})):
            parameter = torch.nn.Parameter(weights.clone())
            optimizer = kind([parameter], lr=0.1, weight_decay=0.2, fused=True, **options)
            optimizer.add_param_group({"params": [torch.nn.Parameter(weights.clone())]})
            for _ in range(3):
                optimizer.zero_grad()
                parameter.grad = gradients * parameter.detach()
                optimizer.step()
            optimizer.load_state_dict(optimizer.state_dict())
            found.append(parameter.detach())
            if kind is torch.optim.AdamW:
                assert "torch._dynamo" not in sys.modules
                assert not parameter.grad.requires_grad
        assert torch.equal(*found)
        assert not torch.equal(found[0], weights)
        assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)) == 2, "that of others is in its place"
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
