"""What can go wrong because of what a user gave us, as types that say which kind of thing it was.

Every message names the file, row or option, what was expected, what was found, and what to do. `dtb.cli` turns these into
one message and exit code 2; anything else is a failure of ours and exits with 1.
"""

from __future__ import annotations

from dtb.passwords import without_passwords


class UserError(ValueError):
    """Something a user gave is wrong; the message says what, where, and what to do about it."""

    def __init__(self, text: str) -> None:
        super().__init__(without_passwords(text))  # messages reach logs and tables that others read


class ConfigurationError(UserError):
    """A configuration key or value is not allowed."""


class InputDataError(UserError):
    """A file or folder that was given cannot be used."""


class SetAsideError(InputDataError):
    """Somebody cannot be used.

    Attributes
    ----------
    kind : str
        The kind of reason in a few words, without a person's own figures, by which people can be counted: the deciding option, for example.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class AmbiguousFilesError(InputDataError):
    """Several of a person's files could be meant, and nothing says which."""


class TaskError(InputDataError):
    """A task specification, or an events file read through one, cannot be used."""


class DamagedOutputError(InputDataError):
    """A folder that an earlier stage wrote is incomplete, altered or of another kind than needed."""


class OutputInUseError(UserError):
    """An output folder already holds something that would be overwritten."""


class StageError(RuntimeError):
    """A stage could not do its work through no fault of the command given; the message says what is kept and how to go on."""

    def __init__(self, text: str) -> None:
        super().__init__(without_passwords(text))


class FinalError(StageError):
    """The same, of what would fail again: nothing tries it once more by itself."""


class ToldToEndError(StageError):
    """A stage was told to end before it was done, by a scheduler as a rule, and has saved what it had."""
