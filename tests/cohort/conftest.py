"""One small ground-truth cohort for all tests of this folder."""

from pathlib import Path

import pytest

from dtb.config import Config, SynthConfig
from dtb.groundtruth.synthesise import synthesise

SMALL = Config(seed=1, synth=SynthConfig(num_subjects=6, num_regions=20, rest_seconds=240, num_causal_edges=8))


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory) -> Path:
    """Folder of a cohort made with `SMALL`."""
    out = tmp_path_factory.mktemp("synth") / "cohort"
    synthesise(SMALL, out, resume=False)
    return out
