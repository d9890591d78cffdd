"""The notebooks in `examples/` run from top to bottom, and lie in the repository without what they printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ["twin_from_arrays", "cohort_to_figure"]


def read(name: str) -> Any:
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def run(name: str, folder: Path) -> list[Any]:
    """Execute a notebook in a folder of its own, and return the outputs of its code cells."""
    notebook = read(name)
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(folder)}}).execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(outputs: list[Any]) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


def texts(outputs: list[Any]) -> str:
    return "\n".join(output.get("text", output.get("data", {}).get("text/plain", "")) for output in outputs)


def test_every_notebook_is_executed_by_a_test_and_none_keeps_outputs() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.ipynb")) == sorted(NAMES)
    for name in NAMES:
        for cell in read(name).cells:
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None


@pytest.mark.slow
def test_a_twin_from_arrays_predicts_people_it_has_never_seen(tmp_path: Path) -> None:
    notebook = read("twin_from_arrays")
    notebook.cells.append(nbformat.v4.new_code_cell("print(f'r={r}')"))
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert pictures(outputs) == 2
    assert float(texts(outputs).split("r=")[-1]) > 0.5


@pytest.mark.cluster
@pytest.mark.own_ray
def test_a_cohort_from_start_to_figure(tmp_path: Path) -> None:
    outputs = run("cohort_to_figure", tmp_path)
    assert pictures(outputs) == 2
    assert "20 people; 0 set aside" in texts(outputs)
    assert "TwinSizes(num_regions=12" in texts(outputs)
