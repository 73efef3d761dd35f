"""How answers read in the built-in chat: what a text becomes, how it grows, how it scrolls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chatkit.types import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    FileSource,
    URLSource,
)

from tests.browser.test_builtin import THEMES, Chat, axe, until
from tests.helpers import builtin_server as site

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

RICH = r"""# What is shown

A paragraph with `code`, **bold** and a formula \(e^{i\pi} + 1 = 0\), which costs $5 and $6.

## Smaller

### Smallest

$$
\int_0^1 x^2 \, dx
= \frac{1}{3}
$$

\[ \begin{aligned} a &= b + c \\ d &= \sqrt{e} \end{aligned} \]

- [x] done
- [ ] to do, with [a link](https://example.org/)
  - [x] below

| Name | What it is | Price | Where | When it was made, and by whom | Note |
|---|---|---:|---|---|---|
| Tea | A drink of leaves, older than most of what we know | 3.50 | Assam | 1823 | - |
| Coffee | Beans | 4.20 | Harar | 850 | |

```python
@app.get("/orders")  # a comment
def orders(limit: int = 10) -> list[str]:
    return [f"order {n}" for n in range(limit)] or None
```

```html
<a href="/x" class="y">link</a>
```

> A quote with *words*.

العربية هي لغة **جميلة** ومكتوبة من اليمين.

- אחת
- שתיים

Picture: ![A dot](PIXEL)
""".replace("PIXEL", site.PIXEL)

CITED = "Tea is old. It is *Chinese*, as [books](https://x.test/a) say.\n\n- Leaves\n- Roots"
HOSTILE_MATHS = r"""\(\href{javascript:pwned(1)}{x}\) \(\text{<img src=x onerror=pwned(2)>}\)
\(\class{x" onload="pwned(3)}{y}\) \(\style{background:url(https://elsewhere.test/)}{z}\)
\(\unicode{x}\) \(\color{red;background:url(https://elsewhere.test/)}x\) \(\bad\) $$\frac{a}{b}$$
\(\includegraphics{https://elsewhere.test/a.png}\) \(</math><script>pwned(4)</script>\)
\(\rule{900em}{2em}\) \(\rule{2em}{90in}\) \(\raisebox{-900em}{low}\) \(a\hskip 999cm b\)
\(a\kern-900em b\) \(\rule[900em]{1em}{1em}\) \(\genfrac{}{}{900pt}{}{a}{b}\)"""


class Reader(site.Talker):
    """Says what there is to read."""

    async def do_rich(self, thread: Any, text: str) -> Any:
        yield self.say(thread, RICH)

    def do_slowly(self, thread: Any, text: str) -> Any:
        return self.stream_text(thread, [RICH[n : n + 5] for n in range(0, len(RICH), 5)])

    async def do_maths(self, thread: Any, text: str) -> Any:
        yield self.say(thread, HOSTILE_MATHS)

    async def do_cites(self, thread: Any, text: str) -> Any:
        book = FileSource(title="A book", filename="book.pdf")
        page = URLSource(title="On tea", url="https://tea.test/")
        # The second within a word, the third within a link's address, the last at the end.
        places = [(11, page), (20, book), (45, page), (len(CITED), book)]
        notes = [Annotation(source=source, index=index) for index, source in places]
        content = AssistantMessageContent(text=CITED, annotations=notes)
        yield self.done(AssistantMessageItem, thread, content=[content])

    def do_long(self, thread: Any, text: str) -> Any:
        part = "## Part\n\nSome *words* of [it][a].\n\n- a\n- b\n\n```js\nlet a;\n```\n\n"
        whole = part * 2000 + "[a]: https://a.test/\n"
        chunks = [whole[n : n + 4000] for n in range(0, len(whole), 4000)]
        return self.stream_text(thread, [*chunks[:3], "\0wait", *chunks[3:]])

    def do_lines(self, thread: Any, text: str) -> Any:
        lines = [f"Line {n}.\n\n" for n in range(60)]
        return self.stream_text(thread, [*lines[:40], "\0wait", *lines[40:]])

    async def do_late(self, thread: Any, text: str) -> Any:
        thread.allowed_image_domains = ["pictures.test"]
        lines = "".join(f"Line {n}.\n\n" for n in range(40))
        yield self.say(thread, f"{lines}![late](https://pictures.test/a.svg)\n\nThe end.")


@pytest.fixture
def chat(page: Page, serve: Any) -> Iterator[Chat]:
    """A page of a site with the built-in chat, not opened yet."""
    server = Reader()
    app = site.make_site(server)
    yield Chat(page, server, app, serve(app))
    server.go.set()


def coloured(chat: Chat) -> None:
    """Wait until all code is in colours, and all maths is drawn."""
    chat.wait("[...root.querySelectorAll('.code')].every((c) => c.querySelector('[class^=hljs]'))")
    chat.wait("!root.querySelector('code.maths') && root.querySelector('math')")


def left(chat: Chat) -> int:
    """How many pixels of the log are below what is seen."""
    log = "root.querySelector('.log')"
    return int(chat.run(f"((l) => l.scrollHeight - l.scrollTop - l.clientHeight)({log})"))


# --- what a text becomes -------------------------------------------------------------------------


def test_text_has_all_that_markdown_has(chat: Chat, console: Any) -> None:
    """Headings differ, tasks have boxes, maths and code are drawn, and money is no maths."""
    chat.open()
    chat.say("rich")
    coloured(chat)
    answer = chat.answers
    sizes = chat.run(
        "['h4', 'h5', 'h6', 'p'].map((tag) => parseFloat(getComputedStyle(root.querySelector("
        "`.md ${tag}`)).fontSize))"
    )
    assert sizes[0] > sizes[1] > sizes[2] == sizes[3]
    assert answer.get_by_role("checkbox", name="done").get_attribute("aria-checked") == "true"
    assert answer.get_by_role("checkbox", name="to do").get_attribute("aria-checked") == "false"
    assert answer.locator("math").count() == 3
    assert answer.locator(".formula math mfrac, .formula math mtable").count() == 2
    assert "which costs $5 and $6." in answer.inner_text()
    assert answer.locator(".hljs-keyword").first.inner_text() == "def"
    assert answer.locator(".code", has_text="python").locator(".hljs-comment").count() == 1
    assert console.all == []


def test_each_block_has_its_direction(chat: Chat) -> None:
    """In one answer what is written from the right starts there, and the rest at the left."""
    chat.open()
    chat.say("rich")
    directions = (
        "[...root.querySelectorAll('.md > *')].map((e) => [e.textContent.slice(0, 4),"
        " getComputedStyle(e).direction])"
    )
    found = dict(chat.run(directions))
    assert found["What"] == found["A pa"] == "ltr"
    assert found["العر"] == "rtl"
    assert found["\nאחת"[:4]] == "rtl"


def test_wide_tables_scroll(chat: Chat) -> None:
    """A wide table keeps readable columns, and is scrolled by keyboard under its columns' names."""
    chat.page.set_viewport_size({"width": 390, "height": 800})
    chat.open()
    chat.say("rich")
    table = chat.page.get_by_role("group", name="Table: Name, What it is, Price")
    box = table.evaluate("(t) => [t.scrollWidth, t.clientWidth, t.tabIndex]")
    assert box[0] > 2 * box[1]
    assert box[2] == 0
    assert chat.run("((l) => l.scrollWidth <= l.clientWidth)(root.querySelector('.log'))")


def test_hostile_maths_does_nothing(chat: Chat, console: Any) -> None:
    """No formula runs, loads or styles anything; one that is refused is shown as its source."""
    requests: list[str] = []
    chat.page.on("request", lambda request: requests.append(request.url))
    chat.open()
    chat.say("maths")
    chat.page.locator("mfrac").first.wait_for()
    assert chat.run("window.wasPwned") is None
    assert chat.log.locator("script, img, math a, [href], [onload]").count() == 0
    assert all(url.startswith((chat.base, "data:")) for url in requests)
    assert r"\bad" in chat.answers.inner_text()
    # It covers nothing but its own message.
    sticks_out = """(log) => {
      const box = log.querySelector("article:last-of-type").getBoundingClientRect();
      return [...log.querySelectorAll("math, math *")]
        .map((node) => [node.outerHTML, node.getBoundingClientRect()])
        .filter(([, r]) => r.top < box.top - 20 || r.bottom > box.bottom + 20
          || r.left < box.left - 20 || r.width > box.width)
        .map(([html]) => html);
    }"""
    assert chat.log.evaluate(sticks_out) == []
    assert console.violations == []
    assert console.uncaught == []


def test_citations_open_their_sources(chat: Chat) -> None:
    """Marks stand at words' ends, never within a link, and lead to the page or the list."""
    chat.open()
    chat.say("cites")
    chat.page.locator(".cite").nth(3).wait_for()
    said = chat.answers.locator("p").inner_text().replace(" ", "")
    assert said == "Teaisold.1ItisChinese,2asbooks1say."
    assert chat.answers.locator("li").nth(1).inner_text() == "Roots2"
    page = chat.answers.get_by_role("link", name="1: On tea").first
    assert page.get_attribute("href") == "https://tea.test/"
    assert chat.answers.locator("a a, a button").count() == 0
    chat.answers.get_by_role("button", name="2: A book").first.press("Enter")
    assert chat.run("root.activeElement.textContent") == "A book"


# --- how it grows --------------------------------------------------------------------------------


def test_streamed_text_is_drawn_as_a_whole_one(chat: Chat) -> None:
    """Whatever pieces a text comes in, in the end its nodes are those of the whole text."""
    chat.open()
    chat.say("rich")
    chat.say("slowly")
    coloured(chat)
    first, second = chat.run("[...root.querySelectorAll('article .md')].map((md) => md.innerHTML)")
    assert first == second


def test_long_answer_is_never_raw(chat: Chat) -> None:
    """Some 130 kB are Markdown to the end, what stood at the start stays, and late links work."""
    chat.page.set_default_timeout(60_000)
    chat.open()
    count = len(chat.seen("response.end"))
    chat.type("long")
    chat.answers.locator("pre").nth(20).wait_for(state="attached")
    chat.run("(window.first = root.querySelector('article .md').firstChild, 0)")
    chat.server.go.set()
    for check in (
        lambda: len(chat.seen("response.end")) > count,
        lambda: chat.run("root.querySelectorAll('article h4, article pre').length === 4000"),
    ):
        for _ in range(600):
            if check():
                break
            chat.page.wait_for_timeout(100)
    assert chat.run("root.querySelectorAll('article h4, article pre').length") == 4000
    assert chat.run("root.querySelector('article .md').firstChild === window.first")
    assert chat.run("root.querySelectorAll('article a[href=\"https://a.test/\"]').length") == 2000
    assert chat.page.locator(".raw").count() == 0


# --- where it is scrolled ------------------------------------------------------------------------


def test_text_that_grows_below_can_be_jumped_to(chat: Chat) -> None:
    """Who reads further up stays there, gets the button, and keeps the focus when it is pressed."""
    chat.open()
    chat.type("lines")
    chat.log.get_by_text("Line 39.").wait_for()
    until(lambda: left(chat) < 5)
    chat.run("(root.querySelector('.log').scrollTop = 0, 0)")
    latest = chat.button("Go to the latest message")
    latest.wait_for()
    chat.server.go.set()
    chat.log.get_by_text("Line 59.").wait_for(state="attached")
    chat.idle()
    assert chat.run("root.querySelector('.log').scrollTop") == 0
    chat.field.focus()
    latest.click()
    until(lambda: left(chat) < 5)
    assert chat.run("root.activeElement.tagName") == "TEXTAREA"
    latest.wait_for(state="hidden")
    chat.run("(root.querySelector('.log').scrollTop = 0, 0)")
    latest.press("Enter")
    until(lambda: left(chat) < 5)
    assert chat.run("root.activeElement.className") == "log"


def test_button_comes_when_the_box_gets_smaller_or_the_text_longer(chat: Chat) -> None:
    """What pushes the end out of view without a scroll is noticed, too."""
    chat.open("thread: {autoScroll: false}")
    chat.type("lines")
    chat.log.get_by_text("Line 39.").wait_for(state="attached")
    chat.button("Go to the latest message").wait_for()
    assert chat.run("root.querySelector('.log').scrollTop") == 0


def test_late_pictures_do_not_push_the_end_away(chat: Chat) -> None:
    """Who is at the end stays there when a picture above it comes."""
    held: list[Any] = []
    chat.page.route("https://pictures.test/*", lambda route: held.append(route))  # noqa: PLW0108
    chat.open()
    chat.say("late")
    until(lambda: left(chat) < 5 and held)
    tall = '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="900"/>'
    held[0].fulfill(body=tall, content_type="image/svg+xml")
    chat.wait("root.querySelector('.md img').clientHeight > 800")
    until(lambda: left(chat) < 5)


def test_old_turns_are_laid_out_when_they_are_seen(chat: Chat) -> None:
    """Old turns are skipped while out of sight; scrolled to, they are there, and nothing jumps."""
    chat.open()
    for number in range(16):
        chat.say(f"turn {number} " + "word " * 100)
    said = "[...root.querySelectorAll('.thread .bubble')].map((e) => e.textContent.split(' ')[1])"
    assert chat.run(said) == [str(number) for number in range(16)]
    style = "[...root.querySelectorAll('.group')].map((e) => getComputedStyle(e).contentVisibility)"
    assert chat.run(style)[-2:] == ["visible", "visible"]
    assert set(chat.run(style)[:-2]) == {"auto"}
    chat.page.get_by_text("You said turn 0").scroll_into_view_if_needed()
    place = "root.querySelector('article').getBoundingClientRect().top"
    before = chat.run(place)
    chat.page.wait_for_timeout(200)
    assert abs(chat.run(place) - before) < 2
    assert "You said turn 0" in chat.answers.first.inner_text()


# --- what can be done with it --------------------------------------------------------------------


def test_pictures_enlarge(chat: Chat) -> None:
    """A picture opens by keyboard in a dialog; Escape leaves it, and the panel does not notice."""
    chat.open()
    chat.say("rich")
    chat.run("(el.addEventListener('keydown', (e) => { window.key = e.key; }), 0)")
    small = chat.button("Show A dot larger")
    small.press("Enter")
    dialog = chat.page.get_by_role("dialog", name="A dot")
    dialog.get_by_role("img", name="A dot").wait_for()
    assert chat.run("window.key") == "Enter"
    chat.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert chat.run("window.key") == "Enter"
    assert chat.run("root.activeElement.className") == "zoom"
    small.click()
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="detached")


def test_own_files_open(chat: Chat, tmp_path: Path) -> None:
    """A file that was sent is downloaded with the page's own fetch, a picture enlarges."""
    paper = tmp_path / "paper.txt"
    paper.write_text("What is written")
    dot = tmp_path / "dot.png"
    dot.write_bytes(site.PNG)
    chat.open("composer: {attachments: {enabled: true}},")
    chat.page.locator("input[type=file]").set_input_files([paper, dot])
    chat.wait("root.querySelectorAll('.composer .file').length === 2")
    chat.wait("!root.querySelector('.composer .spinner')")
    chat.say("files")
    with chat.page.expect_download() as download:
        chat.button("Download paper.txt").click()
    assert download.value.suggested_filename == "paper.txt"
    chat.button("Show dot.png larger").click()
    chat.page.get_by_role("dialog", name="dot.png").wait_for()


def test_copying_shows_a_tick(chat: Chat, context: BrowserContext) -> None:
    """What was copied is ticked for a moment, at the code and under the answer."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat.open()
    chat.say("rich")
    for button in (chat.answers.get_by_role("button", name="Copy").first, chat.button("Copy").last):
        button.click()
        button.locator(".i-check").wait_for()
        button.locator(".i-copy").wait_for()


def test_bars_appear_where_they_are_wanted(chat: Chat) -> None:
    """The last answer's buttons are seen; those of others on hover, and when they have focus."""
    chat.open()
    chat.say("one")
    chat.say("two")
    bars = "root.querySelectorAll('.group > .bar')"
    seen = f"[...{bars}].map((bar) => Number(getComputedStyle(bar).opacity))"
    chat.page.mouse.move(5, 5)
    chat.wait(f"JSON.stringify({seen}) === '[0,1]'")
    chat.answers.first.hover()
    chat.wait(f"JSON.stringify({seen}) === '[1,1]'")
    chat.page.mouse.move(5, 5)
    chat.wait(f"JSON.stringify({seen}) === '[0,1]'")
    chat.button("Copy").first.focus()
    chat.wait(f"JSON.stringify({seen}) === '[1,1]'")


@pytest.mark.parametrize("case", ["light", "dark", "yellow", "rtl"])
def test_axe_finds_nothing_in_a_text(chat: Chat, node_modules: Path, case: str) -> None:
    """Code in colours, maths, boxes, marks and an enlarged picture are without a fault."""
    chat.open(THEMES[case], query="?rtl" if case == "rtl" else "")
    chat.say("cites")
    chat.say("rich")
    coloured(chat)
    assert axe(chat, node_modules) == []
    chat.button("Show A dot larger").click()
    chat.page.get_by_role("dialog", name="A dot").wait_for()
    assert axe(chat, node_modules) == []


# --- a text that changes --------------------------------------------------------------------------

ITEMS = "".join(f"- {'see [ref] here' if n == 2 else f'item {n}'}\n" for n in range(45))
ROWS = "| a |\n|---|\n" + "".join(f"| {'[ref]' if n == 2 else n} |\n" for n in range(70))
LINK = "\nText.\n\n[ref]: https://r.test\n\nThe end."
SHOW = """async (steps) => {
  const found = performance.getEntriesByType("resource").find(({name}) => /textview/.test(name));
  const { showText } = await import(found.name);
  const text = new Proxy({}, { get: (_, key) => String(key) });
  const show = (all) => {
    const node = document.createElement("div");
    document.body.append(node);
    for (const [index, step] of all.entries())
      for (let left = 50; left > 0; left -= 1) {
        const more = { streaming: index < all.length - 1, isLate: () => true };
        if (showText(node, step, { text }, more)) break;
      }
    return node.innerHTML;
  };
  return [show(steps), show(steps.slice(-1))];
}"""


@pytest.mark.parametrize(
    "steps",
    [
        [ITEMS, ITEMS + LINK],
        [ROWS, ROWS + LINK],
        [ITEMS + "\nEnd.\n\nx", ITEMS.replace("item 0", "ITEM 0") + "\nEnd.\n\nx"],
        [ITEMS + "\nEnd.\n\nx", "# hello\n\nworld\n\nok\n\nend"],
        ["Let me think.\n\nHere is one:\n\nEnd.", "# Title\n## Sub\nText new\n\nmore"],
        ["[r]: https://r.test\n\nb\n\nc\n", "# x\n# y\n# z\n"],
        ["# a\n\nb", "", "# a\n\nb"],
        [
            ITEMS.replace("item 3\n", "<b> makes bold\n")[:300],
            ITEMS.replace("item 3", "<b> bold") + "\nEnd.",
        ],
        [f"Look ![dot]({site.PIXEL}) ", f"Look ![dot]({site.PIXEL}) after it"],
        ["a <br> ", "a <br> c"],
        ["- [ ] buy", "- [ ] buy milk"],
        ["a <b>\n\n- x\n- y", "a\n\n[ref]: https://r.test\n"],
        ["<div>\n<\n</div>\n\n[ref]: ", '<div>\n<\n</div>\n\n[ref]: https://r.test "t"\n'],
        ["[a " * 6300],
        ["wordy " * 4000 + "end"],
    ],
)
def test_text_that_changes_is_shown_as_if_it_came_at_once(chat: Chat, steps: list[str]) -> None:
    """Late links, other texts and unclosed tags lose nothing, and leave nothing behind."""
    chat.open()
    chat.say("hello")
    grown, whole = chat.page.evaluate(SHOW, steps)
    assert grown == whole
    assert len(whole) > 10
