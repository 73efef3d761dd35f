"""The widgets of the built-in chat: every component and property, in a real Chromium."""

from __future__ import annotations

import gzip
import posixpath
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from chatkit.widgets import WidgetComponentBase
from flask import Flask
from pydantic import BaseModel
from typing_extensions import get_type_hints, is_typeddict

from flask_chatkit.server.assistants.widgets import COMPONENTS
from flask_chatkit.widget.assets import served
from tests.browser.test_builtin import Chat, axe, sse, stream, until
from tests.helpers import builtin_server as site
from tests.helpers.widget_gallery import GALLERY, ICONS, Widget

if TYPE_CHECKING:
    from playwright.sync_api import Page

AT = {"thread_id": "t1", "created_at": "2026-01-01T00:00:00Z"}


class Shown(Chat):
    """A chat whose server shows widgets, and keeps what it is asked for."""

    def __init__(self, page: Page, server: site.Talker, app: Flask, base: str) -> None:
        super().__init__(page, server, app, base)
        self.widgets: list[Widget] = []
        self.actions: list[dict[str, Any]] = []
        self.count = 0
        app.config["ANSWER"] = self._answer

    def _answer(self, body: dict[str, Any]) -> Any:
        if body["type"] == "threads.custom_action":
            self.actions.append(body["params"]["action"])
            return stream(b"")
        if not body["type"].endswith(("create", "add_user_message")):
            return None
        thread = {"type": "thread.created", "thread": {"id": "t1", "created_at": AT["created_at"]}}
        events = [thread] if self.count == 0 else []
        for widget in self.widgets:
            self.count += 1
            item = {"id": f"w{self.count}", "type": "widget", "widget": widget, **AT}
            events.append({"type": "thread.item.done", "item": item})
        return stream(sse(*events))

    def show(self, *widgets: Widget) -> None:
        """Have the server answer with these widgets, and wait until they are drawn."""
        self.widgets = list(widgets)
        self.say("Show")
        self.wait("!root.querySelector('article.widget .progress')")


@pytest.fixture
def chat(page: Page, serve: Any) -> Iterator[Shown]:
    """A page of a site with the built-in chat, not opened yet."""
    server = site.Talker()
    app = site.make_site(server)
    yield Shown(page, server, app, serve(app))
    server.go.set()


# --- the schema ----------------------------------------------------------------------------------

#: What is not drawn, and why.
IGNORED = {
    "key": "React's; a component is found by its id",
    "DatePicker.align": "the calendar is the browser's own, which places it",
    "DatePicker.side": "the calendar is the browser's own, which places it",
    "Select.searchable": "the list is the browser's own, in which one types to search",
    "ThemeColor": "covered where a colour is",
}
#: What shows in what a control does, not in its HTML; each has a test below.
ACTED = {
    "Button.onClickAction",
    "Card.cancel.action",
    "Card.confirm.action",
    "Checkbox.onChangeAction",
    "DatePicker.onChangeAction",
    "Form.onSubmitAction",
    "Input.autoFocus",
    "Input.autoSelect",
    "RadioGroup.onChangeAction",
    "Select.onChangeAction",
    "Text.editable.autoFocus",
    "Text.editable.autoSelect",
    "Textarea.autoFocus",
    "Textarea.autoSelect",
    "Textarea.autoResize",
    "Textarea.pattern",
    "Text.editable.pattern",
}


def own_fields(annotation: Any) -> Iterator[str]:
    """The names of the fields of all typed dicts and series in an annotation, but for colours."""
    if getattr(annotation, "__name__", "") in {"ActionConfig", "ThemeColor"}:
        return
    if is_typeddict(annotation):
        for name, given in get_type_hints(annotation).items():
            yield name
            yield from own_fields(given)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not issubclass(annotation, WidgetComponentBase):
            yield from annotation.model_fields
    else:
        for part in get_args(annotation):
            yield from own_fields(part)


def schema() -> list[str]:
    """Each property of each component of openai-chatkit, as in "Box.border.size"."""
    found = []
    for kind, component in COMPONENTS.items():
        component.model_rebuild()
        for name, given in component.model_fields.items():
            if name in {"type", "children"}:
                continue
            found.append(f"{kind}.{name}")
            inner = dict.fromkeys(own_fields(given.annotation))
            found += [f"{kind}.{name}.{each}" for each in inner]
    return found


def components(node: Any) -> Iterator[Widget]:
    """All components in a widget."""
    if isinstance(node, list):
        for one in node:
            yield from components(one)
    elif isinstance(node, dict) and "type" in node:
        yield node
        yield from components(node.get("children", []))


def without(value: Any, name: str) -> Any:
    """A value with no field of a name, however deep."""
    if isinstance(value, dict):
        return {key: without(one, name) for key, one in value.items() if key != name}
    return [without(one, name) for one in value] if isinstance(value, list) else value


def pairs(path: str) -> Iterator[tuple[Widget, Widget]]:
    """The gallery's components that have a property, each with what it is without it."""
    kind, name, *inner = path.split(".")
    for component in components(list(GALLERY.values())):
        if component["type"] == kind and name == "id":
            yield {**component, "id": "found"}, component
        if component["type"] != kind or name not in component:
            continue
        if inner:
            other = {**component, name: without(component[name], inner[0])}
        else:
            other = {key: one for key, one in component.items() if key != name}
        if other != component:
            yield component, other


DRAW = """async ({ pairs }) => {
  const { drawRoot } = await import("/static/builtin/widgets/index.js");
  const { modelOf } = await import("/static/builtin/widgets/chart.js");
  const { default: text } = await import("/static/lang/en.js");
  const host = el.shadowRoot.querySelector(".thread");
  const draw = (widget) => {
    const context = { host, text: text.chat, id: "i", theme: {}, dark: false, streaming: true,
      fresh: true, labels: new Map(), parts: new Map(), act() {}, ground: null,
      markdown(node, value) { node.textContent = value; } };
    const node = drawRoot(widget, context);
    const model = widget.type === "Chart" && modelOf(widget, context);
    return [node?.outerHTML ?? node, JSON.stringify(model), context.parts.size].join();
  };
  return pairs.map(([one, other]) => draw(one) !== draw(other));
}"""


def test_every_property_of_the_schema_is_drawn(chat: Shown) -> None:
    """What openai-chatkit's classes have changes what is drawn, or has a reason why it does not."""
    chat.open()
    missing, cases = [], []
    for path in schema():
        if path in IGNORED or path in ACTED or path.rpartition(".")[2] in IGNORED:
            continue
        found = list(pairs(path))
        if not found:
            missing.append(path)
        cases += [(path, pair) for pair in found]
    differs = chat.page.evaluate(DRAW, {"pairs": [pair for _, pair in cases]})
    drawn = {path for (path, _), found in zip(cases, differs, strict=True) if found}
    undrawn = {path for path, _ in cases} - drawn
    assert (missing, undrawn) == ([], set())
    assert {path for path in (*IGNORED, *ACTED) if "." in path} <= set(schema())


@pytest.mark.parametrize("scheme", ["light", "dark", "forced"])
def test_axe_finds_nothing_in_the_gallery(chat: Shown, node_modules: Path, scheme: str) -> None:
    """Of all that widgets can be, axe has nothing to say."""
    if scheme == "forced":
        chat.page.emulate_media(forced_colors="active")
    chat.open(f"theme: '{'dark' if scheme == 'dark' else 'light'}',")
    for widgets in GALLERY.values():
        chat.show(*widgets)
    chat.page.evaluate("for (const d of el.shadowRoot.querySelectorAll('details')) d.open = true")
    assert axe(chat, node_modules) == []


@pytest.mark.parametrize("name", GALLERY)
def test_gallery_fits_small_screens(chat: Shown, console: Any, name: str) -> None:
    """However narrow the chat is, no widget sticks out of it."""
    chat.page.set_viewport_size({"width": 320, "height": 600})
    chat.open()
    chat.show(*GALLERY[name])
    assert chat.run("((log) => log.scrollWidth - log.clientWidth)(root.querySelector('.log'))") == 0
    # One picture of the gallery is from where the site's policy allows none.
    assert [each for each in console.all if "img-src" not in each] == []


def test_gallery_fits_fingers(browser: Any, chat: Shown) -> None:
    """Where fingers point, every control of a widget is at least 44 px high."""
    small = """[...root.querySelectorAll('.widget :is(button, select, input, textarea, summary)')]
      .filter((node) => node.checkVisibility() && !/radio|checkbox/.test(node.type))
      .filter((node) => Math.round(node.getBoundingClientRect().height) < 44)
      .map((node) => node.outerHTML)"""
    with browser.new_context(
        has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}
    ) as context:
        chat.page = context.new_page()
        chat.open()
        for name in ("buttons", "form", "cards", "lists"):
            chat.show(*GALLERY[name])
        assert [each for each in chat.run(small) if "editable" not in each] == []


# --- what is drawn -------------------------------------------------------------------------------


def test_room_comes_with_the_first_widget(chat: Shown) -> None:
    """A chat without widgets loads nothing of them, one without charts no library for these."""
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url.partition("/static/")[2]))
    chat.open()
    chat.say("Hello")
    assert [name for name in asked if name.startswith("builtin/widgets/")] == []
    chat.show({"type": "Card", "children": [{"type": "Text", "value": "One"}]})
    chat.shows("One")
    assert "builtin/widgets/index.js" in asked
    assert not {"builtin/widgets/plot.js", "vendor/uplot.mjs", "builtin/icons.js"} & set(asked)
    chat.show(*GALLERY["charts"])
    chat.page.locator("article.widget canvas").first.wait_for()
    assert {"builtin/widgets/plot.js", "vendor/uplot.mjs"} <= set(asked)


def test_without_its_room_a_widget_is_its_words(chat: Shown) -> None:
    """Where the modules do not come a widget's words are read, and the next one tries again."""
    chat.page.route("**/builtin/widgets/*.js", lambda route: route.abort())
    chat.open()
    chat.show({"type": "Card", "children": [{"type": "Title", "value": "Lamp"}]})
    chat.shows("Lamp")
    assert chat.page.locator("article.widget .card").count() == 0
    chat.page.unroute("**/builtin/widgets/*.js")
    chat.show({"type": "Card", "children": [{"type": "Title", "value": "Torch"}]})
    chat.page.locator("article.widget .card").get_by_text("Torch").wait_for()


def test_first_widget_is_announced(chat: Shown) -> None:
    """A screen reader hears the words of a widget whose modules had to be waited for."""
    chat.page.route(
        "**/builtin/widgets/index.js", lambda route: (time.sleep(0.4), route.continue_())
    )
    chat.open()
    chat.show({"type": "Card", "children": [{"type": "Text", "value": "Your lamp is ready"}]})
    chat.wait("root.querySelector('[role=status]').textContent.includes('Your lamp is ready')")


def test_all_icons_are_drawn(chat: Shown) -> None:
    """Each of ChatKit's names has a path of its own, or one that it shares with few."""
    chat.open()
    chat.show({"type": "Card", "children": [{"type": "Icon", "name": name} for name in ICONS]})
    shapes = "[...root.querySelectorAll('.glyph path')].map((path) => path.getAttribute('d'))"
    chat.wait(f"{shapes}.every(Boolean)")
    paths = chat.run(shapes)
    assert len(paths) == len(ICONS) == 64
    assert len(set(paths)) >= 60
    circle = chat.run(f"{shapes}[{ICONS.index('empty-circle')}]")
    assert paths.count(circle) == 1


HOSTILE = [
    "red;position:fixed;inset:0",
    "url(https://elsewhere.test/x.png)",
    "linear-gradient(url(https://elsewhere.test/x), red)",
    "image-set('https://elsewhere.test/x' 1x)",
    "var(--ink)",
    "env(safe-area-inset-top)",
    "calc(1px + var(--x))",
    "expression(alert(1))",
    "-9999px",
    "100% !important",
    "hidden chat composer",
    "</style><script>pwned(1)</script>",
    '"><img src=x onerror=pwned(1)>',
    "__proto__",
    "constructor",
    {"light": "url(https://elsewhere.test/y)", "dark": {"light": "red"}},
    {"toString": 1, "size": "url(x)", "color": "var(--x)", "style": "solid;x:y"},
    [["a"], {"b": 1}],
    1e308,
    -1,
    True,
]


def test_hostile_values_are_no_css(chat: Shown, console: Any) -> None:
    """Whatever a property holds, its strings get into no style or class, and load nothing."""
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url))
    chat.open()
    spared = {"type", "children", "id", "key", "value", "label", "options", "data", "series"}
    made = []
    for kind, component in COMPONENTS.items():
        base: Widget = {"type": kind, "value": "words", "name": "n", "label": "l"}
        for name in sorted(set(component.model_fields) - spared):
            made += [{**base, name: value} for value in HOSTILE]
    chat.show({"type": "Card", "children": made})
    chat.page.wait_for_timeout(200)
    styles = chat.run(
        "[...root.querySelectorAll('.widget *')].map((node) =>"
        " [node.style.cssText, node.getAttribute('class') ?? ''])"
    )
    for style, classes in styles:
        assert not re.search(r"url|env|fixed|important|9999|expression|--x|image-set", style), style
        assert not re.search(r"hidden chat|composer|pwned|proto|constructor", classes), classes
    assert [url for url in asked if not url.startswith((chat.base, "data:"))] == []
    assert chat.run("window.wasPwned ?? null") is None
    assert console.uncaught == []


CONTRASTS = """[...root.querySelectorAll('.widget :is(.text, .title, .caption, .badge, .button)')]
  .map((node) => {
    const numbers = (text) => text.match(/[\\d.e+-]+(?![a-z])/g).map(Number);
    const rgb = (text) => (text.startsWith('color(') ? numbers(text.slice(10)).slice(0, 3)
      : numbers(text).slice(0, 3).map((part) => part / 255));
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const light = (text) => {
      const [red, green, blue] = rgb(text).map(linear);
      return red * 0.2126 + green * 0.7152 + blue * 0.0722;
    };
    let below = node;
    const groundOf = (each) => {
      const { backgroundColor, backgroundImage } = getComputedStyle(each);
      const isPlain = backgroundImage === 'none';
      if (!isPlain) return backgroundImage.match(/(rgb|color)\\([^)]*\\)/g);
      return /^rgba.*, 0\\)$|\\/ 0\\)$/.test(backgroundColor) ? null : [backgroundColor];
    };
    while (!groundOf(below)) below = below.parentElement ?? below.getRootNode().host;
    const ink = light(getComputedStyle(node).color);
    const ratios = groundOf(below).map(light).map((ground) =>
      (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05));
    return [node.textContent.slice(0, 40), Math.min(...ratios)];
  })"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_readable_on_every_ground(chat: Shown, scheme: str) -> None:
    """On colours and gradients, and where a background is refused, texts have a contrast of 4.5."""
    chat.open(f"theme: '{scheme}',")
    for name in ("grounds", "texts", "cards", "buttons", "badges"):
        chat.show(*GALLERY[name])
    found = [pair for pair in chat.run(CONTRASTS) if pair[0] != "Disabled"]
    assert len(found) > 100
    assert [pair for pair in found if pair[1] < 4.49] == []
    refused = "From black to white"
    ground = "(node) => getComputedStyle(node.parentElement).backgroundImage"
    assert chat.log.get_by_text(refused).evaluate(ground) == "none"


def test_part_that_changes_keeps_its_ground(chat: Shown) -> None:
    """A component that is replaced within a dark box is readable there, as the one before."""
    chat.open()
    box = {
        "type": "Box",
        "background": "#101030",
        "children": [{"type": "Text", "id": "t", "value": "Before", "color": "#223"}],
    }
    chat.show({"type": "Card", "children": [box]})
    before = chat.log.get_by_text("Before").evaluate("(node) => getComputedStyle(node).color")
    fresh = {"type": "Text", "id": "t", "value": "After", "color": "#223"}
    update = {"type": "widget.component.updated", "component_id": "t", "component": fresh}
    event = {"type": "thread.item.updated", "item_id": "w1", "update": update}
    chat.app.config["ANSWER"] = lambda body: (
        stream(sse(event)) if "message" in body["type"] else None
    )
    chat.say("Change")
    after = chat.log.get_by_text("After")
    assert after.evaluate("(node) => getComputedStyle(node).color") == before
    assert before != "rgb(34, 34, 51)"


def test_theme_switch_redraws_widgets(chat: Shown) -> None:
    """Colours for light and dark follow a switch of the theme, and what was typed stays."""
    chat.open()
    pair = {"light": "#663300", "dark": "#ffcc99"}
    field = {"type": "Input", "name": "kept"}
    chat.show(
        {"type": "Card", "children": [{"type": "Text", "value": "Two", "color": pair}, field]}
    )
    chat.page.get_by_label("kept").fill("mine")
    colour = "(node) => getComputedStyle(node).color"
    assert chat.log.get_by_text("Two").evaluate(colour) == "rgb(102, 51, 0)"
    chat.run("el.setOptions({...base(), theme: 'dark'})")
    chat.wait(
        "getComputedStyle(root.querySelector('.widget .text')).color === 'rgb(255, 204, 153)'"
    )
    assert chat.page.get_by_label("kept").input_value() == "mine"


# --- charts --------------------------------------------------------------------------------------

BARS: Widget = {
    "type": "Chart",
    "data": [{"m": "May", "v": 3, "w": 1}, {"m": "June", "v": 5, "w": 2}],
    "series": [
        {"type": "bar", "dataKey": "v", "label": "Visits", "color": "#0000ff"},
        {"type": "line", "dataKey": "w", "label": "Orders", "color": "#cc0000"},
    ],
    "xAxis": {"dataKey": "m", "labels": {"May": "in May"}},
    "height": 200,
}
PIXELS = """(() => {
  const canvas = root.querySelector('.widget canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const count = ([r, g, b]) => {
    let found = 0;
    for (let at = 0; at < data.length; at += 4)
      found += [r, g, b, 255].every((part, index) => data[at + index] === part) ? 1 : 0;
    return found;
  };
  return [count([0, 0, 255]), count([204, 0, 0])];
})()"""


def test_chart_is_drawn_and_read(chat: Shown, console: Any) -> None:
    """Bars and lines are painted in their colours, and a hidden table has the numbers."""
    chat.open()
    chat.show({"type": "Card", "children": [BARS]})
    chat.page.locator(".widget canvas").wait_for()
    chat.wait(f"{PIXELS}[0] > 2000")
    assert chat.run(PIXELS)[1] > 100
    rows = chat.page.get_by_role("row").all_inner_texts()
    assert rows == ["\tVisits\tOrders", "in May\t3\t1", "June\t5\t2"]
    hidden = "getComputedStyle(root.querySelector('.widget table').parentElement).clipPath"
    assert chat.run(hidden) == "inset(50%)"
    assert console.all == []


def test_chart_tells_what_is_pointed_at(chat: Shown) -> None:
    """The values of the category under the pointer are shown beside it."""
    chat.open()
    chat.show({"type": "Card", "children": [BARS]})
    box = chat.page.locator(".widget .u-over").bounding_box()
    assert box
    chat.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 30)
    tip = chat.page.locator(".widget .tip")
    tip.wait_for()
    assert tip.inner_text().split("\n") == ["June", "Visits", "5", "Orders", "2"]
    chat.page.mouse.move(box["x"] - 30, box["y"] - 60)
    tip.wait_for(state="hidden")


def test_chart_follows_its_room(chat: Shown) -> None:
    """A chart is as wide as its place, also when that changes."""
    chat.open()
    chat.show({"type": "Card", "children": [BARS]})
    wide = chat.page.locator(".widget canvas").bounding_box()["width"]
    chat.page.set_viewport_size({"width": 360, "height": 800})
    chat.wait(f"root.querySelector('.widget canvas').getBoundingClientRect().width < {wide - 100}")


def test_chart_without_its_library_is_a_table(chat: Shown) -> None:
    """Where the library does not come the numbers are there to be seen."""
    chat.page.route("**/vendor/uplot.mjs", lambda route: route.abort())
    chat.open()
    chat.show({"type": "Card", "children": [BARS]})
    table = chat.page.get_by_role("group", name="Table")
    table.wait_for()
    assert table.get_by_role("row").count() == 3
    assert chat.page.locator(".widget canvas").count() == 0


# --- forms and cards -----------------------------------------------------------------------------


def test_editable_text_keeps_its_lines(chat: Shown) -> None:
    """A text of several lines is edited as such, grows, and is sent with its line breaks."""
    chat.open()
    text = {"type": "Text", "value": "Dear Ann,\nhello", "editable": {"name": "mail.body"}}
    action = {"label": "Send", "action": {"type": "send", "payload": {"to": "ann"}}}
    chat.show({"type": "Card", "asForm": True, "children": [text], "confirm": action})
    field = chat.page.get_by_label("mail body")
    assert field.input_value() == "Dear Ann,\nhello"
    before = field.bounding_box()["height"]
    field.press("Control+End")
    field.press("Enter")
    field.press_sequentially("and bye")
    assert field.bounding_box()["height"] > before + 10
    chat.button("Send", exact=True).click()
    until(lambda: chat.actions)
    payload = {"to": "ann", "mail": {"body": "Dear Ann,\nhello\nand bye"}}
    assert chat.actions == [{"type": "send", "payload": payload}]


def test_wrong_fields_are_told_below_them(chat: Shown) -> None:
    """The browser's words stand below each wrong field, and the first one has the focus."""
    chat.open()
    agree = {"type": "Checkbox", "name": "agree", "label": "I agree", "required": True}
    size = {"type": "RadioGroup", "name": "size", "required": True}
    size["options"] = [{"value": "s", "label": "Small"}, {"value": "l", "label": "Large"}]
    form = {
        "type": "Form",
        "onSubmitAction": {"type": "book"},
        "children": [
            {"type": "Input", "name": "ok", "defaultValue": "fine", "required": True},
            {"type": "Input", "name": "code", "required": True, "pattern": "[A-Z]{3}"},
            {"type": "Textarea", "name": "wish", "defaultValue": "<b>", "pattern": "[^<>]*"},
            {"type": "Text", "value": "", "editable": {"name": "note", "required": True}},
            agree,
            size,
            {"type": "Button", "label": "Book", "submit": True},
        ],
    }
    chat.show({"type": "Card", "children": [form]})
    chat.button("Book").click()
    problems = chat.page.locator(".widget .problem")
    assert problems.count() == 5
    assert all(problems.all_inner_texts())
    code = chat.page.get_by_label("code", exact=True)
    assert code.evaluate("(node) => node === node.getRootNode().activeElement")
    assert code.get_attribute("aria-invalid") == "true"
    told = code.evaluate(
        "(node) => node.getRootNode().getElementById("
        "node.getAttribute('aria-describedby')).textContent"
    )
    assert told == problems.first.inner_text()
    code.fill("ab")
    assert problems.first.inner_text() != told
    code.fill("ABC")
    assert code.get_attribute("aria-invalid") is None
    assert problems.count() == 4
    chat.page.get_by_label("wish").fill("no tags\nhere")
    chat.page.get_by_label("note").fill("one\ntwo")
    chat.page.get_by_label("I agree").check()
    chat.page.get_by_label("Large").check()
    assert problems.count() == 0
    chat.button("Book").click()
    until(lambda: chat.actions)
    assert chat.actions[0]["payload"] == {
        "ok": "fine",
        "code": "ABC",
        "wish": "no tags\nhere",
        "note": "one\ntwo",
        "agree": True,
        "size": "l",
    }


def test_card_waits_for_its_action(chat: Shown) -> None:
    """While an action runs its card is busy, and a second click does nothing."""
    chat.open(
        "widgets: {onAction: (action) => { window.acted = [...(window.acted ?? []), action.type];"
        " return new Promise((done) => { window.done = done; }); }},"
    )
    actions = {
        name: {"label": name, "action": {"type": name, "handler": "client"}}
        for name in ("confirm", "cancel")
    }
    chat.show({"type": "Card", "asForm": True, "children": [], **actions})
    chat.button("confirm").click()
    chat.page.locator("article.widget[aria-busy=true]").wait_for()
    spins = "getComputedStyle(root.querySelector('.widget .primary'), '::before').content"
    assert chat.run(spins) == '""'
    chat.button("cancel").press("Enter")
    chat.button("confirm").press("Enter")
    assert chat.run("acted") == ["confirm"]
    chat.run("done()")
    chat.page.locator("article.widget:not([aria-busy])").wait_for()
    chat.button("cancel").click()
    assert chat.run("acted") == ["confirm", "cancel"]


def test_collapsed_card_opens(chat: Shown) -> None:
    """Of a collapsed card its status is shown; who wants the rest opens it."""
    chat.open()
    status = {"text": "Booked", "icon": "check-circle"}
    body = [{"type": "Text", "value": "Table 4"}]
    chat.show({"type": "Card", "collapsed": True, "status": status, "children": body})
    assert not chat.page.get_by_text("Table 4").is_visible()
    chat.page.locator(".widget summary", has_text="Booked").click()
    assert chat.page.get_by_text("Table 4").is_visible()


def test_clearable_fields_are_emptied(chat: Shown) -> None:
    """A button beside a date or a choice empties it, and its action is told."""
    chat.open()
    change = {"type": "day", "handler": "server"}
    day = {"type": "DatePicker", "name": "day", "defaultValue": "2026-11-20", "clearable": True}
    chat.show(
        {"type": "Card", "children": [{**day, "onChangeAction": change, "placeholder": "Day"}]}
    )
    chat.button("Clear").click()
    until(lambda: chat.actions)
    assert chat.actions == [{"type": "day", "payload": {"day": ""}}]
    assert chat.page.get_by_label("Day").input_value() == ""
    assert chat.page.locator(".widget .hint").is_visible() is False  # it has the focus
    chat.field.focus()
    assert chat.page.locator(".widget .hint").is_visible()


@pytest.mark.parametrize("kind", ["Input", "Textarea", "Text"])
def test_fresh_field_takes_the_focus_once(chat: Shown, kind: str) -> None:
    """A field that wants the focus gets it, selected, when it comes; not when it is shown again."""
    given = {"name": "city", "autoFocus": True, "autoSelect": True}
    field = (
        {"type": kind, "value": "Bern", "editable": given}
        if kind == "Text"
        else {"type": kind, "defaultValue": "Bern", **given}
    )
    chat.open()
    chat.show({"type": "Card", "children": [field]})
    chat.wait("root.activeElement?.name === 'city'")
    city = chat.page.get_by_label("city")
    assert city.evaluate("(node) => [node.selectionStart, node.selectionEnd]") == [0, 4]
    chat.field.focus()
    chat.run("el.setOptions({...base(), theme: 'dark'})")
    chat.page.wait_for_timeout(100)
    assert chat.run("root.activeElement.name") != "city"


def test_list_shows_more_on_request(chat: Shown) -> None:
    """Rows beyond the limit come on request, and the focus goes to the first of them."""
    chat.open()
    rows = [
        {"type": "ListViewItem", "children": [{"type": "Text", "value": f"Row {number}"}]}
        for number in range(1, 13)
    ]
    chat.show({"type": "ListView", "limit": "auto", "children": rows})
    assert chat.page.locator(".widget li").count() == 9
    chat.button("Show more").press("Enter")
    assert chat.page.locator(".widget li").count() == 12
    assert chat.run("root.activeElement.textContent") == "Row 9"


# --- weight --------------------------------------------------------------------------------------

STATIC_IMPORT = re.compile(r'^(?:import|export) [^;]*?from "(.+?)";|^import "(.+?)";', re.MULTILINE)


def weigh(name: str, found: dict[str, int]) -> dict[str, int]:
    """The packed bytes of a module and of all that it imports at once."""
    if name not in found:
        code = served(name).decode()
        found[name] = len(gzip.compress(code.encode(), 9))
        for match in STATIC_IMPORT.finditer(code):
            there = posixpath.join(posixpath.dirname(name), match[1] or match[2])
            weigh(posixpath.normpath(there), found)
    return found


def test_widgets_do_not_weigh_on_chats_without_them() -> None:
    """What every chat loads is at most 48 kB, and has nothing of widgets but their door."""
    chat = weigh("builtin/element.js", weigh("builtin/index.js", {}))
    assert "builtin/widgets.js" in chat
    assert not [name for name in chat if name.startswith("builtin/widgets/")]
    # `shared/` has come with the widget around it.
    own = {name: size for name, size in chat.items() if name.startswith("builtin/")}
    assert sum(own.values()) <= 48_000
