"""How long the server waits for a request, and how much of it it takes: what is sent by halves holds no place for ever.

uvicorn waits without end for the rest of a request's head, and an application for the rest of its body.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message, Receive
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
BODY_SECONDS = 20.0
MOST_BYTES = 1 << 20


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, which closes a connection whose next request has not begun in time."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, unless a request is complete."""
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """End waiting."""
        self._stop()
        super().connection_lost(exc)

    def _look(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


class RefusedBodyError(Exception):
    """A body is too long or too slow; with the status of the reply."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def whole_body(receive: Receive) -> Receive:
    """Read a request's body, and return what gives it to the application.

    Raises
    ------
    RefusedBodyError
        It is longer than `MOST_BYTES`, or takes longer than `BODY_SECONDS`.
    """
    parts: list[bytes] = []
    first: Message = {"type": "http.request", "body": b"", "more_body": False}
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    first = message
                    break
                parts.append(message.get("body", b""))
                if sum(map(len, parts)) > MOST_BYTES:
                    raise RefusedBodyError(413, f"A request may have {MOST_BYTES:,} bytes.\n")
                if not message.get("more_body", False):
                    first["body"] = b"".join(parts)
                    break
    except TimeoutError:
        raise RefusedBodyError(408, f"The request was not complete after {BODY_SECONDS:g} s.\n") from None
    given: list[Any] = [first]

    async def again() -> Message:
        return given.pop() if given else await receive()

    return again
