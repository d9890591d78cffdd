"""The ``dtb`` command: parses, calls one function, sets the exit code."""


def main() -> None:
    """Run the command line."""
