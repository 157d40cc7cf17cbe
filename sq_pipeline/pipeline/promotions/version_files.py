"""Where the file of a version is that was put into use: the store, its place, or the archive beside that.

A version that is replaced is kept in the archive, so that neither a lost store nor what tidies it takes it; while it is
in use, it lies in its place, and nowhere twice. Not here: who chose it (`sign_offs`).
"""

from collections.abc import Iterator
from pathlib import Path

from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.archive import archive_place, versions_of
from sq_pipeline.common.atomic import copy_file
from sq_pipeline.common.errors import AdapterError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.promotions.sign_offs import SignOff, sign_off_in_use
from sq_pipeline.pipeline.store import StoredObject

_SUFFIX = ".safetensors"


def find_file(context: Context, adapter: Adapter, sign_off: SignOff) -> Path | None:
    """A sound file of this version, the store's first; None where there is none any more."""
    stored = find_stored(context, sign_off)
    return context.adapter_file(stored) if stored else next(_copies(context, adapter, sign_off), None)


def find_stored(context: Context, sign_off: SignOff) -> StoredObject | None:
    """The store's file of this version."""
    known = context.store.read_known("promoted_adapter", fingerprint(sign_off.inputs))
    sha256 = sign_off.adapter_sha256 or (known.objects["adapter"].sha256 if known else "")
    return context.store.find(sha256, _SUFFIX)


def put_into_store(context: Context, adapter: Adapter, sign_off: SignOff) -> StoredObject | None:
    """The store's file of this version, from a copy where the store has lost it; None where there is none."""
    if stored := find_stored(context, sign_off):
        return stored
    copy = next(_copies(context, adapter, sign_off), None)
    return None if copy is None else context.store.put_file(copy, _SUFFIX)


def keep_replaced(context: Context, adapter: Adapter, new: SignOff) -> None:
    """Keep the file of what is in use until now in the archive, where `new` is another version.

    Raises StorageError or ContentError.
    """
    old = sign_off_in_use(context.data, adapter)
    if old is None or old.adapter_version == new.adapter_version:
        return
    source = next(_copies(context, adapter, old), None) or find_file(context, adapter, old)
    place = context.data.lora_root / old.file
    if source is None or source.parent == place.parent / "archive":
        return
    digest = context.files.hash_of(source)
    target = archive_place(place, place.parent / "archive", digest)
    if not target.exists():
        copy_file(source, target, digest)


def _copies(context: Context, adapter: Adapter, sign_off: SignOff) -> Iterator[Path]:
    """The files of this version in its place and in the archive, the archive first."""
    places = dict.fromkeys((context.data.lora_root / sign_off.file, context.data.lora_root / adapter.file))
    for place in places:
        for path in reversed(versions_of(place)):
            if _is_it(context, path, sign_off):
                yield path


def _is_it(context: Context, path: Path, sign_off: SignOff) -> bool:
    try:
        if path.is_symlink() or not path.is_file():
            return False
        if sign_off.adapter_sha256 is not None and context.files.hash_of(path) == sign_off.adapter_sha256:
            return True
        return context.files.remember(path, "tensors", lambda: tensors_data_version(path)) == sign_off.adapter_version
    except (AdapterError, OSError):
        return False
