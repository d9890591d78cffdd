"""What all stages share about a person: record, edges, networks, reliability, coverage and the GLM of a run."""

from dtb.lazy import public_names

__all__ = [
    "ConnectomeKind",
    "EdgeReliability",
    "RegionCoverage",
    "Run",
    "SubjectRecord",
    "edges_from_matrix",
    "load_reliability",
    "matrix_from_edges",
    "network_of",
    "run_contrast",
]

_FILES = {
    "ConnectomeKind": ".connectome_kinds",
    "EdgeReliability": ".reliability",
    "RegionCoverage": ".coverage",
    "Run": ".records",
    "SubjectRecord": ".records",
    "edges_from_matrix": ".records",
    "load_reliability": ".reliability",
    "matrix_from_edges": ".records",
    "network_of": ".networks",
    "run_contrast": ".glm",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
