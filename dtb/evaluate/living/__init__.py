"""The evaluation of a living twin: how well people are predicted after so many of their own trials, beside baselines that see the same."""

from dtb.lazy import public_names

__all__ = ["Gaussian", "Living", "Question"]

_FILES = {
    "Gaussian": ".gaussian",
    "Living": ".evaluate",
    "Question": ".questions",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
