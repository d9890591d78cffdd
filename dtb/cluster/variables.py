"""Which variables of the environment travel to the processes of a cluster, and how a proxy leaves a machine's own addresses alone.

What travels can be read by whoever sees the cluster's dashboard, so secrets never do.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from dtb import kinds
from dtb.errors import ConfigurationError
from dtb.passwords import holds_password

__all__ = ["past_proxies", "travelling"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_PAST = ("no_proxy", "NO_PROXY")


def travelling(named: Collection[str]) -> dict[str, str]:
    """Return the variables that travel, with their values: those that the configuration names and that are set, and `DTB_KINDS`.

    With a proxy goes what is reached past it.

    Parameters
    ----------
    named : collection of str
        `cluster.variables`.

    Raises
    ------
    ConfigurationError
        The value of one is a URL with a password.
    """
    names = [*named, kinds.VARIABLE, *(_PAST if any(name.lower() in _PROXIES for name in named) else ())]
    found = {name: os.environ[name] for name in names if name in os.environ}
    for name, value in found.items():
        if holds_password(value):
            raise ConfigurationError(
                f"cluster.variables: the value of {name} holds a password, which whoever sees the cluster would read. Set it where Ray is "
                "started on the nodes."
            )
    return found


def past_proxies(*hosts: str) -> None:
    """Reach this machine's own addresses, and some hosts, past the proxy that the environment may name; as do processes started from here.

    Parameters
    ----------
    *hosts : str
        Names or addresses beside those of the loopback.
    """
    if not any(os.environ.get(each) for name in _PROXIES for each in (name, name.upper())):
        return
    before = [each.strip() for name in _PAST for each in os.environ.get(name, "").split(",")]
    for name in _PAST:
        os.environ[name] = ",".join(dict.fromkeys(filter(None, [*before, *_LOOPBACK, *hosts])))
