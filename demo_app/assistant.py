"""What the stand-in says in place of a model: a few answers by keyword, and otherwise the truth."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .catalogue import DELIVERY, HOURS, PRODUCTS, RETURN_DAYS


def _listed(title: str, rows: Iterable[str]) -> str:
    return "\n".join([title, *(f"• {row}" for row in rows)])


#: Words, and the answer to a message that holds one of them.
ANSWERS = {
    "size sizes sizing fit fits large larger small smaller": (
        "Our clothes run true to size. **Between two sizes?** Take the larger one for the Drizzle "
        "Jacket, as a jumper goes underneath, and the smaller one for Fellside Socks."
    ),
    "deliver delivery delivered ship shipping post arrive order": _listed(
        "This is how it gets to you:",
        (f"**{where}**: {how_long}, {price}" for where, how_long, price in DELIVERY),
    ),
    "return returns refund refunds exchange back": (
        f"You have **{RETURN_DAYS} days** to send anything back, worn once on a walk included. "
        "The label is in the parcel, and refunds take three working days."
    ),
    "open opening close closed hours today saturday sunday monday": _listed(
        "Our hours:", (f"**{days}**: {times}" for days, times in HOURS)
    ),
    "hello hi hey": "Hello! What are you getting ready for?",
    "thanks thank cheers": "With pleasure. Enjoy the walk!",
}

UNKNOWN = (
    "I am a stand-in that runs on this machine, not a model, so I only know about sizes, delivery, "
    "returns, opening hours and what we sell. Ask me about one of those?"
)


def reply(text: str) -> str:
    """Answer a customer's message."""
    words = set(re.findall(r"\w+", text.lower()))
    for keywords, answer in ANSWERS.items():
        if words & set(keywords.split()):
            return answer
    for product in PRODUCTS.values():
        if product.name.lower().split()[-1] in words:
            return f"The **{product.name}** is £{product.price}. {product.description}"
    return UNKNOWN
