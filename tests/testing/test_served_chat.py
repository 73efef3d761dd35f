"""A visitor of a served chat in a test: what they say, see, click, and may not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chatkit.server import ChatKitServer
from chatkit.types import AssistantMessageContent, AssistantMessageItem, ThreadItemDoneEvent
from flask import Blueprint, Flask, abort, g, redirect, request, session
from flask_login import FlaskLoginClient, LoginManager, UserMixin, current_user
from flask_wtf import CSRFProtect
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_chatkit import ChatKit
from flask_chatkit.testing import (
    AnswerError,
    CallRefusedError,
    OpenAIStandIn,
    ServedChat,
    widget_texts,
)
from tests.helpers.served import PNG, now

CARD = {
    "type": "Card",
    "children": [
        {"type": "Title", "value": "Order 1042"},
        {
            "type": "Button",
            "label": "Return it",
            "onClickAction": {"type": "return", "payload": {"order": "1042"}},
        },
        {
            "type": "Button",
            "label": "Count",
            "onClickAction": {"type": "count", "payload": {"order": "1042"}, "streaming": False},
        },
        {"type": "Button", "label": "Off", "disabled": True, "onClickAction": {"type": "count"}},
        {
            "type": "Button",
            "label": "In the page",
            "onClickAction": {"type": "show", "handler": "client"},
        },
        {
            "type": "Form",
            "onSubmitAction": {"type": "mail", "payload": {"order": "1042"}},
            "children": [
                {"type": "Input", "name": "address", "placeholder": "Where to?"},
                {"type": "Button", "label": "Send", "submit": True},
            ],
        },
    ],
    "confirm": {"label": "Yes", "action": {"type": "return", "payload": {"order": "all"}}},
}


def speak(message: Any, chat: Any) -> Iterator[Any]:
    """Do what the first word of a message says, or answer what the page has."""
    if message.tool_result is not None:
        yield f"The page says {message.tool_result.output}"
    elif message.answers:
        yield f"You chose {message.answers}"
    else:
        yield from ANSWERS.get(message.text.partition(" ")[0], greet)(message, chat)


def greet(message: Any, chat: Any) -> Iterator[Any]:
    """Say everything that was heard, in two pieces, with all that can come beside it."""
    chat.progress("Looking…")
    chat.notice("info", "We are new here")
    chat.effect("confetti", {"count": 3})
    files = [(file.name, file.mime_type, file.read()) for file in message.attachments]
    yield f"Hello {chat.visitor.user_id or 'stranger'}, "
    yield f"you said {message.text!r}, {message.quoted_text}, {message.model}, {files}"


def fail(message: Any, chat: Any) -> Iterator[Any]:
    """Fail in the middle."""
    yield "Half of it"
    raise LookupError("the shop's own mistake")


def close(message: Any, chat: Any) -> Iterator[Any]:
    """Fail in words."""
    raise chat.error("We are closed.")


def linger(message: Any, chat: Any) -> Iterator[Any]:
    """Take a while."""
    yield "once upon "
    slow.wait(5)
    yield "a time"


def ask(message: Any, chat: Any) -> Iterator[Any]:
    """Ask with a form."""
    question = {"question": "Colour?", "id": "colour", "options": ["red", "blue"]}
    yield chat.ask(["Which size?", {**question, "multiple": True}])


ANSWERS: dict[str, Callable[[Any, Any], Iterator[Any]]] = {
    "card": lambda _message, _chat: iter([CARD]),
    "boom": fail,
    "closed": close,
    "show": lambda _message, chat: iter([chat.client_tool("show", {"slug": "larch"})]),
    "ask": ask,
    "slow": linger,
}


def send_back(payload: Any, chat: Any) -> str:
    """Take an order back, and show so in the card."""
    chat.replace({"type": "Card", "children": [{"type": "Text", "value": "Returned"}]})
    return f"Order {payload['order']} comes back"


def count(payload: Any, chat: Any) -> dict[str, Any]:
    """Return another card."""
    return {"type": "Card", "children": [{"type": "Text", "value": f"One of {payload}"}]}


def signed_in() -> str | None:
    """Who has signed in by the shop's form."""
    name: str | None = session.get("name")
    return name


def shop_kit(name: str = "chatkit", who: Any = signed_in, **options: Any) -> ChatKit:
    """A kit with everything that a visitor can do."""
    kit = ChatKit(name, **options)
    models = [{"id": "big", "label": "Big"}]
    kit.assistant(attachments=True, widget={"models": models})(speak)
    kit.action("return")(send_back)
    kit.action("count")(count)
    kit.action("mail", from_page=True)(
        lambda payload, _: f"Sent {payload['order']} to {payload['address']}"
    )
    kit.feedback()(lambda kind, items, _: seen.append((kind, [item.type for item in items])))
    kit.transcriber()(lambda audio, _: f"{len(audio.data)} bytes of {audio.mime_type}")
    kit.user_loader(who)
    return kit


#: Lets the slow answer go on; what the site was told.
slow = threading.Event()
seen: list[Any] = []


@pytest.fixture
def make_site(tmp_path: Path) -> Callable[..., Flask]:
    """Make shops with a login, and a kit that is registered as it is told."""
    slow.clear()
    seen.clear()

    def make(kit: ChatKit | None = None, **config: Any) -> Flask:
        app = Flask("shop", instance_path=str(tmp_path))
        app.config.update(SECRET_KEY="of the tests", TESTING=True)
        app.config.update(CHATKIT_DATABASE_URI="sqlite://", CHATKIT_MESSAGE_RATELIMIT="")
        app.config.update(config)
        if kit is not None:
            app.register_blueprint(kit)

        @app.post("/login")
        def login() -> Any:
            if request.form["password"] != "hunter2":
                abort(403)
            session["name"] = request.form["name"]
            return redirect("/")

        return app

    return make


@pytest.fixture
def app(make_site: Any) -> Flask:
    """Make the shop."""
    made: Flask = make_site(shop_kit())
    return made


@pytest.fixture
def chat(app: Flask) -> ServedChat:
    """Visit the shop."""
    return ServedChat(app)


# --- what is answered -----------------------------------------------------------------------------


def test_answer_has_what_the_visitor_sees(chat: ServedChat) -> None:
    """Text, pieces, items, progress, notices, effects, title and the stored message are there."""
    answer = chat.say("hi", quoted="earlier", model="big")
    assert answer.text == "Hello stranger, you said 'hi', earlier, big, []"
    assert answer.deltas[0] == "Hello stranger, "
    assert "".join(answer.deltas) == answer.text
    assert [item.type for item in answer.items] == ["assistant_message"]
    assert answer.events[0].type == "thread.created"
    assert answer.progress == ["Looking…"]
    assert [(one.level, one.message) for one in answer.notices] == [("info", "We are new here")]
    assert [(one.name, one.data) for one in answer.effects] == [("confetti", {"count": 3})]
    assert answer.message is not None
    assert answer.message.quoted_text == "earlier"
    assert answer.title == "hi"
    assert (answer.error, answer.stopped, answer.widgets, answer.client_tools) == (
        None,
        False,
        [],
        [],
    )


def test_thread_goes_on(chat: ServedChat) -> None:
    """The next message is in the same thread, even if it says the same, until a new one begins."""
    for _ in range(3):
        assert "you said 'again'" in chat.say("again").text
    first = chat.thread_id
    kinds = [item.type for item in chat.items()]
    assert kinds == ["user_message", "assistant_message"] * 3
    chat.new_thread()
    assert chat.say("again").title == "again"
    assert chat.thread_id != first
    assert [thread.id for thread in chat.threads()] == [chat.thread_id, first]


def test_tags_and_long_threads(chat: ServedChat) -> None:
    """A tag follows the text, and a thread of more than one page is read whole."""
    tag = {"id": "p1", "text": "Larch", "data": {"price": "3"}}
    assert "you said 'I like @Larch'" in chat.say("I like ", tags=[tag]).text
    for number in range(51):
        chat.say(str(number))
    assert len(chat.items()) == 104


def test_files(chat: ServedChat, tmp_path: Path) -> None:
    """Files are sent as bytes with a name, as a path, or by the id of one that was uploaded."""
    (tmp_path / "note.txt").write_text("a note")
    uploaded = chat.upload(("dot.png", PNG, "image/png"))
    text = chat.say(files=[tmp_path / "note.txt", uploaded, ("b.csv", b"1,2")]).text
    assert "('note.txt', 'text/plain', b'a note')" in text
    assert "('dot.png', 'image/png', b'\\x89PNG" in text
    assert "('b.csv', 'text/csv', b'1,2')" in text
    with pytest.raises(TypeError, match="a Path or"):
        chat.upload("note.txt")


def test_files_in_two_phases(make_site: Any) -> None:
    """A chat with two-phase uploads gets them so, and one without attachments gets none."""
    kit = ChatKit()
    names: list[Any] = []

    @kit.assistant(attachments={"upload": "two_phase"})
    def answer(message: Any, chat: Any) -> None:
        names.extend((file.name, file.read()) for file in message.attachments)

    kit.assistant("plain")(greet)
    app = make_site(kit)
    ServedChat(app).say("here", files=[("a.txt", b"abc")])
    assert names == [("a.txt", b"abc")]
    with pytest.raises(ValueError, match="'plain' accepts no files"):
        ServedChat(app, "plain").say("here", files=[("a.txt", b"abc")])


def test_client_tool(chat: ServedChat) -> None:
    """A call waits for its result, or a function in the page's place gives it at once."""
    answer = chat.say("show")
    (call,) = answer.client_tools
    assert (call.name, call.arguments, answer.text) == ("show", {"slug": "larch"}, "")
    assert chat.tool_result({"shown": True}).text == "The page says {'shown': True}"
    with pytest.raises(LookupError, match="no call of a client tool waits"):
        chat.tool_result({})
    chat.tools["show"] = lambda arguments: {"got": arguments["slug"]}
    answer = chat.say("show")
    assert answer.text == "The page says {'got': 'larch'}"
    assert answer.client_tools == []
    assert [item.type for item in answer.items] == ["client_tool_call", "assistant_message"]


def test_questions(chat: ServedChat) -> None:
    """A form is answered by its questions' ids, in part, or skipped; a wrong id is named."""
    assert [one.question for one in chat.say("ask").questions] == ["Which size?", "Colour?"]
    with pytest.raises(LookupError, match="no question color: the form has colour, q1"):
        chat.answer(color="red")
    assert chat.answer(q1="M", colour=["red", "blue"]).text == (
        "You chose {'q1': ['M'], 'colour': ['red', 'blue']}"
    )
    chat.say("ask")
    assert chat.answer({"q1": "M"}).text == "You chose {'q1': ['M'], 'colour': []}"
    chat.say("ask")
    with pytest.raises(ValueError, match="'q1' takes one answer"):
        chat.answer(q1=["M", "L"])
    chat.answer()
    assert chat.items()[-2].status == "skipped"  # type: ignore[union-attr]
    with pytest.raises(LookupError, match="no form waits"):
        chat.answer(q1="M")


def test_widget_is_clicked(chat: ServedChat) -> None:
    """A button is found by its label: streamed, in one call, in a form, and below a card."""
    (card,) = chat.say("card").widgets
    answer = chat.click("Return it")
    assert answer.text == "Order 1042 comes back"
    assert answer.widgets[0].id == card.id
    assert "Returned" in str(answer.widgets[0].widget)
    chat.say("card")
    assert chat.click("Send", {"address": "a@b.example"}).text == "Sent 1042 to a@b.example"
    assert chat.click("Yes").text == "Order all comes back"
    chat.say("card")
    assert "One of {'order': '1042'}" in str(chat.click("Count").widgets[0].widget)
    chat.say("card")
    with pytest.raises(LookupError, match="there is: 'Yes', 'Return it', 'Count', 'In the page'"):
        chat.click("Nope")
    with pytest.raises(LookupError, match=r"for the page's JavaScript: 'show'"):
        chat.click("In the page")


def test_widget_is_read(chat: ServedChat) -> None:
    """The texts of a widget come as a visitor sees them, with what can be clicked and what not."""
    texts = ["Order 1042", "Return it", "Count", "Off", "In the page", "Where to?", "Send", "Yes"]
    assert widget_texts(chat.say("card").widgets[0]) == texts


def test_action_is_sent(chat: ServedChat) -> None:
    """An action is sent as a page does, with a widget or without."""
    (card,) = chat.say("card").widgets
    sent = {"order": "1042", "address": "x"}
    assert chat.act("mail", sent, item=card).text == "Sent 1042 to x"
    assert chat.act("mail", {"order": 2, "address": "y"}).text == "Sent 2 to y"
    answer = chat.act("count", {"order": "1042"}, item=card.id, streaming=False)
    assert answer.widgets[0].id == card.id


def test_stop(chat: ServedChat) -> None:
    """Stop ends the answer, and what was said before is stored by then."""
    answer = chat.say("slow", stop_when=lambda answer: "once" in answer.text)
    assert (answer.text, answer.stopped) == ("once upon ", True)
    assert chat.items()[-1].content[0].text == "once upon "  # type: ignore[union-attr]
    slow.set()
    with pytest.raises(RuntimeError, match="before stop_when was true"):
        chat.say("hi", stop_when=lambda answer: "never" in answer.text)


def test_retry(chat: ServedChat) -> None:
    """A message is answered anew, the last by default, and what followed it is gone."""
    first = chat.say("one").message
    chat.say("two")
    assert "you said 'two'" in chat.retry().text
    assert len(chat.items()) == 4
    assert "you said 'one'" in chat.retry(first).text
    assert len(chat.items()) == 2


def test_feedback_and_dictation(chat: ServedChat) -> None:
    """A thumb is for the last answer, or for the items that are named; speech becomes text."""
    chat.say("hi")
    chat.say("card")
    chat.feedback("positive")
    chat.feedback("negative", chat.items()[1:2])
    assert seen == [("positive", ["widget"]), ("negative", ["assistant_message"])]
    assert chat.transcribe(b"12345") == "5 bytes of audio/webm"


def test_earlier_chats(chat: ServedChat) -> None:
    """Earlier chats are listed, opened, renamed and deleted."""
    chat.say("one")
    first = chat.thread_id
    assert first
    chat.new_thread()
    chat.say("two")
    loaded = chat.open(first)
    assert (loaded.title, len(loaded.items.data)) == ("one", 2)
    chat.rename("The first")
    assert [thread.title for thread in chat.threads()] == ["two", "The first"]
    chat.delete()
    assert chat.thread is None
    assert [thread.title for thread in chat.threads()] == ["two"]
    with pytest.raises(LookupError, match="no thread is open"):
        chat.items()
    with pytest.raises(CallRefusedError, match=r"threads\.get_by_id: 404 not_found"):
        chat.open(first)


# --- errors ---------------------------------------------------------------------------------------


def test_error_fails_the_test(chat: ServedChat) -> None:
    """An error that the visitor reads is raised, and the site's own exception is its cause."""
    with pytest.raises(AnswerError, match="the shop's own mistake") as failed:
        chat.say("boom")
    assert isinstance(failed.value.__cause__, LookupError)
    assert failed.value.answer.text == "Half of it"
    assert (failed.value.code, failed.value.message, failed.value.allow_retry) == (
        "stream.error",
        None,
        True,
    )
    with pytest.raises(AnswerError, match="the visitor read an error: We are closed") as failed:
        chat.say("closed")
    assert (failed.value.code, failed.value.message) == ("custom", "We are closed.")
    with pytest.raises(CallRefusedError, match="no action 'other'"):
        chat.act("other")


def test_error_can_be_looked_at(chat: ServedChat) -> None:
    """With check=False the error is part of the answer, and the thread goes on."""
    answer = chat.say("boom", check=False)
    assert answer.error is not None
    assert answer.text == "Half of it"
    assert "you said 'hi'" in chat.say("hi").text


def test_limits_are_real(make_site: Any) -> None:
    """A message too many is an error that the visitor reads, a secret too many is refused."""
    app = make_site(shop_kit(), CHATKIT_MESSAGE_RATELIMIT="2/minute", CHATKIT_RATELIMIT="1/minute")
    chat = ServedChat(app)
    chat.say("one")
    chat.say("two")
    with pytest.raises(AnswerError, match="many messages"):
        chat.say("three")
    with pytest.raises(CallRefusedError) as refused:
        ServedChat(app).say("one")
    error = refused.value
    assert (error.what, error.status, error.code) == ("secret", 429, "rate_limited")
    assert error.retry_after
    assert 0 < int(error.retry_after) <= 60
    assert "secret: 429 rate_limited" in str(error)


def test_refusals_are_raised(chat: ServedChat) -> None:
    """What the site refuses with a status is raised with the field that is wrong."""
    with pytest.raises(CallRefusedError, match="400 bad_request: The message is empty"):
        chat.say("")
    with pytest.raises(CallRefusedError, match=r"inference_options\.model"):
        chat.say("hi", model="enormous")


def test_answer_that_takes_too_long(app: Flask) -> None:
    """An answer that does not end in time is an error that tells what has come."""
    chat = ServedChat(app, seconds=0.6)
    with pytest.raises(TimeoutError, match="once upon"):
        chat.say("slow")
    slow.set()


def test_chat_that_is_none(make_site: Any, openai_standin: OpenAIStandIn) -> None:
    """A chat that is not there, is hosted, or whose kit is not there is named with what is."""
    kit = shop_kit()
    kit.add_hosted("sales", "wf_standin")
    app = make_site(kit, **openai_standin.config())
    with pytest.raises(LookupError, match=r"no chat 'nope', only default, sales"):
        ServedChat(app, "nope")
    with pytest.raises(LookupError, match="'sales' is hosted by OpenAI"):
        ServedChat(app, "sales")
    with pytest.raises(LookupError, match="no kit 'staff'; registered: chatkit"):
        ServedChat(app, kit="staff")
    with pytest.raises(LookupError, match="no ChatKit is registered on the application 'shop'"):
        ServedChat(make_site())
    with pytest.raises(LookupError, match=r"no chat 'default', only none: .*CHATKIT_SERVER"):
        ServedChat(make_site(ChatKit()))


# --- who ------------------------------------------------------------------------------------------


def login(client: Any, password: str) -> Any:
    """Sign in by the shop's form."""
    return client.post("/login", data={"name": "ada", "password": password})


def test_each_is_a_visitor(app: Flask) -> None:
    """Another chat object is another visitor, who finds nothing of the first; a client is one."""
    first, second = ServedChat(app), ServedChat(app)
    first.say("mine")
    second.say("yours")
    assert [thread.title for thread in second.threads()] == ["yours"]
    assert first.thread_id
    with pytest.raises(CallRefusedError, match="404"):
        second.open(first.thread_id)
    again = ServedChat(app, client=first.client)
    assert [thread.title for thread in again.threads()] == ["mine"]


def test_signing_in(chat: ServedChat, app: Flask) -> None:
    """Signing in by the site's form takes the thread along, for whoever has that login."""
    chat.say("before")

    with pytest.raises(CallRefusedError, match="sign_in: 403"):
        chat.sign_in(lambda client: login(client, "guessed"))
    assert chat.sign_in(lambda client: login(client, "hunter2")).status_code == 302
    assert "Hello ada" in chat.say("after").text
    assert [item.type for item in chat.items()] == ["user_message", "assistant_message"] * 2
    client = app.test_client()
    with client.session_transaction() as cookie:
        cookie["name"] = "ada"
    elsewhere = ServedChat(app, client=client)
    assert [thread.title for thread in elsewhere.threads()] == ["before"]


def test_flask_login(make_site: Any) -> None:
    """The client of Flask-Login, which is signed in already, is the visitor of that login."""
    app = make_site(shop_kit(who=lambda: str(current_user.get_id() or "") or None))
    manager = LoginManager(app)
    ada = UserMixin()
    ada.id = "ada"
    manager.user_loader(lambda key: ada if key == "ada" else None)
    app.test_client_class = FlaskLoginClient
    with app.app_context():
        assert "Hello stranger" in ServedChat(app).say("hi").text
        assert "Hello ada" in ServedChat(app, client=app.test_client(user=ada)).say("hi").text
        assert "Hello stranger" in ServedChat(app).say("hi").text


def test_secret_is_made_anew(chat: ServedChat) -> None:
    """A page loaded anew, and a login that has ended, mint a new secret and go on."""
    chat.say("one")
    chat.reload()
    chat.say("two")
    chat.sign_in(lambda client: client.set_cookie("session", ""))
    assert "you said 'three'" in chat.say("three").text
    assert len(chat.threads()) == 1


def test_login_that_is_asked_for(make_site: Any) -> None:
    """A site's guard of the kit refuses whoever is not signed in, and lets others through."""
    kit = shop_kit()

    @kit.before_request
    def guard() -> Any:
        return None if "name" in session else redirect("/login")

    chat = ServedChat(make_site(kit))
    with pytest.raises(CallRefusedError, match="secret: 401 unauthenticated"):
        chat.say("hi")
    chat.sign_in(lambda client: client.post("/login", data={"name": "ada", "password": "hunter2"}))
    assert "Hello ada" in chat.say("hi").text


def test_visitors_at_once(app: Flask) -> None:
    """Visitors in several threads get each their own answers, in threads of their own."""
    wrong: list[Any] = []

    def visit(name: str) -> None:
        chat = ServedChat(app)
        texts = [chat.say(f"{name}{number}").text for number in range(5)]
        if not all(f"'{name}{number}'" in text for number, text in enumerate(texts)):
            wrong.append(texts)
        wrong.extend([chat.items()] if len(chat.items()) != 10 else [])

    visitors = [threading.Thread(target=visit, args=(name,)) for name in "abcdef"]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(30)
    assert wrong == []


def test_within_a_running_loop(chat: ServedChat) -> None:
    """An asynchronous test can ask as well, as its event loop is not the one that answers."""

    async def act() -> str:
        return chat.say("hi").text

    assert "you said 'hi'" in asyncio.run(act())


# --- where ----------------------------------------------------------------------------------------


def hello(chat: ServedChat) -> None:
    """Check that a chat speaks, uploads and reads."""
    assert "you said 'hi'" in chat.say("hi", files=[("a.txt", b"a")]).text
    assert len(chat.items()) == 2


def test_kit_elsewhere(make_site: Any) -> None:
    """A kit with a prefix of its own, a second one, one that is nested, and named chats work."""
    app = make_site(shop_kit(url_prefix="/help/desk"))
    staff = shop_kit("staff", url_prefix="/staff/chat")
    staff.assistant("coach")(lambda _, chat: f"Coach of {chat.context.kit}")
    app.register_blueprint(staff)
    shop = Blueprint("shop", __name__, url_prefix="/shop")
    shop.register_blueprint(shop_kit("inner"))
    app.register_blueprint(shop)
    hello(ServedChat(app))
    hello(ServedChat(app, kit="inner"))
    hello(ServedChat(app, kit="shop.inner"))
    hello(ServedChat(app, kit=staff))
    assert ServedChat(app, "coach", kit="staff").say("hi").text == "Coach of staff"


def test_kit_on_a_subdomain(tmp_path: Path) -> None:
    """A kit on a subdomain is found there."""
    app = Flask("shop", instance_path=str(tmp_path), subdomain_matching=True)
    app.config.update(
        SECRET_KEY="of the tests", SERVER_NAME="shop.test", CHATKIT_DATABASE_URI="sqlite://"
    )
    app.register_blueprint(shop_kit(subdomain="chat"))
    chat = ServedChat(app)
    hello(chat)
    assert chat.client.get_cookie("chatkit_visitor", "chat.shop.test", "/chatkit")


def test_application_below_a_path(make_site: Any) -> None:
    """Below a script root, by APPLICATION_ROOT, by the address, or by a proxy's header."""
    hello(ServedChat(make_site(shop_kit(), APPLICATION_ROOT="/app")))
    chat = ServedChat(make_site(shop_kit()), base_url="https://shop.test/app/")
    hello(chat)
    assert chat.client.get_cookie("chatkit_visitor", "shop.test", "/app/chatkit")
    behind = make_site(shop_kit())
    behind.wsgi_app = ProxyFix(behind.wsgi_app, x_prefix=1)
    hello(ServedChat(behind, headers={"X-Forwarded-Prefix": "/app"}))
    inside = make_site(shop_kit())
    inside.wsgi_app = DispatcherMiddleware(inside.wsgi_app, {"/other": lambda *_: [b""]})
    hello(ServedChat(inside))


def test_urls_with_values(make_site: Any) -> None:
    """Variables in the kit's URLs get values, by argument or by the site's url_defaults."""
    kit = shop_kit(url_prefix="/<lang>/chatkit")
    app = make_site(kit)

    @app.url_value_preprocessor
    def pull(endpoint: Any, values: Any) -> None:
        g.lang = values.pop("lang", None) if values else None

    with pytest.raises(LookupError, match=r"url_values=.*lang"):
        ServedChat(app).say("hi")

    @app.url_defaults
    def push(endpoint: str, values: dict[str, Any]) -> None:
        if "lang" not in values and app.url_map.is_endpoint_expecting(endpoint, "lang"):
            values["lang"] = g.get("lang") or "en"

    hello(ServedChat(app, url_values={"lang": "de"}))
    hello(ServedChat(app))


def test_contexts_of_the_test(app: Flask) -> None:
    """A context around the test is none of the requests', and a client's own is kept for it."""
    with app.app_context():
        g.name = "the test's"

        @app.before_request
        def check() -> None:
            assert "name" not in g

        hello(ServedChat(app))
        assert g.name == "the test's"
    with app.test_client() as client:
        hello(ServedChat(app, client=client))
        assert request.path == "/chatkit/api"


def test_csrf_protection(make_site: Any) -> None:
    """Where CSRFProtect is switched off for tests nothing is in the way; else it refuses."""
    app = make_site(shop_kit(), WTF_CSRF_ENABLED=False)
    CSRFProtect(app)
    hello(ServedChat(app))
    guarded = make_site(shop_kit())
    CSRFProtect(guarded)
    with pytest.raises(CallRefusedError, match="secret: 400"):
        ServedChat(guarded).say("hi")


def test_asynchronous_site(make_site: Any) -> None:
    """An asynchronous function, user loader and hook answer as others do, in one event loop."""
    kit = ChatKit()

    @kit.assistant()
    async def answer(message: Any, chat: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield f"You said {message.text}, {chat.locale}"

    @kit.user_loader
    async def who() -> str:
        await asyncio.sleep(0)
        return "ada"

    app = make_site(kit)
    app.before_request(asyncio_hook)
    chat = ServedChat(app, headers={"Accept-Language": "de-CH"})
    assert chat.say("hi").text == "You said hi, de-CH"


async def asyncio_hook() -> None:
    """Do nothing, asynchronously."""
    await asyncio.sleep(0)


def test_own_chatkit_server(make_site: Any) -> None:
    """A ChatKitServer of the site's own is spoken to as well."""

    class Server(ChatKitServer[Any]):
        async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
            key = self.store.generate_item_id("message", thread, context)
            text = AssistantMessageContent(text=f"You are {context.visitor.is_anonymous}")
            yield ThreadItemDoneEvent(
                item=AssistantMessageItem(
                    id=key, thread_id=thread.id, created_at=now(), content=[text]
                )
            )

    kit = ChatKit()
    kit.add_server("default", Server)
    assert ServedChat(make_site(kit)).say("hi").text == "You are True"


def test_testing_needs_no_extra() -> None:
    """The package of stand-ins is imported without those of served chats, and names the extra."""
    code = (
        "import sys\n"
        "for name in ('chatkit', 'agents', 'openai', 'pydantic', 'sqlalchemy'):\n"
        "    sys.modules[name] = None\n"
        "import flask_chatkit.testing, flask_chatkit.testing.fixtures\n"
        "for name in ('ServedChat', 'FakeModel', 'fake_models', 'AnswerError'):\n"
        "    try: getattr(flask_chatkit.testing, name)\n"
        "    except ImportError as error: assert 'flask-chatkit[server]' in str(error), error\n"
        "    else: raise AssertionError(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
