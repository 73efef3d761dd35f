"""fsspec file systems with a timeout: hanging calls are abandoned, with an error for visitors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self

from ...errors import UpstreamUnavailable
from ...runtime.processes import PerProcess
from ...runtime.workers import Stuck, Workers

T = TypeVar("T")

#: Seconds that one call may take: opening, reading or writing a chunk, or closing.
SECONDS = 20.0
#: Concurrent calls per process, not counting abandoned ones.
AT_ONCE = 32
#: ``Retry-After``, in seconds.
RETRY_AFTER = 10

#: Per process: threads don't survive a fork.
_workers = PerProcess(lambda: Workers(AT_ONCE, "chatkit-files"))


class TimedSystem:
    """A file system whose calls time out, for one file.

    :param find: finds the file system and the root folder; it may connect.
    """

    def __init__(self, find: Callable[[], tuple[Any, str]]) -> None:
        self._has_timed_out = False
        self._system, self.root = self.call(find)

    def call(self, act: Callable[[], T]) -> T:
        """Call a function in a thread that can be abandoned.

        :raises UpstreamUnavailable: it takes too long, or an earlier call did.
        """
        if self._has_timed_out:
            raise _unavailable("did not answer before")
        try:
            return _workers.get().run(act, SECONDS)
        except Stuck:
            self._has_timed_out = True
            raise _unavailable(f"did not answer in {SECONDS:g} seconds") from None
        except Exception as error:
            if not _is_outage(error):
                raise
            raise _unavailable(f"can't be reached ({type(error).__name__})") from error

    @property
    def protocol(self) -> str | tuple[str, ...]:
        """The driver's protocol names."""
        named: str | tuple[str, ...] = self._system.protocol
        return named

    def open(self, path: str, mode: str) -> TimedFile:
        """Open a file."""
        return TimedFile(self, self.call(partial(self._system.open, path, mode)))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._system, name)
        return lambda *args, **more: self.call(partial(method, *args, **more))


def _is_outage(error: BaseException) -> bool:
    """Whether the store can't be reached; each driver has its own exceptions for that."""
    names = [kind.__name__.lower() for kind in type(error).__mro__]
    return any("connect" in name or "timeout" in name for name in names)


def _unavailable(how: str) -> UpstreamUnavailable:
    return UpstreamUnavailable(
        "Files can't be stored or read at the moment. Please try again in a moment.",
        detail=f"CHATKIT_UPLOAD_FOLDER {how}",
        retry_after=RETRY_AFTER,
    )


class TimedFile:
    """An open file whose calls time out."""

    def __init__(self, system: TimedSystem, file: Any) -> None:
        self._system = system
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read at most that many bytes."""
        return self._system.call(lambda: bytes(self._file.read(size)))

    def write(self, data: bytes) -> int:
        """Write all bytes."""
        return self._system.call(lambda: int(self._file.write(data)))

    def close(self) -> None:
        """Close the file, which may upload the rest."""
        self._system.call(self._file.close)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
