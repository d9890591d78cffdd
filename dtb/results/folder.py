"""A finished stage's folder, and how its files are read: what every result is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from dtb.files import read_json, readable
from dtb.stages import require_complete


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished stage's folder."""

    stage: ClassVar[str]
    folder: Path

    def __post_init__(self) -> None:
        """Refuse a folder that this stage did not finish."""
        require_complete(self.folder, self.stage)

    @property
    def summary(self) -> dict[str, Any]:
        """The stage's own figures, as `stage.json` has them."""
        return require_complete(self.folder, self.stage)

    def _text_table(self, name: str) -> pd.DataFrame:
        with readable(self.folder / name, self._advice):
            return pd.read_csv(self.folder / name, sep="\t", na_values="n/a", dtype={"pseudonym": str})

    def _parquet(self, name: str) -> pd.DataFrame:
        with readable(self.folder / name, self._advice):
            return pd.read_parquet(self.folder / name)

    @property
    def _advice(self) -> str:
        return f"Copy the folder again, or run `dtb {self.stage}` anew."

    def _json(self, name: str) -> Any:
        return read_json(self.folder / name, self._advice)

    def _value(self, name: str, key: str) -> Any:
        with readable(self.folder / name, self._advice):
            return self._json(name)[key]

    def _rows(self, table: str) -> pd.DataFrame:
        """Read a table of the fan-out, which has a file a batch; without any row where nobody has any."""
        files = sorted((self.folder / table).glob("*.parquet"))
        tables = [self._parquet(f"{table}/{file.name}") for file in files]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
