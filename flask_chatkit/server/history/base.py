"""What tells a history in the kit's own tables from any other store, without SQLAlchemy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeGuard

from chatkit.store import Store, StoreItemType
from chatkit.types import Attachment, Page, ThreadMetadata
from typing_extensions import Self

from ...activity import Count
from ...identity.visitor import Visitor
from ..context import ChatContext
from ..ids import new_id

if TYPE_CHECKING:
    from .claims import Claims
    from .database import Database


@dataclass(frozen=True)
class FoundThread:
    """A thread that a search has found.

    :param item_id: the newest message in which it was found; None if it was in the title.
    :param excerpt: the part of that message around what was found.
    """

    thread: ThreadMetadata
    item_id: str | None = None
    excerpt: str = ""


class SignsLinks(Protocol):
    """Signs the links of attachments."""

    def sign_links(self, attachment: Attachment, context: ChatContext) -> Attachment:
        """The attachment with fresh links for a visitor."""


class DeletesBytes(Protocol):
    """Deletes the bytes of attachments."""

    def delete_bytes(self, attachments: Iterable[Attachment]) -> None:
        """Delete the bytes of attachments that are no longer in the history; blocks."""


def is_database_store(store: Store[ChatContext]) -> TypeGuard[DatabaseStore]:
    """Whether a store is a history in the kit's tables, or an object that delegates to one."""
    # An attribute, which a site's wrapper of a SQLAlchemyStore passes on.
    return getattr(store, "has_kit_tables", False) is True


class DatabaseStore(Store[ChatContext]):
    """A history in tables of the kit's own: :class:`flask_chatkit.server.SQLAlchemyStore`."""

    #: Every statement asks for the owner, so that :func:`.isolation.isolate` adds nothing.
    isolates_owners = True
    #: See :func:`is_database_store`.
    has_kit_tables = True

    def generate_thread_id(self, context: ChatContext) -> str:  # noqa: ARG002  as in Store
        """A new id for a thread."""
        return new_id("thread")

    def generate_item_id(
        self,
        item_type: StoreItemType,
        thread: ThreadMetadata,  # noqa: ARG002  as in Store
        context: ChatContext,  # noqa: ARG002  as in Store
    ) -> str:
        """A new id for an item."""
        return new_id(item_type)

    @property
    @abstractmethod
    def database(self) -> Database:
        """The database, for work on more than one visitor's threads."""

    @property
    @abstractmethod
    def claims(self) -> Claims | None:
        """The messages that processes are answering; None where no other process can ask."""

    @abstractmethod
    def with_files(self, links: SignsLinks, files: DeletesBytes) -> Self:
        """A copy that signs links and deletes bytes; it shares the database."""

    @abstractmethod
    async def search_threads(
        self, query: str, limit: int, context: ChatContext
    ) -> Page[FoundThread]:
        """The owner's threads that a query finds, newest first; ``has_more`` tells of others."""

    @abstractmethod
    async def save_feedback(
        self, thread_id: str, item_ids: Sequence[str], kind: str, context: ChatContext
    ) -> None:
        """Store a visitor's feedback on items of a thread."""

    @abstractmethod
    async def add_counts(self, kit: str, gathered: Mapping[Count, int]) -> None:
        """Add to the daily counts of a kit."""

    @abstractmethod
    async def read_figures(self, kit: str, since: datetime) -> dict[str, dict[str, int]]:
        """Read the counts of a kit since a time, by chat and name."""

    @abstractmethod
    async def transfer_threads(self, kit: str, old: Visitor, new: Visitor) -> int:
        """Transfer a visitor's threads and attachments in a kit to another visitor."""

    @abstractmethod
    async def add_alias(self, kit: str, old: Visitor, new: Visitor) -> None:
        """Record that an anonymous visitor has signed in."""

    @abstractmethod
    async def revoked_at(self, kit: str, digest: str) -> float | None:
        """When a visitor's sessions were last revoked, in Unix seconds; None if never."""
