"""The demo over HTTP: who answers by what is configured, and what the shop's two assistants say."""

from __future__ import annotations

import json
import random
import re
import stat
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask

import demo_app
from demo_app import assistant, catalogue, create_app, knowledge
from demo_app.assistant import PACKING_IN_BRIEF, UNKNOWN, reply, return_label, topic
from demo_app.looks import SITES
from flask_chatkit.testing import (
    CallRefusedError,
    FakeModel,
    OpenAIStandIn,
    ServedChat,
    ToolCall,
    widget_texts,
)
from tests.helpers.model_api import KEY, ModelApi, Say, Use, serve_model
from tests.helpers.served import PNG, Client, of_type, said, visit
from tests.helpers.sites import Browser

CHATS = ("/chatkit", "/chatkit/help", "/chatkit/stylist")
OPENAI_POLICY = (
    "default-src 'self'; script-src 'self' https://cdn.platform.openai.com; "
    "frame-src https://cdn.platform.openai.com; connect-src 'self'; style-src 'self'; "
    "img-src 'self' data:; base-uri 'self'; form-action 'self'; frame-ancestors 'self'; "
    "object-src 'none'"
)
STANDIN_POLICY = OPENAI_POLICY.replace(" https://cdn.platform.openai.com;", " 'self';").replace(
    "'self' 'self'", "'self'"
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own keys out of the tests, and their patience in."""
    for name in (*demo_app.VARIABLES, "DEMO_MODE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"FLASK_{name}", raising=False)
    monkeypatch.setattr(assistant, "WORD", 0)
    monkeypatch.setattr(assistant, "LOOK", 0)


@pytest.fixture
def make_demo(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Make demos that keep what they keep in this test's folder."""
    made: list[Flask] = []

    def make(**config: Any) -> Flask:
        kept = {
            "SECRET_KEY": "of the tests",
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
            "CHATKIT_UPLOAD_FOLDER": str(tmp_path / "uploads"),
            "CHATKIT_MESSAGE_RATELIMIT": "",
        }
        made.append(create_app({**kept, **config}))
        return made[-1]

    yield make
    for app in made:
        standin: OpenAIStandIn | None = app.extensions.get("openai_standin")
        if standin is not None:
            standin.stop()


@pytest.fixture
def shop(make_demo: Any, browse: Callable[[Any], Browser]) -> Client:
    """Visit the demo as it runs with nothing set."""
    return visit(browse(make_demo()))


def answers(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The finished items of an answer, without what the visitor said."""
    return [
        event["item"]
        for event in events
        if event["type"] == "thread.item.done" and event["item"]["type"] != "user_message"
    ]


def ask(client: Client, text: str) -> list[dict[str, Any]]:
    """Begin a thread with a message; what is answered."""
    return answers(client.stream("threads.create", input=said(text)))


def text_in(items: list[dict[str, Any]]) -> str:
    """What was said in words."""
    messages = (item for item in items if item["type"] == "assistant_message")
    return "\n".join(part["text"] for item in messages for part in item["content"])


# --- who answers ----------------------------------------------------------------------------------


def told(app: Flask) -> str:
    """What each page says of who answers."""
    notice = re.search(r'<aside class="notice"[^>]*>(.*?)</aside>', app.test_client().get("/").text)
    assert notice
    return notice[1]


def test_nothing_set_is_the_assistant(make_demo: Any, capsys: Any) -> None:
    """Without a key a function answers in all three chats, and one line and each page say so."""
    app = make_demo()
    assert app.config["CHATKIT_SERVER"] == "demo_app.assistant:answer"
    assert told(app).startswith("This demo is answered by a few lines of Python: no model")
    assert "For a model, set OPENAI_API_KEY or OPENAI_BASE_URL." in told(app)
    assert "openai_standin" not in app.extensions
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "a few lines of Python" in printed
    page = app.test_client().get("/")
    assert page.headers["Content-Security-Policy"] == OPENAI_POLICY


def test_workflow_alone_is_the_assistant(monkeypatch: pytest.MonkeyPatch, make_demo: Any) -> None:
    """A workflow without a key is not used, and the notice tells what it wants."""
    monkeypatch.setenv("CHATKIT_WORKFLOW_ID", "wf_invented")
    app = make_demo()
    assert app.config["CHATKIT_SERVER"] == "demo_app.assistant:answer"
    assert "A workflow is set; set OPENAI_API_KEY too to use it." in told(app)


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "CHATKIT_API_KEY", "FLASK_CHATKIT_API_KEY"])
def test_key_is_the_agent(
    monkeypatch: pytest.MonkeyPatch, make_demo: Any, capsys: Any, key: str
) -> None:
    """With a key an agent answers, on the SDK's own model, which is none that OpenAI takes away."""
    from agents import OpenAIResponsesModel

    from demo_app.agent import make_agent

    monkeypatch.setenv(key, "sk-invented")
    app = make_demo()
    assert app.config["CHATKIT_SERVER"] == "demo_app.agent:agent"
    agent = make_agent(app.config)
    assert isinstance(agent.model, OpenAIResponsesModel)
    assert not re.match(r"gpt-(4o|4\.1)", str(agent.model.model))
    assert f"an agent, on the model {agent.model.model} of OpenAI&#39;s" in told(app)
    assert "invented" not in capsys.readouterr().err + told(app)


def test_model_is_a_setting(monkeypatch: pytest.MonkeyPatch, make_demo: Any) -> None:
    """OPENAI_MODEL names the model, and the notice too."""
    from demo_app.agent import make_agent

    monkeypatch.setenv("OPENAI_API_KEY", "sk-invented")
    monkeypatch.setenv("OPENAI_MODEL", "gpt-of-tomorrow")
    app = make_demo()
    assert make_agent(app.config).model.model == "gpt-of-tomorrow"  # type: ignore[union-attr]
    assert "on the model gpt-of-tomorrow" in told(app)


def test_endpoint_is_told_without_its_password(make_demo: Any) -> None:
    """With OPENAI_BASE_URL the same agent asks there; of the address only the host is told."""
    from agents import OpenAIChatCompletionsModel

    from demo_app.agent import make_agent

    app = make_demo(OPENAI_BASE_URL="http://me:hunter2@models.test:11434/v1", OPENAI_MODEL="tiny")
    assert app.config["CHATKIT_SERVER"] == "demo_app.agent:agent"
    assert "on the model tiny at models.test." in told(app)
    agent = make_agent(app.config)
    assert isinstance(agent.model, OpenAIChatCompletionsModel)
    assert agent.model_settings.reasoning is None


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "CHATKIT_API_KEY", "FLASK_CHATKIT_API_KEY"])
@pytest.mark.parametrize("workflow", ["CHATKIT_WORKFLOW_ID", "FLASK_CHATKIT_WORKFLOW_ID"])
def test_key_and_workflow_are_hosted(
    monkeypatch: pytest.MonkeyPatch, make_demo: Any, key: str, workflow: str
) -> None:
    """With both OpenAI's workflow answers: no stand-in, and a policy that names only OpenAI."""
    monkeypatch.setenv(key, "sk-invented")
    monkeypatch.setenv(workflow, "wf_invented")
    app = make_demo()
    assert app.config["CHATKIT_SERVER"] is None
    assert "openai_standin" not in app.extensions
    assert "your workflow, which OpenAI hosts until 2026-11-30" in told(app)
    page = app.test_client().get("/")
    assert page.headers["Content-Security-Policy"] == OPENAI_POLICY
    assert app.test_client().get("/standin/deployments/chatkit/chatkit.js").status_code == 404
    assert app.test_client().post("/chatkit/api", json={}).status_code == 404


@pytest.mark.parametrize("package", ["chatkit", "sqlalchemy", "agents"])
@pytest.mark.parametrize("key", [None, "sk-invented"])
def test_without_the_extra_stand_ins_host(
    monkeypatch: pytest.MonkeyPatch, make_demo: Any, package: str, key: str | None
) -> None:
    """Without the packages of served chats stand-ins host, and the notice says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    app = make_demo(OPENAI_API_KEY=key)
    assert app.config["CHATKIT_SERVER"] is None
    assert "talks to stand-ins for OpenAI on this machine" in told(app)
    assert "For chats of its own, install flask-chatkit[server]." in told(app)
    page = app.test_client().get("/")
    assert page.headers["Content-Security-Policy"] == STANDIN_POLICY
    assert "invented" not in app.config["CHATKIT_API_KEY"]
    assert app.test_client().post("/chatkit/secret", json={}).status_code == 200


def test_mode_can_be_chosen(monkeypatch: pytest.MonkeyPatch, make_demo: Any) -> None:
    """FLASK_DEMO_MODE chooses who answers, and a wrong one is an error that names the others."""
    monkeypatch.setenv("FLASK_DEMO_MODE", "standins")
    app = make_demo()
    assert "openai_standin" in app.extensions
    assert "install" not in told(app)
    with pytest.raises(ValueError, match="own, hosted, agent, assistant, standins, not 'none'"):
        create_app({"DEMO_MODE": "none"})


def test_own_server_wins(monkeypatch: pytest.MonkeyPatch, make_demo: Any) -> None:
    """CHATKIT_SERVER names something of one's own, and the notice names it."""
    monkeypatch.setenv("CHATKIT_SERVER", "tests.helpers.served:factory")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-invented")
    app = make_demo()
    assert app.config["CHATKIT_SERVER"] == "tests.helpers.served:factory"
    assert told(app) == "This demo is answered by tests.helpers.served:factory."


def test_key_outlives_a_restart(tmp_path: Path) -> None:
    """Without a key of the site's own the demo makes one, for nobody else, and finds it again."""
    apps = [Flask("demo", instance_path=str(tmp_path / "instance")) for _ in range(2)]
    for app in apps:
        demo_app.keep(app)
    first, second = (app.config["SECRET_KEY"] for app in apps)
    assert first == second
    assert len(first) == 64
    assert stat.S_IMODE((tmp_path / "instance" / "secret_key").stat().st_mode) == 0o600


def test_folder_that_is_not_ours(tmp_path: Path, capsys: Any) -> None:
    """Where nothing can be kept beside the package, it is kept elsewhere, and a line says where."""
    (tmp_path / "file").touch()
    app = Flask("demo", instance_path=str(tmp_path / "file" / "instance"))
    demo_app.keep(app)
    assert Path(app.instance_path).is_dir()
    assert app.instance_path in capsys.readouterr().err


# --- the pages ------------------------------------------------------------------------------------


def widget_of(page: str) -> dict[str, Any]:
    """What the first widget on a page is told."""
    told = re.search(r"data-chatkit='([^']*)'", page)
    assert told
    config: dict[str, Any] = json.loads(told[1])
    return config


def test_only_the_page_of_looks_has_frames_of_the_shops(make_demo: Any) -> None:
    """The page of looks may frame the shop's own pages beside OpenAI's; no other page may."""
    client = make_demo().test_client()
    policy = client.get("/looks").headers["Content-Security-Policy"]
    assert policy == OPENAI_POLICY.replace("frame-src", "frame-src 'self'")
    for path in ("/", "/help", "/looks/pico", "/chatkit/", "/nope"):
        assert client.get(path).headers["Content-Security-Policy"] == OPENAI_POLICY


@pytest.mark.parametrize("name", SITES)
def test_look_is_told_nothing_of_the_looks(make_demo: Any, name: str) -> None:
    """Each of the pages has its own style, and a themed chat without a theme."""
    page = make_demo().test_client().get(f"/looks/{name}").text
    assert f"/static/look-{name}.css" in page
    assert 'class="chatkit chatkit-themed"' in page
    told = widget_of(page)
    assert told["preset"] == "auto"
    assert "theme" not in told["options"]


def test_look_is_what_its_address_says(make_demo: Any) -> None:
    """A page's address says light or dark, the macro, and its options."""
    client = make_demo().test_client()
    asked = {
        "variant": "floating",
        "scheme": "dark",
        "side": "left",
        "text": "Ask",
        "label": " Ask us ",
        "teaser": "Hi",
        "accent": "#00AA77",
        "base_size": "15",
        "radius": "",
    }
    page = client.get("/looks/bootstrap", query_string=asked).text
    assert '<html lang="en" data-bs-theme="dark">' in page
    assert '<span class="chatkit-text">Ask</span>' in page
    assert 'data-side="left"' in page
    told = widget_of(page)
    assert told["teaser"] == {"text": "Hi", "delay": 1}
    assert told["options"] == {
        "frameTitle": "Ask us",
        "theme": {
            "color": {"accent": {"primary": "#00aa77", "level": 1}},
            "typography": {"baseSize": 15},
        },
    }
    assert '<html lang="en" class="dark">' in client.get("/looks/shadcn?scheme=dark").text


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({"scheme": "pink"}, "scheme"),
        ({"variant": "page"}, "variant"),
        ({"accent": "red;x:y"}, "accent"),
        ({"base_size": "1" * 5000}, "base_size"),
        ({"side": "left"}, "side"),  # of a launcher, which an inline chat has not
        ({"variant": "floating", "icon": "https://elsewhere.test/x.png"}, "icon"),
        ({"label": "long " * 20}, "label"),
        ({"label": "a\u202eb"}, "label"),
        ({"options": "{}"}, "options"),
        ({"variant": "floating", "text": "Ask", "label": "Chat"}, "label must contain"),
    ],
)
def test_look_checks_its_address(make_demo: Any, asked: dict[str, str], answer: str) -> None:
    """What an address can't ask for is refused, and said."""
    response = make_demo().test_client().get("/looks/pico", query_string=asked)
    assert response.status_code == 400
    assert answer in response.text
    assert "data-chatkit" not in response.text


def test_look_of_nothing_known(make_demo: Any) -> None:
    """Another framework's page is none, in the shop's words."""
    response = make_demo().test_client().get("/looks/other")
    assert response.status_code == 404
    assert "This path ends here" in response.text


def test_help_chat_in_another_language(make_demo: Any) -> None:
    """The help chat takes one of a few languages from the address, and English for the others."""
    client = make_demo().test_client()
    for code, language in catalogue.LANGUAGES.items():
        page = client.get(f"/help?lang={code}").text
        assert f'lang="{code}" hreflang="{code}" aria-current="true"' in page
        options = widget_of(page)["options"]
        assert options["locale"] == code
        assert options["startScreen"]["greeting"] == language.greeting
        assert options["composer"]["placeholder"] == language.placeholder
    for path in ("/help", "/help?lang=xx"):
        assert widget_of(client.get(path).text)["options"]["locale"] == "en"


def test_shop_has_a_way_out_of_the_chat(make_demo: Any) -> None:
    """Each chat of the shop names another way to reach it; only the landing page has a teaser."""
    client = make_demo().test_client()
    pages = ("/", "/help", "/products/tarn-flask", "/login", "/chatkit/", "/chatkit/stylist/")
    for path in pages:
        told = widget_of(client.get(path).text)
        assert told["contact"]["href"] == "mailto:hello@larch-and-lantern.example"
        assert ("teaser" in told) is (path == "/")


@pytest.mark.parametrize("chat", ["", "help/", "stylist/"])
def test_full_page_is_the_shops(make_demo: Any, chat: str) -> None:
    """A chat's own page has the shop's header and a greeting, and is in no search engine."""
    page = make_demo().test_client().get(f"/chatkit/{chat}").text
    assert '<header class="masthead">' in page
    assert '<meta name="robots" content="noindex">' in page
    assert "colophon" not in page
    assert "chatkit-floating" not in page
    assert widget_of(page)["options"]["startScreen"]["greeting"]


# --- the built-in assistant -----------------------------------------------------------------------


@pytest.mark.parametrize("prefix", CHATS)
def test_assistant_answers_in_every_chat(shop: Client, prefix: str) -> None:
    """One setting serves the default chat, and those that are declared without a workflow."""
    client = visit(shop.browser, prefix)
    assert "2 to 3 working days" in text_in(ask(client, "How long does delivery take?"))


@pytest.mark.parametrize(
    ("message", "about", "answer"),
    [
        ("Which SIZE should I take?", "sizes", "| M | 94 to 100 cm | 82 cm |"),
        ("How do the socks fit?", "sizes", "| 39 to 41 | 6 to 7 |"),
        ("Is the blanket large?", "sizes", "comes in: One size."),
        ("How long does delivery take?", "delivery", "2 to 3 working days"),
        ("Refund, please", "returns", "60 days"),
        ("Can I send things back?", "returns", "60 days"),
        ("are you open on sunday", "hours", "**Sunday and Monday**: closed"),
        ("Tell me about the socks", "product", "£16"),
        ("Where is my order?", "order", "Tell me its number"),
        ("4711", "order", "There is no order 4711"),
        ("Show me the moon", "unknown", UNKNOWN),
        ("What is love?", "unknown", UNKNOWN),
        ("The seam has opened", "unknown", UNKNOWN),
        ("hello", "hello", "Hello! What"),
        ("Thank you!", "thanks", "Enjoy the walk"),
    ],
)
def test_assistant_knows_the_shop(shop: Client, message: str, about: str, answer: str) -> None:
    """It answers from the shop's data by a few words of the message, and says when it can't."""
    assert topic(message) == about
    assert answer in text_in(ask(shop, message))


def test_order_is_a_card(shop: Client) -> None:
    """An order's number is looked up while the visitor is told so, and shown as a card."""
    events = shop.stream("threads.create", input=said("Where is my order 1042?"))
    progress = next(event for event in events if event["type"] == "progress_update")
    assert progress["text"] == "Looking for order 1042…"
    items = answers(events)
    assert text_in(items) == "Here it is: on its way."
    shown = of_type(items, "widget")
    held = json.dumps(shown["widget"])
    for wanted in (
        "Order 1042",
        "On its way",
        "Drizzle Jacket",
        "2 pairs of Fellside Socks",
        "161",
    ):
        assert wanted in held
    assert f"{shop.browser.base}/static/drizzle-jacket.svg" in held
    assert shown["copy_text"].startswith("**Order 1042**, Drizzle Jacket (M), 2 pairs of")
    assert "You should have it by" in shown["copy_text"]


@pytest.mark.parametrize("prefix", CHATS)
def test_card_has_a_button(shop: Client, prefix: str) -> None:
    """In each chat the card's button is answered, and is used up then, in the history too."""
    client = visit(shop.browser, prefix)
    events = client.stream("threads.create", input=said("1042"))
    thread = events[0]["thread"]["id"]
    card = of_type(answers(events), "widget")
    button = card["widget"]["children"][-1]
    action = {key: button["onClickAction"][key] for key in ("type", "payload")}
    done = client.stream(
        "threads.custom_action", thread_id=thread, item_id=card["id"], action=action
    )
    assert "The return label for order 1042 is in your inbox" in text_in(answers(done))
    stored = of_type(client.items(thread), "widget")
    assert stored["id"] == card["id"]
    assert stored["widget"]["children"][-1]["label"] == "Return label sent"
    assert stored["widget"]["children"][-1]["disabled"] is True


@pytest.mark.parametrize("payload", [None, 7, {}, {"order": ["1042"]}, {"order": "1043"}])
def test_button_is_not_believed(shop: Client, payload: Any) -> None:
    """What a browser makes up about an order is refused in words."""
    events = shop.stream("threads.create", input=said("1042"))
    answer = shop.post(
        "threads.custom_action",
        thread_id=events[0]["thread"]["id"],
        item_id=of_type(answers(events), "widget")["id"],
        action={"type": "return_label", "payload": payload},
    )
    assert answer.status_code == 400
    assert "is not that of the widget's action 'return_label'" in answer.json()["message"]


def test_label_is_for_ones_own_order(make_demo: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An order that was bought with a login is shown and sent back by that login alone."""
    chat = ServedChat(make_demo())
    assert "There is no order 1051" in chat.say("order 1051").text
    chat.sign_in(lambda client: client.post("/login", data={"name": "Ada Fell"}))
    chat.new_thread()
    chat.say("order 1051")
    assert "The return label for order 1051" in chat.click("Send me the return label").text
    mallory = Mock(visitor=Mock(user_id="Mallory"), error=RuntimeError)
    with pytest.raises(RuntimeError, match="no such order"):
        list(return_label({"order": "1051"}, mallory))


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ({"shown": True}, "There it is, on this page."),
        ({"shown": False}, "It has [a page of its own]({base}/products/drizzle-jacket)."),
        ({"error": "no such tool"}, "It has [a page of its own]({base}/products/drizzle-jacket)."),
    ],
)
def test_page_shows_a_product(shop: Client, output: dict[str, Any], answer: str) -> None:
    """The page is asked to show a product, and the answer goes on with how that went."""
    events = shop.stream("threads.create", input=said("Show me the jacket"))
    call = of_type(answers(events), "client_tool_call")
    assert (call["name"], call["arguments"]) == ("show_product", {"slug": "drizzle-jacket"})
    thread = events[0]["thread"]["id"]
    done = shop.stream("threads.add_client_tool_output", thread_id=thread, result=output)
    assert answer.format(base=shop.browser.base) in text_in(answers(done))


def test_longer_answer_is_streamed(shop: Client) -> None:
    """What to pack comes after a thought, in many pieces that make one message."""
    events = shop.stream("threads.create", input=said("What should I pack for a wet weekend?"))
    thoughts = of_type(answers(events), "workflow")["workflow"]["tasks"]
    assert len(thoughts) == 2
    pieces = [
        event["update"]["delta"]
        for event in events
        if event["type"] == "thread.item.updated" and "delta" in event["update"]
    ]
    # Words that wait while the page reads slowly come together.
    assert len(pieces) > 3
    assert "".join(pieces) == text_in(answers(events))
    assert f"({shop.browser.base}/products/tarn-flask)" in "".join(pieces)


def test_tables_stay_tables(shop: Client) -> None:
    """A table that is told row by row has all its blank lines."""
    told = text_in(ask(shop, "Which size should I take?"))
    assert told == knowledge.sizes()
    assert "86 cm |\n\nBetween two sizes" in told


def test_picture_is_confirmed(shop: Client) -> None:
    """The help chat takes a picture, and confirms its name and size; the others take none."""
    client = visit(shop.browser, "/chatkit/help")
    # As large as pictures of a phone are, and as random.
    picture = PNG + random.Random(1).randbytes(1_000_000)
    sent = client.upload(picture, "seam.png").json()
    events = client.stream(
        "threads.create", input=said("The seam has opened", attachments=[sent["id"]])
    )
    assert "I have got **seam.png** (976.6 kB)." in text_in(answers(events))
    assert shop.upload(PNG, "seam.png").status_code == 404


def test_login_is_greeted_and_keeps_the_history(shop: Client) -> None:
    """Who signs in is greeted by name, finds what they said before, and nobody else does."""
    shop.create("When are you open?")
    shop.browser.post("/login", data={"name": "Ada Fell"})
    signed_in = visit(shop.browser)
    assert text_in(ask(signed_in, "hi")).startswith("Hello Ada Fell!")
    assert len(signed_in.threads()) == 2
    shop.browser.post("/logout", data={})
    assert visit(shop.browser).threads() == []


def test_history_survives_a_restart(make_demo: Any, browse: Callable[[Any], Browser]) -> None:
    """What was said is there when the demo has been started again."""
    before = visit(browse(make_demo()))
    thread = before.create("When are you open?")
    browser = browse(make_demo())
    browser.cookies.update(before.browser.cookies)
    after = Client(browser)
    assert after.texts(thread) == ["When are you open?"]
    assert "10:00 to 18:00" in after.texts(thread, "assistant_message")[0]


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2026-11-20 10:00", "Yes, we are **open** until 18:00 today."),
        ("2026-11-20 17:59", "Yes, we are **open** until 18:00 today."),
        ("2026-11-20 18:00", "We are **closed** at the moment."),
        ("2026-11-21 08:59", "Not yet: we open at 9:00 today."),
        ("2026-11-22 12:00", "We are **closed** at the moment."),
    ],
)
def test_hours_know_the_time(at: str, said: str) -> None:
    """Whether the shop is open is told by the clock, to the minute."""
    assert knowledge.hours(datetime.fromisoformat(at)).startswith(f"{said}\n\n")


def test_every_week_day_has_hours_and_every_order_products() -> None:
    """The data file is whole: each day of the week once, and no order of what is not sold."""
    assert sorted(day for each in catalogue.HOURS for day in each.weekdays) == list(range(7))
    for number in catalogue.ORDERS:
        order = catalogue.find_order(number)
        assert order is not None
        assert order.placed <= order.expected
        for line in order.lines:
            assert line.size in line.product.sizes
    for product in catalogue.PRODUCTS.values():
        assert catalogue.find_product(f"the {product.kind}, please") is product


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("What SIZE am I?", "true to size"),
        ("How long does delivery take?", "2 to 3 working days"),
        ("Where is order 1042?", "on its way"),
        ("Where is my order?", "Tell me its number"),
        ("Show me the socks", "£16"),
        ("What is love?", UNKNOWN),
    ],
)
def test_standin_knows_the_shop(message: str, answer: str) -> None:
    """The stand-in of a hosted workflow answers the same in plain words."""
    assert answer in reply(message)


def test_rain_is_a_chart(shop: Client) -> None:
    """The year's rain is a chart, by its words, and by the composer's tool whatever is written."""
    shop = visit(shop.browser, "/chatkit/walks")
    tool = said("And here?", inference_options={"tool_choice": {"id": "rain"}})
    asked = said("When does it rain least?"), tool
    for message in asked:
        items = answers(shop.stream("threads.create", input=message))
        assert "It rains least in June" in text_in(items)
        drawn = of_type(items, "widget")
        kinds = [child["type"] for child in drawn["widget"]["children"]]
        assert kinds.count("Chart") == 2
        assert "| Jun | 69 mm |" in drawn["copy_text"]


def test_model_is_brief(shop: Client) -> None:
    """The model that the visitor chooses decides how long an answer is."""
    shop = visit(shop.browser, "/chatkit/walks")
    message = said("What should I pack?", inference_options={"model": "brief"})
    assert text_in(answers(shop.stream("threads.create", input=message))) == PACKING_IN_BRIEF
    assert len(text_in(ask(shop, "What should I pack?"))) > 5 * len(PACKING_IN_BRIEF)


# --- as a site would test it ----------------------------------------------------------------------


def test_customer_sends_an_order_back(make_demo: Any) -> None:
    """A customer asks, signs in, asks for an order, and uses the button of its card."""
    chat = ServedChat(make_demo())
    assert chat.say("hello").text.startswith("Hello! What are")
    chat.sign_in(lambda client: client.post("/login", data={"name": "Ada Fell"}))
    assert chat.say("hello").text.startswith("Hello Ada Fell!")
    answer = chat.say("Where is order 1042?")
    assert answer.progress == ["Looking for order 1042…"]
    assert "Order 1042" in widget_texts(answer.widgets[0])
    done = chat.click("Send me the return label")
    assert done.text.startswith("The return label for order 1042 is in your inbox")
    assert [widget.id for widget in done.widgets] == [answer.widgets[0].id]
    with pytest.raises(LookupError):
        chat.click("Send me the return label")
    with pytest.raises(CallRefusedError, match="is not taken without a widget"):
        chat.act("return_label", {"order": "1042"})


def test_customer_asks_for_a_repair(make_demo: Any) -> None:
    """A form asks what is to be repaired; what a browser makes up is refused in words."""
    chat = ServedChat(make_demo())
    answer = chat.say("I have something to repair")
    label = "Send it to the workshop"
    assert "What has happened?" in widget_texts(answer.widgets[0])
    nothing = chat.click(label, {"product": "moon", "what": "It is gone"}, check=False)
    assert "what is to be repaired" in str(nothing.error)
    done = chat.click(label, {"product": "drizzle-jacket", "what": "A hole", "how": "post"})
    assert done.text.startswith("The workshop has it")
    assert done.widgets[0].id == answer.widgets[0].id
    shown = widget_texts(done.widgets[0])
    assert {"Drizzle Jacket", "A hole", "You post it"} <= set(shown)


def test_customer_is_shown_a_product(make_demo: Any) -> None:
    """The page shows a product, and the shop believes only what its page has done."""
    shown: list[Any] = []

    def show(arguments: dict[str, Any]) -> dict[str, Any]:
        shown.append(arguments)
        return {"shown": len(shown) == 1}

    chat = ServedChat(make_demo(), "help", tools={"show_product": show})
    assert chat.say("Show me the socks").text.startswith("There it is, on this page.")
    assert "a page of its own" in chat.say("Show me the socks").text
    assert shown == [{"slug": "fellside-socks"}] * 2


def test_agent_without_a_model(make_demo: Any, fake_model: FakeModel) -> None:
    """The shop's agent is tested without its model: tools, card, client tool, and what it knows."""
    fake_model.add(
        ToolCall("order_status", {"number": "1042"}),
        "It is on its way.",
        ToolCall("show_product", {"slug": "socks"}),
        lambda asked: f"The page says {asked.tool_outputs[-1]}",
    )
    chat = ServedChat(make_demo(OPENAI_API_KEY="sk-invented", OPENAI_MODEL="tiny"))
    answer = chat.say("Where is order 1042?")
    assert (answer.text, answer.title) == ("It is on its way.", "A title")
    assert "Order 1042" in widget_texts(answer.widgets[0])
    (call,) = chat.say("Show me socks").client_tools
    assert call.arguments["slug"] == "fellside-socks"
    assert '"shown": true' in chat.tool_result({"shown": True}).text
    first = fake_model.asked[0]
    assert (first.model, first.tools) == ("tiny", TOOLS)
    assert "Drizzle Jacket** is £129" in (first.instructions or "")


# --- the agent ------------------------------------------------------------------------------------

TOOLS = ["order_status", "sizes", "opening_hours", "delivery_and_returns", "show_product"]


@pytest.fixture
def model() -> Iterator[ModelApi]:
    """Serve a model's API."""
    with serve_model() as api:
        yield api


@pytest.fixture(params=["compatible", "OpenAI's"])
def agent(
    request: pytest.FixtureRequest,
    model: ModelApi,
    make_demo: Any,
    browse: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Client:
    """Visit the demo with an agent, on a compatible endpoint and on what OpenAI's own speaks."""
    endpoint: str | None = model.base_url
    if request.param == "OpenAI's":
        # Where the client looks by itself, which here is not OpenAI.
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        endpoint = None
    app = make_demo(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=endpoint, OPENAI_MODEL="tiny")
    return visit(browse(app))


def test_agent_shows_an_order(agent: Client, model: ModelApi) -> None:
    """The model has the shop's tools: it looks an order up, and the same card is shown."""
    model.replies += [Use([("order_status", {"number": "#1042"})]), Say(["It is on ", "its way."])]
    items = ask(agent, "Where is my order 1042?")
    assert "Order 1042" in json.dumps(of_type(items, "widget")["widget"])
    assert text_in(items) == "It is on its way."
    first, second = model.asked
    assert model.wrong == []
    assert first["model"] == "tiny"
    assert "Drizzle Jacket** is £129" in json.dumps(first, ensure_ascii=False)
    assert [tool.get("function", tool)["name"] for tool in first["tools"]] == TOOLS
    assert "The customer sees this as a card now" in json.dumps(second)
    assert not {"reasoning", "reasoning_effort", "verbosity", "text"} & set(first)


def test_agent_has_the_cards_button(agent: Client, model: ModelApi) -> None:
    """The card's button is answered by the same function, whoever has shown the card."""
    model.replies += [Use([("order_status", {"number": "1042"})]), Say(["There."])]
    events = agent.stream("threads.create", input=said("My order, please"))
    done = agent.stream(
        "threads.custom_action",
        thread_id=events[0]["thread"]["id"],
        item_id=of_type(answers(events), "widget")["id"],
        action={"type": "return_label", "payload": {"order": "1042"}},
    )
    assert "The return label for order 1042" in text_in(answers(done))


def test_agent_has_the_page_show_a_product(agent: Client, model: ModelApi) -> None:
    """The model calls the page's tool, and goes on with what the page has answered."""
    model.replies += [Use([("show_product", {"slug": "socks"})]), Say(["There they are."])]
    events = agent.stream("threads.create", input=said("Show me socks"))
    call = of_type(answers(events), "client_tool_call")
    address = f"{agent.browser.base}/products/fellside-socks"
    assert call["name"] == "show_product"
    assert call["arguments"] == {"slug": "fellside-socks", "address": address}
    thread = events[0]["thread"]["id"]
    done = agent.stream("threads.add_client_tool_output", thread_id=thread, result={"shown": True})
    assert text_in(answers(done)) == "There they are."
    assert r"{\"shown\": true}" in json.dumps(model.asked[-1])
    assert model.wrong == []


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("sizes", {"product": "the jacket"}, "94 to 100 cm"),
        ("opening_hours", {}, "10:00 to 18:00"),
        ("delivery_and_returns", {}, "2 to 3 working days"),
        ("order_status", {"number": "4711"}, "There is no order 4711"),
        ("show_product", {"slug": "moon"}, "There is no product moon"),
    ],
)
def test_agents_tools_know_the_shop(name: str, arguments: dict[str, Any], told: str) -> None:
    """Each tool tells what the shop's data says."""
    import asyncio

    from agents.tool_context import ToolContext

    from demo_app import agent as module

    tool = getattr(module, name)
    given = json.dumps(arguments)
    context = ToolContext(None, tool_name=name, tool_call_id="call_1", tool_arguments=given)
    assert told in asyncio.run(tool.on_invoke_tool(context, given))


def test_agent_traces_only_at_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked at another endpoint, or without a key of OpenAI's, is traced nowhere."""
    from agents.tracing import get_trace_provider, set_tracing_disabled

    from demo_app.agent import make_agent

    provider = get_trace_provider()
    before = provider._disabled
    try:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        make_agent({"OPENAI_API_KEY": KEY})
        assert provider._disabled is False
        make_agent({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})
        assert provider._disabled is True
        monkeypatch.delenv("OPENAI_API_KEY")
        set_tracing_disabled(False)
        home = make_agent({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})
        assert provider._disabled is True
        assert home.model._client.api_key == "none"  # type: ignore[union-attr]
    finally:
        set_tracing_disabled(before)
