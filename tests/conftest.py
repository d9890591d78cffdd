"""What every test may need: where the real data lie, and the skip that says so where they are absent."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from dtb.cluster.connection import prepare_environment
from scripts.live_page import CHROMIUM, OPTIONS
from tests import shared_ray

# Looked through for doctests like any other file; importing it would add its kinds for every test.
collect_ignore = ["toy_kinds.py"]
# Files that take more than a minute and a half each.
LONGEST = ("test_api_whole", "test_faults", "test_trainer", "test_actors", "test_walk", "test_wheel")
# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("dtb", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dtb")
# Before any test imports Triton: without a GPU its kernels run in its interpreter.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# Before any test imports Ray: tokens on, and every cluster of the tests on loopback alone.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
prepare_environment()
# A shell starts background jobs with SIGINT ignored, and children inherit that: commands that tests interrupt are to start as from a keyboard.
signal.signal(signal.SIGINT, signal.default_int_handler)
_own_folder = tempfile.TemporaryDirectory(prefix="dtb-tests-")


def pytest_collection_modifyitems(config, items):
    """Have two processes begin with the files that take longest, so that neither is left with one of them at the end."""
    if getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput"):
        ranks = {}
        for item in items:
            is_slow = [item.get_closest_marker(name) is not None for name in ("own_ray", "cluster", "slow")]
            ranks[item.path] = max(ranks.get(item.path, []), [item.path.stem in LONGEST, *is_slow])
        items.sort(key=lambda item: ranks[item.path], reverse=True)


def pytest_collection_finish(session):
    shared_ray.learn_files(session.items)


def pytest_sessionstart():
    """Keep the tests' lists of files, and what signs their checkpoints, away from the user's; before Ray, whose workers inherit it."""
    os.environ["XDG_CACHE_HOME"] = str(Path(_own_folder.name) / "cache")
    os.environ["DTB_KEY"] = str(Path(_own_folder.name) / "key")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    shared_ray.prepare_for(item)


def pytest_sessionfinish():
    shared_ray.stop()
    _own_folder.cleanup()


@pytest.fixture(autouse=True)
def _ray_is_started_by_those_marked_so(request, monkeypatch):
    """Fail a test that starts a Ray and is among those that start none."""

    def refuse(*_):
        pytest.fail("this test starts a Ray: mark it `cluster`, and it finds the one that such tests share")

    if not any(map(request.node.get_closest_marker, ("cluster", "own_ray"))):
        monkeypatch.setattr("dtb.cluster.connection._start", refuse)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the open data sets that `DTB_REAL_DATA` names; the test is skipped where there is none."""
    place = os.environ.get("DTB_REAL_DATA")
    if not place:
        pytest.skip("DTB_REAL_DATA is not set: it names the folder with the open data sets (cnp, tcp, atlases)")
    path = Path(place)
    if not path.is_dir():
        pytest.skip(f"DTB_REAL_DATA is {place}, which is not a folder")
    return path


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory) -> Path:
    """Folder of a cohort made with `tests.small.SMALL`."""
    from dtb.groundtruth.synthesise import synthesise
    from tests.small import SMALL

    out = tmp_path_factory.mktemp("synth") / "cohort"
    synthesise(SMALL, out, resume=False)
    return out


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, for modules that are skipped where it or playwright is absent."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()
