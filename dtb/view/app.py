"""The web application: the page, its assets, and the interface that the page and programs use alike.

Plotly comes from the `plotly` package and Swagger UI from `fastapi-offline`, so that nothing is fetched from any other host.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.middleware.trustedhost import TrustedHostMiddleware

import dtb
from dtb.errors import InputDataError, StageError, UserError
from dtb.view import api
from dtb.view.guard import Guard
from dtb.view.viewer import NOTICE, Viewer

ASSETS = Path(__file__).parent / "assets"
STYLE = Path(dtb.__file__).parent / "report" / "templates" / "page.css"
PLOTLY = Path(str(resources.files("plotly"))) / "package_data" / "plotly.min.js"
DOCS = "/docs"

_DESCRIPTION = f"""Twins of one run perform tasks, with connectomes as they are or changed. {NOTICE}

Every request needs the token that `dtb view` printed: as the page's cookie, or in the header `Authorization: Bearer TOKEN`."""


def make_app(run: Path, token: str, hosts: tuple[str, ...] = ("*",)) -> FastAPI:
    """Make the application for one run folder.

    Parameters
    ----------
    run : Path
        Folder that `dtb run` wrote.
    token : str
        What whoever looks must know.
    hosts : tuple of str
        Names under which the server is reached; ``"*"`` for any.

    Returns
    -------
    FastAPI
    """
    viewer = Viewer(run)
    app = FastAPIOffline(
        docs_url=DOCS, redoc_url=None, title="dtb: the live twin", version=dtb.__version__, description=_DESCRIPTION
    )
    app.add_middleware(Guard, token=token, inline_scripts=(DOCS,))
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)

    @app.exception_handler(UserError)
    def refuse(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 404 if isinstance(error, InputDataError) else 422)

    @app.exception_handler(StageError)
    def fail(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(ASSETS / "index.html")

    @app.get("/page.css", include_in_schema=False)
    def style() -> FileResponse:
        return FileResponse(STYLE)

    @app.get("/plotly.min.js", include_in_schema=False)
    def charts() -> FileResponse:
        return FileResponse(PLOTLY, headers={"Cache-Control": "private, max-age=86400"})

    app.mount("/assets", StaticFiles(directory=ASSETS), name="assets")

    @app.get("/api/run")
    def run_description() -> api.RunDescription:
        """Say who and what can be looked at."""
        return viewer.description()

    @app.get("/api/people/{person}")
    def person(person: str) -> api.Person:
        """Say which blocks of which tasks a person has."""
        return viewer.person(person)

    @app.get(
        "/api/people/{person}/connectome",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    def connectome(person: str) -> Response:
        """Give a person's correlation matrix: R x R float32, little-endian, row by row; regions in the order of `/api/run`."""
        return Response(viewer.connectome(person), media_type="application/octet-stream")

    @app.get("/api/people/{person}/blocks/{task}/{block}")
    def block(
        person: str, task: str, block: int, bold_region: Annotated[str | None, Query(max_length=200)] = None
    ) -> api.Block:
        """Say what a person saw and did in a block."""
        return viewer.block(person, task, block, bold_region)

    @app.post("/api/scene")
    def scene(request: api.SceneRequest) -> api.SceneReply:
        """Let people's twins perform a block, with their connectomes changed as asked."""
        return viewer.scene(request)

    return app
