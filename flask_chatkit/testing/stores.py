"""Is a site's own store a good one? Tests for its own test suite.

.. code-block:: python

    from flask_chatkit.testing.stores import StoreConformance

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self):
            return MyStore(...)

This needs ``flask-chatkit[server]`` and pytest.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest
from chatkit.store import NotFoundError, Store, StoreItemType
from chatkit.types import (
    ActiveStatus,
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    Attachment,
    ClientToolCallItem,
    ClosedStatus,
    CustomSummary,
    CustomTask,
    EndOfTurnItem,
    FileAttachment,
    GeneratedImage,
    GeneratedImageItem,
    HiddenContextItem,
    ImageAttachment,
    InferenceOptions,
    LockedStatus,
    Page,
    SDKHiddenContextItem,
    SearchTask,
    StructuredInputAnswer,
    StructuredInputFreeform,
    StructuredInputItem,
    StructuredInputMultipleChoice,
    StructuredInputMultipleChoiceOption,
    TaskItem,
    Thread,
    ThreadItem,
    ThreadMetadata,
    ToolChoice,
    URLSource,
    UserMessageItem,
    UserMessageTagContent,
    UserMessageTextContent,
    WidgetItem,
    Workflow,
    WorkflowItem,
)
from chatkit.widgets import Card, Text
from pydantic import AnyUrl, BaseModel

from ..identity.visitor import Visitor
from ..server.context import ChatContext

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

#: One moment for many: databases must not count on different ones.
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
#: Random characters that an id must have at least: 96 bits in hex are 24.
LEAST_RANDOM = 20
#: Letters that every database and every JSON has to bear.
DIFFICULT = "naïve — 漢字 — 🦊 — 'quoted\" \\ <b>&amp;</b> \x1f \u2028 %s :name ?"


def new_thread(**more: Any) -> ThreadMetadata:
    """A thread of an id that nothing has."""
    return ThreadMetadata(**{"id": f"thr_{secrets.token_hex(16)}", "created_at": NOON, **more})


def new_message(thread: ThreadMetadata, text: str = "hello", **more: Any) -> AssistantMessageItem:
    """An assistant's message of an id that nothing has."""
    return AssistantMessageItem(
        **{
            "id": f"msg_{secrets.token_hex(16)}",
            "thread_id": thread.id,
            "created_at": NOON,
            "content": [AssistantMessageContent(text=text)],
            **more,
        }
    )


def new_attachment(**more: Any) -> FileAttachment:
    """A file's description, of an id that nothing has."""
    return FileAttachment(
        **{
            "id": f"atc_{secrets.token_hex(16)}",
            "name": "invoice.pdf",
            "mime_type": "application/pdf",
            **more,
        }
    )


def every_item(thread: ThreadMetadata) -> list[ThreadItem]:
    """One item of each type that the package knows, with as much in it as it takes."""
    base: dict[str, Any] = {"thread_id": thread.id, "created_at": NOON}
    source = URLSource(title="Terms", url="https://shop.example/terms", group="Legal")
    choice = StructuredInputMultipleChoice(
        id="q1",
        question="Which one?",
        options=[StructuredInputMultipleChoiceOption(value="This one")],
        answer=StructuredInputAnswer(values=["This one"]),
    )
    return [
        UserMessageItem(
            **base,
            id="user_message",
            content=[
                UserMessageTextContent(text=DIFFICULT),
                UserMessageTagContent(id="tag", text="@order", data={"order": 17}, group="Orders"),
            ],
            attachments=[
                new_attachment(thread_id=thread.id, metadata={"pages": 3}),
                ImageAttachment(
                    id=f"atc_{secrets.token_hex(16)}",
                    name="photo.png",
                    mime_type="image/png",
                    preview_url=AnyUrl("https://shop.example/photo.png"),
                ),
            ],
            quoted_text="as you said",
            inference_options=InferenceOptions(model="big", tool_choice=ToolChoice(id="search")),
        ),
        AssistantMessageItem(
            **base,
            id="assistant_message",
            content=[
                AssistantMessageContent(
                    text=DIFFICULT, annotations=[Annotation(source=source, index=3)]
                )
            ],
        ),
        ClientToolCallItem(
            **base,
            id="client_tool_call",
            status="completed",
            call_id="call_1",
            name="add_to_cart",
            arguments={"sku": "A-1", "count": 2, "gift": None, "weights": [0.5, 1]},
            output={"total": 19.9},
        ),
        WidgetItem(
            **base,
            id="widget",
            widget=Card(children=[Text(value=DIFFICULT, id="text", weight="medium")]),
            copy_text="a card",
        ),
        GeneratedImageItem(
            **base,
            id="generated_image",
            image=GeneratedImage(id="img_1", url="https://shop.example/fox.png"),
        ),
        StructuredInputItem(
            **base,
            id="structured_input",
            status="answered",
            inputs=[choice, StructuredInputFreeform(id="q2", question="Why?", description="…")],
        ),
        WorkflowItem(
            **base,
            id="workflow",
            workflow=Workflow(
                type="custom",
                tasks=[SearchTask(title="Search", queries=["fox"], sources=[source])],
                summary=CustomSummary(title="Searched"),
                expanded=True,
            ),
        ),
        TaskItem(**base, id="task", task=CustomTask(title="Packing", content=DIFFICULT)),
        HiddenContextItem(**base, id="hidden_context_item", content={"page": "/cart"}),
        SDKHiddenContextItem(**base, id="sdk_hidden_context", content="stopped"),
        EndOfTurnItem(**base, id="end_of_turn"),
    ]


def ids(page: Page[Any]) -> list[str]:
    """The ids on a page."""
    return [entry.id for entry in page.data]


def check(holds: object, otherwise: str) -> None:
    """Fail with a sentence; plain ``assert`` says nothing outside of a site's own tests."""
    __tracebackhide__ = True
    if not holds:
        pytest.fail(otherwise)


def same(stored: BaseModel, given: BaseModel) -> None:
    """Check that what came back is what was given; a time without a zone is the machine's."""
    __tracebackhide__ = True
    kept, meant = (one.model_dump(mode="json", exclude={"created_at"}) for one in (stored, given))
    check(kept == meant, f"stored was\n{meant}\nand loaded\n{kept}")
    was, is_now = getattr(given, "created_at", None), getattr(stored, "created_at", None)
    if was is not None and is_now is not None:
        gap = abs(is_now.astimezone(timezone.utc) - was.astimezone(timezone.utc))
        check(gap < timedelta(milliseconds=2), f"created_at was {was} and is {is_now}")


class StoreConformance:
    """What the store of a served chat has to do, as tests. Override ``store``, at least.

    Each test has an event loop of its own, reached through ``run``: a store with an asynchronous
    engine makes it there, or when it is first used.
    """

    @pytest.fixture
    def store(self) -> Store[Any]:
        """The store under test; it may be a new one, or one that holds other tests' data."""
        raise NotImplementedError("override the fixture `store` of your StoreConformance class")

    @pytest.fixture
    def alice(self) -> Any:
        """A visitor's context; override it if your store needs another kind."""
        return ChatContext(visitor=Visitor.login(f"alice {secrets.token_hex(8)}"))

    @pytest.fixture
    def bob(self) -> Any:
        """Another visitor's context."""
        return ChatContext(visitor=Visitor.login(f"bob {secrets.token_hex(8)}"))

    @pytest.fixture
    def run(self) -> Iterator[Run[Any]]:
        """Run a coroutine of the store to its end, all of a test's on one loop."""
        loop = asyncio.new_event_loop()
        yield loop.run_until_complete
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    @pytest.fixture
    def thread(self, store: Store[Any], alice: Any, run: Run[Any]) -> ThreadMetadata:
        """A thread of Alice's, saved."""
        thread = new_thread(title="Alice's", metadata={"topic": "fox"})
        run(store.save_thread(thread, alice))
        return thread

    # --- threads --------------------------------------------------------------------------------

    def test_thread_comes_back(self, store: Store[Any], alice: Any, run: Run[Any]) -> None:
        """A saved thread is loaded as it was."""
        for title in (None, "", DIFFICULT):
            thread = new_thread(
                title=title,
                metadata={"count": 1, "nested": {"list": [1, None, "x"]}},
                allowed_image_domains=["shop.example"],
            )
            run(store.save_thread(thread, alice))
            same(run(store.load_thread(thread.id, alice)), thread)

    def test_thread_of_local_time_comes_back(
        self, store: Store[Any], alice: Any, run: Run[Any]
    ) -> None:
        """A time without a zone, as the package makes them, is taken for the machine's own."""
        thread = new_thread(created_at=datetime.now())  # noqa: DTZ005 - this is the point
        run(store.save_thread(thread, alice))
        same(run(store.load_thread(thread.id, alice)), thread)

    def test_thread_is_updated(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Saving again replaces title, status, metadata and image domains, and nothing else."""
        several: list[dict[str, Any]] = [
            {"title": "Renamed"},
            {"title": None},
            {"status": LockedStatus(reason="Closed for today")},
            {"status": ClosedStatus(reason=None)},
            {"status": ActiveStatus()},
            {"metadata": {"topic": "owl", "seen": True}},
            {"metadata": {}},
            {"allowed_image_domains": ["shop.example"]},
        ]
        for changes in several:
            thread = thread.model_copy(update=changes)
            run(store.save_thread(thread, alice))
            same(run(store.load_thread(thread.id, alice)), thread)
        check(
            ids(run(store.load_threads(20, None, "asc", alice))) == [thread.id],
            "a thread that is saved again must not be there twice",
        )

    def test_thread_may_carry_items(self, store: Store[Any], alice: Any, run: Run[Any]) -> None:
        """The package saves threads with a page of items on them, which is not stored with them."""
        bare = new_thread(title="With items")
        full = Thread(**bare.model_dump(), items=Page(data=[new_message(bare)]))
        run(store.save_thread(full, alice))
        same(run(store.load_thread(bare.id, alice)), bare)
        check(
            not run(store.load_thread_items(bare.id, None, 20, "asc", alice)).data,
            "items come with add_thread_item only",
        )

    def test_missing_thread_is_not_found(
        self, store: Store[Any], alice: Any, run: Run[Any]
    ) -> None:
        """A thread that is nowhere is NotFoundError, and nothing else."""
        for strange in (f"thr_{secrets.token_hex(16)}", "", "' OR 1=1 --", "%"):
            with pytest.raises(NotFoundError):
                run(store.load_thread(strange, alice))

    def test_threads_are_paged(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any]
    ) -> None:
        """Pages of threads hold each exactly once, in both orders, at every length of page."""
        saved = []
        for number in range(7):
            saved.append(new_thread(title=str(number), created_at=NOON + timedelta(hours=number)))
            run(store.save_thread(saved[-1], alice))
            run(store.save_thread(new_thread(created_at=NOON + timedelta(hours=number)), bob))

        def load(limit: int, after: str | None, order: str) -> Any:
            return run(store.load_threads(limit, after, order, alice))

        _check_pages(load, [thread.id for thread in saved])

    def test_threads_of_one_moment_are_paged(
        self, store: Store[Any], alice: Any, run: Run[Any]
    ) -> None:
        """Threads that were made at the same moment keep the order in which they were saved."""
        saved = [new_thread() for _ in range(7)]
        for thread in saved:
            run(store.save_thread(thread, alice))

        def load(limit: int, after: str | None, order: str) -> Any:
            return run(store.load_threads(limit, after, order, alice))

        _check_pages(load, [thread.id for thread in saved])

    def test_threads_after_nothing_are_not_found(
        self, store: Store[Any], bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """A page after an unknown thread, or after somebody else's, is not the first page."""
        run(store.save_thread(new_thread(), bob))
        for after in (f"thr_{secrets.token_hex(16)}", thread.id):
            for order in ("asc", "desc"):
                with pytest.raises(NotFoundError):
                    run(store.load_threads(20, after, order, bob))

    def test_pages_of_threads_are_bounded(
        self, store: Store[Any], alice: Any, run: Run[Any]
    ) -> None:
        """A browser that asks for a million threads gets a page of at most a hundred."""
        for _ in range(101):
            run(store.save_thread(new_thread(), alice))
        page = run(store.load_threads(1_000_000, None, "desc", alice))
        check(
            0 < len(page.data) <= 100 and page.has_more,
            f"a page of {len(page.data)} threads, has_more {page.has_more}",
        )

    def test_deleted_thread_is_gone(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """With a thread its items go, even if a thread of the same id is made again."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        run(store.delete_thread(thread.id, alice))
        with pytest.raises(NotFoundError):
            run(store.load_thread(thread.id, alice))
        with pytest.raises(NotFoundError):
            run(store.load_item(thread.id, message.id, alice))
        check(not run(store.load_threads(20, None, "desc", alice)).data, "it is listed still")
        run(store.save_thread(thread, alice))
        page = run(store.load_thread_items(thread.id, None, 20, "asc", alice))
        check(not page.data, "the items of a deleted thread are still there")

    # --- items ----------------------------------------------------------------------------------

    def test_every_item_comes_back(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """An item of every type is loaded as it was, alone and on a page."""
        given = every_item(thread)
        for item in given:
            run(store.add_thread_item(thread.id, item, alice))
        page = run(store.load_thread_items(thread.id, None, 50, "asc", alice))
        check(ids(page) == [item.id for item in given], f"added {given}, and loaded {page}")
        for item, listed in zip(given, page.data, strict=True):
            loaded = run(store.load_item(thread.id, item.id, alice))
            for stored in (listed, loaded):
                check(type(stored) is type(item), f"{type(item)} came back as {type(stored)}")
                same(stored, item)

    def test_every_item_is_replaced(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Saving an item again, or adding it again as agents do, replaces it where it is."""
        given = every_item(thread)
        for item in given:
            run(store.add_thread_item(thread.id, item, alice))
        for again in (store.save_item, store.add_thread_item):
            for place, item in enumerate(given):
                later = {"created_at": item.created_at + timedelta(minutes=1)}
                given[place] = item.model_copy(update=later)
                run(again(thread.id, given[place], alice))
            page = run(store.load_thread_items(thread.id, None, 50, "asc", alice))
            check(
                ids(page) == [item.id for item in given],
                f"after {again.__name__} the items are {ids(page)}",
            )
            for item, stored in zip(given, page.data, strict=True):
                same(stored, item)

    def test_text_of_item_is_replaced(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Saving an item keeps what is new in it."""
        first, second = new_message(thread, "first"), new_message(thread, "second")
        run(store.add_thread_item(thread.id, first, alice))
        run(store.add_thread_item(thread.id, second, alice))
        changed = first.model_copy(update={"content": [AssistantMessageContent(text="changed")]})
        run(store.save_item(thread.id, changed, alice))
        same(run(store.load_item(thread.id, first.id, alice)), changed)
        same(run(store.load_item(thread.id, second.id, alice)), second)

    def test_saving_an_item_adds_it(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Saving an item that is not there adds it."""
        message = new_message(thread)
        run(store.save_item(thread.id, message, alice))
        same(run(store.load_item(thread.id, message.id, alice)), message)

    def test_items_are_paged(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Pages of items hold each exactly once, in both orders, at every length of page."""
        added = [
            new_message(thread, created_at=NOON + timedelta(seconds=number)) for number in range(7)
        ]
        self._check_items(store, alice, run, thread, added)

    def test_items_of_one_moment_are_paged(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Items of the same moment keep the order in which they were added."""
        self._check_items(store, alice, run, thread, [new_message(thread) for _ in range(7)])

    def test_items_keep_the_order_of_insertion(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Items are in the order in which they were added, whatever their clocks said."""
        added = [
            new_message(thread, created_at=NOON - timedelta(seconds=number)) for number in range(7)
        ]
        self._check_items(store, alice, run, thread, added)

    def _check_items(
        self,
        store: Store[Any],
        alice: Any,
        run: Run[Any],
        thread: ThreadMetadata,
        added: Sequence[ThreadItem],
    ) -> None:
        other = new_thread()
        run(store.save_thread(other, alice))
        for item in added:
            run(store.add_thread_item(thread.id, item, alice))
            run(store.add_thread_item(other.id, new_message(other), alice))

        def load(limit: int, after: str | None, order: str) -> Any:
            return run(store.load_thread_items(thread.id, after, limit, order, alice))

        _check_pages(load, [item.id for item in added])

    def test_items_after_nothing_are_not_found(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """A page after an unknown item, or after another thread's, is not the first page."""
        other = new_thread()
        run(store.save_thread(other, alice))
        elsewhere = new_message(other)
        run(store.add_thread_item(other.id, elsewhere, alice))
        run(store.add_thread_item(thread.id, new_message(thread), alice))
        for order in ("asc", "desc"):
            with pytest.raises(NotFoundError):
                run(store.load_thread_items(thread.id, "msg_nowhere", 20, order, alice))
            with pytest.raises(NotFoundError):
                run(store.load_thread_items(thread.id, elsewhere.id, 20, order, alice))

    def test_pages_of_items_are_bounded(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """A browser that asks for a million items gets a page of at most a hundred."""
        for _ in range(101):
            run(store.add_thread_item(thread.id, new_message(thread), alice))
        page = run(store.load_thread_items(thread.id, None, 1_000_000, "desc", alice))
        check(
            0 < len(page.data) <= 100 and page.has_more,
            f"a page of {len(page.data)} items, has_more {page.has_more}",
        )

    def test_item_ids_are_the_threads_own(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any]
    ) -> None:
        """Items of one id in two threads are two: some models give all messages the same id."""
        kept: list[tuple[ThreadMetadata, AssistantMessageItem, Any]] = []
        for owner in (alice, alice, bob):
            thread = new_thread()
            run(store.save_thread(thread, owner))
            message = new_message(thread, f"text {len(kept)}", id="__fake_id__")
            run(store.add_thread_item(thread.id, message, owner))
            kept.append((thread, message, owner))
        for thread, message, owner in kept:
            same(run(store.load_item(thread.id, message.id, owner)), message)
        thread, message, owner = kept.pop(0)
        run(store.delete_thread_item(thread.id, message.id, owner))
        for thread, message, owner in kept:
            same(run(store.load_item(thread.id, message.id, owner)), message)

    def test_deleted_item_is_gone(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Deleting an item leaves the others as they are."""
        added = [new_message(thread, str(number)) for number in range(3)]
        for item in added:
            run(store.add_thread_item(thread.id, item, alice))
        run(store.delete_thread_item(thread.id, added[1].id, alice))
        with pytest.raises(NotFoundError):
            run(store.load_item(thread.id, added[1].id, alice))
        page = run(store.load_thread_items(thread.id, None, 20, "asc", alice))
        check(ids(page) == [added[0].id, added[2].id], f"left are {ids(page)}")

    def test_item_that_was_never_stored_can_be_deleted(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """The package takes back items that it never stored when a guardrail stops an agent."""
        run(store.delete_thread_item(thread.id, "msg_nowhere", alice))

    # --- attachments ----------------------------------------------------------------------------

    def test_attachment_comes_back(self, store: Store[Any], alice: Any, run: Run[Any]) -> None:
        """Attachments are loaded as they were, with the metadata that browsers don't see."""
        image = ImageAttachment(
            id=f"atc_{secrets.token_hex(16)}",
            name=DIFFICULT,
            mime_type="image/png",
            preview_url=AnyUrl("https://shop.example/photo.png"),
        )
        given: list[Attachment] = [new_attachment(metadata={"path": "a/b"}), image]
        for attachment in given:
            run(store.save_attachment(attachment, alice))
            same(run(store.load_attachment(attachment.id, alice)), attachment)

    def test_attachment_is_updated(self, store: Store[Any], alice: Any, run: Run[Any]) -> None:
        """Saving an attachment again replaces it: the package adds the thread when it is sent."""
        attachment = new_attachment(metadata={"path": "a/b"})
        run(store.save_attachment(attachment, alice))
        sent = attachment.model_copy(update={"thread_id": "thr_1"})
        run(store.save_attachment(sent, alice))
        same(run(store.load_attachment(attachment.id, alice)), sent)

    def test_deleted_attachment_is_gone(self, store: Store[Any], alice: Any, run: Run[Any]) -> None:
        """An attachment that was deleted, or never was, is NotFoundError."""
        attachment = new_attachment()
        run(store.save_attachment(attachment, alice))
        run(store.delete_attachment(attachment.id, alice))
        for gone in (attachment.id, f"atc_{secrets.token_hex(16)}"):
            with pytest.raises(NotFoundError):
                run(store.load_attachment(gone, alice))

    # --- owners ---------------------------------------------------------------------------------

    def test_others_threads_are_not_listed(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`load_threads` lists one's own threads only."""
        check(not run(store.load_threads(20, None, "desc", bob)).data, "Bob sees Alice's thread")
        mine = new_thread()
        run(store.save_thread(mine, bob))
        for owner, only in ((alice, thread), (bob, mine)):
            page = run(store.load_threads(20, None, "desc", owner))
            check(ids(page) == [only.id] and not page.has_more, f"listed are {page}")

    def test_others_thread_is_not_loaded(
        self, store: Store[Any], bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`load_thread` finds one's own threads only."""
        with pytest.raises(NotFoundError):
            run(store.load_thread(thread.id, bob))

    def test_others_thread_is_not_saved(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`save_thread` neither changes nor takes somebody else's thread."""
        stolen = thread.model_copy(update={"title": "Bob's"})
        with pytest.raises(NotFoundError):
            run(store.save_thread(stolen, bob))
        same(run(store.load_thread(thread.id, alice)), thread)
        with pytest.raises(NotFoundError):
            run(store.load_thread(thread.id, bob))

    def test_others_thread_is_not_deleted(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`delete_thread` leaves somebody else's thread and items alone."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        with pytest.raises(NotFoundError):
            run(store.delete_thread(thread.id, bob))
        same(run(store.load_thread(thread.id, alice)), thread)
        same(run(store.load_item(thread.id, message.id, alice)), message)

    def test_others_items_are_not_listed(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`load_thread_items` finds nothing in somebody else's thread; an empty page will do."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        run(store.add_thread_item(thread.id, new_message(thread), alice))
        try:
            page = run(store.load_thread_items(thread.id, None, 20, "asc", bob))
        except NotFoundError:
            page = Page()
        check(not page.data and not page.has_more, "Bob sees Alice's items")
        with pytest.raises(NotFoundError):
            run(store.load_thread_items(thread.id, message.id, 20, "asc", bob))

    def test_others_item_is_not_loaded(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`load_item` finds items of one's own threads only, by whatever thread they are asked."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        mine = new_thread()
        run(store.save_thread(mine, bob))
        for asked in (thread.id, mine.id):
            with pytest.raises(NotFoundError):
                run(store.load_item(asked, message.id, bob))

    def test_others_thread_gets_no_item(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`add_thread_item` writes into one's own threads only."""
        with pytest.raises(NotFoundError):
            run(store.add_thread_item(thread.id, new_message(thread), bob))
        with pytest.raises(NotFoundError):
            run(store.add_thread_item("thr_nowhere", new_message(thread), bob))
        page = run(store.load_thread_items(thread.id, None, 20, "asc", alice))
        check(not page.data, "Bob wrote into Alice's thread")

    def test_others_item_is_not_saved(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`save_item` neither changes nor adds an item of somebody else's thread."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        changed = message.model_copy(update={"content": []})
        for item in (changed, new_message(thread)):
            with pytest.raises(NotFoundError):
                run(store.save_item(thread.id, item, bob))
        page = run(store.load_thread_items(thread.id, None, 20, "asc", alice))
        check(ids(page) == [message.id], f"Alice has {ids(page)}")
        same(page.data[0], message)

    def test_others_item_is_not_deleted(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """`delete_thread_item` leaves the items of somebody else's thread alone."""
        message = new_message(thread)
        run(store.add_thread_item(thread.id, message, alice))
        with pytest.raises(NotFoundError):
            run(store.delete_thread_item(thread.id, message.id, bob))
        mine = new_thread()
        run(store.save_thread(mine, bob))
        with suppress(NotFoundError):
            run(store.delete_thread_item(mine.id, message.id, bob))
        same(run(store.load_item(thread.id, message.id, alice)), message)

    def test_others_attachment_is_not_loaded(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any]
    ) -> None:
        """`load_attachment` finds one's own attachments only."""
        attachment = new_attachment()
        run(store.save_attachment(attachment, alice))
        with pytest.raises(NotFoundError):
            run(store.load_attachment(attachment.id, bob))

    def test_others_attachment_is_not_saved(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any]
    ) -> None:
        """`save_attachment` neither changes nor takes somebody else's attachment."""
        attachment = new_attachment()
        run(store.save_attachment(attachment, alice))
        with pytest.raises(NotFoundError):
            run(store.save_attachment(attachment.model_copy(update={"name": "x"}), bob))
        same(run(store.load_attachment(attachment.id, alice)), attachment)
        with pytest.raises(NotFoundError):
            run(store.load_attachment(attachment.id, bob))

    def test_others_attachment_is_not_deleted(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any]
    ) -> None:
        """`delete_attachment` leaves somebody else's attachment alone."""
        attachment = new_attachment()
        run(store.save_attachment(attachment, alice))
        with pytest.raises(NotFoundError):
            run(store.delete_attachment(attachment.id, bob))
        same(run(store.load_attachment(attachment.id, alice)), attachment)

    # --- ids and concurrency --------------------------------------------------------------------

    def test_ids_cannot_be_guessed(
        self, store: Store[Any], alice: Any, thread: ThreadMetadata
    ) -> None:
        """New ids are all different, and long: the package's own have 8 hex digits."""
        made = [store.generate_thread_id(alice) for _ in range(200)]
        kinds: tuple[StoreItemType, ...] = (
            "message",
            "tool_call",
            "task",
            "workflow",
            "attachment",
            "sdk_hidden_context",
        )
        for kind in kinds:
            made += [store.generate_item_id(kind, thread, alice) for _ in range(200)]
        check(len(set(made)) == len(made), "an id was made twice")
        short = min(made, key=lambda made_id: len(made_id.rpartition("_")[2]))
        check(len(short.rpartition("_")[2]) >= LEAST_RANDOM, f"{short} is too short")

    def test_many_add_at_once(
        self, store: Store[Any], alice: Any, bob: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Tasks that add items, and make threads, at the same time lose none."""
        messages = [new_message(thread, str(number)) for number in range(40)]
        others = [new_thread() for _ in range(20)]

        async def together() -> None:
            await asyncio.gather(
                *(store.add_thread_item(thread.id, message, alice) for message in messages),
                *(store.save_thread(other, bob) for other in others),
            )

        run(together())
        page = run(store.load_thread_items(thread.id, None, 100, "asc", alice))
        check(sorted(ids(page)) == sorted(item.id for item in messages), "items were lost")
        page = run(store.load_threads(100, None, "asc", bob))
        check(sorted(ids(page)) == sorted(other.id for other in others), "threads were lost")

    def test_many_save_one_at_once(
        self, store: Store[Any], alice: Any, run: Run[Any], thread: ThreadMetadata
    ) -> None:
        """Tasks that save one item at the same time leave one item."""
        message = new_message(thread)

        async def together() -> None:
            await asyncio.gather(
                *(store.save_item(thread.id, message, alice) for _ in range(10)),
                *(store.save_thread(thread, alice) for _ in range(10)),
            )

        run(together())
        page = run(store.load_thread_items(thread.id, None, 100, "asc", alice))
        check(ids(page) == [message.id], f"there are {ids(page)}")


def _check_pages(load: Callable[[int, str | None, str], Page[Any]], wanted: list[str]) -> None:
    """Turn the pages of a list, in both orders and at lengths around its own."""
    __tracebackhide__ = True
    for order, expected in (("asc", wanted), ("desc", wanted[::-1])):
        for limit in (1, 2, 3, len(wanted) - 1, len(wanted), len(wanted) + 1):
            found: list[str] = []
            after: str | None = None
            while True:
                page = load(limit, after, order)
                found += ids(page)
                what = f"{order}, limit {limit}, after {after}: {page!r}, wanted {expected}"
                check(found == expected[: len(found)], what)
                check(page.has_more == (len(found) < len(expected)), f"has_more is wrong: {what}")
                check(len(page.data) == limit or not page.has_more, f"a short page: {what}")
                check(page.after == (found[-1] if page.has_more else None), f"after: {what}")
                if not page.has_more:
                    break
                after = page.after
            check(found == expected, f"{order}, limit {limit}: {found}, wanted {expected}")
        check(
            not load(2, expected[-1], order).data, f"{order}: there is nothing after the last one"
        )
