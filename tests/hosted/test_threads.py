"""Reading and deleting OpenAI's threads, against the stand-in."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flask_chatkit.errors import Misconfigured, UpstreamRejected, UpstreamUnavailable
from flask_chatkit.hosted.client import MAX_ENTRY_BYTES, MAX_PAGE_BYTES, PATIENT_ATTEMPTS, Client
from flask_chatkit.hosted.threads import HostedThreads
from flask_chatkit.hosted.transport import PageTooLargeError
from flask_chatkit.testing import Failure, OpenAIStandIn, assistant_message, user_message


class Patient:
    """A client that notes how long it would have slept."""

    def __init__(self, openai: OpenAIStandIn, api_key: str | None = "sk-standin") -> None:
        self.slept: list[float] = []
        self._client = Client(api_key=api_key, base=openai.api_base, timeout=(1.0, 2.0))

    def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        return self._client.ask(method, path, **options, sleep=self.slept.append)


@pytest.fixture
def client(openai_standin: OpenAIStandIn) -> Patient:
    return Patient(openai_standin)


@pytest.fixture
def threads(client: Patient) -> HostedThreads:
    return HostedThreads(client)


def test_threads_of_one_person(openai_standin: OpenAIStandIn, threads: HostedThreads) -> None:
    """The threads of one person come the oldest first, over as many pages as there are."""
    mine = [openai_standin.add_thread("user:ann") for _ in range(230)]
    openai_standin.add_thread("user:bob")
    assert [thread["id"] for thread in threads.threads("user:ann")] == mine
    assert len(openai_standin.requests) == 3
    assert {request.method for request in openai_standin.requests} == {"GET"}


def test_threads_of_everybody(openai_standin: OpenAIStandIn, threads: HostedThreads) -> None:
    """Without a person everybody's threads come, and reading goes on after one that is named."""
    made = [openai_standin.add_thread(f"user:{number}") for number in range(5)]
    assert [thread["id"] for thread in threads.threads()] == made
    assert [thread["id"] for thread in threads.threads(after=made[2])] == made[3:]


def test_items_of_a_thread(openai_standin: OpenAIStandIn, threads: HostedThreads) -> None:
    """A thread's items come the oldest first, and none of a thread that is gone."""
    items = [user_message(f"{number}") for number in range(150)]
    thread = openai_standin.add_thread("user:ann", items=[*items, assistant_message("bye")])
    read = list(threads.items(thread))
    assert [item["id"] for item in read] == [item["id"] for item in openai_standin.items(thread)]
    assert [item["id"] for item in threads.items(thread, after=read[-2]["id"])] == [read[-1]["id"]]
    assert list(threads.items("cthr_gone")) == []


def test_pages_are_fetched_when_they_are_needed(
    openai_standin: OpenAIStandIn, threads: HostedThreads
) -> None:
    """Nothing is asked for that nobody has read up to."""
    for _ in range(150):
        openai_standin.add_thread("user:ann")
    reading = threads.threads()
    for _ in range(100):
        next(reading)
    assert len(openai_standin.requests) == 1


def test_delete(openai_standin: OpenAIStandIn, threads: HostedThreads) -> None:
    """A thread is deleted once."""
    thread = openai_standin.add_thread("user:ann")
    assert threads.delete(thread)
    assert openai_standin.threads == {}
    assert not threads.delete(thread)


def test_pace_is_openais(
    openai_standin: OpenAIStandIn, threads: HostedThreads, client: Patient
) -> None:
    """A limit is waited for as long as OpenAI says, and other failures longer each time."""
    thread = openai_standin.add_thread("user:ann")
    openai_standin.fail(Failure(status=429, retry_after=7))
    openai_standin.fail(Failure(status=503))
    openai_standin.fail(Failure(status=500))
    openai_standin.fail(Failure(reset=True))
    assert [one["id"] for one in threads.threads()] == [thread]
    assert client.slept[0] == 7
    assert 1 <= client.slept[1] <= 2 <= client.slept[2] <= 4 <= client.slept[3] <= 8


def test_patience_has_an_end(
    openai_standin: OpenAIStandIn, threads: HostedThreads, client: Patient
) -> None:
    """What does not come right after eight attempts, or wants more than a minute, is an error."""
    openai_standin.fail(Failure(status=503, retry_after=1), times=99)
    with pytest.raises(UpstreamUnavailable):
        list(threads.threads())
    assert len(client.slept) == PATIENT_ATTEMPTS - 1
    openai_standin.reset()
    openai_standin.fail(Failure(status=429, retry_after=61), times=99)
    with pytest.raises(UpstreamUnavailable):
        list(threads.threads())
    assert len(openai_standin.requests) == 1


@pytest.mark.parametrize(
    "failure",
    [
        Failure(status=400),
        Failure(status=401),
        Failure(status=200, body=b"[]"),
        Failure(status=200, body=b'{"data":1}'),
        Failure.truncated_json(),
    ],
)
def test_refusals_are_not_repeated(
    openai_standin: OpenAIStandIn, threads: HostedThreads, failure: Failure
) -> None:
    """A refusal, and an answer of no use, is an error at once."""
    openai_standin.fail(failure, times=9)
    with pytest.raises(UpstreamRejected):
        list(threads.threads())
    assert len(openai_standin.requests) == 1


def test_names_of_people_stay_out_of_the_log(
    openai_standin: OpenAIStandIn, threads: HostedThreads, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the path of a call, and not whose threads were asked for."""
    caplog.set_level(logging.DEBUG, "flask_chatkit")
    openai_standin.fail(Failure(status=400))
    with pytest.raises(UpstreamRejected):
        list(threads.threads("user:ann@shop.test"))
    list(threads.threads("user:ann@shop.test"))
    ours = [one.getMessage() for one in caplog.records if one.name == "flask_chatkit"]
    assert any("GET /chatkit/threads" in line for line in ours)
    assert not any("ann" in line for line in ours)


def test_pages_that_repeat_themselves_end(threads: HostedThreads) -> None:
    """A page that says there is more after what was asked for ends the reading."""

    class Stuck:
        def ask(self, *_args: Any, **_options: Any) -> dict[str, Any]:
            return {"data": [{"id": "a"}], "has_more": True, "last_id": "a"}

    assert [one["id"] for one in HostedThreads(Stuck()).threads()] == ["a", "a"]


def test_large_pages_are_asked_for_in_parts(
    openai_standin: OpenAIStandIn, threads: HostedThreads
) -> None:
    """Items of which a hundred are too much for one answer come in smaller pages, in order."""
    items = [assistant_message("x" * 500_000) for _ in range(30)]
    items.append(assistant_message("x" * (MAX_PAGE_BYTES + 1)))
    thread = openai_standin.add_thread("user:ann", items=[*items, assistant_message("end")])
    read = [item["id"] for item in threads.items(thread)]
    assert read == [item["id"] for item in openai_standin.items(thread)]
    sizes = [int(request.query["limit"]) for request in openai_standin.requests]
    assert sizes[0] == 100
    assert 1 in sizes


def test_item_that_is_too_large(openai_standin: OpenAIStandIn, threads: HostedThreads) -> None:
    """A single item of more than any answer may have ends the thread with an error of its own."""
    large = assistant_message("x" * (MAX_ENTRY_BYTES + 1))
    thread = openai_standin.add_thread("user:ann", items=[assistant_message("one"), large])
    read = threads.items(thread)
    assert next(read)["content"][0]["text"] == "one"
    with pytest.raises(PageTooLargeError):
        next(read)


def test_key_is_needed(openai_standin: OpenAIStandIn) -> None:
    """Without a key nothing is asked, and the error says what is missing."""
    with pytest.raises(Misconfigured):
        list(HostedThreads(Patient(openai_standin, api_key=None)).threads())
    assert openai_standin.requests == []
