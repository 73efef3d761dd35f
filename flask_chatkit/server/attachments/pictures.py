"""Detects damaged pictures while they are uploaded.

Model APIs reject a damaged picture, and with it every later message of the thread.
"""

from __future__ import annotations

import zlib

from .files import Readable

_PNG = b"\x89PNG\r\n\x1a\n"
_TAIL = 64

#: Chunks of a PNG at most; a camera's picture of many megabytes has some thousands.
MOST_CHUNKS = 100_000
_NEEDED = frozenset({b"IHDR", b"IDAT", b"IEND"})


class WatchedPicture:
    """A stream that checks, while it is read, whether it is a complete picture.

    :param stream: the stream to read.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._head = b""
        self._tail = b""
        self._size = 0
        self._png = _PngChunks()
        self._has_jpeg_end = False

    def read(self, size: int, /) -> bytes:
        """Read at most that many bytes; none at the end."""
        chunk = self._stream.read(size)
        if chunk:
            self._inspect(chunk)
        return chunk

    @property
    def is_whole(self) -> bool:
        """False if the bytes read so far are an incomplete PNG, JPEG, GIF or WebP."""
        head = self._head
        if head.startswith(_PNG):
            return self._png.is_whole
        if head.startswith(b"\xff\xd8\xff"):
            # Cameras append data after the end of the image.
            return self._has_jpeg_end
        if head.startswith((b"GIF87a", b"GIF89a")):
            return self._tail.rstrip(b"\0\r\n").endswith(b";")
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            # Not every program writes the byte that pads to an even size.
            return self._size + 1 >= int.from_bytes(head[4:8], "little") + 8
        return True

    def _inspect(self, chunk: bytes) -> None:
        if len(self._head) < 12:
            self._head += chunk[: 12 - len(self._head)]
        self._has_jpeg_end = self._has_jpeg_end or b"\xff\xd9" in self._tail[-1:] + chunk
        self._png.feed(chunk)
        self._tail = (self._tail + chunk[-_TAIL:])[-_TAIL:]
        self._size += len(chunk)


class _PngChunks:
    """Parses the chunks of a PNG: https://www.w3.org/TR/png-3/#5Chunk-layout."""

    def __init__(self) -> None:
        self._waiting = b""
        self._at = 0
        self._begun = False
        self._name = b""
        self._left = 0
        self._crc = 0
        self._chunks = 0
        self._seen: set[bytes] = set()
        self._over = False

    @property
    def is_whole(self) -> bool:
        return self._seen == _NEEDED

    def feed(self, data: bytes) -> None:
        if self._over:
            return
        self._waiting = self._waiting[self._at :] + data
        self._at = 0
        while not self._over and self._step():
            pass

    def _step(self) -> bool:
        """Parse a part of a chunk; False if more bytes are needed."""
        there = len(self._waiting) - self._at
        if not self._begun:
            if there < len(_PNG):
                return False
            self._over = self._take(len(_PNG)) != _PNG
            self._begun = True
        elif not self._name:
            if there < 8:
                return False
            self._left = int.from_bytes(self._take(4), "big")
            self._name = self._take(4)
            self._crc = zlib.crc32(self._name)
            self._chunks += 1
            self._over = (
                not self._name.isalpha() or self._left > 0x7FFFFFFF or self._chunks > MOST_CHUNKS
            )
        elif self._left:
            if not there:
                return False
            part = self._take(min(self._left, there))
            self._crc = zlib.crc32(part, self._crc)
            self._left -= len(part)
        else:
            if there < 4:
                return False
            is_right = int.from_bytes(self._take(4), "big") == self._crc
            # Decoders skip damaged chunks whose name begins with a lower-case letter.
            if is_right and self._name in _NEEDED:
                self._seen.add(self._name)
            self._over = self._name == b"IEND" or (not is_right and self._name[:1].isupper())
            self._name = b""
        return True

    def _take(self, size: int) -> bytes:
        # By offset: slicing the rest off would copy it for each of many small chunks.
        taken = self._waiting[self._at : self._at + size]
        self._at += size
        return taken
