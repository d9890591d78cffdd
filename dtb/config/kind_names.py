"""Options that name a kind: what they may be is read from the table of kinds when it is needed, and not fixed in the type.

Configuration imports no other room, so an option says where its table lies, and the table's module is imported at the first look. Such
modules are light: they import nothing heavy outside of functions.
"""

from __future__ import annotations

import importlib
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from tyro.constructors import PrimitiveConstructorSpec

from dtb.kinds import Kind, Kinds


class OneOf(PrimitiveConstructorSpec[str]):
    """Marks a text as the name of a kind: ``Annotated[str, OneOf("dtb.intervene.kinds:INDICATORS")]``.

    pydantic asks it whether a name is known, and the command line what to list in ``--help``.

    Parameters
    ----------
    table : str
        Module and variable of the table.
    """

    table: str
    nargs = 1

    def __init__(self, table: str) -> None:
        object.__setattr__(self, "table", table)

    @property
    def kinds(self) -> Kinds[Kind]:
        """The table."""
        module, _, variable = self.table.partition(":")
        found: Kinds[Kind] = getattr(importlib.import_module(module), variable)
        return found

    @property
    def choices(self) -> tuple[str, ...]:
        """Known names."""
        return self.kinds.names

    @property
    def metavar(self) -> str:
        """Known names as ``--help`` shows them."""
        return "{" + ",".join(self.choices) + "}"

    def instance_from_str(self, given: list[str]) -> str:
        """Take what was given."""
        return given[0]

    def is_instance(self, given: Any) -> bool:
        """Whether a value could be a name."""
        return isinstance(given, str)

    def str_from_instance(self, name: str) -> list[str]:
        """Return what would have to be given for a name."""
        return [name]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def _known(self, name: str) -> str:
        kinds = self.kinds
        if name not in kinds:
            context = {"what": kinds.what, "advice": kinds.advice(name)}
            raise PydanticCustomError("unknown_kind", "not a known {what}; {advice}", context)
        return name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OneOf) and other.table == self.table

    def __hash__(self) -> int:
        return hash(self.table)
