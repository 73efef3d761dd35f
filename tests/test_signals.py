"""Signals and refusals: what is sent, logged and counted once, and what a receiver can't break."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import agents
import pytest
from flask import Flask, abort, current_app, redirect
from openai import AsyncOpenAI

from flask_chatkit import ChatKit, RateLimited, signals
from flask_chatkit.activity import OUTCOMES, REASONS
from flask_chatkit.server.protocol import dispatcher, streams
from flask_chatkit.server.streaming import loop, stream
from flask_chatkit.testing import Failure, OpenAIStandIn
from tests.helpers.model_api import KEY, Fail, Say, serve_model
from tests.helpers.paths import DOCS
from tests.helpers.served import PNG, STORY, Client, Shop, of_type, said, until, visit
from tests.helpers.sites import Browser, MakeApp

WORDS = "what nobody else may read"


class Seen:
    """The signals of one application, and the records of its refusals."""

    def __init__(self, app: Flask, caplog: pytest.LogCaptureFixture, stack: ExitStack) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self._caplog = caplog
        for name, signal in signals.SIGNALS.items():
            stack.enter_context(signal.connected_to(self._receiver(name), app))

    def _receiver(self, name: str) -> Callable[..., None]:
        def receive(sender: Flask, **values: Any) -> None:
            assert current_app == sender
            self.sent.append((name, values))

        return receive

    def of(self, name: str) -> list[dict[str, Any]]:
        """What was sent of one signal, once all has been delivered."""
        assert signals.wait_delivered()
        return [values for sent, values in self.sent if sent == name]

    @property
    def records(self) -> list[Any]:
        """The log records that can be counted."""
        return [record for record in self._caplog.records if hasattr(record, "chatkit_reason")]


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[Flask], Seen]]:
    """Listen to all signals of an application, and to its log."""
    caplog.set_level(logging.INFO, "flask_chatkit")
    with ExitStack() as stack:
        yield lambda app: Seen(app, caplog, stack)


@pytest.fixture
def site(make_app: MakeApp, tmp_path: Path) -> Callable[..., Flask]:
    """Make sites with one served chat; keywords are its options, `config` the site's."""

    def make(kit: ChatKit | None = None, config: Any = None, **options: Any) -> Flask:
        kit = kit or ChatKit()
        kit.add_server("default", Shop, **options)
        kit.add_hosted("sales", "wf_standin")
        quiet = dict.fromkeys(
            ("CHATKIT_RATELIMIT", "CHATKIT_RATELIMIT_IP", "CHATKIT_MESSAGE_RATELIMIT"), ""
        )
        history = f"sqlite:///{tmp_path}/x.sqlite3"
        files = {"CHATKIT_DATABASE_URI": history, "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "up")}
        more = {"CHATKIT_LEAVE_SECONDS": 0, **(config or {})}
        return make_app(kit, **{**quiet, **files, **more})

    return make


# --- every reason, provoked -----------------------------------------------------------------------


def guarded(answer: Callable[[], Any]) -> ChatKit:
    """A kit with a guard of the site's, which comes after the visitor has minted."""
    kit = ChatKit()
    guards: list[bool] = []

    @kit.before_request
    def guard() -> Any:
        guards.append(True)
        return answer() if len(guards) > 1 else None

    return kit


class Slow:
    """An answer that is under way until it is closed."""

    def __init__(self, ann: Client, number: int = 0) -> None:
        body = {"type": "threads.create", "params": {"input": said(f"slow {number}")}}
        self.response = ann.send(body, stream=True)
        self._chunks = self.response.iter_content(1)
        next(self._chunks)

    def rest(self) -> bytes:
        """What is said until it ends."""
        return b"".join(self._chunks)

    def close(self) -> None:
        """Stop it, as a visitor does."""
        self.response.close()


def busy(ann: Client) -> None:
    answers = [Slow(ann, number) for number in range(streams.AT_A_TIME)]
    ann.post("threads.create", input=said(WORDS))
    for answer in answers:
        answer.close()


def duplicate(ann: Client) -> None:
    answer = Slow(ann)
    ann.post("threads.create", input=said("slow 0"))
    answer.close()


def after(word: str) -> Callable[[Client], Any]:
    """Say a word that changes the thread, and then something more in it."""

    def act(ann: Client) -> None:
        ann.add(ann.create(word), WORDS)

    return act


def missing_file(ann: Client) -> None:
    made = ann.ask("attachments.create", name="dot.png", mime_type="image/png", size=len(PNG))
    ann.post("threads.create", input=said(WORDS, attachments=[made["id"]]))


def many_files(ann: Client) -> None:
    ids = [ann.upload().json()["id"] for _ in range(2)]
    ann.post("threads.create", input=said(WORDS, attachments=ids))


def no_answer_awaited(ann: Client) -> None:
    thread = ann.create("hello")
    ann.post("threads.add_client_tool_output", thread_id=thread, result={})


def say(ann: Client) -> None:
    ann.post("threads.create", input=said(WORDS))


def mint(ann: Client) -> None:
    ann.browser.post("/chatkit/secret")


def again(ann: Client) -> None:
    say(ann)
    ann.post("threads.create", input=said("and more"))


FILES = {"attachments": True}
ONE = {"config": {"CHATKIT_MESSAGE_RATELIMIT": "1/minute"}}
MINTS = {"config": {"CHATKIT_RATELIMIT": "1/minute"}}
MINTS_OF_ALL = {"config": {"CHATKIT_RATELIMIT_IP": "1/minute"}}

#: Reason, status, limit, the site's options, and what the visitor does.
REFUSALS: list[tuple[str, int, str | None, dict[str, Any], Callable[[Client], Any]]] = [
    ("bad_request", 400, None, {}, lambda ann: ann.send([WORDS])),
    ("bad_request", 405, None, {}, lambda ann: ann.browser.put("/chatkit/secret")),
    ("busy", 200, "4 answers at a time", {}, busy),
    ("chat_closed", 200, None, {}, after("close")),
    ("chat_locked", 200, None, {}, after("lock")),
    ("declined", 200, None, {}, lambda ann: ann.create("readable")),
    ("duplicate", 200, None, {}, duplicate),
    (
        "file_refused",
        400,
        None,
        {"attachments": {"accept": {"text/plain": [".txt"]}}},
        lambda ann: ann.upload(),
    ),
    ("file_refused", 400, None, FILES, lambda ann: ann.upload(b"")),
    ("file_missing", 200, None, {"attachments": {"upload": "two_phase"}}, missing_file),
    (
        "file_too_large",
        413,
        "64 bytes",
        {"attachments": {"max_size": 64}},
        lambda ann: ann.upload(PNG + b"0" * 100),
    ),
    ("forbidden", 403, None, {"guard": lambda: abort(403)}, say),
    ("forbidden", 403, None, {"guard": lambda: ({"mine": True}, 403)}, say),
    (
        "forbidden_origin",
        403,
        None,
        {},
        lambda ann: ann.post("threads.list", headers={"Sec-Fetch-Site": "cross-site"}),
    ),
    (
        "no_dictation",
        400,
        None,
        {"silent": True},
        lambda ann: ann.post("input.transcribe", audio_base64="UklGRg==", mime_type="audio/wav"),
    ),
    ("no_files", 404, None, {}, lambda ann: ann.upload()),
    (
        "no_files",
        200,
        None,
        {},
        lambda ann: ann.post("threads.create", input=said(WORDS, attachments=["a"])),
    ),
    ("not_found", 404, None, {}, lambda ann: ann.post("threads.get_by_id", thread_id="thr_0")),
    ("not_found", 404, None, {}, lambda ann: ann.browser.get("/chatkit/session/x/validate")),
    ("other", 451, None, {"guard": lambda: abort(451)}, say),
    ("rate_limited", 200, "1 per 1 minute per address", ONE, again),
    ("rate_limited", 429, "1 per 1 minute per visitor", MINTS, mint),
    ("rate_limited", 429, "1 per 1 minute per address", MINTS_OF_ALL, mint),
    (
        "rate_limited",
        429,
        "2 per 1 day per kit",
        {"config": {"CHATKIT_RATELIMIT_GLOBAL": "2/day"}},
        lambda ann: [ann.browser.post("/chatkit/secret") for _ in range(2)],
    ),
    ("session_ended", 401, None, {}, lambda ann: (ann.browser.cookies.clear(), say(ann))),
    (
        "too_large",
        413,
        "4096 bytes",
        {},
        lambda ann: ann.browser.post("/chatkit/secret", json={"a": "x" * 5000}),
    ),
    ("too_long", 200, "9 characters", {"max_message_length": 9}, say),
    ("too_many_files", 200, "1 files", {"attachments": {"max_count": 1}}, many_files),
    ("unauthenticated", 401, None, {"guard": lambda: redirect("/login")}, say),
    ("unauthenticated", 401, None, {"guard": lambda: abort(401)}, say),
    ("wrong_state", 400, None, {}, no_answer_awaited),
]


def test_every_reason_is_provoked_here() -> None:
    """The table below knows each reason that there is, and no other."""
    assert {refusal[0] for refusal in REFUSALS} == set(REASONS)


@pytest.mark.parametrize(
    ("reason", "status", "limit", "options", "act"),
    REFUSALS,
    ids=[f"{refusal[0]}-{refusal[1]}-{number}" for number, refusal in enumerate(REFUSALS)],
)
def test_refusals(
    browse: Any,
    site: Any,
    watch: Any,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
    status: int,
    limit: str | None,
    options: dict[str, Any],
    act: Callable[[Client], Any],
) -> None:
    """Whatever is refused over HTTP is one log record and one signal, with the same reason."""
    if reason == "duplicate":
        monkeypatch.setattr(stream, "MAX_REPLAY_BYTES", 0)
    options = dict(options)
    kit = guarded(options.pop("guard")) if "guard" in options else None
    if options.pop("silent", False):
        monkeypatch.setattr(Shop, "transcribe", Shop.__mro__[1].transcribe)
    app = site(kit, **options)
    seen = watch(app)
    ann = visit(browse(app))
    act(ann)
    (sent,) = seen.of("request_refused")
    (record,) = seen.records
    assert record.levelno == logging.INFO
    assert (sent["reason"], sent["status"], sent["limit"]) == (reason, status, limit)
    assert record.chatkit_reason == reason
    assert record.chatkit_status == status
    assert record.chatkit_limit == limit
    assert record.chatkit_kit == sent["kit"] == "chatkit"
    assert record.chatkit_chat == sent["chat"] == "default"
    digest = sent["visitor"].digest if sent["visitor"] else None
    assert record.chatkit_visitor == digest
    line = logging.Formatter().format(record)
    assert REASONS[reason] in line
    assert WORDS not in line + repr(sent)


def test_refusals_know_their_visitor(browse: Any, site: Any, watch: Any) -> None:
    """Who showed a cookie is named, by a digest in the log; a chat that is none has no name."""
    app = site()
    seen = watch(app)
    ann = visit(browse(app))
    ann.post("threads.get_by_id", thread_id="thr_0")
    browse(app).post("/chatkit/made-up-by-the-browser/secret")
    first, second = seen.of("request_refused")
    (minted,) = seen.of("secret_minted")
    assert first["visitor"].key == minted["visitor"].key
    assert (second["visitor"], second["chat"]) == (None, None)
    assert seen.records[0].chatkit_visitor == minted["visitor"].digest
    assert minted["visitor"].key not in seen.records[0].getMessage()


def test_requests_in_one_application_context(site: Any, watch: Any) -> None:
    """Tests that push an application context have each request's own visitor and refusal."""
    app = site(guarded(lambda: ({"mine": True}, 401)))
    seen = watch(app)
    with app.app_context():
        app.test_client().post("/chatkit/secret", json={})
        for _ in range(2):
            app.test_client().get("/chatkit/config")
    assert [(one["reason"], one["visitor"]) for one in seen.of("request_refused")] == [
        ("unauthenticated", None)
    ] * 2


def test_refusal_after_the_headers(
    browse: Any, site: Any, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found out after a stream was promised is refused once as well, and is no answer."""
    monkeypatch.setattr(dispatcher, "FIRST_SECONDS", 0)
    app = site()
    seen = watch(app)
    ann = visit(browse(app))
    thread = ann.create("close")
    ann.add(thread, WORDS)
    (sent,) = seen.of("request_refused")
    assert (sent["reason"], sent["thread"]) == ("chat_closed", thread)
    assert len(seen.records) == 1
    assert [one["outcome"] for one in seen.of("answer_finished")] == ["finished"]


def test_sites_own_handler_and_limit(browse: Any, site: Any, watch: Any) -> None:
    """What a handler of the site's own answers is told too, by its status."""
    kit = ChatKit()
    kit.register_error_handler(RateLimited, lambda _: ({"mine": True}, 429))
    app = site(kit, config={"CHATKIT_RATELIMIT": "1/minute"})
    seen = watch(app)
    browser = browse(app)
    browser.mint()
    assert browser.post("/chatkit/secret").json() == {"mine": True}
    (sent,) = seen.of("request_refused")
    assert (sent["reason"], sent["status"]) == ("rate_limited", 429)
    assert len(seen.records) == 1


# --- every signal ---------------------------------------------------------------------------------


def everything(app: Flask, browser: Browser, standin: OpenAIStandIn) -> None:
    """Have each signal sent."""
    ann = visit(browser)
    thread = ann.create(WORDS)
    item = of_type(ann.items(thread), "assistant_message")["id"]
    ann.ask("items.feedback", thread_id=thread, item_ids=[item], kind="positive")
    ann.post("threads.get_by_id", thread_id="thr_0")
    standin.fail(Failure(status=401))
    browser.post("/chatkit/sales/secret")
    browser.headers["X-Login"] = "ann"
    ann.threads()


def test_each_signal_has_its_arguments(
    browse: Any, site: Any, watch: Any, openai_standin: OpenAIStandIn
) -> None:
    """All signals are sent, with the arguments that the documentation lists and no others."""
    from flask import request

    kit = ChatKit()
    kit.user_loader(lambda: request.headers.get("X-Login"))
    app = site(kit)
    seen = watch(app)
    everything(app, browse(app), openai_standin)
    table = rows("Signals")
    assert set(table) == set(signals.SIGNALS)
    for name, cells in table.items():
        sent = seen.of(name)
        assert sent, name
        told = re.sub(r"\(.*?\)", "", cells[1].replace("](", "]"))
        documented = set(re.findall(r"`(\w+)`", told))
        assert set(sent[0]) == {"kit", "chat", *documented}, name
        assert WORDS not in repr(sent)


def test_answer_and_message_tell_who_and_where(browse: Any, site: Any, watch: Any) -> None:
    """A message and its answer name the visitor and the thread, also one that is new."""
    app = site(attachments=True)
    seen = watch(app)
    ann = visit(browse(app))
    thread = ann.create("hello")
    file = ann.upload().json()["id"]
    ann.add(thread, "more", attachments=[file], quoted_text="hello")
    item = of_type(ann.items(thread), "user_message")["id"]
    ann.stream("threads.retry_after_item", thread_id=thread, item_id=item)
    (minted,) = seen.of("secret_minted")
    first, second = seen.of("message_received")
    answers = seen.of("answer_finished")
    assert (first["thread"], first["characters"], first["attachments"]) == (thread, 5, 0)
    assert (second["thread"], second["characters"], second["attachments"]) == (thread, 4, 1)
    assert {one["visitor"].key for one in (first, second, *answers)} == {minted["visitor"].key}
    assert [(one["operation"], one["thread"], one["outcome"]) for one in answers] == [
        ("threads.create", thread, "finished"),
        ("threads.add_user_message", thread, "finished"),
        ("threads.retry_after_item", thread, "finished"),
    ]
    assert all(one["seconds"] > 0 and one["usage"] is None for one in answers)
    order = [name for name, _ in seen.sent if name in {"message_received", "answer_finished"}]
    assert order[:4] == ["message_received", "answer_finished"] * 2


def test_same_message_twice_is_one(browse: Any, site: Any, watch: Any) -> None:
    """A browser that sends a message again while it is answered has one message and one answer."""
    app = site()
    seen = watch(app)
    ann = visit(browse(app))
    first, second = Slow(ann), Slow(ann)
    (state,) = app.extensions["chatkit"].values()
    (served,) = state.service._dispatchers.values()
    served.server.open_gate()
    assert b"so far, so good" in first.rest()
    assert b"so far, so good" in second.rest()
    assert len(seen.of("message_received")) == len(seen.of("answer_finished")) == 1


def test_message_after_a_break_is_the_same(browse: Any, site: Any, watch: Any) -> None:
    """A message that is sent again because its answer broke off is answered twice, and is one."""
    app = site()
    seen = watch(app)
    ann = visit(browse(app))
    Slow(ann).close()
    until(lambda: seen.of("answer_finished"))
    again = Slow(ann)
    (state,) = app.extensions["chatkit"].values()
    (served,) = state.service._dispatchers.values()
    served.server.open_gate()
    assert b"so far, so good" in again.rest()
    outcomes = [(one["operation"], one["outcome"]) for one in seen.of("answer_finished")]
    assert outcomes == [("threads.create", "stopped"), ("threads.create", "finished")]
    assert len(seen.of("message_received")) == 1
    assert len({one["thread"] for one in seen.of("answer_finished")}) == 1


def finished(ann: Client) -> None:
    ann.create("hello")


def stopped(ann: Client) -> None:
    Slow(ann).close()


@pytest.mark.parametrize(
    ("outcome", "act"),
    [
        ("finished", finished),
        ("stopped", stopped),
        ("refused", lambda ann: ann.create("late-readable")),
        ("refused", lambda ann: ann.create("readable")),
        ("failed", lambda ann: ann.create("boom")),
        ("failed", lambda ann: ann.create("late-boom")),
        ("timed_out", lambda ann: ann.post("threads.create", input=said("slow"))),
    ],
)
def test_outcomes(browse: Any, site: Any, watch: Any, outcome: str, act: Any) -> None:
    """However an answer ends, the signal comes once and says how."""
    app = site(answer_seconds=1 if outcome == "timed_out" else 30)
    seen = watch(app)
    ann = visit(browse(app))
    act(ann)
    until(lambda: seen.of("answer_finished"))
    (sent,) = seen.of("answer_finished")
    assert sent["outcome"] == outcome
    refusals = [one["reason"] for one in seen.of("request_refused")]
    assert refusals == (["declined"] if outcome == "refused" else [])
    assert STORY not in repr(sent)


ENDING = """
import sys, threading
from flask import Flask
from flask_chatkit import ChatKit
from flask_chatkit.server.streaming import loop
from flask_chatkit.signals import answer_finished

loop.GRACE_SECONDS = 0.1
app = Flask("ending", instance_path=sys.argv[1])
app.config.update(SECRET_KEY="of this test", TESTING=True)
kit = ChatKit()
begun = threading.Event()

@kit.assistant()
async def answer(message, chat):
    import asyncio
    yield "so far"
    begun.set()
    await asyncio.sleep(600)

app.register_blueprint(kit)

@answer_finished.connect
def tell(app, *, outcome, **extra):
    print("outcome", outcome, flush=True)

visitor = app.test_client()
visitor.post("/chatkit/secret", json={})
content = [{"type": "input_text", "text": "hello"}]
words = {"content": content, "attachments": [], "inference_options": {}}
body = {"type": "threads.create", "params": {"input": words}}
stream = visitor.post("/chatkit/api", json=body, buffered=False)
begun.wait(10)
"""


def test_answers_that_the_process_ends(tmp_path: Path) -> None:
    """A process that ends tells of each answer that it cut off, and writes its counts."""
    command = [sys.executable, "-c", ENDING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "outcome interrupted\n", done.stderr
    import sqlite3

    with sqlite3.connect(tmp_path / "chatkit.sqlite3") as db:
        counted = dict(db.execute("SELECT name, count FROM chatkit_counts"))
    assert counted == {"secret": 1, "answer.interrupted": 1}


def test_upstream_failures(
    browse: Any, site: Any, watch: Any, openai_standin: OpenAIStandIn
) -> None:
    """What OpenAI fails to do is a signal, once for a call and its retries, and no refusal."""
    app = site()
    seen = watch(app)
    openai_standin.fail(Failure(status=500))
    assert browse(app).post("/chatkit/sales/secret").status_code == 503
    (sent,) = seen.of("upstream_failed")
    assert (sent["chat"], sent["code"]) == ("sales", "upstream_unavailable")
    assert sent["seconds"] > 0
    assert not seen.records
    assert not seen.of("secret_minted")


def agent_site(make_app: MakeApp, tmp_path: Path, base: str, clients: list[AsyncOpenAI]) -> Flask:
    """A site with an agent, whose model is at an address."""
    agents.set_tracing_disabled(True)

    def coach(_context: Any) -> Any:
        clients.append(AsyncOpenAI(api_key=KEY, base_url=base, max_retries=0))
        model = agents.OpenAIResponsesModel("small", clients[0])
        return agents.Agent(name="Coach", model=model)

    kit = ChatKit()
    kit.add_agent("coach", coach, titles=False)
    return make_app(kit, CHATKIT_DATABASE_URI=f"sqlite:///{tmp_path}/x.sqlite3")


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Fail(500, "no"), "upstream_unavailable"),
        (Fail(429, "slowly"), "upstream_unavailable"),
        (Fail(401, "no such key"), "upstream_rejected"),
        (None, "upstream_unavailable"),
    ],
)
def test_models_that_fail(
    browse: Any, make_app: MakeApp, watch: Any, tmp_path: Path, failure: Fail | None, code: str
) -> None:
    """An agent's model that refuses or is not there is a signal, and its answer has failed."""
    clients: list[AsyncOpenAI] = []
    with serve_model() as api:
        api.replies = [failure] if failure else []
        base = api.base_url if failure else "http://127.0.0.1:9/v1"
        app = agent_site(make_app, tmp_path, base, clients)
        seen = watch(app)
        visit(browse(app), "/chatkit/coach").create(WORDS)
        loop.current().run(clients[0].close, 5)
    (sent,) = seen.of("upstream_failed")
    (minted,) = seen.of("secret_minted")
    assert (sent["chat"], sent["code"], sent["seconds"]) == ("coach", code, None)
    assert sent["visitor"].key == minted["visitor"].key
    assert [one["outcome"] for one in seen.of("answer_finished")] == ["failed"]


def test_tokens_of_an_agent(browse: Any, make_app: MakeApp, watch: Any, tmp_path: Path) -> None:
    """The signal of an agent's answer has the tokens that its model counted."""
    clients: list[AsyncOpenAI] = []
    with serve_model() as api:
        api.replies = [Say(["Hello"])]
        app = agent_site(make_app, tmp_path, api.base_url, clients)
        seen = watch(app)
        visit(browse(app), "/chatkit/coach").create(WORDS)
        loop.current().run(clients[0].close, 5)
    (sent,) = seen.of("answer_finished")
    usage = sent["usage"]
    assert usage.requests == 1
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0


# --- receivers ------------------------------------------------------------------------------------


def test_receivers_that_raise_break_nothing(
    browse: Any, site: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests and answers go on whatever a receiver raises, and the log has it."""
    app = site()

    def fail(_app: Flask, **_values: Any) -> None:
        raise RuntimeError("no metrics today")

    with ExitStack() as stack:
        for signal in signals.SIGNALS.values():
            stack.enter_context(signal.connected_to(fail, app))
        ann = visit(browse(app))
        thread = ann.create("hello")
        assert ann.texts(thread) == ["hello"]
        assert ann.post("threads.get_by_id", thread_id="thr_0").status_code == 404
        assert signals.wait_delivered()
    told = [r.getMessage() for r in caplog.records if "A receiver of the signal" in r.getMessage()]
    assert len(told) == 4


def test_slow_receiver_keeps_no_answer_waiting(browse: Any, site: Any) -> None:
    """Answers are made and sent while a receiver of an earlier one still blocks."""
    app = site()
    gate, entered = threading.Event(), threading.Event()
    outcomes = []

    def block(_app: Flask, *, outcome: str, **_values: Any) -> None:
        entered.set()
        gate.wait(10)
        outcomes.append(outcome)

    with signals.answer_finished.connected_to(block, app):
        ann = visit(browse(app))
        thread = ann.create("one")
        assert entered.wait(5)
        ann.add(thread, "two")
        assert ann.texts(thread) == ["one", "two"]
        assert outcomes == []
        gate.set()
        assert signals.wait_delivered()
    assert outcomes == ["finished", "finished"]


def test_asynchronous_receivers(browse: Any, site: Any) -> None:
    """A receiver may be a coroutine function, in the request and beside the event loop."""
    app = site()
    got = []

    async def receive(sender: Flask, **values: Any) -> None:
        got.append((sender, values["chat"]))

    with (
        signals.secret_minted.connected_to(receive, app),
        signals.answer_finished.connected_to(receive, app),
    ):
        visit(browse(app)).create("hello")
        assert signals.wait_delivered()
    assert got == [(app, "default")] * 2


def test_each_application_has_its_own(browse: Any, site: Any, make_app: MakeApp) -> None:
    """A receiver of one application hears nothing of another one."""
    app, other = site(), make_app()
    got: list[Any] = []

    def receive(sender: Flask, **_values: Any) -> None:
        got.append(sender)

    with signals.secret_minted.connected_to(receive, other):
        browse(app).mint()
        assert got == []
        browse(other).mint()
    assert got == [other]


def test_nobody_listens(browse: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without receivers nothing is sent, and no thread is started for it."""
    calls: list[Any] = []
    monkeypatch.setattr(signals, "_deliver", lambda *args: calls.append(args))
    monkeypatch.setattr(signals._courier, "post", lambda *args: calls.append(args))
    assert not any(signal.receivers for signal in signals.SIGNALS.values())
    ann = visit(browse(site()))
    ann.create("hello")
    assert calls == []


def test_flood_of_signals_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What receivers can't keep up with is dropped and told once, and memory stays bounded."""
    courier = signals._Courier()
    gate, app, got = threading.Event(), Flask("flood"), []
    monkeypatch.setattr(signals, "MAX_WAITING", 3)

    def receive(_app: Flask, *, number: int) -> None:
        gate.wait(10)
        got.append(number)

    with signals.secret_minted.connected_to(receive, app):
        for number in range(20):
            courier.post(signals.secret_minted, app, {"number": number})
        assert not courier.wait(0)
        gate.set()
        assert courier.wait(5)
    assert 3 <= len(got) <= 5
    assert got == sorted(got)
    assert [r.levelname for r in caplog.records if "dropped" in r.getMessage()] == ["ERROR"]


# --- the documentation ----------------------------------------------------------------------------


def section(heading: str) -> str:
    """A section of the documentation, without those below it."""
    return re.split(rf"\n##+ {heading}\n", (DOCS / "operations.md").read_text("utf-8"))[1].split(
        "\n##"
    )[0]


def rows(heading: str) -> dict[str, list[str]]:
    """A table of the documentation: its cells by what the first one names."""
    found = {}
    for line in section(heading).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        name = re.fullmatch(r"`(\w+)`", cells[0])
        if name:
            found[name[1]] = cells
    return found


def test_tables_of_reasons_and_outcomes_are_the_codes() -> None:
    """The documentation has each reason and each outcome, in the code's own words."""
    assert {name: cells[1] for name, cells in rows("Reasons").items()} == dict(REASONS)
    assert {name: cells[1] for name, cells in rows("Outcomes").items()} == dict(OUTCOMES)


def test_snippets_run(
    browse: Any, site: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receivers and the log handler of the documentation work as printed."""
    logger = logging.getLogger("flask_chatkit")
    before, level = list(logger.handlers), logger.level
    app = site()
    caplog.set_level(logging.INFO)
    space: dict[str, Any] = {"app": app, "__name__": "operations"}
    for heading in ("Signals", "Log records"):
        (snippet,) = re.findall(r"```python\n(.*?)```", section(heading), re.DOTALL)
        exec(compile(snippet, "operations.md", "exec"), space)  # noqa: S102
    try:
        ann = visit(browse(app))
        ann.create("hello")
        ann.post("threads.get_by_id", thread_id="thr_0")
        assert signals.wait_delivered()
    finally:
        logger.handlers, logger.level = before, level
        signals.answer_finished.disconnect(space["measure"], app)
        signals.request_refused.disconnect(space["count"], app)
    assert re.search(r"default: finished after \d+\.\d s, 0 tokens", caplog.text)
    assert "refused: not_found (None)" in caplog.text
    assert capsys.readouterr().out == "refused not_found None\n"


def test_records_are_json(browse: Any, site: Any, watch: Any) -> None:
    """What a record has for a program to read is plain values, which JSON can hold."""
    app = site()
    seen = watch(app)
    visit(browse(app)).post("threads.get_by_id", thread_id="thr_0")
    (record,) = seen.records
    extra = {name: value for name, value in vars(record).items() if name.startswith("chatkit_")}
    assert set(extra) == set(re.findall(r"`(chatkit_\w+)`", section("Log records")))
    assert json.loads(json.dumps(extra)) == extra
