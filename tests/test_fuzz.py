"""Files that dtb wrote, and configurations, mutated at random: whoever reads them gives an answer or one sentence, and no traceback.

What others wrote (images, tables, HDF5, CIFTI) is mutated in `tests/cohort/test_damage.py`, and shards in `tests/shards/test_damage.py`.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from dtb.config import SegmentConfig, load_config
from dtb.errors import UserError
from dtb.stages import read_stage
from dtb.tasks.spec import load_task
from dtb.twin import Twin
from dtb.twin.export import TwinCard, load_twin, save_twin
from tests.damage import DAMAGES, cases
from tests.test_damaged_outputs import READERS, good
from tests.twin.conftest import SIZES, make_config

NUMBERS = [20, pytest.param(500, marks=pytest.mark.on_request)]
CONFIGURATION = "seed: 3\nname: mine\nsynth: {num_subjects: 12, tasks: [hammer]}\ningest:\n  tasks: [hammer]\n  participant_label: ['01']\n"
TASK = """
name: mine
domain: control
matches: [mine]
alternatives: [left, right]
trials:
  onset: {column: onset}
  window_seconds: 2.0
"""


def answers_or_says_why(path, content: bytes, read, number: int) -> None:
    @cases(number)
    @given(damage=DAMAGES)
    def check(damage) -> None:
        path.write_bytes(damage(content))
        try:
            read()
        except UserError as error:
            assert 0 < len(str(error)) < 2000  # noqa: PT017, some mutations are harmless

    check()


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("which", READERS)
def test_outputs(tmp_path, which, number):
    path, read = good(tmp_path, which)
    answers_or_says_why(path, path.read_bytes(), lambda: read(path), number)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", ["configuration", "task", "stage"])
def test_texts(tmp_path, kind, number):
    path = tmp_path / ("stage.json" if kind == "stage" else "mine.yaml")
    text = {
        "configuration": CONFIGURATION,
        "task": TASK,
        "stage": '{"stage": "train", "complete": true, "config_hash": "a", "summary": {"steps": 1}}',
    }[kind]
    read = {
        "configuration": lambda: load_config(path),
        "task": lambda: load_task(str(path)),
        "stage": lambda: read_stage(tmp_path),
    }[kind]
    answers_or_says_why(path, text.encode(), read, number)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name", ["twin.json", "twin.safetensors"])
def test_twins(tmp_path, name, number):
    torch.manual_seed(0)
    twin = Twin(make_config(), SIZES)
    regions = tuple("abcdef")
    card = TwinCard(twin.config, SIZES, {}, regions, regions, {}, "c", "s", 3, SegmentConfig())
    save_twin(tmp_path, twin, card)
    answers_or_says_why(tmp_path / name, (tmp_path / name).read_bytes(), lambda: load_twin(tmp_path), number)
