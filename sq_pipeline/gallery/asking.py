"""What a page sends when it asks for something: values in the address, and a file as the body. Nothing is kept of it.

Not here: who may ask (`guard`), what becomes of it (`workshop`).
"""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from sq_pipeline.common.errors import Fault, PictureError, SelectionError
from sq_pipeline.gallery.actions import ACTIONS, TAKES, Asked
from sq_pipeline.gallery.workshop import Workshop, as_texts, faults_of
from sq_pipeline.pipeline.choices.choose import Said

_UNSAFE = re.compile(r"[^\w. -]")
_MOST_NAME = 100  # characters of a file's name
_MOST_TEXT = 500  # of who and why


class _TooLargeError(PictureError):
    """More came than may."""


async def answer_asked(workshop: Workshop, request: Request) -> Response:
    """Do what a page asks for: 202 with its job, 404, 409 with what is wrong, 413 for a file that is too large."""
    action = ACTIONS.get(request.path_params["action"])
    if action is None:
        return PlainTextResponse("there is no such action\n", 404)
    with tempfile.TemporaryDirectory(prefix="sq-gallery-") as folder:
        try:
            asked = replace(_asked(request), file=await _receive(request, Path(folder), action.most_bytes))
            job = await run_in_threadpool(workshop.ask, request.path_params["id"], request.path_params["action"], asked)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody hears it
        except Exception as error:
            told = tuple(_without(folder, fault) for fault in faults_of(error))
            return JSONResponse({"faults": as_texts(told)}, 413 if isinstance(error, _TooLargeError) else 409)
    if job is None:
        return PlainTextResponse("there is no such picture\n", 404)
    return JSONResponse({"job": job.as_json()}, 202)


def _without(folder: str, fault: Fault) -> Fault:
    """A file that somebody sent is called as they call it."""
    file, problem, hint = (text.replace(f"{folder}/", "") for text in (fault.file, fault.problem, fault.hint))
    return Fault(file, fault.field, problem, hint)


def _asked(request: Request) -> Asked:
    said = {name: value[:_MOST_TEXT] for name, value in request.query_params.items()}
    faults: list[Fault] = []

    def number(name: str) -> int | None:
        value = said.get(name, "")
        if value and not re.fullmatch(r"[0-9]{1,10}", value):
            faults.append(Fault("", name, f"is {value!r}, and no number", "write it in digits"))
            return None
        return int(value) if value else None

    take, count = number("take"), number("count")
    if faults:
        raise SelectionError(faults)
    return Asked(
        Said(said.get("by", ""), said.get("why", "")),
        take=take,
        version=said.get("version", ""),
        is_any_size=said.get("any_size") == "yes",
        count=TAKES if count is None else count,
    )


async def _receive(request: Request, folder: Path, most_bytes: int) -> Path | None:
    """The body as a file with the name that it had; None for an empty one. Raises _TooLargeError."""
    name = _UNSAFE.sub("_", request.query_params.get("name", ""))[-_MOST_NAME:].lstrip(".")
    path = folder / (name or "picture")
    received = 0
    with path.open("wb") as file:  # a temporary one, chunk by chunk: quick enough for the loop
        async for chunk in request.stream():
            received += len(chunk)
            if received > most_bytes:
                problem = f"is larger than {most_bytes >> 20} MiB" if most_bytes else "is not asked for"
                raise _TooLargeError(Fault(path.name, "", problem, "send a smaller one" if most_bytes else "send none"))
            file.write(chunk)
    return path if received else None
