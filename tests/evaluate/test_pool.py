"""Pooled folds: everybody once, means over all, correlations within folds; and what cannot be pooled is refused."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from dtb.config import Config, EvaluateConfig
from dtb.errors import DamagedOutputError, InputDataError
from dtb.evaluate.certificate.certify import NUM_PERMUTATIONS, certify
from dtb.evaluate.pool import pool, pooled_figures
from dtb.evaluate.scores.folds import without_fold_means
from dtb.evaluate.scores.statistics import draw_weights, orthonormal
from dtb.evaluate.scores.strangers import own_connectome_p
from dtb.evaluate.stage import evaluate
from dtb.shards.split import Split
from tests.evaluate.people import make_people
from tests.evaluate.test_stage import lay_out

SMALL = Config(evaluate=EvaluateConfig(num_bootstrap=100))


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    records = make_people(18, with_bold=False)
    names = [record.pseudonym for record in records]
    root, found = tmp_path_factory.mktemp("folds"), []
    for fold in range(2):
        test = names[fold * 6 : fold * 6 + 6]
        rest = [name for name in names if name not in test]
        folders = lay_out(root / str(fold), Split("subjects", tuple(rest[2:]), tuple(rest[:2]), tuple(test)), records)
        evaluate(SMALL, *folders, root / f"evaluated{fold}", resume=False)
        found.append(root / f"evaluated{fold}")
    return found


def rows_of(folder) -> dict[str, dict]:
    return {row["metric"]: row for row in json.loads((folder / "figures.json").read_text())["rows"]}


def test_everybody_counts_once_and_means_are_over_all(folds, tmp_path):
    pool(SMALL, tuple(folds), tmp_path / "out", resume=False)
    pooled, parts = rows_of(tmp_path / "out"), [rows_of(folder) for folder in folds]
    for metric in ("RT CRPS", "choice log-loss", "identification by behaviour"):
        assert pooled[metric]["n"] == 12
        assert pooled[metric]["twin"] == pytest.approx(np.mean([part[metric]["twin"] for part in parts]))
        assert pooled[metric]["baselines"].keys() - {"picked_in_folds"} == parts[0][metric]["baselines"].keys()
    assert json.loads((tmp_path / "out" / "figures.json").read_text())["claim"].startswith("In 12 people never seen")
    assert (tmp_path / "out" / "certificate.html").is_file()
    assert "each fold's mean taken out" in pooled["mean RT r"]["note"]


def test_p_values_know_that_the_folds_people_taught_each_others_twins(folds, tmp_path, monkeypatch):
    seen = []

    def spied(figures, **settings):
        seen.extend(figures)
        return certify(figures, **settings)

    monkeypatch.setattr("dtb.evaluate.concluding.certify", spied)
    pool(SMALL, tuple(folds), tmp_path / "out", resume=False)
    # Of the twelve people outside of each fold, six are tested in the other.
    assert {figure.shared for figure in seen} == {0.5}
    blocks = next(figure.loss_blocks for figure in seen if figure.metric == "RT CRPS")
    tests = json.loads((tmp_path / "out" / "certificate.json").read_text())["tests"]
    (p,) = [test["p"] for test in tests if (test["metric"], test["kind"]) == ("RT CRPS", "connectome")]
    assert p == own_connectome_p(blocks, NUM_PERMUTATIONS, 0.5)


def test_what_differs_between_folds_alone_is_no_correlation():
    rng = np.random.default_rng(0)
    people = tuple(f"p{number}" for number in range(40))
    fold_S = np.repeat([0, 1], 20)
    observed_S = rng.normal(size=40) + 5 * fold_S
    scores = pd.DataFrame(
        {
            "task": "t",
            "metric": "mean RT r",
            "unit": "r over people",
            "higher_is_better": True,
            "statistic": "r",
            "note": "",
            "pseudonym": people,
            "observed": observed_S,
            "score_twin": rng.normal(size=40) + 5 * fold_S,
            "added": np.nan,
            "alone": np.nan,
            "leverage": 0.0,
            "fold": fold_S,
            "seed": 0,
        }
    )
    (found,) = pooled_figures(scores, people, draw_weights(40, 100, 0), 0.95, {})
    assert abs(found.twin.value) < 0.4
    raw = np.corrcoef(scores["observed"], scores["score_twin"])[0, 1]
    assert raw > 0.8
    within = np.concatenate([observed_S[fold_S == fold] - observed_S[fold_S == fold].mean() for fold in (0, 1)])
    np.testing.assert_allclose(without_fold_means(observed_S[:, None], fold_S)[:, 0], within)


def test_permuted_trainings_are_pooled_where_every_fold_has_them():
    rng = np.random.default_rng(0)
    error_S = rng.uniform(0.1, 0.2, 40)
    fold_S = np.repeat([0, 1], 20)
    permuted = {f"permuted_{place}": error_S + 0.1 * (place - 1) for place in range(4)}
    # The second fold has three permuted trainings alone.
    permuted["permuted_3"] = np.where(fold_S == 0, permuted["permuted_3"], np.nan)
    scores = pd.DataFrame(
        {
            "task": "t",
            "metric": "RT CRPS",
            "unit": "seconds",
            "higher_is_better": False,
            "statistic": "mean",
            "note": "",
            "pseudonym": tuple(f"p{number}" for number in range(40)),
            "observed": 0.0,
            "score_twin": error_S - 0.05,
            "added": np.nan,
            "alone": error_S,
            **permuted,
            "leverage": 0.0,
            "fold": fold_S,
            "seed": 0,
        }
    )
    (found,) = pooled_figures(scores, tuple(scores["pseudonym"]), draw_weights(40, 100, 0), 0.95, {})
    assert found.permuted == pytest.approx([error_S.mean() + 0.1 * (place - 1) for place in range(3)])
    # One of them is as good as a twin alone, which is what they are; the ensemble is better than all but one.
    assert found.permuted_p == pytest.approx(3 / 4)
    lacking = scores.assign(alone=np.where(fold_S == 0, error_S, np.nan))
    (none,) = pooled_figures(lacking, tuple(scores["pseudonym"]), draw_weights(40, 100, 0), 0.95, {})
    assert none.permuted_p is None


def test_figures_are_averaged_over_seeds_and_said_apart(folds, tmp_path, capsys):
    again = []
    for number, folder in enumerate(folds):
        shutil.copytree(folder, tmp_path / f"seed1-{number}")
        again.append(tmp_path / f"seed1-{number}")
        found = json.loads((again[-1] / "figures.json").read_text())
        found["split"]["seed"] = 1
        (again[-1] / "figures.json").write_text(json.dumps(found))
        scores = pd.read_parquet(again[-1] / "scores.parquet")
        # Shares of people who lie within a band stay shares.
        scores.loc[~scores["metric"].str.contains("band"), "score_twin"] += 0.5
        scores.to_parquet(again[-1] / "scores.parquet")
    pool(SMALL, (*folds, *again), tmp_path / "both", resume=False)
    assert "2 seeds are pooled" in " ".join(capsys.readouterr().err.split())
    pool(SMALL, tuple(folds), tmp_path / "one", resume=False)
    both, one = rows_of(tmp_path / "both"), rows_of(tmp_path / "one")
    assert json.loads((tmp_path / "both" / "figures.json").read_text())["split"]["seeds"] == [0, 1]
    assert both["RT CRPS"]["n"] == 12
    assert both["RT CRPS"]["twin"] == pytest.approx(one["RT CRPS"]["twin"] + 0.25)
    assert both["RT CRPS"]["baselines"]["group_mean"] == pytest.approx(one["RT CRPS"]["baselines"]["group_mean"])
    assert both["mean RT r"]["twin"] == pytest.approx(one["mean RT r"]["twin"])
    low = one["RT CRPS"]["twin"]
    assert f"alone {low:.3f} to {low + 0.5:.3f}" in both["RT CRPS"]["note"]
    with pytest.raises(InputDataError, match="6 people of other seeds are in no evaluation with seed 1"):
        pool(SMALL, (*folds, again[0]), tmp_path / "out", resume=False)


def test_covariates_are_taken_out_of_all_people_together_and_kinds_of_split_are_kept_apart(folds, tmp_path):
    pool(SMALL, tuple(folds), tmp_path / "out", resume=False)
    assert "mean RT partial r" not in rows_of(folds[0]), "six people are too few"
    found = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert found["about"]["kind"] == "subjects"
    assert len(found["about"]["split_hashes"]) == 2
    assert found["about"]["people"]["sex"] == {"F": 6, "M": 6, "smaller or unknown": 0}

    def held_out(folder, kind: str, what: str):
        shutil.copytree(folder, tmp_path / f"{kind}-{what}-{folder.name}", dirs_exist_ok=True)
        again = tmp_path / f"{kind}-{what}-{folder.name}"
        figures = json.loads((again / "figures.json").read_text())
        figures["split"] |= {"kind": kind, "held_out": what}
        (again / "figures.json").write_text(json.dumps(figures))
        return again

    for first, second in (
        (folds[0], held_out(folds[1], "subjects", "b")),
        (folds[0], held_out(folds[1], "tasks", "stroop")),
        (held_out(folds[0], "tasks", "hammer"), held_out(folds[1], "tasks", "stroop")),
    ):
        with pytest.raises(InputDataError, match="What is pooled has to have held out the same kind of thing"):
            pool(SMALL, (first, second), tmp_path / "mixed", resume=False)
    sites = held_out(folds[0], "subjects", "a"), held_out(folds[1], "subjects", "b")
    pool(SMALL, sites, tmp_path / "sites", resume=False)
    about = json.loads((tmp_path / "sites" / "certificate.json").read_text())["about"]
    assert about["tested_on"] == "people never seen in training: those of the site a, b"


def test_a_pooled_partial_r_is_that_of_all_people_with_the_folds_means_and_spreads_taken_out():
    rng = np.random.default_rng(0)
    people = tuple(f"p{number:03d}" for number in range(120))
    age_S, fold_S = rng.normal(size=120), np.arange(120) % 3
    # What the folds' twins say differs in mean and in spread.
    said_S = 3.0**fold_S * (age_S + rng.normal(size=120)) + 4 * fold_S
    observed_S = age_S + rng.normal(size=120)
    scores = pd.DataFrame(
        {
            "task": "t",
            "metric": "mean RT partial r",
            "unit": "r over people",
            "higher_is_better": True,
            "statistic": "partial r",
            "note": "",
            "pseudonym": people,
            "observed": observed_S,
            "score_twin": said_S,
            "added": said_S,
            "alone": np.nan,
            "leverage": 0.0,
            "fold": fold_S,
            "seed": 0,
        }
    )
    basis_SC = orthonormal(np.column_stack([np.ones(120), age_S]))
    (found,) = pooled_figures(scores, people, draw_weights(120, 100, 0), 0.95, {}, basis_SC)
    design = np.column_stack([age_S, *(fold_S == fold for fold in range(3))])

    def rest(values_S):
        return values_S - design @ np.linalg.lstsq(design, values_S)[0]

    left_S = rest(said_S)
    for fold in range(3):
        left_S[fold_S == fold] /= left_S[fold_S == fold].std()
    assert found.twin.value == pytest.approx(np.corrcoef(rest(observed_S), rest(left_S))[0, 1], abs=1e-6)


def test_folds_that_share_people_or_are_of_other_cohorts_or_kinds_are_refused(folds, tmp_path):
    with pytest.raises(InputDataError, match="at least two"):
        pool(SMALL, (folds[0],), tmp_path / "out", resume=False)
    with pytest.raises(InputDataError, match="6 people are in more than one"):
        pool(SMALL, (folds[0], folds[0]), tmp_path / "out", resume=False)
    records = make_people(10, with_bold=False)
    everybody = tuple(record.pseudonym for record in records)
    seen = lay_out(tmp_path / "seen", Split("temporal", everybody, everybody, everybody, 0.4, 0.5), records)
    evaluate(SMALL, *seen, tmp_path / "seen" / "evaluated", resume=False)
    with pytest.raises(InputDataError, match="seen in training"):
        pool(SMALL, (folds[0], tmp_path / "seen" / "evaluated"), tmp_path / "out", resume=False)
    others = lay_out(tmp_path / "others", Split("subjects", everybody[:6], everybody[6:8], everybody[8:]), records)
    evaluate(SMALL, *others, tmp_path / "others" / "evaluated", resume=False)
    with pytest.raises(InputDataError, match="another cohort"):
        pool(SMALL, (folds[0], tmp_path / "others" / "evaluated"), tmp_path / "out", resume=False)
    (tmp_path / "others" / "evaluated" / "scores.parquet").unlink()
    with pytest.raises(DamagedOutputError, match="cannot be read"):
        pool(SMALL, (folds[0], tmp_path / "others" / "evaluated"), tmp_path / "out", resume=False)
    assert not (tmp_path / "out").exists()
