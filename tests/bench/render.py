"""Bench ``render``: what a widget adds to the rendering of a page.

Run it by hand, ``python tests/bench/render.py``; the README beside it tells how to read the table.
"""

from __future__ import annotations

import argparse
import gc
import logging
import statistics
import sys
import time
from pathlib import Path

from flask import Flask, render_template
from jinja2 import DictLoader

# At the end: who measures another flask_chatkit puts it before this one, by PYTHONPATH.
sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from flask_chatkit import ChatKit

BASE = """\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>{% block title %}{% endblock %} - {{ shop }}</title>
  <link rel="stylesheet" href="{{ url_for('static', filename='shop.css') }}">
</head>
<body class="{{ 'signed-in' if user else 'guest' }}">
  <header><a href="{{ url_for('index') }}">{{ shop }}</a></header>
  <main>{% block main %}{% endblock %}</main>
  <footer>{% block footer %}<p>{{ shop }}, {{ year }}</p>{% endblock %}</footer>
</body>
</html>
"""
PAGE = """\
{% extends "base.html" %}
IMPORT
{% block title %}Products{% endblock %}
{% block main %}
<h1>{{ products|length }} products</h1>
<ul class="products">
  {% for product in products %}
  <li class="{{ loop.cycle('odd', 'even') }}">
    <a href="{{ url_for('product', number=product.number) }}">{{ product.name }}</a>
    <span class="price">{{ "%.2f"|format(product.price) }}</span>
    {% if product.stock < 3 %}<em>only {{ product.stock }} left</em>{% endif %}
  </li>
  {% else %}
  <li>Nothing here.</li>
  {% endfor %}
</ul>
WIDGET
{% endblock %}
"""
FLOATING = "{{ chatkit_floating() }}"
OPTIONS = """\
{{ chatkit_inline(height="600px", greeting="How can we help?", placeholder="Ask",
   prompts=["Where is my order?", "Can I return it?"], accent="#0a7", radius="round",
   theme="dark", feedback=true) }}"""

#: Title, the macro that the page imports, and what it writes with it.
CASES = (
    ("the page without it", None, ""),
    ("with a floating widget", "chatkit_floating", FLOATING),
    ("with an inline widget, eight options", "chatkit_inline", OPTIONS),
)
AIM = 60


def page(macro, widget):
    """Write a page's template."""
    line = f'{{% from "chatkit/macros.html" import {macro} %}}' if macro else ""
    return PAGE.replace("IMPORT", line).replace("WIDGET", widget)


def site():
    """Build a shop with the kit."""
    logging.getLogger("flask_chatkit").setLevel(logging.ERROR)
    app = Flask(__name__)
    app.config.update(SECRET_KEY="bench" * 8, CHATKIT_API_KEY="sk-bench")
    app.config.update(CHATKIT_WORKFLOW_ID="wf_bench")
    app.add_url_rule("/", "index", lambda: "")
    app.add_url_rule("/product/<int:number>", "product", str)
    app.register_blueprint(ChatKit())
    pages = {f"case{n}.html": page(*case[1:]) for n, case in enumerate(CASES)}
    app.jinja_loader = DictLoader({"base.html": BASE, **pages})
    return app


def measure(app, name, values):
    """Render once, in a request of its own; only the rendering is timed."""
    with app.test_request_context("/"):
        begun = time.perf_counter_ns()
        render_template(name, **values)
        return (time.perf_counter_ns() - begun) / 1000


def main():
    """Render in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5000, help="of each page (%(default)s)")
    args = parser.parse_args()
    app = site()
    values = {
        "shop": "Shop",
        "user": None,
        "year": 2026,
        "products": [
            {"number": n, "name": f"Teapot & cup {n}", "price": 3.5 * n, "stock": n % 5}
            for n in range(1, 13)
        ],
    }
    names = [f"case{n}.html" for n in range(len(CASES))]
    with app.test_request_context("/"):
        for (title, macro, _), name in zip(CASES, names, strict=True):
            html = render_template(name, **values)
            if html.count("data-chatkit='{") != (macro is not None):
                raise SystemExit(f"{title}: not the page that was meant")
    for name in names * 300:
        measure(app, name, values)
    gc.collect()
    gc.disable()
    took = {name: [] for name in names}
    for turn in range(args.repeats):
        # Neighbours in time saw the same machine; none is always the first.
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            took[name].append(measure(app, name, values))
        if turn % 200 == 0:
            gc.collect()
    bare = took[names[0]]
    print(f"\n{'page':<40}{'µs, median':>12}{'fastest 5 %':>13}{'over the first':>16}  aim")
    for (title, _, widget), name in zip(CASES, names, strict=True):
        middle = statistics.median(took[name])
        best = statistics.quantiles(took[name], n=20)[0]
        more = middle - statistics.median(bare)
        verdict = f"<= {AIM}  {'met' if more <= AIM else 'MISSED'}" if widget == FLOATING else ""
        print(f"{title:<40}{middle:>12.1f}{best:>13.1f}{more:>16.1f}  {verdict}".rstrip())


if __name__ == "__main__":
    main()
