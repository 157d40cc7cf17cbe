"""Writing tiny packs for the tests, and reading their catalog. Not here: what they should say."""

from pathlib import Path
from textwrap import dedent

from sq_pipeline.common.errors import Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.packs import read_catalog
from sq_pipeline.content.records import Catalog

GENRE_STYLE = "content/genre_packs/western/visual_style.yaml"
GENRE_HISTORY = "content/genre_packs/western/history.yaml"
WORLD_STYLE = "content/genre_packs/western/worlds/dust/visual_style.yaml"
WORLD_HISTORY = "content/genre_packs/western/worlds/dust/history.yaml"

ONE_ENTRY = """
loras:
  - name: base
    file: western/landscape.safetensors
    scale: 0.8
    applies_to: [landscape, scene]
    trigger: western_style
"""


def write(data: DataDir, file: str, text: str) -> Path:
    """Write a text file of a data directory, with its folders."""
    path = data.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return path


def history_of(*places: str) -> str:
    """A history of one chapter whose places are written as flow mappings, such as `{name: Mill, description: Old}`."""
    lines = "".join(f"      - {place}\n" for place in places)
    return f"chapters:\n  - points_of_interest:\n{lines}"


def the_fault(faults: list[Fault], file: str) -> Fault:
    """The only fault; it must name its file and a hint, whatever else it says."""
    assert len(faults) == 1, [str(fault) for fault in faults]
    assert faults[0].file == file
    assert faults[0].field
    assert faults[0].hint
    return faults[0]


def catalog_of(data: DataDir, files: dict[str, str]) -> Catalog:
    """The catalog of a data directory that holds these files."""
    for file, text in files.items():
        write(data, file, text)
    return read_catalog(data)
