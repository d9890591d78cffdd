"""Exports of presentation programs as laboratories have them: onsets on the right clock, or a sentence that says what to do."""

import dataclasses
import re

import pytest

from dtb.errors import InputDataError
from dtb.tasks.exports.table import read_events
from tests.tasks.exported import eprime_log, psychopy, session

TRIALS = session(1, 12)
ONSETS = [each.onset for each in TRIALS]


def onsets(folder, text: str | bytes, name: str) -> list[float]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [float(cell) for cell in read_events(path).table.columns["onset"]]


def with_screens(log: str) -> str:
    """Return a log in which each trial begins with a screen that the person waits at."""
    times = iter(range(12_000, 99_000, 3_000))
    return re.sub("Running: TrialList", lambda found: f"Ready.OffsetTime: {next(times)}\r\n\t\t{found[0]}", log)


def test_a_screen_of_each_trial_is_no_trigger(tmp_path):
    """Its last time was taken for the scanner's first pulse, and every onset was negative."""
    log = with_screens(eprime_log(TRIALS))
    assert onsets(tmp_path, log, "a.txt") == [onset - 2.5 for onset in ONSETS]
    assert onsets(tmp_path, log.replace("WaitForTrigger.RTTime: 2500", ""), "b.txt") == ONSETS


def test_a_time_after_the_trials_is_no_trigger(tmp_path):
    log = eprime_log(TRIALS).replace("WaitForTrigger.RTTime: 2500", "WaitForEnd.RTTime: 90000")
    assert onsets(tmp_path, log, "a.txt") == ONSETS


def test_a_log_of_several_runs_is_to_be_cut(tmp_path):
    """All onsets counted from the last run's trigger."""

    def run(began: float) -> str:
        moved = [dataclasses.replace(each, onset=each.onset + began) for each in TRIALS]
        inner = eprime_log(moved).partition("\tLevel: 2")[0]
        trigger = f"WaitForTrigger.RTTime: {round(1000 * began + 2500)}"
        return f"{inner}\tLevel: 2\r\n\t*** LogFrame Start ***\r\n\t{trigger}\r\n\t*** LogFrame End ***\r\n"

    with pytest.raises(InputDataError, match="2 times of a trigger, WaitForTrigger.RTTime.*one for each run"):
        onsets(tmp_path, run(0) + run(400), "a.txt")
    assert onsets(tmp_path, run(400), "b.txt") == [onset - 2.5 for onset in ONSETS]


def test_what_excel_makes_of_a_table_is_read(tmp_path):
    """Semicolons and decimal commas, and a line that says what separates cells."""
    text = psychopy(TRIALS)
    continental = re.sub(r"(?<=\d)\.(?=\d)", "#", text).replace(",", ";").replace("#", ",")
    assert "12,5000" in continental
    assert onsets(tmp_path, continental, "a.csv") == ONSETS
    assert onsets(tmp_path, f"sep=,\r\n{text}", "b.csv") == ONSETS
    assert onsets(tmp_path, text.encode("utf-16"), "c.csv") == ONSETS
