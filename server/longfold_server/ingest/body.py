"""Undoes a response's Content-Encoding in bounded pieces and counts what comes out. Knows no network and no files."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from longfold_server.codes import Code
from longfold_server.errors import DocumentError

PIECE = 256 * 1024
"""Most bytes one decompression step may make: bounds memory and the time the event loop is held."""

_GZIP_MAGIC = b"\x1f\x8b"


class Truncated(Exception):
    """The compressed stream ended before its end mark."""


class BodyDecoder:
    """`identity`, `gzip` (also several members) and `deflate` (zlib or raw). At most `max_bytes` come out."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self._encoding = encoding.strip().lower()
        if self._encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise DocumentError(
                Code.DOCUMENT_UNSUPPORTED,
                "the server answered in a content encoding that was not asked for; only gzip and deflate are read",
            )
        self._max_bytes = max_bytes
        self._inflater: zlib._Decompress | None = None
        self._head = b""
        self._done = False
        self.wire = 0
        self.decoded = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces. Raises `DocumentError` (`document_too_large`, `document_undecodable`)."""
        self.wire += len(data)
        if self.wire > self._max_bytes:
            raise too_large(self._max_bytes)
        if self._encoding in ("", "identity"):
            self.decoded += len(data)
            yield data
            return
        while data and not self._done:
            if self._inflater is None:
                data = self._head + data
                if len(data) < 2:
                    self._head = data
                    return
                self._head = b""
                if not self._start(data):
                    return
            assert self._inflater is not None
            try:
                piece = self._inflater.decompress(data, PIECE)
            except zlib.error:
                raise DocumentError(
                    Code.DOCUMENT_UNDECODABLE, "its compressed body is damaged; try again or upload the file"
                ) from None
            self.decoded += len(piece)
            if self.decoded > self._max_bytes:
                raise too_large(self._max_bytes)
            if piece:
                yield piece
            data = self._inflater.unconsumed_tail
            if self._inflater.eof:
                data, self._inflater = self._inflater.unused_data, None
                self._done = self._encoding == "deflate"
                if not data:
                    return

    def _start(self, data: bytes) -> bool:
        """Open the next member; False for padding after the last one, which is ignored as browsers do."""
        if self._encoding == "deflate":
            zlib_header = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._inflater = zlib.decompressobj(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
        elif self.decoded and not data.startswith(_GZIP_MAGIC):
            self._done = True
            return False
        else:
            self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        return True

    def finish(self) -> None:
        """Check that the stream is complete; raises `Truncated`."""
        if self._inflater is not None or (self._head and not self.decoded):
            raise Truncated


def too_large(max_bytes: int) -> DocumentError:
    return DocumentError(
        Code.DOCUMENT_TOO_LARGE,
        f"it is larger than {max_bytes:,} bytes, this server's limit; split it or ask the operator to raise the limit",
    )
