"""The documentation's example does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "twin-in-python.md"


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(code)


def run_example(folder: Path, num_epochs: int, monkeypatch: pytest.MonkeyPatch) -> float:
    code = example()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, object] = {}
    exec(compile(code.replace("num_epochs = 80", f"num_epochs = {num_epochs}"), str(PAGE), "exec"), names)
    return float(names["r"])  # type: ignore[arg-type]


def test_example_has_as_many_lines_as_its_title_says() -> None:
    assert PAGE.read_text().startswith("# A twin in sixty lines of Python\n")
    lines = [line for line in example().splitlines() if line.strip() and not line.startswith("#")]
    assert 55 <= len(lines) <= 60


def test_example_runs_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_example(tmp_path, 1, monkeypatch)
    assert (tmp_path / "twin.png").stat().st_size > 10_000


@pytest.mark.slow
def test_example_predicts_people_it_never_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_example(tmp_path, 80, monkeypatch) > 0.5
