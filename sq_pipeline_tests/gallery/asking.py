"""Asking an application as a browser does, without a server in between: paths come as they were written."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message

HOST = "127.0.0.1:3010"


@dataclass
class Answer:
    """What came back."""

    status_code: int = 0
    headers: Headers = field(default_factory=Headers)
    content: bytes = b""

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Client:
    """Asks one application, by default as this machine's browser."""

    app: ASGIApp

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers)

    def request(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        given = {"host": HOST, **{name.lower(): value for name, value in (headers or {}).items()}}
        bare, _, query = path.partition("?")
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": bare,
            "raw_path": bare.encode(), "query_string": query.encode(), "root_path": "", "server": ("127.0.0.1", 3010),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }  # fmt: skip
        answer = Answer()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status_code = message["status"]
                answer.headers = Headers(raw=message["headers"])
            answer.content += message.get("body", b"")

        asyncio.run(self.app(scope, receive, send))  # pyright: ignore[reportArgumentType]
        return answer
