"""Studies of real people: run them, and compare with the figures that are kept.

    python scripts/studies/real_people/everything.py OUT [--sets song stages] [--compare] [--keep]

`DTB_REAL_DATA` names the folder with the data. What is finished in OUT is not made again. With `--compare` the command fails where a figure
is not within tolerance of the kept one: 0.002 where no training has a part in it, otherwise half the width of the kept interval and 0.02 at
least, for machines round differently and a training amplifies it. `--keep` writes the figures into docs/real-people/figures; then run
page.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import time
from pathlib import Path

from parts import KEPT, REPOSITORY, Work

from dtb.cluster.connection import connected
from dtb.config import ClusterConfig

SETS = ("song", "nodeap", "stages", "hedge", "sro", "selfreg", "qtab", "tcp", "cnp")
UNTRAINED, TRAINED_LEAST = 0.002, 0.02


def differences(made: dict, kept: dict) -> list[str]:
    """Return in words which figures are not within tolerance of the kept ones, and which are absent."""
    found = []
    for name, one in kept["figures"].items():
        other = made["figures"].get(name)
        if other is None:
            found.append(f"{name}: {one['value']} is kept, and it was not made")
            continue
        known = one["lower"] is not None and one["upper"] is not None
        width = (one["upper"] - one["lower"]) / 2 if known else 0.0
        allowed = max(width, TRAINED_LEAST) if one["trained"] else UNTRAINED
        if abs(other["value"] - one["value"]) > allowed:
            found.append(f"{name}: {other['value']} is not within {allowed:.3g} of the kept {one['value']}")
    return found


def main() -> None:
    """Read the command line and run the studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--compare", action="store_true", help="fail where a figure differs from the kept one")
    parser.add_argument("--keep", action="store_true", help="write the figures to docs/real-people/figures")
    parser.add_argument("--ray-address", help="a running cluster; a private one if not given")
    options = parser.parse_args()
    failed, out = False, options.out.resolve()
    with connected(ClusterConfig(ray_address=options.ray_address)):
        for name in options.sets:
            module, began = importlib.import_module(name), time.monotonic()
            work = Work(name, out, options.ray_address)
            file = work.keep(module.study(work), smaller=module.SMALLER)
            print(f"{name}: {(time.monotonic() - began) / 60:.0f} minutes, {file}", flush=True)
            made, kept = json.loads(file.read_text()), KEPT / f"{name}.json"
            if options.compare and kept.exists():
                wrong = differences(made, json.loads(kept.read_text()))
                print(
                    "\n".join(wrong) or f"{name}: all {len(made['figures'])} figures are within tolerance", flush=True
                )
                failed |= bool(wrong)
            if options.keep:
                KEPT.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, kept)
                print(f"kept in {kept.relative_to(REPOSITORY)}", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
