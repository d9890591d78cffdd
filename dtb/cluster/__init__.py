"""Ray: a cluster that is joined or started, work that is spread over it, and the folder and variables that its processes share."""

from dtb.lazy import public_names

__all__ = ["SharedFolder", "as_finished", "connected"]

_FILES = {
    "SharedFolder": ".shared_folder",
    "as_finished": ".fan_out",
    "connected": ".connection",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
