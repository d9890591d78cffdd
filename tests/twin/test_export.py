"""An exported twin comes back identical, or not at all."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch

from dtb.config import SegmentConfig
from dtb.errors import DamagedOutputError, InputDataError
from dtb.twin import Twin
from dtb.twin.batch import Batch
from dtb.twin.export import TwinCard, read_twin, save_twin
from tests.twin.conftest import SIZES, make_config


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Twin, TwinCard]:
    twin = Twin(make_config(), SIZES)
    card = TwinCard(
        config=twin.config,
        sizes=SIZES,
        taskset={"tasks": ["stroop"]},
        region_names=tuple("abcdef"),
        bold_region_names=tuple("abcdef"),
        connectome={"measure": "correlation"},
        cohort_hash="c",
        split_hash="s",
        seed=3,
        segments=SegmentConfig(),
    )
    save_twin(tmp_path / "twin", twin, card)
    return tmp_path / "twin", twin, card


def test_round_trip_gives_identical_outputs(saved: tuple[Path, Twin, TwinCard], batch: Batch) -> None:
    path, twin, card = saved
    loaded, loaded_card = read_twin(path)
    assert loaded_card == card
    one, two = (model.eval()(batch.connectome_SE, batch.stimulus_SKTI).press_SKTA for model in (twin, loaded))
    assert torch.equal(one, two)
    assert torch.equal(loaded.edge_mean_E, twin.edge_mean_E)
    assert loaded.region_names == loaded.bold_region_names == tuple("abcdef")


def test_an_absent_twin_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"has no twin\.json"):
        read_twin(tmp_path)


def test_altered_numbers_are_refused(saved: tuple[Path, Twin, TwinCard]) -> None:
    numbers = saved[0] / "twin.safetensors"
    content = bytearray(numbers.read_bytes())
    content[-1] ^= 1
    numbers.write_bytes(content)
    with pytest.raises(DamagedOutputError, match="is not the file that"):
        read_twin(saved[0])


def test_an_edited_configuration_is_refused(saved: tuple[Path, Twin, TwinCard]) -> None:
    card_file = saved[0] / "twin.json"
    plain = json.loads(card_file.read_text())
    plain["config"]["num_hidden"] = 11
    card_file.write_text(json.dumps(plain))
    with pytest.raises(DamagedOutputError, match="does not fit the configuration"):
        read_twin(saved[0])


def test_a_card_of_another_twin_is_not_written(tmp_path: Path, saved: tuple[Path, Twin, TwinCard]) -> None:
    _, _, card = saved
    with pytest.raises(ValueError, match="not this twin's"):
        save_twin(tmp_path / "other", Twin(make_config(num_hidden=12), SIZES), card)
    assert not (tmp_path / "other").exists()


def test_a_twin_of_a_version_without_person_effects_is_read_and_has_none(tmp_path: Path) -> None:
    twin = Twin(make_config(person_effects=False), SIZES)
    card = TwinCard(
        twin.config,
        SIZES,
        {},
        tuple("abcdef"),
        tuple("abcdef"),
        {},
        cohort_hash="c",
        split_hash="s",
        seed=3,
        segments=SegmentConfig(),
    )
    save_twin(tmp_path, twin, card)
    plain = json.loads((tmp_path / "twin.json").read_text())
    del plain["config"]["person_effects"]
    (tmp_path / "twin.json").write_text(json.dumps(plain))
    loaded, loaded_card = read_twin(tmp_path)
    assert loaded.prior is None
    assert loaded_card == card


def test_the_prior_of_people_is_exported(saved: tuple[Path, Twin, TwinCard]) -> None:
    path, twin, card = saved
    assert twin.prior is not None
    twin.prior.set(covariance_ZZ=torch.diag(torch.arange(1.0, 5.0)), press_evidence=torch.tensor(0.7))
    save_twin(path, twin, card)
    loaded = read_twin(path)[0].prior
    assert loaded is not None
    assert torch.equal(loaded.covariance_ZZ, torch.diag(torch.arange(1.0, 5.0)))
    assert loaded.press_evidence == torch.tensor(0.7)
    with pytest.raises(ValueError, match=r"drift_ZZ of shape \(2,\) is not of this prior: it has shape \(4, 4\) here"):
        twin.prior.set(drift_ZZ=torch.zeros(2))


@pytest.mark.parametrize("name", ["num_regions", "num_channels", "num_alternatives", "num_bold_regions"])
def test_sizes_are_held_against_the_tensors_before_anything_is_allocated(saved, name: str) -> None:
    card_file = saved[0] / "twin.json"
    plain = json.loads(card_file.read_text())
    plain["sizes"][name] = 3_000_000
    card_file.write_text(json.dumps(plain))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedOutputError, match="does not fit the configuration"):
        read_twin(saved[0])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_twin_of_no_numbers_is_refused_by_whoever_reads_it(saved, value: float) -> None:
    path, twin, card = saved
    with torch.no_grad():
        next(twin.parameters()).view(-1)[0] = value
    save_twin(path, twin, card)
    with pytest.raises(DamagedOutputError, match="values that are not finite numbers"):
        read_twin(path)
