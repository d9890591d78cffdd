"""What a training does when it is told to end: when ranks look, what they save for, and how the driver answers signals."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch

from dtb.cluster.shared_folder import marked
from dtb.errors import StageError
from dtb.train.stopping import LookOut, has_lost_announced_node, is_told, look_out_of, saving_on_termination


@pytest.fixture
def alone(monkeypatch):
    """The only rank."""
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "broadcast_object_list", lambda *_, **__: None)


def test_ranks_look_about_once_a_second_and_never_miss_the_word(alone):
    now, looked = [0.0], []

    def told():
        looked.append(now[0])
        return now[0] > 3.0

    look = LookOut(told, clock=lambda: now[0])
    for step in range(1, 1000):
        now[0] += 0.01
        if look(step) == "end":
            break
    assert 3.0 < now[0] < 4.1
    assert len(looked) <= 6


def test_a_checkpoint_is_saved_once_for_each_node_that_will_be_gone(alone, tmp_path):
    leaving = iter([(), ("a",), ("a",), ("a", "b"), ("b",), ()])
    with marked(tmp_path) as folder:
        look = look_out_of([folder], lambda: next(leaving))
        look._clock = iter(range(100)).__next__
        assert [look(step) for step in range(1, 7)] == ["", "save", "", "save", "", ""]
        assert has_lost_announced_node(folder)
    assert (tmp_path / "notes.log").read_text().count("A node is taken back") == 2


def test_the_first_sigterm_tells_the_ranks_and_the_second_interrupts(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with marked(tmp_path) as folder, marked(tmp_path / "sweep") as sweep:
        with pytest.raises(KeyboardInterrupt), saving_on_termination(sweep, 60):
            assert not is_told(sweep)
            os.kill(os.getpid(), signal.SIGTERM)
            assert is_told(sweep)
            assert not is_told(folder)
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), saving_on_termination(folder, 0.05):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)  # the grace is over before that
        # What breaks after the word is not tried again.
        with pytest.raises(KeyboardInterrupt), saving_on_termination(folder, 60):
            os.kill(os.getpid(), signal.SIGTERM)
            raise StageError("a worker was lost")
        with pytest.raises(StageError), saving_on_termination(folder, 60):
            raise StageError("a worker was lost")
    assert signal.getsignal(signal.SIGTERM) is before
