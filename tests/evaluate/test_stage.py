"""The stage as a whole, on a cohort in shards and an exported twin: what it writes, what it refuses, and what it cannot see."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from rich.progress import Progress

from dtb.config import Config, EvaluateConfig, SegmentConfig, TwinConfig, sections
from dtb.errors import DamagedOutputError, InputDataError, OutputInUseError
from dtb.evaluate.gathering import gather
from dtb.evaluate.inputs import open_inputs
from dtb.evaluate.predictors.fitting import regressions
from dtb.evaluate.predictors.predictions import TrialPrediction, summary_of_people
from dtb.evaluate.predictors.twin import NOISE_DRAWS, _fill_bold, _Filled, predict, predict_from_strangers, within_task
from dtb.evaluate.scores.figure import TWIN
from dtb.evaluate.scores.observed import collect
from dtb.evaluate.scores.strangers import block_of_people, deals
from dtb.evaluate.stage import evaluate
from dtb.shards.batches import BatchMaker, person_seed
from dtb.shards.manifest import CohortDescription
from dtb.shards.split import Span, Split
from dtb.shards.write import ShardWriter
from dtb.stages import OutputFolder, require_complete
from dtb.twin.export import TwinCard, read_twin, save_twin
from dtb.twin.model import Twin
from dtb.twin.readouts.press import PressDistribution, windows
from dtb.twin.sizes import TwinSizes
from tests.evaluate.people import NUM_REGIONS, STROOP, make_people, with_other_answers

NAMES = tuple(f"region{number}" for number in range(NUM_REGIONS))
TWIN_CONFIG = TwinConfig(num_hidden=8, rank=2, encoder_widths=(6,), latent_size=3, person_effects=False)
SEGMENTS = SegmentConfig(segment_seconds=60, burn_in_seconds=12)
SMALL = Config(evaluate=EvaluateConfig(num_bootstrap=100))


def untrained(num_bold: int = NUM_REGIONS, config: TwinConfig = TWIN_CONFIG) -> Twin:
    torch.manual_seed(0)
    return Twin(config, TwinSizes(NUM_REGIONS, STROOP.num_channels, STROOP.num_alternatives, num_bold)).eval()


def lay_out(folder, split: Split, records, config: TwinConfig = TWIN_CONFIG):
    """Write shards and a trained folder as the earlier stages do."""
    shards = OutputFolder.claim(folder / "shards", "ingest", Config(), resume=False)
    writer = ShardWriter(shards.path, 8)
    for record in records:
        writer.add(record)
    manifest = writer.finish(CohortDescription(NAMES, STROOP.to_plain(), {"made": "of chance"}, "0" * 64))
    shards.finish({})
    trained = OutputFolder.claim(folder / "trained", "train", Config(), resume=False)
    split.save(trained.path / "split.json", manifest.cohort_hash)
    bold_names = manifest.bold_regions
    twin = untrained(len(bold_names), config)
    card = TwinCard(
        config=config,
        sizes=twin.sizes,
        taskset=STROOP.to_plain(),
        region_names=NAMES,
        bold_region_names=bold_names,
        connectome={"made": "of chance"},
        cohort_hash=manifest.cohort_hash,
        split_hash=split.split_hash,
        seed=0,
        segments=SEGMENTS,
    )
    save_twin(trained.path / "twin", twin, card)
    trained.finish({})
    return shards.path, trained.path


def by_people(records, num_train: int, num_validation: int = 2) -> Split:
    names, known = [record.pseudonym for record in records], num_train + num_validation
    return Split("subjects", tuple(names[:num_train]), tuple(names[num_train:known]), tuple(names[known:]))


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    records = make_people(24)
    return lay_out(tmp_path_factory.mktemp("unseen"), by_people(records, 10, 6), records)


def test_unseen_people_get_figures_tables_and_a_claim(unseen, tmp_path, capsys):
    evaluate(SMALL, *unseen, tmp_path / "out", resume=False)
    found = json.loads((tmp_path / "out" / "figures.json").read_text())
    metrics = {row["metric"] for row in found["rows"]}
    assert metrics >= {
        "choice log-loss",
        "RT CRPS",
        "mean RT r",
        "mean RT R2",
        "condition effect r",
        "people within the 50% band",
        "BOLD map r",
        "BOLD series r",
    }
    rt = next(row for row in found["rows"] if row["metric"] == "mean RT r")
    assert rt["n"] == 8
    assert {
        "ridge",
        "kernel_ridge",
        "demographics_motion",
        "group_mean",
        "mean_connectome",
        "cpm",
        "blend",
    } <= rt["baselines"].keys()
    assert 0 <= found["split"]["share_of_twin_in_blend"]["stroop"]["mean_rt"] <= 1
    crps = next(row for row in found["rows"] if row["metric"] == "RT CRPS")
    losses = pd.read_parquet(tmp_path / "out" / "strangers.parquet").query("metric == 'RT CRPS'")
    theirs = losses[losses["pseudonym"] != losses["connectome"]]
    assert len(theirs) == 8 * 7
    assert crps["baselines"]["stranger_connectome"] == pytest.approx(theirs["loss"].mean())
    assert rt["baselines"]["mean_connectome"] is None or abs(rt["baselines"]["mean_connectome"]) <= 1
    assert found["claim"].startswith("In 8 people never seen in training, the twin ")
    subjects = pd.read_parquet(tmp_path / "out" / "subjects.parquet")
    assert len(subjects) == 8
    assert {"observed_mean_rt", "predicted_condition_rt", "ridge_mean_rt", "group_mean_accuracy"} <= set(
        subjects.columns
    )
    assert subjects["predicted_mean_rt"].between(0, 3.5).all()
    maps = pd.read_parquet(tmp_path / "out" / "bold_map.parquet")
    assert list(maps.columns) == ["task", "region", "observed", "predicted"]
    assert tuple(maps["region"]) == NAMES
    assert require_complete(tmp_path / "out", "evaluate")["num_test"] == 8
    said = capsys.readouterr().out
    assert said.lstrip().startswith("✗ does not fit: In 8 unseen people")
    table = said[said.index("Held-out figures") : said.index("These figures and")]
    shown = [line.split()[1:3] for line in table.splitlines() if line.strip().startswith("stroop")]
    assert shown == [["choice", "log-loss"], ["RT", "CRPS"], ["mean", "RT"]]


def test_a_certificate_that_cannot_be_set_as_a_page_costs_no_figure(unseen, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("dtb.evaluate.concluding.to_html", fail)
    evaluate(SMALL, *unseen, tmp_path / "out", resume=False)
    assert require_complete(tmp_path / "out", "evaluate")["num_test"] == 8
    assert json.loads((tmp_path / "out" / "certificate.json").read_text())["notes"]
    assert "certificate.html was not made (ZeroDivisionError" in capsys.readouterr().err


def test_going_on_with_another_twin_is_refused(unseen, tmp_path):
    out = OutputFolder.claim(
        tmp_path / "out", "evaluate", sections(SMALL, "seed", "evaluate"), resume=False, inputs={"twin 1": "of another"}
    )
    with pytest.raises(OutputInUseError, match="twin 1"):
        evaluate(SMALL, *unseen, out.path, resume=True)


def test_later_parts_of_seen_people_without_bold(tmp_path):
    records = make_people(8, with_bold=False)
    everybody = tuple(record.pseudonym for record in records)
    folders = lay_out(tmp_path, Split("temporal", everybody, everybody, everybody, 0.4, 0.5), records)
    evaluate(SMALL, *folders, tmp_path / "out", resume=False)
    found = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert found["claim"].startswith("8 people support no claim between people: ")
    rt = next(row for row in found["rows"] if row["metric"] == "mean RT r")
    halves = [collect(records, STROOP, span, np.zeros(0, int), np.zeros(0)) for span in (Span(0, 0.5), Span(0.5, 1))]
    first_S, second_S = (summary_of_people(half, STROOP).mean_rt_ST[:, 0] for half in halves)
    assert rt["baselines"]["own_earlier"] == pytest.approx(np.corrcoef(first_S, second_S)[0, 1])
    assert "ridge" not in rt["baselines"]
    assert not any("BOLD" in row["metric"] for row in found["rows"])
    assert pd.read_parquet(tmp_path / "out" / "bold_map.parquet").empty


def trained_anew(folder, trained, split: Split, seed: int):
    """A trained folder as `trained`, of another seed and division."""
    shutil.copytree(trained, folder)
    _, card = read_twin(trained / "twin")
    torch.manual_seed(seed)
    twin = Twin(card.config, card.sizes).eval()
    save_twin(folder / "twin", twin, dataclasses.replace(card, seed=seed, split_hash=split.split_hash))
    return folder


@pytest.mark.slow
def test_an_ensemble_says_what_its_members_say_on_average(unseen, tmp_path):
    shards, trained = unseen
    split = Split.load(trained / "split.json")
    other = trained_anew(tmp_path / "other", trained, split, 1)
    tasks = [open_inputs(shards, one, further) for one, further in ((trained, ()), (other, ()), (trained, (other,)))]
    one, two, both = (gather(task, SMALL, Progress(disable=True)).predictions[TWIN] for task in tasks)
    np.testing.assert_allclose(both.trials.outcome_JO, (one.trials.outcome_JO + two.trials.outcome_JO) / 2, rtol=1e-6)
    assert not np.allclose(one.trials.outcome_JO, two.trials.outcome_JO, rtol=1e-3)
    near = (both.trials.mean_rt_J - one.trials.mean_rt_J) * (both.trials.mean_rt_J - two.trials.mean_rt_J)
    assert (near <= 1e-9).all()


def test_a_member_that_may_have_seen_the_held_out_is_refused(unseen, tmp_path):
    shards, trained = unseen
    found = Split.load(trained / "split.json")
    swapped = dataclasses.replace(found, train=found.train[1:], test=(*found.test, found.train[0]))
    other = trained_anew(tmp_path / "other", trained, swapped, 1)
    with pytest.raises(InputDataError, match=r"evaluate\.members.*may have seen people.*same split\.seed"):
        open_inputs(shards, trained, (other,))


@pytest.mark.slow
def test_the_same_data_and_seed_give_the_same_files(unseen, tmp_path):
    for name in ("a", "b"):
        evaluate(SMALL, *unseen, tmp_path / name, resume=False)
    for file in ("figures.json", "subjects.parquet", "bold_map.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_dry_run_writes_nothing_and_a_finished_folder_is_left_alone(unseen, tmp_path, capsys):
    evaluate(SMALL, *unseen, tmp_path / "out", resume=False, dry_run=True)
    assert not (tmp_path / "out").exists()
    assert "8 people" in capsys.readouterr().out
    OutputFolder.claim(tmp_path / "out", "evaluate", Config(evaluate=SMALL.evaluate), resume=False).finish({})
    evaluate(SMALL, *unseen, tmp_path / "out", resume=True)
    assert not (tmp_path / "out" / "figures.json").exists()
    with pytest.raises(OutputInUseError, match="--resume"):
        evaluate(SMALL, *unseen, tmp_path / "out", resume=False)


def test_a_twin_of_another_cohort_or_split_is_refused(unseen, tmp_path):
    records = make_people(14)
    other = lay_out(tmp_path / "other", by_people(records, 8), records)
    with pytest.raises(DamagedOutputError, match="another cohort"):
        evaluate(SMALL, other[0], unseen[1], tmp_path / "out", resume=False)
    by_people(records, 9).save(other[1] / "split.json", "0" * 64)
    with pytest.raises(DamagedOutputError, match="not the split"):
        evaluate(SMALL, *other, tmp_path / "out", resume=False)
    with pytest.raises(InputDataError, match="does not exist"):
        evaluate(SMALL, tmp_path / "nowhere", unseen[1], tmp_path / "out", resume=False)
    assert not (tmp_path / "out").exists()


def performed(records, split: Split, twin: Twin | None = None):
    people = collect(records, STROOP, Span(0, 1), np.arange(NUM_REGIONS), np.ones(NUM_REGIONS))
    maker = BatchMaker(STROOP, SEGMENTS, TWIN_CONFIG.step_seconds, range(NUM_REGIONS), split)
    told = {TWIN: people.edges_SE}
    twins = [twin or untrained()]
    found = predict(twins, maker, records, people, "test", split, STROOP, np.arange(NUM_REGIONS), told)
    return people, found[TWIN]


def test_the_series_figure_is_numpys_correlation_over_time_region_by_region():
    record, num_tasks = make_people(1)[0], len(STROOP.specs)
    seen_VR = record.runs[0].bold_VR
    said_VR = 0.3 * seen_VR + np.random.default_rng(0).normal(size=seen_VR.shape)
    said_VR[:15] = np.nan
    other_VR = np.where(np.isfinite(said_VR), np.random.default_rng(1).normal(size=seen_VR.shape), np.nan)

    def empty():
        nothing = np.full((1, num_tasks, NUM_REGIONS), np.nan), np.full((1, num_tasks), np.nan)
        return _Filled(TrialPrediction(*np.zeros((3, 0))), *nothing)

    told, none, alone = (empty(), empty()), empty(), empty()
    both = {0: np.concatenate([said_VR, other_VR, said_VR], axis=1)}
    whose, regions = [told[0], told[1], none], np.arange(NUM_REGIONS)
    _fill_bold(whose, np.array([0, 0, -1]), record, both, [Span(0, 1)], STROOP, regions)
    for one, series_VR in zip(told, (said_VR, other_VR), strict=True):
        expected = np.mean([np.corrcoef(series_VR[15:, r], seen_VR[15:, r])[0, 1] for r in range(NUM_REGIONS)])
        assert one.series_r_ST[0, 0] == pytest.approx(expected)
    # Deals that are looked at together are what each is by itself, and who gets nobody's has none.
    _fill_bold([alone], np.array([0]), record, {0: other_VR}, [Span(0, 1)], STROOP, regions)
    np.testing.assert_allclose(told[1].maps_STR, alone.maps_STR)
    assert np.isnan(none.maps_STR).all()


def test_every_usable_trial_and_volume_is_predicted():
    records = make_people(3)
    people, found = performed(records, by_people(records, 0))
    assert np.isfinite(found.trials.outcome_JO).all()
    np.testing.assert_allclose(found.trials.outcome_JO.sum(axis=1), 1, rtol=1e-9)
    assert (np.diff(found.trials.rt_quantiles_JQ, axis=1) > 0).all()
    np.testing.assert_allclose(found.trials.rt_quantiles_JQ.mean(axis=1), found.trials.mean_rt_J, rtol=0.05)
    assert (np.isfinite(found.trials.crps_J) == np.isfinite(people.trials.rt_J)).all()
    assert np.isfinite(found.summary.maps_STR).all()
    assert np.isfinite(found.series_r_ST).all()


def test_a_twin_with_process_noise_is_scored_by_the_mean_over_performances():
    records = make_people(2)
    split = by_people(records, 0)
    twin = untrained(config=dataclasses.replace(TWIN_CONFIG, process_noise=0.5))
    _, found = performed(records, split, twin)
    maker = BatchMaker(STROOP, SEGMENTS, TWIN_CONFIG.step_seconds, range(NUM_REGIONS), split)
    batch, chances = maker.batch(records, "test"), []
    for draw in range(NOISE_DRAWS):
        seed_S = torch.tensor([person_seed(record.pseudonym, 0, draw) for record in records])
        output = twin(batch.connectome_SE, batch.stimulus_SKTI, seed_S)
        hazards = PressDistribution(*windows(twin.hazards(output).double(), batch.trials), TWIN_CONFIG.step_seconds)
        chances.append(hazards.omission_probability_J())
    assert not torch.equal(chances[0], chances[1])
    # Row by row as the batch has them: one run each, all of its trials.
    expected_J = torch.stack(chances).mean(0).detach().numpy()[batch.trials.usable_J]
    np.testing.assert_allclose(found.trials.outcome_JO[:, -1], expected_J, rtol=1e-4)
    quiet = performed(records, split, untrained())[1]
    assert not np.allclose(found.summary.maps_STR, quiet.summary.maps_STR, rtol=1e-3)


def test_the_twin_cannot_see_what_people_did():
    """The answer is planted: held-out people do something else altogether, and nothing the twin says may move."""
    records = make_people(3)
    split = by_people(records, 0)
    _, honest = performed(records, split)
    _, planted = performed([with_other_answers(record) for record in records], split)
    np.testing.assert_array_equal(honest.trials.outcome_JO, planted.trials.outcome_JO)
    np.testing.assert_array_equal(honest.trials.mean_rt_J, planted.trials.mean_rt_J)
    np.testing.assert_array_equal(honest.summary.mean_rt_ST, planted.summary.mean_rt_ST)
    np.testing.assert_array_equal(honest.summary.condition_rt_ST, planted.summary.condition_rt_ST)
    np.testing.assert_array_equal(honest.summary.accuracy_ST, planted.summary.accuracy_ST)
    np.testing.assert_array_equal(honest.summary.maps_STR, planted.summary.maps_STR)


def test_a_person_alone_and_among_others_is_predicted_alike():
    records = make_people(3)
    split = by_people(records, 0)
    _, together = performed(records, split)
    _, alone = performed(records[1:2], dataclasses.replace(split, test=(records[1].pseudonym,)))
    mine_J = performed(records, split)[0].trials.person_J == 1
    np.testing.assert_allclose(together.trials.mean_rt_J[mine_J], alone.trials.mean_rt_J, rtol=1e-5)
    np.testing.assert_allclose(together.summary.maps_STR[1], alone.summary.maps_STR[0], rtol=1e-3, atol=1e-6)


def test_presses_that_a_task_does_not_have_count_for_the_others():
    outcome_JO = within_task(np.array([[0.4, 0.1, 0.3, 0.2]]), np.array([[True, True, False, True]]))
    np.testing.assert_allclose(outcome_JO, [[4 / 7, 1 / 7, 0, 2 / 7]])


def from_strangers(records, twin: Twin):
    split = dataclasses.replace(by_people(records, 0), test=tuple(record.pseudonym for record in records))
    people = collect(records, STROOP, Span(0, 1), np.arange(NUM_REGIONS), np.ones(NUM_REGIONS))
    maker = BatchMaker(STROOP, SEGMENTS, TWIN_CONFIG.step_seconds, range(NUM_REGIONS), split)
    donor_DS = deals(block_of_people(people.pseudonyms))
    settings = (people, "test", split, STROOP, np.arange(NUM_REGIONS))
    found = predict_from_strangers([twin], maker, records[::-1], *settings, donor_DS)
    alone = [predict([twin], maker, records, *settings, {TWIN: people.edges_SE[donor_S]})[TWIN] for donor_S in donor_DS]
    return found, alone


def test_each_deal_is_what_the_twin_says_when_it_is_told_that_strangers_connectome_alone():
    found, alone = from_strangers(make_people(5), untrained())
    assert len(found) == 4
    for deal, told in zip(found, alone, strict=True):
        np.testing.assert_allclose(deal.trials.outcome_JO, told.trials.outcome_JO, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(deal.trials.crps_J, told.trials.crps_J, rtol=1e-5)
        np.testing.assert_allclose(deal.summary.mean_rt_ST, told.summary.mean_rt_ST, rtol=1e-6)
        np.testing.assert_allclose(deal.summary.maps_STR, told.summary.maps_STR, rtol=1e-3, atol=1e-6)


def test_each_connectome_is_encoded_once(monkeypatch):
    twin, told = untrained(), []
    generate = twin.generate
    monkeypatch.setattr(twin, "generate", lambda edges_SE: told.extend(edges_SE[:, 0].tolist()) or generate(edges_SE))
    records = make_people(12)
    split = dataclasses.replace(by_people(records, 0), test=tuple(record.pseudonym for record in records))
    people = collect(records, STROOP, Span(0, 1), np.zeros(0, int), np.zeros(0))
    maker = BatchMaker(STROOP, SEGMENTS, TWIN_CONFIG.step_seconds, [], split)
    donor_DS = deals(block_of_people(people.pseudonyms))
    predict_from_strangers([twin], maker, records, people, "test", split, STROOP, np.zeros(0, int), donor_DS)
    assert sorted(told) == sorted(people.edges_SE[:, 0].tolist())


def test_regressions_see_what_the_encoder_reads(tmp_path):
    records = make_people(20, with_bold=False)
    config = dataclasses.replace(TWIN_CONFIG, connectome_space="tangent")
    evaluate(SMALL, *lay_out(tmp_path, by_people(records, 10), records, config), tmp_path / "out", resume=False)
    found = pd.read_parquet(tmp_path / "out" / "subjects.parquet").set_index("pseudonym")["ridge_mean_rt"]
    twin = untrained(0, config)
    none, whole = np.zeros(0, np.int64), Span(0.0, 1.0)
    seen, unseen = (collect(some, STROOP, whole, none, np.zeros(0)) for some in (records[:12], records[12:]))
    for read, is_same in ((twin.tangent, True), (lambda edges_SE: edges_SE, False)):
        seen_edges, unseen_edges = (
            dataclasses.replace(who, edges_SE=read(torch.from_numpy(who.edges_SE)).numpy()) for who in (seen, unseen)
        )
        ridge = regressions(seen_edges, summary_of_people(seen, STROOP), unseen_edges)["ridge"]
        expected = ridge.summary.mean_rt_ST[:, 0]
        assert np.allclose(found[list(unseen.pseudonyms)], expected, atol=1e-4) == is_same
