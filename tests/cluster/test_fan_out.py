"""Everybody on a cluster: nobody waits for somebody who hangs, and whatever cuts work off costs one item, in words."""

import contextlib
import dataclasses
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from dtb.cluster.fan_out import as_finished
from dtb.cluster.shared_folder import SharedFolder
from dtb.config import ClusterConfig
from dtb.errors import ConfigurationError, StageError

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.cluster
TWO_CPUS = ClusterConfig(num_cpus=2)


def linger_over_the_first(item: int, seconds: float) -> int:
    time.sleep(seconds if item == 0 else 0)
    return item**2


def test_all_others_are_finished_while_one_hangs():
    found = list(as_finished(linger_over_the_first, range(60), 6.0, TWO_CPUS))
    assert found[-1] == (0, 0, "")
    assert sorted(found) == [(item, item**2, "") for item in range(60)]


def test_whatever_cuts_work_off_is_tried_again_then_said_and_the_others_go_on(monkeypatch):
    errors = {
        0: ray.exceptions.OutOfMemoryError("killed"),
        1: ray.exceptions.NodeDiedError("gone"),
        4: ray.exceptions.ObjectReconstructionFailedError("0" * 56, None, "stack"),
    }
    tries: Counter[int] = Counter()

    def get(reference, real=ray.get):
        _, square = answer = real(reference)
        tries[square] += 1
        if square in errors or (square == 9 and tries[square] == 1):
            raise errors.get(square, errors[0])
        return answer

    monkeypatch.setattr(ray, "get", get)
    found = {item: rest for item, *rest in as_finished(linger_over_the_first, range(6), 0.0, TWO_CPUS)}
    assert tries == {0: 2, 1: 2, 4: 2, 9: 2, 16: 1, 25: 1}
    assert [found[item] for item in (3, 4, 5)] == [[9, ""], [16, ""], [25, ""]]
    for item, said in enumerate(("memory ran out", "machine that worked on it was lost", "its result was lost")):
        result, death = found[item]
        assert result is None
        assert said in death


def note_when(item: int, out: Path) -> int:
    began = time.monotonic()
    time.sleep(0.2)
    with (out / f"{item}.txt").open("a") as notes:
        notes.write(f"{began} {time.monotonic()}\n")
    return item


def test_whom_memory_ran_out_for_is_tried_again_with_nobody_beside_it(tmp_path, monkeypatch):
    real, hungry = ray.get, {1, 2}

    def get(reference):
        _, item = answer = real(reference)
        if item in hungry:
            hungry.remove(item)
            raise ray.exceptions.OutOfMemoryError("killed")
        return answer

    monkeypatch.setattr(ray, "get", get)
    found = list(as_finished(note_when, range(8), tmp_path, TWO_CPUS))
    assert sorted(found) == [(item, item, "") for item in range(8)]
    spans = {path.stem: [tuple(map(float, line.split())) for line in path.open()] for path in tmp_path.iterdir()}
    all_spans = [span for some in spans.values() for span in some]
    for item in ("1", "2"):
        _, (begin, end) = spans[item]
        assert [span for span in all_spans if span[0] < end and begin < span[1]] == [(begin, end)]
    assert any(a[0] < b[0] < a[1] for a in all_spans for b in all_spans), "others are worked on side by side"


@ray.remote(num_cpus=2)
class Other:
    """Somebody else, who has all cores."""

    def is_there(self) -> bool:
        return True


def test_while_others_have_all_cores_it_is_waited_aloud_and_not_for_ever(monkeypatch, capsys):
    monkeypatch.setattr("dtb.cluster.waiting.SAY_EVERY_SECONDS", 1.0)
    other = Other.remote()
    assert ray.get(other.is_there.remote())
    short = dataclasses.replace(TWO_CPUS, wait_seconds=3.0)
    with pytest.raises(StageError, match=r"No core came free within 3 s .* others have all of 2 CPU\(s\)"):
        list(as_finished(linger_over_the_first, range(3), 0.0, short))
    assert "Waiting for a core for" in capsys.readouterr().err
    ender = threading.Timer(2.0, ray.kill, (other,))
    ender.start()
    assert len(list(as_finished(linger_over_the_first, range(3), 0.0, TWO_CPUS))) == 3
    ender.join()
    assert "It is waited 600 s in all (cluster.wait_seconds)" in capsys.readouterr().err


def write_one(item: int, out: Path) -> int:
    (out / f"{item}.txt").touch()
    return item


def test_who_sees_the_folder_writes_into_it_and_no_mark_stays(tmp_path):
    found = list(as_finished(write_one, range(20), tmp_path, TWO_CPUS, tmp_path))
    assert sorted(item for item, _, _ in found) == list(range(20))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{item}.txt" for item in range(20))


def test_a_folder_that_is_another_one_on_a_node_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    """The driver marks a folder of its own, as where the path leads to a disk of each node."""

    @contextlib.contextmanager
    def elsewhere(folder):
        yield SharedFolder(folder, "not-the-word", 0.1)

    monkeypatch.setattr("dtb.cluster.fan_out.marked", elsewhere)
    with pytest.raises(ConfigurationError, match="is not the folder that the command writes to"):
        list(as_finished(write_one, range(20), tmp_path, TWO_CPUS, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_come_back_from_a_node_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(SharedFolder, "was_seen_by", lambda *_: False)
    with pytest.raises(ConfigurationError, match="does not appear here"):
        list(as_finished(write_one, range(20), tmp_path, TWO_CPUS, tmp_path))
