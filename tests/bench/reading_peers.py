"""A site with nothing but the built-in chat, and an endpoint that streams a long text."""

from __future__ import annotations

import json
import logging
import time

from flask import Flask, Response, request

from flask_chatkit.widget import assets

DELTAS = 10_000
CHARACTERS = 20  # of a delta
SECTION = """\
## Part {n}: how the *kiln* is fired

Each of our teapots is thrown by hand, glazed twice and fired for **two days**, as `kiln.py` has
it. What breaks on its way is replaced; see [the terms](https://shop.test/terms) for more of that.

1. Stack the kiln, with the large pots below.
2. Heat it slowly:
   - to 600 degrees in six hours,
   - to 1,240 degrees in ten.
3. Let it cool for a day.

| Pot | Cups | Price |
|---|---:|---:|
| Round {n} | 2 | 35.00 |
| Tall {n} | 4 | 48.00 |

```python
def fire(kiln: Kiln, hours: int = {n}) -> float:
    \"\"\"Heat a kiln, and tell how hot it is.\"\"\"
    for hour in range(hours):
        kiln.heat(to=1_240 * hour / hours)  # degrees
    return kiln.temperature
```

> It is said that a pot which sings in the kiln pours well.

"""
TURN = "The answer **{n}** says that it is so:\n\n- one\n- two\n\n```js\nlet a = {n};\n```\n"
PAGE = """\
<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Teapots</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css"></head><body><div id="box"></div>
<script type="module" src="/static/builtin/index.js"></script></body></html>"""
AT = "2026-01-01T00:00:00Z"


def text(size):
    """The first characters of a text that goes on for ever."""
    count = size // len(SECTION) + 1
    return "".join(SECTION.format(n=n) for n in range(count))[:size]


def item(number, content):
    """An answer of the assistant's."""
    parts = [{"type": "output_text", "text": content, "annotations": []}] if content else []
    known = {"id": f"a{number}", "type": "assistant_message", "thread_id": "t1", "created_at": AT}
    return known | {"content": parts}


def answer(number, chunks, seconds):
    """The events of an answer whose pieces come evenly within some seconds."""
    thread = {"id": "t1", "title": "Teapots", "created_at": AT, "status": {"type": "active"}}
    yield {"type": "thread.updated" if number else "thread.created", "thread": thread}
    yield {"type": "thread.item.added", "item": item(number, "")}
    begun = time.monotonic()
    for place, chunk in enumerate(chunks):
        time.sleep(max(begun + seconds * place / len(chunks) - time.monotonic(), 0))
        update = {"type": "assistant_message.content_part.text_delta", "content_index": 0}
        changed = {"type": "thread.item.updated", "item_id": f"a{number}"}
        yield {**changed, "update": {**update, "delta": chunk}}
    yield {"type": "thread.item.done", "item": item(number, "".join(chunks))}


def site():
    """Make the site."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Flask("reading", static_folder=None)
    style = "html,body,#box{margin:0;height:100%}"
    app.add_url_rule("/", "page", lambda: PAGE)
    app.add_url_rule("/page.css", "css", lambda: Response(style, content_type="text/css"))

    @app.get("/static/<path:name>")
    def static(name):
        return assets.send(request, name)

    @app.post("/api")
    def api():
        said = request.get_json()["params"]["input"]["content"][0]["text"]
        what, *numbers = said.split()
        if what == "long":
            whole = text(DELTAS * CHARACTERS)
            chunks = [whole[at : at + CHARACTERS] for at in range(0, len(whole), CHARACTERS)]
            events = answer(0, chunks, float(numbers[0]))
        else:
            events = answer(int(numbers[0]), [TURN.format(n=numbers[0])], 0)
        stream = (f"data: {json.dumps(event)}\n\n" for event in events)
        return Response(stream, content_type="text/event-stream")

    return app
