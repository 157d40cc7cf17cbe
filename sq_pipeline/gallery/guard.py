"""What stands before every answer of the gallery: who may ask, how, and what a browser is told about all of it.

Only pages of this machine may ask: a name that somebody made to point here (DNS rebinding) is refused by its Host.
Only the gallery's own page may have something done: it shows a token that no page of another origin can read, and a
browser says from where it asks.
"""

import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_METHODS = ("GET", "HEAD")
TOKEN = "X-Gallery-Token"
_ALLOWED = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _ALLOWED.items()),
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class Guard:
    """The application `inner`, for requests that may be answered. `token` None: it is only read."""

    def __init__(self, inner: ASGIApp, token: str | None = None) -> None:
        self._inner = inner
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return  # no sockets; uvicorn's lifespan is off

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                message["headers"] = headers.raw
            await send(message)

        refusal = _refuse(scope, self._token)
        await (refusal or self._inner)(scope, receive, send_told)


def _refuse(scope: Scope, token: str | None) -> PlainTextResponse | None:
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or _without_port(hosts[0]) not in _HOSTS:
        return PlainTextResponse("this gallery answers only as localhost\n", 403)
    if scope["method"] in _METHODS:
        return None
    if token is None or scope["method"] != "POST":
        allowed = ", ".join(_METHODS if token is None else (*_METHODS, "POST"))
        return PlainTextResponse("this gallery is only read\n", 405, {"Allow": allowed})
    return _refuse_post(headers, hosts[0], token)


def _refuse_post(headers: Headers, host: str, token: str) -> PlainTextResponse | None:
    if headers.getlist("origin") != [f"http://{host}"] or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return PlainTextResponse("only this gallery's own page may ask for that\n", 403)
    if not secrets.compare_digest(headers.get(TOKEN, "").encode(), token.encode()):
        return PlainTextResponse("this page is of a gallery that has ended: load it anew\n", 403)
    return None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
