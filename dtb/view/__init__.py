"""The live twin: a web page and an HTTP interface that simulate people's twins with connectomes changed by hand."""

from dtb.lazy import public_names

__all__ = ["Scene", "Viewer", "make_app"]

_FILES = {"Scene": ".scene", "Viewer": ".viewer", "make_app": ".app"}
__getattr__, __dir__ = public_names(__name__, _FILES)
