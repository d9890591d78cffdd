"""d' and the chance level of pressing, by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from dtb.cli.entry import exit_code
from dtb.tasks.check import tally_of
from dtb.tasks.detection import chance_of_right, d_prime
from dtb.tasks.read import read_trials
from dtb.tasks.spec import load_task
from tests.expand import expanded


def test_d_prime_has_half_a_trial_more_of_each_count():
    wanted = norm.ppf(45.5 / 51) - norm.ppf(3.5 / 11)
    assert float(d_prime(45, 50, 3, 10)) == pytest.approx(wanted)
    assert np.isfinite(d_prime([50, 0], 50, [0, 10], 10)).all()
    assert float(d_prime(50, 50, 0, 10)) == pytest.approx(-float(d_prime(0, 50, 10, 10)))
    assert float(d_prime(25, 50, 5, 10)) == pytest.approx(0.0)
    assert np.isnan(d_prime([5, 5], [10, 0], [0, 0], [0, 10])).all()


def test_chance_is_what_pressing_as_often_without_looking_reaches():
    rng = np.random.default_rng(0)
    go_J = np.arange(1000) % 10 > 0
    press_J = rng.random(1000) < 0.8
    shuffled = np.mean([np.mean(rng.permutation(press_J) == go_J) for _ in range(2000)])
    assert chance_of_right(press_J, go_J) == pytest.approx(shuffled, abs=2e-3)
    assert chance_of_right([True] * 10, [True] * 9 + [False]) == pytest.approx(0.9)


@pytest.mark.slow
def test_task_check_counts_commissions_and_omissions_as_pandas_does(real_data, tmp_path, capsys):
    spec, task = load_task(real_data / "tasks" / "gradcpt_face.yaml"), str(real_data / "tasks" / "gradcpt_face.yaml")
    paths = sorted(expanded(real_data, "song", 4).glob("bids/sub-*/func/*gradCPTface*_events.tsv"))
    table = pd.concat(pd.read_csv(path, sep="\t") for path in paths)
    press = (table.resp_1st == 1) & (table.rt_1st > 0) & (table.rt_1st <= 1.5)
    silent = (table.resp_1st == 0) & (table.rt_1st == 0)
    go, rare = table.target_nontarget == 1, table.target_nontarget == 2
    tally = tally_of(spec, [read_trials(spec, path) for path in paths])
    assert (tally.commissions, tally.withhold) == ((rare & press).sum(), (rare & (press | silent)).sum())
    assert (tally.missed, tally.go) == ((go & silent).sum(), (go & (press | silent)).sum())
    assert exit_code(["task", "check", task, *map(str, paths)]) == 0
    wanted = norm.ppf(((go & press).sum() + 0.5) / (tally.go + 1)) - norm.ppf(
        (tally.commissions + 0.5) / (tally.withhold + 1)
    )
    said = " ".join(capsys.readouterr().out.split())
    assert f"{tally.commissions} of {tally.withhold} trials in which no press is right have one" in said
    assert f"d' {wanted:.2f}" in said
