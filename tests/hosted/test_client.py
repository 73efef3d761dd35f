"""The client: what it sends, what it accepts, when it tries again, and what it tells the log."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from flask_chatkit.errors import (
    ApiError,
    Misconfigured,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from flask_chatkit.hosted.client import MAX_ANSWER_BYTES, WORKFLOW_ENDED, Client
from flask_chatkit.testing import Failure, OpenAIStandIn

BODY = {"user": "anon:tester", "workflow": {"id": "wf_standin"}}
FULL = {
    "user": "user:1",
    "workflow": {
        "id": "wf_standin",
        "version": "3",
        "state_variables": {"s": "ü", "i": 1, "f": 0.5, "b": True},
        "tracing": {"enabled": False},
    },
    "expires_after": {"anchor": "created_at", "seconds": 60},
    "rate_limits": {"max_requests_per_1_minute": 4},
    "chatkit_configuration": {
        "automatic_thread_titling": {"enabled": False},
        "file_upload": {"enabled": True, "max_file_size": 20, "max_files": 2},
        "history": {"enabled": True, "recent_threads": 5},
    },
}


def client(openai: OpenAIStandIn, **changed: Any) -> Client:
    return Client(
        **{"api_key": "sk-standin", "base": openai.api_base, "timeout": (1.0, 2.0), **changed}
    )


def test_session_is_made(openai_standin: OpenAIStandIn) -> None:
    """The smallest body makes a session that the stand-in knows."""
    session = client(openai_standin).create_session(BODY)
    kept = openai_standin.sessions[session.id]
    assert kept["client_secret"] == session.client_secret
    assert kept["expires_at"] == session.expires_at
    assert session.client_secret not in repr(session)


def test_session_is_cancelled_once_and_for_all(openai_standin: OpenAIStandIn) -> None:
    """Cancelling ends the session upstream, and doing it again is no error."""
    asked = client(openai_standin)
    session = asked.create_session(BODY)
    asked.cancel_session(session.id)
    assert openai_standin.sessions[session.id]["status"] == "cancelled"
    asked.cancel_session(session.id)
    asked.cancel_session("cksess_never")


MEANINGFUL = (
    "authorization",
    "content-type",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "accept",
)


@pytest.mark.parametrize("body", [BODY, FULL])
def test_requests_equal_the_sdks(
    body: dict[str, Any], missing: Callable[[str, str], NoReturn]
) -> None:
    """The same call by our client and by OpenAI's SDK has the same path, body and headers."""
    try:
        from openai import OpenAI
    except ImportError:
        missing("the openai SDK", "pip install 'flask-chatkit[test]'")
    with OpenAIStandIn(organization="org-1", project="proj_1") as standin:
        ours = client(standin, organization="org-1", project="proj_1")
        session = ours.create_session(body)
        ours.cancel_session(session.id)
        with OpenAI(
            api_key="sk-standin",
            base_url=standin.api_base,
            organization="org-1",
            project="proj_1",
            max_retries=0,
        ) as sdk:
            made = sdk.beta.chatkit.sessions.create(**body)
            sdk.beta.chatkit.sessions.cancel(made.id)
        create, cancel, sdk_create, sdk_cancel = standin.requests
    assert (create.method, create.path, create.body) == (
        sdk_create.method,
        sdk_create.path,
        sdk_create.body,
    )
    assert create.body == body
    assert cancel.method == sdk_cancel.method
    assert cancel.path == sdk_cancel.path.replace(made.id, session.id)
    assert cancel.body == sdk_cancel.body
    for name in MEANINGFUL:
        assert create.headers.get(name) == sdk_create.headers.get(name), name
        assert cancel.headers.get(name) == sdk_cancel.headers.get(name), name


def refused(openai: OpenAIStandIn, **changed: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        client(openai, **changed).create_session(BODY)
    return caught.value


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Failure(status=400), UpstreamRejected),
        (Failure(status=401), UpstreamRejected),
        (Failure(status=403), UpstreamRejected),
        (Failure(status=404), UpstreamRejected),
        (Failure(status=410), UpstreamRejected),
        (Failure(status=422), UpstreamRejected),
        (Failure(status=302, headers={"Location": "https://example.com"}), UpstreamRejected),
        (Failure(status=429), UpstreamUnavailable),
        (Failure(status=500), UpstreamUnavailable),
        (Failure(status=502), UpstreamUnavailable),
        (Failure(status=503), UpstreamUnavailable),
        (Failure(status=504), UpstreamUnavailable),
        (Failure(reset=True), UpstreamUnavailable),
        (Failure(cut=True), UpstreamUnavailable),
        (Failure.truncated_json(), UpstreamRejected),
        (Failure.wrong_json(), UpstreamRejected),
        (Failure.html(), UpstreamRejected),
        (Failure.oversized(MAX_ANSWER_BYTES + 1), UpstreamRejected),
        (Failure(status=200, body=b"[]"), UpstreamRejected),
        (Failure(status=200, body=b"[" * 100_000), UpstreamRejected),
        (Failure(status=200, body=b"\xff"), UpstreamRejected),
        (
            Failure(status=200, body=b'{"id":"x","client_secret":"","expires_at":1}'),
            UpstreamRejected,
        ),
        (
            Failure(status=200, body=b'{"id":"x","client_secret":"e","expires_at":true}'),
            UpstreamRejected,
        ),
        (
            Failure(
                status=200,
                body=b'{"id":"x","client_secret":"e","expires_at":9,"status":"expired"}',
            ),
            UpstreamRejected,
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_failures_become_our_errors(
    openai_standin: OpenAIStandIn, failure: Failure, error: type[ApiError]
) -> None:
    """Whatever goes wrong upstream is one of our errors."""
    openai_standin.fail(failure, times=3)
    assert type(refused(openai_standin)) is error


def test_no_answer_is_a_timeout(openai_standin: OpenAIStandIn) -> None:
    """A read timeout is not tried again."""
    openai_standin.fail(Failure(delay=5), times=3)
    begun = time.monotonic()
    assert type(refused(openai_standin, timeout=(0.5, 0.3))) is UpstreamTimeout
    assert time.monotonic() - begun < 2
    assert len(openai_standin.requests) == 1


def test_drip_can_not_outlast_the_deadline(openai_standin: OpenAIStandIn) -> None:
    """An answer that arrives byte by byte ends with the total deadline."""
    openai_standin.fail(Failure(drip=0.05), times=3)
    begun = time.monotonic()
    assert type(refused(openai_standin, timeout=(0.3, 0.4))) is UpstreamTimeout
    assert time.monotonic() - begun < 2


DRIPS = {
    "body, closed": [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 300\r\n\r\n",
        *[b"x"] * 200,
    ],
    "body of HTTP/1.0": [b"HTTP/1.0 200 OK\r\n\r\n", *[b"x"] * 200],
    "status line": [b"H", b"T"],
    "headers": [b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n"] * 200],
    "continue": [b"HTTP/1.1 100 Continue\r\n\r\n"] * 200,
    "chunk extension": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;",
        *[b"x"] * 200,
    ],
    "trailers": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        *[b"X-A: b\r\n"] * 200,
    ],
    "silence": [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"],
}


@pytest.mark.parametrize("parts", DRIPS.values(), ids=DRIPS)
def test_no_drip_can_outlast_the_deadline(parts: list[bytes]) -> None:
    """Whatever part of an answer comes slowly, a call ends shortly after its deadline."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    for part in parts:
                        connection.sendall(part)
                        stop.wait(0.05)
                    stop.wait(3)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    begun = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        Client(api_key="sk", base=base, timeout=(0.3, 0.4)).create_session(BODY)
    assert time.monotonic() - begun < 2
    stop.set()
    listener.close()


def test_nobody_there_is_unavailable() -> None:
    """A refused connection is tried again, and then the service is unavailable."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    with pytest.raises(UpstreamUnavailable) as caught:
        Client(api_key="sk", base=base, timeout=(1, 1)).create_session(BODY)
    assert caught.value.retry_after == 5


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_is_safe_is_tried_again(openai_standin: OpenAIStandIn, status: int) -> None:
    """Two failures that are safe to repeat are followed by the session."""
    openai_standin.fail(Failure(status=status), times=2)
    assert client(openai_standin).create_session(BODY).id in openai_standin.sessions
    assert [request.status for request in openai_standin.requests] == [status, status, 200]


@pytest.mark.parametrize("failure", [Failure(reset=True), Failure(cut=True)])
def test_broken_connection_is_tried_again(openai_standin: OpenAIStandIn, failure: Failure) -> None:
    """A line that breaks, as a kept-alive one does when the other end restarts, costs nothing."""
    openai_standin.fail(failure)
    client(openai_standin).create_session(BODY)
    assert len(openai_standin.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_what_is_final_is_not_tried_again(openai_standin: OpenAIStandIn, status: int) -> None:
    """A refusal for good is asked for once."""
    openai_standin.fail(Failure(status=status))
    refused(openai_standin)
    assert len(openai_standin.requests) == 1


def test_retry_after_is_honoured(openai_standin: OpenAIStandIn) -> None:
    """The next attempt waits as long as OpenAI says."""
    openai_standin.fail(Failure.rate_limit(retry_after=1))
    begun = time.monotonic()
    client(openai_standin).create_session(BODY)
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("40", 40),
        ("7200", 3600),
        ("soon", 5),
        ("-1", 5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
    ],
)
def test_long_wait_is_handed_on(openai_standin: OpenAIStandIn, header: str, told: int) -> None:
    """A wait beyond the deadline is not waited for here; the browser is told how long it is."""
    openai_standin.fail(Failure(status=429, retry_after=header), times=3)
    begun = time.monotonic()
    error = refused(openai_standin)
    assert error.retry_after == told
    assert time.monotonic() - begun < 2


def test_used_up_quota_is_not_tried_again(openai_standin: OpenAIStandIn) -> None:
    """A 429 that no waiting will cure is asked for once."""
    openai_standin.fail(Failure(status=429, code="insufficient_quota"))
    refused(openai_standin)
    assert len(openai_standin.requests) == 1


def test_missing_key_is_told_before_asking(openai_standin: OpenAIStandIn) -> None:
    """Without a key nothing is sent, and the error's detail names the settings."""
    with pytest.raises(Misconfigured) as caught:
        client(openai_standin, api_key=None).create_session(BODY)
    assert "OPENAI_API_KEY" in str(caught.value.detail)
    assert openai_standin.requests == []


def test_log_tells_what_openai_said_without_secrets(
    openai_standin: OpenAIStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has status, request id, type, code and message; keys and line breaks are removed."""
    openai_standin.fail(
        Failure(status=400, code="bad", message="key sk-standin and sk-other_1*** or ek_1\nX: y")
    )
    refused(openai_standin, today=lambda: datetime.date(2026, 11, 29))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert openai_standin.requests[0].request_id in record.message
    assert "code bad" in record.message
    for secret in ("sk-standin", "sk-other", "ek_1", "\n"):
        assert secret not in record.message


@pytest.mark.parametrize(
    "failure",
    [
        Failure(status=200, body=b"{}"),
        Failure.truncated_json(),
        Failure.oversized(MAX_ANSWER_BYTES + 1),
        Failure(cut=True),
        Failure(drip=0.2),
    ],
)
def test_unusable_answers_have_their_id_in_the_log(
    openai_standin: OpenAIStandIn, caplog: pytest.LogCaptureFixture, failure: Failure
) -> None:
    """Whatever is wrong with an answer, OpenAI's request id is in the line that says so."""
    openai_standin.fail(failure, times=3)
    caplog.set_level(logging.ERROR)
    refused(openai_standin, timeout=(0.3, 0.4))
    assert openai_standin.requests[-1].request_id in caplog.text
    assert "None" not in caplog.text


def test_browser_is_told_nothing_of_it(openai_standin: OpenAIStandIn) -> None:
    """What OpenAI said is not in the error's own text."""
    openai_standin.fail(Failure(status=400, message="the whole story"))
    assert "story" not in str(refused(openai_standin))


def test_unknown_workflow_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    """A 404 for a workflow that never ran names the end, and another organisation or project."""
    with OpenAIStandIn(workflows=("wf_other",)) as standin:
        error = refused(standin, today=lambda: datetime.date(2026, 11, 29))
    assert error.reason == WORKFLOW_ENDED
    assert "2026-11-30" in caplog.text
    assert "another organisation or project" in caplog.text


@pytest.mark.parametrize("today", [datetime.date(2026, 11, 1), datetime.date(2026, 12, 1)])
@pytest.mark.parametrize("status", [404, 410])
def test_end_of_workflows_is_explained(
    openai_standin: OpenAIStandIn,
    caplog: pytest.LogCaptureFixture,
    status: Any,
    today: datetime.date,
) -> None:
    """A workflow that ran and is refused has ended, on whatever day; the log names the cure."""
    ours = client(openai_standin, today=lambda: today)
    ours.create_session(BODY)
    openai_standin.end_workflows(status)
    with pytest.raises(UpstreamRejected) as caught:
        ours.create_session(BODY)
    assert caught.value.reason == WORKFLOW_ENDED
    assert "2026-11-30" in caplog.text
    assert "CHATKIT_SERVER" in caplog.text
    assert "key" not in caplog.text
    assert "organisation" not in caplog.text


@pytest.mark.parametrize(
    ("status", "today", "ended"),
    [
        (403, datetime.date(2026, 12, 1), True),
        (400, datetime.date(2026, 12, 1), True),
        (401, datetime.date(2026, 12, 1), False),
        (403, datetime.date(2026, 11, 29), False),
        (400, datetime.date(2026, 11, 29), False),
    ],
)
def test_other_refusals_after_the_end(
    openai_standin: OpenAIStandIn,
    caplog: pytest.LogCaptureFixture,
    status: int,
    today: datetime.date,
    ended: bool,
) -> None:
    """Once the day has come a refusal that is not about the key means the end as well."""
    openai_standin.fail(Failure(status=status))
    error = refused(openai_standin, today=lambda: today)
    assert (error.reason == WORKFLOW_ENDED) is ended
    assert ("hosted workflows end" in caplog.text) is ended


def test_refused_key_is_explained(
    openai_standin: OpenAIStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """A 401 names the setting to look at, and not the key."""
    refused(openai_standin, api_key="sk-wrong-but-secret")
    assert "CHATKIT_API_KEY" in caplog.text
    assert "sk-wrong-but-secret" not in caplog.text


def test_request_id_of_a_success_is_in_the_debug_log(
    openai_standin: OpenAIStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """Also an answered call can be found in OpenAI's logs."""
    with caplog.at_level(logging.DEBUG, "flask_chatkit"):
        client(openai_standin).create_session(BODY)
    assert openai_standin.requests[0].request_id in caplog.text


def test_connection_is_reused_and_cookies_are_not(openai_standin: OpenAIStandIn) -> None:
    """Mints share a pooled connection, and a cookie of OpenAI's edge goes nowhere."""
    asked = client(openai_standin)
    body = json.dumps(
        {"id": "cksess_1", "client_secret": "ek_1", "expires_at": 2_000_000_000}
    ).encode()
    openai_standin.fail(
        Failure(
            status=200,
            body=body,
            content_type="application/json",
            headers={"Set-Cookie": "__cf_bm=visitor-one; Path=/"},
        )
    )
    for _ in range(3):
        asked.create_session(BODY)
    assert not any("Cookie" in request.headers for request in openai_standin.requests)
    (pool,) = asked._transport._pools.values()
    manager = pool.get_adapter(openai_standin.api_base).poolmanager
    connections = [manager.pools.get(key).num_connections for key in manager.pools.keys()]  # noqa: SIM118  no dict
    assert connections == [1]


def test_netrc_does_not_replace_the_key(
    openai_standin: OpenAIStandIn, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A netrc entry for the host, which requests obeys by default, is not used."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    client(openai_standin).create_session(BODY)


def test_pool_is_made_anew_after_a_fork(openai_standin: OpenAIStandIn) -> None:
    """A forked process opens connections of its own, and the parent's goes on."""
    asked = client(openai_standin)
    asked.create_session(BODY)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child's lines are not measured
        try:
            asked.create_session(BODY)
            os.write(write, str(len(asked._transport._pools)).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    assert os.read(read, 10) == b"2"
    os.close(read)
    asked.create_session(BODY)
    assert len(asked._transport._pools) == 1
    assert len(openai_standin.sessions) == 3


def test_threads_share_one_pool(openai_standin: OpenAIStandIn) -> None:
    """Threads that begin at once end up with one pool."""
    asked = client(openai_standin)
    threads = [threading.Thread(target=lambda: asked.create_session(BODY)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(openai_standin.sessions) == 16
    assert len(asked._transport._pools) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example/x.png",
        "file:///etc/passwd",
        "https://user@files.example/x.png",
        "https://[broken",
        "",
    ],
)
def test_links_of_other_kinds_are_not_followed(openai_standin: OpenAIStandIn, url: str) -> None:
    """A file is fetched from https addresses, or from where the API is, and from nowhere else."""
    with pytest.raises(UpstreamRejected):
        client(openai_standin).download(url, 1000)


@pytest.mark.parametrize("name", ["files.example", "127.0.0.1"])
def test_links_into_the_sites_network_are_not_followed(
    openai_standin: OpenAIStandIn, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A link is sent nothing where its name leads to an address that is none of the internet."""
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host == "files.example" else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(2)
                    heard.append(connection.recv(4096))

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        url = f"https://{name}:{server.getsockname()[1]}/secret"
        with pytest.raises(UpstreamUnavailable):
            client(openai_standin, timeout=(1.0, 1.0)).download(url, 1000)
        listener.join(5)
    assert heard == [b""]
