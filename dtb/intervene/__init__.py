"""The search for a change of a connectome that moves an indicator of the twin: pure PyTorch."""

from dtb.lazy import public_names

__all__ = [
    "EdgeSpace",
    "Found",
    "GainSpace",
    "Goal",
    "Indicator",
    "Protocol",
    "Start",
    "TaskOutline",
    "load_protocol",
    "make_goal",
    "nearest_correlation",
    "pls_direction",
    "smooth_gradient",
]

_FILES = {
    "EdgeSpace": ".spaces",
    "Found": ".search",
    "GainSpace": ".spaces",
    "Goal": ".goal",
    "Indicator": ".indicators",
    "Protocol": ".protocol",
    "Start": ".spaces",
    "TaskOutline": ".indicators",
    "load_protocol": ".protocol",
    "make_goal": ".goal",
    "nearest_correlation": ".constraints",
    "pls_direction": ".controls",
    "smooth_gradient": ".controls",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
