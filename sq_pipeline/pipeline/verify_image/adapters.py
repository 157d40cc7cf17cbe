"""The adapters that a picture names: are their files still those, and is it true what it says of them?

A file is looked for in the content, by the adapter's name, and in the store, by its hash: never by a path that a
picture gives. Not here: the rest of a picture (`verify_image.image`).
"""

from collections.abc import Iterator
from pathlib import Path

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.hints import option
from sq_pipeline.content.records import Adapter
from sq_pipeline.pictures.applied import is_same_norm, scaled_norm, update_norm
from sq_pipeline.pictures.checks import Check, change, compare
from sq_pipeline.pictures.provenance import AdapterProvenance, Provenance
from sq_pipeline.pipeline.adapters.facts import asset_name
from sq_pipeline.pipeline.context import Context


def check_adapters(context: Context, said: Provenance, *, is_alike: bool) -> Iterator[Check]:
    """For each adapter: its file today, its keys and the norm of its update, and what its verification measured.

    `is_alike`: rendered again, the picture came out alike; an object that is damaged was damaged since then.
    """
    for item in said.adapters:
        adapter = context.catalog.adapters.get(f"{said.genre}/{item.name}")
        damage = context.store.why_not_found(item.file_sha256, ".safetensors")
        yield _check_damage(item, damage, is_alike=is_alike) if damage else _check_file(context, item, adapter)
        yield _check_update(context, item, adapter)
        yield _check_share(context, item, adapter)


def adapter_uses(context: Context, said: Provenance) -> tuple[AdapterUse, ...] | str:
    """The very adapters of the picture, to render with; why not, where one of them is gone."""
    uses: list[AdapterUse] = []
    for item in said.adapters:
        path = _find(context, item, context.catalog.adapters.get(f"{said.genre}/{item.name}"))
        if path is None:
            return f"the adapter {item.name} as it was then is not here"
        uses.append(AdapterUse(path, item.lora_scale))
    return tuple(uses)


def _version(context: Context, path: Path) -> str | None:
    """The data version of a file; None where there is none that can be read."""
    try:
        return context.files.remember(path, "tensors", lambda: tensors_data_version(path)) if path.is_file() else None
    except SqPipelineError:
        return None


def _find(context: Context, item: AdapterProvenance, adapter: Adapter | None) -> Path | None:
    """A file with these tensors."""
    stored = context.store.find(item.file_sha256, ".safetensors")
    places = [] if stored is None else [context.adapter_file(stored)]
    if adapter is not None:
        places.append(context.data.root / adapter.place)
    return next((path for path in places if _version(context, path) == item.data_version), None)


def _check_damage(item: AdapterProvenance, damage: str, *, is_alike: bool) -> Check:
    """The store's file of the very hash that the picture states."""
    if is_alike:
        return Check(f"adapter {item.name}", "moved on", f"{damage}; the picture is of before")
    return Check(
        f"adapter {item.name}",
        "differs",
        f"{damage}; whether it was rendered with those, `{option('verify-image', '--render')}` tells",
    )


def _check_file(context: Context, item: AdapterProvenance, adapter: Adapter | None) -> Check:
    name = f"adapter {item.name}"
    if adapter is None:
        return Check(name, "moved on", "the genre has no adapter of this name")
    path, label = context.data.root / adapter.place, adapter.place
    if not path.is_file():
        return Check(name, "cannot be told", f"{label} is not there")
    version = _version(context, path)
    if version is None:
        return Check(name, "cannot be told", f"{label} cannot be read")
    if version != item.data_version:
        return Check(name, "moved on", f"{label}: {change(item.data_version, version)}")
    found = context.files.hash_of(path)
    if found != item.file_sha256:
        return Check(
            name, "moved on", f"{label} has the same tensors, and other bytes: {change(item.file_sha256, found)}"
        )
    return Check(name, "agrees", f"{label}, byte for byte")


def _check_update(context: Context, item: AdapterProvenance, adapter: Adapter | None) -> Check:
    name = f"update of {item.name}"
    path = _find(context, item, adapter)
    if path is None:
        return Check(name, "cannot be told", "the file that it was computed from is not here")
    try:
        keys = len(open_safetensors(path).tensors)
        norm = scaled_norm(update_norm(path), item.lora_scale)
    except SqPipelineError as error:
        return Check(name, "cannot be told", "; ".join(map(str, error.faults)))
    if keys != item.keys_total:
        return Check(name, "differs", f"keys in all: {change(item.keys_total, keys)}")
    if norm is None or item.update_norm is None:
        detail = "its norm cannot be computed from a file of this kind"
        return compare(name, item.update_norm, norm, detail)
    if not is_same_norm(norm, item.update_norm):
        return Check(name, "differs", f"norm {change(item.update_norm, norm)}")
    return Check(name, "agrees", f"norm {norm:g} at {item.lora_scale:g}, from {keys} tensors")


def _check_share(context: Context, item: AdapterProvenance, adapter: Adapter | None) -> Check:
    """The share of the update that was kept is 1 by construction; the verification measured it."""
    name = f"share kept of {item.name}"
    current = context.store.read_current(asset_name(adapter, "verification")) if adapter is not None else None
    record = context.store.read_record("verification", current[0]) if current is not None else None
    fidelity = record.info.get("fidelity") if record is not None else None
    if record is None or fidelity is None or record.inputs["adapter"] != item.data_version:
        return Check(name, "cannot be told", "1 by construction (unbaked); the store has no verification of this one")
    measured, least = fidelity["share_kept"], context.settings.thresholds.fidelity.share_kept_min.value
    if measured is None or measured < least:
        return Check(name, "differs", f"{change(item.share_kept, measured)} by its verification")
    return Check(name, "agrees", f"{measured:.6f} measured by its verification, {fidelity['mode']}")
