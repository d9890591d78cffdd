"""Training: the step and the loop on DeepSpeed, checkpoints, ranks on Ray Train, sweeps on Ray Tune."""

from dtb.lazy import public_names

__all__ = ["Budget", "Checkpoint", "Normalisation", "Plan", "make_plan", "measure", "save_checkpoint"]

_FILES = {
    "Budget": ".budget",
    "Checkpoint": ".checkpoints.checkpoint",
    "Normalisation": ".start.normalise",
    "Plan": ".plan",
    "make_plan": ".plan",
    "measure": ".start.normalise",
    "save_checkpoint": ".checkpoints.checkpoint",
}
__getattr__, __dir__ = public_names(__name__, _FILES)
