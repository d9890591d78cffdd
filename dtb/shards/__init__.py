"""People's records in tar shards with a manifest: writing, splitting, and reading in a fixed order."""

from dtb.lazy import public_names

__all__ = [
    "BatchMaker",
    "Cohort",
    "CohortDescription",
    "Manifest",
    "ShardEntry",
    "ShardWriter",
    "Span",
    "Split",
    "SubjectStream",
    "decode_sample",
    "encode_sample",
    "make_split",
    "open_cohort",
]

_FILES = {
    "BatchMaker": ".batches",
    "Cohort": ".read",
    "CohortDescription": ".manifest",
    "Manifest": ".manifest",
    "ShardEntry": ".manifest",
    "ShardWriter": ".write",
    "Span": ".split",
    "Split": ".split",
    "SubjectStream": ".stream",
    "decode_sample": ".sample",
    "encode_sample": ".sample",
    "make_split": ".divide",
    "open_cohort": ".read",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
