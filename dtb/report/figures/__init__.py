"""The figures of the report: arrays in, SVG out, one function per figure. They read no files and do not know the page.

Each figure is one panel as wide as a phone, so that the page can set several side by side on a wide screen and below each other on a
phone without shrinking their text. Each has an alternative text with the numbers that it shows.
"""

from dtb.lazy import public_names

__all__ = [
    "before_and_after",
    "dose_response",
    "effects",
    "estimates",
    "front",
    "learning_curves",
    "matrix",
    "predicted_against_observed",
    "standing",
    "variance_left",
]

_FILES = {
    "before_and_after": ".changes",
    "dose_response": ".changes",
    "effects": ".changes",
    "estimates": ".evaluation",
    "front": ".changes",
    "learning_curves": ".evaluation",
    "matrix": ".matrices",
    "predicted_against_observed": ".evaluation",
    "standing": ".evaluation",
    "variance_left": ".changes",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
