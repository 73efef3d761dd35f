"""The widget's gallery: how it looks in each of its states, in all the ways that pages show it.

Run it by hand, and look at what it makes::

    python tests/helpers/gallery.py [--out FOLDER] [--only NAME] [--lang fi]

It needs Chromium and Playwright, and neither the internet nor a key. Each variant is shown in light
and dark, on a phone and a desktop, in English and from right to left in Arabic, as in
``floating-open.dark.phone.rtl.png``, and in forced colours. All pictures of a variant are on
``sheet.floating-open.png``, and all there are on ``index.html``. With ``--lang`` the widget speaks
another language where it would speak English; what the site says stays English. ``--docs`` makes
the pictures of the documentation anew. ``widgets-*`` have every component of ChatKit's widgets,
with all they may have.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, render_template_string, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import demo_app
from demo_app import catalogue
from flask_chatkit import ChatKit
from tests.helpers import chromium
from tests.helpers.widget_gallery import GALLERY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"desktop": (1200, 800), "phone": (390, 844), "readme": (1280, 880)}
#: Milliseconds that a page may take to become what is shown, and that it then has to settle.
PATIENCE, SETTLE = 15_000, 250
#: When it is in the demo's shop.
TODAY = datetime(2026, 11, 20, 11, tzinfo=timezone.utc)
#: Seconds that an answer takes, so that a panel can be closed before it comes.
ANSWER = 0.4

# --- what is said, in the two languages ----------------------------------------------------------

WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "brand": "Larch & Lantern",
        "nav": ["Shop", "Help", "Visit us"],
        "title": "Good things for slow walks",
        "lead": (
            "Rain jackets, daypacks and lanterns from makers we have met, tried for a year on the "
            "hill behind the shop."
        ),
        "button": "See what is new",
        "link": "Delivery and returns",
        "products": [
            ("drizzle-jacket", "Drizzle Jacket", "£148"),
            ("larch-daypack", "Larch Daypack", "£92"),
            ("marsh-lantern", "Marsh Lantern", "£36"),
        ],
        "label": "Chat with us",
        "teaser": "Hello! Looking for something for the rain?",
        "greeting": "What are you looking for?",
        "prompts": ["Where is my order 1042?", "Show me the jacket", "What should I pack?"],
        "placeholder": "Ask about orders, sizes, delivery",
        "questions": ["How long does delivery take?", "And where is my order 1042?"],
        "answer": (
            "We send something every working day:\n\n"
            "- **In town**: one to two days\n"
            "- **Everywhere else**: two to three working days\n\n"
            "What is ordered before two o'clock leaves the shop on the same day."
        ),
        "found": "Here it is: on its way to you.",
        "order": "Order 1042",
        "lines": ["Drizzle Jacket, size M", "By Monday 23 November"],
        "return": "Send me the return label",
        "contact": "Write us an e-mail",
        "failed": "The stock could not be read.",
    },
    "ar": {
        "brand": "أرز وقنديل",
        "nav": ["المتجر", "المساعدة", "زورونا"],
        "title": "أشياء جميلة للمشي على مهل",
        "lead": (
            "سترات مطر وحقائب ظهر وقناديل من صنّاع نعرفهم، جرّبناها عامًا كاملًا على التل خلف المتجر."
        ),
        "button": "شاهد الجديد",
        "link": "التوصيل والإرجاع",
        "products": [
            ("drizzle-jacket", "سترة الرذاذ", "١٤٨ £"),
            ("larch-daypack", "حقيبة الأرز", "٩٢ £"),
            ("marsh-lantern", "قنديل المستنقع", "٣٦ £"),
        ],
        "label": "تحدّث معنا",
        "teaser": "مرحبًا! هل تبحث عن شيء للمطر؟",
        "greeting": "عمّ تبحث؟",
        "prompts": ["أين طلبي 1042؟", "أرني السترة", "ماذا أحزم معي؟"],
        "placeholder": "اسأل عن الطلبات والمقاسات والتوصيل",
        "questions": ["كم يستغرق التوصيل؟", "وأين طلبي 1042؟"],
        "answer": (
            "نرسل الطلبات كل يوم عمل:\n\n"
            "- **داخل المدينة**: يوم إلى يومين\n"
            "- **باقي البلاد**: يومان إلى ثلاثة أيام عمل\n\n"
            "ما يُطلب قبل الساعة الثانية يغادر المتجر في اليوم نفسه."
        ),
        "found": "وجدته: إنه في الطريق إليك.",
        "order": "الطلب 1042",
        "lines": ["سترة الرذاذ، مقاس M", "يصل قبل الاثنين 23 نوفمبر"],
        "return": "أرسل لي ملصق الإرجاع",
        "contact": "راسلنا بالبريد الإلكتروني",
        "failed": "تعذّرت قراءة المخزون.",
    },
}

#: An answer with all that a text may have.
READING = """\
## Delivery

We send something **every working day**, as in [the list](https://example.com/delivery):

| Where | How long | Price |
|---|---|---:|
| In town | one to two days | £3 |
| Everywhere else | two to three working days | £5 |

1. Choose a size
2. Put it into the basket
   - with one pair of socks more than you think
   - and the `larch-daypack`

- [x] Rain jacket
- [ ] Lantern

> Cotton stays at home.
>
> > And so does the umbrella.

```python
def pack(items: list[str]) -> int:
    # What goes in
    return sum(1 for item in items if item != "umbrella")
```

What fits:

$$V = \\pi r^2 h$$"""

# --- the site ------------------------------------------------------------------------------------

#: Where each look keeps its colours; ``plain`` has none that a widget could know the name of.
LOOKS = {
    "shop": (
        ":root { --paper: light-dark(#faf7f1, #151a16); --ink: light-dark(#232a22, #eae7de);"
        " --brand: light-dark(#2f5d3f, #a3d0a4); --on-brand: light-dark(#fff, #10210f);"
        " --card: light-dark(#fff, #1f2620); --round: 0.75rem;"
        " --chatkit-primary: var(--brand); --chatkit-on-primary: var(--on-brand);"
        " --chatkit-bg: var(--card); --chatkit-text: var(--ink); }"
    ),
    "plain": (
        ":root { --paper: light-dark(#fdf6ec, #221b22); --ink: light-dark(#3b3330, #f0e6ea);"
        " --brand: light-dark(#a8325a, #f08fb0); --on-brand: light-dark(#fff, #2a0815);"
        " --card: light-dark(#fffdf9, #2c232c); --round: 0; }"
    ),
    "bootstrap": (
        ":root { --bs-primary: #0d6efd; --bs-body-bg: #fff; --bs-body-color: #212529;"
        " --bs-border-radius: 0.375rem; --bs-body-font-family: system-ui, sans-serif; }"
        "[data-bs-theme=dark] { --bs-body-bg: #212529; --bs-body-color: #dee2e6; }"
        ":root { --paper: var(--bs-body-bg); --ink: var(--bs-body-color);"
        " --brand: var(--bs-primary); --on-brand: #fff; --card: var(--bs-body-bg);"
        " --round: var(--bs-border-radius); }"
    ),
    "pico": (
        ":root { --pico-primary-background: #0172ad; --pico-background-color: #fff;"
        " --pico-color: #373c44; --pico-border-radius: 0.25rem;"
        " --pico-font-family: system-ui, sans-serif; }"
        "[data-theme=dark] { --pico-background-color: #13171f; --pico-color: #c2c7d0; }"
        ":root { --paper: var(--pico-background-color); --ink: var(--pico-color);"
        " --brand: var(--pico-primary-background); --on-brand: #fff;"
        " --card: var(--pico-background-color); --round: var(--pico-border-radius); }"
    ),
    "shadcn": (
        ":root { --primary: oklch(0.205 0 0); --background: oklch(1 0 0);"
        " --foreground: oklch(0.145 0 0); --radius: 0.625rem;"
        " --primary-foreground: oklch(0.985 0 0); }"
        ".dark { --primary: oklch(0.922 0 0); --background: oklch(0.145 0 0);"
        " --foreground: oklch(0.985 0 0); --primary-foreground: oklch(0.205 0 0); }"
        ":root { --paper: var(--background); --ink: var(--foreground); --brand: var(--primary);"
        " --on-brand: var(--primary-foreground); --card: var(--background);"
        " --round: var(--radius); }"
    ),
}
LAYOUT = """
:root { color-scheme: light; }
:is([data-theme=dark], [data-bs-theme=dark], .dark) { color-scheme: dark; }
* { box-sizing: border-box; }
body { background: var(--paper); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif;
  margin: 0; }
body > * { margin-inline: auto; max-inline-size: 70rem; padding: 1rem 1.5rem; }
header { align-items: center; display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; }
header strong { font-size: 1.2rem; margin-inline-end: auto; }
header a { color: inherit; text-decoration: none; }
h1 { font-size: clamp(2rem, 4vw, 3rem); line-height: 1.15; margin: 0.5em 0; }
.lead { font-size: 1.125rem; max-inline-size: 36rem; }
.act { align-items: center; display: flex; flex-wrap: wrap; gap: 1rem 1.5rem;
  margin-block: 1.5rem; }
main a { color: var(--brand); }
.button { background: var(--brand); border: 0; border-radius: var(--round); color: var(--on-brand);
  font: inherit; font-weight: 600; padding: 0.6rem 1.25rem; }
.shelf { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); }
.card { background: var(--card); border: 1px solid color-mix(in srgb, var(--ink) 15%, transparent);
  border-radius: var(--round); overflow: hidden; padding-block-end: 0.75rem; }
.card img { block-size: auto; display: block; inline-size: 100%; }
.card h2 { font-size: 1.125rem; margin: 0.75rem 1rem 0; }
.card p { margin: 0 1rem; }
.beside { align-items: start; display: grid; gap: 2rem; }
@media (width >= 60rem) { .beside { grid-template-columns: 1fr 30rem; } }
"""
SHELF = """
{% macro shelf(products) %}
  {% for picture, name, price in products %}
    <article class="card">
      <img src="/static/{{ picture }}.svg" alt="" width="400" height="300">
      <h2>{{ name }}</h2>
      <p>{{ price }}</p>
    </article>
  {% endfor %}
{% endmacro %}
"""
PAGE = (
    SHELF
    + """<!doctype html>
<html lang="{{ lang }}" dir="{{ 'rtl' if lang == 'ar' else 'ltr' }}" class="{{ theme }}"
  data-theme="{{ theme }}" data-bs-theme="{{ theme }}">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{{ words.brand }}</title>
  <style>{{ look|safe }}{{ layout|safe }}</style>
</head>
<body>
  <header>
    <strong>{{ words.brand }}</strong>
    {% for name in words.nav %}<a href="#">{{ name }}</a>{% endfor %}
  </header>
  <main>
    {% if shown.variant == "floating" %}
      <h1>{{ words.title }}</h1>
      <p class="lead">{{ words.lead }}</p>
      <p class="act">
        <button class="button" type="button">{{ words.button }}</button>
        <a href="#">{{ words.link }}</a>
      </p>
      <div class="shelf">{{ shelf(words.products) }}</div>
      {{ chatkit_widget(shown.variant, chat, options) }}
    {% else %}
      <div class="beside">
        <div>
          <h1>{{ words.title }}</h1>
          <p class="lead">{{ words.lead }}</p>
          <p class="act">
            <button class="button" type="button">{{ words.button }}</button>
            <a href="#">{{ words.link }}</a>
          </p>
        </div>
        {{ chatkit_widget(shown.variant, chat, options) }}
      </div>
    {% endif %}
  </main>
</body>
</html>
"""
)


def answer(message: Any, chat: Any) -> Iterator[Any]:
    """Say what the gallery is to show."""
    said = WORDS[chat.context.chat[:2]]
    if message.text in GALLERY:
        yield from GALLERY[message.text]
        return
    time.sleep(ANSWER)
    if message.text == "reading":
        yield READING
        chat.suggest(said["prompts"])
        return
    if message.text == "failing":
        yield said["answer"]
        raise chat.error(said["failed"], allow_retry=True)
    if "1042" not in message.text:
        yield said["answer"]
        return
    yield said["found"]
    yield {
        "type": "Card",
        "size": "sm",
        "children": [
            {"type": "Title", "value": said["order"], "size": "sm"},
            *[{"type": "Text", "value": line} for line in said["lines"]],
            {
                "type": "Button",
                "label": said["return"],
                "onClickAction": {"type": "label", "payload": {}},
            },
        ],
    }


def settings(folder: Path) -> dict[str, Any]:
    """Tell what a site keeps where, and that everybody may ask as often as they like."""
    return {
        "SECRET_KEY": "of the gallery",
        "CHATKIT_API_KEY": "sk-gallery",
        "CHATKIT_DATABASE_URI": f"sqlite:///{folder}/history.sqlite3",
        "CHATKIT_UPLOAD_FOLDER": str(folder / "uploads"),
        "CHATKIT_RATELIMIT": "",
        "CHATKIT_RATELIMIT_IP": "",
        "CHATKIT_MESSAGE_RATELIMIT": "",
    }


def make_demo(folder: Path) -> Flask:
    """Make the demo's shop, answered by its own assistant, on a day like any other."""
    folder.mkdir()
    catalogue.now = lambda: TODAY
    return demo_app.create_app({**settings(folder), "DEMO_MODE": "assistant"})


def make_site(folder: Path, widgets: str) -> Flask:
    """Make the site that is shown: a page for each variant, and a chat for each language."""
    app = Flask(__name__, static_folder=ROOT / "demo_app" / "static")
    app.config.update(settings(folder))
    kit = ChatKit()
    for name, words in WORDS.items():
        widget = {"locale": widgets if name == "en" else name, "attachments": True, **start(words)}
        kit.assistant(name, attachments=True, widget=widget)(answer)
        kit.assistant(f"{name}-all", attachments=True, widget={**widget, **ALL})(answer)
    # Nobody has to answer in it: OpenAI's script does not come.
    kit.add_hosted("blocked", "wf_gallery")
    app.register_blueprint(kit)
    demo = make_demo(folder / "demo")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/demo": demo.wsgi_app})  # type: ignore[method-assign]

    @app.get("/<name>")
    def show(name: str) -> str:
        lang, shown = request.args["lang"], VARIANTS[name]
        return render_template_string(
            PAGE,
            chat=shown.chat or lang,
            lang=widgets if lang == "en" else lang,
            layout=LAYOUT,
            look=LOOKS[shown.look],
            options=shown.options(WORDS[lang]),
            shown=shown,
            theme=request.args["theme"],
            words=WORDS[lang],
        )

    return app


#: What the composer and the bars under answers may have.
ALL: dict[str, Any] = {
    "feedback": True,
    "retry": True,
    "tools": [{"id": "web", "label": "Search the web", "icon": "globe"}],
    "models": [{"id": "a", "label": "Careful", "default": True}, {"id": "b", "label": "Fast"}],
}


def start(words: Mapping[str, Any]) -> dict[str, Any]:
    """Tell what a chat begins with."""
    return {name: words[name] for name in ("greeting", "prompts", "placeholder")}


# --- what is shown -------------------------------------------------------------------------------


def closed(page: Page, _words: Mapping[str, Any]) -> None:
    """Leave the page as it comes."""
    page.locator(".chatkit-launcher").wait_for()


def opened(page: Page, _words: Mapping[str, Any], state: str = "ready") -> None:
    """Open the panel, and wait until its chat is as far as it is to come."""
    page.locator(".chatkit-launcher").click()
    page.locator(f"[data-state={state}]").wait_for(state="attached")
    page.locator(".chatkit-panel[open]").wait_for()


def sighted(page: Page, _words: Mapping[str, Any]) -> None:
    """Wait for a chat in the flow of the page."""
    page.locator(".chatkit").scroll_into_view_if_needed()
    page.locator("[data-state=ready]").wait_for(state="attached")


SAY = """async ([text, end]) => {
  const chat = FlaskChatKit.get(document.querySelector("[data-chatkit]").id);
  const ended = new Promise((resolve) => chat.on("response.end", resolve));
  await chat.send(text);
  if (end === "close") await chat.close();
  await ended;
}"""


def talked(begin: Callable[[Page, Mapping[str, Any]], None]) -> Any:
    """Have a conversation, after another act."""

    def act(page: Page, words: Mapping[str, Any]) -> None:
        begin(page, words)
        for text in words["questions"]:
            page.evaluate(SAY, [text, ""])
        page.get_by_role("button", name=words["return"]).wait_for()

    return act


def missed(page: Page, words: Mapping[str, Any]) -> None:
    """Ask, and close the panel before the answer comes."""
    opened(page, words)
    page.evaluate(SAY, [words["questions"][0], "close"])
    page.locator(".chatkit-badge").wait_for()


def listed(page: Page, words: Mapping[str, Any]) -> None:
    """Look at the earlier chats, from a new one."""
    opened(page, words)
    for text in words["questions"]:
        page.evaluate("FlaskChatKit.get(document.querySelector('[data-chatkit]').id).thread(null)")
        page.evaluate(SAY, [text, ""])
    page.locator(".chatkit-tool[aria-expanded]").click()
    page.locator(".chatkit-tool[aria-expanded=true]").wait_for()
    page.locator("flask-chatkit-chat .past .caption").first.wait_for()
    for when in page.locator("flask-chatkit-chat .past .caption").all():
        when.evaluate("(node) => { node.textContent = '2026-11-20'; }")


LOG = "document.querySelector('flask-chatkit-chat').shadowRoot.querySelector('.log')"


def drawn(name: str) -> Callable[[Page, Mapping[str, Any]], None]:
    """Have a part of the widgets' gallery, all of it on the screen."""

    def act(page: Page, words: Mapping[str, Any]) -> None:
        sighted(page, words)
        page.evaluate(SAY, [name, ""])
        page.wait_for_timeout(2 * SETTLE)
        width, height = SIZES["phone" if page.evaluate("innerWidth") < 600 else "desktop"]
        needed = page.evaluate(f"{LOG}.scrollHeight + innerHeight - {LOG}.clientHeight")
        page.set_viewport_size({"width": width, "height": max(height, needed)})

    return act


def asked(page: Page, text: str) -> None:
    """Say something on the full page, and wait for the end of its answer."""
    sighted(page, {})
    page.evaluate(SAY, [text, ""])
    page.wait_for_timeout(2 * SETTLE)


def read(page: Page, _words: Mapping[str, Any]) -> None:
    """Read a long answer, to its end."""
    asked(page, "reading")


def failed(page: Page, _words: Mapping[str, Any]) -> None:
    """See an answer fail."""
    asked(page, "failing")


def limited(page: Page, words: Mapping[str, Any]) -> None:
    """Send more than one may."""
    asked(page, words["questions"][0])
    answer = {"message": "Please wait a moment.", "error": {"code": "rate_limited"}}
    limit = {"status": 429, "headers": {"Retry-After": "42"}, "json": answer}
    page.route("**/api", lambda route: route.fulfill(**limit))
    field = page.locator("flask-chatkit-chat textarea")
    field.fill(words["questions"][1])
    field.press("Enter")
    page.locator("flask-chatkit-chat .wait:not([hidden])").wait_for()


def chosen(page: Page, words: Mapping[str, Any]) -> None:
    """Choose what goes with a message, and a file."""
    asked(page, words["questions"][0])
    page.locator("flask-chatkit-chat input[type=file]").set_input_files(
        ROOT / "demo_app" / "static" / "logo.svg"
    )
    page.locator("flask-chatkit-chat .tools [aria-haspopup=menu]").first.click()
    page.locator("flask-chatkit-chat .menu").wait_for()


def edited(page: Page, words: Mapping[str, Any]) -> None:
    """Edit the last message, with files."""
    asked(page, words["questions"][0])
    page.locator("flask-chatkit-chat input[type=file]").set_input_files(
        [ROOT / "demo_app" / "static" / name for name in ("logo.svg", "shop.css")]
    )
    page.wait_for_timeout(4 * SETTLE)
    field = page.locator("flask-chatkit-chat textarea")
    field.fill(words["questions"][1])
    field.press("Enter")
    page.locator("flask-chatkit-chat .bar").last.wait_for()
    page.wait_for_timeout(4 * SETTLE)
    page.locator("flask-chatkit-chat .user_message .bar button").last.click()
    page.locator("flask-chatkit-chat .banner").wait_for()


DROP = """() => {
  const { shadowRoot } = document.querySelector("flask-chatkit-chat");
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(["x"], "x.txt"));
  shadowRoot.querySelector(".chat").dispatchEvent(new DragEvent("dragover", { dataTransfer }));
}"""


def dropped(page: Page, words: Mapping[str, Any]) -> None:
    """Hold a file over the conversation."""
    asked(page, words["questions"][0])
    page.evaluate(DROP)


def ordered(page: Page, words: Mapping[str, Any]) -> None:
    """Ask for an order in the demo's shop."""
    opened(page, words)
    page.evaluate(SAY, ["Where is my order 1042?", ""])
    page.get_by_role("button", name="return label").wait_for()


@dataclass
class Variant:
    """What is shown.

    :param variant: ``floating``, ``inline`` or ``themed``; ``page`` is the full page, ``all``
        that of a chat with all that it may have, ``demo`` the demo's shop, English on either side.
    :param act: what is done before the picture is taken.
    :param options: the macro's options, of the words of a language.
    :param look: the site's look, a name of ``LOOKS``.
    :param chat: the chat's name; the language's by default.
    :param hangs: whether OpenAI's script is waited for in vain.
    """

    variant: str
    act: Callable[[Page, Mapping[str, Any]], None]
    options: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda _words: {}
    look: str = "shop"
    chat: str | None = None
    hangs: bool = False


def labelled(*names: str, **more: Any) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Make options of a language's words, and of others."""
    return lambda words: {"label": words["label"], **{n: words[n] for n in names}, **more}


IN_FLOW = labelled(height="38rem")
AT_HOME = labelled(preset="auto")
VARIANTS: dict[str, Variant] = {
    "shop": Variant("demo", ordered),
    "floating-closed": Variant(
        "floating", closed, lambda words: {"text": words["label"], "label": words["label"]}
    ),
    "floating-start": Variant("floating", opened, labelled()),
    "floating-open": Variant("floating", talked(opened), AT_HOME),
    "floating-history": Variant("floating", listed, AT_HOME),
    "floating-teaser": Variant(
        "floating",
        lambda page, _words: page.locator(".chatkit-teaser").wait_for(),
        lambda words: {
            "label": words["label"],
            "teaser": {"text": words["teaser"], "delay": 0},
        },
    ),
    "floating-unread": Variant("floating", missed, AT_HOME),
    "inline": Variant("inline", talked(sighted), IN_FLOW),
    "themed-plain": Variant("themed", sighted, IN_FLOW, look="plain"),
    "themed-bootstrap": Variant("themed", talked(sighted), IN_FLOW, look="bootstrap"),
    "themed-pico": Variant("themed", sighted, IN_FLOW, look="pico"),
    "themed-shadcn": Variant("themed", talked(sighted), IN_FLOW, look="shadcn"),
    "page": Variant("page", talked(sighted)),
    "page-start": Variant("all", sighted),
    "reading": Variant("all", read),
    "error": Variant("all", failed),
    "limited": Variant("all", limited),
    "choosing": Variant("all", chosen),
    "editing": Variant("all", edited),
    "dropping": Variant("all", dropped),
    "loading": Variant(
        "floating",
        lambda page, words: opened(page, words, "loading"),
        labelled(),
        hangs=True,
    ),
    "failure": Variant(
        "floating",
        lambda page, words: opened(page, words, "failed"),
        lambda words: {
            **labelled()(words),
            **start(words),
            "contact": {"href": "mailto:shop@example.com", "label": words["contact"]},
        },
        chat="blocked",
    ),
    "consent": Variant(
        "floating",
        lambda page, words: opened(page, words, "consent"),
        labelled(load="consent"),
    ),
    **{f"widgets-{name}": Variant("page", drawn(name)) for name in GALLERY},
}


@dataclass(frozen=True)
class Shot:
    """A picture: a variant in one of the ten ways."""

    variant: str
    theme: str = "light"
    size: str = "desktop"
    direction: str = "ltr"
    #: What of the screen is shown, in pixels: left, top, width, height.
    clip: tuple[int, int, int, int] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The picture's file name, without its ending."""
        return f"{self.variant}.{self.theme}.{self.size}.{self.direction}"


SHOTS = [
    Shot(*way)
    for name in VARIANTS
    for way in (
        *itertools.product([name], ("light", "dark"), ("desktop", "phone"), ("ltr", "rtl")),
        *itertools.product([name], ["forced"], ("desktop", "phone"), ["ltr"]),
    )
]
_CORNER, _TOP = (600, 40, 600, 760), (0, 0, 1200, 720)
#: The documentation's pictures, by their names there.
DOCS = {
    "floating-closed": Shot("floating-closed", clip=(720, 560, 480, 240)),
    "floating-start": Shot("floating-start", clip=_CORNER),
    "floating-open": Shot("floating-open", clip=_CORNER),
    "floating-open-dark": Shot("floating-open", "dark", clip=_CORNER),
    "floating-open-phone": Shot("floating-open", size="phone"),
    "floating-open-rtl": Shot("floating-open", direction="rtl", clip=(0, 40, 600, 760)),
    "floating-teaser": Shot("floating-teaser", clip=(720, 560, 480, 240)),
    "floating-unread": Shot("floating-unread", clip=(720, 560, 480, 240)),
    "inline": Shot("inline", clip=_TOP),
    "themed-plain": Shot("themed-plain", clip=_TOP),
    "themed-bootstrap": Shot("themed-bootstrap", "dark", clip=_TOP),
    "page": Shot("page"),
    "failure": Shot("failure", clip=_CORNER),
    "consent": Shot("consent", clip=_CORNER),
}
#: The README's.
SCREENSHOT = Shot("shop", size="readme")


# --- the camera ----------------------------------------------------------------------------------


def take(browser: Browser, base: str, shot: Shot, file: Path, scale: float) -> None:
    """Take a picture, in a fresh profile."""
    width, height = SIZES[shot.size]
    lang = "ar" if shot.direction == "rtl" else "en"
    shown = VARIANTS[shot.variant]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        is_mobile=shot.size == "phone",
        has_touch=shot.size == "phone",
        color_scheme="dark" if shot.theme == "dark" else "light",
        forced_colors="active" if shot.theme == "forced" else "none",
        reduced_motion="reduce",
        locale=lang,
    )
    context.set_default_timeout(PATIENCE)
    if shown.hangs:
        context.route("**/chatkit.js", lambda _route: None)
    page = context.new_page()
    paths = {"page": f"/chatkit/{lang}/", "all": f"/chatkit/{lang}-all/", "demo": "/demo/"}
    path = paths.get(shown.variant, f"/{shot.variant}")
    page.goto(f"{base}{path}?lang={lang}&theme={shot.theme}&dir={shot.direction}")
    shown.act(page, WORDS[lang])
    page.wait_for_timeout(SETTLE)
    clip = dict(zip(("x", "y", "width", "height"), shot.clip, strict=True)) if shot.clip else None
    page.screenshot(path=file, animations="disabled", caret="hide", clip=clip)  # type: ignore[arg-type]
    context.close()


def pack(file: Path) -> None:
    """Make a picture small by a palette of its own, where Pillow is there to do it."""
    try:
        from PIL import Image
    except ImportError:
        return
    with Image.open(file) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(file, optimize=True)


INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Gallery</title>
<style>
  body { background: #777; font: 1rem/1.5 system-ui, sans-serif; margin: 1rem; }
  section { background: #777; color: #fff; inline-size: max-content; padding: 0.5rem; }
  div { display: flex; flex-wrap: wrap; gap: 0.5rem; inline-size: 1860px; }
  img { block-size: 400px; inline-size: auto; }
</style>
{% for variant, shots in sections %}
<section id="{{ variant }}">
  <h2>{{ variant }}</h2>
  <div>
    {% for shot in shots %}<a href="{{ shot }}.png"><img src="{{ shot }}.png" alt="{{ shot }}"></a>
    {% endfor %}
  </div>
</section>
{% endfor %}
"""


def bind(app: Flask, browser: Browser, folder: Path, names: list[str]) -> None:
    """Write the index of all pictures, and a sheet for each variant."""
    sections = [
        (variant, shots)
        for variant in VARIANTS
        if (shots := [name for name in names if name.partition(".")[0] == variant])
    ]
    with app.app_context():
        (folder / "index.html").write_text(render_template_string(INDEX, sections=sections))
    page = browser.new_page(viewport={"width": 1920, "height": 1000})
    page.goto((folder / "index.html").as_uri())
    for variant, _ in sections:
        page.locator(f"section#{variant}").screenshot(path=folder / f"sheet.{variant}.png")
    page.close()


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing."""


@contextmanager
def studio(lang: str) -> Iterator[tuple[Flask, str, Browser]]:
    """Start the site and a browser that reaches nothing else."""
    from playwright.sync_api import sync_playwright

    program = chromium.program()
    if program is None:
        raise SystemExit(f"Chromium is missing: {chromium.MISSING}")
    logging.getLogger("flask_chatkit").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as kept, sync_playwright() as playwright:
        app = make_site(Path(kept), lang)
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = [*chromium.FLAGS, "--hide-scrollbars"]
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield app, f"http://127.0.0.1:{server.port}", browser
        browser.close()
        server.shutdown()


def main() -> None:
    """Make the gallery, or the documentation's pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="where to; a new temporary folder by default")
    parser.add_argument("--only", default="", help="pictures whose name holds this")
    parser.add_argument("--lang", default="en", help="of the widget, where it is not Arabic")
    parser.add_argument("--scale", type=float, help="pixels for each of CSS's")
    parser.add_argument("--docs", action="store_true", help="the documentation's pictures")
    args = parser.parse_args()
    if args.docs:
        folder = args.out or ROOT / "docs"
        wanted = {f"pictures/{name}": shot for name, shot in DOCS.items()}
        wanted["screenshot"] = SCREENSHOT
    else:
        folder = args.out or Path(tempfile.mkdtemp(prefix="flask-chatkit-gallery-"))
        wanted = {shot.name: shot for shot in SHOTS}
    pictures = {name: shot for name, shot in wanted.items() if args.only in name}
    folder = folder.resolve()
    (folder / "pictures" if args.docs else folder).mkdir(parents=True, exist_ok=True)
    print(folder)
    with studio(args.lang) as (app, base, browser):
        for name, shot in pictures.items():
            file = folder / f"{name}.png"
            take(browser, base, shot, file, args.scale or (2 if args.docs else 1))
            if args.docs:
                pack(file)
            print(f"{file.name} {file.stat().st_size / 1000:.0f} kB")
        if not args.docs:
            bind(app, browser, folder, list(pictures))


if __name__ == "__main__":
    main()
