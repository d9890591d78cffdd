"""Print the bill of materials of this environment: everything that dtb needs here, as CycloneDX 1.6 JSON.

    python scripts/bill_of_materials.py > bill-of-materials.json

Which package needs which is read from what is installed. A scanner of known weaknesses takes the file where there is a network, for example
`grype sbom:bill-of-materials.json` or `trivy sbom bill-of-materials.json`.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OWN = "digital-twin-brains"


def needed_by(name: str = OWN) -> dict[str, Distribution]:
    """Return all installed packages that a package needs, itself included, by their canonical names."""
    found: dict[str, Distribution] = {}
    pending: list[tuple[str, frozenset[str]]] = [(name, frozenset())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        one, extras = pending.pop()
        if (one, extras) in seen:
            continue
        seen.add((one, extras))
        try:
            package = distribution(one)
        except PackageNotFoundError:  # for another platform
            continue
        found[canonicalize_name(one)] = package
        for text in package.requires or []:
            wanted = Requirement(text)
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras or {""}):
                pending.append((canonicalize_name(wanted.name), frozenset(wanted.extras)))
    return found


def bill(name: str = OWN) -> dict[str, Any]:
    """Return the bill of materials of a package, in CycloneDX's form."""
    packages = needed_by(name)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": name, "version": packages[name].version}},
        "components": [
            {
                "type": "library",
                "name": each,
                "version": package.version,
                "purl": f"pkg:pypi/{each}@{package.version}",
                "licenses": [{"license": {"name": said}}] if (said := _license(package)) else [],
            }
            for each, package in sorted(packages.items())
            if each != name
        ],
    }


def _license(package: Distribution) -> str:
    """Return what a package says of its licence, in a line."""
    said = package.metadata.get("License-Expression") or package.metadata.get("License") or ""
    return next(iter(said.splitlines()), "")[:80]


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=2)
    sys.stdout.write("\n")
