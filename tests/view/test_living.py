"""Own trials are divided in time, told one after the other, and read from a file as ingest reads it; what is wrong is said in words."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from dtb.errors import StageError
from dtb.twin.own_data import OwnData, restricted
from dtb.twin.posterior import condition, prior_of
from dtb.view import api, living, replies
from dtb.view.app import make_app
from dtb.view.viewer import Viewer
from tests.view.runs import make_run


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    return Viewer(make_run(tmp_path_factory.mktemp("run")))


def _ask(viewer, trials, **more):
    return viewer.living(api.LivingRequest(**{"task": "stroop", "person": "p0000", "trials": trials, **more}))


def test_before_any_trial_all_variance_is_left_and_own_trials_leave_less(viewer):
    answers = [_ask(viewer, number) for number in range(5)]
    assert [reply.given for reply in answers] == [*range(5)]
    assert {(reply.most, reply.later) for reply in answers} == {(4, 4)}
    for kind in ("with_connectome", "without"):
        left = [getattr(reply, kind).variance_left for reply in answers]
        assert left[0] == 1
        assert max(left[1:]) < 1
    assert answers[0].with_connectome.mean != answers[0].without.mean


def test_what_is_given_ends_before_what_is_judged_and_is_what_the_posterior_is_made_of(viewer):
    runner, prepared = viewer._runner, viewer._prepare("p0000")
    record, batch = prepared.record, prepared.batch
    own = living.divided(batch, 1, ("hammer", "stroop"))
    stroop = next(run for run in record.runs if run.task == "stroop")
    assert own.rt_J.tolist() == pytest.approx(stroop.trials.rt_seconds_J[:4].tolist(), nan_ok=True)
    assert sorted(own.later.trials.trial_J.tolist()) == [4, 5, 6, 7]
    given = restricted(batch, OwnData(trials=3, bold_seconds=0.0, tasks=("stroop",)), ("hammer", "stroop"))
    prior = prior_of(runner.twin, batch.connectome_SE)
    by_hand = living.variance_left(prior, condition(runner.twin, given, prior).latents, 0)
    assert _ask(viewer, 3).with_connectome.variance_left == pytest.approx(by_hand, abs=1e-4)
    assert _ask(viewer, 3).rt == replies.plain(own.rt_J)


def _events(num_trials: int = 8, **last: str) -> str:
    """Return an events file of the Stroop task; the last row's cells may be others."""
    rows = [
        {
            "onset": f"{2 + 4 * place}",
            "duration": "2.5",
            "trial_type": ("con1", "inc1")[place % 2],
            "stimulus_color": "red",
            "stimulus_text": ("red", "green")[place % 2],
            "response_time": f"{0.7 + 0.05 * place:.2f}",
            "accuracy_binarized": "1",
        }
        for place in range(num_trials)
    ]
    rows[-1] |= last
    return "\n".join("\t".join(cells) for cells in (rows[0], *(row.values() for row in rows))) + "\n"


def test_events_of_ones_own_are_read_with_the_tasks_file_and_kept_nowhere(viewer):
    reply = _ask(viewer, 2, person=None, events=_events(response_time="soon"))
    assert reply.rt == [0.7, 0.75, 0.8], "of seven usable trials the first three may be given"
    assert reply.with_connectome is None
    assert reply.without.variance_left < 1
    (unusable,) = reply.unusable
    assert unusable.startswith("row 9: ")
    assert reply.did["accuracy"] == 1
    early = viewer.living(api.LivingRequest(task="stroop", events=_events(), trials=0))
    assert early.without == _ask(viewer, 0, person=None, events=_events()).without
    assert early.without.variance_left == 1


def test_too_many_trials_and_unknown_names_are_refused_in_words(viewer):
    client = TestClient(make_app(viewer._run, "t"), headers={"Authorization": "Bearer t"})

    def refused(**body):
        answer = client.post("/api/living", json={"task": "stroop", **body})
        assert answer.status_code in {404, 422}
        return json.dumps(answer.json()["detail"])

    assert "4 trials may be given, and 5 were asked for" in refused(person="p0000", trials=5)
    assert "no person 'p0009'" in refused(person="p0009")
    assert "name a person, or give events" in refused()
    assert "name a person, or give events" in refused(person="p0000", events="onset")
    assert "Did you mean 'stroop'?" in refused(task="strop", person="p0000")
    assert "at most 300000 characters" in refused(events="x" * 300_001)
    assert "events.tsv, task stroop: no column" in refused(events="onset\tduration\n1\t2\n")
    assert "/tmp" not in refused(events="onset\tduration\n1\t2\n")
    assert "3 usable trials of stroop" in refused(events=_events(3))
    assert "Are its times in milliseconds?" in refused(events=_events(onset="30000"))


def test_a_twin_without_person_effects_cannot_be_told(tmp_path):
    with pytest.raises(StageError, match="no person effects"):
        _ask(Viewer(make_run(tmp_path, 1, found_for=(), person_effects=False)), 0)
