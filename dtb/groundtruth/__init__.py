"""Made-up cohorts with known truth, in the format of real data."""

from dtb.lazy import public_names

__all__ = [
    "Design",
    "Person",
    "Population",
    "TaskTruth",
    "make_design",
    "make_person",
    "make_population",
    "valid_correlation",
]

_FILES = {
    "Design": ".behaviour",
    "Person": ".population",
    "Population": ".population",
    "TaskTruth": ".truth",
    "make_design": ".behaviour",
    "make_person": ".population",
    "make_population": ".population",
    "valid_correlation": ".population",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
