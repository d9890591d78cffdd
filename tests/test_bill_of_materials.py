"""The bill of materials names every package that reaches a user, in the version that is there, and no other."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from scripts.bill_of_materials import OWN, bill

ROOT = Path(__file__).parent.parent


def test_every_direct_need_and_its_own_needs_are_there():
    components = {each["name"]: each for each in bill()["components"]}
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    direct = {re.match(r"[A-Za-z0-9-]+", text)[0].lower() for text in wanted}
    assert direct <= set(components)
    assert {"networkx", "sympy"} <= set(components)  # torch's
    assert not {"pytest", "mkdocs", "ruff", OWN} & set(components)
    for name, each in components.items():
        assert each["version"] == version(name)
        assert each["purl"] == f"pkg:pypi/{name}@{each['version']}"
