"""Bytes from a connection, cut into lines of at most 1 MiB; what is longer is said once and skipped to its end."""

from collections.abc import Iterator

from sq_pipeline.core.render_protocol import LINE_MAX_BYTES


class LineCutter:
    """Collects pieces; never holds more than one line's worth."""

    def __init__(self, max_bytes: int = LINE_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._is_skipping = False

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """The lines that end in `piece`, without their ends; None for one that is too long, as soon as it is."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            yield from self._add(piece[start:end])
            if not self._is_skipping:
                yield bytes(self._rest)
            self._rest.clear()
            self._is_skipping = False
            start = end + 1
        yield from self._add(piece[start:])

    def _add(self, piece: bytes) -> Iterator[None]:
        if self._is_skipping:
            return
        if len(self._rest) + len(piece) > self._max_bytes:
            self._rest.clear()
            self._is_skipping = True
            yield None
        else:
            self._rest += piece
