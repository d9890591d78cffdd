"""Access control: requests need the token, come from a page of this server, and use a name of this server.

The token comes once, in the address that `dtb view` prints; it is then kept in a cookie that scripts cannot read, and leaves the address.
Programs send it as ``Authorization: Bearer TOKEN``. The check of the Host header keeps other sites from reaching a server on loopback by
letting their own name point to it.
"""

from __future__ import annotations

import hashlib
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dtb.view.patience import RefusedBodyError, whole_body

_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_REFUSAL = "Not allowed: open the address that `dtb view` printed, token included, or send the header `Authorization: Bearer TOKEN`.\n"


def cookie_name(token: str) -> str:
    """Return the name of a token's cookie.

    Browsers keep cookies by host, not by port, so two servers on one machine need different names.
    """
    return f"dtb-view-{hashlib.sha256(token.encode()).hexdigest()[:12]}"


class Guard:
    """Passes requests with the token on, and adds strict security headers to replies.

    Parameters
    ----------
    app : ASGI application
    token : str
    inline_scripts : tuple of str
        Paths of pages with inline scripts.
    """

    def __init__(self, app: ASGIApp, token: str, inline_scripts: tuple[str, ...] = ()) -> None:
        self._app = app
        self._token = token
        self._inline_scripts = inline_scripts
        self._cookie = cookie_name(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def strict_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                own_path = scope["path"].removeprefix(scope.get("root_path", ""))
                scripts = " 'unsafe-inline'" if own_path in self._inline_scripts else ""
                headers["Content-Security-Policy"] = _POLICY.format(scripts=scripts)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
        if scope["method"] == "GET" and given and self._is_token(given[0]):
            moved = RedirectResponse(scope.get("root_path", "") + "/", status_code=303)
            moved.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            await moved(scope, receive, strict_send)
        elif self._has_token(Headers(scope=scope)):
            try:
                body = await whole_body(receive) if scope["method"] not in ("GET", "HEAD") else receive
            except RefusedBodyError as refusal:
                answer = PlainTextResponse(str(refusal), refusal.status, {"Connection": "close"})
                await answer(scope, receive, strict_send)
                return
            await self._app(scope, body, strict_send)
        else:
            await PlainTextResponse(_REFUSAL, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, strict_send)

    def _has_token(self, headers: Headers) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._is_token(value.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())
