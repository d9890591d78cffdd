"""The recurrent weights of some people, in either of their two forms.

Shape letters: see `dtb.twin.recurrence.scan`.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from dtb.twin.precision import product


class Recurrence(NamedTuple):
    """Recurrent weights of some people: all of each person's own, or one shared matrix and a personal change of low rank.

    Attributes
    ----------
    full_SGN : (S, G, N) Tensor or None
        Each person's weights.
    shared_GN : (G, N) Tensor or None
        Weights that all share, where `full_SGN` is None.
    left_SGQ, right_SNQ : Tensor or None
        The personal change: ``W_s = shared + left_s @ right_s.T``.
    """

    full_SGN: Tensor | None = None
    shared_GN: Tensor | None = None
    left_SGQ: Tensor | None = None
    right_SNQ: Tensor | None = None

    @property
    def num_hidden(self) -> int:
        """How many units there are."""
        weights = self.shared_GN if self.full_SGN is None else self.full_SGN
        assert weights is not None
        return weights.shape[-1]

    @property
    def dense_bytes(self) -> int:
        """Size of one person's weights, multiplied out."""
        weights_GN = self.shared_GN if self.full_SGN is None else self.full_SGN[0]
        assert weights_GN is not None
        return weights_GN.numel() * weights_GN.element_size()

    def dense(self) -> Tensor:
        """Return each person's weights as one (S, G, N) tensor."""
        if self.full_SGN is not None:
            return self.full_SGN
        assert self.shared_GN is not None
        assert self.left_SGQ is not None
        assert self.right_SNQ is not None
        return self.shared_GN + product(self.left_SGQ, self.right_SNQ.mT)
