"""Pages of real people: marks, cells, what is not kept, what is drawn; and a nightly run that tells of every set."""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

STUDIES = Path(__file__).parents[2] / "scripts" / "studies" / "real_people"
sys.path.insert(
    0, str(STUDIES)
)  # as `python scripts/studies/real_people/page.py` has it: these files import each other by name

import everything  # noqa: E402
import page  # noqa: E402
import parts  # noqa: E402

MADE = sorted(page.KEPT.glob("*.json"))


def figure(value, lower, upper, n=100, trained=True):
    return parts.figure(value, lower, upper, n, trained=trained)


@pytest.mark.parametrize(
    ("one", "gain", "mark"),
    [
        (figure(0.5, 0.3, 0.7), figure(0.2, 0.1, 0.3), "✓ "),
        (figure(0.5, 0.3, 0.7), figure(-0.2, -0.3, -0.1), "✗ "),
        (figure(0.5, 0.3, 0.7), figure(0.2, -0.1, 0.3), "? "),
        (figure(0.1, -0.1, 0.3), figure(0.2, 0.1, 0.3), "? "),
        (figure(0.5, 0.3, 0.7), None, ""),
    ],
)
def test_a_mark_is_decided_by_intervals_and_by_30_people_at_least(one, gain, mark):
    assert page.mark(one, gain) == mark
    if gain is not None:
        assert page.mark(one, {**gain, "n": 29}) == "? "
        assert page.mark(one, {**gain, "n": 30}) == mark


def test_before_the_next_session_all_of_the_first_is_given_also_where_it_is_one_run():
    one_run = {"t, next session: mean RT r, twin, a run": figure(0.6, 0.5, 0.7)}
    several = one_run | {"t, next session: mean RT r, twin, all": figure(0.7, 0.6, 0.8)}
    assert page.amount_of(one_run, "t, next session") == "a run"
    assert page.amount_of(several, "t, next session") == "all"
    assert page.amount_of(several, "t") == "half a run"


def test_baselines_of_everybody_are_drawn_only_where_no_twin_has_that_row():
    kept = {
        "figures": {
            "two scans, connectomes: nearest": figure(1.0, 1.0, 1.0, trained=False),
            "everybody, with: mean RT r, own_mean, half a run": figure(0.8, 0.7, 0.9, trained=False),
            "everybody, without: mean RT r, own_mean, half a run": figure(0.6, 0.5, 0.7, trained=False),
            "with: mean RT r, twin, half a run": figure(0.8, 0.7, 0.9),
            "with: mean RT r, own mean, half a run": figure(0.8, 0.7, 0.9, trained=False),
        }
    }
    assert [name for name, _ in page.drawn_rows(kept)] == [
        "two scans, connectomes: nearest",
        "everybody, without: mean RT r, own_mean, half a run",
        "with: mean RT r, twin, half a run",
        "with: mean RT r, own mean, half a run",
    ]


@pytest.mark.parametrize("file", MADE, ids=lambda file: file.stem)
def test_each_page_has_its_licence_its_command_and_says_what_is_not_kept(file):
    kept = json.loads(file.read_text())
    text, name = page.details(kept), kept["set"]
    assert f"Licence: {page.LICENCES[name]}" in text
    assert f"everything.py OUT --sets {name}`" in text
    if "certificate" in kept:
        assert kept["certificate"]["sentence"] in text
    elif any(one["trained"] for one in kept["figures"].values()):
        assert "is not kept with these figures" in text
    # What is written into the repository is what the script writes.
    assert text in (page.PAGES / f"{name}.md").read_text()


@pytest.mark.parametrize("file", MADE, ids=lambda file: file.stem)
def test_a_picture_of_a_set_with_twins_shows_twins_and_their_update_curves(file):
    kept = json.loads(file.read_text())
    shown = dict(page.drawn_rows(kept))
    assert shown
    if any(", twin, " in name for name in kept["figures"]):
        assert any(one["trained"] for one in shown.values())
        curves = page.update_curves(kept)
        for name, lines in curves.items():
            amounts = [amount for amount, _ in lines["twin"]]
            assert len(amounts) == len(set(amounts)) >= 3, name
            assert all(one["lower"] <= one["value"] <= one["upper"] for _, one in lines["twin"]), name


def test_the_tables_have_every_set_with_unseen_people_and_as_many_cells_as_heads():
    for file in MADE:
        kept = json.loads(file.read_text())
        assert len(page.row_of(kept)) == len(page.COLUMNS)
        assert len(page.brief_row(kept["set"], kept)) == len(page.BRIEF)
    assert "sro_stroop, next session" in page.row_of(json.loads((page.KEPT / "sro.json").read_text()))[5]


def test_differences_are_beyond_tolerance_or_absent_and_none_where_people_are_others():
    kept = {
        "figures": {
            "exact": figure(0.5, 0.4, 0.6, trained=False),
            "trained": figure(0.5, 0.4, 0.6),
            "gone": figure(0.5, 0.4, 0.6),
        }
    }
    made = {"figures": {"exact": {"value": 0.503}, "trained": {"value": 0.59}}}
    assert [each.split(":")[0] for each in everything.differences(made, kept)] == ["exact", "gone"]
    assert not everything.differences(made, {**kept, "not_comparable": "other people"})


def test_a_set_that_fails_is_told_of_at_the_end_and_the_others_run(monkeypatch, tmp_path, capsys):
    class Fails:
        SMALLER = ""

        @staticmethod
        def study(work):
            raise SystemExit(2)

    class Goes(Fails):
        @staticmethod
        def study(work):
            work.more["protocol_sha256"] = "abc"
            return {"figure": figure(0.123456, None, None)}

    monkeypatch.setenv("DTB_REAL_DATA", str(tmp_path))
    monkeypatch.setattr(everything, "connected", lambda config: contextlib.nullcontext())
    monkeypatch.setattr(everything, "KEPT", tmp_path / "kept")
    monkeypatch.setitem(sys.modules, "song", Fails)
    monkeypatch.setitem(sys.modules, "stages", Goes)
    monkeypatch.setattr(sys, "argv", ["everything.py", str(tmp_path / "out"), "--sets", "song", "stages"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="song"):
        everything.main()
    written = json.loads((tmp_path / "out" / "stages" / "figures.json").read_text())
    assert written["figures"]["figure"]["value"] == 0.1235
    assert written["protocol_sha256"] == "abc"
    assert written["minutes"] == 0
    # What is resumed has no minutes: what was there took no time now.
    monkeypatch.setattr(sys, "argv", ["everything.py", str(tmp_path / "out"), "--sets", "stages"])
    with pytest.raises(SystemExit) as ended:
        everything.main()
    assert not ended.value.code
    assert "minutes" not in json.loads((tmp_path / "out" / "stages" / "figures.json").read_text())


def test_the_difference_from_the_own_mean_is_kept_paired_and_more_is_better():
    rng = np.random.default_rng(0)
    observed_S = rng.normal(size=40)
    told = {"living_twin": observed_S + 0.1 * rng.normal(size=40), "own_mean": observed_S + rng.normal(size=40)}
    tables = [
        pd.DataFrame(
            {
                "kind": "next session",
                "given": "t",
                "judged": "t",
                "amount": "all",
                "num_given": 30,
                "predictor": predictor,
                "pseudonym": [f"p{row}" for row in range(40)],
                "family": None,
                "figure": "mean RT",
                "observed": observed_S,
                "mean": said_S,
                "variance": 1.0,
                "crps": np.abs(said_S - observed_S),
                "log_score": 0.0,
            }
        )
        for predictor, said_S in told.items()
    ]
    found = parts.over_own_mean(pd.concat(tables, ignore_index=True))
    assert set(found) == {
        f"t, next session: mean RT {metric}, twin over own mean, all" for metric in ("r", "R2", "CRPS")
    }
    for name, one in found.items():
        assert 0 < one["lower"] <= one["value"] <= one["upper"], name
        assert one["n"] == 40
    gap = np.abs(told["own_mean"] - observed_S).mean() - np.abs(told["living_twin"] - observed_S).mean()
    assert found["t, next session: mean RT CRPS, twin over own mean, all"]["value"] == pytest.approx(gap)


def test_what_a_certificate_says_is_kept_with_its_counts_and_where_the_twin_is_worse(tmp_path):
    row = {"task": "t", "metric": "RT CRPS", "unit": "seconds", "twin": 0.1087, "group_mean": 0.0826, "num_people": 8}
    row |= {"difference": 0.0261, "lower": 0.0016, "upper": 0.0527}
    said = {
        "verdict": "no",
        "sentence": "This twin may not be called personal.",
        "fit": {"sentence": "The twin does not fit.", "tests": [{**row, "is_worse": True}, {**row, "is_worse": False}]},
        "tests": [{"verdict": "no"}, {"verdict": "undecided"}, {"verdict": "undecided"}],
    }
    (tmp_path / "certificate.json").write_text(json.dumps(said))
    kept = parts.certificate_of(tmp_path)
    assert kept["tests"] == {"no": 1, "undecided": 2}
    assert kept["worse_than_the_group_mean"] == [row]
    text = page.certified({"certificate": kept, "figures": {}})
    assert "This twin may not be called personal. The twin does not fit. Its tests: 1 no, 2 undecided." in text
