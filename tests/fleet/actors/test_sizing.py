"""How many people an actor takes at once: what is asked for, else what fits, and the same again when a stage goes on."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from dtb.config import ClusterConfig, FleetConfig, InterveneConfig, SimulateConfig
from dtb.errors import DamagedOutputError
from dtb.fleet.actors.sizing import BATCHES_FILE, bytes_of_search, bytes_of_simulation, fitting, sized
from dtb.fleet.intervene import sample_of
from dtb.fleet.named_target import make_search_target
from dtb.fleet.simulate import SimulationWorker
from dtb.fleet.survey_worker import SurveyWorker
from dtb.fleet.twins import open_ensemble
from tests.fleet.world import make_world


def never_asked() -> float:
    raise AssertionError("people are read though the number is known")


def test_a_number_that_is_given_stays(tmp_path):
    fleet = FleetConfig(subjects_per_batch=5)
    assert sized(fleet, tmp_path, never_asked, 1000, ClusterConfig()) is fleet
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_was_chosen_is_taken_again_whatever_the_machine(tmp_path):
    (tmp_path / BATCHES_FILE).write_text(json.dumps({"subjects_per_batch": 7}))
    assert sized(FleetConfig(), tmp_path, never_asked, 1000, ClusterConfig()).subjects_per_batch == 7


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"subjects_per_batch": 0}', '{"subjects_per_batch": "8"}'])
def test_a_damaged_number_is_refused(tmp_path, text):
    (tmp_path / BATCHES_FILE).write_text(text)
    with pytest.raises(DamagedOutputError, match="--fleet.subjects-per-batch"):
        sized(FleetConfig(), tmp_path, never_asked, 1000, ClusterConfig())


def test_one_person_is_taken_even_where_half_the_memory_does_not_hold_one():
    assert fitting(1e6, 256, 1e9, 1000, 2) == 1


@pytest.mark.parametrize("actors", [1, 3, 8])
@pytest.mark.parametrize("people", [1, 5, 17, 400])
def test_every_actor_gets_two_batches_where_there_are_people_for_them(people, actors):
    number = fitting(1e12, 256, 1.0, people, actors)
    assert number == 1 or -(-people // number) >= 2 * actors


def peak_bytes(act) -> int:
    """Follow every allocation of torch on the CPU."""
    act()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        act()
    held = peak = 0
    for event in sorted(profiled.profiler.kineto_results.events(), key=lambda one: one.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


@pytest.fixture(scope="module")
def shared_twins(tmp_path_factory):
    return open_ensemble(*make_world(tmp_path_factory.mktemp("world"), num_people=9), (), "members")


def a_person(work, keys: list[str]) -> float:
    """Return what each further person adds to the most memory that is held."""
    few, many = keys[:2], keys
    return (peak_bytes(lambda: work(many)) - peak_bytes(lambda: work(few))) / (len(many) - len(few))


@pytest.mark.parametrize("hidden", [8, 96])
def test_the_estimate_bounds_what_a_simulation_holds(tmp_path, hidden):
    found = open_ensemble(*make_world(tmp_path, num_people=9), (), "members")
    found = [with_hidden(found[0], hidden)]
    worker = SimulationWorker(found, 0, SimulateConfig())
    held = a_person(worker.work, sorted(found[0].cohort().pseudonyms))
    assert held <= bytes_of_simulation(found) <= 6 * held


def with_hidden(shared_twin, hidden: int):
    """Put a twin of another size into the same shared_twin."""
    from dtb.twin.model import Twin

    config = dataclasses.replace(shared_twin.card.config, num_hidden=hidden)
    twin = Twin(config, shared_twin.card.sizes)
    numbers = {name: np.asarray(tensor) for name, tensor in twin.state_dict().items()}
    return dataclasses.replace(shared_twin, card=dataclasses.replace(shared_twin.card, config=config), numbers=numbers)


@pytest.mark.parametrize("hidden", [8, 96])
def test_the_estimate_bounds_what_a_gradient_holds(shared_twins, hidden):
    found = [with_hidden(shared_twins[0], hidden)]
    search_target = make_search_target(InterveneConfig(), found[0])
    keys = sorted(found[0].cohort().pseudonyms)
    worker = SurveyWorker(found, search_target, 0, sample_of(keys, 0))
    held = a_person(worker.work, keys)
    assert held <= bytes_of_search(found, 1)
    assert torch.is_grad_enabled()
