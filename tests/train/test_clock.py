"""A clock that is set back while workers are started is told of: Ray may wait for them without end."""

from __future__ import annotations

import time

from dtb.train.budget import Budget
from dtb.train.driver_messages import print_messages


def test_a_clock_that_is_set_back_is_told_of_once(tmp_path, monkeypatch, capsys):
    real, back = time.time, [0.0]
    monkeypatch.setattr("dtb.train.driver_messages.time.time", lambda: real() - back[0])
    budget = Budget(**dict.fromkeys(Budget.__dataclass_fields__, 1))
    with print_messages(tmp_path, budget, lambda _: None):
        time.sleep(0.7)
        back[0] = 3600.0
        time.sleep(1.8)
    said = capsys.readouterr().err
    assert said.count("clock was set back by 3600 s") == 1
    assert "--resume" in said
