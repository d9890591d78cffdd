"""What a shell needs to complete the command line: stages, and each stage's options, as tyro knows them."""

from __future__ import annotations

import contextlib
import io

from tyro.conf import FlagCreatePairsOff
from tyro.extras import subcommand_cli_from_dict

from dtb.commands import COMMANDS
from dtb.errors import ConfigurationError

SHELLS = ("bash", "zsh", "fish")


def completion_script(shell: str) -> str:
    """Give the script that makes a shell complete `dtb`.

    Raises
    ------
    ConfigurationError
        It is none of `SHELLS`.
    """
    if shell not in SHELLS:
        raise ConfigurationError(f"There is no completion for {shell!r}; expected one of {', '.join(SHELLS)}.")
    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.suppress(SystemExit):  # tyro prints the script and exits
        subcommand_cli_from_dict(
            dict(COMMANDS),
            prog="dtb",
            args=["--tyro-write-completion", shell, "-"],
            use_underscores=False,
            config=(FlagCreatePairsOff,),
        )
    return written.getvalue()
