"""What the shop tells its customers, whoever asks: the built-in assistant, an agent, a stand-in.

Texts are Markdown. :func:`order_card` is a widget, as plain data.
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
    """A date as people say it: ``Monday 23 November``."""
    return f"{of:%A} {of.day} {of:%B}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def hours(at: datetime | None = None) -> str:
    """When the shop is open, and whether it is now."""
    at = at or now()
    today = opening(at)
    if is_open(at):
        said = f"Yes, we are **open** until {today.times.split()[-1]} today."
    elif today.since is not None and at.time() < today.since:
        said = f"Not yet: we open at {today.times.split()[0]} today."
    else:
        said = "We are **closed** at the moment."
    listed = "\n".join(f"- **{each.name}**: {each.times}" for each in HOURS)
    return f"{said}\n\n{listed}"


def delivery() -> str:
    """How long delivery takes, and what it costs."""
    rows = table(("Where", "How long", "Price"), DELIVERY)
    return f"This is how it gets to you:\n\n{rows}"


def returns() -> str:
    """How to send something back."""
    return (
        f"You have **{RETURN_DAYS} days** to send anything back, worn once on a walk included. "
        "Tell me your order's number and I send you a label. Refunds take three working days."
    )


def sizes(product: Product | None = None) -> str:
    """The size table of a product, or of everything that is worn."""
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
    """What there is to say about a product."""
    return f"The **{product.name}** is £{product.price}. {product.description}"


def order_text(order: Order) -> str:
    """An order in a sentence or two."""
    lines = ", ".join(f"{named(line)} ({line.size})" for line in order.lines)
    return f"**Order {order.number}**, {lines}: {order.status.lower()}. {arrival(order)}"


def arrival(order: Order, *, short: bool = False) -> str:
    """When an order comes, or came."""
    if short:
        return f"{'On' if order.is_there else 'By'} {day(order.expected)}"
    came = "It arrived on" if order.is_there else "You should have it by"
    return f"{came} {day(order.expected)}."


def order_card(order: Order, site: str, *, label_sent: bool = False) -> dict[str, Any]:
    """An order as a card, whose button is answered by ``return_label``.

    :param site: the shop's address, in front of the paths of pictures.
    :param label_sent: whether the button has been used.
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
            # What has not left the shop yet needs no label to come back.
            *([button] if order.is_packed else []),
        ],
    }


def named(line: Line) -> str:
    """What a line of an order is about."""
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
