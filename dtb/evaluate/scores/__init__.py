"""Scores of predictions: metrics, statistics, figures and their tables."""

from dtb.lazy import public_names

__all__ = [
    "Covariates",
    "Estimate",
    "Evidence",
    "Figure",
    "ObservedTrials",
    "People",
    "choice_log_loss",
    "crps_of_hazard",
    "crps_of_sample",
    "estimate",
    "identification",
    "own_minus_others",
]

_FILES = {
    "Covariates": ".covariates",
    "Estimate": ".statistics",
    "Evidence": ".evidence",
    "Figure": ".figure",
    "ObservedTrials": ".observed",
    "People": ".observed",
    "choice_log_loss": ".metrics",
    "crps_of_hazard": ".metrics",
    "crps_of_sample": ".metrics",
    "estimate": ".statistics",
    "identification": ".metrics",
    "own_minus_others": ".metrics",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
