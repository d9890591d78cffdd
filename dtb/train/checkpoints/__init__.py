"""Checkpoints of a training: written whole, signed, and loaded without running code."""
