"""The ``dtb`` command: helps at once, or hands over to `dtb.cli.command_line`, whose imports take longer than anybody waits for help."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the process if not given.
    """
    sys.exit(exit_code(sys.argv[1:] if arguments is None else arguments))


def exit_code(arguments: list[str]) -> int:
    """Run the command line; give 0 when done, 1 for a failure, 2 for a user's mistake, 130 when interrupted."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        from dtb.cli.overview import overview

        print(overview())
        return 0
    from dtb.cli.command_line import run_command

    return run_command(arguments[0], arguments[1:])
