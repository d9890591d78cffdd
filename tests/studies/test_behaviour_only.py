"""Figures without brain data: their size on the open cohort, and that nobody's own answers predict them."""

import numpy as np
import pytest

from dtb.errors import InputDataError
from dtb.evaluate.predictors.predictions import summary_of_people
from dtb.evaluate.scores.observed import collect
from dtb.shards.split import Span
from scripts.studies.behaviour_only import RUNS, RunHalves, demographic_prediction, findings, read_halves
from tests.evaluate.people import STROOP, make_people, with_other_answers


@pytest.mark.slow
def test_the_open_cohorts_figures_are_those_measured_on_all_its_participants(real_data):
    """The whole cohort has some 45 more people, so the figures agree within sampling error: 0.02 for r near .9, less for agreement."""
    found = findings({run: read_halves(real_data / "tcp", run) for run in RUNS})

    def value(question: str, run: str, predictor: str) -> float:
        rows = [
            row for row in found if (row.question, row.run) == (question, run) and row.predictor.endswith(predictor)
        ]
        return next(row.figure.value for row in rows if row.metric in {"r", "agreement"})

    assert value("rt", "Emotional Faces", "first half") == pytest.approx(0.90, abs=0.02)
    assert value("rt", "Emotional Faces", "above chance") == pytest.approx(0.92, abs=0.02)
    assert value("rt", "Stroop AP", "first half") == pytest.approx(0.84, abs=0.02)
    assert value("rt", "Stroop AP", "above chance") == pytest.approx(0.88, abs=0.02)
    assert value("choice", "Emotional Faces", "correct") == pytest.approx(0.938, abs=0.005)
    assert value("choice", "Stroop AP", "correct") == pytest.approx(0.916, abs=0.01)
    assert value("retest", "Stroop AP to PA", "mean RT in the other run") == pytest.approx(0.87, abs=0.01)
    assert value("retest", "Stroop AP to PA", "effect in the other run") == pytest.approx(0.51, abs=0.06)
    # With and without those at or below chance: who is left out is said.
    effects = {row.predictor: row.figure for row in found if "effect in the other run" in row.predictor}
    assert {words: round(figure.value, 3) for words, figure in effects.items()} == {
        "Stroop effect in the other run": 0.550,
        "Stroop effect in the other run, people above chance in both": 0.562,
    }
    assert [figure.num_people for figure in effects.values()] == [175, 165]
    assert value("retest", "Emotional Faces with Stroop PA", "other task") == pytest.approx(0.645, abs=0.001)
    assert 0.58 < value("retest", "Emotional Faces with Stroop AP", "other task") < 0.67


@pytest.mark.slow
def test_a_person_is_predicted_from_covariates_by_others_alone():
    records = make_people(40, with_bold=False)

    def halves(who) -> RunHalves:
        people = collect(who, STROOP, Span(0, 1), np.zeros(0, np.int64), np.zeros(0))
        summary = summary_of_people(people, STROOP)
        return RunHalves(people, summary, summary, summary, np.ones(len(people), bool))

    honest = demographic_prediction(halves(records))
    planted = demographic_prediction(halves([with_other_answers(records[0]), *records[1:]]))
    assert honest[0] == planted[0]
    assert (honest[1:] != planted[1:]).any()


def test_a_folder_without_the_runs_is_refused(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\tSite\nsub-1\t30\tF\t1\n")
    with pytest.raises(InputDataError, match="task-stroopAP"):
        read_halves(tmp_path, "Stroop AP")
