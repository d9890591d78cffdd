"""The configuration that a function of this room was given, made whole."""

from __future__ import annotations

from typing import Any

from dtb.config import Config
from dtb.errors import ConfigurationError
from dtb.shards.remote import with_absolute_paths


def whole_config(config: Any, section: str) -> Config:
    """Make a whole configuration of a stage's own section, with paths that hold in every process."""
    own = type(getattr(Config(), section)) if section else None
    if config is None:
        whole = Config()
    elif isinstance(config, Config):
        whole = config
    elif own is not None and isinstance(config, own):
        whole = Config(**{section: config})
    else:
        allowed = f"a Config or {own.__name__}" if own is not None else "a Config"
        raise ConfigurationError(
            f"`config` is of type {type(config).__name__}; this stage takes {allowed}. Put several sections into one Config: "
            f"`Config(seed=1, {section or 'fleet'}=..., twin=...)`."
        )
    return with_absolute_paths(whole)
