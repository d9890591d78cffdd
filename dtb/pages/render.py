"""The pages that dtb writes and serves: their templates and their one style sheet stand in this folder, and are filled in here.

What is filled in is escaped. Only what our own code marks as markup is not: figures in SVG, and the style sheet itself.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from dtb.version import __version__

STYLE = Path(__file__).parent / "style.css"
TEMPLATES = Path(__file__).parent / "templates"


def render(name: str, /, **values: Any) -> str:
    """Return a page as HTML that stands alone: the style sheet is in it, and nothing is fetched from anywhere.

    Parameters
    ----------
    name : str
        The template, ``"report"``, ``"certificate"`` or ``"quality"``.
    **values
        What the template asks for; whatever is missing is a `jinja2.UndefinedError`.
    """
    return _environment().get_template(f"{name}.html.jinja").render(values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    environment.globals |= {"css": Markup(STYLE.read_text(encoding="utf-8")), "version": __version__}
    return environment


def prose(text: str) -> Markup:
    """Escape text, and set what stands between backticks as code.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> prose("`dtb train` of <b>")
    Markup('<code>dtb train</code> of &lt;b&gt;')
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
