"""The generated parts of a page, which stand between two marks. Not here: what is in them (`generate`)."""

import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"

_BLOCK = re.compile(
    r"^<!-- generated: (?P<name>.+?) -->\n(?P<body>.*?)^<!-- end of generated -->$", re.MULTILINE | re.DOTALL
)
_MARK = re.compile(r"<!-- (?:generated: .+?|end of generated) -->")


def pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted(DOCS.rglob("*.md"))


def block_names(text: str) -> list[str]:
    """The names of a page's generated parts; raises ValueError for a mark that stands alone."""
    names = [match["name"] for match in _BLOCK.finditer(text)]
    if 2 * len(names) != len(_MARK.findall(text)):
        raise ValueError("a mark of a generated part has no other one")
    return names


def fill(text: str, blocks: Mapping[str, str]) -> str:
    """A page with its generated parts as they are in `blocks`; raises KeyError for one that is not there."""
    return _BLOCK.sub(
        lambda match: f"<!-- generated: {match['name']} -->\n\n{blocks[match['name']]}\n<!-- end of generated -->", text
    )


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
