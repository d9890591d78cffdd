"""The examples in docstrings run with the tests."""

import doctest
from pathlib import Path

import dtb


def test_bare_pytest_collects_the_examples_of_the_package(request):
    assert request.config.getoption("doctestmodules")
    assert {"tests", "dtb", "scripts"} <= set(request.config.getini("testpaths"))


def test_there_are_examples_to_run():
    files = Path(dtb.__file__).parent.rglob("*.py")
    examples = [doctest.DocTestParser().get_examples(path.read_text(encoding="utf-8")) for path in files]
    assert sum(map(bool, examples)) >= 40
