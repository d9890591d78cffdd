"""What is public says so: every package's `__all__` resolves, and each name is typed and explained."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest

import dtb

PACKAGES = ["dtb", *(module.name for module in pkgutil.walk_packages(dtb.__path__, "dtb.") if module.ispkg)]


def listed() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        yield from ((package, name) for name in getattr(importlib.import_module(package), "__all__", ()))


def explained(doc: str) -> dict[str, str]:
    """Return what the sections of a numpydoc docstring name, with the type that each is given (empty where none is)."""
    found = {}
    for line in doc.splitlines():
        named = re.match(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: : (.+))?$", line)
        if named:
            found |= {name.strip("*"): named[2] or "" for name in named[1].split(", ")}
    return found


def faults(value: Any) -> Iterator[str]:
    """Say what a public value's docstring lacks."""
    if get_args(value) or isinstance(value, str):
        return  # an alias of a type, as `Count` is, or the version
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        value = type(value)  # a value of a class of ours
    doc = inspect.getdoc(value) or ""
    if not doc or not doc[0].isupper():
        yield "has no docstring"
    types = explained(doc)
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        if signature.return_annotation is signature.empty:
            yield "does not say what type it returns"
        for parameter in signature.parameters.values():
            if not types.get(parameter.name):
                yield f"parameter {parameter.name} is not explained with its type"
        return
    # A section of the configuration explains itself.
    names = [
        field.name
        for field in (dataclasses.fields(value) if dataclasses.is_dataclass(value) else ())
        if not str(field.type).endswith("Config")
    ]
    names += getattr(value, "_fields", [])
    beneath = fields_with_text_beneath(value)
    for name in names:
        if not name.startswith("_") and not types.get(name) and name not in beneath:
            yield f"field {name} is not explained with its type"
    for name, method in vars(value).items():
        if (
            not name.startswith("_")
            and (inspect.isfunction(method) or isinstance(method, property))
            and not inspect.getdoc(method)
        ):
            yield f"{name} has no docstring"


def fields_with_text_beneath(kind: type) -> set[str]:
    """Return the annotated fields of a class that a string below explains, as those of the configuration are."""
    (node,) = ast.parse(inspect.getsource(inspect.getmodule(kind))).body and [
        node
        for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(kind))))  # type: ignore[arg-type]
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ]
    return {
        first.target.id
        for first, second in zip(node.body, node.body[1:], strict=False)
        if isinstance(first, ast.AnnAssign)
        and isinstance(first.target, ast.Name)
        and isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_what_is_public(package: str) -> None:
    names = getattr(importlib.import_module(package), "__all__", None)
    assert names, f"{package} has no __all__"
    assert sorted(set(names)) == sorted(names)
    submodules = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    assert not submodules & set(names), "a name that is a file too hides one of the two"


@pytest.mark.parametrize(("package", "name"), list(listed()))
def test_a_public_name_resolves_and_is_explained_with_types(package: str, name: str) -> None:
    assert name in dir(importlib.import_module(package))
    value = getattr(importlib.import_module(package), name)
    assert list(faults(value)) == []


def test_the_check_of_docstrings_finds_what_is_missing() -> None:
    def bare(one: int, other: int) -> int:
        """Add.

        Parameters
        ----------
        one : int
        other
            The second.
        """
        return one + other

    assert list(faults(bare)) == ["parameter other is not explained with its type"]


def test_a_name_that_is_not_there_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'dtb' has no attribute 'trian_twin'"):
        dtb.trian_twin  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        from dtb.shards import open_door  # noqa: F401


def test_importing_dtb_takes_no_second_and_neither_torch_nor_ray() -> None:
    code = (
        "import sys, time; before = time.process_time(); import dtb, dtb.train, dtb.fleet, dtb.evaluate.scores; "
        "print(time.process_time() - before, *sorted({'torch', 'ray', 'pandas', 'pydantic', 'numpy'} & set(sys.modules)))"
    )
    seconds, *heavy = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert heavy == []
    assert float(seconds) < 1.0


def test_the_stub_offers_what_the_package_does() -> None:
    stub = ast.parse((importlib.resources.files("dtb") / "__init__.pyi").read_text(encoding="utf-8"))
    offered = {
        alias.asname: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert sorted(filter(None, offered)) == sorted(dtb.__all__)
    for name, module in offered.items():
        assert getattr(importlib.import_module(str(module)), str(name)) is getattr(dtb, str(name))
