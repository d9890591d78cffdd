"""Digital twin brains: generative models of single people, trained on connectomes, behaviour and BOLD.

The rooms, in the order in which a person's data crosses them: ``tasks``, ``cohort``, ``shards``, ``train``, ``twin``,
``evaluate``, ``intervene``, ``fleet``, ``report``. The twin itself is pure PyTorch and needs none of the others.
"""

from dtb.version import __version__

__all__ = ["__version__"]
