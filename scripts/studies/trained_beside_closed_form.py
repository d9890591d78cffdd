"""Hold twins that were trained to the closed form that stands in their place in docs/certificate-error-rates.md: same cohorts, same tests.

    python -m scripts.studies.trained_beside_closed_form OUT [--num-null 20] [--num-true 10] [--cpus 1]

In each cohort a small twin is trained for each of five folds, on the trials of the other people, and says of unseen people what their own
and strangers' connectomes give. Figures, pooling and certificate are those of the closed form. OUT keeps what came of every cohort; at the
end the command prints the table of the page.

Shape letters: `S` person, `Q` unseen person, `K` segment, `J` trial of a segment, `T` step, `I` channel, `Y` what is said of a person.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from dtb import terminal
from dtb.config import TwinConfig
from dtb.evaluate.scores.figure import number_or_none
from dtb.files import write_json
from dtb.twin.arrays import batch_from_arrays
from dtb.twin.batch import Batch
from dtb.twin.fitting import fit
from dtb.twin.model import Twin
from dtb.twin.readouts.press import PressDistribution, windows
from dtb.twin.sizes import TwinSizes
from scripts.studies.certificate_error_rates import (
    FIRST_SEED,
    KINDS,
    NUM_PEOPLE,
    TRUE_KINDS,
    each_cohort,
    result_of,
    results_in,
)
from scripts.studies.closed_form import certificates, folds_of
from scripts.studies.null_cohorts import NUM_REGIONS, NUM_TRIALS, NullCohort, make_cohort

NULL_KINDS = ("plain", "age, dense", "family, dense", "group, dense")
LARGE_KINDS = ("true, dense, large", "true, sparse, large")
STEP_SECONDS, BETWEEN_SECONDS, WINDOW_SECONDS, NUM_SEGMENTS = 0.1, 2.5, 2.0, 4
SHOWN_SECONDS = 0.5
SIZES = TwinSizes(num_regions=NUM_REGIONS, num_channels=3, num_alternatives=2, num_bold_regions=0)
CONFIG = TwinConfig(
    num_hidden=16, rank=2, step_seconds=STEP_SECONDS, latent_size=4, connectome_components=10, encoder_widths=()
)
MAX_EPOCHS, PATIENCE, NUM_VALIDATION = 40, 8, 16
READER, TRAINED = "stack", "trained twin"
ASKED = ("mean RT partial r", "condition effect partial r")
"""Tests whose p is compared."""


def one_cohort(kind: str, number: int, out: Path) -> None:
    """Certify one cohort with trained twins and with the stack, unless that is done, and keep what came of it."""
    result = result_of(out, kind, number)
    if result.is_file():
        return
    torch.set_num_threads(1)
    begun, cohort = time.process_time(), make_cohort({**KINDS, **TRUE_KINDS}[kind], NUM_PEOPLE, FIRST_SEED + number)
    fold_S = folds_of(cohort)
    said = [said_by_trained(cohort, fold_S, fold) for fold in range(int(fold_S.max()) + 1)]
    found = certificates(cohort, fold_S, (READER,), {TRAINED: said})
    plain = {
        name: {
            "verdict": certificate.verdict,
            "p": {test.metric: number_or_none(test.p) for test in certificate.tests if test.metric in ASKED},
            "r": {each.metric: number_or_none(each.values["twin"]) for each in certificate.figures},
        }
        for name, certificate in found.items()
    }
    result.parent.mkdir(parents=True, exist_ok=True)
    cpu_seconds = time.process_time() - begun
    write_json(result, {"kind": kind, "number": number, "cpu_seconds": cpu_seconds, "found": plain})


def said_by_trained(cohort: NullCohort, fold_S: np.ndarray, fold: int) -> np.ndarray:
    """Train a twin without the people of one fold, and return what it says of them, (Q, 4), in the columns of `Behaviour.columns_SY`."""
    torch.manual_seed(fold)
    twin = Twin(CONFIG, SIZES)
    batch = laid_out(twin, cohort, fold)
    others_S = np.random.default_rng(fold).permutation(np.flatnonzero(fold_S != fold))
    learnt_from, held_out = others_S[NUM_VALIDATION:], others_S[:NUM_VALIDATION]
    fit(twin, batch[learnt_from], batch[held_out], max_epochs=MAX_EPOCHS, patience=PATIENCE, seed=fold)
    unseen = batch[np.flatnonzero(fold_S == fold)]
    with torch.no_grad():
        hazard_SKTA = twin.hazards(twin(unseen.connectome_SE, unseen.stimulus_SKTI))
        press = PressDistribution(*windows(hazard_SKTA, unseen.trials), STEP_SECONDS)
        rt_SJ, middle_SJ = (each_J.view(len(unseen), -1) for each_J in (press.mean_rt_J(), press.rt_quantile_J(0.5)))
        right_J = (press.choice_probability_JA() * unseen.trials.correct_JA).sum(1)
    condition_SJ = unseen.trials.condition_J.view(len(unseen), -1)
    effect_S = _mean_of(rt_SJ, condition_SJ == 1) - _mean_of(rt_SJ, condition_SJ == 0)
    columns = (rt_SJ.mean(1), effect_S, right_J.view(len(unseen), -1).mean(1), middle_SJ.log().mean(1))
    return torch.stack(columns, dim=1).double().numpy()


def laid_out(twin: Twin, cohort: NullCohort, seed: int) -> Batch:
    """Return everybody's trials: a key for each side, right as the side that is shown, whose sign also says which condition it is."""
    num_people, num_each = len(cohort.edges_SE), NUM_TRIALS // NUM_SEGMENTS
    side_SKJ = np.random.default_rng(seed).integers(2, size=(num_people, NUM_SEGMENTS, num_each))
    onset_SKJ = 1.0 + BETWEEN_SECONDS * np.broadcast_to(np.arange(num_each), side_SKJ.shape)
    num_steps = round((1.0 + BETWEEN_SECONDS * num_each) / STEP_SECONDS)
    condition_J = cohort.did.condition_J.reshape(NUM_SEGMENTS, num_each)
    stimulus_SKTI = np.zeros((num_people, NUM_SEGMENTS, num_steps, 3))
    for trial in range(num_each):
        first = round(onset_SKJ[0, 0, trial] / STEP_SECONDS)
        shown = slice(first, first + round(SHOWN_SECONDS / STEP_SECONDS))
        stimulus_SKTI[:, :, shown, :2] = np.eye(2)[side_SKJ[:, :, trial]][:, :, None]
        stimulus_SKTI[:, :, shown, 2] = condition_J[:, trial, None]
    rt_SKJ, is_right_SKJ = (each.reshape(side_SKJ.shape) for each in (cohort.did.rt_SJ, cohort.did.is_right_SJ))
    choice_SKJ = np.where(np.isnan(rt_SKJ), -1, np.where(is_right_SKJ, side_SKJ, 1 - side_SKJ))
    batch = batch_from_arrays(
        twin,
        cohort.edges_SE,
        stimulus_SKTI,
        onset_seconds_SKJ=onset_SKJ,
        window_seconds=WINDOW_SECONDS,
        choice_SKJ=choice_SKJ,
        rt_seconds_SKJ=rt_SKJ,
        correct_SKJ=side_SKJ,
        seed=seed,
    )
    condition_SJ = torch.from_numpy(np.broadcast_to(condition_J, side_SKJ.shape).reshape(-1).copy())
    return dataclasses.replace(batch, trials=dataclasses.replace(batch.trials, condition_J=condition_SJ))


def _mean_of(values_SJ: torch.Tensor, chosen_SJ: torch.Tensor) -> torch.Tensor:
    return (values_SJ * chosen_SJ).sum(1) / chosen_SJ.sum(1)


def table(found: list[dict]) -> str:
    """Return, for null cohorts and for those with an effect, p-values and verdicts of both readers, in Markdown."""
    rows = [
        "| cohorts | in a twin's place | called personal | p below .05 | p below .005 | mean partial r, who is slow |",
        "|---|---|---|---|---|---|",
    ]
    for kinds, words in ((KINDS, "null"), (TRUE_KINDS, "with an effect")):
        some = [each for each in found if each["kind"] in kinds]
        for reader in (READER, TRAINED):
            mine = [each["found"][reader] for each in some]
            p = np.array([value for one in mine for value in one["p"].values() if value is not None])
            r = [one["r"].get(ASKED[0]) for one in mine]
            personal = sum(one["verdict"] in {"yes", "provisional"} for one in mine)
            shares = " | ".join(f"{(p < level).sum()} of {len(p)}" for level in (0.05, 0.005))
            mean_r = np.mean([each for each in r if each is not None] or [np.nan])
            rows.append(f"| {len(mine)} {words} | {reader} | {personal} of {len(mine)} | {shares} | {mean_r:.2f} |")
    pairs = [
        (one["found"][READER]["p"][metric], one["found"][TRAINED]["p"][metric])
        for one in found
        for metric in ASKED
        if None not in (one["found"][READER]["p"].get(metric), one["found"][TRAINED]["p"].get(metric))
    ]
    rho = stats.spearmanr(*np.array(pairs).T).statistic if len(pairs) > 2 else np.nan
    return (
        "\n".join(rows)
        + f"\n\nRank correlation of both p-values over cohorts and tests: {rho:.2f} ({len(pairs)} pairs)."
    )


def main(out: Path, num_null: int, num_true: int, num_cpus: int) -> None:
    """Do the study and print the table."""
    todo = [(NULL_KINDS[number % len(NULL_KINDS)], number) for number in range(num_null)]
    todo += [(LARGE_KINDS[number % len(LARGE_KINDS)], number) for number in range(num_true)]
    each_cohort(one_cohort, todo, out, num_cpus)
    terminal.out.print(table(results_in(out)), markup=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--num-null", type=int, default=20)
    parser.add_argument("--num-true", type=int, default=10)
    parser.add_argument("--cpus", type=int, default=1)
    given = parser.parse_args()
    main(given.out, given.num_null, given.num_true, given.cpus)
