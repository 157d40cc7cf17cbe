"""What the site's generator does beside its own work: CONTRIBUTING.md becomes a page, and no page loads from elsewhere.

MkDocs calls these functions by their names. Not here: what is generated in pages (`sq_pipeline_tests.docs.generate`).
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

_CONTRIBUTING = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
_LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?!https?://|#)([^)]+)\)")
_LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"'](?:https?:)?//[^\"']+|@import url|url\(https?:")
_LOADED_LINK = re.compile(r"<link\b(?=[^>]*\brel=[\"'](?:stylesheet|preconnect|preload))[^>]*href=[\"'](?:https?:)?//")


def on_config(config: Any) -> None:
    """The page of CONTRIBUTING.md is in the navigation as soon as there is such a file."""
    if _CONTRIBUTING.is_file():
        config["nav"].append({"How to add a …": "contributing.md"})


def on_files(files: Files, config: Any) -> None:
    """CONTRIBUTING.md, which stands where GitHub looks for it, as one of the pages."""
    if _CONTRIBUTING.is_file():
        text = _LINK.sub(_as_page_link, _CONTRIBUTING.read_text(encoding="utf-8"))
        files.append(File.generated(config, "contributing.md", content=text))


def _as_page_link(match: re.Match[str]) -> str:
    """A link to a page as such; one to any other file of the repository as the words alone, with the file's name."""
    words, target = match.groups()
    if target.startswith("docs/"):
        return f"[{words}]({target.removeprefix('docs/')})"
    return words if target in words else f"{words} (`{target}`)"


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Raises PluginError for a page that would load something from another host."""
    if found := _LOADED.search(output) or _LOADED_LINK.search(output):
        raise PluginError(f"{page.file.src_uri} loads from another host: {found[0]}")
    return output
