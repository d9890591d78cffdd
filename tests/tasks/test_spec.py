"""A task specification is refused with the key and the reason, and a shipped one says what its name promises."""

import copy

import pytest

from dtb.errors import TaskError
from dtb.tasks.spec import load_task, shipped_tasks, task_from_mapping, task_to_plain

PLAIN = task_to_plain(load_task("stroop"))


def changed(path: str, value):
    plain = copy.deepcopy(PLAIN)
    *above, last = path.split(".")
    place = plain
    for key in above:
        place = place[key]
    place[last] = value
    return plain


@pytest.mark.parametrize("name", shipped_tasks())
def test_shipped_specifications_survive_being_written(name):
    spec = load_task(name)
    assert task_from_mapping(task_to_plain(spec), "here") == spec
    assert spec.name == name


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("contrast", {"congruent": 1}, "sums? to 0"),
        ("contrast", {"conguent": 1, "incongruent": -1}, "conguent"),
        ("trials.correct.values", {"red": "pink"}, "`pink` is not among `alternatives`"),
        ("trials.reaction_time.unit", "min", "trials.reaction_time.unit"),
        ("trials.reaction_time.omited", ["n/a"], "did you mean `omitted`"),
        ("domian", "cognitive", "did you mean `domain`"),
        ("trials.conditions", {"a": {"trial_type": [True]}}, "put the word in quotes"),
        ("alternatives", ["red", "red", "green"], "twice"),
    ],
)
def test_mistakes_are_named(path, value, message):
    with pytest.raises(TaskError, match=message):
        task_from_mapping(changed(path, value), "my.yaml")


def test_an_unknown_task_is_answered_with_the_known_ones():
    with pytest.raises(TaskError, match=r"'strop'.*stroop"):
        load_task("strop")
