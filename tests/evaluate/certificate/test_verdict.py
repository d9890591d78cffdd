"""Every verdict is one short sentence with one step to take, and the command of the step is one that dtb has."""

import shlex

import pytest

from dtb.cli.command_line import parse
from dtb.evaluate.certificate.fit import Circumstances, _reasons
from dtb.evaluate.certificate.verdict import MOST_WORDS, verdict_of

PEOPLE = {"kind": "subjects", "people": {"number": 1234}}
REASONS = [
    {"words": reason.words, "remedy": reason.remedy}
    for reason in _reasons(Circumstances("improving", 350, "--max-steps 1500", 0.2, 0.1, 12))
]


def asked(kind="connectome", verdict="undecided", metric="RT CRPS", task="stroop", needs=""):
    return {"kind": kind, "verdict": verdict, "metric": metric, "task": task, "needs": needs, "n": 1234}


def certificate(verdict="undecided", tests=(), **others):
    return {"verdict": verdict, "tests": list(tests), "about": PEOPLE, "fit": {"fits": True}, **others}


def worse(*tasks, reasons=()):
    tests = [
        {"task": task, "metric": metric, "num_people": 1234, "is_worse": True}
        for task in tasks
        for metric in ("choice log-loss", "RT CRPS")
    ]
    return certificate(fit={"fits": False, "tests": tests, "reasons": list(reasons)})


def personal(verdict, metric, *tasks):
    passed = [asked("person", "yes", metric, task) for task in tasks]
    return certificate(verdict, [*passed, asked(verdict="yes")])


METRICS = ("mean RT partial r", "condition effect partial r", "BOLD map partial r")
CASES = [
    ("unknown", None),
    ("misfit", worse("stroop")),
    ("misfit", worse("stroop", "hammer", "scap")),
    *(("misfit", worse("stroop", reasons=[reason])) for reason in REASONS),
    ("misfit", {**worse("stroop"), "about": {"kind": "temporal", "people": {"number": 40}}}),
    ("few", certificate(about={"kind": "subjects", "people": {"number": 12}})),
    ("few", certificate(about={}, tests=[{**asked(), "n": 1}])),
    ("not-shown", certificate("no", about={"kind": "temporal", "people": {"number": 40}})),
    *(("personal", personal("yes", metric, *tasks)) for metric in METRICS for tasks in (["stroop"], ["a", "b", "c"])),
    *(
        ("provisional", personal("provisional", metric, *tasks))
        for metric in METRICS
        for tasks in (["stroop"], ["a", "b"])
    ),
    ("not-shown", certificate(tests=[asked(needs="about 1,290 people, or 90 with twice the trials")])),
    ("not-shown", certificate(tests=[asked(verdict="yes"), asked("person", metric=METRICS[0])])),
    ("not-personal", certificate("no", [asked(verdict="no")])),
    ("not-personal", certificate("no", [asked(verdict="yes"), asked("person", "no", METRICS[0])])),
]


@pytest.mark.parametrize(("key", "found"), CASES)
def test_a_verdict_is_at_most_twenty_words_with_one_command_that_dtb_has(key, found, tmp_path, monkeypatch):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "config.yaml").write_text("name: mine\n")
    monkeypatch.chdir(tmp_path)  # commands are given from within the folder of the run
    verdict = verdict_of(found)
    assert verdict.key == key
    assert 0 < len(verdict.sentence.split()) <= MOST_WORDS == 20
    assert len(verdict.badge.split()) <= 3
    for words in (verdict.sentence, verdict.step):
        assert words[0].isupper() or words[0].isdecimal()
        assert words.endswith(".")
        assert "`" not in words
    program, name, *arguments = shlex.split(verdict.command)
    assert program == "dtb"
    parse(name, arguments)


def test_badges_differ_in_more_than_colour():
    verdicts = {verdict.key: verdict for _, found in CASES for verdict in [verdict_of(found)]}
    assert len(verdicts) == 7
    assert len({(verdict.mark, verdict.badge) for verdict in verdicts.values()}) == 7


def test_how_many_people_would_decide_it_stands_in_the_command():
    (found,) = [found for key, found in CASES if key == "not-shown" and "1,290" in str(found)]
    assert verdict_of(found).command == "dtb plan planned --people 1290"


def test_of_a_twin_that_does_not_fit_nothing_else_is_said():
    found = {**personal("yes", METRICS[0], "stroop"), "fit": worse("stroop")["fit"]}
    assert verdict_of(found).key == "misfit"
