"""The page itself, live or as part of an export, and its files. Not here: what it shows (`survey`)."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

# in the order in which they are loaded: each stands on those before it
SCRIPTS = (
    "dom.js",
    "source.js",
    "tiles.js",
    "filters.js",
    "compare.js",
    "panel.js",
    "actions.js",
    "keys.js",
    "page.js",
)
STYLES = ("gallery.css",)
_TYPES: Mapping[str, str] = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

Mode = Literal["live", "export"]


@cache
def _templates() -> Environment:
    loader = PackageLoader("sq_pipeline.gallery", "templates")
    return Environment(loader=loader, autoescape=select_autoescape(default=True), undefined=StrictUndefined)


def write_page(name: str, mode: Mode, *, token: str | None = None, stamp: str = "") -> str:
    """The HTML of the page; an export's has its data beside it. `token`: what it shows to have something done; None:
    it is for looking only. `stamp`: what its scripts' addresses end in.
    """
    page = _templates().get_template("page.html")
    return page.render(
        name=name,
        mode=mode,
        is_read_only=token is None,
        token=token,
        scripts=SCRIPTS,
        styles=STYLES,
        query=f"?{stamp}" if stamp else "",
    )


@cache
def static_files() -> Mapping[str, tuple[bytes, str]]:
    """The files that belong to the page by their names, and their media types: nothing else is served from there."""
    folder = resources.files("sq_pipeline.gallery") / "static"
    names = (*SCRIPTS, *STYLES, "icon.svg")
    return {name: ((folder / name).read_bytes(), _TYPES[name[name.rindex(".") :]]) for name in names}
