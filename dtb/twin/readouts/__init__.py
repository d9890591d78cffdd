"""From hidden states to presses and BOLD."""

from dtb.lazy import public_names

__all__ = [
    "PressDistribution",
    "at_volumes",
    "count_trials",
    "first_press",
    "press_nll",
    "spline_matrix",
    "target_at_steps",
    "windows",
]

_FILES = {
    "PressDistribution": ".press",
    "at_volumes": ".haemodynamics",
    "count_trials": ".press_loss",
    "first_press": ".press",
    "press_nll": ".press_loss",
    "spline_matrix": ".interpolation",
    "target_at_steps": ".interpolation",
    "windows": ".press",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
