"""Jobs for clusters: rendering and sending to Ray, Kubernetes or Slurm."""

from dtb.lazy import public_names

__all__ = ["Bundle", "Nodes", "Request", "pack", "render_rayjob", "render_slurm"]

_FILES = {
    "Bundle": ".bundle",
    "Nodes": ".nodes",
    "Request": ".command",
    "pack": ".bundle",
    "render_rayjob": ".rayjob",
    "render_slurm": ".slurm",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
