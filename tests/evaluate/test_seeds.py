"""No seed decides a verdict: what an evaluation says of a twin and its people is the same under forty."""

import pytest
import torch
from rich.progress import Progress

from dtb.config import Config, EvaluateConfig, SegmentConfig, SplitConfig, TwinConfig
from dtb.evaluate.certificate.certify import certify
from dtb.evaluate.gathering import gather
from dtb.evaluate.inputs import EvaluationInputs
from dtb.evaluate.scores.figures import all_figures
from dtb.shards.divide import make_split
from dtb.twin.export import TwinCard
from dtb.twin.model import Twin
from dtb.twin.sizes import TwinSizes
from tests.evaluate.people import NUM_REGIONS, STROOP, make_people
from tests.evaluate.test_leaks import write

STEP, NUM_SEEDS = 0.5, 40


@pytest.mark.slow
def test_forty_seeds_give_one_certificate(tmp_path):
    cohort = write(tmp_path, make_people(16, with_bold=False), STROOP)
    split = make_split(cohort, SplitConfig(num_folds=2), seed=0)
    config = TwinConfig(num_hidden=6, rank=2, encoder_widths=(6,), latent_size=3, step_seconds=STEP)
    torch.manual_seed(0)
    twin = Twin(config, TwinSizes(NUM_REGIONS, STROOP.num_channels, STROOP.num_alternatives, 0)).eval()
    hashes, segments = (cohort.manifest.cohort_hash, split.split_hash), SegmentConfig(segment_seconds=150)
    card = TwinCard(config, twin.sizes, STROOP.to_plain(), (), (), {}, *hashes, seed=0, segments=segments)
    task, found = EvaluationInputs(cohort, split, twin, card, STROOP), []
    for seed in range(NUM_SEEDS):
        settings = Config(seed=seed, evaluate=EvaluateConfig(num_bootstrap=100))
        evidence = gather(task, settings, Progress(disable=True))
        certificate = certify(
            all_figures(evidence),
            are_seen=False,
            num_people=len(split.test),
            weights_BS=evidence.weights_BS,
            confidence=0.95,
            covariates=evidence.covariates,
            num_permutations=200,
        )
        found.append(certificate.to_plain())
    of_use = [test for test in found[0]["tests"] if test["kind"] == "connectome"]
    assert {test["scheme"] for test in of_use} == {"permutation of 8 people's connectomes"}
    assert all(0 < test["p"] < 1 and test["gain"] != 0 for test in of_use), "the twin must not be deaf to connectomes"
    assert all(each == found[0] for each in found[1:])
