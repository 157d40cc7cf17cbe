"""Does a picture that was asked of the render server tell the truth? It is in no record: the file alone speaks.

Its adapters are looked for by their hash in the folders that the server takes them from: never by a path that a picture
gives. Not here: what pictures of places have besides (`verify_image.image`).
"""

import os
from collections.abc import Iterator
from pathlib import Path

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.pictures.applied import is_same_norm, scaled_norm, update_norm
from sq_pipeline.pictures.checks import Check, change, check_applied, compare
from sq_pipeline.pictures.png_file import PngFile
from sq_pipeline.pictures.provenance import AdapterProvenance, RequestProvenance
from sq_pipeline.pictures.request_provenance import cut_encoders
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.verify_image.render import check_engines, check_pixels, render_again


def verify_request(
    context: Context, said: RequestProvenance, png: PngFile, *, is_rendered_again: bool
) -> Iterator[Check]:
    """Everything that can be checked without a record."""
    yield check_pixels(said, png)
    yield _check_cut(said)
    yield check_applied(said)
    yield from check_engines(context, said, said.clip_prompt)
    asked = "it was asked of the render server directly: the store keeps no record of such a picture"
    yield Check("store", "cannot be told", asked)
    paths = [_find(context, item) for item in said.adapters]
    for item, path in zip(said.adapters, paths, strict=True):
        yield from _check_adapter(context, item, path)
    if is_rendered_again:
        gone = [item.name for item, path in zip(said.adapters, paths, strict=True) if path is None]
        uses = tuple(
            AdapterUse(path, item.lora_scale)
            for item, path in zip(said.adapters, paths, strict=True)
            if path is not None
        )
        missing = f"{', '.join(gone)}: the file as it was then is not here"
        yield render_again(context, said, png, missing if gone else uses, said.clip_prompt)


def _check_cut(said: RequestProvenance) -> Check:
    """Which encoders read the beginning only, by the counts that the picture gives."""
    return compare(
        "cut",
        said.cut,
        cut_encoders(said.tokens),
        f"{', '.join(said.cut)} read the beginning only" if said.cut else "nothing",
    )


def _find(context: Context, item: AdapterProvenance) -> Path | None:
    """A file with these bytes, the one of the same name first; objects of the store are named by their hash."""
    stored = context.store.find(item.file_sha256, ".safetensors")
    places = [] if stored is None else [context.adapter_file(stored)]
    places += sorted(_files(context), key=lambda path: _label(context, path) != item.file)
    with context.files.saving():
        return next((path for path in places if _hash(context, path) == item.file_sha256), None)


def _files(context: Context) -> Iterator[Path]:
    """All adapters that the server would take, but the store's objects. Links are not followed."""
    objects = context.store.root / "objects"
    for root in (context.data.lora_root, context.store.root):
        for folder, _, names in os.walk(root):
            if not Path(folder).is_relative_to(objects):
                paths = [Path(folder) / name for name in sorted(names) if name.endswith(".safetensors")]
                yield from (path for path in paths if not path.is_symlink())


def _hash(context: Context, path: Path) -> str | None:
    try:
        return context.files.hash_of(path) if path.is_file() else None
    except OSError:
        return None


def _label(context: Context, path: Path) -> str:
    return context.data.relative(path)


def _check_adapter(context: Context, item: AdapterProvenance, path: Path | None) -> Iterator[Check]:
    """Its file, and what follows from the file's bytes."""
    file, update = f"adapter {item.name}", f"update of {item.name}"
    if path is None:
        named = next((found for found in _files(context) if _label(context, found) == item.file), None)
        now = None if named is None else _hash(context, named)
        if now is None:
            detail = "no file of its hash is below content/lora or store"
            yield Check(file, "cannot be told", detail)
        else:
            yield Check(file, "moved on", f"{item.file}: {change(item.file_sha256, now)}")
        yield Check(update, "cannot be told", "the file that it was computed from is not here")
        return
    place = _label(context, path)
    outcome = "agrees" if place == item.file else "moved on"
    yield Check(file, outcome, f"{place}, byte for byte" if place == item.file else f"{change(item.file, place)}")
    try:
        version, keys = tensors_data_version(path), len(open_safetensors(path).tensors)
        norm = scaled_norm(update_norm(path), item.lora_scale)
    except (SqPipelineError, OSError) as error:
        yield Check(update, "cannot be told", str(error).partition("\n")[0])
        return
    wrong = [f"tensors {change(item.data_version, version)}"] if version != item.data_version else []
    wrong += [f"keys in all: {change(item.keys_total, keys)}"] if keys != item.keys_total else []
    wrong += [f"norm {change(item.update_norm, norm)}"] if not is_same_norm(norm, item.update_norm) else []
    size = "its norm cannot be computed from a file of this kind" if norm is None else f"norm {norm:g}"
    detail = "; ".join(wrong) or f"{size} at {item.lora_scale:g}, from {keys} tensors"
    yield Check(update, "differs" if wrong else "agrees", detail)
