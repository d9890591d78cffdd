"""The style of all figures, and their conversion from matplotlib to SVG that follows the page: light, dark and print.

Colours are drawn as place-holders and replaced by CSS variables with a fallback, so one SVG serves every theme and also works
alone. Text stays text: it can be selected, read aloud and searched. Tasks take the colours of `task_colour` everywhere, chosen
from Okabe and Ito's palette so that colour-blind readers can tell them apart; those at even places are cool, the others warm.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ParamSpec

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex, to_rgba, to_rgba_array
from matplotlib.figure import Figure

from dtb.terminal import err, in_a_line

P = ParamSpec("P")

INK = "#010101"
QUIET = "#010102"
GRID = "#010103"
SURFACE = "#010104"
# A person beside their twin: an open mark about a full one, so that both are seen where they agree.
PERSON_MARK: Any = {"marker": "D", "mfc": "none", "mec": INK, "mew": 1.8, "markersize": 11, "linestyle": ""}
LESS, MORE = "#030000", "#030001"
BASELINE_MARKERS = ("^", "s", "D", "v", "P", "X")
NUM_TASK_COLOURS = 6
# The variables stand in dtb/pages/style.css; what follows here is for an SVG that is taken out of the page.
_VARIABLES = {
    INK: "var(--ink, #1b1f24)",
    QUIET: "var(--quiet, #59636e)",
    GRID: "var(--grid, #d5dae0)",
    SURFACE: "var(--surface, #ffffff)",
    LESS: "var(--less, #2166ac)",
    MORE: "var(--more, #b2182b)",
    "#020000": "var(--task-0, #0072b2)",
    "#020001": "var(--task-1, #c2500a)",
    "#020002": "var(--task-2, #00795a)",
    "#020003": "var(--task-3, #a8488a)",
    "#020004": "var(--task-4, #2f84b5)",
    "#020005": "var(--task-5, #94690a)",
}
_RC: Any = {  # matplotlib types the keys one by one
    "svg.fonttype": "none",
    "svg.hashsalt": "dtb",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
}

_drawn: ContextVar[list[Figure] | None] = ContextVar("_drawn", default=None)


def task_colour(index: int) -> str:
    """Return the place-holder colour of a task by its index in the task set; after six tasks the colours repeat."""
    return f"#02000{index % NUM_TASK_COLOURS}"


def colours_by_domain(domains: Sequence[str]) -> list[str]:
    """Return a different place-holder colour for each task: cool for cognitive, warm for affective tasks, as long as there are any.

    Examples
    --------
    >>> colours_by_domain(["cognitive", "affective", "cognitive", "cognitive", "cognitive"])
    ['#020000', '#020001', '#020002', '#020004', '#020003']
    """
    free: list[int] = []
    given = []
    for domain in domains:
        free = free or list(range(NUM_TASK_COLOURS))
        own = [index for index in free if index % 2 == (domain == "affective")]
        given.append((own or free)[0])
        free.remove(given[-1])
    return [task_colour(index) for index in given]


@contextlib.contextmanager
def canvas(width: float = 4.4, height: float = 3.6) -> Iterator[tuple[Figure, Axes]]:
    """Return a figure of one panel in the page's style; sizes are inches, and a panel fills a phone's width at 4.4.

    Yields
    ------
    figure : Figure
    axes : Axes
    """
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def or_words(draw: Callable[P, Markup]) -> Callable[P, Markup]:
    """Make a drawing function return a sentence if it fails, so that the page is still made."""

    @functools.wraps(draw)
    def drawn_or_said(*args: P.args, **named: P.kwargs) -> Markup:
        try:
            return draw(*args, **named)
        except Exception as error:  # noqa: BLE001, whatever it is, the rest of the page is worth having
            words = f"This figure could not be drawn ({in_a_line(error)})."
            err.print(f"Warning: {words} ({draw.__name__})")
            return Markup('<p class="notice" role="note">{}</p>').format(words)

    return drawn_or_said


def to_svg(
    figure: Figure,
    name: str,
    alt: str,
    *,
    titles: Mapping[str, str | Sequence[str]] | None = None,
    are_linked: bool = False,
) -> Markup:
    """Write a figure as an inline SVG element.

    Parameters
    ----------
    figure : Figure
        Drawn within `canvas`.
    name : str
        Prefix of every identifier, so that several figures can share a page; letters, digits and hyphens.
    alt : str
        What the figure shows, for those who do not see it. Escaped here.
    titles : mapping of str to str or sequence of str, optional
        What is told of an artist that is pointed at, by the artist's `gid`: of all of it, or of each of its marks.
    are_linked : bool
        Whether marks lead to other pages, as their `set_urls` says.

    Returns
    -------
    Markup
        Safe to place in a page: matplotlib escapes the text it draws.

    Examples
    --------
    >>> with canvas() as (figure, axes):
    ...     _ = axes.set_title("a < b")
    ...     svg = to_svg(figure, "example", 'The word "example".')
    >>> svg[:56]
    Markup('<svg class="figure" role="img" aria-label="The word &#34')
    >>> "a &lt; b" in svg
    True
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise ValueError(f"{name!r} cannot stand before an identifier: letters, digits and hyphens only")
    if (drawn := _drawn.get()) is not None:
        drawn.append(figure)
    stream = io.StringIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)[ >].*?</\1>", "", svg, flags=re.DOTALL)
    opening, body = svg.split(">", 1)
    box = re.search(r'viewBox="[\d. ]+"', opening)
    assert box is not None, "matplotlib gives every SVG a viewBox"
    # Within tags only: what stands between them may be text from somebody's data.
    body = re.sub(r"<[^>]+>", lambda tag: _follow_page(tag[0], name), body)
    for gid, told in (titles or {}).items():
        body = _titled(body, f'<g id="{name}-{gid}">', told)
    return Markup(
        f'<svg class="figure" role="{"group" if are_linked else "img"}" aria-label="{escape(alt)}" '
        f'id="{name}" xmlns="http://www.w3.org/2000/svg" {box[0]} '
        f'stroke-linejoin="round">{body}'
    )


def _titled(body: str, opening: str, told: str | Sequence[str]) -> str:
    """Return the body of an SVG, with words for the group that opens so, or for each mark after that."""
    before, found, after = body.partition(opening)
    if not found:
        return body
    if isinstance(told, str):
        return f"{before}{found}<title>{escape(told)}</title>{after}"
    words = iter(told)

    def marked(tag: re.Match[str]) -> str:
        said = next(words, None)
        return tag[0] if said is None else f"{tag[1]}><title>{escape(said)}</title></use>"

    return before + found + re.sub(r"(<use [^>]*?)\s*/>", marked, after, count=len(told))


def figure_of(draw: Callable[..., Markup], *arguments: object, **options: object) -> Figure:
    """Return the figure that a function of the report draws, in the colours of a light page, for a notebook.

    Parameters
    ----------
    draw : callable
        A function of `dtb.report.figures`.
    *arguments, **options : object
        Its arguments.

    Returns
    -------
    matplotlib.figure.Figure
    """
    drawn: list[Figure] = []
    token = _drawn.set(drawn)
    try:
        draw(*arguments, **options)
    finally:
        _drawn.reset(token)
    (figure,) = drawn
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # ticks and their labels exist from now on
    for artist in figure.findobj():
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            _replace_place_holders(artist, name)
    for axes in figure.axes:  # and those that come later, when the figure is made larger
        axes.tick_params(color=_plain(QUIET), labelcolor=_plain(INK), grid_color=_plain(GRID))
    figure.set_facecolor("white")
    return figure


def _plain(holder: str) -> str:
    """Return the colour of a light page for a place-holder; other colours unchanged."""
    variable = _VARIABLES.get(holder)
    return holder if variable is None else variable.split(", ")[1].rstrip(")")


def _replace_place_holders(artist: Any, name: str) -> None:
    read, write = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
    colour = None if read is None or write is None else read()
    if write is None or colour is None or (isinstance(colour, str) and colour in {"auto", "none"}):
        return
    rows = to_rgba_array(colour)
    plain = [to_rgba(_plain(to_hex(row)), row[3]) for row in rows]
    if any(to_hex(row) in _VARIABLES for row in rows):
        write(plain if len(plain) > 1 else plain[0])


def _follow_page(tag: str, name: str) -> str:
    """Return one tag with identifiers of its figure and colours of the page."""
    tag = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', tag)
    tag = (
        re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', tag)
        .replace("xlink:href=", "href=")
        .replace(' target="_blank"', "")
    )
    tag = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", tag)
    for holder, variable in _VARIABLES.items():
        tag = tag.replace(holder, variable)
    return tag.replace("'DejaVu Sans'", "system-ui, sans-serif")
