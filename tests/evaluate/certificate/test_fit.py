"""A twin that is worse than the group mean on held-out data is said not to fit, first and everywhere, with the likely reason."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from dtb.config import Config
from dtb.evaluate.certificate import fit
from dtb.evaluate.certificate.fit import Circumstances, Fit, fit_of
from dtb.evaluate.circumstances import read_circumstances
from dtb.evaluate.scores.figure import TWIN, make_figure
from dtb.evaluate.scores.figures import all_figures
from dtb.evaluate.scores.statistics import OverTrainings, draw_weights, mean_of
from dtb.evaluate.stage import evaluate
from dtb.pipeline import run_all
from dtb.report.collect import collect, read_headline
from dtb.report.page import MAIN, pages
from dtb.shards.split import Split
from dtb.stages import OutputFolder
from dtb.view.viewer import Viewer
from tests.evaluate.people import make_people
from tests.evaluate.test_stage import SMALL, by_people, lay_out
from tests.view.runs import make_run

TOO_SHORT = {
    "kind": "too short",
    "steps": 2,
    "longer": "--max-steps 1500",
    "sentence": "The training ended after 2 steps.",
}


def figure_of(twin_S, mean_S, metric="RT CRPS", task="stroop"):
    weights_BS = draw_weights(twin_S.shape[-1], 200, 0)
    statistic = mean_of if twin_S.ndim == 1 else OverTrainings((mean_of,) * len(twin_S))
    nothing_S = np.zeros_like(twin_S)
    scores = {TWIN: twin_S, "group_mean": mean_S}
    return make_figure(
        task, metric, "seconds", statistic, nothing_S, scores, weights_BS, 0.95, higher_is_better=False
    ), weights_BS


NOT_KNOWN = Circumstances()


def judged(twin_S, mean_S, circumstances=NOT_KNOWN, **which) -> Fit:
    figure, weights_BS = figure_of(np.asarray(twin_S), np.asarray(mean_S), **which)
    return fit_of([figure], weights_BS, 0.95, circumstances)


def test_worse_is_what_the_interval_of_the_paired_difference_says():
    rng = np.random.default_rng(0)
    mean_S = rng.normal(0.3, 0.1, 40)  # people differ much more than the twin from the mean
    assert judged(mean_S + 0.02 + 0.01 * rng.normal(size=40), mean_S).fits is False
    assert judged(mean_S - 0.01 + 0.01 * rng.normal(size=40), mean_S).fits is True
    assert judged(mean_S + 0.001 + 0.02 * rng.normal(size=40), mean_S).fits is True  # not sure
    assert judged(mean_S + 0.005, mean_S).fits is True  # sure, and less than a twentieth


def test_of_too_few_people_for_an_interval_everyone_must_be_worse():
    assert judged([0.4, 0.5, 0.6], [0.3, 0.3, 0.3]).fits is False
    assert judged([0.4, 0.5, 0.2], [0.3, 0.3, 0.3]).fits is True


def test_one_task_and_one_loss_are_enough_and_people_without_presses_do_not_count():
    good, weights_BS = figure_of(np.full(10, 0.1), np.full(10, 0.2))
    bad_S = np.r_[np.full(8, 0.9), np.nan, np.nan]
    bad, _ = figure_of(bad_S, np.full(10, 0.5), metric="choice log-loss", task="hammer")
    found = fit_of([good, bad], weights_BS, 0.95, Circumstances())
    assert (found.fits, [test.is_worse for test in found.tests]) == (False, [False, True])
    assert (
        "in 8 people it had not seen, it is worse than the group mean at choice log-loss (hammer: 0.900 against 0.500 nats)"
        in (found.sentence)
    )
    assert "stroop" not in found.sentence


def test_figures_of_other_kinds_decide_nothing():
    assert judged(np.full(9, 0.9), np.full(9, 0.1), metric="mean RT r").fits is None


def test_several_trainings_are_judged_by_their_mean():
    twin_NS = np.stack([np.full(9, 0.2), np.full(9, 0.5)])
    assert judged(twin_NS, np.full((2, 9), 0.3)).fits is False
    assert judged(twin_NS, np.full((2, 9), 0.4)).fits is True


@pytest.mark.parametrize(
    ("circumstances", "name", "words", "remedy"),
    [
        (
            Circumstances(ending="improving", steps=60, longer="--max-steps 1500"),
            "budget",
            "ended after 60 steps while it was still improving",
            "`dtb train SHARDS NEW --config TRAINED/config.yaml --max-steps 1500`",
        ),
        (
            Circumstances(ending="too short", steps=2, longer="--max-epochs 375"),
            "budget",
            "ended after 2 steps",
            "`dtb train SHARDS NEW --config TRAINED/config.yaml --max-epochs 375`",
        ),
        (
            Circumstances(ending="level", invisible_onsets=0.4),
            "contiguous pulses",
            "of 40% of the trials",
            "dtb task check",
        ),
        (
            Circumstances(ending="level", lost_presses=0.56),
            "cut windows",
            "56% of the presses",
            "longer response window",
        ),
        (Circumstances(num_training=9), "too few people", "only 9 people", "`dtb plan`"),
    ],
)
def test_each_reason_is_named_with_what_mends_it(circumstances, name, words, remedy):
    found = judged(np.full(9, 0.9), np.full(9, 0.1), circumstances)
    assert [reason.name for reason in found.reasons] == [name]
    assert words in found.sentence
    assert remedy in found.sentence


def test_without_a_reason_none_is_made_up_and_the_likeliest_comes_first():
    nothing = Circumstances(ending="level", invisible_onsets=0.01, lost_presses=0.001, num_training=200)
    assert "None of the usual reasons was found" in judged(np.full(9, 0.9), np.full(9, 0.1), nothing).sentence
    both = Circumstances(ending="improving", steps=8, longer="--max-steps 16", num_training=9)
    found = judged(np.full(9, 0.9), np.full(9, 0.1), both)
    assert [reason.name for reason in found.reasons] == ["budget", "too few people"]
    assert found.sentence.index("ended after 8 steps") < found.sentence.index("only 9 people")


def test_a_twin_that_fits_has_no_reasons():
    found = judged(np.full(9, 0.1), np.full(9, 0.2), Circumstances(ending="improving", steps=8))
    assert (found.headline, found.reasons) == (None, ())


def test_what_of_the_behaviour_a_twin_cannot_see_is_read_from_the_table_of_quality(shards_and_twin, tmp_path):
    """The task that has most counts, and nobody who was set aside."""
    _, trained = shards_and_twin
    split = Split("subjects", ("a",), ("b",), ("c",))
    assert read_circumstances(tmp_path, (trained,), split) == Circumstances(
        "too short", 2, "--max-steps 1500", None, None, 1
    )
    columns = "pseudonym\tset_aside\tleft_out\ttask\tnum_usable\tnum_unseen\tlate_fraction"
    rows = [
        "a\tn/a\tn/a\tstroop\t80\t0\tn/a",
        "a\tn/a\tn/a\tgradcpt\t100\t40\t.02",
        "b\tn/a\tn/a\tgradcpt\t100\t0\t.56",
    ]
    rows += [
        "c\tingest.motion\tn/a\tgradcpt\t100\t100\t1",
        "d\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a",
        "e\tn/a\tchance\tgradcpt\t100\t100\t1",
    ]
    (tmp_path / "quality.tsv").write_text("\n".join([columns, *rows]) + "\n")
    found = read_circumstances(tmp_path, (trained,), split)
    assert found.invisible_onsets == pytest.approx(0.2)
    assert found.lost_presses == pytest.approx(0.29)
    (tmp_path / "quality.tsv").write_text(
        "pseudonym\tset_aside\tleft_out\ttask\tnum_usable\na\tn/a\tn/a\tstroop\t80\n"
    )  # of an older dtb
    assert read_circumstances(tmp_path, (trained,), split).invisible_onsets is None


@pytest.fixture(scope="module")
def shards_and_twin(tmp_path_factory):
    """A twin of two steps, so to speak: as it was before training, and a training that says so."""
    records = make_people(20)
    folder = tmp_path_factory.mktemp("misfit")
    shards, trained = lay_out(folder, by_people(records, 10), records)
    trained.rename(folder / "train")
    stage = json.loads((folder / "train" / "stage.json").read_text())
    (folder / "train" / "stage.json").write_text(json.dumps(stage | {"summary": {"ending": TOO_SHORT}}))
    return shards, folder / "train"


def places(shards: Path, trained: Path, run: Path, capsys) -> dict[str, str]:
    """Evaluate in a run folder, and return what is said first in each place."""
    shutil.copytree(shards, run / "shards")
    shutil.copytree(trained, run / "train")
    evaluate(SMALL, run / "shards", run / "train", run / "evaluate", resume=False)
    terminal = " ".join(capsys.readouterr().out.split())
    page = pages(collect(run), Config(name="made up"), {})[MAIN]
    looked_at = make_run(run / "looked-at")
    shutil.copytree(run / "evaluate", looked_at / "evaluate")
    return {
        "terminal": terminal,
        "report": page[page.index('<p class="badge') :],
        "certificate.md": (run / "evaluate" / "certificate.md").read_text(),
        "certificate.html": (run / "evaluate" / "certificate.html").read_text(),
        "live twin": Viewer(looked_at).description().does_not_fit or "",
    }


@pytest.mark.slow
def test_a_badly_trained_twin_is_said_not_to_fit_in_all_places_first(shards_and_twin, tmp_path, capsys):
    said = places(*shards_and_twin, tmp_path, capsys)
    certificate = json.loads((tmp_path / "evaluate" / "certificate.json").read_text())
    figures = json.loads((tmp_path / "evaluate" / "figures.json").read_text())
    sentence = certificate["fit"]["sentence"]
    assert sentence.startswith(
        "The twin does not fit: in 8 people it had not seen, it is worse than the group mean at "
    )
    assert "Likely because its training ended after 2 steps" in sentence
    assert "`dtb train SHARDS NEW --config TRAINED/config.yaml --max-steps 1500`" in sentence
    assert [reason["name"] for reason in figures["fit"]["reasons"]] == ["budget", "too few people"]
    assert figures["fit"] == certificate["fit"]
    assert certificate["verdict"] not in {"yes", "provisional"}
    assert read_headline(tmp_path) == sentence
    assert said["live twin"] == sentence
    assert said["certificate.md"].startswith(f"# The twin does not fit\n\n**{sentence}**\n")
    assert said["certificate.html"].index("does not fit</p>") < said["certificate.html"].index("is personal")
    # The verdict first, then why, then figures.
    assert said["terminal"].startswith("✗ does not fit")
    assert said["terminal"].index("The twin does not fit:") < said["terminal"].index("These figures")
    opening = re.sub("</?span>", "", said["report"]).replace("<code>", "`").replace("</code>", "`")
    assert "does not fit</p>" in opening[: opening.index("<h1")]
    assert "In 8 unseen people, the twin predicts" in opening[: opening.index("</h1>")]
    assert "dtb run train/config.yaml again --train.max-steps 1500" in opening[: opening.index("<figure")]
    assert (
        "its training ended after 2 steps, before it had begun to learn: train it longer (`dtb train SHARDS NEW --config TRAINED/config.yaml --max-steps 1500`)"
        in (opening)
    )


@pytest.mark.slow
def test_of_a_fitting_twin_no_place_says_so(shards_and_twin, tmp_path, capsys, monkeypatch):
    def well_predicted(evidence):
        return [
            dataclasses.replace(figure, scores={**figure.scores, TWIN: figure.scores["group_mean"] - 0.01})
            if figure.metric in fit.METRICS
            else figure
            for figure in all_figures(evidence)
        ]

    monkeypatch.setattr("dtb.evaluate.stage.all_figures", well_predicted)
    said = places(*shards_and_twin, tmp_path, capsys)
    assert json.loads((tmp_path / "evaluate" / "certificate.json").read_text())["fit"]["fits"] is True
    assert not [place for place, words in said.items() if "does not fit" in words]
    assert said["certificate.md"].startswith("# Is this twin personal?\n")


def test_a_run_ends_with_it(tmp_path, capsys, monkeypatch):
    """All stages are done, so that nothing is left but what is said at the end."""
    claimed = OutputFolder.claim(tmp_path / "evaluate", "evaluate", Config(), resume=False)
    (tmp_path / "evaluate" / "certificate.json").write_text(
        json.dumps({"fit": {"fits": False, "sentence": "It does not."}})
    )
    claimed.finish({})
    monkeypatch.setattr("dtb.pipeline.steps_of", lambda *_: [])
    monkeypatch.setattr("dtb.pipeline.connected", lambda _: contextlib.nullcontext())
    run_all(Config(), tmp_path, resume=True, dry_run=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("✗ does not fit: ")
    assert any(line.startswith("Next, in ") for line in lines)
    assert any(line.startswith("Report: ") for line in lines)
