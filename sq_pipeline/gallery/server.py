"""The live gallery: its routes, a table. Not here: who may ask (`guard`), what is told (`survey`), how it ends."""

from collections.abc import Callable
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.fingerprints import fingerprint, hash_bytes, short
from sq_pipeline.gallery.asking import answer_asked
from sq_pipeline.gallery.guard import Guard
from sq_pipeline.gallery.pages import static_files, write_page
from sq_pipeline.gallery.survey import Survey
from sq_pipeline.gallery.workshop import Workshop

_FOR_EVER = "private, max-age=31536000, immutable"  # its address is its hash
_ASK_AGAIN = "no-cache"

Answer = Callable[[Request], Response]


def gallery_app(survey: Survey, workshop: Workshop | None) -> ASGIApp:
    """The application over a survey; starts no thread. `workshop` None: nothing can be done on its page."""
    files = static_files()
    token = None if workshop is None else workshop.token
    stamp = short(fingerprint({name: hash_bytes(content) for name, (content, _) in files.items()}))

    def page(_: Request) -> Response:
        html = write_page(survey.data.root.name, "live", token=token, stamp=stamp)
        return HTMLResponse(html)

    def static(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        if found is None:
            return _unknown()
        is_stamped = request.url.query == stamp
        return Response(
            found[0], media_type=found[1], headers={"Cache-Control": _FOR_EVER if is_stamped else _ASK_AGAIN}
        )

    def overview(request: Request) -> Response:
        told = {**survey.overview(), "jobs": [] if workshop is None else workshop.jobs()}
        tag = f'"{told["revision"]}-{short(fingerprint({"jobs": told["jobs"], "looks": survey.looks}))}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag, "Cache-Control": _ASK_AGAIN})
        return JSONResponse(told, headers={"ETag": tag, "Cache-Control": _ASK_AGAIN})

    def tiles(request: Request) -> Response:
        told = survey.tiles(request.path_params["id"])
        return _unknown() if told is None else JSONResponse(told)

    def details(request: Request) -> Response:
        try:
            told = survey.details(request.path_params["id"])
        except (SqPipelineError, OSError) as error:  # such as a store that is deleted meanwhile
            return JSONResponse({"problem": str(error)}, 503)
        return _unknown() if told is None else JSONResponse(told)

    def picture(request: Request) -> Response:
        return _picture(survey.files.read(request.path_params["digits"]))

    def thumb(request: Request) -> Response:
        return _picture(survey.files.read_thumb(request.path_params["digits"]))

    table: dict[str, Answer] = {
        "/": page,
        "/static/{name}": static,
        "/api/overview": overview,
        "/api/groups/{id}": tiles,
        "/api/pictures/{id}": details,
        "/pictures/{digits}": picture,
        "/thumbs/{digits}": thumb,
    }
    routes = [Route(path, answer, methods=["GET"]) for path, answer in table.items()]
    if workshop is not None:
        act = partial(answer_asked, workshop)
        routes.append(Route("/api/pictures/{id}/{action}", act, methods=["POST"]))
    return Guard(Starlette(routes=routes), token)


def _picture(found: tuple[bytes, str] | None) -> Response:
    if found is None:
        return _unknown()
    return Response(found[0], media_type=found[1], headers={"Cache-Control": _FOR_EVER})


def _unknown() -> Response:
    return PlainTextResponse("there is nothing here\n", 404)
