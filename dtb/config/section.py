"""What the sections of the configuration are made of: the types of their values, how strictly they are read, what all of them refuse."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from dtb.config.mappings import NOT_SHOWN
from dtb.passwords import holds_password

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]


def _name_of_variable(text: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", text):
        raise PydanticCustomError(NOT_SHOWN, "expected the name of an environment variable, and never its value")
    return text


VariableName = Annotated[str, AfterValidator(_name_of_variable)]


def _name_of_no_secret(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise PydanticCustomError(NOT_SHOWN, "expected the name of an environment variable, and never its value")
    if re.search("TOKEN|SECRET|PASSW|CREDENTIAL|KEY", text.upper()):
        raise ValueError(
            f"{text} is called like a secret, which must not travel: set it where Ray is started on the nodes"
        )
    return text


PassedVariable = Annotated[str, AfterValidator(_name_of_no_secret)]

STRICT = ConfigDict(extra="forbid")
STRICT_AND_HIDDEN = ConfigDict(extra="forbid", hide_input_in_errors=True)  # where URLs are given, or secrets might be


class Section:
    """What every section refuses: it is saved with every output, and a password with it."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            texts = [
                str(each) for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, str | Path)
            ]
            if any(map(holds_password, texts)):
                raise ValueError(
                    f"{field.name} holds a URL with a password, which would be written with every output. Leave it out, and give it "
                    "through the environment (docs/clusters.md)"
                )
