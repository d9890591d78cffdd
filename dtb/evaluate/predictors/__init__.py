"""The predictors: the twin, regressions, and baselines without a brain."""

from dtb.lazy import public_names

__all__ = ["Prediction", "Summary", "TrialPrediction", "group_mean", "own_earlier", "predict"]

_FILES = {
    "Prediction": ".predictions",
    "Summary": ".predictions",
    "TrialPrediction": ".predictions",
    "group_mean": ".baselines",
    "own_earlier": ".baselines",
    "predict": ".twin",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
