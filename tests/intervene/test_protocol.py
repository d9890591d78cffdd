"""A trial's figures are those that its protocol promises, and a protocol that contradicts itself is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtb.config import InterveneConfig
from dtb.errors import ConfigurationError
from dtb.intervene.protocol import Protocol, load_protocol
from dtb.intervene.trial_figures import analyse, benefit_of, member_weights

MEMBERS = {"search": InterveneConfig(members=(Path("second"),)), "unsearched": (Path("third"), Path("fourth"))}
PROTOCOL = Protocol(
    title="test", arms=("personalised", "population", "sham"), doses=(0.5, 1.0), num_draws=1000, **MEMBERS
)
NEEDED = "search: {members: [b]}\nunsearched: [c, d]"


def outcomes(
    effects: dict[str, np.ndarray],
    aside: float = 0.0,
    searched: dict[str, np.ndarray] | None = None,
    members: dict[str, tuple[float, ...]] | None = None,
    apart: dict[str, float] | None = None,
) -> pd.DataFrame:
    """People whose target moves by the effect times the dose, and another indicator by `aside`.

    Members that were searched say `searched`, the others the effect and each its own of `members` besides.
    """
    rows = []
    for arm, effect_S in effects.items():
        for place, effect in enumerate(effect_S):
            for dose in PROTOCOL.doses:
                common = {"pseudonym": f"p{place}", "arm": arm, "dose": dose, "task": "t"}
                own = dose * np.array((members or {}).get(arm, (0.0, 0.0)))
                target = {
                    "moved": dose * effect + own.mean(),
                    "moved_searched": dose * (searched or effects)[arm][place],
                    "member_moved": (dose * effect + own).tolist(),
                    "scans_apart": (apart or {}).get(arm, np.nan),
                }
                moved = -aside * (arm != "sham")
                other = {"moved": moved, "moved_searched": moved, "member_moved": [moved] * 2, "scans_apart": np.nan}
                rows.append(common | {"indicator": "mean_rt", "is_target": True} | target)
                rows.append(common | {"indicator": "accuracy", "is_target": False} | other)
    return pd.DataFrame(rows)


def trial(num: int = 30, gain: float = 0.5, **kwargs: float):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    base_S = rng.normal(0.4, 0.2, num)
    effects = {"personalised": base_S + gain, "population": base_S, "sham": np.zeros(num)}
    return effects, analyse(outcomes(effects, **kwargs), PROTOCOL, seed=0)


def test_the_primary_outcome_is_the_mean_paired_difference() -> None:
    _, figures = trial()
    assert figures.primary["difference"] == pytest.approx(0.5)
    # The same difference for all: no interval, and no sign flip but two comes near.
    assert figures.primary["difference_lower"] == pytest.approx(0.5)
    assert figures.primary["p_value"] == pytest.approx(1 / 1001)
    assert figures.primary["share_better"] == 1.0
    assert figures.primary["num_people"] == 30


@pytest.mark.slow
def test_without_a_difference_the_p_value_is_uniform_enough() -> None:
    rng = np.random.default_rng(1)
    values = []
    for _ in range(60):
        effects = {"personalised": rng.normal(size=12), "population": rng.normal(size=12), "sham": np.zeros(12)}
        values.append(analyse(outcomes(effects), PROTOCOL, seed=0).primary["p_value"])
    assert np.mean(np.array(values) < 0.05) < 0.15
    assert 0.35 < np.mean(values) < 0.65


def test_effects_slopes_and_responders_are_those_of_the_people() -> None:
    effects, figures = trial()
    doses = figures.doses.set_index(["arm", "dose"])
    own_S = effects["personalised"]
    assert doses.loc[("personalised", 0.5), "effect"] == pytest.approx(0.5 * own_S.mean())
    assert doses.loc[("personalised", 1.0), "standardised_mean"] == pytest.approx(own_S.mean() / own_S.std(ddof=1))
    assert doses.loc[("population", 1.0), "responders"] == pytest.approx((effects["population"] >= 0.2).mean())
    assert doses.loc[("sham", 1.0), "effect"] == 0
    row = doses.loc[("population", 1.0)]
    assert row["effect_lower"] < row["effect"] < row["effect_upper"]
    half_width = (row["effect_upper"] - row["effect_lower"]) / 2
    assert half_width == pytest.approx(1.96 * effects["population"].std() / 30**0.5, rel=0.15)
    slopes = figures.slopes.set_index("arm")
    assert slopes.loc["personalised", "slope"] == pytest.approx(own_S.mean())
    assert slopes.loc["personalised", "share_growing"] == pytest.approx((own_S > 0).mean())


def test_nobody_responds_whose_other_indicators_move_too_far() -> None:
    _, figures = trial(aside=0.6)
    doses = figures.doses.set_index(["arm", "dose"])
    assert doses.loc[("personalised", 1.0), "responders"] == 0
    matrix = figures.matrix.set_index(["arm", "indicator"])
    assert matrix.loc[("personalised", "accuracy"), "mean_change"] == pytest.approx(-0.6)
    assert matrix.loc[("personalised", "accuracy"), "mean_size"] == pytest.approx(0.6)
    assert matrix.loc[("sham", "accuracy"), "mean_size"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: t\nunsearched: [c, d]", "`search.members` names no further twin"),
        ("title: t\nsearch: {members: [b]}\nunsearched: [c]", "`unsearched` names 1 unsearched twins"),
        ("title: t\ndoses: [0.5, 0.25, 1.0]", "must grow and end with 1"),
        ("title: t\ndoses: [0.5]", "must grow and end with 1"),
        ("title: t\nprimary: random\ncomparator: random", "two different ones"),
        ("title: t\narms: [personalised, sham]", "two different ones"),
        ("title: t\nserch: {}", "did you mean `search`"),
        ("{}", "title"),
    ],
)
def test_protocols_that_cannot_be_followed_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "protocol.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_protocol(path)


def test_the_shipped_protocols_can_be_followed() -> None:
    shipped = sorted((Path(__file__).parents[2] / "configs" / "trials").glob("*.yaml"))
    assert shipped
    for path in shipped:
        assert load_protocol(path).title


def test_people_without_a_figure_are_left_out_and_counted() -> None:
    """One of them among people without any difference must not make the p-value the smallest there is."""
    rng = np.random.default_rng(0)
    same_S = rng.normal(size=20)
    effects = {"personalised": same_S.copy(), "population": same_S[::-1].copy(), "sham": np.zeros(20)}
    without = {arm: effect_S[1:] for arm, effect_S in effects.items()}
    effects["personalised"][0] = np.nan
    figures, expected = (analyse(outcomes(given), PROTOCOL, seed=0) for given in (effects, without))
    assert (figures.primary["num_people"], figures.primary["num_incomplete"]) == (19, 1)
    assert figures.primary["p_value"] > 0.2
    assert figures.primary["difference"] == pytest.approx(expected.primary["difference"])
    columns = ["effect", "effect_lower", "effect_upper", "responders", "sd_between_people"]
    assert np.isfinite(figures.doses[columns].to_numpy()).all()
    assert np.isfinite(figures.matrix[["mean_change", "mean_size_lower", "mean_size_upper"]].to_numpy()).all()


def test_heterogeneity_and_the_matrix_have_intervals_and_effects_a_second_unit() -> None:
    rng = np.random.default_rng(3)
    effects = {arm: rng.normal(0.5, 0.3, 200) for arm in ("personalised", "population")} | {"sham": np.zeros(200)}
    figures = analyse(outcomes(effects, aside=0.2), PROTOCOL, seed=0, spread_in_retest_sd=2.5)
    full = figures.doses.query("dose == 1").set_index("arm").loc["personalised"]
    own_S = effects["personalised"]
    assert full["sd_between_people"] == pytest.approx(own_S.std(ddof=1))
    # For a normal distribution the standard error of a standard deviation is s / sqrt(2 n).
    half = (full["sd_between_people_upper"] - full["sd_between_people_lower"]) / 2
    assert half == pytest.approx(1.96 * own_S.std() / 400**0.5, rel=0.25)
    assert full["effect_in_retest_sd"] == pytest.approx(2.5 * own_S.mean())
    assert full["effect_in_retest_sd_upper"] == pytest.approx(2.5 * full["effect_upper"])
    target = figures.matrix.query("is_target").set_index("arm").loc["personalised"]
    assert target["mean_change_lower"] < target["mean_change"] < target["mean_change_upper"]
    assert target["mean_change_upper"] == pytest.approx(full["effect_upper"])
    without = analyse(outcomes(effects), PROTOCOL, seed=0).doses
    assert without["effect_in_retest_sd"].isna().all()


def test_an_interval_holds_the_members_disagreement() -> None:
    """People are all alike, so that nothing but members differs: the interval is that of a mean of two."""
    same_S = np.full(50, 0.4)
    effects = {"personalised": same_S, "population": same_S, "sham": np.zeros(50)}
    figures = analyse(outcomes(effects, members={"personalised": (-0.3, 0.3)}), PROTOCOL, seed=0)
    row = figures.doses.set_index(["arm", "dose"]).loc[("personalised", 1.0)]
    assert row["effect"] == pytest.approx(0.4)
    # Two members' weights are (0, 1), (1/2, 1/2) or (1, 0), widened by the root of two: a standard error of 0.3.
    assert row["effect_upper"] - row["effect"] == pytest.approx(0.3 * 2**0.5, rel=0.01)
    assert figures.primary["difference_lower"] < 0 < figures.primary["difference_upper"]
    drawn = member_weights(np.random.default_rng(0), 2, 20_000) @ np.array([-0.3, 0.3])
    assert drawn.std() == pytest.approx(np.std([-0.3, 0.3], ddof=1) / 2**0.5, rel=0.02)
    several = member_weights(np.random.default_rng(0), 5, 20_000) @ np.arange(5.0)
    assert several.std() == pytest.approx(np.std(np.arange(5.0), ddof=1) / 5**0.5, rel=0.02)


def test_an_interval_holds_the_difference_of_two_scans() -> None:
    """A mean over 100 people, each of one scan of two that are .8 apart, has a standard error of .4 over 10."""
    same_S = np.full(100, 0.4)
    effects = {"personalised": same_S, "population": same_S, "sham": np.zeros(100)}
    figures = analyse(outcomes(effects, apart={"personalised": 0.8}), PROTOCOL, seed=0)
    row = figures.doses.set_index(["arm", "dose"]).loc[("personalised", 1.0)]
    # People are drawn anew beside it, some of them several times: the sum of their squared weights is 2 / 100.
    assert row["effect_upper"] - row["effect"] == pytest.approx(1.96 * 0.4 * 2**0.5 / 10, rel=0.1)
    assert figures.primary["num_with_two_scans"] == 100
    none = analyse(outcomes(effects), PROTOCOL, seed=0)
    assert none.primary["num_with_two_scans"] == 0
    assert none.primary["difference_upper"] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("on_searched", "on_others", "says"),
    [
        (0.5, 0.5, "Personalising helped, and this replicated"),
        (0.5, 0.0, "did not replicate on others: no personal benefit is shown"),
        (0.0, 0.0, "Personalising did not help: no personal benefit is shown"),
    ],
)
def test_one_line_says_whether_personalising_helped_and_replicated(
    on_searched: float, on_others: float, says: str
) -> None:
    rng = np.random.default_rng(5)
    base_S = rng.normal(0.4, 0.2, 40)
    noise_S = rng.normal(0, 0.1, 40)
    noise_S -= noise_S.mean()
    effects = {"personalised": base_S + on_others + noise_S, "population": base_S, "sham": np.zeros(40)}
    searched = effects | {"personalised": base_S + on_searched + noise_S}
    found = benefit_of(outcomes(effects, searched=searched), PROTOCOL, 0)
    assert found is not None
    assert says in found["sentence"]
    assert found["searched"]["gain"] == pytest.approx(on_searched, abs=1e-9)
    assert found["unsearched"]["gain"] == pytest.approx(on_others, abs=1e-9)


def test_personalising_has_to_beat_the_population_at_equal_off_target_effect_too() -> None:
    arms = ("personalised", "population", "population_matched", "sham")
    protocol = Protocol(title="test", arms=arms, doses=(0.5, 1.0), num_draws=200, **MEMBERS)
    base_S = np.random.default_rng(5).normal(0.4, 0.2, 40)
    effects = {"personalised": base_S + 0.3, "population": base_S, "population_matched": base_S + 0.4}
    found = benefit_of(outcomes(effects | {"sham": np.zeros(40)}), protocol, 0)
    assert found is not None
    assert not found["helped"]
    assert "gain over population matched: -0.10" in found["sentence"]
