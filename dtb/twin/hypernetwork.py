"""From a connectome to the parameters of that person's network.

An encoder reads the standardised connectome, in which absent edges carry nothing; a linear head turns its output, or an explicit
latent of few numbers, into parameters. With `generation: full` the head makes every weight. With `low_rank` it makes a personal
change, of low rank, to weights that all people share, and personal gains and biases. With `additive` it makes biases of the units alone,
which is a further input that stays the same: what a connectome is worth without generated weights.

Shape letters: `S` subject, `E` connectome edge, `Z` latent, `P` generated parameter, `N` hidden unit, `G` row of the recurrent
weights, `I` stimulus channel, `O` readout row (response alternatives, then BOLD regions), `Q` rank.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dtb.config import TwinConfig
from dtb.twin.noise import dropout_mask
from dtb.twin.recurrence.cells import num_rows
from dtb.twin.recurrence.scan import exact
from dtb.twin.recurrence.weights import Recurrence
from dtb.twin.sizes import TwinSizes

TYPICAL_PRESSES_PER_SECOND = 0.3
PERSONAL_SCALE = 0.1
"""Size of the differences between people in a fresh twin without a latent, relative to what they differ around."""
LATENT_REACH, LATENT_START = 0.5, 0.3
"""The same for people whose latents differ by 1, and the size of a fresh twin's latents: they grow as training finds a use for them."""
LEARNED_SHARE = 0.1
"""How far learned layers move latents that begin at readers of connectomes, relative to latents that begin at nothing."""
FASTEST_SECONDS, SLOWEST_SECONDS = 0.1, 2.0
"""Time constants of a fresh leaky or gated network lie between these."""


class Generated(NamedTuple):
    """The parameters of some people's networks.

    Attributes
    ----------
    input_SGI : (S, G, I) Tensor
    bias_SG : (S, G) Tensor
    recurrence : Recurrence
    rate_SN : (S, N) Tensor or None
        Rates of the leaky cell.
    readout_SON : (S, O, N) Tensor
    readout_bias_SO : (S, O) Tensor
    latent_SZ : (S, Z) Tensor or None
        What they were made from, where there is an explicit latent.
    hrf_weight_SD : (S, 2) Tensor or None
        Weights of the time and dispersion derivatives of the haemodynamic response.
    """

    input_SGI: Tensor
    bias_SG: Tensor
    recurrence: Recurrence
    rate_SN: Tensor | None
    readout_SON: Tensor
    readout_bias_SO: Tensor
    latent_SZ: Tensor | None
    hrf_weight_SD: Tensor | None


class Encoder(nn.Module):
    """Standardised edges to features: dropout, principal components where asked for, linear layers with Mish after each.

    An explicit latent is a linear function of the input plus a linear function of the last layer's features: what a connectome says
    about behaviour is mostly linear, and the layers add what is not.

    Attributes
    ----------
    components_EC : (E, C) Tensor or None
        Directions that the layers read in place of the edges; random ones until `Twin.set_normalisation` sets them.
    reader_EZ : (E, Z) Tensor or None
        What latents are before anything is learned, as weights of the input; 0 until `Twin.set_normalisation` sets it. Training leaves it
        as it is: what is learned is added, and weight decay draws that, not the reader, towards 0.
    learned_share : () Tensor or None
        Factor of what is learned.
    """

    components_EC: Tensor | None
    reader_EZ: Tensor | None
    learned_share: Tensor | None

    def __init__(self, config: TwinConfig, num_edges: int) -> None:
        super().__init__()
        self.dropout = config.connectome_dropout
        components_EC = None
        if config.connectome_components:
            components_EC = torch.randn(num_edges, config.connectome_components) / math.sqrt(num_edges)
        self.register_buffer("components_EC", components_EC)
        has_latent = config.latent_size > 0
        self.register_buffer("reader_EZ", torch.zeros(num_edges, config.latent_size) if has_latent else None)
        self.register_buffer("learned_share", torch.tensor(1.0) if has_latent else None)
        widths = [config.connectome_components or num_edges, *config.encoder_widths]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.num_features = config.latent_size or widths[-1]
        self.direct = self.indirect = None
        if config.latent_size:
            self.direct = nn.Linear(widths[0], config.latent_size)
            nn.init.normal_(self.direct.weight, std=LATENT_START / math.sqrt(widths[0]))
            nn.init.zeros_(self.direct.bias)
        if config.latent_size and config.encoder_widths:
            self.indirect = nn.Linear(widths[-1], config.latent_size, bias=False)
            nn.init.normal_(self.indirect.weight, std=LATENT_START / math.sqrt(widths[-1]))

    def forward(self, edges_SE: Tensor, seed_S: Tensor | None, given_SZ: Tensor | None = None) -> Tensor:
        """Encode standardised edges, 0 where absent; `seed_S` drives the dropout in training.

        `given_SZ` is what readers say of people to whom they were not fitted, in place of what they say here; NaN where there is
        none.
        """
        given = edges_SE
        if self.training and self.dropout > 0 and seed_S is not None:
            given = given * dropout_mask(seed_S, edges_SE.shape[1], self.dropout).to(given)
        read = given
        if self.components_EC is not None:
            read = read @ self.components_EC.to(read.dtype)
        features = read
        for layer in self.layers:
            features = nn.functional.mish(_apply(layer, features))
        if self.direct is None:
            return features
        latent_SZ = _apply(self.direct, read)
        if self.indirect is not None:
            latent_SZ = latent_SZ + _apply(self.indirect, features)
        assert self.reader_EZ is not None
        assert self.learned_share is not None
        said_SZ = given @ self.reader_EZ.to(given.dtype)
        if given_SZ is not None:
            said_SZ = torch.where(given_SZ.isnan(), said_SZ, given_SZ.to(said_SZ.dtype))
        return said_SZ + self.learned_share * latent_SZ

    @torch.no_grad()
    def begin_at(self, reader_EZ: Tensor) -> None:
        """Initialise latents at what a reader says, with nothing learned beside it.

        Raises
        ------
        ValueError
            The shape is not this encoder's.
        """
        wanted = None if self.reader_EZ is None else tuple(self.reader_EZ.shape)
        if self.reader_EZ is None or self.learned_share is None or tuple(reader_EZ.shape) != wanted:
            raise ValueError(f"reader_EZ has shape {tuple(reader_EZ.shape)}; this twin's is {wanted}")
        self.reader_EZ.copy_(reader_EZ)
        self.learned_share.fill_(LEARNED_SHARE)
        for layer in (self.direct, self.indirect):
            if layer is not None:
                layer.weight.zero_()


def _apply(layer: nn.Module, values: Tensor) -> Tensor:
    """Apply a linear layer in that layer's own precision."""
    assert isinstance(layer, nn.Linear)
    result: Tensor = layer(values.to(layer.weight.dtype))
    return result


class SharedWeights(nn.Module):
    """The weights that all people have in common, unless all are generated."""

    def __init__(self, config: TwinConfig, sizes: TwinSizes) -> None:
        super().__init__()
        hidden = config.num_hidden
        rows = num_rows(config.cell, hidden)
        self.recurrent_GN = nn.Parameter(torch.randn(rows, hidden) * 0.9 / math.sqrt(hidden))
        self.input_GI = nn.Parameter(torch.randn(rows, sizes.num_channels) * 0.5)
        self.readout_ON = nn.Parameter(torch.randn(sizes.num_outputs, hidden) * PERSONAL_SCALE / math.sqrt(hidden))

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return recurrent, input and readout weights.

        They are copies: with ZeRO 3 the parameters themselves are whole only while this module runs.
        """
        return self.recurrent_GN.clone(), self.input_GI.clone(), self.readout_ON.clone()


class Hypernetwork(nn.Module):
    """Connectome to parameters.

    Parameters
    ----------
    config : TwinConfig
    sizes : TwinSizes
    """

    def __init__(self, config: TwinConfig, sizes: TwinSizes) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, sizes.num_edges)
        self.shapes = generated_shapes(config, sizes)
        self.head = nn.Linear(self.encoder.num_features, sum(math.prod(shape) for shape in self.shapes.values()))
        self.shared = None if config.generation == "full" else SharedWeights(config, sizes)
        _initialise_head(self.head, self.shapes, config, sizes)

    def forward(
        self,
        edges_SE: Tensor,
        seed_S: Tensor | None,
        given_SZ: Tensor | None = None,
        effect_SZ: Tensor | None = None,
    ) -> Generated:
        """Generate parameters.

        Parameters
        ----------
        edges_SE : (S, E) Tensor
            Standardised edges, 0 where absent.
        seed_S : (S,) int64 Tensor or None
            Seeds of the dropout in training; none drops nothing.
        given_SZ : (S, Z) Tensor or None
            See `Encoder`.
        effect_SZ : (S, Z) Tensor or None
            People's own effects, beside what their connectomes say.

        Returns
        -------
        Generated
            In float32, whatever precision the hypernetwork computes in.
        """
        features_SZ = self.encoder(edges_SE, seed_S, given_SZ)
        if effect_SZ is not None:
            features_SZ = exact(features_SZ) + exact(effect_SZ)
        return self.decode(features_SZ)

    def decode(self, features_SZ: Tensor) -> Generated:
        """Generate parameters from the encoder's output: from latents, where there is an explicit one."""
        features_SZ = features_SZ.to(self.head.weight.dtype)
        own = self._named(exact(self.head(features_SZ)))
        if self.config.generation == "additive":
            own = self._named(exact(self.head(torch.zeros_like(features_SZ)))) | {"bias_G": own["bias_G"]}
        rate_SN = torch.sigmoid(own["rate_N"]) if "rate_N" in own else None
        latent_SZ = exact(features_SZ) if self.config.latent_size else None
        if self.shared is None:
            return Generated(
                own["input_GI"],
                own["input_bias_G"] + own["recurrent_bias_G"],
                Recurrence(own["recurrent_GN"]),
                rate_SN,
                own["readout_ON"],
                own["readout_bias_O"],
                latent_SZ,
                own.get("hrf_weight_D"),
            )
        recurrent_GN, input_GI, readout_ON = (exact(weight) for weight in self.shared())
        hidden = self.config.num_hidden
        if self.config.generation == "additive":
            nothing_SGQ, nothing_SNQ = (features_SZ.new_zeros(len(features_SZ), size, 1) for size in recurrent_GN.shape)
            return Generated(
                input_GI.expand(len(features_SZ), -1, -1),
                own["bias_G"],
                Recurrence(None, recurrent_GN, exact(nothing_SGQ), exact(nothing_SNQ)),
                rate_SN,
                readout_ON.expand(len(features_SZ), -1, -1),
                own["readout_bias_O"],
                latent_SZ,
                own.get("hrf_weight_D"),
            )
        right_SNQ, input_right_SIQ = own["right_DQ"].split([hidden, input_GI.shape[1]], dim=1)
        input_SGI = (1.0 + own["input_gain_G"])[..., None] * input_GI + own["left_GQ"] @ input_right_SIQ.mT
        readout_SON = (1.0 + own["readout_gain_O"])[..., None] * readout_ON
        readout_SON = readout_SON + own["readout_left_OQ"] @ own["readout_right_NQ"].mT
        return Generated(
            input_SGI,
            own["bias_G"],
            Recurrence(None, recurrent_GN, own["left_GQ"], right_SNQ),
            rate_SN,
            readout_SON,
            own["readout_bias_O"],
            latent_SZ,
            own.get("hrf_weight_D"),
        )

    def _named(self, generated_SP: Tensor) -> dict[str, Tensor]:
        pieces = generated_SP.split([math.prod(shape) for shape in self.shapes.values()], dim=1)
        return {
            name: piece_SP.unflatten(1, shape)
            for (name, shape), piece_SP in zip(self.shapes.items(), pieces, strict=True)
        }


def generated_shapes(config: TwinConfig, sizes: TwinSizes) -> dict[str, tuple[int, ...]]:
    """Name the generated parameters and their shapes, in the order of the head's rows.

    Examples
    --------
    >>> from dtb.config import TwinConfig
    >>> paper = TwinConfig(num_hidden=400, cell="elman", generation="full", latent_size=0, person_effects=False)
    >>> sum(math.prod(shape) for shape in generated_shapes(paper, TwinSizes(446, 9, 3, 20)).values())
    173623
    """
    hidden, outputs, channels, rank = config.num_hidden, sizes.num_outputs, sizes.num_channels, config.rank
    rows = num_rows(config.cell, hidden)
    shapes: dict[str, tuple[int, ...]]
    if config.generation == "full":
        shapes = {
            "input_GI": (rows, channels),
            "input_bias_G": (rows,),
            "recurrent_GN": (rows, hidden),
            "recurrent_bias_G": (rows,),
            "readout_ON": (outputs, hidden),
            "readout_bias_O": (outputs,),
        }
    elif config.generation == "additive":
        shapes = {"bias_G": (rows,), "readout_bias_O": (outputs,)}
    else:
        # The personal change acts on hidden states and stimulus channels side by side: D = N + I columns of one rank-Q matrix.
        shapes = {
            "left_GQ": (rows, rank),
            "right_DQ": (hidden + channels, rank),
            "input_gain_G": (rows,),
            "bias_G": (rows,),
            "readout_left_OQ": (outputs, rank),
            "readout_right_NQ": (hidden, rank),
            "readout_gain_O": (outputs,),
            "readout_bias_O": (outputs,),
        }
    if config.cell == "leaky":
        shapes["rate_N"] = (hidden,)
    if config.hrf_derivatives:
        shapes["hrf_weight_D"] = (2,)
    return shapes


@torch.no_grad()
def _initialise_head(head: nn.Linear, shapes: dict[str, tuple[int, ...]], config: TwinConfig, sizes: TwinSizes) -> None:
    """Initialise the head: the bias is a stable network, the same for all; the weights are small differences around it.

    A head with torch's usual initial weights would make networks whose recurrent weights grow with the encoder's output: chaotic
    from the start, with vanishing or exploding gradients.
    """
    bias = torch.zeros(head.out_features)
    spread = torch.ones(head.out_features)
    start = 0
    for name, shape in shapes.items():
        part = slice(start, start + math.prod(shape))
        base, scale = _start_values(name, shape, config, sizes)
        bias[part], spread[part] = base.flatten(), scale
        start = part.stop
    head.bias.copy_(bias)
    reach = LATENT_REACH if config.latent_size else PERSONAL_SCALE
    head.weight.normal_().mul_(spread[:, None] * reach / math.sqrt(head.in_features))


def _start_values(name: str, shape: tuple[int, ...], config: TwinConfig, sizes: TwinSizes) -> tuple[Tensor, float]:
    """Return what a parameter begins at for everyone, and the size of the values it takes."""
    hidden = config.num_hidden
    usual = 1.0 / math.sqrt(hidden)
    uniform = torch.empty(shape).uniform_(-usual, usual)
    if name == "rate_N":
        return _rates(hidden, config.step_seconds), 1.0
    if name in {"bias_G", "input_bias_G"} and config.cell == "gated":
        candidate = uniform[: len(uniform) // 2]
        return torch.cat([_rates(hidden, config.step_seconds), candidate]), 1.0
    if name in {"readout_bias_O"}:
        base = torch.zeros(shape)
        if config.press == "hazard":
            base[: sizes.num_alternatives] = math.log(math.expm1(TYPICAL_PRESSES_PER_SECOND))
        return base, 1.0
    if name in {"left_GQ", "readout_left_OQ", "input_gain_G", "readout_gain_O", "hrf_weight_D"}:
        return torch.zeros(shape), 1.0
    if name in {"right_DQ", "readout_right_NQ"}:
        return torch.randn(shape) * usual, usual
    if name == "readout_ON":
        return uniform * PERSONAL_SCALE, usual
    if name == "input_GI" and config.cell != "elman":
        return torch.randn(shape) * 0.5, 0.5
    return uniform, usual


def _rates(num_hidden: int, step_seconds: float) -> Tensor:
    """Spread time constants evenly over their logarithm; give the logits of the rates."""
    seconds = torch.logspace(math.log10(FASTEST_SECONDS), math.log10(SLOWEST_SECONDS), num_hidden)
    rate = -torch.expm1(-step_seconds / seconds)
    return torch.logit(rate)
