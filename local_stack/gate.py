"""Refuses requests of web pages and of other users, before the emulator sees them.

The emulator checks no signature of its root user and sends permissive CORS headers. A page could
therefore create and invoke functions here. Browsers send `Origin` or `Sec-Fetch-Site` with every
request that a page of another origin can forge, and the page's own host name after DNS rebinding.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from local_stack.connection import HEALTH_PATH

Scope = MutableMapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Any], Awaitable[None]]

_BROWSER_HEADERS = ("origin", "sec-fetch-site", "sec-fetch-mode")
_ADMIN_PATH = "/_ministack/"
_ACCOUNT = re.compile(r"\d{12}")
_ROOT_KEYS = ("", "test")  # the emulator accepts these, and any account id, as its root user


def foreign(headers: Mapping[str, str], port: int) -> str:
    """Return why a request did not come from a local client; empty if it may have."""
    if any(name in headers for name in _BROWSER_HEADERS):
        return "requests of web pages are refused"
    if headers.get("host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
        return "the Host header names another host"
    return ""


class Gate:
    """An ASGI application in front of the emulator, which rejects keys that it does not know."""

    def __init__(self, app: App, *, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Pass a request on, or answer it with 403."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        reason = self._refusal(scope)
        if not reason:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            body = [(b"content-type", b"text/plain"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 403, "headers": body})
            await send({"type": "http.response.body", "body": reason.encode()})

    def _refusal(self, scope: Scope) -> str:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        if reason := foreign(headers, self._port):
            return reason
        if scope["path"] == HEALTH_PATH:
            return ""
        if scope["path"].startswith(_ADMIN_PATH):
            return "administration paths are closed"
        key = self._key_of(headers, scope["query_string"].decode("latin-1"))
        is_root = key in _ROOT_KEYS or _ACCOUNT.fullmatch(key)
        return "sign the request with the keys of this stack" if is_root else ""

    def _key_of(self, headers: Mapping[str, str], query: str) -> str:
        """Return the access key id as the emulator reads it; empty for an unsigned request."""
        from ministack.core.router import extract_access_key_id  # noqa: PLC0415

        return str(extract_access_key_id(dict(headers), parse_qs(query, keep_blank_values=True)))
