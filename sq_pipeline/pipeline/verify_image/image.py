"""Does a picture tell the truth? What it says of itself, held against pixels, store, content, files and engines.

What was changed in it is told apart from a world that has moved on since. Not here: what the file alone tells
(`pictures.checks`), its pixels and engines (`verify_image.render`), its adapters (`verify_image.adapters`), what would
be made now (`verify_image.today`), the two other kinds of picture (`verify_image.request_image`, `adopted_image`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from operator import eq
from pathlib import Path
from typing import Any

from sq_pipeline.common.fingerprints import fingerprint, hash_bytes
from sq_pipeline.pictures.applied import is_same_norm
from sq_pipeline.pictures.checks import Check, change, check_itself, compare, has_lied, summary
from sq_pipeline.pictures.png_file import PngFile, read_png
from sq_pipeline.pictures.provenance import (
    AdoptedProvenance,
    Provenance,
    RenderProvenance,
    kind_said,
    read_adopted_provenance,
    read_provenance,
    read_request_provenance,
)
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import kept_inputs
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.verify_image.adapters import adapter_uses, check_adapters
from sq_pipeline.pipeline.verify_image.adopted_image import verify_adopted
from sq_pipeline.pipeline.verify_image.render import check_engines, check_pixels, render_again
from sq_pipeline.pipeline.verify_image.request_image import verify_request
from sq_pipeline.pipeline.verify_image.today import check_today

# what a record of the same inputs may say differently, made at another time or place: names, not findings
_NAMES = {"genre", "world", "poi", "slug", "base_seed", "chip"}
_ADAPTER_NAMES = {"name", "file", "file_sha256"}


@dataclass(frozen=True)
class ImageReport:
    """What was found out about one file."""

    file: str
    sha256: str
    provenance: RenderProvenance | AdoptedProvenance
    checks: tuple[Check, ...]

    @property
    def has_lied(self) -> bool:
        """True when something differs that should agree."""
        return has_lied(self.checks)

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        return summary(self.checks)

    @property
    def _fingerprint(self) -> str | None:
        """Of a picture of a place: that of what it is made from, which for an adopted one is its own file."""
        if isinstance(self.provenance, AdoptedProvenance):
            return fingerprint(kept_inputs(self.sha256))
        return self.provenance.fingerprint if isinstance(self.provenance, Provenance) else None

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        said = self.provenance
        place = said if isinstance(said, Provenance | AdoptedProvenance) else None
        return {
            "genre": place and place.genre,
            "world": place and place.world,
            "poi": place and place.slug,
            "tier": said.tier,
            "path": self.file,
            "sha256": self.sha256,
            "fingerprint": self._fingerprint,
            "has_lied": self.has_lied,
            "has_moved_on": any(check.outcome == "moved on" for check in self.checks),
            "summary": self.summary,
            "checks": [asdict(check) for check in self.checks],
            "provenance": said.model_dump(mode="json"),
        }


def verify_image(context: Context, path: Path, *, is_rendered_again: bool = False) -> ImageReport:
    """Check everything that can be checked; raises PictureError for a file that cannot be read or says nothing."""
    png = read_png(path, "sq.")
    kind, hashed = kind_said(png.texts), hash_bytes(png.content)
    if kind == "adopted":
        adopted = read_adopted_provenance(png.texts, str(path))
        seen = verify_adopted(context, adopted, png, is_rendered_again=is_rendered_again)
        return ImageReport(str(path), hashed, adopted, tuple(seen))
    if kind is not None:  # one that is none of ours is told by the reader of requests
        asked = read_request_provenance(png.texts, str(path))
        found = verify_request(context, asked, png, is_rendered_again=is_rendered_again)
        return ImageReport(str(path), hashed, asked, tuple(found))
    said, inputs = read_provenance(png.texts, str(path))
    record = context.store.read_known("picture", said.fingerprint)
    again = [render_again(context, said, png, adapter_uses(context, said))] if is_rendered_again else []
    is_alike = any(check.outcome == "agrees" for check in again)
    checks = [
        check_pixels(said, png),
        *check_itself(said, inputs, png.texts),
        *check_engines(context, said, left_out=said.dropped),
        *_check_store(context, said, record, png),
        *check_adapters(context, said, is_alike=is_alike),
        check_today(context, said, hashed, inputs),
        *again,
    ]
    return ImageReport(str(path), hashed, said, tuple(checks))


def _check_store(context: Context, said: Provenance, record: Record | None, png: PngFile) -> Iterator[Check]:
    """The store's record of the same inputs, if there is one."""
    if record is None:
        yield Check("store", "cannot be told", "it has no picture of these inputs; it was made elsewhere, or is gone")
        return
    kept = record.info.get("provenance")
    if kept is None:
        yield Check("store", "cannot be told", "its record is of an older version, which did not say what made it")
        return
    if record.data_version != said.pixels:
        # noise differs between some chips: two true pictures of one fingerprint
        outcome = "moved on" if kept["chip"] != said.chip else "differs"
        yield compare("store", said.pixels, record.data_version, "", outcome)
        return
    findings, names = _differences(said.model_dump(mode="json"), kept)
    if findings:
        yield Check("store", "differs", "; ".join(findings))
    elif names:
        yield Check("store", "moved on", "; ".join(names))
    elif missing := context.store.describe_missing_object(record.objects["picture"]):
        yield Check("store", "cannot be told", f"its record says the same, but {missing}")
    else:
        whole = "the very file" if record.objects["picture"].sha256 == hash_bytes(png.content) else "the same picture"
        yield Check("store", "agrees", f"it has {whole}, rendered {record.info.get('rendered_by', 'somewhere')}")


def _differences(said: Mapping[str, Any], kept: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What two provenances say differently, as lines: findings, and mere names."""
    findings, names = list[str](), list[str]()
    for key in sorted(said.keys() | kept.keys()):
        if key == "adapters" and len(said[key]) == len(kept.get(key, ())):
            for mine, theirs in zip(said[key], kept[key], strict=True):
                for field in sorted(mine.keys() | theirs.keys()):
                    is_same = is_same_norm if field == "update_norm" else eq
                    if not is_same(mine.get(field), theirs.get(field)):
                        line = f"{mine['name']}.{field}: {change(mine.get(field), theirs.get(field))}"
                        (names if field in _ADAPTER_NAMES else findings).append(line)
        elif said.get(key) != kept.get(key):
            line = f"{key}: {change(said.get(key), kept.get(key))}"
            (names if key in _NAMES else findings).append(line)
    return findings, names
