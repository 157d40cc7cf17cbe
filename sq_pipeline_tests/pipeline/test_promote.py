"""Promotion: the file and the manifest, both or neither; and a manifest that reads back as it was written."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sq_pipeline.common.errors import ContentError, StorageError, VerificationError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.promoted_adapter import Promotion, promote_adapter
from sq_pipeline.pipeline.manifests import read_manifest, write_manifest
from sq_pipeline.pipeline.promotions.sign_offs import SignOff
from sq_pipeline.verification.verdicts import Outcome
from sq_pipeline_tests.builders import faults_of, make_data_dir, names_below, write_adapter

ADAPTER = Adapter(
    "western", "western_land", "western/landscape.safetensors", "landscape", "old_west", "western/landscape"
)
EXTERNAL = Adapter("western", "bought", "western/bought.safetensors", "scene", None, None)
TARGET, MANIFEST = "content/lora/western/landscape.safetensors", "content/lora/western/western.yaml"
PROVENANCE = {"training_dataset": "sha256:11", "keymap": "mlx-to-mflux 1 sha256:22"}


def _verdicts(*outcomes: Outcome) -> dict[str, str]:
    return {f"check {n}": f"{outcome}: detail {n}" for n, outcome in enumerate(outcomes)}


def _promotion(adapter: Adapter = ADAPTER, by: str = "Ada", version: str = "sha256:ab", **more: Any) -> Promotion:
    verified = _verdicts("passed", "skipped")
    said = {"file": adapter.file, "adapter_version": version, "promoted_by": by, "verified": verified}
    return Promotion(adapter, SignOff(**{**said, "made_from": dict(PROVENANCE), **more}))


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return make_data_dir(tmp_path / "data")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "source.safetensors")


def test_promotion_writes_the_file_and_the_manifest(data: DataDir, source: Path) -> None:
    target = promote_adapter(data, source, _promotion())
    assert target == data.root / TARGET
    assert target.read_bytes() == source.read_bytes()
    assert names_below(data.root) == [TARGET, MANIFEST]
    assert read_manifest(data, "western") == {
        "western_land": {
            "file": "western/landscape.safetensors",
            "adapter_version": "sha256:ab",
            "promoted_by": "Ada",
            "verified": {"check 0": "passed: detail 0", "check 1": "skipped: detail 1"},
            "made_from": PROVENANCE,
        }
    }


def test_the_manifest_says_what_it_is_and_names_no_absolute_path(data: DataDir, source: Path) -> None:
    promote_adapter(data, source, _promotion())
    text = (data.root / MANIFEST).read_text()
    assert text.startswith("# Written by sq-pipeline")
    assert str(data.root) not in text
    assert str(source) not in text


def test_equal_content_gives_equal_bytes(data: DataDir, source: Path) -> None:
    promote_adapter(data, source, _promotion())
    first = {name: (data.root / name).read_bytes() for name in names_below(data.root)}
    promote_adapter(data, source, _promotion())
    assert {name: (data.root / name).read_bytes() for name in names_below(data.root)} == first


def test_the_order_of_promotions_does_not_count(tmp_path: Path, source: Path) -> None:
    texts: list[bytes] = []
    promotions = [_promotion(), _promotion(replace(ADAPTER, name="a_first", file="western/scene.safetensors"))]
    for number, order in enumerate((promotions, promotions[::-1])):
        data = make_data_dir(tmp_path / str(number))
        for promotion in order:
            promote_adapter(data, source, promotion)
        texts.append((data.root / MANIFEST).read_bytes())
    assert texts[0] == texts[1]


def test_another_adapter_s_entry_stays_and_the_own_is_replaced(data: DataDir, source: Path, tmp_path: Path) -> None:
    other = replace(ADAPTER, name="other", file="western/mccoy/landscape.safetensors")
    promote_adapter(data, source, _promotion(other, "Bo"))
    promote_adapter(data, source, _promotion())
    newer = write_adapter(tmp_path / "newer.safetensors", seed=1)
    promote_adapter(data, newer, _promotion(by="Cy", version="sha256:cd"))
    manifest = read_manifest(data, "western")
    assert {name: entry["promoted_by"] for name, entry in manifest.items()} == {"other": "Bo", "western_land": "Cy"}
    assert (data.root / TARGET).read_bytes() == newer.read_bytes()
    assert (data.lora_root / other.file).read_bytes() == source.read_bytes()


@pytest.mark.parametrize("by", ["", "  ", "\n"])
def test_somebody_must_be_named(by: str) -> None:
    with pytest.raises(ValidationError, match="promoted_by"):
        _promotion(by=by)


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        (_verdicts("passed", "failed"), "check 1: detail 1"),
        (_verdicts("failed", "failed"), "check 0: detail 0; check 1: detail 1"),
        (_verdicts("skipped"), "none was made"),
        ({}, "none was made"),
    ],
)
def test_what_did_not_pass_is_refused(data: DataDir, source: Path, verdicts: dict[str, str], reason: str) -> None:
    promotion = _promotion(verified=verdicts)
    (fault,) = faults_of(lambda: promote_adapter(data, source, promotion), VerificationError)
    assert fault.problem == f"did not pass verification ({reason})"
    assert names_below(data.root) == []


def test_what_did_not_pass_is_promoted_with_a_reason_that_is_kept(data: DataDir, source: Path) -> None:
    promote_adapter(data, source, _promotion(verified=_verdicts("passed", "failed"), because="for the dream"))
    entry = read_manifest(data, "western")["western_land"]
    assert (entry["because"], entry["verified"]["check 1"]) == ("for the dream", "failed: detail 1")


def test_an_external_adapter_s_own_file_is_left_untouched(data: DataDir, source: Path) -> None:
    own = data.lora_root / EXTERNAL.file
    own.parent.mkdir(parents=True)
    own.write_bytes(b"the person's own bytes")
    before = own.stat()
    assert promote_adapter(data, source, _promotion(EXTERNAL)) == own
    assert own.read_bytes() == b"the person's own bytes"
    assert (own.stat().st_mtime_ns, own.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert read_manifest(data, "western")["bought"]["file"] == "western/bought.safetensors"


# --- both or neither


def _full_disk_for(name: str) -> Callable[[Path, bytes], int]:
    original = Path.write_bytes

    def write(path: Path, content: bytes) -> int:
        if name in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, content)

    return write


def test_a_full_disk_at_the_manifest_leaves_the_old_adapter_in_use(
    data: DataDir, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_adapter(data, source, _promotion())
    before = {name: (data.root / name).read_bytes() for name in names_below(data.root)}
    newer = write_adapter(tmp_path / "newer.safetensors", seed=1)
    monkeypatch.setattr(Path, "write_bytes", _full_disk_for("western"))
    faults_of(lambda: promote_adapter(data, newer, _promotion(by="Bo")), StorageError)
    assert {name: (data.root / name).read_bytes() for name in names_below(data.root)} == before


def test_a_full_disk_at_the_adapter_leaves_the_old_manifest(
    data: DataDir, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copyfile", full)
    (fault,) = faults_of(lambda: promote_adapter(data, source, _promotion()), StorageError)
    assert fault.file.endswith(TARGET)
    assert names_below(data.root) == []


@pytest.mark.parametrize(
    ("content", "field", "problem"),
    [
        ("adapters: [1, 2]\n", "adapters", "is not a mapping of adapters"),
        ("adapters:\n", "adapters", "is not a mapping of adapters"),
        ("adapters: {western_land: yes}\n", "adapters", "is not a mapping of adapters"),
        ("- a\n", "", "its top level is a list"),
        ("adapters: {a: {}, a: {}}\n", "line 1", "is there twice"),
        ("adapters: {", "line", ""),
        ("\x00", "", ""),
    ],
)
def test_a_broken_manifest_is_a_clear_error_and_nothing_is_promoted(
    data: DataDir, source: Path, content: str, field: str, problem: str
) -> None:
    (data.root / MANIFEST).parent.mkdir(parents=True)
    (data.root / MANIFEST).write_text(content)
    for action in (lambda: read_manifest(data, "western"), lambda: promote_adapter(data, source, _promotion())):
        (fault,) = faults_of(action, ContentError)
        assert fault.file == MANIFEST
        assert fault.field.startswith(field)
        assert problem in fault.problem
        assert fault.hint
    assert names_below(data.root) == [MANIFEST]
    assert (data.root / MANIFEST).read_text() == content


@pytest.mark.parametrize("content", [None, "", "# nothing yet\n"])
def test_nothing_promoted_is_an_empty_manifest(data: DataDir, content: str | None) -> None:
    if content is not None:
        (data.root / MANIFEST).parent.mkdir(parents=True)
        (data.root / MANIFEST).write_text(content)
    assert read_manifest(data, "western") == {}


# --- what is written reads back


@pytest.mark.parametrize(
    "value",
    [
        "no",
        "~",
        "null",
        "true",
        "1e-4",
        "1e5",
        "089",
        "0o17",
        "12:30",
        "2024-01-01",
        "=",
        "<<",
        "- a",
        "a: b",
        "#",
        "é ✓",
    ],
)
def test_a_text_stays_a_text(data: DataDir, value: str) -> None:
    write_manifest(data, "western", {value: {"promoted_by": value, value: [value, {"a": value}]}})
    assert read_manifest(data, "western") == {value: {"promoted_by": value, value: [value, {"a": value}]}}


_TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.from_regex(r"[-+.0-9e_:]{1,8}", fullmatch=True)
_VALUES = st.recursive(
    _TEXTS | st.integers(-(10**12), 10**12) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_TEXTS, st.dictionaries(_TEXTS, _VALUES, max_size=3), max_size=3))
def test_any_manifest_reads_back(data: DataDir, manifest: dict[str, dict[str, Any]]) -> None:
    write_manifest(data, "western", manifest)
    assert read_manifest(data, "western") == manifest


def test_entries_that_share_a_value_are_written_out(data: DataDir) -> None:
    write_manifest(data, "western", {"a": {"made_from": PROVENANCE}, "b": {"made_from": PROVENANCE}})
    assert read_manifest(data, "western")["b"]["made_from"] == PROVENANCE
