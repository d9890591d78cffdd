"""Quality: figures that equal their definitions, rules that are obeyed, and a page that says so."""

import base64
import dataclasses
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import norm

from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import no_covariates
from dtb.cohort.ingest import ingest
from dtb.cohort.job import PersonJob
from dtb.cohort.person import read_person
from dtb.cohort.quality import PersonQuality, run_quality, why_left_out
from dtb.cohort.quality_page import SetAside, _histogram, _range, commonest, write_quality_page, write_quality_table
from dtb.config import IngestConfig
from dtb.errors import InputDataError
from dtb.people.records import Run
from dtb.people.reliability import EdgeReliability, load_reliability
from dtb.report.sections import _quality_tables
from dtb.tasks.responses import LATE
from dtb.tasks.spec import load_task, task_from_mapping
from dtb.tasks.taskset import TaskSet
from tests.cohort.test_ingest import ONE_CPU, TASKS, copy, func, jobs_of, paths, regions_of  # noqa: F401 (a fixture among them)
from tests.shards.people import make_trials


def run_with(num_right: int, num_wrong: int, num_silent: int) -> Run:
    num = num_right + num_wrong + num_silent
    trials = make_trials(np.random.default_rng(0), num)
    correct_JA = np.tile([True, False], (num, 1))
    response_JA = correct_JA.copy()
    response_JA[num_right:] = [False, True]
    response_JA[num_right + num_wrong :] = False
    rt_J = np.where(response_JA.any(axis=1), 0.5, np.nan)
    trials = dataclasses.replace(
        trials, correct_JA=correct_JA, response_JA=response_JA, rt_seconds_J=rt_J,
        usable_J=np.ones(num, bool), scored_J=np.ones(num, bool),
    )  # fmt: skip
    return Run("hammer", "hammer", None, None, trials, 100.0, None, None)


@pytest.mark.parametrize(
    ("counts", "flag", "problem"),
    [
        ((90, 10, 0), "", None),
        ((50, 50, 0), "at chance", None),
        ((7, 90, 3), "below chance", "guessing gives 50%"),
        ((40, 0, 60), "", "60% of the trials have no press"),
    ],
)
def test_accuracy_is_judged_against_guessing_and_omissions_against_the_limit(counts, flag, problem):
    quality = run_quality(run_with(*counts), load_task("hammer"))
    assert quality.accuracy == pytest.approx(counts[0] / (counts[0] + counts[1]))
    assert quality.omission_fraction == pytest.approx(counts[2] / 100)
    assert quality.flag == flag
    found = why_left_out(quality, IngestConfig(below_chance="drop"))
    assert (found is None) if problem is None else (problem in str(found))


def test_somebody_who_moved_too_much_is_set_aside(small_cohort):
    config = IngestConfig(max_motion_mm=0.01)
    read = read_person(jobs_of(small_cohort, config)[0], regions_of(small_cohort), TASKS, config)
    assert read.record is None
    assert "ingest.max_motion_mm" in read.reason


def test_reliability_recovers_the_variances_that_made_the_runs():
    rng = np.random.default_rng(0)
    gathered = EdgeReliability()
    sd_within, sd_between = np.array([0.1, 0.3, 0.2]), np.array([0.3, 0.1, 0.0])
    for person in range(4000):
        runs_KE = sd_between * rng.standard_normal(3) + sd_within * rng.standard_normal((2 + person % 3, 3))
        runs_KE[0, 1] = np.nan
        gathered.add(runs_KE)
    found = gathered.figures()
    np.testing.assert_allclose(found["retest_sd_E"], sd_within, rtol=0.05)
    np.testing.assert_allclose(found["between_sd_E"], sd_between, atol=0.03)
    assert found["num_people_E"].tolist()[0] == 4000
    assert found["num_people_E"][1] < 4000
    np.testing.assert_allclose(found["icc_E"], sd_between**2 / (sd_between**2 + sd_within**2), atol=0.05)


def test_one_run_a_person_gives_no_reliability(tmp_path):
    gathered = EdgeReliability()
    gathered.add(np.ones((1, 3)))
    assert gathered.save(tmp_path) == {}
    assert load_reliability(tmp_path) == {}


@pytest.mark.slow
def test_the_page_shows_who_was_left_out_and_why_without_any_label(small_cohort, tmp_path):
    config = IngestConfig()
    reads = [read_person(job, regions_of(small_cohort), TASKS, config) for job in jobs_of(small_cohort, config)]
    people = [(read.pseudonym, read.quality) for read in reads]
    aside = [SetAside("p9", "no rest & <nothing>", "no rest & <nothing>")]
    write_quality_table(tmp_path, people)
    write_quality_page(tmp_path, people, aside, 2, 3, np.array([0.2, 0.5, 0.9]), np.array([0.5, np.nan]), config)
    page = (tmp_path / "quality.html").read_text()
    assert "6 of 7 people" in page
    assert "no rest &amp; &lt;nothing&gt;" in page
    assert page.count("data:image/png;base64") == 15
    assert "http:" not in page
    assert "https:" not in page
    table = pd.read_csv(tmp_path / "quality.tsv", sep="\t")
    assert len(table) == 12
    truth = pd.read_csv(small_cohort / "truth" / "subjects.tsv", sep="\t")
    stroop = table[table.task == "stroop"].reset_index()
    pressed_right = truth.stroop_accuracy_observed / (1 - stroop.omission_fraction)
    sure = stroop.accuracy.notna()
    np.testing.assert_allclose(stroop.accuracy[sure], pressed_right[sure], atol=1e-4)


def test_two_rest_runs_of_everybody_give_each_edge_a_reliability(small_cohort):
    config = IngestConfig()
    tasks = TaskSet(TASKS.specs)
    gathered = EdgeReliability()
    roots = (small_cohort / "derivatives" / "xcp_d",)
    for place, person in enumerate(index_people(small_cohort / "bids", roots, config, tasks)):
        gathered.add(
            read_person(
                PersonJob(person, f"p{place}", no_covariates()), regions_of(small_cohort), tasks, config
            ).rest_KE
        )
    found = gathered.figures()
    # 300 volumes with a lag-one correlation of 0.6 are worth 300 (1 - 0.36) / (1 + 0.36) independent ones.
    assert np.median(found["retest_sd_E"]) == pytest.approx(1 / np.sqrt(300 * 0.64 / 1.36), rel=0.25)


def test_reaction_times_far_from_the_others_leave_a_run_out_past_the_limit():
    run = run_with(100, 0, 0)
    rt_J = np.random.default_rng(0).normal(0.5, 0.05, 100)
    rt_J[:20], rt_J[20:40] = 0.1, 3.0
    run = dataclasses.replace(run, trials=dataclasses.replace(run.trials, rt_seconds_J=rt_J))
    quality = run_quality(run, load_task("hammer"))
    assert quality.rt_outlier_fraction == pytest.approx(0.4, abs=0.01)
    assert "max_rt_outlier_fraction 0.3" in str(why_left_out(quality, IngestConfig()))
    assert why_left_out(quality, IngestConfig(max_rt_outlier_fraction=0.5)) is None


@pytest.mark.parametrize("task", ["stroop", "rest"])
def test_a_series_of_which_censoring_left_too_little_is_not_used(copy, task):  # noqa: F811
    for path in func(copy, "0001").glob(f"*task-{task}*timeseries.tsv"):
        table = pd.read_csv(path, sep="\t")
        marks = np.arange(len(table)) % 3 > 0  # one volume of three is left
        outliers = path.with_name(path.name.split("_space")[0] + "_outliers.tsv")
        pd.DataFrame({"framewise_displacement": marks.astype(int)}).to_csv(outliers, sep="\t", index=False)
    strict, lax = IngestConfig(min_rest_seconds=10), IngestConfig(min_rest_seconds=10, min_volumes_fraction=0.3)
    refused, kept = (read_person(jobs_of(copy, each)[0], regions_of(copy), TASKS, each) for each in (strict, lax))
    stroop = kept.quality.runs[1]
    if task == "stroop":
        assert refused.record.runs[1].bold_VR is None
        assert refused.record.runs[1].trials.num_trials == kept.record.runs[1].trials.num_trials
        assert stroop.volumes_fraction == pytest.approx(1 / 3, abs=0.01)
        assert "ingest.min_volumes_fraction 0.5" in refused.left_out[0].reason
        assert refused.quality.runs[1].volumes_fraction == stroop.volumes_fraction
    else:
        assert "ingest.min_volumes_fraction 0.5" in refused.reason
        assert kept.record.covariates["rest_seconds"] == pytest.approx(160, abs=2)
        assert kept.quality.rest_volumes_fraction == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.slow
def test_those_set_aside_are_in_the_table_and_the_pictures_and_their_reasons_are_one(small_cohort, tmp_path):
    config = IngestConfig(max_motion_mm=0.01)
    reads = [read_person(job, regions_of(small_cohort), TASKS, config) for job in jobs_of(small_cohort, config)]
    assert len({read.reason for read in reads}) > 1
    aside = [SetAside(read.pseudonym, read.reason, read.kind) for read in reads]
    assert commonest(aside) == [("ingest.max_motion_mm", 6, reads[0].reason)]
    people = [(read.pseudonym, read.quality) for read in reads]
    write_quality_table(tmp_path, people)
    write_quality_page(tmp_path, people, aside, 0, 0, None, np.full(20, np.nan), config)
    page, table = (tmp_path / "quality.html").read_text(), pd.read_csv(tmp_path / "quality.tsv", sep="\t")
    assert "0 of 6 people" in page
    assert "6 in all. Grey: 6 not used. Dashed: 0.01." in page
    assert set(table.set_aside) == {"ingest.max_motion_mm"}
    assert table.motion.notna().all()
    assert len(table) == 12


def test_runs_that_the_rules_leave_out_keep_their_figures_and_a_person_without_runs_has_a_row(small_cohort, tmp_path):
    config = IngestConfig(max_omission_fraction=0.0)
    reads = [read_person(job, regions_of(small_cohort), TASKS, config) for job in jobs_of(small_cohort, config)]
    runs = [run for read in reads for run in read.quality.runs]
    assert [bool(run.left_out) for run in runs] == [run.omission_fraction > 0 for run in runs]
    assert any(run.left_out == "ingest.max_omission_fraction" for run in runs)
    bare = dataclasses.replace(reads[0].quality, runs=(), set_aside="no task run that can be used")
    write_quality_table(tmp_path, [("p0", bare)])
    (row,) = pd.read_csv(tmp_path / "quality.tsv", sep="\t").to_dict("records")
    assert (row["pseudonym"], np.isnan(row["accuracy"]), row["motion"] > 0) == ("p0", True, True)


def test_pictures_have_the_ground_of_the_page_and_an_ink_for_the_light_and_the_dark():
    picture = Image.open(
        io.BytesIO(base64.b64decode(_histogram(np.linspace(0, 1, 30), np.linspace(0, 1, 9), "share", "runs", 0.5)))
    )
    pixels = np.asarray(picture.convert("RGBA"))
    assert pixels[0, 0, 3] == 0
    drawn = pixels[pixels[..., 3] == 255][:, :3].astype(float) / 255
    linear = np.where(drawn <= 0.04045, drawn / 12.92, ((drawn + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    assert 1.05 / (linear.max() + 0.05) > 3, "against white"
    assert (linear.min() + 0.05) / (0.0055 + 0.05) > 3, "against the dark page's ground"


def go_nogo(hits: int, misses: int, false_alarms: int, rejections: int) -> Run:
    num = hits + misses + false_alarms + rejections
    trials = make_trials(np.random.default_rng(0), num, num_alternatives=1)
    press_J = np.repeat([True, False, True, False], [hits, misses, false_alarms, rejections])
    yes = np.ones(num, bool)
    trials = dataclasses.replace(
        trials, correct_JA=(np.arange(num) < hits + misses)[:, None], response_JA=press_J[:, None],
        rt_seconds_J=np.where(press_J, 0.5, np.nan), usable_J=yes, scored_J=yes,
    )  # fmt: skip
    return Run("gradcpt", "gradcpt", None, None, trials, 100.0, None, None)


ONE_ALTERNATIVE = task_from_mapping(
    {
        "name": "gradcpt", "domain": "cognitive", "matches": ["gradcpt"], "alternatives": ["press"],
        "trials": {
            "window": {"seconds": 2}, "reaction_time": {"column": "rt"},
            "response": {"from_codes": {"column": "key", "codes": {"1": "press"}}},
        },
        "stimuli": [{"channels": ["seen"], "constant": 1, "duration": {"seconds": 1}}],
    },
    "here",
)  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "flag"),
    [
        ((88, 2, 3, 7), ""),
        ((90, 0, 10, 0), "at chance"),
        ((81, 9, 9, 1), "at chance"),
        ((40, 50, 10, 0), "below chance"),
    ],
)
def test_with_one_alternative_guessing_is_to_press_as_often_without_looking(counts, flag):
    hits, misses, false_alarms, rejections = counts
    quality = run_quality(go_nogo(*counts), ONE_ALTERNATIVE)
    press = (hits + false_alarms) / 100
    assert quality.accuracy == pytest.approx((hits + rejections) / 100)
    assert quality.chance == pytest.approx(press * 0.9 + (1 - press) * 0.1)
    assert quality.omission_fraction == pytest.approx(misses / 90)
    assert quality.commission_fraction == pytest.approx(false_alarms / 10)
    wanted = norm.ppf((hits + 0.5) / 91) - norm.ppf((false_alarms + 0.5) / 11)
    assert quality.d_prime == pytest.approx(wanted)
    assert quality.flag == flag


def test_a_press_is_not_judged_where_it_cannot_be_wrong():
    quality = run_quality(go_nogo(95, 5, 0, 0), ONE_ALTERNATIVE)
    assert np.isnan([quality.accuracy, quality.chance, quality.commission_fraction, quality.d_prime]).all()
    assert quality.flag == ""


def slowed(cohort, label: str, seconds: float):
    """Make somebody slower in the faces task, whose window is 2 s."""
    (path,) = (cohort / "bids" / f"sub-{label}" / "func").glob("*hammer*_events.tsv")
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    pressed = table.response_time != "n/a"
    slower = table.response_time[pressed].astype(float) + seconds
    table.loc[pressed, "response_time"] = slower.map("{:.4f}".format)
    table.to_csv(path, sep="\t", index=False)
    return int((slower > 2.0).sum()), int(pressed.sum())


@pytest.mark.cluster
def test_a_slow_persons_lost_presses_are_counted_by_reason_and_stop_the_ingest(copy, tmp_path, capsys):  # noqa: F811
    num_late, num_presses = slowed(copy, "0002", 1.0)
    assert num_late > 0.1 * num_presses
    with pytest.raises(
        InputDataError, match=r"1 people lost more than ingest.max_late_fraction 0.1(.|\n)*trials.window"
    ):
        ingest(ONE_CPU, *paths(copy), tmp_path / "out", resume=False)
    allowed = dataclasses.replace(ONE_CPU, ingest=IngestConfig(max_late_fraction=1.0))
    ingest(allowed, *paths(copy), tmp_path / "shards", resume=False)
    lost = pd.read_csv(tmp_path / "shards" / "lost_trials.tsv", sep="\t")
    (row,) = lost[lost.reason == "press after the response window"].to_dict("records")
    labels = pd.read_csv(tmp_path / "shards.identities.tsv", sep="\t", dtype=str, comment="#")
    assert row["pseudonym"] in labels.to_numpy().tolist()[1]
    assert (row["task"], row["lost"]) == ("hammer", num_late)
    quality = pd.read_csv(tmp_path / "shards" / "quality.tsv", sep="\t")
    mine = quality[(quality.pseudonym == row["pseudonym"]) & (quality.task == "hammer")]
    assert mine.late_fraction.item() == pytest.approx(num_late / num_presses, abs=1e-4)
    assert "press after the response window" in (tmp_path / "shards" / "quality.html").read_text()
    said = " ".join(capsys.readouterr().err.split())
    assert (
        f"hammer: {num_late} trial(s) of one person, {num_late} of {row['pseudonym']}: press after the response window"
        in said
    )


def test_values_that_are_equal_but_for_rounding_make_one_bar_in_the_middle():
    one_run, three_runs = 180 * 1.1 / 60, 3 * (60 * 1.1) / 60
    assert one_run != three_runs
    values = np.array([one_run, three_runs])
    assert _range(values) == pytest.approx((1.65, 4.95))
    assert _range(np.array([0.0, 0.0])) == (-0.5, 0.5)
    assert _range(np.array([1.0, 1.1])) == (1.0, 1.1)
    counts, _ = np.histogram(values, bins=24, range=_range(values))
    assert counts.max() == 2
    assert _histogram(values, np.zeros(0), "minutes", "people", 4.0)


def test_page_and_report_have_commissions_and_d_prime(tmp_path):
    runs = tuple(
        run_quality(go_nogo(*counts), ONE_ALTERNATIVE, lost={LATE: 4}) for counts in ((88, 2, 3, 7), (90, 0, 10, 0))
    )
    people = [("p1", PersonQuality(0.1, 600.0, 1.0, 1.0, runs))]
    write_quality_table(tmp_path, people)
    write_quality_page(tmp_path, people, [], 0, 8, None, np.array([1.0]), IngestConfig())
    page = (tmp_path / "quality.html").read_text()
    assert "Presses where none was right, gradcpt:" in page
    assert "d&#39; of pressing, gradcpt:" in page
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    place = cells.index(LATE)
    assert cells[place : place + 4] == ["press after the response window", "8", "1", "8 of p1"]
    assert "lost more than 5%" not in page  # 8 of 208
    table = pd.read_csv(tmp_path / "quality.tsv", sep="\t")
    np.testing.assert_allclose(table.commission_fraction, [0.3, 1.0])
    np.testing.assert_allclose(table.d_prime, [run.d_prime for run in runs], rtol=1e-4)
    np.testing.assert_allclose(table.late_fraction, [4 / 95, 4 / 104], rtol=1e-4)
    shown = {row[1]: row for row in _quality_tables(table)[0].rows if row[0] == "gradcpt"}
    assert shown["share of presses where none was right"][3] == "0.3 to 1"
    assert shown["d' of pressing"][4] == "2"


def test_the_page_is_green_only_if_nobody_lost_many_trials(tmp_path):
    def page_of(num_lost: int) -> str:
        run = dataclasses.replace(
            run_quality(go_nogo(88, 2, 3, 7), ONE_ALTERNATIVE, lost={LATE: num_lost, "row": 1}), flag=""
        )
        people = [(f"p{place}", PersonQuality(0.1, 600.0, 1.0, 1.0, (run,))) for place in (1, 2)]
        write_quality_page(tmp_path, people, [], 0, 0, None, np.array([1.0]), IngestConfig())
        return (tmp_path / "quality.html").read_text()

    assert 'class="badge personal"' in page_of(4)  # 5 of 105
    lost = page_of(5)  # 6 of 106
    assert 'class="badge few"' in lost
    assert "2 people lost more than 5% of a task's trials." in " ".join(lost.split())
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", lost)
    assert cells[:6] == ["p1", "gradcpt", "6", "106", "5.7%", LATE]
