"""A split divides people without overlap, by sites, and the same way each time."""

from __future__ import annotations

import dataclasses
import json

import pytest

from dtb.config import SplitConfig
from dtb.errors import ConfigurationError, DamagedOutputError
from dtb.shards.divide import make_split
from dtb.shards.read import open_cohort
from dtb.shards.split import Split, held_out_runs
from dtb.shards.write import ShardWriter
from tests.shards.people import DESCRIPTION, make_person, write_people


def part_span(split, part, seconds):
    """Return a part of a person's only run, in seconds."""
    (span,) = split.spans(part, make_person(0, num_runs=1).runs)
    return span.of(seconds)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    write_people(folder, 23, num_runs=0)
    return open_cohort(folder)


def test_folds_hold_everybody_out_once(cohort):
    splits = [make_split(cohort, SplitConfig(num_folds=5, fold=fold), seed=0) for fold in range(5)]
    assert sorted(who for split in splits for who in split.test) == sorted(cohort.pseudonyms)
    for split in splits:
        assert split.people("all") == tuple(sorted(split.train + split.validation + split.test))
        assert len(set(split.train) | set(split.validation) | set(split.test)) == 23


def test_each_fold_has_its_share_of_each_site(cohort):
    for fold in range(4):
        test = make_split(cohort, SplitConfig(num_folds=4, fold=fold), seed=0).test
        first = sum(cohort.header(who)["covariates"]["site"] == "s0" for who in test)
        assert abs(first - len(test) / 2) <= 1


def test_each_fold_has_its_share_of_each_decade_of_age_within_a_site(cohort):
    covariates = {who: cohort.header(who)["covariates"] for who in cohort.pseudonyms}
    for fold in range(2):
        test = set(make_split(cohort, SplitConfig(num_folds=2, fold=fold), seed=0).test)
        for site in ("s0", "s1"):
            twenties = [who for who in covariates if covariates[who]["site"] == site and covariates[who]["age"] < 30]
            assert abs(len(test & set(twenties)) - len(twenties) / 2) <= 1


def test_a_site_is_held_out_whole(cohort):
    for fold, site in enumerate(("s0", "s1")):
        split = make_split(cohort, SplitConfig(kind="sites", fold=fold), seed=0)
        assert {cohort.header(who)["covariates"]["site"] for who in split.test} == {site}
        assert {cohort.header(who)["covariates"]["site"] for who in split.train + split.validation} == {"s1", "s0"} - {
            site
        }
        assert part_span(split, "test", 400.0) == (0.0, 400.0)
    with pytest.raises(ConfigurationError, match=r"split\.fold is 2; with split\.kind: sites it may be 0 to 1: s0, s1"):
        make_split(cohort, SplitConfig(kind="sites", fold=2), seed=0)


def test_a_site_is_held_out_by_its_name_whatever_the_fold(cohort):
    split = make_split(cohort, SplitConfig(kind="sites", held_out="s1"), seed=0)
    assert split == make_split(cohort, SplitConfig(kind="sites", fold=1), seed=0)
    with pytest.raises(ConfigurationError, match=r"held_out is 'foo'.*sites are s0, s1"):
        make_split(cohort, SplitConfig(kind="sites", held_out="foo"), seed=0)


@pytest.mark.parametrize("kind", ["subjects", "temporal"])
def test_a_name_is_refused_where_nothing_is_held_out_by_name(kind, cohort):
    with pytest.raises(ConfigurationError, match=f"held_out is 's1', but split.kind: {kind} holds nothing out by name"):
        make_split(cohort, SplitConfig(kind=kind, held_out="s1"), seed=0)


def test_people_without_a_site_are_no_site_and_are_left_out(tmp_path, capsys):
    writer = ShardWriter(tmp_path, 4)
    for number in range(12):
        person = make_person(number, num_runs=0)
        writer.add(
            dataclasses.replace(person, covariates={**person.covariates, "site": ("s0", "s1", None)[number % 3]})
        )
    writer.finish(DESCRIPTION)
    cohort = open_cohort(tmp_path)
    split = make_split(cohort, SplitConfig(kind="sites", fold=0), seed=0)
    assert split.held_out == "s0"
    assert {cohort.header(who)["covariates"]["site"] for who in split.people("all")} == {"s0", "s1"}
    assert len(split.people("all")) == 8
    assert "4 of 12 people have no site and are left out" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(ConfigurationError, match="it may be 0 to 1: s0, s1"):
        make_split(cohort, SplitConfig(kind="sites", fold=2), seed=0)


def test_one_site_cannot_be_held_out(tmp_path):
    writer = ShardWriter(tmp_path, 4)
    for number in range(4):
        person = make_person(number, num_runs=0)
        writer.add(dataclasses.replace(person, covariates={**person.covariates, "site": "s0"}))
    writer.finish(DESCRIPTION)
    with pytest.raises(ConfigurationError, match="has only s0"):
        make_split(open_cohort(tmp_path), SplitConfig(kind="sites"), seed=0)


def test_split_depends_on_the_seed_and_is_the_same_for_the_same(cohort):
    make = lambda seed: make_split(cohort, SplitConfig(), seed).split_hash
    assert make(1) == make(1) != make(2)


def test_temporal_split_divides_each_run(cohort):
    split = make_split(
        cohort, SplitConfig(kind="temporal", train_seconds_fraction=0.5, validation_fraction=0.2), seed=0
    )
    spans = [part_span(split, part, 400.0) for part in ("train", "validation", "test")]
    assert spans == [(0.0, 160.0), (160.0, 200.0), (200.0, 400.0)]
    assert part_span(split, "all", 400.0) == (0.0, 400.0)
    assert len(split.train) == len(split.test) == 23


def test_temporal_split_in_seconds_is_the_papers(cohort):
    config = SplitConfig(kind="temporal", train_seconds=200.0, validation_fraction=0.25)
    split = make_split(cohort, config, seed=0)
    parts = ("train", "validation", "test")
    assert [part_span(split, part, 408.0) for part in parts] == [(0.0, 150.0), (150.0, 200.0), (200.0, 400.0)]
    assert [part_span(split, part, 180.0) for part in parts] == [(0.0, 150.0), (150.0, 180.0), (180.0, 180.0)]
    assert part_span(split, "all", 408.0) == (0.0, 408.0)


def write_tasks(folder, without=()):
    """Write 12 people with runs AP and PA of a task t, and one of u; the last four without some."""
    writer = ShardWriter(folder, 6)
    for number in range(12):
        first, second = make_person(number).runs
        runs = [
            dataclasses.replace(first, label="tAP"),
            dataclasses.replace(second, label="tPA"),
            dataclasses.replace(first, task="u", label="u"),
        ]
        kept = tuple(run for run in runs if number < 8 or run.label not in without)
        writer.add(dataclasses.replace(make_person(number), runs=kept))
    writer.finish(DESCRIPTION)
    return open_cohort(folder)


@pytest.mark.parametrize("held_out", ["tPA", ""])
def test_a_run_is_held_out_of_people_who_have_another_of_its_task(held_out, tmp_path):
    cohort = write_tasks(tmp_path, without=("tPA",))
    split = make_split(cohort, SplitConfig(kind="runs", held_out=held_out, validation_fraction=0.25), seed=0)
    everybody = tuple(sorted(cohort.pseudonyms))
    assert (split.train, split.validation, split.test) == (everybody, everybody, everybody[:8])
    runs = cohort.record(everybody[0]).runs
    spans = {part: [span.of(100.0) for span in split.spans(part, runs)] for part in ("train", "validation", "test")}
    assert spans == {
        "train": [(0.0, 75.0), (0.0, 0.0), (0.0, 75.0)],
        "validation": [(75.0, 100.0), (0.0, 0.0), (75.0, 100.0)],
        "test": [(0.0, 0.0), (0.0, 100.0), (0.0, 0.0)],
    }
    assert split.tests_seen_people
    alone = cohort.record(everybody[-1]).runs
    assert [span.of(1.0) for span in split.spans("test", alone)] == [(0.0, 0.0)] * 2


def test_people_with_only_the_held_out_run_are_in_no_part(tmp_path):
    cohort = write_tasks(tmp_path, without=("tAP", "u"))
    split = make_split(cohort, SplitConfig(kind="runs", held_out="tPA"), seed=0)
    assert len(split.people("all")) == 8
    with pytest.raises(ConfigurationError, match=r"held_out is 'u', and nobody has.*labels tAP, tPA, u"):
        make_split(cohort, SplitConfig(kind="runs", held_out="u"), seed=0)


def test_a_task_is_held_out_of_everybody_and_tests_unseen_people(tmp_path):
    cohort = write_tasks(tmp_path, without=("u",))
    split = make_split(cohort, SplitConfig(kind="tasks", held_out="u", num_folds=3), seed=0)
    assert not set(split.test) & {*split.train, *split.validation}
    assert not split.tests_seen_people
    for who in split.people("all"):
        runs = cohort.record(who).runs
        assert who not in split.test or len(runs) == 3
        for part, wanted in (("train", "t"), ("validation", "t"), ("test", "u")):
            spans = split.spans(part, runs)
            assert [span.of(10.0)[1] > 0 for span in spans] == [run.task == wanted for run in runs]
    with pytest.raises(ConfigurationError, match=r"held_out is ''.*tasks are t, u"):
        make_split(cohort, SplitConfig(kind="tasks"), seed=0)


def test_what_is_held_out_by_name_is_saved_and_hashed(tmp_path):
    splits = [Split("tasks", ("a",), ("b",), ("c",), held_out=task) for task in ("t", "u")]
    assert splits[0].split_hash != splits[1].split_hash
    splits[0].save(tmp_path / "split.json", "0" * 64)
    assert Split.load(tmp_path / "split.json") == splits[0]
    assert held_out_runs(splits[0], [("t", "tAP"), ("u", "u")]) == [True, False]


def test_too_few_people_are_said_so(tmp_path):
    write_people(tmp_path, 4, num_runs=0)
    with pytest.raises(ConfigurationError, match=r"split\.num_folds is 5, but the cohort has 4 people"):
        make_split(open_cohort(tmp_path), SplitConfig(), seed=0)


def test_fold_that_is_not_there_is_refused(cohort):
    with pytest.raises(ConfigurationError, match=r"split\.fold is 5.*0 to 4"):
        make_split(cohort, SplitConfig(fold=5), seed=0)


def test_altered_split_is_refused(cohort, tmp_path):
    split = make_split(cohort, SplitConfig(), seed=0)
    path = tmp_path / "split.json"
    split.save(path, cohort.manifest.cohort_hash)
    assert Split.load(path) == split
    found = json.loads(path.read_text())
    found["train"].append(found["test"].pop())
    path.write_text(json.dumps(found))
    with pytest.raises(DamagedOutputError, match="altered"):
        Split.load(path)


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """Thirty people in families of one to three, at two sites that divide some of them."""
    folder = tmp_path_factory.mktemp("families")
    writer, number = ShardWriter(folder, 8), 0
    for family in range(15):
        for member in range(1 + family % 3):
            person = make_person(number, num_runs=1)
            site = f"s{(family // 3 + (family == 5 and member == 2)) % 2}"
            facts = {**person.covariates, "site": site, "family": None if family % 3 == 0 else f"f{family}"}
            writer.add(dataclasses.replace(person, covariates=facts))
            number += 1
    writer.finish(DESCRIPTION)
    return open_cohort(folder)


@pytest.mark.parametrize("config", [SplitConfig(num_folds=3), SplitConfig(num_folds=5), SplitConfig(kind="sites")])
def test_relatives_are_never_divided(families, config):
    family_of = {who: families.header(who)["covariates"]["family"] or who for who in families.pseudonyms}
    assert len(set(family_of.values())) == 15
    tested = []
    for fold in range(2 if config.kind == "sites" else config.num_folds):
        split = make_split(families, dataclasses.replace(config, fold=fold), seed=0)
        parts = [{family_of[who] for who in part} for part in (split.train, split.validation, split.test)]
        assert all(parts)
        assert len(set.union(*parts)) == sum(map(len, parts))
        tested += split.test
        if config.kind == "subjects":
            assert abs(len(split.test) - 30 / config.num_folds) <= 3
    assert sorted(tested) == sorted(families.pseudonyms)
