"""Kinds from a file of their own (`tests/toy_kinds.py`) go through configuration, runs, report and documentation; unknown ones are refused."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dtb import kinds
from dtb.cli.entry import exit_code
from dtb.cohort.bids.index import index_people
from dtb.cohort.bids.participants import read_covariates
from dtb.cohort.ingest import ingest
from dtb.cohort.layouts.table import LAYOUTS
from dtb.cohort.series.read import read_region_names, read_series
from dtb.config import (
    ClusterConfig,
    Config,
    EvaluateConfig,
    IngestConfig,
    InterveneConfig,
    ReportConfig,
    SynthConfig,
    from_mapping,
)
from dtb.errors import ConfigurationError
from dtb.evaluate.predictors import retrained
from dtb.evaluate.predictors.retrained_kinds import RETRAINED
from dtb.evaluate.predictors.table import PREDICTORS
from dtb.evaluate.scores.covariates import known_covariates
from dtb.evaluate.stage import evaluate
from dtb.fleet.named_target import make_search_target
from dtb.fleet.search_worker import SearchWorker
from dtb.fleet.survey_worker import SurveyWorker
from dtb.fleet.trial_worker import TrialWorker
from dtb.fleet.twins import TwinRunner, open_shared_twin
from dtb.groundtruth.synthesise import synthesise
from dtb.init.configuration import Answers, values_of, what_is_missing
from dtb.init.survey import look_at
from dtb.intervene.arms import ARMS
from dtb.intervene.kinds import INDICATORS
from dtb.intervene.protocol import Protocol
from dtb.people.connectome_kinds import CONNECTOMES, is_correlation, kind_in_words
from dtb.people.covariates import COVARIATES
from dtb.people.records import edges_from_matrix
from dtb.report.interventions import _effects_panel, indicator_name
from dtb.report.sections import connectome_words
from dtb.report.stage import report
from dtb.shards.manifest import Manifest
from dtb.shards.read import open_cohort
from dtb.tasks.spec import load_task
from dtb.tasks.taskset import TaskSet
from scripts import docs_reference
from tests.evaluate.people import STROOP, make_people
from tests.evaluate.test_stage import SMALL, by_people, lay_out
from tests.fleet.test_intervene import KEYS, SETTINGS, SHOWN
from tests.fleet.world import make_world
from tests.report.runs import make_run

TABLES = {
    "ingest.connectome": CONNECTOMES,
    "ingest.layout": LAYOUTS,
    "intervene.indicator": INDICATORS,
    "evaluate.retrained": RETRAINED,
}


@pytest.fixture
def toys(monkeypatch):
    """The toy kinds, for one test; other processes find them by `DTB_KINDS`."""
    from tests import toy_kinds

    monkeypatch.setenv(kinds.VARIABLE, toy_kinds.NAME)
    for table, kind in toy_kinds.TOYS:
        table.add(kind)
    yield toy_kinds
    for table, kind in toy_kinds.TOYS:
        table.remove(kind.name)


def config_of(option: str, name: str) -> Config:
    section, key = option.split(".")
    return from_mapping(Config, {section: {key: [name] if key == "retrained" else name}}, "here.yaml")


@pytest.mark.parametrize("option", TABLES)
def test_an_option_takes_every_kind_of_its_table_and_refuses_others_with_the_nearest(option):
    for name in TABLES[option].names:
        config_of(option, name)
    known = TABLES[option].names
    with pytest.raises(
        ConfigurationError, match=f"here.yaml: `{option}.*did you mean `{known[0]}`.*{', '.join(known)}"
    ):
        config_of(option, known[0] + "x")
    with pytest.raises(ConfigurationError, match=f"There is no {TABLES[option].what} 'quite other'; known are: "):
        TABLES[option]["quite other"]


@pytest.mark.parametrize("table", [*TABLES.values(), PREDICTORS, COVARIATES, ARMS])
def test_a_name_is_taken_once(table):
    first = next(iter(table))
    assert table.add(first) is first
    with pytest.raises(ValueError, match=f"{first.name!r} already"):
        table.add(dataclasses.replace(first, words="something else"))


def test_configuration_command_line_and_documentation_list_what_another_file_added(toys, capsys):
    names = {
        "ingest.connectome": toys.SPEARMAN,
        "ingest.layout": toys.DOUBLED,
        "intervene.indicator": toys.PRESS_SHARE,
        "evaluate.retrained": toys.COPYING,
    }
    page, options = docs_reference.kinds_page(), docs_reference.configuration_page()
    for option, kind in names.items():
        assert kind.name in str(config_of(option, kind.name))
        stage, key = option.split(".")
        with contextlib.suppress(SystemExit):
            exit_code([stage, "--help-all"])
        # Long lists of choices stand in the sentence, in place of braces.
        assert re.search(f",{kind.name}[}}.]", "".join(capsys.readouterr().out.split()))
        row = next(
            line for line in options.splitlines() if line.startswith(f"| `{key}` |") and f"`{kind.name}`" in line
        )
        assert f"`{kind.name}`" in row
    for _, kind in toys.TOYS:
        assert f"| `{kind.name}` | {kind.words} |" in page, kind.name


def test_modules_that_cannot_be_imported_are_named(monkeypatch):
    monkeypatch.setenv(kinds.VARIABLE, "no_such_module_of_kinds")
    with pytest.raises(ConfigurationError, match="DTB_KINDS names the module 'no_such_module_of_kinds'"):
        INDICATORS["mean_rt"]


def test_an_indicator_of_another_file_is_searched_for_and_reported(toys, tmp_path):
    shared_twin = open_shared_twin(*make_world(tmp_path))
    settings = dataclasses.replace(
        SETTINGS, indicator="press_share", direction="increase", against="decrease press_share in hammer", num_steps=3
    )
    target = make_search_target(settings, shared_twin)
    assert target.name_of(target.second) == "press_share in hammer"
    surveyed = SurveyWorker([shared_twin], target, seed=0, sample=frozenset(KEYS[:4])).work(KEYS)
    people = surveyed.tables["people"].to_pandas().set_index("pseudonym")
    records, _ = TwinRunner(shared_twin, 0).lay_out(KEYS)
    for record in records:
        trials = next(run.trials for run in record.runs if run.task == "stroop")
        share = trials.response_JA.any(axis=1)[trials.usable_J].mean()
        assert people.loc[record.pseudonym, "observed"] == pytest.approx(share)
    survey = dataclasses.replace(target.survey([surveyed.tables["people"]], ()), support=SHOWN, second_support=SHOWN)
    results = SearchWorker([shared_twin], target, seed=0, survey=survey).work(KEYS).tables["results"].to_pandas()
    aimed = results[results["is_target"]]
    assert (aimed["after"] > aimed["before"]).all()
    assert aimed["before"].between(0, 1).all()
    assert (results["indicator"] == "press_share").sum() == 2 * len(aimed)  # watched in both tasks
    assert indicator_name(aimed.iloc[0]) == "share of trials with a press in stroop"


def test_an_arm_of_another_file_is_gone_by_searches_and_trials_and_reported(toys, tmp_path):
    shared_twin = open_shared_twin(*make_world(tmp_path))
    settings = dataclasses.replace(SETTINGS, num_steps=2)
    target = make_search_target(settings, shared_twin)
    surveyed = SurveyWorker([shared_twin], target, seed=0, sample=frozenset(KEYS[:4])).work(KEYS)
    survey = dataclasses.replace(target.survey([surveyed.tables["people"]], ()), support=SHOWN)
    results = SearchWorker([shared_twin], target, seed=0, survey=survey).work(KEYS).tables["results"].to_pandas()
    aimed = results[results["is_target"]].reset_index(drop=True)
    there, back = ((aimed[f"{name}_after"] - aimed["before"]).mean() for name in ("population", "backwards"))
    assert there * back < 0
    np.testing.assert_allclose(aimed["backwards_norm"], aimed["change_norm"], rtol=1e-6)
    panel = _effects_panel(aimed.assign(paper_after=np.nan), "mean RT", "s", "blue")
    assert toys.BACKWARDS.words in panel.svg
    protocol = Protocol(title="toy", arms=("backwards", "sham"), primary="backwards", comparator="sham")
    assert {
        *TrialWorker([shared_twin], target, 0, survey, protocol).work(KEYS).tables["outcomes"].to_pandas()["arm"]
    } == {
        "backwards",
        "sham",
    }
    with pytest.raises(ConfigurationError, match=r"not a known arm; did you mean `backwards`"):
        from_mapping(Protocol, {"title": "t", "arms": ["backward", "sham"]}, "here.yaml")


def test_a_second_aim_of_no_known_indicator_is_refused_with_the_known_ones(tmp_path):
    shared_twin = open_shared_twin(*make_world(tmp_path, num_people=2))
    settings = InterveneConfig(against="increase mean_tr in stroop")
    with pytest.raises(ConfigurationError, match="intervene.against .*did you mean `mean_rt`.*bold_t"):
        make_search_target(settings, shared_twin)


@pytest.mark.cluster
@pytest.mark.own_ray
def test_a_connectome_kind_and_a_layout_of_another_file_go_through_ingestion_and_are_described(toys, tmp_path):
    synth = SynthConfig(
        num_subjects=4, num_regions=10, rest_seconds=130, num_rest_runs=1, num_causal_edges=4, tasks=("hammer",)
    )
    synthesise(Config(synth=synth), tmp_path / "cohort", resume=False)
    kinds_of_toys = {"connectome": toys.SPEARMAN.name, "layout": toys.DOUBLED.name}
    config = Config(ingest=IngestConfig(tasks=("hammer",), **kinds_of_toys), cluster=ClusterConfig(num_cpus=1))
    derivatives = tmp_path / "cohort" / "derivatives" / "xcp_d"
    ingest(config, tmp_path / "cohort" / "bids", (derivatives,), tmp_path / "out", resume=False)
    expected = []
    for path in derivatives.glob("sub-*/func/*task-rest*timeseries.tsv"):
        ranks_RR = stats.spearmanr(pd.read_csv(path, sep="\t").to_numpy()).statistic
        expected.append(np.arctanh(edges_from_matrix(ranks_RR)))
    records = list(open_cohort(tmp_path / "out").records())
    found = [record.connectome_E for record in records]
    assert len(found) == 4
    tables = [
        pd.read_csv(path, sep="\t").to_numpy() for path in derivatives.glob("sub-*/func/*task-hammer*timeseries.tsv")
    ]
    spreads = ([2 * table.std() for table in tables], [run.bold_VR.std() for record in records for run in record.runs])
    # What ingestion takes out of a series is far less than half of it.
    np.testing.assert_allclose(*map(sorted, spreads), rtol=0.2)
    np.testing.assert_allclose(sorted(map(tuple, found)), sorted(map(tuple, expected)), atol=1e-5)
    manifest = Manifest.load(tmp_path / "out")
    assert is_correlation(manifest.description.connectome)
    assert toys.SPEARMAN.words in connectome_words(manifest)


def test_series_of_a_layout_of_another_file_are_found_and_read(toys, tmp_path):
    synth = SynthConfig(num_subjects=2, num_regions=10, rest_seconds=130, num_causal_edges=4, tasks=("hammer",))
    synthesise(Config(synth=synth), tmp_path / "cohort", resume=False)
    bids, roots, tasks = (
        tmp_path / "cohort" / "bids",
        (tmp_path / "cohort" / "derivatives" / "xcp_d",),
        TaskSet((load_task("hammer"),)),
    )
    config = IngestConfig(layout="doubled")
    file = index_people(bids, roots, config, tasks)[0].rest[0]
    regions = read_region_names(file, roots, config)
    once, doubled = (read_series(file, regions, each, roots).values_VR for each in (IngestConfig(), config))
    np.testing.assert_array_equal(doubled, 2 * once)


def test_a_layout_of_another_file_is_found_by_init_with_what_it_needs(toys, tmp_path):
    bids, derivative = tmp_path / "bids", tmp_path / "lists"
    (bids / "sub-01" / "func").mkdir(parents=True)
    (bids / "sub-01" / "func" / "sub-01_task-hammer_events.tsv").write_text("onset\tduration\n1\t1\n")
    (derivative / "sub-01" / "func").mkdir(parents=True)
    (derivative / "sub-01" / "func" / "sub-01_task-rest_atlas-small_timeseries.csv").write_text("1,2\n")
    survey = look_at(bids, [derivative])
    assert (survey.layout, survey.derivatives) == (toys.LISTS.name, (derivative,))
    assert values_of(survey, Answers("study", ("hammer",), "rest", "later"))["ingest"]["layout"] == toys.LISTS.name
    assert [text for text in what_is_missing(survey) if text.startswith("Names of regions")] == [
        "Names of regions: series of the layout lists have none. Give a table of them as `region_labels` in the section `ingest`."
    ]
    (derivative / "atlas_dseg.tsv").write_text("index\tname\n1\ta\n2\tb\n")
    assert what_is_missing(look_at(bids, [derivative])) == []


def test_a_connectome_of_an_unknown_kind_is_no_other_kind():
    made = {"kind": "spearman", "scale": "fisher_z"}
    with pytest.raises(ConfigurationError, match="no connectome kind 'spearman'; .*nown are: pearson, ledoit_wolf"):
        is_correlation(made)
    assert kind_in_words(made) == "spearman, a kind that this installation does not know"


def test_a_report_says_indicator_connectome_kind_layout_and_baseline_of_another_file_in_words(toys, tmp_path):
    run = make_run(tmp_path / "run", 8).path
    for name, old, new in (
        ("shards/manifest.json", '"pearson"', f'"{toys.SPEARMAN.name}"'),
        ("shards/config.yaml", "layout: xcpd", f"layout: {toys.DOUBLED.name}"),
        ("evaluate/figures.json", '"group_mean"', f'"{toys.COIN.name}"'),
    ):
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))
    (part,) = (run / "intervene" / "results").iterdir()
    pd.read_parquet(part).assign(indicator=toys.PRESS_SHARE.name, unit=toys.PRESS_SHARE.unit).to_parquet(part)
    report(Config(report=ReportConfig(person_pages=0)), run, tmp_path / "page", resume=False)
    page = html.unescape((tmp_path / "page" / "index.html").read_text())
    for kind in (toys.PRESS_SHARE, toys.SPEARMAN, toys.DOUBLED, toys.COIN):
        assert kind.words in page, kind.name


def test_baselines_of_another_file_stand_beside_the_twin_in_figures_and_certificate(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(retrained, "_cluster", lambda config: contextlib.nullcontext())
    records = make_people(20)
    shards, trained = lay_out(tmp_path, by_people(records, 10), records)
    (trained / "config.yaml").write_text("name: toy\n")
    toys.COPIED.append(trained / "twin")
    config = dataclasses.replace(SMALL, evaluate=EvaluateConfig(num_bootstrap=100, retrained=("copy",)))
    evaluate(config, shards, trained, tmp_path / "out", resume=False)
    rows = {row["metric"]: row for row in json.loads((tmp_path / "out" / "figures.json").read_text())["rows"]}
    loss = rows["choice log-loss"]
    outcomes = len(STROOP.specs[0].alternatives) + 1
    pressed = [np.maximum(record.runs[0].trials.response_JA.sum(axis=1), 1) for record in records[12:]]
    assert loss["baselines"]["coin"] == pytest.approx(np.mean([np.log(outcomes / each).mean() for each in pressed]))
    assert loss["baselines"]["copied_network"] == pytest.approx(loss["twin"])
    page = (tmp_path / "out" / "certificate.html").read_text()
    assert "copied network" in page
    assert "a code number" not in page  # says nothing of unseen people
    assert (
        "one network for all people with the connectome as a further input (dtb evaluate --retrained additive)" in page
    )
    assert "--retrained copy" not in page


def test_a_covariate_of_another_file_is_read_and_taken_out(toys, tmp_path):
    header, rows = "participant_id\tage\tHand", [f"sub-0{place}\t30\t{'LR'[place % 2]}" for place in range(4)]
    (tmp_path / "participants.tsv").write_text("\n".join([header, *rows]) + "\n")
    facts = list(read_covariates(tmp_path, [f"0{place}" for place in range(4)]).values())
    assert [each["handedness"] for each in facts] == ["L", "R", "L", "R"]
    assert known_covariates(facts, facts).in_words == "age and handedness"


def test_a_covariate_says_its_spellings_its_unit_and_the_columns_that_may_hold_it(toys, tmp_path, capsys):
    table, sidecar = tmp_path / "participants.tsv", tmp_path / "participants.json"
    table.write_text("participant_id\thand\tschooling\n01\tL\t120\n02\tlinks\t144\n03\tR\t96\n")
    sidecar.write_text('{"schooling": {"Units": "months"}}')
    facts = read_covariates(tmp_path, ["01", "02", "03"])
    assert [each["schooling"] for each in facts.values()] == [10, 12, 8]
    assert facts["01"]["handedness"] == facts["02"]["handedness"] != facts["03"]["handedness"]
    table.write_text("participant_id\tHändigkeit\n01\tL\n")
    read_covariates(tmp_path, ["01"])
    assert "nobody's handedness is known. If Händigkeit holds it, call the column handedness." in " ".join(
        capsys.readouterr().err.split()
    )
