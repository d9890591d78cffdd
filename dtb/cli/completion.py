"""What a shell needs to complete the command line: stages, and each stage's options, as tyro knows them."""

from __future__ import annotations

import contextlib
import io

from tyro.conf import FlagCreatePairsOff
from tyro.extras import subcommand_cli_from_dict

from dtb.commands import COMMANDS
from dtb.errors import ConfigurationError

SHELLS = ("bash", "zsh", "fish")
_EXPLANATIONS = "COMPLETION_SPEC = "
# tyro hands its program to Python as one argument, and ours is longer than Linux lets an argument be; and for zsh it writes a file
# for `fpath`, which tells nobody of itself where it is sourced.
_AMENDED = {
    "fish": (
        '($python_cmd -c "$pycode" $words $current)',
        "(printf '%s\\n' \"$pycode\" | $python_cmd - $words $current)",
    ),
    "zsh": ('typeset -A opt_args\n_tyro_dtb "$@"', "compdef _tyro_dtb dtb"),
}


def completion_script(shell: str) -> str:
    """Return the script that makes a shell complete `dtb`.

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
    # An option's explanation of several lines would be offered line by line, the later ones as completions of their own.
    script = "\n".join(
        line.replace("\\n", " ") if line.startswith(_EXPLANATIONS) else line for line in written.getvalue().split("\n")
    )
    assert _EXPLANATIONS in script, "tyro names its explanations otherwise than it did"
    if shell in _AMENDED:
        was, now = _AMENDED[shell]
        assert script.count(was) == 1, f"tyro writes its script for {shell} otherwise than it did"
        script = script.replace(was, now)
    return script
