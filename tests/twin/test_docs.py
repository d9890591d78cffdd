"""The documentation's example does what it says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import dtb

PAGE = Path(__file__).parents[2] / "docs" / "twin-in-python.md"


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(code)


def run_example(folder: Path, num_epochs: int, monkeypatch: pytest.MonkeyPatch) -> float:
    code = example()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, object] = {}
    exec(compile(code.replace("max_epochs=80", f"max_epochs={num_epochs}"), str(PAGE), "exec"), names)
    return float(names["r"])  # type: ignore[arg-type]


def test_example_has_as_many_lines_as_its_title_says() -> None:
    assert PAGE.read_text().startswith("# A twin in forty lines of Python\n")
    lines = [line for line in example().splitlines() if line.strip() and not line.startswith("#")]
    assert 35 <= len(lines) <= 40


@pytest.mark.slow
def test_example_runs_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_example(tmp_path, 1, monkeypatch)
    assert (tmp_path / "twin.png").stat().st_size > 10_000


def test_the_table_of_stages_names_what_there_is() -> None:
    rows = re.findall(r"^\| `dtb \w+` \| `(\w+)\((.*?)\)` \| `(\w+)`: (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == 13
    for function, arguments, result, offers in rows:
        signature = inspect.signature(getattr(dtb, function))
        assert arguments.split(", ") == [name for name in signature.parameters if name not in {"resume", "truth"}]
        assert signature.return_annotation == result
        for name in re.findall(r"`(\w+)(?:\(\))?`", offers):
            assert hasattr(getattr(dtb, result), name), f"{result}.{name}"


@pytest.mark.slow
def test_example_predicts_people_it_never_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_example(tmp_path, 80, monkeypatch) > 0.5
