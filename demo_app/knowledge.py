"""The texts of the shop's answers, for the built-in assistant, the agent and the stand-in.

Texts are Markdown. :func:`order_card` returns a widget as plain data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from demo_app.catalogue import (
    DELIVERY,
    HOURS,
    PRODUCTS,
    RETURN_DAYS,
    Line,
    Order,
    Product,
    is_open,
    now,
    opening,
)


def day(of: date) -> str:
    """Return a date as text: ``Monday 23 November``."""
    return f"{of:%A} {of.day} {of:%B}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def hours(at: datetime | None = None) -> str:
    """Return the opening hours, and whether the shop is open now."""
    at = at or now()
    today = opening(at)
    if is_open(at):
        status = f"Yes, we are **open** until {today.times.split()[-1]} today."
    elif today.since is not None and at.time() < today.since:
        status = f"Not yet: we open at {today.times.split()[0]} today."
    else:
        status = "We are **closed** at the moment."
    listed = "\n".join(f"- **{each.name}**: {each.times}" for each in HOURS)
    return f"{status}\n\n{listed}"


def delivery() -> str:
    """Return the times and prices of delivery."""
    rows = table(("Where", "How long", "Price"), DELIVERY)
    return f"This is how it gets to you:\n\n{rows}"


def returns() -> str:
    """Return how to send something back."""
    return (
        f"You have **{RETURN_DAYS} days** to send anything back, worn once on a walk included. "
        "Tell me your order's number and I send you a label. Refunds take three working days."
    )


def sizes(product: Product | None = None) -> str:
    """Return the size table of a product, or of all clothes."""
    wanted = [product] if product else PRODUCTS.values()
    tables = [
        f"**{each.name}**\n\n{table(each.fit.columns, each.fit.rows)}\n\n{each.fit.advice}"
        for each in wanted
        if each.fit
    ]
    if product and not tables:
        return f"The **{product.name}** comes in: {', '.join(product.sizes)}."
    return "\n\n".join(["Our clothes run true to size.", *tables])


def about(product: Product) -> str:
    """Describe a product."""
    return f"The **{product.name}** is £{product.price}. {product.description}"


def order_text(order: Order) -> str:
    """Describe an order in a sentence or two."""
    lines = ", ".join(f"{named(line)} ({line.size})" for line in order.lines)
    return f"**Order {order.number}**, {lines}: {order.status.lower()}. {arrival(order)}"


def arrival(order: Order, *, short: bool = False) -> str:
    """Return when an order arrives, or has arrived."""
    if short:
        return f"{'On' if order.is_there else 'By'} {day(order.expected)}"
    came = "It arrived on" if order.is_there else "You should have it by"
    return f"{came} {day(order.expected)}."


def order_card(order: Order, site: str, *, label_sent: bool = False) -> dict[str, Any]:
    """Build an order's card, whose button has the action ``return_label``.

    :param site: the shop's address, for the URLs of pictures.
    :param label_sent: whether the label has been sent.
    """
    colour = "success" if order.is_there else "info" if order.is_packed else "secondary"
    button = {
        "type": "Button",
        "label": "Return label sent" if label_sent else "Send me the return label",
        "iconStart": "check" if label_sent else "mail",
        "disabled": label_sent,
        "onClickAction": {"type": "return_label", "payload": {"order": order.number}},
    }
    return {
        "type": "Card",
        "size": "sm",
        "children": [
            {
                "type": "Row",
                "margin": {"bottom": 2},
                "children": [
                    {"type": "Title", "value": f"Order {order.number}", "size": "sm"},
                    {"type": "Spacer"},
                    {"type": "Badge", "label": order.status, "color": colour},
                ],
            },
            *(_line(line, site) for line in order.lines),
            {"type": "Divider"},
            _spread(arrival(order, short=True), f"£{order.total}"),
            # An order that has not left the shop yet needs no return label.
            *([button] if order.is_packed else []),
        ],
    }


#: Millimetres of rain, and hours of sun a day, in each month of an invented year.
RAIN = {
    "Jan": (168, 1.2), "Feb": (121, 2.1), "Mar": (118, 3.3), "Apr": (82, 5.1),
    "May": (74, 6.2), "Jun": (69, 6.4), "Jul": (77, 5.9), "Aug": (98, 5.2),
    "Sep": (104, 4.1), "Oct": (143, 2.8), "Nov": (159, 1.7), "Dec": (181, 1.0),
}  # fmt: skip
WORKSHOP = "workshop@larch-and-lantern.example"


def driest_month() -> str:
    """Return the month in which it rains least."""
    month = min(RAIN, key=lambda name: RAIN[name][0])
    return f"{datetime.strptime(month, '%b'):%B}"  # noqa: DTZ007 - only a month


def rain_text() -> str:
    """Return the rain of each month as a Markdown table."""
    rows = [(month, f"{rain} mm", f"{sun} h") for month, (rain, sun) in RAIN.items()]
    return table(("Month", "Rain", "Sun a day"), rows)


def rain_chart() -> dict[str, Any]:
    """Build a card with the rain and the sun of each month."""
    months = [{"month": name, "rain": rain, "sun": sun} for name, (rain, sun) in RAIN.items()]
    return {
        "type": "Card",
        "children": [
            {"type": "Title", "value": "Rain on the hill", "size": "sm"},
            {"type": "Caption", "value": "Millimetres a month"},
            {
                "type": "Chart",
                "data": months,
                "series": [{"type": "bar", "dataKey": "rain", "label": "Rain", "color": "blue"}],
                "xAxis": "month",
                "showYAxis": True,
                "showLegend": False,
                "height": 200,
            },
            {"type": "Caption", "value": "Hours of sun a day"},
            {
                "type": "Chart",
                "data": months,
                "series": [{"type": "area", "dataKey": "sun", "label": "Sun", "color": "orange"}],
                "xAxis": "month",
                "showYAxis": True,
                "showLegend": False,
                "height": 120,
            },
        ],
    }


def repair_form() -> dict[str, Any]:
    """Build the form of a repair, which is sent as the action ``repair``."""
    choices = [{"label": each.name, "value": each.slug} for each in PRODUCTS.values()]
    ways = [
        {"label": "I bring it to the shop", "value": "shop"},
        {"label": "I post it", "value": "post"},
    ]
    return {
        "type": "Card",
        "size": "sm",
        "asForm": True,
        "confirm": {"label": "Send it to the workshop", "action": {"type": "repair"}},
        "children": [
            {"type": "Title", "value": "A repair", "size": "sm"},
            {"type": "Label", "value": "What is it?", "fieldName": "product"},
            {"type": "Select", "name": "product", "options": choices, "placeholder": "Choose"},
            {"type": "Label", "value": "What has happened?", "fieldName": "what"},
            {"type": "Textarea", "name": "what", "required": True, "rows": 2},
            {"type": "Label", "value": "How does it come to us?", "fieldName": "how"},
            {
                "type": "RadioGroup",
                "name": "how",
                "options": ways,
                "defaultValue": "shop",
                "direction": "col",
            },
        ],
    }


def repair_card(product: Product, what: str, *, posted: bool) -> dict[str, Any]:
    """Build the card of a repair that was asked for."""
    return {
        "type": "Card",
        "size": "sm",
        "status": {"text": "The workshop has it", "icon": "check"},
        "children": [
            {"type": "Title", "value": product.name, "size": "sm"},
            {"type": "Text", "value": what},
            {"type": "Caption", "value": "You post it" if posted else "You bring it to the shop"},
        ],
    }


def named(line: Line) -> str:
    """Return the name and amount of an order's line."""
    many = f"{line.amount} pairs of" if line.product.kind == "socks" else f"{line.amount}"
    return line.product.name if line.amount == 1 else f"{many} {line.product.name}"


def _line(line: Line, site: str) -> dict[str, Any]:
    picture = {
        "type": "Image",
        "src": f"{site}/static/{line.product.slug}.svg",
        "alt": "",
        "width": 56,
        "height": 42,
        "fit": "cover",
        "radius": "sm",
    }
    words = {
        "type": "Col",
        "gap": 0,
        "flex": 1,
        "children": [
            {"type": "Text", "value": named(line), "weight": "medium"},
            {"type": "Caption", "value": line.size},
        ],
    }
    return {
        "type": "Row",
        "children": [picture, words, {"type": "Text", "value": f"£{line.price}"}],
    }


def _spread(left: str, right: str) -> dict[str, Any]:
    ends = ({"type": "Caption", "value": left}, {"type": "Text", "value": right, "weight": "bold"})
    return {"type": "Row", "children": [ends[0], {"type": "Spacer"}, ends[1]]}
