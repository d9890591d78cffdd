"""The web application: the page, its assets, and the interface for the page and for programs.

Plotly comes from the `plotly` package and Swagger UI from `fastapi-offline`, so that nothing is fetched from any other host.
"""

from __future__ import annotations

import functools
import gzip
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dtb.errors import InputDataError, StageError, TaskError, UserError
from dtb.pages.render import STYLE, TEMPLATES
from dtb.version import __version__
from dtb.view import api
from dtb.view.guard import Guard, cookie_name
from dtb.view.viewer import NOTICE, Viewer

ASSETS = Path(__file__).parent / "assets"
PLOTLY = Path(str(resources.files("plotly"))) / "package_data" / "plotly.min.js"
DOCS = "/docs"

_MATRICES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
_Name = Annotated[str, InPath(max_length=200)]

_DESCRIPTION = f"""Twins of one run perform tasks, with connectomes as they are or changed. {NOTICE}

Every request needs the token that `dtb view` printed: as the page's cookie, or in the header `Authorization: Bearer TOKEN`."""


@functools.cache
def _packed_charts() -> bytes:
    """Return Plotly in a third of its size.

    Only what holds nobody's data is packed: the length of a packed answer tells of what it holds.
    """
    return gzip.compress(PLOTLY.read_bytes())


def make_app(run: Path, token: str, hosts: tuple[str, ...] = ("*",), atlas: Path | None = None) -> FastAPI:
    """Make the application for one run folder.

    Parameters
    ----------
    run : Path
        Folder that `dtb run` wrote.
    token : str
        Secret that gives access.
    hosts : tuple of str
        Names under which the server is reached; ``"*"`` for any.
    atlas : Path, optional
        Says where the regions lie, see `dtb.view.Viewer`.

    Returns
    -------
    FastAPI
    """
    viewer = Viewer(run, atlas)
    # The guard asks for the token, before anything here is reached; these tell the description of the interface how it is given.
    described = [
        Depends(HTTPBearer(auto_error=False)),
        Depends(APIKeyCookie(name=cookie_name(token), auto_error=False)),
    ]
    app = FastAPIOffline(
        docs_url=DOCS,
        redoc_url=None,
        title="dtb: the live twin",
        version=__version__,
        description=_DESCRIPTION,
        dependencies=described,
        responses=_refusals(
            {
                401: "The token is absent or wrong (plain text).",
                422: "The request has the wrong form, or cannot be met.",
            }
        ),
    )
    unknown = _refusals({404: "There is no such person, task, block or region, or no change to give a dose of."})
    app.add_middleware(Guard, token=token, inline_scripts=(DOCS,))
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)

    @app.exception_handler(UserError)
    def refuse(_request: Request, error: Exception) -> JSONResponse:
        is_absent = isinstance(error, InputDataError) and not isinstance(error, TaskError)
        return JSONResponse({"detail": str(error)}, 404 if is_absent else 422)

    @app.exception_handler(StageError)
    def fail(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    def correct(_request: Request, error: RequestValidationError) -> JSONResponse:
        # Without what was sent: it may be what JSON cannot hold.
        mistakes = [{key: one[key] for key in ("loc", "msg", "type")} for one in error.errors()]
        return JSONResponse({"detail": jsonable_encoder(mistakes)}, 422)

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(TEMPLATES / "live.html")

    @app.get("/style.css", include_in_schema=False)
    def style() -> FileResponse:
        return FileResponse(STYLE)

    @app.get("/plotly.min.js", include_in_schema=False)
    def charts(request: Request) -> Response:
        headers = {"Cache-Control": "private, max-age=86400", "Vary": "Accept-Encoding"}
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return FileResponse(PLOTLY, headers=headers)
        return Response(_packed_charts(), headers=headers | {"Content-Encoding": "gzip"}, media_type="text/javascript")

    app.mount("/assets", StaticFiles(directory=ASSETS), name="assets")

    @app.get("/api/run", summary="Who and what can be looked at")
    def run_description() -> api.RunDescription:
        """Return the people, tasks and regions, and the target of the intervention."""
        return viewer.description()

    @app.get("/api/people/{person}", summary="A person's tasks and blocks", responses=unknown)
    def person(person: _Name) -> api.Person:
        """Return a person's blocks of each task."""
        return viewer.person(person)

    @app.get(
        "/api/people/{person}/connectome",
        summary="A person's connectome",
        response_class=Response,
        responses={**_MATRICES, **unknown},
    )
    def connectome(person: _Name) -> Response:
        """Return a person's correlation matrix: R x R float32, little-endian, row by row; regions in the order of `/api/run`."""
        return Response(viewer.connectome(person), media_type="application/octet-stream")

    @app.post(
        "/api/connectomes",
        summary="People's changed connectomes",
        response_class=Response,
        responses={**_MATRICES, **unknown},
    )
    def connectomes(request: api.ChangeRequest) -> Response:
        """Return people's correlation matrices with the requested change, as far as they stay valid, one after another: each R x R
        float32, little-endian, row by row; regions in the order of `/api/run`."""
        return Response(viewer.changed_connectomes(request), media_type="application/octet-stream")

    @app.get(
        "/api/cortex",
        summary="The cortex and its regions",
        response_class=Response,
        responses={**_MATRICES, **unknown},
    )
    def cortex() -> Response:
        """Return the mesh of the cortex (fsaverage5) and its regions, little-endian: two uint32, the numbers of vertices V and of
        triangles F; V x 3 int16, places in hundredths of a millimetre in MNI space; V int16, each vertex's region in the order of
        `/api/run`, -1 for none; F x 3 uint16, the vertices of each triangle; V uint8, the depth of folds."""
        return Response(viewer.cortex(), media_type="application/octet-stream")

    @app.get(
        "/api/people/{person}/blocks/{task}/{block}", summary="What a person saw and did in a block", responses=unknown
    )
    def block(
        person: _Name,
        task: _Name,
        block: Annotated[int, InPath(ge=0)],
        bold_region: Annotated[str | None, Query(max_length=200)] = None,
    ) -> api.Block:
        """Return a block's stimuli and trials, with the person's responses and BOLD; the first block is 0."""
        return viewer.block(person, task, block, bold_region)

    @app.post("/api/scene", summary="Let twins perform a block", responses=unknown)
    def scene(request: api.SceneRequest) -> api.SceneReply:
        """Return simulations of a block by people's twins, with the requested change of their connectomes."""
        return viewer.scene(request)

    @app.post("/api/living", summary="What a person's own trials tell the twin", responses=unknown)
    def living(request: api.LivingRequest) -> api.LivingReply:
        """Return what the twin believes of the later half of a person's trials after some of the earlier half, with the connectome and
        without."""
        return viewer.living(request)

    return app


def _refusals(words: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": api.Refusal, "description": what} for status, what in words.items()}
