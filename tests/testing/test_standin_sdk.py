"""The openai SDK drives the stand-in with every method it has, and parses every answer strictly."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from flask_chatkit.testing import (
    Failure,
    OpenAIStandIn,
    assistant_message,
    client_tool_call,
    task,
    task_group,
    user_message,
    widget,
)

ATTACHMENTS = [
    {
        "id": "file_1",
        "type": "image",
        "name": "shoe.png",
        "mime_type": "image/png",
        "preview_url": "https://files.example/shoe.png",
    },
    {
        "id": "file_2",
        "type": "file",
        "name": "bill.pdf",
        "mime_type": "application/pdf",
        "preview_url": None,
    },
]
ITEMS = [
    user_message("Hello"),
    user_message("This?", quoted="a shoe", attachments=ATTACHMENTS, model="gpt-6", tool="search"),
    assistant_message("Hi", urls=["https://shop.example"], files=["sizes.pdf"]),
    widget({"type": "Card", "children": []}),
    client_tool_call("add_to_cart", {"sku": 7}),
    client_tool_call("add_to_cart", {"sku": 8}, output={"count": 1}),
    task("Searching", "for shoes"),
    task(task_type="thought"),
    task_group(task("One"), task("Two", "more", task_type="thought")),
]
ALL_TYPES = {
    "chatkit.user_message",
    "chatkit.assistant_message",
    "chatkit.widget",
    "chatkit.client_tool_call",
    "chatkit.task",
    "chatkit.task_group",
}


@pytest.fixture(scope="session")
def sdk(missing) -> Any:
    """Import the SDK."""
    try:
        import openai
    except ModuleNotFoundError:
        missing("the openai SDK", "pip install 'flask-chatkit[test]'")
    return openai


@pytest.fixture
def connect(sdk, openai_standin):
    """Make a client of the stand-in that retries nothing and believes nothing."""
    clients = []

    def make(**kwargs: Any) -> Any:
        settings = {"api_key": "sk-standin", "base_url": openai_standin.api_base, **kwargs}
        clients.append(
            sdk.OpenAI(max_retries=0, timeout=5, _strict_response_validation=True, **settings)
        )
        return clients[-1].beta.chatkit

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def chatkit(connect):
    """Make the client that most tests want."""
    return connect()


def undeclared(value: Any, path: str = "") -> list[str]:
    """Name the fields of an answer that the SDK's models do not declare."""
    if isinstance(value, list):
        return [name for part in value for name in undeclared(part, f"{path}[]")]
    if not hasattr(value, "model_fields_set"):
        return []
    found = [f"{path}.{name}" for name in value.model_extra or {}]
    for name in type(value).model_fields:
        found += undeclared(getattr(value, name), f"{path}.{name}")
    return found


def undelivered(value: Any, path: str = "") -> list[str]:
    """Name the fields that the SDK's models declare and an answer does not have."""
    if isinstance(value, list):
        return [name for part in value for name in undelivered(part, f"{path}[]")]
    if not hasattr(value, "model_fields_set"):
        return []
    found = [f"{path}.{name}" for name in set(type(value).model_fields) - value.model_fields_set]
    for name in type(value).model_fields:
        found += undelivered(getattr(value, name), f"{path}.{name}")
    return found


def whole(value: Any) -> bool:
    """Tell whether an answer has exactly the fields of its model, all the way down."""
    assert undeclared(value) == []
    assert undelivered(value) == []
    return True


def test_a_session_with_the_least(chatkit):
    """What create answers to user and workflow alone is a whole ChatSession."""
    session = chatkit.sessions.create(user="ada", workflow={"id": "wf_standin"})
    assert whole(session)
    assert session.status == "active"


def test_a_session_with_everything(chatkit, openai_standin):
    """Every parameter of the SDK's create is accepted, resolved and parsed."""
    session = chatkit.sessions.create(
        user="ada",
        workflow={
            "id": "wf_standin",
            "version": "2",
            "state_variables": {"plan": "pro", "seats": 3, "rate": 0.5, "beta": True},
            "tracing": {"enabled": False},
        },
        expires_after={"anchor": "created_at", "seconds": 300},
        rate_limits={"max_requests_per_1_minute": 5},
        chatkit_configuration={
            "automatic_thread_titling": {"enabled": False},
            "file_upload": {"enabled": True, "max_file_size": 20, "max_files": 3},
            "history": {"enabled": True, "recent_threads": 8},
        },
    )
    assert whole(session)
    assert session.model_dump() == openai_standin.sessions[session.id]
    assert session.workflow.state_variables == {
        "plan": "pro",
        "seats": 3,
        "rate": 0.5,
        "beta": True,
    }
    assert type(session.workflow.state_variables["beta"]) is bool


def test_a_session_is_cancelled(chatkit, sdk):
    """Cancel answers the session as cancelled, and a second cancel is a BadRequestError."""
    session = chatkit.sessions.create(user="ada", workflow={"id": "wf_standin"})
    cancelled = chatkit.sessions.cancel(session.id)
    assert whole(cancelled)
    assert cancelled.status == "cancelled"
    with pytest.raises(sdk.BadRequestError):
        chatkit.sessions.cancel(session.id)


def test_threads_are_paged_by_themselves(chatkit, openai_standin):
    """Iterating over a list fetches page after page and yields every thread once."""
    added = [openai_standin.add_thread("ada", title=f"No. {n}") for n in range(5)]
    added += [openai_standin.add_thread("ada", status=status) for status in ("locked", "closed")]
    openai_standin.add_thread("bob")
    page = chatkit.threads.list(user="ada", limit=3, order="asc")
    assert page.has_more
    threads = list(page)
    assert [thread.id for thread in threads] == added
    assert whole(threads)
    assert len(openai_standin.requests) == 3
    assert len(list(chatkit.threads.list())) == 8
    assert [t.id for t in chatkit.threads.list(before=added[1], order="asc").data] == added[:1]


def test_an_empty_list(chatkit):
    """A user without threads gets an empty page."""
    page = chatkit.threads.list(user="nobody")
    assert (page.data, page.has_more, page.last_id) == ([], False, None)


def test_a_thread_is_retrieved_and_deleted(chatkit, openai_standin, sdk):
    """Retrieve and delete answer their models, and then the thread is not found."""
    thread_id = openai_standin.add_thread("ada", title="Shoes")
    thread = chatkit.threads.retrieve(thread_id)
    assert whole(thread)
    assert (thread.title, thread.user, thread.status.type) == ("Shoes", "ada", "active")
    deleted = chatkit.threads.delete(thread_id)
    assert whole(deleted)
    assert deleted.deleted
    with pytest.raises(sdk.NotFoundError):
        chatkit.threads.retrieve(thread_id)


def test_items_of_all_types_are_listed(chatkit, openai_standin):
    """Items of all six types, with and without their optional parts, parse into their models."""
    thread_id = openai_standin.add_thread("ada", items=ITEMS)
    items = list(chatkit.threads.list_items(thread_id, limit=4, order="asc"))
    assert [item.type for item in items] == [item["type"] for item in ITEMS]
    assert {item.type for item in items} == ALL_TYPES
    assert {item.thread_id for item in items} == {thread_id}
    assert whole(items)
    assert items[1].attachments[0].preview_url == "https://files.example/shoe.png"
    assert [note.source.type for note in items[2].content[0].annotations] == ["url", "file"]
    assert (items[4].status, items[5].status) == ("in_progress", "completed")


def test_items_of_the_frame_are_listed(chatkit, openai_standin):
    """What a visitor says through the frame is in the API's lists, in the same shape."""
    session = chatkit.sessions.create(user="ada", workflow={"id": "wf_standin"})
    answer = requests.post(
        f"{openai_standin.api_base}/chatkit/_frame/messages",
        json={"text": "Hello"},
        headers={"Authorization": f"Bearer {session.client_secret}"},
        timeout=5,
    )
    thread_id = answer.json()["thread"]["id"]
    assert whole(list(chatkit.threads.list_items(thread_id)))
    assert whole(chatkit.threads.retrieve(thread_id))


def test_lists_have_every_field_of_the_api(chatkit, openai_standin):
    """A page parses strictly into the model of the whole list, first_id and object included."""
    from openai.types.beta.chatkit.chatkit_thread_item_list import ChatKitThreadItemList

    thread_id = openai_standin.add_thread("ada", items=ITEMS)
    answer = chatkit.threads.with_raw_response.list_items(thread_id)
    page = ChatKitThreadItemList.model_validate_json(answer.text)
    assert whole(page)
    assert page.first_id == page.data[0].id


def test_the_request_id_reaches_the_sdk(chatkit, openai_standin):
    """The SDK finds the request id of an answer in its header."""
    session = chatkit.sessions.create(user="ada", workflow={"id": "wf_standin"})
    assert session._request_id == openai_standin.requests[0].request_id


CREATE = {"user": "ada", "workflow": {"id": "wf_standin"}}


@pytest.mark.parametrize(
    ("settings", "arguments", "failure", "error"),
    [
        ({"api_key": "sk-other"}, CREATE, None, "AuthenticationError"),
        ({}, {**CREATE, "workflow": {"id": "wf_other"}}, None, "NotFoundError"),
        ({}, {**CREATE, "user": ""}, None, "BadRequestError"),
        ({}, {**CREATE, "extra_body": {"model": "x"}}, None, "BadRequestError"),
        ({}, {**CREATE, "extra_query": {"user": "x"}}, None, "BadRequestError"),
        ({}, {**CREATE, "extra_headers": {"OpenAI-Beta": "x=1"}}, None, "BadRequestError"),
        ({}, CREATE, Failure.rate_limit(), "RateLimitError"),
        ({}, CREATE, Failure.outage(503), "InternalServerError"),
        ({}, CREATE, Failure(reset=True), "APIConnectionError"),
        ({}, CREATE, Failure(cut=True), "APIConnectionError"),
        ({"timeout": 0.1}, CREATE, Failure(delay=0.5), "APITimeoutError"),
    ],
)
def test_refusals_and_failures_are_the_sdks_errors(
    connect, sdk, openai_standin, settings, arguments, failure, error
):
    """Each refusal and failure raises the SDK's error class for it, with OpenAI's error body."""
    if failure:
        openai_standin.fail(failure)
    timeout = settings.pop("timeout", None)
    extra = {"timeout": timeout} if timeout else {}
    with pytest.raises(getattr(sdk, error)) as raised:
        connect(**settings).sessions.create(**arguments, **extra)
    if isinstance(raised.value, sdk.APIStatusError):
        assert raised.value.request_id == openai_standin.requests[0].request_id
        assert raised.value.body["message"]
        assert "sk-other" not in str(raised.value)


def test_a_wrong_organisation_is_an_authentication_error(sdk):
    """The SDK's organization and project arguments are looked at."""
    with OpenAIStandIn(organization="org_1", project="proj_1") as standin:
        settings = {"api_key": "sk-standin", "base_url": standin.api_base, "max_retries": 0}
        with sdk.OpenAI(organization="org_1", project="proj_1", **settings) as right:
            assert right.beta.chatkit.sessions.create(**CREATE).user == "ada"
        wrong = sdk.OpenAI(organization="org_2", project="proj_1", **settings)
        with wrong, pytest.raises(sdk.AuthenticationError):
            wrong.beta.chatkit.sessions.create(**CREATE)
        other = sdk.OpenAI(organization="org_1", project="proj_2", **settings)
        with other, pytest.raises(sdk.NotFoundError):
            other.beta.chatkit.sessions.create(**CREATE)
