"""Studies of real people: run them, and compare with the figures that are kept.

    python scripts/studies/real_people/everything.py OUT [--sets song stages] [--compare] [--keep]

`DTB_REAL_DATA` names the folder with the data. What is finished in OUT is not made again: give an empty OUT each night. With `--compare`
the command fails where a figure is not within tolerance of the kept one: 0.002 where no training has a part in it, otherwise half the
width of the kept interval and 0.02 at least, for machines round differently and a training amplifies it. A set whose kept file says why
it is `not_comparable` is run and not compared. A set that fails is told of, and the others run. `--keep` writes the figures into
docs/real-people/figures; then run page.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from parts import KEPT, REPOSITORY, Work

from dtb.cluster.connection import connected
from dtb.config import ClusterConfig

SETS = ("song", "nodeap", "stages", "hedge", "sro", "selfreg", "qtab", "tcp", "cnp")
UNTRAINED, TRAINED_LEAST = 0.002, 0.02


def differences(made: dict[str, Any], kept: dict[str, Any]) -> list[str]:
    """Return in words which figures are not within tolerance of the kept ones, and which are absent.

    None are where the kept file says that its figures are of other people or of another version.
    """
    found: list[str] = []
    if "not_comparable" in kept:
        return found
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


def run(name: str, options: argparse.Namespace) -> bool:
    """Run one set, and compare and keep its figures as asked; return whether it went well."""
    out, began = options.out.resolve(), time.monotonic()
    is_new = not (out / name).exists()
    module, work = importlib.import_module(name), Work(name, out, options.ray_address)
    figures = module.study(work)
    minutes = round((time.monotonic() - began) / 60)
    # What was there before took no time now, and its minutes would be too few.
    file = work.keep(figures, smaller=module.SMALLER, **({"minutes": minutes} if is_new else {}))
    print(f"{name}: {minutes} minutes{'' if is_new else ', less what was finished before'}, {file}", flush=True)
    made, kept_file = json.loads(file.read_text()), KEPT / f"{name}.json"
    wrong = []
    if options.compare and kept_file.exists():
        kept = json.loads(kept_file.read_text())
        wrong = differences(made, kept)
        well = f"{name}: all {len(kept['figures'])} kept figures are within tolerance"
        if "not_comparable" in kept:
            well = f"{name}: not compared. {kept['not_comparable']}"
        print("\n".join(wrong) or well, flush=True)
    if options.keep:
        KEPT.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, kept_file)
        print(f"kept in {kept_file.relative_to(REPOSITORY)}", flush=True)
    return not wrong


def main() -> None:
    """Read the command line and run the studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--compare", action="store_true", help="fail where a figure differs from the kept one")
    parser.add_argument("--keep", action="store_true", help="write the figures to docs/real-people/figures")
    parser.add_argument("--ray-address", help="a running cluster; a private one if not given")
    options = parser.parse_args()
    failed = []
    with connected(ClusterConfig(ray_address=options.ray_address)):
        for name in options.sets:
            try:
                went_well = run(name, options)
            except (Exception, SystemExit):  # noqa: BLE001 - one set's failure must not keep the others from being run
                traceback.print_exc()
                went_well = False
            failed += [] if went_well else [name]
    sys.exit(f"Not as kept, or not finished: {', '.join(failed)}." if failed else 0)


if __name__ == "__main__":
    main()
