"""The stand-in of OpenAI's ChatKit API over real HTTP: its refusals, its state, its failures."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client
from werkzeug.wrappers import Response

from flask_chatkit.testing import Failure, OpenAIStandIn, assistant_message, standin, user_message

HEADERS = {"Authorization": "Bearer sk-standin", "OpenAI-Beta": "chatkit_beta=v1"}
VALID = {"user": "ada", "workflow": {"id": "wf_standin"}}


class Clock:
    """Time that only moves when told, in seconds."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


@pytest.fixture
def clock():
    """Give the stand-in a time that stands still."""
    return Clock()


@pytest.fixture
def openai(clock) -> Iterator[OpenAIStandIn]:
    """Run a stand-in on that clock."""
    with OpenAIStandIn(clock=clock) as running:
        yield running


def call(openai: OpenAIStandIn, method: str, path: str, **kwargs: Any) -> requests.Response:
    """Make a call of the API, by default with sound headers."""
    settings = {"headers": HEADERS, "timeout": 5, **kwargs}
    return requests.request(method, openai.api_base + path, **settings)  # noqa: S113 - it has one


def create(openai: OpenAIStandIn, **fields: Any) -> requests.Response:
    """Create a session."""
    return call(openai, "POST", "/chatkit/sessions", json={**VALID, **fields})


def frame(openai: OpenAIStandIn, secret: str, method: str, path: str, **kwargs: Any):
    """Make a call of the browser stand-in's frame."""
    headers = {"Authorization": f"Bearer {secret}"}
    return call(openai, method, f"/chatkit/_frame{path}", headers=headers, **kwargs)


def wait_for_requests(openai: OpenAIStandIn, number: int) -> None:
    """Wait until so many calls have come in, which a client that does not read cannot know."""
    deadline = time.monotonic() + 5
    while len(openai.requests) < number:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def error(answer: requests.Response) -> dict[str, Any]:
    """Read an answer's error, which has OpenAI's shape."""
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json()) == {"error"}
    found = answer.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def workflow(**fields: Any) -> dict[str, Any]:
    """Build a create body with fields of the workflow."""
    return {**VALID, "workflow": {"id": "wf_standin", **fields}}


def configured(name: str, **fields: Any) -> dict[str, Any]:
    """Build a create body with fields of one of ChatKit's features."""
    return {**VALID, "chatkit_configuration": {name: fields}}


# --- sessions ---


def test_a_session_has_every_field_and_every_default(openai, clock):
    """Creating with nothing but user and workflow answers the whole resolved session."""
    session = create(openai).json()
    assert session.pop("id").startswith("cksess_")
    assert session.pop("client_secret").startswith("ek_")
    assert session == {
        "object": "chatkit.session",
        "expires_at": int(clock.now) + 600,
        "status": "active",
        "user": "ada",
        "workflow": {
            "id": "wf_standin",
            "version": None,
            "state_variables": None,
            "tracing": {"enabled": True},
        },
        "rate_limits": {"max_requests_per_1_minute": 10},
        "max_requests_per_1_minute": 10,
        "chatkit_configuration": {
            "automatic_thread_titling": {"enabled": True},
            "file_upload": {"enabled": False, "max_file_size": 512, "max_files": 10},
            "history": {"enabled": True, "recent_threads": None},
        },
    }


def test_what_is_asked_for_is_in_the_session(openai, clock):
    """Every parameter at its bounds is accepted and echoed."""
    variables = {"k" * 64: "text", "n": 3, "f": 0.5, "b": True}
    variables |= {f"v{number}": number for number in range(60)}
    configuration = {
        "automatic_thread_titling": {"enabled": False},
        "file_upload": {"enabled": True, "max_file_size": 1, "max_files": 1},
        "history": {"enabled": False, "recent_threads": 1},
    }
    session = create(
        openai,
        workflow={
            "id": "wf_standin",
            "version": "3",
            "state_variables": variables,
            "tracing": {"enabled": False},
        },
        expires_after={"anchor": "created_at", "seconds": 1},
        rate_limits={"max_requests_per_1_minute": 1},
        chatkit_configuration=configuration,
    ).json()
    assert session["workflow"] == {
        "id": "wf_standin",
        "version": "3",
        "state_variables": variables,
        "tracing": {"enabled": False},
    }
    assert session["expires_at"] == int(clock.now) + 1
    assert session["max_requests_per_1_minute"] == 1
    assert session["chatkit_configuration"] == configuration


def test_no_two_sessions_share_an_id_or_a_secret(openai):
    """Ids, secrets and request ids are new each time."""
    answers = [create(openai) for _ in range(5)]
    assert len({answer.json()["id"] for answer in answers}) == 5
    assert len({answer.json()["client_secret"] for answer in answers}) == 5
    assert len({answer.headers["x-request-id"] for answer in answers}) == 5


REFUSED_BODIES = [
    ({}, "missing_required_parameter", "user"),
    ({"user": "ada"}, "missing_required_parameter", "workflow"),
    ({"user": "ada", "workflow": {}}, "missing_required_parameter", "workflow.id"),
    ({**VALID, "user": ""}, "empty_string", "user"),
    ({**VALID, "user": 7}, "invalid_type", "user"),
    ({**VALID, "user": None}, "invalid_type", "user"),
    ({**VALID, "workflow": "wf_standin"}, "invalid_type", "workflow"),
    ({**VALID, "workflow": {"id": 7}}, "invalid_type", "workflow.id"),
    ({**VALID, "model": "x"}, "unknown_parameter", "model"),
    (workflow(versionn="1"), "unknown_parameter", "workflow.versionn"),
    (workflow(version=1), "invalid_type", "workflow.version"),
    (workflow(version=None), "invalid_type", "workflow.version"),
    (workflow(tracing=True), "invalid_type", "workflow.tracing"),
    (workflow(tracing={"enabled": 1}), "invalid_type", "workflow.tracing.enabled"),
    (workflow(tracing={"on": True}), "unknown_parameter", "workflow.tracing.on"),
    (workflow(state_variables=[]), "invalid_type", "workflow.state_variables"),
    (workflow(state_variables={"a": None}), "invalid_type", "workflow.state_variables.a"),
    (workflow(state_variables={"a": []}), "invalid_type", "workflow.state_variables.a"),
    (workflow(state_variables={"a": {}}), "invalid_type", "workflow.state_variables.a"),
    (
        workflow(state_variables={str(number): 1 for number in range(65)}),
        "object_above_max_properties",
        "workflow.state_variables",
    ),
    (
        workflow(state_variables={"k" * 65: 1}),
        "property_name_above_max_length",
        "workflow.state_variables." + "k" * 60,
    ),
    ({**VALID, "expires_after": 600}, "invalid_type", "expires_after"),
    (
        {**VALID, "expires_after": {"seconds": 5}},
        "missing_required_parameter",
        "expires_after.anchor",
    ),
    (
        {**VALID, "expires_after": {"anchor": "created_at"}},
        "missing_required_parameter",
        "expires_after.seconds",
    ),
    (
        {**VALID, "expires_after": {"anchor": "last_active_at", "seconds": 5}},
        "invalid_value",
        "expires_after.anchor",
    ),
    *(
        (
            {**VALID, "expires_after": {"anchor": "created_at", "seconds": seconds}},
            code,
            "expires_after.seconds",
        )
        for seconds, code in [
            (0, "integer_below_min_value"),
            (601, "integer_above_max_value"),
            (60.0, "invalid_type"),
            ("60", "invalid_type"),
            (True, "invalid_type"),
        ]
    ),
    (
        {**VALID, "rate_limits": {"max_requests_per_1_minute": 0}},
        "integer_below_min_value",
        "rate_limits.max_requests_per_1_minute",
    ),
    (
        {**VALID, "rate_limits": {"max_requests_per_1_minute": True}},
        "invalid_type",
        "rate_limits.max_requests_per_1_minute",
    ),
    ({**VALID, "rate_limits": {"per_hour": 1}}, "unknown_parameter", "rate_limits.per_hour"),
    (configured("titling"), "unknown_parameter", "chatkit_configuration.titling"),
    (
        configured("automatic_thread_titling", enabled="yes"),
        "invalid_type",
        "chatkit_configuration.automatic_thread_titling.enabled",
    ),
    *(
        (configured(name, **{key: value}), code, f"chatkit_configuration.{name}.{key}")
        for name, key, value, code in [
            ("file_upload", "max_file_size", 0, "integer_below_min_value"),
            ("file_upload", "max_file_size", 513, "integer_above_max_value"),
            ("file_upload", "max_file_size", 1.5, "invalid_type"),
            ("file_upload", "max_files", 0, "integer_below_min_value"),
            ("file_upload", "max_bytes", 1, "unknown_parameter"),
            ("history", "recent_threads", 0, "integer_below_min_value"),
            ("history", "recent_threads", None, "invalid_type"),
            ("history", "enabled", 0, "invalid_type"),
        ]
    ),
]


@pytest.mark.parametrize(("body", "code", "param"), REFUSED_BODIES)
def test_a_wrong_create_body_is_refused(openai, body, code, param):
    """Unknown fields, wrong types and broken bounds answer 400 and name the field."""
    answer = call(openai, "POST", "/chatkit/sessions", json=body)
    assert answer.status_code == 400
    found = error(answer)
    assert (found["type"], found["code"], found["param"]) == ("invalid_request_error", code, param)
    assert openai.sessions == {}


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (json.dumps(VALID), "text/plain", "unsupported_content_type"),
        (json.dumps(VALID), "application/x-www-form-urlencoded", "unsupported_content_type"),
        ("", "application/json", "invalid_json"),
        ("{", "application/json", "invalid_json"),
        ("[" * 100_000, "application/json", "invalid_json"),
        ('{"user": NaN}', "application/json", "invalid_json"),
        (b'{"user": "\xff"}', "application/json", "invalid_json"),
        ("[]", "application/json", "invalid_type"),
        (json.dumps(VALID)[:-2] + ', "state_variables": {"a": 1e999}}}', "application/json", None),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(openai, body, content_type, code):
    """A body must be a JSON object, declared as JSON, without NaN or infinite numbers."""
    headers = {**HEADERS, "Content-Type": content_type}
    answer = call(openai, "POST", "/chatkit/sessions", data=body, headers=headers)
    assert answer.status_code == 400
    assert error(answer)["code"] == (code or "invalid_value")


def test_a_charset_in_the_content_type_is_accepted(openai):
    """`application/json; charset=utf-8` is JSON as well."""
    headers = {**HEADERS, "Content-Type": "application/json; charset=utf-8"}
    body = json.dumps(VALID)
    assert call(openai, "POST", "/chatkit/sessions", data=body, headers=headers).ok


def test_a_body_of_more_than_a_megabyte_is_refused(openai):
    """What is larger than 1 MB answers 413."""
    answer = create(openai, user="x" * 1_000_001)
    assert (answer.status_code, error(answer)["type"]) == (413, "invalid_request_error")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": None}, 401, "invalid_api_key"),
        ({"Authorization": "Bearer sk-wrong-one"}, 401, "invalid_api_key"),
        ({"Authorization": "bearer sk-standin"}, 401, "invalid_api_key"),
        ({"Authorization": "sk-standin"}, 401, "invalid_api_key"),
        ({"OpenAI-Beta": None}, 400, "invalid_beta"),
        ({"OpenAI-Beta": "assistants=v2"}, 400, "invalid_beta"),
        ({"OpenAI-Beta": "assistants=v2, chatkit_beta=v1"}, 200, None),
        ({"OpenAI-Organization": "org_any", "OpenAI-Project": "proj_any"}, 200, None),
    ],
)
def test_headers_are_checked(openai, headers, status, code):
    """The key and the beta header must be there; without an own organisation any will do."""
    answer = call(openai, "GET", "/chatkit/threads", headers={**HEADERS, **headers})
    assert answer.status_code == status
    if code:
        assert error(answer)["code"] == code
    assert "sk-" not in answer.text


ORG = {"OpenAI-Organization": "org_1"}
PROJECT = {"OpenAI-Project": "proj_1"}


@pytest.mark.parametrize(
    ("headers", "create_status", "list_length", "get_status"),
    [
        ({**ORG, **PROJECT}, 200, 1, 200),
        ({**PROJECT, "OpenAI-Organization": "org_2"}, 401, None, 401),
        ({**ORG, "OpenAI-Project": "proj_2"}, 404, 0, 404),
        (ORG, 404, 0, 404),
        (PROJECT, 404, 0, 404),
        ({}, 404, 0, 404),
    ],
)
def test_another_organisation_or_project_finds_nothing(
    headers, create_status, list_length, get_status
):
    """A wrong organisation answers 401; a wrong project, or none, sees nothing of this one."""
    with OpenAIStandIn(organization="org_1", project="proj_1") as openai:
        thread = openai.add_thread("ada")
        headers = {**HEADERS, **headers}
        created = call(openai, "POST", "/chatkit/sessions", json=VALID, headers=headers)
        assert created.status_code == create_status
        if create_status == 404:
            assert error(created)["message"] == "Workflow with id 'wf_standin' not found."
        if create_status == 401:
            assert error(created)["code"] == "mismatched_organization"
        listed = call(openai, "GET", "/chatkit/threads", headers=headers)
        assert len(listed.json().get("data", ())) == (list_length or 0)
        got = call(openai, "GET", f"/chatkit/threads/{thread}", headers=headers)
        assert got.status_code == get_status
        assert openai.config()["CHATKIT_ORGANIZATION"] == "org_1"
        assert openai.config()["CHATKIT_PROJECT"] == "proj_1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/chatkit/sessions", 405),
        ("PUT", "/chatkit/sessions", 405),
        ("OPTIONS", "/chatkit/sessions", 405),
        ("GET", "/chatkit/sessions/cksess_1/cancel", 405),
        ("POST", "/chatkit/threads", 405),
        ("PATCH", "/chatkit/threads/cthr_1", 405),
        ("POST", "/chatkit/threads/cthr_1/items", 405),
        ("GET", "/chatkit/sessions/cksess_1", 404),
        ("POST", "/chatkit/sessions/", 404),
        ("POST", "//chatkit/sessions", 404),
        ("GET", "/chatkit/workflows/wf_standin", 404),
        ("GET", "/chat/completions", 404),
        ("POST", "/chatkit/sessions/cksess_1/cancel", 404),
        ("GET", "/chatkit/threads/cthr_1", 404),
        ("DELETE", "/chatkit/threads/cthr_1", 404),
        ("GET", "/chatkit/threads/cthr_1/items", 404),
    ],
)
def test_what_does_not_exist_is_refused(openai, method, path, status):
    """Unknown paths and ids answer 404, wrong methods 405, both in OpenAI's error JSON."""
    answer = call(openai, method, path)
    assert answer.status_code == status
    assert error(answer)["type"] == "invalid_request_error"
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("path", "query", "code", "param"),
    [
        ("/chatkit/threads", "limit=101", "integer_above_max_value", "limit"),
        ("/chatkit/threads", "limit=-1", "integer_below_min_value", "limit"),
        ("/chatkit/threads", "limit=ten", "invalid_type", "limit"),
        ("/chatkit/threads", "limit=1.0", "invalid_type", "limit"),
        ("/chatkit/threads", "limit=%D9%A3", "invalid_type", "limit"),
        ("/chatkit/threads", "limit=", "empty_string", "limit"),
        ("/chatkit/threads", "order=up", "invalid_value", "order"),
        ("/chatkit/threads", "after=cthr_none", "invalid_value", "after"),
        ("/chatkit/threads", "before=cthr_none", "invalid_value", "before"),
        ("/chatkit/threads", "user=", "empty_string", "user"),
        ("/chatkit/threads", "page=2", "unknown_parameter", "page"),
        ("/chatkit/threads/{id}", "user=ada", "unknown_parameter", "user"),
        ("/chatkit/threads/{id}/items", "user=ada", "unknown_parameter", "user"),
        ("/chatkit/threads/{id}/items", "limit=101", "integer_above_max_value", "limit"),
    ],
)
def test_a_wrong_query_is_refused(openai, path, query, code, param):
    """Query parameters are checked as strictly as bodies."""
    thread = openai.add_thread("ada")
    answer = call(openai, "GET", f"{path.format(id=thread)}?{query}")
    assert answer.status_code == 400
    assert (error(answer)["code"], error(answer)["param"]) == (code, param)


def test_create_and_cancel_take_no_query(openai):
    """A query parameter on a call that has none is refused."""
    assert error(call(openai, "POST", "/chatkit/sessions?a=1", json=VALID))["param"] == "a"
    session = create(openai).json()["id"]
    path = f"/chatkit/sessions/{session}/cancel?a=1"
    assert error(call(openai, "POST", path))["param"] == "a"


def test_an_unknown_workflow_is_not_found(openai):
    """A workflow that the stand-in was not given answers the 404 that OpenAI answers."""
    answer = create(openai, workflow={"id": "wf_other"})
    assert answer.status_code == 404
    assert error(answer)["message"] == "Workflow with id 'wf_other' not found."


@pytest.mark.parametrize("status", [404, 410])
def test_workflows_can_end(openai, status):
    """After end_workflows every create answers that status, until a reset."""
    openai.end_workflows(status)
    assert error(create(openai))["type"] == "invalid_request_error"
    assert create(openai).status_code == status
    openai.reset()
    assert create(openai).ok


def test_a_session_is_cancelled_once(openai):
    """Cancelling answers the session as cancelled; a second time it answers 400."""
    created = create(openai).json()
    path = f"/chatkit/sessions/{created['id']}/cancel"
    answer = call(openai, "POST", path)
    assert answer.json() == {**created, "status": "cancelled"}
    assert openai.sessions[created["id"]]["status"] == "cancelled"
    assert call(openai, "POST", path).status_code == 400
    assert error(call(openai, "POST", path, json={"now": True}))["code"] == "unknown_parameter"


def test_a_session_runs_out(openai, clock):
    """A session expires by the clock or by expire(), and cannot be cancelled then."""
    first, second, third = (create(openai).json() for _ in range(3))
    openai.expire(second["id"])
    openai.expire(third["client_secret"])
    states = [session["status"] for session in openai.sessions.values()]
    assert states == ["active", "expired", "expired"]
    clock.now += 600
    assert openai.sessions[first["id"]]["status"] == "expired"
    answer = call(openai, "POST", f"/chatkit/sessions/{first['id']}/cancel")
    assert (answer.status_code, error(answer)["code"]) == (400, "session_not_active")
    with pytest.raises(KeyError):
        openai.expire("ek_unknown")


# --- threads ---


def ids(answer: requests.Response) -> list[str]:
    """List the ids on a page."""
    return [row["id"] for row in answer.json()["data"]]


def test_threads_are_listed_page_by_page(openai):
    """limit, order and both cursors cut the list as documented, the newest first by default."""
    a, b, c, d, e = (openai.add_thread("ada") for _ in range(5))

    def page(query: str) -> tuple[list[str], bool]:
        answer = call(openai, "GET", f"/chatkit/threads?{query}").json()
        found = [row["id"] for row in answer["data"]]
        assert set(answer) == {"object", "data", "first_id", "last_id", "has_more"}
        assert answer["object"] == "list"
        assert (answer["first_id"], answer["last_id"]) == (
            (found[0], found[-1]) if found else (None, None)
        )
        return found, answer["has_more"]

    assert page("") == ([e, d, c, b, a], False)
    assert page("order=asc") == ([a, b, c, d, e], False)
    assert page("limit=2") == ([e, d], True)
    assert page(f"limit=2&after={d}") == ([c, b], True)
    assert page(f"limit=2&after={b}") == ([a], False)
    assert page(f"limit=2&order=asc&after={b}") == ([c, d], True)
    assert page(f"limit=2&before={b}") == ([d, c], True)
    assert page(f"before={d}") == ([e], False)
    assert page(f"after={e}&before={b}") == ([d, c], False)
    assert page("limit=0") == ([], True)
    assert page(f"limit=0&before={a}") == ([], True)


def test_a_list_without_a_user_is_everybodys(openai):
    """`user` filters; leaving it out lists the threads of all users, 20 by default."""
    mine = openai.add_thread("ada")
    other = openai.add_thread("bob")
    assert ids(call(openai, "GET", "/chatkit/threads")) == [other, mine]
    assert ids(call(openai, "GET", "/chatkit/threads?user=ada")) == [mine]
    assert ids(call(openai, "GET", "/chatkit/threads?user=eve")) == []
    for _ in range(20):
        openai.add_thread("ada")
    answer = call(openai, "GET", "/chatkit/threads").json()
    assert (len(answer["data"]), answer["has_more"]) == (20, True)


def test_a_thread_is_read_and_deleted(openai, clock):
    """One thread is answered whole, deleted with its items, and then is gone."""
    item = user_message("Hello")
    thread = openai.add_thread("ada", title="Shoes", items=[item], status="locked")
    got = call(openai, "GET", f"/chatkit/threads/{thread}").json()
    assert got == openai.threads[thread]
    assert got == {
        "id": thread,
        "object": "chatkit.thread",
        "created_at": int(clock.now),
        "status": {"type": "locked", "reason": None},
        "title": "Shoes",
        "user": "ada",
    }
    items = call(openai, "GET", f"/chatkit/threads/{thread}/items").json()["data"]
    assert items == openai.items(thread)
    answer = call(openai, "DELETE", f"/chatkit/threads/{thread}")
    assert answer.json() == {"id": thread, "object": "chatkit.thread.deleted", "deleted": True}
    assert openai.threads == {}
    assert call(openai, "GET", f"/chatkit/threads/{thread}/items").status_code == 404


def test_items_are_listed_newest_first_or_in_order(openai):
    """Items page like threads."""
    texts = [user_message(str(number)) for number in range(3)]
    thread = openai.add_thread("ada", items=texts)
    order = [item["id"] for item in openai.items(thread)]
    path = f"/chatkit/threads/{thread}/items"
    assert ids(call(openai, "GET", path)) == order[::-1]
    assert ids(call(openai, "GET", f"{path}?order=asc&limit=1&after={order[0]}")) == [order[1]]


def test_what_is_read_from_the_standin_is_a_copy(openai):
    """A test that changes what it read does not change the stand-in."""
    session = create(openai).json()["id"]
    thread = openai.add_thread("ada", items=[assistant_message("Hi")])
    openai.sessions[session]["workflow"]["id"] = "changed"
    openai.threads[thread]["status"]["type"] = "changed"
    openai.items(thread)[0]["content"].clear()
    openai.requests.clear()
    assert openai.sessions[session]["workflow"]["id"] == "wf_standin"
    assert openai.threads[thread]["status"]["type"] == "active"
    assert openai.items(thread)[0]["content"]
    assert len(openai.requests) == 1


# --- the record ---


def test_requests_are_recorded(openai):
    """Every call of the API is recorded with its answer's status and request id."""
    first = create(openai)
    second = call(openai, "GET", "/chatkit/threads?user=ada&limit=3")
    third = call(openai, "POST", "/nothing", data="{")
    assert [(r.method, r.path, r.query, r.body, r.status) for r in openai.requests] == [
        ("POST", "/v1/chatkit/sessions", {}, VALID, 200),
        ("GET", "/v1/chatkit/threads", {"user": "ada", "limit": "3"}, None, 200),
        ("POST", "/v1/nothing", {}, None, 404),
    ]
    for recorded, answer in zip(openai.requests, (first, second, third), strict=True):
        assert recorded.request_id == answer.headers["x-request-id"]
        assert recorded.request_id.startswith("req_")
        assert answer.headers["openai-processing-ms"].isdigit()
    assert openai.requests[0].headers["openai-beta"] == "chatkit_beta=v1"
    openai.reset()
    assert openai.requests == []


def test_no_key_is_in_the_record_as_text(openai):
    """Neither the record nor its headers print the key or a secret."""
    create(openai)
    shown = f"{openai.requests!r} {openai.requests[0].headers!r} {openai.requests[0].headers}"
    assert "sk-standin" not in shown
    assert "Authorization" in str(openai.requests[0].headers)
    assert openai.requests[0].headers["Authorization"] == "Bearer sk-standin"


def test_many_clients_at_once_are_all_recorded(openai):
    """Concurrent creates are each answered and each recorded."""

    def work() -> None:
        with requests.Session() as session:
            for _ in range(10):
                url = openai.api_base + "/chatkit/sessions"
                assert session.post(url, json=VALID, headers=HEADERS, timeout=5).ok

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(openai.requests) == len(openai.sessions) == 80


# --- failures ---


def test_failures_are_used_up_in_order(openai):
    """Planned failures come first in, first out, as often as asked, then all is well again."""
    openai.fail(Failure.outage(503), times=2)
    openai.fail(Failure.rate_limit(2.5))
    answers = [create(openai) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 429, 200]
    assert error(answers[0])["type"] == "server_error"
    assert error(answers[2])["code"] == "rate_limit_exceeded"
    assert answers[2].headers["Retry-After"] == "2.5"
    assert [recorded.status for recorded in openai.requests] == [503, 503, 429, 200]
    assert len(openai.sessions) == 1
    assert all(answer.headers["x-request-id"].startswith("req_") for answer in answers)


def test_a_failure_can_be_for_one_call_only(openai):
    """method, path prefix and `*` choose which calls fail."""
    session = create(openai).json()["id"]
    openai.fail(Failure.outage(), path="/chatkit/sessions/*/cancel")
    openai.fail(Failure.outage(502), method="delete")
    openai.fail(Failure.outage(504), path="/chatkit/threads")
    assert create(openai).ok
    assert call(openai, "POST", f"/chatkit/sessions/{session}/cancel").status_code == 500
    assert call(openai, "GET", "/chatkit/threads").status_code == 504
    assert call(openai, "DELETE", "/chatkit/threads/cthr_1").status_code == 502
    openai.fail(Failure.outage())
    openai.reset()
    assert create(openai).ok


def test_a_failure_comes_before_every_check(openai):
    """An outage answers those with a wrong key and a wrong body as well."""
    openai.fail(Failure(status=500, code="oops", message="Sorry", headers={"X-More": "1"}))
    answer = call(openai, "POST", "/chatkit/sessions", headers={}, data="{")
    assert answer.status_code == 500
    assert (error(answer)["code"], error(answer)["message"]) == ("oops", "Sorry")
    assert answer.headers["X-More"] == "1"


def test_wrong_bodies(openai):
    """Truncated, wrong and oversized JSON and an HTML page come with status 200."""
    for failure in (Failure.truncated_json(), Failure.html()):
        openai.fail(failure)
        answer = create(openai)
        assert answer.status_code == 200
        with pytest.raises(ValueError, match="char"):
            answer.json()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    openai.fail(Failure.wrong_json())
    assert "client_secret" not in create(openai).json()
    openai.fail(Failure.oversized(1_200_000))
    answer = create(openai)
    assert len(answer.content) == 1_200_000
    assert list(answer.json()) == ["padding"]
    assert openai.sessions == {}


def test_retry_after_may_be_a_date(openai):
    """A string is sent as it is."""
    openai.fail(Failure.rate_limit("Wed, 21 Oct 2026 07:28:00 GMT"))
    openai.fail(Failure.rate_limit(None))
    assert create(openai).headers["Retry-After"] == "Wed, 21 Oct 2026 07:28:00 GMT"
    assert "Retry-After" not in create(openai).headers


def test_a_delay_comes_before_the_real_answer(openai):
    """A delayed call is carried out, recorded at once and answered late."""
    openai.fail(Failure(delay=0.3))
    began = time.monotonic()
    with pytest.raises(requests.exceptions.ReadTimeout):
        call(openai, "POST", "/chatkit/sessions", json=VALID, timeout=0.1)
    wait_for_requests(openai, 1)
    assert len(openai.sessions) == 1
    openai.fail(Failure(delay=0.2))
    assert create(openai).ok
    assert time.monotonic() - began >= 0.3


def raw(openai: OpenAIStandIn, path: str = "/v1/chatkit/threads") -> socket.socket:
    """Send one request over a new socket and leave the answer to be read."""
    address = urlsplit(openai.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=5)
    lines = [f"GET {path} HTTP/1.1", "Host: standin", *(f"{k}: {v}" for k, v in HEADERS.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    read = b""
    while chunk := connection.recv(65536):
        read += chunk
    return read


def test_a_reset_is_a_reset(openai):
    """Reset sends RST, not an orderly end, and the call is not carried out."""
    openai.fail(Failure(reset=True), times=2)
    with raw(openai) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    with pytest.raises(requests.exceptions.ConnectionError):
        create(openai)
    assert [recorded.status for recorded in openai.requests] == [0, 0]
    assert openai.sessions == {}


def test_a_cut_answer_is_shorter_than_announced(openai):
    """Cut announces the whole Content-Length, sends half of it and closes."""
    openai.fail(Failure(cut=True), times=2)
    with raw(openai) as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    announced = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    assert len(body) == announced // 2 > 0
    with pytest.raises(requests.exceptions.RequestException):
        create(openai)


def test_an_empty_body_can_be_cut_too(openai):
    """A cut with nothing to send still announces something."""
    openai.fail(Failure(cut=True, body=b""))
    with raw(openai) as connection:
        assert b"Content-Length: 1\r\n" in read_all(connection)


def test_a_dripping_answer_comes_byte_by_byte(openai):
    """Drip sends single bytes with a pause after each, and they add up to the whole."""
    openai.fail(Failure(body=b'{"a":1}', drip=0.03))
    began = time.monotonic()
    assert create(openai).json() == {"a": 1}
    assert time.monotonic() - began >= 0.18


# --- the server ---


def test_connections_are_kept_alive(openai):
    """Several requests travel over one connection, refused and HEAD ones too."""
    address = urlsplit(openai.url)
    with requests.Session() as session:
        ports = set()
        for number in range(4):
            url = openai.api_base + ("/chatkit/threads" if number % 2 else "/nothing")
            answer = session.request(
                "HEAD" if number > 1 else "GET", url, headers=HEADERS, stream=True, timeout=5
            )
            ports.add(answer.raw.connection.sock.getsockname()[1])
            assert answer.content == b"" if number > 1 else answer.content
    assert len(ports) == 1
    assert address.hostname == "127.0.0.1"


def test_stop_is_quick_and_leaves_nothing_open(clock):
    """stop() ends idle, delayed and dripping connections at once, and frees the port."""
    openai = OpenAIStandIn(clock=clock)
    openai.start()
    before = threading.active_count()
    idle = requests.Session()
    idle.get(openai.api_base + "/chatkit/threads", headers=HEADERS, timeout=5)
    openai.fail(Failure(delay=60))
    openai.fail(Failure(drip=60))
    waiting = [raw(openai), raw(openai)]
    wait_for_requests(openai, 3)
    began = time.monotonic()
    openai.stop()
    assert time.monotonic() - began < 2
    assert threading.active_count() < before
    for connection in waiting:
        with connection:
            read_all(connection)
    idle.close()
    address = urlsplit(openai.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=1)
    openai.stop()
    gc.collect()  # an unclosed socket would warn here, and warnings are errors


def test_start_twice_is_an_error_and_again_after_stop_is_not(openai):
    """One stand-in serves one address at a time; a stopped one can start again."""
    with pytest.raises(RuntimeError):
        openai.start()
    openai.stop()
    openai.start()
    assert create(openai).ok


def test_there_is_no_url_before_start():
    """Asking for an address that does not exist is an error, not a wrong address."""
    with pytest.raises(RuntimeError, match="start"):
        _ = OpenAIStandIn().url


@pytest.mark.parametrize("workflows", ["wf_1", []])
def test_workflows_must_be_a_collection_of_ids(workflows):
    """A bare string would be a collection of letters."""
    with pytest.raises(TypeError):
        OpenAIStandIn(workflows=workflows)


def test_config_points_a_site_at_the_standin(openai):
    """config() names the base URL, the key, the first workflow and the script."""
    assert openai.config() == {
        "CHATKIT_API_BASE": f"{openai.url}/v1",
        "CHATKIT_API_KEY": "sk-standin",
        "CHATKIT_WORKFLOW_ID": "wf_standin",
        "CHATKIT_SCRIPT_URL": f"{openai.url}/deployments/chatkit/chatkit.js",
    }


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"BREW /v1/chatkit/threads HTTP/1.1\r\n\r\n",
        b"POST /v1/chatkit/sessions HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/chatkit/sessions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_broken_http_does_no_harm(openai, request_bytes):
    """A request that is no sound HTTP ends its own connection and nothing else."""
    address = urlsplit(openai.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(request_bytes)
        with contextlib.suppress(ConnectionResetError):
            read = read_all(connection)
            assert b" 4" in read or b" 501 " in read
    assert create(openai).ok


def test_an_error_in_reply_is_shown_and_ends_the_call(capsys):
    """A bug in the site's own reply function is printed, and does not stop the server."""

    def broken(text: str) -> str:
        raise ValueError(f"no reply to {text}")

    with OpenAIStandIn(reply=broken) as openai:
        secret = create(openai).json()["client_secret"]
        with pytest.raises(requests.exceptions.ConnectionError):
            frame(openai, secret, "POST", "/messages", json={"text": "Hi"})
        assert create(openai).ok
    assert "no reply to Hi" in capsys.readouterr().err


@pytest.fixture(scope="module")
def certificate(tmp_path_factory, missing) -> Path:
    """Make a self-signed certificate for 127.0.0.1, with its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        missing("openssl", "apt-get install openssl")
    pem = folder / "both.pem"
    pem.write_text((folder / "cert").read_text() + (folder / "key").read_text())
    return pem


def test_it_serves_tls(certificate):
    """With an SSLContext it speaks HTTPS, resets too, and a silent client blocks nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    openai = OpenAIStandIn()
    openai.start(ssl_context=context)
    address = urlsplit(openai.url)
    try:
        assert openai.url.startswith("https://127.0.0.1:")
        silent = socket.create_connection((address.hostname, address.port), timeout=5)
        with silent, requests.Session() as session:
            session.trust_env = False  # a CA bundle named by the environment would win
            session.verify = str(certificate)
            url = openai.api_base + "/chatkit/sessions"
            for _ in range(2):
                assert session.post(url, json=VALID, headers=HEADERS, timeout=5).ok
            openai.fail(Failure(reset=True))
            with pytest.raises(requests.exceptions.ConnectionError):
                session.post(url, json=VALID, headers=HEADERS, timeout=5)
            assert session.post(url, json=VALID, headers=HEADERS, timeout=5).ok
            began = time.monotonic()
            openai.stop()
            assert time.monotonic() - began < 2
    finally:
        openai.stop()


# --- the frame's calls ---


def test_a_message_makes_a_thread_with_an_answer(openai):
    """A message without a thread makes one, titled by its first 40 characters."""
    secret = create(openai).json()["client_secret"]
    text = "Where is my order, please? It was due last Monday."
    answer = frame(openai, secret, "POST", "/messages", json={"thread_id": None, "text": text})
    thread, (said, replied) = answer.json()["thread"], answer.json()["items"]
    assert openai.threads == {thread["id"]: thread}
    assert (thread["user"], thread["title"]) == ("ada", text[:40])
    assert openai.items(thread["id"]) == [said, replied]
    assert said["content"] == [{"type": "input_text", "text": text}]
    assert (said["type"], replied["type"]) == ("chatkit.user_message", "chatkit.assistant_message")
    assert text in replied["content"][0]["text"]
    body = {"thread_id": thread["id"], "text": "Hello?"}
    again = frame(openai, secret, "POST", "/messages", json=body).json()
    assert again["thread"] == thread
    assert len(openai.items(thread["id"])) == 4
    assert [recorded.path for recorded in openai.requests] == ["/v1/chatkit/sessions"]


def test_the_reply_is_the_sites_to_choose():
    """`reply` makes the assistant's text; titling can be switched off."""
    with OpenAIStandIn(reply=str.upper) as openai:
        off = {"automatic_thread_titling": {"enabled": False}}
        secret = create(openai, chatkit_configuration=off).json()["client_secret"]
        answer = frame(openai, secret, "POST", "/messages", json={"text": "hi"}).json()
        assert answer["items"][1]["content"][0]["text"] == "HI"
        assert answer["thread"]["title"] is None


def test_a_dead_secret_is_refused(openai, clock):
    """Unknown, cancelled and expired secrets answer 401 session_expired, on every frame call."""
    cancelled, expired, old = (create(openai).json() for _ in range(3))
    call(openai, "POST", f"/chatkit/sessions/{cancelled['id']}/cancel")
    openai.expire(expired["id"])
    clock.now += 600
    for secret in ["ek_x", "sk-standin", *(s["client_secret"] for s in (cancelled, expired, old))]:
        for method, path in [
            ("POST", "/messages"),
            ("GET", "/threads"),
            ("GET", "/threads/cthr_1/items"),
            ("DELETE", "/threads/cthr_1"),
        ]:
            answer = frame(openai, secret, method, path)
            assert (answer.status_code, error(answer)["code"]) == (401, "session_expired")
    assert call(openai, "GET", "/chatkit/_frame/threads", headers={}).status_code == 401


def test_a_session_has_its_quota_of_messages(openai, clock):
    """Messages over max_requests_per_1_minute answer 429 until the minute is over."""
    limits = {"max_requests_per_1_minute": 2}
    secret = create(openai, rate_limits=limits).json()["client_secret"]

    def send() -> requests.Response:
        return frame(openai, secret, "POST", "/messages", json={"text": "Hi"})

    assert send().ok
    clock.now += 20
    assert send().ok
    refused = send()
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "40")
    assert error(refused)["code"] == "rate_limit_exceeded"
    assert frame(openai, secret, "GET", "/threads").ok
    clock.now += 40
    assert send().ok
    assert send().status_code == 429


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "text"),
        ({"text": ""}, 400, "text"),
        ({"text": 1}, 400, "text"),
        ({"text": "Hi", "user": "bob"}, 400, "user"),
        ({"text": "Hi", "thread_id": 1}, 400, "thread_id"),
        ({"text": "Hi", "thread_id": "cthr_none"}, 404, None),
    ],
)
def test_a_wrong_message_is_refused(openai, body, status, param):
    """The frame's body is checked like any other."""
    secret = create(openai).json()["client_secret"]
    answer = frame(openai, secret, "POST", "/messages", json=body)
    assert (answer.status_code, error(answer)["param"]) == (status, param)
    assert openai.threads == {}


def test_the_version_latest_breaks_at_the_first_message(openai):
    """`latest` is accepted by create and refused by the first message, as in the real API."""
    created = create(openai, workflow={"id": "wf_standin", "version": "latest"})
    secret = created.json()["client_secret"]
    assert frame(openai, secret, "POST", "/messages", json={"text": "Hi"}).status_code == 404


def test_a_visitor_sees_only_their_own_threads(openai):
    """Another user's thread is not found, by any call of the frame."""
    mine, other = openai.add_thread("ada"), openai.add_thread("bob")
    secret = create(openai).json()["client_secret"]
    assert ids(frame(openai, secret, "GET", "/threads")) == [mine]
    body = {"thread_id": other, "text": "Hi"}
    for answer in (
        frame(openai, secret, "GET", f"/threads/{other}/items"),
        frame(openai, secret, "DELETE", f"/threads/{other}"),
        frame(openai, secret, "POST", "/messages", json=body),
    ):
        assert answer.status_code == 404
    assert frame(openai, secret, "GET", f"/threads/{mine}/items").json()["data"] == []
    assert frame(openai, secret, "DELETE", f"/threads/{mine}").json()["deleted"] is True
    assert list(openai.threads) == [other]


def test_history_can_be_off_or_short(openai):
    """Without history no threads are listed; recent_threads lists that many of the newest."""
    _, b, c = (openai.add_thread("ada") for _ in range(3))
    for history, expected in [({"enabled": False}, []), ({"recent_threads": 2}, [c, b])]:
        created = create(openai, chatkit_configuration={"history": history})
        secret = created.json()["client_secret"]
        assert ids(frame(openai, secret, "GET", "/threads")) == expected


def test_a_locked_thread_takes_no_messages(openai):
    """A message into a locked thread answers 400 and stores nothing."""
    thread = openai.add_thread("ada", status="closed")
    secret = create(openai).json()["client_secret"]
    body = {"thread_id": thread, "text": "Hi"}
    answer = frame(openai, secret, "POST", "/messages", json=body)
    assert (answer.status_code, error(answer)["code"]) == (400, "thread_not_active")
    assert openai.items(thread) == []


def test_failures_of_the_frame_are_asked_for_by_path(openai):
    """A failure without a path leaves the frame alone; one with the frame's path hits it."""
    secret = create(openai).json()["client_secret"]
    openai.fail(Failure.outage())
    openai.fail(Failure.rate_limit(), path="/chatkit/_frame/messages")
    assert frame(openai, secret, "GET", "/threads").ok
    assert frame(openai, secret, "POST", "/messages", json={"text": "Hi"}).status_code == 429
    assert create(openai).status_code == 500


# --- the browser's files ---


@pytest.fixture
def element(tmp_path, monkeypatch) -> Path:
    """Put known files in the place of the browser stand-in's."""
    folder = tmp_path / "element"
    folder.mkdir()
    for name in ("chatkit.js", "frame.html", "frame.js", "frame.css", "notes.txt"):
        (folder / name).write_text(f"/* {name} */")
    (tmp_path / "outside.js").write_text("outside")
    monkeypatch.setattr(standin, "_ELEMENT", folder)
    return folder


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("chatkit.js", "text/javascript; charset=utf-8"),
        ("frame.js", "text/javascript; charset=utf-8"),
        ("frame.html", "text/html; charset=utf-8"),
        ("frame.css", "text/css; charset=utf-8"),
    ],
)
def test_the_element_is_served(openai, element, name, content_type):
    """The browser stand-in's files come with their types, uncached and readable from anywhere."""
    answer = requests.get(f"{openai.url}/deployments/chatkit/{name}", timeout=5)
    assert answer.text == f"/* {name} */"
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert openai.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/favicon.ico",
        "/deployments/chatkit/",
        "/deployments/chatkit/none.js",
        "/deployments/chatkit/notes.txt",
        "/deployments/chatkit/../outside.js",
        "/deployments/chatkit/..%2Foutside.js",
        "/deployments/chatkit/%2e%2e",
        "/deployments/chatkit/x/chatkit.js",
        "/chatkit.js",
    ],
)
def test_other_files_are_not_found(openai, element, path):
    """Nothing but the element's own files is served, and nothing outside of its folder."""
    with raw(openai, path) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_files_are_read_only(openai, element):
    """Only GET and HEAD make sense for a file."""
    answer = requests.post(openai.script_url, timeout=5)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert requests.head(openai.script_url, timeout=5).headers["Content-Length"] == "16"


def test_it_can_be_mounted_in_another_app(element):
    """As a WSGI app under a prefix it serves the files and the calls beside each other."""
    openai = OpenAIStandIn()
    client = Client(DispatcherMiddleware(Response("site"), {"/standin": openai.wsgi_app}))
    assert client.get("/").text == "site"
    assert client.get("/standin/deployments/chatkit/frame.html").status_code == 200
    created = client.post("/standin/v1/chatkit/sessions", json=VALID, headers=HEADERS)
    bearer = {"Authorization": f"Bearer {created.json['client_secret']}"}
    path = "/standin/v1/chatkit/_frame/messages"
    assert client.post(path, json={"text": "Hi"}, headers=bearer).status_code == 200
    assert [recorded.path for recorded in openai.requests] == ["/v1/chatkit/sessions"]
    openai.fail(Failure(reset=True))
    with pytest.raises(ConnectionResetError):
        client.get("/standin/v1/chatkit/threads")


# --- the fixture ---


def test_the_fixture_is_a_running_standin(openai_standin):
    """`openai_standin` answers, with the values that config() gives a site."""
    assert create(openai_standin).ok


def test_the_fixture_is_new_for_each_test(openai_standin):
    """Nothing of an earlier test is left in it."""
    assert (openai_standin.requests, openai_standin.sessions) == ([], {})


def test_threads_of_any_age_and_pictures(openai_standin: OpenAIStandIn) -> None:
    """A thread has the time and reason that it is given, and a picture is served without a key."""
    thread = openai_standin.add_thread(
        "user:ann", status="closed", reason="Solved", created_at=1_700_000_000
    )
    item = openai_standin.add_item(thread, user_message("more"))
    assert openai_standin.threads[thread]["created_at"] == 1_700_000_000
    assert openai_standin.threads[thread]["status"] == {"type": "closed", "reason": "Solved"}
    assert openai_standin.items(thread)[0]["id"] == item
    url = openai_standin.add_preview(b"png")
    got = requests.get(url, timeout=5)
    assert (got.status_code, got.content) == (200, b"png")
    assert got.headers["Content-Type"] == "image/png"
    key = {"Authorization": "Bearer sk-standin"}
    assert requests.get(url, headers=key, timeout=5).status_code == 400
