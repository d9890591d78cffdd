"""A person's page shows the connectome in the units it has."""

from __future__ import annotations

import numpy as np
import pytest

from dtb.people.records import SubjectRecord
from dtb.report.example_person import _connectome_panel
from dtb.shards.manifest import CohortDescription


@pytest.mark.parametrize(
    ("made", "quantity", "largest"),
    [
        ({"kind": "pearson", "scale": "fisher_z"}, "correlation from", "0.995"),
        ({"kind": "partial", "scale": "fisher_z"}, "partial correlation from", "0.995"),
        ({"kind": "precomputed", "scale": "log of 1 + value"}, "connection, log of 1 + value from", "3"),
    ],
)
def test_a_connectome_is_shown_in_its_units(made, quantity, largest):
    record = SubjectRecord("p1", np.array([3.0, 0.5, np.nan, 0.1, np.nan, np.nan], np.float32), {}, ())
    panel = _connectome_panel(record, CohortDescription(("a", "b", "c", "d"), {"specs": []}, made, "0" * 64))
    shown = " ".join(str(panel).split())
    assert quantity in shown
    assert f"to {largest}" in shown
    assert "1 regions are absent" in shown
