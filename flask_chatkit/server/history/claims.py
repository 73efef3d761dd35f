"""One answer to one message, even if two processes receive it; see :mod:`.turns` for the SQL."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any

from sqlalchemy.exc import DBAPIError

from ...runtime.processes import PerProcess
from . import turns
from .database import Database
from .outages import as_outage

logger = logging.getLogger("flask_chatkit")

#: Seconds between two looks at a message that another process answers: first and longest.
FIRST_LOOK = 0.1
LONGEST_LOOK = 0.5


class Claim:
    """A message that this process answers.

    :param database: has the claim; None for a claim that is not stored.
    """

    def __init__(self, database: Database | None, key: str, holder: str) -> None:
        self._database = database
        self._key = key
        self._holder = holder

    async def hold(self, answer: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
        """Pass an answer on, and renew the claim until it has ended."""
        renewing = asyncio.ensure_future(self._renew())
        is_whole = False
        try:
            async for chunk in answer:
                yield chunk
            is_whole = True
        finally:
            renewing.cancel()
            await self.settle(answered=is_whole)

    async def settle(self, *, answered: bool) -> None:
        """Record that the answer has ended; after an interruption, any process may answer."""
        await self._try(lambda db: turns.settle(db, self._key, self._holder, answered=answered))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(turns.RENEW_SECONDS)
            await self._try(lambda db: turns.renew(db, self._key, self._holder))

    async def _try(self, work: Callable[[Any], None]) -> None:
        if self._database is None:
            return
        try:
            await self._database.statement(work)
        except Exception as error:  # noqa: BLE001 - the answer goes on
            # The claim expires by itself.
            logger.warning("A message's claim could not be kept (%s)", type(error).__name__)


class Claims:
    """The claims in one database.

    :param database: the history's database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._process = PerProcess(turns.new_process)
        self._tidied_at = 0.0
        self._has_warned = False

    async def take(self, key: str, visitor: str) -> Claim | None:
        """Claim a message; None if another process answers it, or just has.

        :param key: SHA-256 of the visitor and the message.
        :param visitor: the visitor's digest.
        """
        holder = turns.new_holder(self._process.get())

        def work(db: Any) -> bool:
            if time.monotonic() - self._tidied_at > turns.OLD_SECONDS:
                self._tidied_at = time.monotonic()
                turns.tidy(db)
            return turns.claim(db, key, visitor, holder)

        try:
            taken = await self._database.statement(work)
        except DBAPIError as error:
            if as_outage(error) is not None:
                raise
            if not self._has_warned:
                self._has_warned = True
                logger.warning(
                    "The table chatkit_claims can't be used (%s): call "
                    "flask_chatkit.server.upgrade_tables. Until then a message that two processes "
                    "are sent at the same moment is answered twice",
                    type(error).__name__,
                )
            return Claim(None, key, holder)
        return Claim(self._database, key, holder) if taken else None

    async def wait(self, key: str, visitor: str) -> Claim | None:
        """Wait until another process has answered a message; returns a claim if it does not."""
        pause, changed, before = FIRST_LOOK, time.monotonic(), None
        while True:
            seen = await self._database.statement(lambda db: turns.look(db, key))
            if seen is not None and seen.is_answered:
                return None
            if seen is None:
                claim = await self.take(key, visitor)
            elif turns.is_dead(seen.holder) or (
                seen == before and time.monotonic() - changed >= turns.STALE_SECONDS
            ):
                claim = await self._take_over(key, seen)
            else:
                claim = None
            if claim is not None:
                return claim
            if seen != before:
                before, changed = seen, time.monotonic()
            await asyncio.sleep(pause)
            pause = min(LONGEST_LOOK, pause * 1.5)

    async def _take_over(self, key: str, seen: turns.Seen) -> Claim | None:
        holder = turns.new_holder(self._process.get())
        taken = await self._database.statement(lambda db: turns.take_over(db, key, holder, seen))
        return Claim(self._database, key, holder) if taken else None


async def begin_once(
    known: Claims,
    key: str,
    visitor: str,
    begin: Callable[[float], Awaitable[Any]],
    replay: Callable[[], Awaitable[Any | None]],
) -> Any:
    """Answer a message, unless another process does.

    :param key: SHA-256 of the visitor and the message.
    :param visitor: the visitor's digest.
    :param begin: begins to answer; takes the seconds spent waiting for another process.
    :param replay: returns the stored answer as events; None if it is not in the history.
    :returns: an iterable of events.
    """
    began = time.monotonic()
    claim = await known.take(key, visitor)
    if claim is None:
        claim = await known.wait(key, visitor)
        if claim is None:
            answer = await replay()
            if answer is not None:
                return answer
            # The answer was deleted meanwhile, so this is a new message.
            claim = Claim(None, key, "")
    try:
        return claim.hold(await begin(time.monotonic() - began))
    except BaseException:
        await claim.settle(answered=False)
        raise
