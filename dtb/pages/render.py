"""The pages that dtb writes and serves: their templates and their one style sheet stand in this folder, and are filled in here.

What is filled in is escaped. Only what our own code marks as markup is not: figures in SVG, and the style sheet itself.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from dtb.version import __version__

_LINKS = re.compile(r'<nav class="pages".*?</nav>', re.DOTALL)
STYLE = Path(__file__).parent / "style.css"
TEMPLATES = Path(__file__).parent / "templates"


class PageLink(NamedTuple):
    """A link to a page, by its title and its path from where the link stands."""

    words: str
    place: str


def render(name: str, /, **values: Any) -> str:
    """Return a page as HTML that stands alone: the style sheet is in it, and nothing is fetched from anywhere.

    Parameters
    ----------
    name : str
        The template, ``"report"``, ``"certificate"`` or ``"quality"``.
    **values
        What the template asks for; whatever is missing is a `jinja2.UndefinedError`. Every page asks for `links` to the other pages and
        for `here`, the path of its own.
    """
    return _environment().get_template(f"{name}.html.jinja").render(values)


def with_links(page: str, links: Sequence[PageLink], here: str) -> str:
    """Return a page that was rendered before, with these links to other pages in place of its own.

    Parameters
    ----------
    page : str
    links : sequence of PageLink
    here : str
        Path of the page itself.
    """
    drawn = _environment().get_template("base.html.jinja").make_module({"links": links, "here": here}).page_links()  # type: ignore[attr-defined]
    return _LINKS.sub(lambda _: str(drawn), page, count=1)


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
    """Escape text, set what stands between backticks as code, and let no line end within an option's name.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> prose("`dtb train` of <b>")
    Markup('<code>dtb train</code> of &lt;b&gt;')
    >>> prose("with --num-permuted 19")
    Markup('with <span class="option">--num-permuted</span> 19')
    """
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"(?<![\w-])--[a-z][\w.-]*(?![^<]*</code>)", r'<span class="option">\g<0></span>', coded))
