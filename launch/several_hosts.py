"""Try a run on several hosts, on this machine: `dtb submit`, or the Slurm script, before either meets a real cluster.

    python launch/several_hosts.py [--slurm] [--loopback] CONFIG OUT [OPTION ...]

Each "host" has a network namespace with an address of its own on a bridge between them, its own process numbers, its own host name and its
own Ray folder; they share the file system, as a cluster's nodes do. No privilege is needed where Linux lets users make namespaces.
Elsewhere, or with --loopback, the hosts are addresses of the loopback interface (127.0.0.2, ...), and share the rest.

host1 is the head, which does no work; host2 and host3 train together; host3 alone fans out. The run is submitted from host0, which has
nothing but the address and the token. OPTIONs are those of `dtb submit`. Ends with the run's exit code.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NETWORK = "10.77.0"
INSIDE = "DTB_SEVERAL_HOSTS_INSIDE"
PORT, DASHBOARD = 6379, 8265
SPACES = ["--net", "--uts", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"]
OWN_SPACES = ["unshare", "--user", "--map-root-user", *SPACES]


class Host:
    """One host: where it is, how to run something on it, and the Ray that runs there.

    Parameters
    ----------
    number : int
    folder : Path
        For its own files.
    loopback : bool
        Be an address and no namespace.
    """

    def __init__(self, number: int, folder: Path, loopback: bool) -> None:
        self.name = f"host{number}"
        self.number = number
        self.folder = folder / self.name
        self.folder.mkdir()
        self.address = f"127.0.0.{number + 1}" if loopback else f"{NETWORK}.{number + 1}"
        self.ray_folder = self.folder / "ray"
        self.ray_folder.mkdir()
        self._enter: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        if not loopback:
            self._make_namespaces()

    def _make_namespaces(self) -> None:
        # A shell, because a host's first process has to take leave of those that lost their parents; `ray stop` waits for that.
        holder = subprocess.Popen(["unshare", *SPACES, "bash", "-c", "while :; do sleep 60; done"])
        self._processes.append(holder)
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
        until = time.monotonic() + 30
        while not (pid := children.read_text().strip()):
            if holder.poll() is not None or time.monotonic() > until:
                raise SystemExit("A host's namespaces cannot be made here; try --loopback.")
            time.sleep(0.05)
        self._enter = ["nsenter", "--target", pid, "--net", "--uts", "--pid", "--mount"]
        veth = f"to-{self.name}"
        _do("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", pid)
        _do("ip", "link", "set", veth, "master", "hub", "up")
        self.run("hostname", self.name)
        # The same path on every host and another folder behind it, as /tmp on real ones.
        common = self.folder.parent / "ray"
        common.mkdir(exist_ok=True)
        self.run("mount", "--bind", str(self.ray_folder), str(common))
        self.ray_folder = common
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            self.run("ip", "link", "set", device, "up")

    def command(self, *words: str) -> list[str]:
        """Return the command that runs `words` on this host."""
        return [*self._enter, *words]

    def run(self, *words: str) -> None:
        """Run something here that must succeed."""
        _do(*self.command(*words))

    def start_ray(self, environment: dict[str, str], *options: str) -> None:
        """Start Ray here, with its output in this host's folder."""
        words = ["ray", "start", "--block", f"--node-ip-address={self.address}", "--disable-usage-stats"]
        words += [f"--object-store-memory={100 << 20}", f"--temp-dir={self.ray_folder}", *options]
        if not self._enter:  # on the loopback interface, hosts would take each other's ports
            first = 20000 + 2000 * self.number
            words += [f"--min-worker-port={first}", f"--max-worker-port={first + 1900}"]
            words += [f"--dashboard-agent-listen-port={first + 1950}"]
        said = self.folder / "ray.log"
        with said.open("wb") as log:
            started = subprocess.Popen(
                self.command(*words), env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self._processes.append(started)
        until = time.monotonic() + 180
        while "Ray runtime started" not in (text := said.read_text()):
            if started.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"Ray does not start on {self.name}:\n{text}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End everything that was started here."""
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _do(*words: str) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{shlex.join(words)} failed: {done.stderr.strip()}\nTry --loopback.")


@contextlib.contextmanager
def hosts(folder: Path, loopback: bool) -> Iterator[list[Host]]:
    """Have four hosts, which know one another by name where they are namespaces."""
    if not loopback:
        _do("ip", "link", "set", "lo", "up")
        _do("ip", "link", "add", "hub", "type", "bridge")
        _do("ip", "link", "set", "hub", "up")
        names = "".join(f"{NETWORK}.{number + 1} host{number}\n" for number in range(4))
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        _do("mount", "--bind", str(folder / "hosts"), "/etc/hosts")
    made: list[Host] = []
    try:
        for number in range(4):
            made.append(Host(number, folder, loopback))
        yield made
    finally:
        for host in reversed(made):
            host.stop()


def why_no_namespaces() -> str | None:
    """Say why this machine's hosts cannot be namespaces; None if they can."""
    absent = [program for program in ("unshare", "nsenter", "ip", "mount") if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    command = [*OWN_SPACES, "ip", "link", "add", "hub", "type", "bridge"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip()


def environment(token: str | None) -> dict[str, str]:
    """Return the environment of a host, with this dtb in it and a cluster's token if there is one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    common = {"PATH": path, "PYTHONPATH": search, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    return {**kept, **common, **({"RAY_AUTH_TOKEN": token} if token else {})}


def submit(made: list[Host], config: str, out: str, options: list[str]) -> int:
    """Start Ray on host1 to host3 and submit the run from host0."""
    laptop, head, *workers = made
    cluster = environment(secrets.token_hex(32))
    head.start_ray(
        cluster, "--head", f"--port={PORT}", "--num-cpus=0", "--dashboard-host=0.0.0.0", f"--dashboard-port={DASHBOARD}"
    )
    address = f"http://{head.address}:{DASHBOARD}"
    for worker, marks in zip(workers, ('{"dtb_train": 1}', '{"dtb_train": 1, "dtb_fleet": 1}'), strict=True):
        worker.start_ray(cluster, f"--address={head.address}:{PORT}", "--num-cpus=1", f"--resources={marks}")
    command = [sys.executable, "-m", "dtb", "submit", config, out, "--address", address, *options]
    return subprocess.run(laptop.command(*command), check=False, env=cluster).returncode


def slurm(made: list[Host], config: str, out: str, options: list[str]) -> int:
    """Run the rendered batch script on host2, with an `srun` that starts its command on host2 and host3."""
    first, second = made[2:]
    programs = first.folder / "bin"
    programs.mkdir()
    starts = [shlex.join(host.command("env", f"RAY_TMPDIR={host.ray_folder}")) for host in (first, second)]
    (programs / "srun").write_text(
        "#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\n"
        f'{starts[1]} "$@" </dev/null &\n{starts[0]} "$@"; code=$?\nwait $! || code=$?\nexit $code\n'
    )
    (programs / "srun").chmod(0o755)
    command = [sys.executable, "-m", "dtb", "submit", config, out, "--render", "slurm", *options]
    script = subprocess.run(command, check=False, env=environment(None), stdout=subprocess.PIPE)
    if script.returncode:
        return script.returncode
    (first.folder / "script").write_bytes(script.stdout)
    there = environment(None)
    there["PATH"] = f"{programs}:{there['PATH']}"
    # srun stands outside of the hosts, so that it can reach them; what it needs to know of the first one is its address
    (programs / "hostname").write_text(f"#!/bin/sh\necho {first.address}\n")
    (programs / "hostname").chmod(0o755)
    return subprocess.run(["bash", str(first.folder / "script")], check=False, env=there).returncode


def main() -> int:
    """Make the hosts, run on them, and take them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slurm", action="store_true")
    parser.add_argument("--loopback", action="store_true")
    parser.add_argument("config")
    parser.add_argument("out", type=lambda text: str(Path(text).resolve()))
    asked, options = parser.parse_known_args()
    if asked.slurm and asked.loopback:
        parser.error("--slurm needs namespaces: `ray symmetric-run` tells hosts apart by their addresses")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    if not asked.loopback and INSIDE not in os.environ:
        reason = why_no_namespaces()
        if reason is None:
            os.execvpe("unshare", [*OWN_SPACES, sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})
        if asked.slurm:
            parser.error(f"hosts cannot be namespaces here ({reason})")
        print(f"Hosts cannot be namespaces here ({reason}): they are loopback addresses.", file=sys.stderr)
        asked.loopback = True
    with tempfile.TemporaryDirectory(prefix="dtb") as folder, hosts(Path(folder), asked.loopback) as made:
        return (slurm if asked.slurm else submit)(made, asked.config, asked.out, options)


if __name__ == "__main__":
    sys.exit(main())
