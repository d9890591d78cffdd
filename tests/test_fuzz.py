"""Files of every kind, mutated at random: whoever reads one gives an answer or one sentence, and no traceback; none hangs.

`docs/security.md` has the counts of 500 mutations each.
"""

from __future__ import annotations

import pytest

from tests.formats import FORMATS
from tests.mutated import outcomes


@pytest.mark.slow
@pytest.mark.parametrize("number", [20, pytest.param(500, marks=pytest.mark.on_request)])
@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_file_is_read_or_refused_in_a_sentence(tmp_path, name, number):
    found, faults = outcomes(FORMATS[name](tmp_path), number)
    assert not faults
    assert found["refused"] + found["read"] == found.total() > 0
