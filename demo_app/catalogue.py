"""The shop's products, orders and opening hours, read from ``shop.json`` once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DATA: dict[str, Any] = json.loads(Path(__file__).with_name("shop.json").read_text("utf-8"))


class Fit(NamedTuple):
    """A size table, and advice for somebody between two sizes."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    advice: str


@dataclass(frozen=True)
class Product:
    """A product; its picture is ``static/<slug>.svg``."""

    slug: str
    name: str
    price: int  # pounds
    summary: str
    description: str
    picture: str  # what the picture shows
    sizes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    fit: Fit | None

    @property
    def kind(self) -> str:
        """Its short name: the last word of its name, in lower case."""
        return self.name.split()[-1].lower()

    @classmethod
    def read(cls, data: dict[str, Any]) -> Product:
        """Create a product from its entry in the file."""
        fit = data.get("fit")
        return cls(
            **{key: data[key] for key in ("slug", "name", "price", "summary", "description")},
            picture=data["picture"],
            sizes=tuple(data["sizes"]),
            facts=tuple(data["facts"].items()),
            fit=fit
            and Fit(tuple(fit["columns"]), tuple(map(tuple, fit["rows"])), advice=fit["advice"]),
        )


class Line(NamedTuple):
    """One line of an order."""

    product: Product
    size: str
    amount: int

    @property
    def price(self) -> int:
        """The price in pounds."""
        return self.product.price * self.amount


@dataclass(frozen=True)
class Order:
    """A customer's order."""

    number: str
    status: str
    placed: date
    expected: date
    lines: tuple[Line, ...]
    #: The login of the customer; None for an order that anybody with its number may see.
    customer: str | None

    def is_of(self, user_id: str | None) -> bool:
        """Whether it may be shown to somebody.

        :param user_id: their login; None without one.
        """
        return self.customer is None or self.customer == user_id

    @property
    def total(self) -> int:
        """The price in pounds."""
        return sum(line.price for line in self.lines)

    @property
    def is_packed(self) -> bool:
        """Whether it has left the shop."""
        return self.status != "Being packed"

    @property
    def is_there(self) -> bool:
        """Whether it has arrived."""
        return self.status == "Delivered"


class Opening(NamedTuple):
    """Opening hours of some days of the week; Monday is 0."""

    name: str
    weekdays: tuple[int, ...]
    since: time | None
    until: time | None

    @property
    def times(self) -> str:
        """The times as text."""
        if self.since is None or self.until is None:
            return "closed"
        return f"{_clock(self.since)} to {_clock(self.until)}"


class Language(NamedTuple):
    """The help chat's own texts in a language; the widget has the others."""

    code: str
    name: str
    greeting: str
    placeholder: str


def _clock(at: time) -> str:
    return f"{at.hour}:{at.minute:02}"


def _time(text: str | None) -> time | None:
    return None if text is None else datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007  a time of day


PRODUCTS = {data["slug"]: Product.read(data) for data in _DATA["products"]}
HOURS = tuple(
    Opening(day["name"], tuple(day["weekdays"]), _time(day.get("from")), _time(day.get("to")))
    for day in _DATA["hours"]["days"]
)
DELIVERY: tuple[tuple[str, str, str], ...] = tuple(
    (where, how_long, price) for where, how_long, price in _DATA["delivery"]
)
LANGUAGES = {code: Language(code, **texts) for code, texts in _DATA["languages"].items()}
RETURN_DAYS: int = _DATA["return_days"]
ORDERS = {data["number"]: data for data in _DATA["orders"]}
#: The numbers of orders that everybody may see.
OPEN_ORDERS = tuple(number for number, data in ORDERS.items() if "customer" not in data)


def now() -> datetime:
    """Return the time in the shop."""
    try:
        zone = ZoneInfo(_DATA["hours"]["timezone"])
    except ZoneInfoNotFoundError:  # a system without time zones
        return datetime.now(timezone.utc)
    return datetime.now(zone)


def find_order(number: object) -> Order | None:
    """Return the order with this number; its dates are relative to today, so that none gets old."""
    data = ORDERS.get(number) if isinstance(number, str) else None
    if data is None:
        return None
    today = now().date()
    return Order(
        number=data["number"],
        status=data["status"],
        placed=today + timedelta(data["placed"]),
        expected=today + timedelta(data["expected"]),
        lines=tuple(
            Line(PRODUCTS[line["product"]], line["size"], line.get("amount", 1))
            for line in data["items"]
        ),
        customer=data.get("customer"),
    )


def find_product(text: str) -> Product | None:
    """Return the product that a text mentions, by its short name or its slug."""
    text = text.lower()
    for product in PRODUCTS.values():
        if product.kind in text or product.kind.removesuffix("s") in text or product.slug in text:
            return product
    return None


def opening(at: datetime) -> Opening:
    """Return the opening hours of a day."""
    return next(day for day in HOURS if at.weekday() in day.weekdays)


def is_open(at: datetime) -> bool:
    """Whether the shop is open."""
    day = opening(at)
    return day.since is not None and day.until is not None and day.since <= at.time() < day.until
