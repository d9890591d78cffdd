"""``python -m dtb``: the same as the ``dtb`` command."""

from dtb.cli.entry import main

if __name__ == "__main__":
    main()
