"""The digital twin of a person: from a connectome to choices, reaction times and BOLD.

Shape letters: `S` subject, `K` segment, `T` model step, `V` volume, `N` hidden unit, `R` BOLD region, `E` connectome edge,
`I` stimulus channel, `A` response alternative, `O` readout row, `Z` latent, `D` draw, `J` trial.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dtb.config import TwinConfig
from dtb.twin.batch import Batch, TrialTensors
from dtb.twin.hypernetwork import Generated, Hypernetwork
from dtb.twin.noise import performance_seeds, process_noise
from dtb.twin.outputs import Simulation, TwinOutput
from dtb.twin.person_effects import PersonPrior
from dtb.twin.posterior import Posterior, condition, prior_of
from dtb.twin.precision import ieee, product
from dtb.twin.readouts.haemodynamics import at_volumes
from dtb.twin.readouts.press import PressDistribution, first_press, windows
from dtb.twin.readouts.queue import queue_of
from dtb.twin.recurrence.scan import exact, scan
from dtb.twin.sizes import PAPER_SIZES, TwinSizes, check_shape
from dtb.twin.tangent import Tangent


class Twin(nn.Module):
    """Hypernetwork, recurrent network and readouts.

    Parameters
    ----------
    config : TwinConfig
        The model.
    sizes : TwinSizes
        What the data decide; the paper's if not given.

    Attributes
    ----------
    edge_mean_E, edge_scale_E : (E,) Tensor
        Connectomes are standardised with these; see `set_normalisation`.
    bold_scale_R : (R,) Tensor
        BOLD is predicted in units of these.
    tangent : Tangent or None
        With `connectome_space: tangent`, the way to what the encoder reads.
    prior : PersonPrior or None
        The distribution of people's own effects; None with `person_effects: false`.
    region_names, bold_region_names : tuple of str
        Regions of the connectome and of BOLD in order, of a twin that was read from files; empty for one that was made anew.

    Examples
    --------
    >>> twin = Twin(TwinConfig(num_hidden=8), TwinSizes(num_regions=4, num_channels=2, num_alternatives=2, num_bold_regions=4))
    >>> output = twin(torch.zeros(3, 6), torch.zeros(3, 1, 50, 2))
    >>> output.press_SKTA.shape, twin.bold(output, torch.tensor([0.8, 1.6]).expand(3, 1, 2)).shape
    (torch.Size([3, 1, 50, 2]), torch.Size([3, 1, 2, 4]))
    >>> Twin(TwinConfig()).sizes == PAPER_SIZES
    True
    """

    edge_mean_E: Tensor
    edge_scale_E: Tensor
    bold_scale_R: Tensor

    def __init__(self, config: TwinConfig, sizes: TwinSizes = PAPER_SIZES) -> None:
        super().__init__()
        if sizes.num_features and config.connectome_space == "tangent":
            raise ValueError(
                f"connectome_space is `tangent`, which needs whole matrices; these sizes have {sizes.num_features} features. Use `edges`."
            )
        self.config = config
        self.sizes = sizes
        self.hypernetwork = Hypernetwork(config, sizes)
        self.register_buffer("edge_mean_E", torch.zeros(sizes.num_edges))
        self.register_buffer("edge_scale_E", torch.ones(sizes.num_edges))
        self.register_buffer("bold_scale_R", torch.ones(sizes.num_bold_regions))
        self.tangent = Tangent(sizes.num_regions) if config.connectome_space == "tangent" else None
        self.prior = PersonPrior(config.latent_size, sizes.num_bold_regions) if config.person_effects else None
        self.region_names: tuple[str, ...] = ()
        self.bold_region_names: tuple[str, ...] = ()

    @torch.no_grad()
    def set_normalisation(
        self,
        edge_mean_E: Tensor,
        edge_scale_E: Tensor,
        bold_scale_R: Tensor,
        components_EC: Tensor | None = None,
        reader_EZ: Tensor | None = None,
    ) -> None:
        """Set the means and scales of connectomes and BOLD, and the encoder's components, from the training people alone.

        Parameters
        ----------
        edge_mean_E, edge_scale_E : (E,) Tensor
            Mean and standard deviation of each edge over people. An edge that never varies, or that nobody has, gets scale 1.
        bold_scale_R : (R,) Tensor
            Standard deviation of each region's BOLD over people and time; likewise.
        components_EC : (E, C) Tensor or None
            From `dtb.twin.components.principal_components`, where the configuration asks for components; None leaves them.
        reader_EZ : (E, Z) Tensor or None
            What latents begin at, as weights of the encoder's input; None lets them begin at random.

        Raises
        ------
        ValueError
            A shape is not this twin's.
        """
        for name, value in (
            ("edge_mean_E", edge_mean_E),
            ("edge_scale_E", edge_scale_E),
            ("bold_scale_R", bold_scale_R),
        ):
            own = getattr(self, name)
            if value.shape != own.shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; this twin's is {tuple(own.shape)}")
            given = value.to(own)
            neutral = 0.0 if name == "edge_mean_E" else 1.0
            usable = torch.isfinite(given) & ((given > 0) | (name == "edge_mean_E"))
            own.copy_(torch.where(usable, given, neutral))
        if components_EC is not None:
            components = self.hypernetwork.encoder.components_EC
            wanted = None if components is None else components.shape
            if components is None or components_EC.shape != wanted:
                raise ValueError(f"components_EC has shape {tuple(components_EC.shape)}; this twin's is {wanted}")
            components.copy_(components_EC)
        if reader_EZ is not None:
            self.hypernetwork.encoder.begin_at(reader_EZ)

    def standardise(self, connectome_SE: Tensor) -> Tensor:
        """Return standardised edges; absent ones (NaN) become 0 and get no gradient."""
        return _standardised(connectome_SE, self.edge_mean_E, self.edge_scale_E)

    def encoder_input(self, connectome_SE: Tensor) -> Tensor:
        """Return what the encoder reads of connectomes, standardised if so configured; 0 where absent."""
        if self.tangent is not None:
            read_SE, mean_E, scale_E = self.tangent(connectome_SE), self.tangent.mean_E, self.tangent.scale_E
        else:
            read_SE, mean_E, scale_E = connectome_SE, self.edge_mean_E, self.edge_scale_E
        if not self.config.standardise_connectome:
            return torch.where(read_SE.isnan(), 0.0, exact(read_SE))
        return _standardised(read_SE, mean_E, scale_E)

    def distance(self, connectome_SE: Tensor) -> Tensor:
        """(S,) float64: how far connectomes lie from the training people's mean, as root mean square over edges in standard deviations."""
        return self.standardise(connectome_SE).double().square().mean(1).sqrt()

    def generate(
        self,
        connectome_SE: Tensor,
        seed_S: Tensor | None = None,
        *,
        given_SZ: Tensor | None = None,
        effect_SZ: Tensor | None = None,
    ) -> Generated:
        """Return the parameters of these people's networks.

        Parameters
        ----------
        connectome_SE : (S, E) Tensor
            Fisher z of the upper triangle, NaN where absent.
        seed_S : (S,) int64 Tensor or None
            Seeds of the dropout in training.
        given_SZ : (S, Z) Tensor or None
            What connectomes say of latents, where it is known from elsewhere; NaN where it is not.
        effect_SZ : (S, Z) Tensor or None
            People's own effects on their latents.

        Raises
        ------
        ValueError
            An argument is no tensor, or its shape is not this twin's.
        """
        _check("connectome_SE", connectome_SE, (None, self.sizes.num_edges), self.sizes.edges_in_words)
        if seed_S is not None:
            _check("seed_S", seed_S, (len(connectome_SE),))
        generated: Generated = self.hypernetwork(self.encoder_input(connectome_SE), seed_S, given_SZ, effect_SZ)
        return generated

    def forward(
        self, connectome_SE: Tensor, stimulus_SKTI: Tensor, seed_S: Tensor | None = None, *, with_bold: bool = False
    ) -> TwinOutput:
        """Return the simulation of these people's twins, step by step.

        Parameters
        ----------
        connectome_SE : (S, E) Tensor
            Fisher z of the upper triangle, NaN where absent.
        stimulus_SKTI : (S, K, T, I) Tensor
            Mean stimulus over each step.
        seed_S : (S,) int64 Tensor or None
            Seeds of what is random about each person: dropout in training, process noise always. Without seeds nothing is.
        with_bold : bool
            Whether BOLD will be asked for: it is then read out together with the presses where that is faster.

        Returns
        -------
        TwinOutput

        Raises
        ------
        ValueError
            An argument is no tensor, or its shape is not this twin's.
        """
        return self.perform(self.generate(connectome_SE, seed_S), stimulus_SKTI, seed_S, with_bold=with_bold)

    def perform(
        self,
        generated: Generated,
        stimulus_SKTI: Tensor,
        seed_S: Tensor | None = None,
        *,
        with_bold: bool = False,
    ) -> TwinOutput:
        """Return the simulation of networks from `generate`; parameters and result as in `forward`."""
        people = len(generated.bias_SG)
        _check("stimulus_SKTI", stimulus_SKTI, (people, None, None, self.sizes.num_channels))
        if seed_S is not None:
            _check("seed_S", seed_S, (people,))
        return self.advance(generated, *self.inputs(stimulus_SKTI, seed_S), with_bold=with_bold)

    def inputs(self, stimulus_SKTI: Tensor, seed_S: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the networks' input at each step: the delayed stimulus and process noise, if any."""
        num_segments, num_steps = stimulus_SKTI.shape[1:3]
        delay = min(self.config.stimulus_delay_steps, num_steps)
        delayed_SKTI = functional.pad(stimulus_SKTI, (0, 0, delay, 0))[:, :, :num_steps]
        noise_SKTN = None
        if self.config.process_noise > 0 and seed_S is not None:
            noise_SKTN = process_noise(seed_S, num_segments, num_steps, self.config.num_hidden)
            noise_SKTN = noise_SKTN.to(stimulus_SKTI.device) * self.config.process_noise
        return delayed_SKTI, noise_SKTN

    def advance(
        self,
        generated: Generated,
        delayed_SKTI: Tensor,
        noise_SKTN: Tensor | None,
        initial_SKN: Tensor | None = None,
        *,
        with_bold: bool = False,
    ) -> TwinOutput:
        """Return the states of networks on (a part of) `inputs`, from an initial state or zero."""
        with ieee(delayed_SKTI.device.type):
            # The bias enters as a channel that is always 1: added apart, it would go over all steps once more, there and back.
            with_one_SKTI = functional.pad(delayed_SKTI.to(generated.input_SGI.dtype), (0, 1), value=1.0)
            with_bias_SGI = torch.cat([generated.input_SGI, generated.bias_SG[..., None]], dim=-1)
            drive_SKTG = _per_person(with_one_SKTI, with_bias_SGI)
            hidden_SKTN = scan(
                self.config.cell,
                drive_SKTG,
                generated.recurrence,
                generated.rate_SN,
                noise_SKTN,
                initial_SKN=initial_SKN,
            )
            alternatives = self.sizes.num_alternatives
            regions = self.sizes.num_bold_regions
            press_weight_SAN, bold_weight_SRN = generated.readout_SON.split([alternatives, regions], dim=1)
            press_bias_SA, bold_bias_SR = generated.readout_bias_SO.split([alternatives, regions], dim=1)
            bold_steps_SKTR = None
            if with_bold and 0 < regions <= self.config.num_hidden:
                both_SKTO = _per_person(hidden_SKTN, generated.readout_SON)
                press_SKTA, bold_steps_SKTR = both_SKTO.split([alternatives, regions], dim=-1)
            else:
                press_SKTA = _per_person(hidden_SKTN, press_weight_SAN)
            return TwinOutput(
                hidden_SKTN,
                press_SKTA + press_bias_SA[:, None, None],
                generated.latent_SZ,
                bold_weight_SRN,
                bold_bias_SR,
                generated.hrf_weight_SD,
                bold_steps_SKTR,
            )

    def hazards(self, output: TwinOutput) -> Tensor:
        """Return the hazard of each alternative per second, (S, K, T, A).

        With `press: sigmoid` it is the hazard under which a press within the step is as probable as the sigmoid says.
        """
        hazard_SKTA = functional.softplus(output.press_SKTA)
        return hazard_SKTA if self.config.press == "hazard" else hazard_SKTA / self.config.step_seconds

    def bold(self, output: TwinOutput, volume_seconds_SKV: Tensor) -> Tensor:
        """Predict BOLD at volume times.

        Parameters
        ----------
        output : TwinOutput
        volume_seconds_SKV : (S, K, V) Tensor
            Time of each volume after its segment's beginning.

        Returns
        -------
        (S, K, V, R) Tensor
            In units of `bold_scale_R`.
        """
        _check("volume_seconds_SKV", volume_seconds_SKV, (*output.hidden_SKTN.shape[:2], None))
        with ieee(output.hidden_SKTN.device.type):
            kind = self.config.hrf if self.config.bold == "hrf" else None
            read_SKTR = output.bold_steps_SKTR
            # The response is the same for every region, so it can be applied to the states, before the readout.
            given = output.hidden_SKTN if read_SKTR is None else read_SKTR
            sampled = at_volumes(given, volume_seconds_SKV, self.config.step_seconds, kind, output.hrf_weight_SD)
            bold_SKVR = _per_person(sampled, output.bold_readout_SRN) if read_SKTR is None else sampled
            return bold_SKVR + output.bold_bias_SR[:, None, None]

    def bold_at_steps(self, output: TwinOutput) -> Tensor:
        """(S, K, T, R): the BOLD readout of each state, with no haemodynamic response; in units of `bold_scale_R`."""
        with ieee(output.hidden_SKTN.device.type):
            read_SKTR = output.bold_steps_SKTR
            if read_SKTR is None:
                read_SKTR = _per_person(output.hidden_SKTN, output.bold_readout_SRN)
            return read_SKTR + output.bold_bias_SR[:, None, None]

    def condition(self, connectome_SE: Tensor, batch: Batch) -> Posterior:
        """Return people's latents after their own data: what is learnt of a person beyond the connectome.

        Parameters
        ----------
        connectome_SE : (S, E) Tensor
            A row that is wholly NaN is a person without a connectome.
        batch : Batch
            Presses and volumes of the same people; `dtb.twin.own_data.restricted` leaves some out.

        Returns
        -------
        Posterior
            Its `latents` make networks by `hypernetwork.decode`, from the mean or from draws.

        Raises
        ------
        ValueError
            The twin has no person effects, or there are other people in the batch.
        """
        _check("connectome_SE", connectome_SE, (len(batch), self.sizes.num_edges), self.sizes.edges_in_words)
        return condition(self, batch, prior_of(self, connectome_SE))

    @torch.no_grad()
    def simulate(
        self,
        connectome_SE: Tensor,
        stimulus_SKTI: Tensor,
        trials: TrialTensors,
        *,
        num_draws: int = 1,
        seed: int = 0,
        volume_seconds_SKV: Tensor | None = None,
    ) -> Simulation:
        """Return simulated trials of these people's twins, several times each.

        Parameters
        ----------
        connectome_SE : (S, E) Tensor
        stimulus_SKTI : (S, K, T, I) Tensor
        trials : TrialTensors
            When presses are possible: `batch.trials`.
        num_draws : int
            How many times each trial is performed: with `process_noise` each time anew, with noise of its own; without it, presses are
            drawn from the one performance there is. With `press: sigmoid` a twin then presses at one moment and all draws are alike.
        seed : int
            Of the draws and of their noise.
        volume_seconds_SKV : (S, K, V) Tensor, optional
            Where BOLD is wanted.

        Returns
        -------
        Simulation
        """
        step_seconds, generator = self.config.step_seconds, torch.Generator().manual_seed(seed)

        def pressed(output: TwinOutput, num_draws: int) -> tuple[Tensor, Tensor]:
            if self.config.press == "hazard":
                distribution = PressDistribution.of(*windows(self.hazards(output), trials), trials, step_seconds)
                return distribution.sample(generator, num_draws)
            given = windows(torch.sigmoid(output.press_SKTA), trials)
            choice_J, rt_seconds_J = first_press(*given, step_seconds, queue_of(trials, step_seconds))
            return choice_J.expand(num_draws, -1), rt_seconds_J.expand(num_draws, -1)

        generated = self.generate(connectome_SE)
        seeds: list[Tensor | None] = [None]
        if self.config.process_noise > 0:
            seeds = [performance_seeds(seed, draw, len(connectome_SE)) for draw in range(num_draws)]
        presses, bolds = [], []
        for seed_S in seeds:
            output = self.perform(generated, stimulus_SKTI, seed_S)
            presses.append(pressed(output, num_draws // len(seeds)))
            if volume_seconds_SKV is not None:
                bolds.append(self.bold(output, volume_seconds_SKV))
        choice_DJ, rt_seconds_DJ = (torch.cat(drawn) for drawn in zip(*presses, strict=True))
        bold_SKVR = torch.stack(bolds).mean(0) * exact(self.bold_scale_R) if bolds else None
        return Simulation(choice_DJ, rt_seconds_DJ, bold_SKVR)


def _check(name: str, value: object, shape: tuple[int | None, ...], meaning: str = "") -> None:
    """Refuse anything but a tensor of this shape."""
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{name} is of type {type(value).__name__}; it has to be a torch tensor: `torch.as_tensor(...)`"
        )
    check_shape(name, value.shape, shape, meaning)


def _standardised(edges_SE: Tensor, mean_E: Tensor, scale_E: Tensor) -> Tensor:
    present_SE, mean_E = ~torch.isnan(edges_SE), exact(mean_E)
    return (torch.where(present_SE, exact(edges_SE), mean_E) - mean_E) / exact(scale_E)


def _per_person(values_SKTN: Tensor, weight_SON: Tensor) -> Tensor:
    """Multiply each person's values by that person's matrix, in one batched product where memory lies well for it."""
    num_segments, num_steps = values_SKTN.shape[1:3]
    by_time_SDN = values_SKTN.transpose(1, 2).flatten(1, 2)
    return product(by_time_SDN, weight_SON.mT).unflatten(1, (num_steps, num_segments)).transpose(1, 2)
