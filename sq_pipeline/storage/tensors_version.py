"""A data version that grows with its tensors' bytes. Hashing runs beside whoever reads or writes them."""

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sq_pipeline.core.adapter_header import TensorInfo
from sq_pipeline.core.fingerprints import fingerprint


class TensorsVersion:
    """`sha256:…` of names, dtypes, shapes and bytes of tensors, which come one after the other, in pieces."""

    _MAX_WAITING = 4  # pieces that are kept in memory for it

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._digests: dict[str, tuple[TensorInfo, Any]] = {}
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> "TensorsVersion":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def update(self, info: TensorInfo, piece: memoryview | bytes) -> None:
        """The next piece of a tensor's bytes."""
        if info.name not in self._digests:
            self._digests[info.name] = (info, hashlib.sha256())
        self._waiting.append(self._pool.submit(self._digests[info.name][1].update, piece))
        if len(self._waiting) > self._MAX_WAITING:
            self._waiting.popleft().result()

    def value(self) -> str:
        """`sha256:…` of names, dtypes, shapes and bytes, as `tensors_data_version` has it."""
        for future in self._waiting:
            future.result()
        return fingerprint(
            {
                name: [info.dtype, list(info.shape), f"sha256:{digest.hexdigest()}"]
                for name, (info, digest) in self._digests.items()
            }
        )
