"""Settings of the small made-up cohort that many tests share; the fixture `small_cohort` makes it once a session."""

from dtb.config import Config, SynthConfig

SMALL = Config(seed=1, synth=SynthConfig(num_subjects=6, num_regions=20, rest_seconds=240, num_causal_edges=8))
