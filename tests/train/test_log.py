"""What a user is told when a worker group breaks and goes on."""

from __future__ import annotations

import json
import os
import time

import pytest
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError

from dtb.cluster.shared_folder import SharedFolder
from dtb.errors import ConfigurationError, FinalError, StageError
from dtb.train.driver.failures import FailureLog
from dtb.train.log import tell_going_on

GONE = WorkerHealthCheckFailedError("A worker health check failed", ValueError("the actor died"))
CUT = RuntimeError("[pair.cc:537] Read error [127.0.0.1]:1: Connection reset by peer.")


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ({0: CUT, 1: GONE}, "Lost: rank 1 (its process or its node died)."),
        ({0: CUT}, "Lost: a worker or its network (rank 0 hears no more of it)."),
        ({2: ZeroDivisionError("division by zero"), 3: CUT}, "Lost: ranks 2, 3 (division by zero)."),
    ],
)
def test_a_failure_is_one_line_that_names_who_is_lost(tmp_path, errors, words):
    wrapped = {
        rank: UserExceptionWithTraceback(error, "...") if error is not GONE else error for rank, error in errors.items()
    }
    FailureLog(SharedFolder(tmp_path, "")).after_exception(None, wrapped)
    assert (tmp_path / "notes.log").read_text() == f"{words} Training begins again where the newest checkpoint is.\n"


def test_what_was_given_wrong_is_not_tried_again(tmp_path):
    """Ray Train ends a training for an error of a callback, whatever `max_failures` is."""
    for kind in (ConfigurationError, FinalError):
        errors = {0: CUT, 1: UserExceptionWithTraceback(kind("It does not fit."), "...")}
        with pytest.raises(kind, match="It does not fit"):
            FailureLog(SharedFolder(tmp_path, "")).after_exception(None, errors)
    assert not (tmp_path / "notes.log").exists()


def test_what_a_worker_said_itself_is_not_said_twice_and_the_time_is_known(tmp_path, monkeypatch):
    errors = {0: UserExceptionWithTraceback(StageError("The loss of p1 is not a finite number."), "...")}
    FailureLog(SharedFolder(tmp_path, "")).after_exception(None, errors)
    assert not (tmp_path / "notes.log").exists()
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps({"epoch": epoch}) + "\n" for epoch in (1, 2, 3)))
    os.utime(tmp_path / ".broken", (1000, 1000))
    monkeypatch.setattr(time, "time", lambda: 1007.2)
    tell_going_on(tmp_path, ("epoch-00002-step-000000", 2))
    tell_going_on(tmp_path, None)  # nothing has broken since
    assert (tmp_path / "notes.log").read_text() == (
        "Going on after epoch 2, from epoch-00002-step-000000; 1 finished epoch is trained again; "
        "it took 7 s from when the failure was seen.\n"
    )
