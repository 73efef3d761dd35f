"""A file system of fsspec's whose calls end: what hangs is given up, and visitors read why."""

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

#: Seconds that one call may take: opening, a piece of a file, closing, which may upload the rest.
SECONDS = 20.0
#: How many calls of a process are under way at once, beside those that hang.
AT_ONCE = 32
#: Seconds that a visitor is told to wait.
RETRY_AFTER = 10

#: No thread survives a fork.
_workers = PerProcess(lambda: Workers(AT_ONCE, "chatkit-files"))


class EndingSystem:
    """The calls of a file system that are made here, for one file.

    :param find: finds the file system, which may connect.
    """

    def __init__(self, find: Callable[[], tuple[Any, str]]) -> None:
        self._hangs = False
        self._system, self.root = self.call(find)

    def call(self, act: Callable[[], T]) -> T:
        """Do something in a thread that can be given up.

        :raises UpstreamUnavailable: it takes too long, or something here did before.
        """
        if self._hangs:
            raise _unavailable("did not answer before")
        try:
            return _workers.get().run(act, SECONDS)
        except Stuck:
            self._hangs = True
            raise _unavailable(f"did not answer in {SECONDS:g} seconds") from None
        except Exception as error:
            if not _is_outage(error):
                raise
            raise _unavailable(f"can't be reached ({type(error).__name__})") from error

    @property
    def protocol(self) -> str | tuple[str, ...]:
        """What the driver calls itself."""
        named: str | tuple[str, ...] = self._system.protocol
        return named

    def open(self, path: str, mode: str) -> EndingFile:
        """Open a file."""
        return EndingFile(self, self.call(partial(self._system.open, path, mode)))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._system, name)
        return lambda *args, **more: self.call(partial(method, *args, **more))


def _is_outage(error: BaseException) -> bool:
    """Whether a place is not there; each driver has names of its own for that."""
    names = [kind.__name__.lower() for kind in type(error).__mro__]
    return any("connect" in name or "timeout" in name for name in names)


def _unavailable(how: str) -> UpstreamUnavailable:
    return UpstreamUnavailable(
        "Files can't be stored or read at the moment. Please try again in a moment.",
        detail=f"CHATKIT_UPLOAD_FOLDER {how}",
        retry_after=RETRY_AFTER,
    )


class EndingFile:
    """An open file there."""

    def __init__(self, system: EndingSystem, file: Any) -> None:
        self._system = system
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """At most that many bytes."""
        return self._system.call(lambda: bytes(self._file.read(size)))

    def write(self, data: bytes) -> int:
        """Write all of it."""
        return self._system.call(lambda: int(self._file.write(data)))

    def close(self) -> None:
        """Close it, which may take as long as writing."""
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
