"""Events and sessions as converters and longitudinal studies name them, after public reports: each run once, or a sentence."""

import numpy as np
import pytest

from dtb.errors import InputDataError
from tests.cohort.test_person import ONSETS, Person


@pytest.fixture
def person(tmp_path) -> Person:
    return Person(tmp_path)


@pytest.mark.parametrize("kinds", [("part-mag", "part-phase"), ("echo-1", "echo-2", "echo-3")])
def test_events_that_a_converter_wrote_for_each_image_of_a_run_are_one(person, kinds):
    """heudiconv#849: magnitude and phase; bids-validator#303 (legacy): one for each echo. The whole person was set aside."""
    path = next(person.raw.glob("*_events.tsv"))
    for kind in kinds:
        path.with_name(path.name.replace("_events", f"_{kind}_events")).write_bytes(path.read_bytes())
    path.unlink()
    (run,) = person.read().record.runs
    np.testing.assert_array_equal(run.trials.onset_seconds_J, ONSETS)
    assert run.bold_VR.shape == (100, 3)
    person.events([onset + 1 for onset in ONSETS], name=f"stroop_run-01_{kinds[1]}")
    with pytest.raises(InputDataError, match=f"several events files of one run, .*{kinds[0]}.* and .*{kinds[1]}"):
        person.read()


def longitudinal(person: Person) -> None:
    """Make two sessions: rest in both, in the second shorter; the task in the first alone (fmriprep#1175, #993)."""
    for folder in (person.raw, person.func):
        for path in list(folder.iterdir()):
            for session in ("baseline", "year2"):
                if session == "year2" and "stroop" in path.name:
                    continue
                target = (
                    folder.parent / f"ses-{session}" / "func" / path.name.replace("sub-sue_", f"sub-sue_ses-{session}_")
                )
                target.parent.mkdir(parents=True, exist_ok=True)
                lines = path.read_text().splitlines(keepends=True)
                target.write_text("".join(lines[:151] if session == "year2" and path.suffix == ".tsv" else lines))
            path.unlink()


def test_sessions_of_a_longitudinal_study_are_put_together_or_chosen(person):
    longitudinal(person)
    both = person.read().record
    assert both.covariates["rest_seconds"] == pytest.approx(240 + 120)
    assert [(run.session, run.bold_VR.shape) for run in both.runs] == [("baseline", (100, 3))]
    first = person.read(session_label=("baseline",)).record
    assert first.covariates["rest_seconds"] == pytest.approx(240)
    z_E = np.stack([np.arctanh(np.corrcoef(rest_VR.T)[np.triu_indices(3, 1)]) for rest_VR in _rests(person)])
    np.testing.assert_allclose(first.connectome_E, z_E[0], atol=1e-4)
    np.testing.assert_allclose(both.connectome_E, np.average(z_E, axis=0, weights=[300, 150]), atol=1e-4)
    read = person.read(session_label=("year2",))
    assert read.record is None  # no task there
    assert "no task run that can be used" in read.reason


def _rests(person: Person) -> list[np.ndarray]:
    paths = sorted((person.derived / "sub-sue").glob("ses-*/func/*rest*.tsv"))
    return [np.loadtxt(path, skiprows=1) for path in paths]
