"""Writing in the built-in chat: the menu, mentions, commands, dictation, quotes, suggestions."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chatkit.types import ClientEffectEvent, TranscriptionResult
from flask import render_template_string, request

from flask_chatkit import ChatKit
from flask_chatkit.server import suggestions_event
from flask_chatkit.testing import OpenAIStandIn
from tests.browser.test_builtin import SMALL_TARGETS, Chat, axe
from tests.browser.test_served import HEAD, builtin, open_builtin, read, say, standin
from tests.helpers import builtin_server
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Page

COMPOSER = """
    composer: {attachments: {enabled: true}, dictation: {enabled: true},
      models: [{id: "a", label: "Fast", description: "For small questions"},
        {id: "b", label: "Careful", default: true}, {id: "c", label: "Closed", disabled: true}],
      tools: [{id: "web", label: "Search the web", shortLabel: "Web", icon: "globe"},
        {id: "draw", label: "Draw", icon: "images", persistent: true},
        {id: "deep", label: "Think longer", icon: "lightbulb", pinned: true}]},
"""
ENTITIES = """
    entities: {
      onTagSearch: async (query) => {
        window.queries = [...(window.queries ?? []), query];
        return [
          {id: "t1", title: "Green tea", group: "Teas", icon: "book-open", interactive: true,
            data: {price: "3"}},
          {id: "p1", title: "Ann", group: "People", icon: "profile"},
          {id: "t2", title: "Green", group: "Teas"},
        ].filter(({title}) => title.toLowerCase().startsWith(query.toLowerCase()));
      },
      onClick: (entity) => { window.clicked = entity; },
      onRequestPreview: async ({title}) => ({preview: {type: "Card", children: [
        {type: "Text", value: `About ${title}`}]}}),
    },
    commands: {
      enabled: true,
      onSearch: async (query) => [{id: "clear", label: "Clear", description: "Start anew"},
        {id: "order", label: "Order", icon: "cube", group: "Shop"},
        {id: "call", label: "Call me"}].filter(({id}) => id.startsWith(query)),
      onSelect: async ({id}) => {
        window.command = id;
        if (id === "order") return {type: "menu", commands: [{id: "last", label: "Last order"}]};
        if (id === "last") return {type: "entity", entity: {id: "o7", title: "Order 7"}};
      },
    },
"""
SUGGESTED = [
    {"label": "Prices", "prompt": "What does it cost?"},
    {"label": "More", "prompt": "More"},
]
#: A microphone that plays one tone, as real ones are not there.
MICROPHONE = """navigator.mediaDevices.getUserMedia = async () => {
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const to = audio.createMediaStreamDestination();
  tone.connect(to);
  tone.start();
  window.microphone = to.stream;
  return to.stream;
}"""


class Talker(builtin_server.Talker):
    """The server of the built-in chat's tests, which suggests and listens, too."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.text = "two green teas"

    async def do_suggest(self, thread: Any, text: str) -> Any:
        yield suggestions_event(SUGGESTED)
        yield self.say(thread, f"You said {text}")

    async def transcribe(self, audio_input: Any, context: Any) -> TranscriptionResult:
        self.heard.append(audio_input)
        return TranscriptionResult(text=self.text)


@pytest.fixture
def chat(page: Page, serve: Any) -> Iterator[Chat]:
    """A page of a site with the built-in chat, not opened yet."""
    server = Talker()
    app = builtin_server.make_site(server)
    yield Chat(page, server, app, serve(app))
    server.go.set()


def focused(chat: Chat) -> str:
    """The name of what has the focus in the chat."""
    name = "root.activeElement?.ariaLabel ?? root.activeElement?.textContent ?? ''"
    return str(chat.run(name))


def item(chat: Chat, name: str) -> Any:
    """An item of the open menu."""
    return chat.page.get_by_role("menuitemradio", name=name).or_(
        chat.page.get_by_role("menuitem", name=name)
    )


# --- the menu ------------------------------------------------------------------------------------


def test_menu_is_used_by_keyboard_alone(chat: Chat) -> None:
    """Arrows, Home, End and letters move in it; Enter chooses, and the field has the focus."""
    chat.open(COMPOSER)
    add = chat.button("Add and choose")
    add.focus()
    chat.page.keyboard.press("Enter")
    chat.page.get_by_role("menu").wait_for()
    assert add.get_attribute("aria-expanded") == "true"
    seen = []
    for key in ("", "ArrowDown", "End", "ArrowDown", "ArrowUp", "Home", "d"):
        if key:
            chat.page.keyboard.press(key)
        seen.append(focused(chat))
    careful, files = "Careful", "Attach files"
    assert seen == [files, "Search the web", "Closed", files, "Closed", files, "Draw"]
    chat.page.keyboard.press("c")
    assert focused(chat) == careful
    chat.page.keyboard.press("d")
    chat.page.keyboard.press("Enter")
    assert chat.page.get_by_role("menu").count() == 0
    assert focused(chat) == "Message"
    assert chat.seen("tool.change") == [{"toolId": "draw"}]
    chat.button("Remove Draw").wait_for()


@pytest.mark.parametrize("way", ["Escape", "Tab", "outside", "again"])
def test_menu_is_left_without_a_choice(chat: Chat, way: str) -> None:
    """Escape leads back to the button and no further; so does another click; Tab goes on."""
    chat.open(COMPOSER)
    chat.run(
        "window.addEventListener('keydown', (e) => {"
        " window.keys = [...(window.keys ?? []), e.key]; })"
    )
    add = chat.button("Add and choose")
    add.click()
    chat.page.get_by_role("menu").wait_for()
    if way == "outside":
        chat.log.click()
    elif way == "again":
        add.click()
    else:
        chat.page.keyboard.press(way)
    chat.page.get_by_role("menu").wait_for(state="detached")
    assert add.get_attribute("aria-expanded") == "false"
    wanted = {"Escape": "Add and choose", "Tab": "Think longer", "outside": "Messages"}
    assert focused(chat) == wanted.get(way, "Add and choose")
    assert "Escape" not in (chat.run("window.keys") or [])


def test_choice_is_shown_sent_and_taken_back(chat: Chat) -> None:
    """The tool is a chip that can be removed, the model a button; both go with the message."""
    chat.open(COMPOSER)
    chat.button("Add and choose").click()
    item(chat, "Search the web").click()
    chip = chat.button("Remove Search the web")
    assert chip.inner_text() == "Web"
    chip.click()
    assert chip.count() == 0
    assert focused(chat) == "Message"
    model = chat.button("Model: Careful")
    model.click()
    chat.page.get_by_role("menu").wait_for()
    assert focused(chat) == "Careful"
    assert item(chat, "Search the web").count() == 0
    item(chat, "Closed").click(force=True)
    assert chat.page.get_by_role("menu").count() == 1
    item(chat, "Fast").click()
    chat.button("Model: Fast").wait_for()
    for tool in ("Search the web", "Draw"):
        chat.button("Add and choose").click()
        item(chat, tool).click()
    chat.say("Hello")
    options = chat.server.inputs[-1].inference_options
    assert (options.model, options.tool_choice.id) == ("a", "draw")
    chat.button("Remove Draw").wait_for()  # it stays chosen
    chat.button("Add and choose").click()
    item(chat, "No tool").click()
    assert chat.button("Remove Draw").count() == 0


def test_model_stays_chosen_on_the_next_page(chat: Chat) -> None:
    """The model that was chosen is so after a reload, unless there is no such model any more."""
    chat.open(COMPOSER)
    chat.button("Model: Careful").click()
    item(chat, "Fast").click()
    chat.open(COMPOSER)
    chat.button("Model: Fast").wait_for()
    chat.open("composer: {models: [{id: 'x', label: 'New'}]}")
    chat.button("Model: New").wait_for()


def test_pinned_tool_is_a_switch(chat: Chat) -> None:
    """A tool that is pinned stands beside the menu, not in it, and is pressed or not."""
    chat.open(COMPOSER)
    pinned = chat.button("Think longer")
    assert pinned.get_attribute("aria-pressed") == "false"
    pinned.click()
    assert pinned.get_attribute("aria-pressed") == "true"
    chat.say("Hello")
    assert chat.server.inputs[-1].inference_options.tool_choice.id == "deep"
    assert pinned.get_attribute("aria-pressed") == "false"


def test_files_alone_need_no_menu(chat: Chat) -> None:
    """Where only files can be added there is the one button for them; else they are in the menu."""
    chat.open("composer: {attachments: {enabled: true}}")
    assert chat.button("Add and choose").count() == 0
    with chat.page.expect_file_chooser():
        chat.button("Attach files").click()
    chat.open(COMPOSER)
    assert chat.button("Attach files").count() == 0
    chat.button("Add and choose").click()
    with chat.page.expect_file_chooser() as chooser:
        item(chat, "Attach files").click()
    chooser.value.set_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"a"})
    chat.page.locator(".composer .file").wait_for()


def test_models_alone_need_no_menu_of_more(chat: Chat) -> None:
    """Where only models can be chosen there is the button that shows the one that is."""
    chat.open("composer: {models: [{id: 'a', label: 'Fast'}]}")
    assert chat.button("Add and choose").count() == 0
    assert chat.button("Model: Fast").count() == 1


# --- mentions and commands -----------------------------------------------------------------------


def test_entity_becomes_a_tag(chat: Chat) -> None:
    """What is chosen behind an @ is a part of the message of its own, with its data."""
    chat.open(ENTITIES)
    chat.field.press_sequentially("Compare @gr")
    box = chat.page.get_by_role("listbox", name="Mention")
    box.wait_for()
    active = "root.getElementById(root.activeElement.getAttribute('aria-activedescendant'))"
    assert chat.run(f"{active}.textContent") == "Green tea"
    chat.page.keyboard.press("ArrowDown")
    assert chat.run(f"{active}.textContent") == "Green"
    assert chat.run(f"{active}.ariaSelected") == "true"
    chat.page.keyboard.press("ArrowDown")
    chat.page.keyboard.press("Enter")
    assert chat.field.input_value() == "Compare @Green tea "
    assert box.count() == 0
    assert chat.run("root.querySelector('.mirror mark').textContent") == "@Green tea"
    chat.field.press_sequentially("and @An")
    chat.page.get_by_role("option", name="Ann").click()
    chat.field.press_sequentially("or @Greens")
    chat.wait("window.queries.at(-1) === 'Greens'")
    chat.field.press("Enter")
    chat.answers.wait_for()
    parts = [part.model_dump() for part in chat.server.inputs[0].content]
    assert [part["text"] for part in parts] == [
        "Compare ",
        "Green tea",
        " and ",
        "Ann",
        " or @Greens",
    ]
    tag = {"type": "input_tag", "id": "t1", "text": "Green tea", "data": {"price": "3"}}
    assert parts[1] == {**tag, "group": "Teas", "interactive": True}
    assert (parts[3]["id"], parts[3]["interactive"]) == ("p1", False)


def test_mention_is_deleted_as_a_whole(chat: Chat) -> None:
    """Backspace behind a mention takes all of it, and what was typed before can be had back."""
    chat.open(ENTITIES)
    chat.field.press_sequentially("To @ann")
    chat.page.get_by_role("option").wait_for()
    chat.page.keyboard.press("Tab")
    assert chat.field.input_value() == "To @Ann "
    chat.page.keyboard.press("Backspace")
    chat.page.keyboard.press("Backspace")
    assert chat.field.input_value() == "To "
    assert chat.run("root.querySelector('.mirror')") is None
    chat.page.keyboard.press("Control+z")
    assert chat.field.input_value() == "To @Ann"


def test_list_is_dismissed_and_nothing_else(chat: Chat) -> None:
    """Escape closes the list alone, until one types on; Enter sends what is written then."""
    chat.open(ENTITIES)
    chat.run("window.addEventListener('keydown', (e) => { window.last = e.key; })")
    chat.field.press_sequentially("@a")
    chat.page.get_by_role("listbox").wait_for()
    chat.page.keyboard.press("Escape")
    assert chat.page.get_by_role("listbox").count() == 0
    assert chat.run("window.last") != "Escape"
    assert focused(chat) == "Message"
    chat.page.keyboard.press("Backspace")
    chat.page.keyboard.type("xyz")
    chat.page.get_by_text("Nothing found").first.wait_for()
    chat.page.keyboard.press("Enter")
    chat.shows("You said @xyz")


def test_tag_in_a_message_is_previewed_and_clicked(chat: Chat) -> None:
    """A tag that can be used shows what it is when pointed at or focused, and tells the page."""
    chat.open(ENTITIES)
    chat.field.press_sequentially("@green t")
    chat.page.get_by_role("option").wait_for()
    chat.page.keyboard.press("Enter")
    chat.say(chat.field.input_value() + "please")
    tag = chat.log.get_by_role("button", name="@Green tea")
    tag.hover()
    shown = chat.page.locator(".preview")
    shown.get_by_text("About Green tea").wait_for()
    box = shown.bounding_box()
    assert box["x"] >= 0
    assert box["y"] >= 0
    chat.field.hover()
    shown.wait_for(state="detached")
    chat.page.keyboard.press("Shift+Tab")
    tag.focus()
    shown.wait_for()
    assert tag.get_attribute("aria-description") == "About Green tea"
    chat.page.keyboard.press("Escape")
    shown.wait_for(state="detached")
    tag.click()
    chat.wait("window.clicked")
    assert chat.run("window.clicked") == {
        "id": "t1",
        "title": "Green tea",
        "data": {"price": "3"},
        "group": "Teas",
        "interactive": True,
    }


def test_command_is_run_by_the_page(chat: Chat) -> None:
    """What is chosen behind a slash is told to the page, and leaves nothing in the field."""
    chat.open(ENTITIES)
    chat.field.press_sequentially("/cl")
    chat.page.get_by_role("option", name="Clear").wait_for()
    chat.page.keyboard.press("Enter")
    chat.wait("window.command === 'clear'")
    assert chat.field.input_value() == ""
    chat.button("Add and choose").click()
    item(chat, "Commands").click()
    chat.page.get_by_role("option", name="Call me").click()
    chat.wait("window.command === 'call'")
    assert chat.server.inputs == []


def test_command_leads_on_or_puts_something_in(chat: Chat) -> None:
    """A command may offer others, or an entity; what the composer can do is there, too."""
    chat.open(COMPOSER + ENTITIES)
    chat.field.press_sequentially("/or")
    chat.page.get_by_role("option", name="Order").wait_for()
    chat.page.keyboard.press("Enter")
    chat.page.get_by_role("option", name="Last order").wait_for()
    chat.page.keyboard.press("Enter")
    chat.wait("root.querySelector('textarea').value === '@Order 7 '")
    chat.field.press("Enter")
    chat.idle()
    assert chat.server.inputs[0].content[0].id == "o7"
    chat.field.press_sequentially("/dr")
    chat.page.get_by_role("option", name="Draw").wait_for()
    chat.page.keyboard.press("Enter")
    chat.button("Remove Draw").wait_for()


# --- dictation -----------------------------------------------------------------------------------


def test_dictation_comes_into_the_field(chat: Chat) -> None:
    """It is recorded, sent as audio, and stands behind what was written; the microphone rests."""
    chat.open(COMPOSER)
    chat.page.evaluate(MICROPHONE)
    chat.field.fill("Please")
    chat.button("Dictate").click()
    chat.page.get_by_text("Recording…").first.wait_for()
    chat.page.wait_for_timeout(700)
    assert focused(chat) == "Finish the dictation"
    chat.page.keyboard.press("Enter")
    chat.wait("root.querySelector('textarea').value === 'Please two green teas'")
    assert focused(chat) == "Message"
    (audio,) = chat.server.heard
    assert audio.media_type == "audio/webm"
    assert audio.data.startswith(b"\x1a\x45\xdf\xa3")
    assert chat.run("window.microphone.getTracks().map((t) => t.readyState)") == ["ended"]
    assert chat.button("Dictate").is_visible()


@pytest.mark.parametrize(
    ("thrown", "words"),
    [
        ("NotAllowedError", "The microphone may not be used here"),
        ("NotFoundError", "No microphone was found"),
    ],
)
def test_microphone_that_is_refused_is_told(chat: Chat, thrown: str, words: str) -> None:
    """Who has no microphone, or gives none, reads so, and can write on."""
    chat.open(COMPOSER)
    chat.page.evaluate(
        "(name) => { navigator.mediaDevices.getUserMedia = async () => {"
        " throw new DOMException('', name); }; }",
        thrown,
    )
    chat.button("Dictate").click()
    chat.page.get_by_role("alert").get_by_text(words).wait_for()
    chat.say("Hello")


def test_dictation_is_cancelled(chat: Chat) -> None:
    """Escape lets go of the microphone, and nothing is sent."""
    chat.open(COMPOSER)
    chat.page.evaluate(MICROPHONE)
    chat.button("Dictate").click()
    chat.button("Finish the dictation").wait_for()
    chat.page.keyboard.press("Escape")
    chat.button("Dictate").wait_for()
    assert focused(chat) == "Message"
    chat.wait("window.microphone.getTracks()[0].readyState === 'ended'")
    assert chat.server.heard == []


def test_what_the_server_refuses_to_hear_is_told(chat: Chat) -> None:
    """The server's reason stands at the field; silence has a sentence, too."""
    chat.open(COMPOSER)
    chat.page.evaluate(MICROPHONE)

    def hear(words: str) -> None:
        chat.button("Dictate").click()
        chat.button("Finish the dictation").click()
        chat.page.get_by_role("alert").get_by_text(words).wait_for()

    chat.app.config["ANSWER"] = lambda _: ({"message": "Too much was said."}, 429)
    hear("Too much was said.")
    chat.app.config["ANSWER"] = None
    chat.server.text = " "
    hear("Nothing was heard.")


# --- quotes --------------------------------------------------------------------------------------

SELECT = """((node) => {
  const range = document.createRange();
  range.setStart(node, 4);
  range.setEnd(node, 8);
  const selection = document.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
})(document.createTreeWalker(root.querySelector(arg), NodeFilter.SHOW_TEXT).nextNode())"""


def select(chat: Chat) -> None:
    """Select the second word of the answer with the mouse."""
    word = chat.answers.last.get_by_text("You said Hello")
    box = word.bounding_box()
    chat.page.mouse.dblclick(box["x"] + 40, box["y"] + box["height"] / 2)


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_selection_of_an_answer_is_quoted(chat: Chat, way: str) -> None:
    """A button at what is selected puts it over the field; it goes with the message."""
    chat.open()
    chat.say("Hello")
    select(chat)
    quote = chat.button("Quote", exact=True)
    quote.wait_for()
    box, answer = quote.bounding_box(), chat.answers.last.bounding_box()
    assert answer["y"] - 50 <= box["y"] <= answer["y"] + answer["height"] + 50
    if way == "mouse":
        quote.click()
    else:
        chat.page.keyboard.press("Tab")
        assert focused(chat) == "Quote"
        chat.page.keyboard.press("Enter")
    assert quote.count() == 0
    assert focused(chat) == "Message"
    chat.button("Remove the quote").wait_for()
    chat.say("Why?")
    assert chat.server.inputs[-1].quoted_text == "said"


def test_quote_is_offered_for_answers_alone(chat: Chat) -> None:
    """Escape takes the button away; what the visitor has written is not offered."""
    chat.open()
    chat.say("Hello")
    select(chat)
    quote = chat.button("Quote", exact=True)
    quote.focus()
    chat.page.keyboard.press("Escape")
    assert quote.count() == 0
    assert focused(chat) == "Messages"
    bubble = chat.page.locator(".bubble").bounding_box()
    chat.page.mouse.dblclick(bubble["x"] + 25, bubble["y"] + bubble["height"] / 2)
    chat.wait("String(getSelection()) === 'Hello'")
    chat.page.wait_for_timeout(400)
    assert quote.count() == 0


# --- suggestions ---------------------------------------------------------------------------------


def test_suggestions_are_said_with_one_click(chat: Chat) -> None:
    """They stand below the answer when it has ended; the next message takes them away."""
    chat.open()
    chat.say("suggest")
    shown = chat.page.get_by_role("list", name="Suggestions")
    assert shown.get_by_role("button").all_inner_texts() == ["Prices", "More"]
    shown.get_by_role("button", name="Prices").click()
    chat.shows("You said What does it cost?")
    assert shown.count() == 0
    assert focused(chat) == "Messages"
    chat.idle()
    assert chat.server.inputs[-1].content[0].text == "What does it cost?"
    chat.say("suggest")
    shown.wait_for()
    chat.run("el.setOptions({...base(), locale: 'de-DE'})")
    shown.wait_for()
    chat.button("New chat").click()
    assert shown.count() == 0


def test_suggestions_that_are_none_are_not_shown(chat: Chat) -> None:
    """What a server sends in their place, by mistake, breaks nothing."""

    async def odd(thread: Any, _text: str) -> Any:
        for data in ({}, {"suggestions": 3}, {"suggestions": [None, {"label": 1}, {"label": "a"}]}):
            yield ClientEffectEvent(name="chatkit.suggestions", data=data)
        yield chat.server.say(thread, "Done")

    chat.server.do_odd = odd
    chat.open()
    chat.say("odd")
    chat.shows("Done")
    assert chat.page.get_by_role("list", name="Suggestions").count() == 0


# --- in every state ------------------------------------------------------------------------------


def states(chat: Chat, extra: str = "") -> Iterator[str]:
    """Open the chat, and bring each new state on the screen, one after the other."""
    chat.open(COMPOSER + ENTITIES + extra)
    chat.page.evaluate(MICROPHONE)
    chat.say("suggest")
    yield "suggestions"
    chat.button("Add and choose").click()
    yield "menu"
    item(chat, "Draw").click()
    chat.field.press_sequentially("Is @")
    chat.page.get_by_role("option").first.wait_for()
    yield "listbox"
    chat.page.keyboard.press("ArrowDown")
    chat.page.keyboard.press("Enter")
    chat.field.press_sequentially("good?")
    yield "mention"
    chat.button("Dictate").click()
    chat.button("Finish the dictation").wait_for()
    yield "recording"
    chat.button("Cancel").click()
    chat.field.press("Enter")
    chat.idle()
    word = chat.answers.last.bounding_box()
    chat.page.mouse.dblclick(word["x"] + 40, word["y"] + 12)
    chat.button("Quote", exact=True).wait_for()
    yield "quote"


@pytest.mark.parametrize("case", ["light", "dark", "rtl", "phone"])
def test_axe_finds_nothing(chat: Chat, node_modules: Path, case: str) -> None:
    """In every theme, direction and size axe has nothing to say about what is new."""
    if case == "phone":
        chat.page.set_viewport_size({"width": 390, "height": 740})
    for state in states(chat, 'theme: "dark",' if case == "dark" else ""):
        if case == "rtl":
            chat.run("el.ownerDocument.documentElement.setAttribute('dir', 'rtl')")
        assert axe(chat, node_modules) == [], state


def test_targets_fit_fingers(browser: Any, chat: Chat) -> None:
    """Where fingers point, every new button is at least 44 px each way."""
    with browser.new_context(
        has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}
    ) as context:
        chat.page = context.new_page()
        for state in states(chat):
            small = chat.run(SMALL_TARGETS, 44)
            # A tag stands in a line of text.
            assert [name for name in small if not name.startswith("@")] == [], state


@pytest.mark.parametrize("size", [(390, 740), (320, 256), (1000, 700)])
def test_menus_stay_in_the_chat(chat: Chat, size: tuple[int, int]) -> None:
    """Also where there is little room all of a menu can be reached."""
    width, height = size
    chat.page.set_viewport_size({"width": width, "height": height})
    chat.open(COMPOSER + ENTITIES)
    chat.button("Add and choose").click()
    frame = chat.page.locator("flask-chatkit-chat").bounding_box()
    box = chat.page.get_by_role("menu").bounding_box()
    assert box["x"] >= frame["x"]
    assert box["y"] >= frame["y"]
    assert box["x"] + box["width"] <= frame["x"] + frame["width"]
    assert box["height"] >= 80


# --- what the page says --------------------------------------------------------------------------


def echo() -> ChatKit:
    """A kit whose chat says what it knows of the page, and what was sent along."""
    kit = ChatKit()

    @kit.assistant(headers=["X-Shop"])
    def answer(message: Any, chat: Any) -> Any:
        tags = [tag.id for tag in message.tags]
        chat.suggest(["Again"])
        yield json.dumps([chat.page, dict(chat.context.headers), tags], sort_keys=True)

    return kit


@pytest.fixture
def calls() -> list[tuple[str, dict[str, str]]]:
    """The kit's calls: path and headers, by lower-case name."""
    return []


@pytest.fixture
def site(
    openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any, tmp_path: Path, calls: Any
) -> Callable[..., str]:
    """Serve a site with one page, a script of its own, and the chat that knows the page."""

    def start(script: str, macro: str = "chatkit_floating()") -> str:
        settings = {
            "CHATKIT_WORKFLOW_ID": None,
            "CHATKIT_SCRIPT_URL": openai_standin.script_url.replace("127.0.0.1", "localhost"),
            "CHATKIT_DATABASE_URI": f"sqlite:///{tmp_path}/history.sqlite3",
        }
        app = make_app(echo(), **settings)
        body = f"{{{{ {macro} }}}}<script defer src='/page.js'></script>"
        app.add_url_rule("/", "home", lambda: render_template_string(HEAD + body))
        made = lambda: app.response_class(script, mimetype="text/javascript")  # noqa: E731
        app.add_url_rule("/page.js", "script", made)

        @app.before_request
        def note() -> None:
            if request.method == "POST":
                named = {name.lower(): value for name, value in request.headers.items()}
                calls.append((request.path, named))

        return str(serve(app))

    return start


PAGE = """
const chat = FlaskChatKit.get();
let visit = 0;
chat.context(() => ({ product: 42, visit: (visit += 1) }))
  .headers(async () => ({ "X-Shop": "north", Authorization: "Basic mine",
    "X-ChatKit-Visitor": "no", "X-ChatKit-Token": "no",
    "Content-Type": "text/plain", "no header": "1" }))
  .entities({ search: (query) => [{ id: "t1", title: "Tea" }] });
"""


def test_page_and_headers_arrive(page: Page, site: Any, calls: Any) -> None:
    """What the page is about comes with every message, and its headers with every call."""
    open_builtin(page, site(PAGE, "chatkit_floating(page={'kind': 'shop', 'product': 1})"))
    say(page, "One")
    known = {"kind": "shop", "product": 42}
    read(page, json.dumps([{**known, "visit": 1}, {"X-Shop": "north"}, []]).replace("X-S", "x-s"))
    builtin(page).get_by_role("button", name="Again").click()
    read(page, '"visit": 2')
    assert calls
    for path, headers in calls:
        assert headers["x-shop"] == "north", path
        assert headers["content-type"] == "application/json"
        # The kit leaves it to the site; its own token is in a header that the page can't set.
        assert headers["authorization"] == "Basic mine", path
        assert headers.get("x-chatkit-token", "ck_").startswith("ck_"), path
        assert headers.get("x-chatkit-visitor") != "no", path


def test_page_and_headers_arrive_from_openais_element(page: Page, site: Any) -> None:
    """OpenAI's element sends the same, and asks the page for entities."""
    page.goto(site(PAGE))
    page.locator(".chatkit-launcher").click()
    frame = standin(page)
    frame.locator("#input").fill("hello")
    frame.locator("#send").click()
    frame.get_by_text('"product": 42').wait_for()
    frame.get_by_text("north").wait_for()


def test_page_is_declared_before_or_after_the_start(page: Page, site: Any) -> None:
    """What a page declares when the chat is open holds from then on."""
    open_builtin(page, site(""))
    field = builtin(page).get_by_role("textbox")
    page.evaluate("FlaskChatKit.get().entities({search: async () => [{id: 'x', title: 'Late'}]})")
    field.press_sequentially("@")
    builtin(page).get_by_role("option", name="Late").click()
    field.press("Enter")
    read(page, '["x"]')
    page.evaluate("FlaskChatKit.get().context({ now: true })")
    say(page, "Two")
    read(page, '"now": true')


@pytest.mark.parametrize(
    "given", ["{a: 'x'.repeat(4096)}", "() => { throw new Error('no') }", "loop"]
)
def test_page_that_says_too_much_is_left_out(
    page: Page, site: Any, console: Any, given: str
) -> None:
    """What is too long, broken or no JSON is told in the console, and the message goes anyway."""
    open_builtin(page, site("const loop = {}; loop.loop = loop; window.loop = loop;"))
    page.evaluate(f"FlaskChatKit.get().context({given})")
    say(page, "One")
    read(page, "[{}, {}, []]")
    assert len([line for line in console.errors if "ERR_FAILED" not in line]) == 1


def test_audio_is_base64(chat: Chat) -> None:
    """The recording is what the protocol wants: base64, without the prefix of a data URL."""
    bodies: list[Any] = []

    def answer(body: Any) -> Any:
        bodies.append(body)
        return {"text": "yes"}

    chat.app.config["ANSWER"] = answer
    chat.open(COMPOSER)
    chat.page.evaluate(MICROPHONE)
    chat.button("Dictate").click()
    chat.page.wait_for_timeout(300)
    chat.button("Finish the dictation").click()
    chat.wait("root.querySelector('textarea').value === 'yes'")
    (body,) = bodies
    assert body["type"] == "input.transcribe"
    assert base64.b64decode(body["params"]["audio_base64"], validate=True)
