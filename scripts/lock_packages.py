"""Write `locked/`: every package that dtb needs, in the versions of `constraints.txt`, with the SHA-256 of each of its files on PyPI.

    pip install uv
    python scripts/lock_packages.py

It asks PyPI, so it needs a network. Run it after `constraints.txt` has changed. The files are for Python 3.11.5 and newer on Linux and
macOS:

    build.txt   what builds packages that come as source; pip checks no hash of what it fetches for that by itself
    run.txt     what `pip install .` needs, without PyTorch
    torch.txt   PyTorch as PyPI has it: for CUDA 13 on Linux, with NVIDIA's libraries; for the CPU on macOS
    extras.txt  what the extras view, serve and wandb need beside
    dev.txt     what the extra dev needs beside

`torch-cpu.txt` is not made here: PyPI does not have PyTorch for the CPU on Linux. Its hashes stand on PyTorch's own index.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "locked"
BUILD = ("ninja", "numpy", "packaging", "py-cpuinfo", "setuptools", "wheel")
EXTRAS = ("view", "serve", "wandb")
_OF_TORCH = re.compile(r"(torch|triton|(nvidia|cuda)-.*)")
_HEAD = "# Made by scripts/lock_packages.py from constraints.txt; {}\n# docs/security.md says how to install from it.\n"
_WHAT = {
    "build": "what builds packages that come as source.",
    "run": "what `pip install .` needs, without PyTorch.",
    "torch": "PyTorch as PyPI has it: for CUDA 13 on Linux, for the CPU on macOS.",
    "extras": "what the extras view, serve and wandb need beside run.txt.",
    "dev": "what the extra dev needs beside run.txt and extras.txt.",
}


def entries(text: str) -> dict[str, str]:
    """Return what a file of requirements says of each package, hashes included, by the package's name.

    Examples
    --------
    >>> entries("a==1 \\\\\\n    --hash=sha256:0\\nb-c==2 ; sys_platform == 'linux'\\n")
    {'a': 'a==1 \\\\\\n    --hash=sha256:0\\n', 'b-c': "b-c==2 ; sys_platform == 'linux'\\n"}
    """
    parts = re.split(r"^(?=[a-z0-9][a-z0-9.-]*==)", text, flags=re.MULTILINE)
    return {part.partition("==")[0]: part for part in parts if "==" in part and not part.startswith("#")}


def divided(everything: dict[str, str], run: set[str], extras: set[str]) -> dict[str, list[str]]:
    """Return the packages of each file, in order.

    Parameters
    ----------
    everything : dict of str to str
        By name, as `entries` has it.
    run : set of str
        Names of what a plain installation needs.
    extras : set of str
        Names of what the extras for users need.
    """
    torch = {name for name in everything if _OF_TORCH.fullmatch(name)}
    plain = run - torch
    further = extras - plain - torch - set(BUILD)
    rest = everything.keys() - plain - torch - further - set(BUILD)
    rest |= {"triton"} & everything.keys()  # tests interpret its kernels, also where PyTorch is for the CPU
    parts = {"build": set(BUILD), "run": plain, "torch": torch, "extras": further, "dev": rest}
    return {name: sorted(part) for name, part in parts.items()}


def _compiled(*options: str) -> str:
    """Return what uv makes of the project's requirements and of what builds it."""
    wanted = "\n".join(BUILD)
    command = [
        *(
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--python-version",
            "3.11.5",
            "--no-header",
            "--no-annotate",
        ),
        *("--no-config", "--constraint", "constraints.txt", *options, "pyproject.toml", "-"),
    ]
    done = subprocess.run(command, cwd=ROOT, input=wanted, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("uv found no versions that fit together; it says above why. `locked/` is as it was.")
    return done.stdout


def main() -> None:
    """Write the files."""
    everything = entries(_compiled("--extra", "dev", "--generate-hashes"))
    run = set(entries(_compiled())) - {"wheel"}  # nothing needs it but builds
    extras = set(entries(_compiled(*(word for extra in EXTRAS for word in ("--extra", extra)))))
    FOLDER.mkdir(exist_ok=True)
    for name, packages in divided(everything, run, extras).items():
        text = _HEAD.format(_WHAT[name]) + "".join(everything[each] for each in packages)
        (FOLDER / f"{name}.txt").write_text(text, encoding="utf-8")
        print(f"locked/{name}.txt: {len(packages)} packages")


if __name__ == "__main__":
    main()
