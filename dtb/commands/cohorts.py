"""The stages before training: a cohort is made up, or read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import OmitArgPrefixes, Positional, arg

from dtb import config as cfg
from dtb.commands.stage import Stage
from dtb.errors import ConfigurationError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Synth(Stage):
    """Make a ground-truth cohort: people whose traits load on known edges of their connectome.

    Writes OUT/bids (participants and events), OUT/derivatives/xcp_d (rest and task series of made-up parcels) and OUT/truth (traits,
    causal edges and the noise ceiling of every prediction). The other stages read it as they would a laboratory's data.

    Example: dtb synth cohort --num-subjects 64
    """

    common: ClassVar[tuple[str, ...]] = (
        "--num-subjects",
        "--num-regions",
        "--tasks",
        "--rest-seconds",
        "--num-sites",
        "--trait-strength",
        "--volumes",
        "--seed",
        "--resume",
        "--dry-run",
    )

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write; new or empty."""
    synth: OmitArgPrefixes[cfg.SynthConfig]
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.groundtruth.synthesise import synthesise

        synthesise(config, self.out, resume=self.resume, dry_run=self.dry_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ingest(Stage):
    """Read a BIDS tree and its derivatives into shards: one record a person, under a pseudonym.

    Reads events through task specifications and parcellated series from the derivatives, makes a connectome of each person's rest, and
    writes tar shards with a manifest. Whoever cannot be used is set aside in quarantine.tsv with the reason. The only file that links
    pseudonyms to participants is OUT.identities.tsv, beside the folder and never in it.

    Example: dtb ingest cohort/bids shards --derivatives cohort/derivatives/xcp_d
    """

    common: ClassVar[tuple[str, ...]] = (
        "--derivatives",
        "--tasks",
        "--layout",
        "--atlas",
        "--participant-label",
        "--connectome",
        "--min-rest-seconds",
        "--config",
        "--resume",
        "--dry-run",
    )

    bids: Annotated[Positional[Path], arg(metavar="BIDS")]
    """Raw BIDS tree: participants.tsv and events."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder for the shards; new or empty."""
    derivatives: Annotated[tuple[Path, ...], arg(metavar="DIR [DIR ...]")] = ()
    """Derivative trees with the parcellated series; none are needed with `--without-connectome keep`."""
    ingest: OmitArgPrefixes[cfg.IngestConfig]
    cluster: OmitArgPrefixes[cfg.ClusterConfig]

    def run(self, config: cfg.Config) -> None:
        from dtb.cohort.ingest import ingest

        derivatives = self.derivatives or config.input.derivatives
        if not derivatives and not config.ingest.keeps_people_without_connectome:
            raise ConfigurationError(
                "--derivatives is missing: name at least one derivative tree with the parcellated series. For shards of behaviour alone, "
                "add --without-connectome keep."
            )
        ingest(config, self.bids, derivatives, self.out, resume=self.resume, dry_run=self.dry_run)
