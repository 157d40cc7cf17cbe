"""What a picture says of an adapter's file: hash, data version, norm of its update. For a process that lives long.

A file is read when it is new or was changed, which its stat tells; what its bytes settle is known by their hash. Not
here: which file is meant, and what was applied of it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.errors import Fault, RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.stat_cache import StatCache, code_stamp
from sq_pipeline.pictures.applied import update_norm


@dataclass(frozen=True)
class AdapterFile:
    """`file_sha256` is of the bytes, `data_version` of the tensors; `update_norm` at the file's own scale, or None."""

    file_sha256: str
    data_version: str
    update_norm: float | None


class AdapterFiles:
    """The adapter files of one data directory. Use in one thread."""

    def __init__(self, data: DataDir) -> None:
        self._files = StatCache(data)
        self._known: dict[str, AdapterFile] = {}

    def hash_of(self, path: Path) -> str:
        """The sha256 of the file as it is now. Raises RenderError where it cannot be read."""
        try:
            with self._files.saving() as files:
                return files.hash_of(path)
        except OSError as error:
            problem = f"cannot be read ({error.strerror or error})"
            raise RenderError(Fault(str(path), "", problem, "is it there still?")) from error

    def read(self, path: Path, file_sha256: str) -> AdapterFile:
        """What the file holds, whose hash was just told. Raises AdapterError, or RenderError where it changed."""
        if file_sha256 not in self._known:
            with self._files.saving() as files:
                version = files.remember(path, "tensors", lambda: tensors_data_version(path))
                norm = files.remember(path, f"update norm {code_stamp()}", lambda: json.dumps(update_norm(path)))
            found = AdapterFile(file_sha256, version, json.loads(norm))
            if self.hash_of(path) != file_sha256:
                raise RenderError(Fault(str(path), "", "changed while it was read", ""))
            self._known[file_sha256] = found
        return self._known[file_sha256]
