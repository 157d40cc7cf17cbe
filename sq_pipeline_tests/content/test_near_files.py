"""Files that are meant to be read and have another name, and what systems and editors leave beside ours."""

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.packs import read_catalog
from sq_pipeline_tests.content.pack_writing import catalog_of

_PACKS = "content/genre_packs"
_WORLD = f"{_PACKS}/western/worlds/dust"
_PLACES = "chapters:\n- points_of_interest:\n  - {name: Good Place, visual_prompt: a mill}\n"
_RENAME = "is not read; history.yaml is; rename it to history.yaml"
_MOVE = "is not read; history.yaml is; move what it says into history.yaml"


@pytest.mark.parametrize(
    ("name", "alone", "beside"),
    [
        ("history.yaml.txt", _RENAME, ""),
        ("history.yaml.bak", _RENAME, ""),
        ("history.yaml~", _RENAME, ""),
        ("History.YAML.old", _RENAME, ""),
        ("history copy.yaml", _RENAME, _MOVE),
        ("history copy 2.yaml", _RENAME, _MOVE),
        ("history - Copy.yaml", _RENAME, _MOVE),
        ("history (1).yaml", _RENAME, _MOVE),
        ("places (3).yml", _RENAME, _MOVE),
        ("._history.yaml", "", ""),
        (".DS_Store", "", ""),
        ("Thumbs.db", "", ""),
        ("desktop.ini", "", ""),
        ("Icon\r", "", ""),
        ("notes.txt", "", ""),
    ],
)
def test_what_lies_near_a_file_of_ours_is_told_once_or_is_nobody_s(data: DataDir, name: str, alone: str, beside: str):
    catalog = catalog_of(data, {f"{_WORLD}/{name}": _PLACES})
    assert [f"{fault.problem}; {fault.hint}" for fault in catalog.warnings] == [alone] * bool(alone)
    catalog = catalog_of(data, {f"{_WORLD}/history.yaml": _PLACES})
    assert [f"{fault.problem}; {fault.hint}" for fault in catalog.warnings] == [beside] * bool(beside)
    assert catalog.faults == {}


def test_a_file_of_0_bytes_is_told(data: DataDir):
    (warning,) = catalog_of(data, {f"{_WORLD}/history.yaml": ""}).warnings
    assert f"{_WORLD}/history.yaml: has 0 bytes" in str(warning)
    assert catalog_of(data, {f"{_WORLD}/history.yaml": "# nothing yet\n"}).warnings == ()


@pytest.mark.parametrize("name", ["sq.yml", "SQ.yaml", "sq.yaml.txt", "Sq.YML", "sq.json", "sq.yaml.bak"])
def test_settings_under_another_name_are_told(data: DataDir, name: str):
    data.settings_file.unlink(missing_ok=True)
    (data.root / name).write_text("base_model: tiny-flux\n")
    if data.settings_file.exists():
        pytest.skip("this file system folds case")
    (warning,) = read_catalog(data).warnings
    assert str(warning) == f"{name}: is not read; sq.yaml is; rename it to sq.yaml"
    data.settings_file.write_text("base_model: tiny-flux\n")
    told = [str(fault) for fault in read_catalog(data).warnings]
    is_older = name.endswith((".txt", ".bak"))
    assert told == ([] if is_older else [f"{name}: is not read; sq.yaml is; move what it says into sq.yaml"])


@pytest.mark.parametrize("name", ["__MACOSX", "@eaDir", "System Volume Information", "__pycache__", ".git"])
def test_folders_that_systems_leave_are_no_worlds_and_no_genres(data: DataDir, name: str):
    files = {f"{_WORLD}/history.yaml": _PLACES, f"{_PACKS}/{name}/western/worlds/x/._history.yaml": "x"}
    files[f"{_PACKS}/western/worlds/{name}/history.yaml"] = _PLACES
    assert list(catalog_of(data, files).worlds) == ["western/dust"]
