"""The process group of a training: its meeting place listens on the address of Ray's node alone, and so do its workers.

`torch.distributed` by itself lets the store at which ranks meet listen on every interface, and nobody has to show a secret there. Whoever
reaches it can read and write what the ranks tell each other. Here the first rank opens the socket on its node's address, which is
127.0.0.1 for a private Ray, and hands it to the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import sys
from datetime import timedelta
from typing import Any

import ray
import torch
from ray.exceptions import RayError
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend

from dtb.errors import FinalError
from dtb.machine.gpu import fault_of

_SIOCGIFADDR = 0x8915
_waiting: list[socket.socket] = []
"""In the first rank's process: the socket that its store will take."""


class NodeTorchConfig(TorchConfig):
    """Ray Train's `TorchConfig`, whose processes listen on their node's address alone."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """Return what sets the process group up."""
        return _NodeBackend


class _NodeBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Make the process group of all workers, if the GPU of each can multiply.

        Raises
        ------
        FinalError
            One cannot. Ray Train tries nothing again after an error in here.
        """
        worker_group.execute(_set_torch_distributed_env_vars)
        if backend_config.backend == "nccl":
            faults = sorted({fault for fault in worker_group.execute(_fault_of_own_gpu) if fault})
            if faults:
                raise FinalError(
                    f"{'; '.join(faults)}. Training does not take the CPU instead. `dtb doctor --ray-address` multiplies on every node: "
                    "repair or leave out those that it names, or train without train.use_gpu."
                )
        host, port = worker_group.execute_single(0, _listen)
        size = len(worker_group)
        joining = [
            worker_group.execute_single_async(
                rank, _join, backend_config.backend, host, port, rank, size, backend_config.timeout_s
            )
            for rank in range(size)
        ]
        ray.get(joining)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        """Have all workers leave the process group; those that died have left it, and keep nobody from giving the places back."""
        with contextlib.suppress(RayError):
            super().on_shutdown(worker_group, backend_config)


def _fault_of_own_gpu() -> str:
    """Return what is wrong with the GPU that was reserved for this rank; empty if nothing is."""
    fault = fault_of(torch.device("cuda", int(os.environ["LOCAL_RANK"])))
    return fault and f"the GPU that was reserved on node {socket.gethostname()} cannot be used ({fault})"


def _listen() -> tuple[str, int]:
    """Open the socket of the store on this node's address; return where it is."""
    host = ray.util.get_node_ip_address()
    while _waiting:
        _waiting.pop().close()
    _waiting.append(socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET))
    return host, int(_waiting[0].getsockname()[1])


def _join(backend: str, host: str, port: int, rank: int, size: int, timeout_seconds: float) -> None:
    """Become one rank of the process group."""
    interface = interface_of(ray.util.get_node_ip_address())
    if interface is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={interface}")
    os.environ.update(MASTER_ADDR=host, MASTER_PORT=str(port))
    timeout = timedelta(seconds=timeout_seconds)
    descriptor = _waiting.pop().detach() if rank == 0 else None
    store = torch.distributed.TCPStore(
        host, port, size, is_master=rank == 0, timeout=timeout, master_listen_fd=descriptor
    )
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)


def interface_of(address: str) -> str | None:
    """Return the name of the network interface that has an IPv4 address, or None where it cannot be told.

    Examples
    --------
    >>> interface_of("127.0.0.1") in ("lo", "lo0")
    True
    """
    names = [name for _, name in socket.if_nameindex()]
    if address.startswith("127.") or address == "::1":
        return next((name for name in names if name in ("lo", "lo0")), None)
    if not sys.platform.startswith("linux") or ":" in address:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for name in names:
            try:
                found = fcntl.ioctl(asked, _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:  # it has none
                continue
            if socket.inet_ntoa(found[20:24]) == address:
                return name
    return None
