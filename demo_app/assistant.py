"""The shop's built-in assistant: a function that yields the answer, without a model or a key.

``CHATKIT_SERVER="demo_app.assistant:answer"`` puts it into the chats. It looks for a few words in
the message and answers from ``shop.json``; to all else, it explains what it is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from demo_app import knowledge
from demo_app.catalogue import (
    OPEN_ORDERS,
    PRODUCTS,
    RETURN_DAYS,
    Product,
    find_order,
    find_product,
)

if TYPE_CHECKING:
    from flask_chatkit.server import Chat, Message

#: Seconds between two words of a streamed answer, and to look something up.
WORD = 0.03
LOOK = 0.6

#: Topics, and the words by which they are found; the first match counts.
TOPICS = {
    "order": r"\b\d{4}\b|\border(ed)?\b|\bparcel\b|\btrack",
    "packing": r"\bpack\b|\bpacking\b|\bweekend\b|\btrip\b",
    "show": r"\bshow\b|\bwhere (is|are|can i (find|see)) the\b|\blook at\b",
    "returns": r"\breturn|\brefund|\bexchange|\bback\b|\blabel\b",
    "sizes": r"\bsiz|\bfits?\b|\bfitting\b|\blarger?\b|\bsmall(er)?\b",
    "delivery": r"\bdeliver|\bship|\bpost|\barrive",
    "hours": r"\bopen(ing)?\b|\bclos|\bhours?\b|\btoday\b|\b(satur|sun|mon)day\b",
    "thanks": r"\bthank|\bcheers\b",
    "hello": r"\bhello\b|\bhi\b|\bhey\b",
    "rain": r"\brain(s|y|fall)?\b(?! jacket)|\bweather\b",
    "repair": r"\brepair|\bmend|\bbroken?\b|\btorn\b",
}

#: What a visitor may choose in the composer, beside the files.
TOOLS = [
    {"id": "rain", "label": "Weather on the hill", "short_label": "Weather", "icon": "calendar"}
]
MODELS = [
    {"id": "full", "label": "At length", "description": "With a word of advice", "default": True},
    {"id": "brief", "label": "In brief", "description": "The list, and no more"},
]

THANKS = "With pleasure. Enjoy the walk!"
UNKNOWN = (
    "I don't know that one. I am a few lines of Python, not a model: I know our **orders**, "
    "**sizes**, **delivery**, **returns**, **opening hours** and what we sell. I can also tell you "
    "what to pack for a wet weekend."
)
WHICH_ORDER = (
    "Tell me its number and I look it up; it is on your receipt. "
    f"(This shop is invented: try {', '.join(OPEN_ORDERS)}.)"
)
PACKING = """\
For two wet days I would take less than you think, and all of it dry:

1. **On you:** the [Drizzle Jacket]({site}/products/drizzle-jacket), a thin jumper, and trousers \
that dry on the way. Cotton stays at home.
2. **In the [Larch Daypack]({site}/products/larch-daypack):** a dry set of everything in a bag \
that closes, and two pairs of [Fellside Socks]({site}/products/fellside-socks) more than you think.
3. **At hand:** map, whistle, something sweet, and tea in the \
[Tarn Flask]({site}/products/tarn-flask). Hot tea mends most weekends.
4. **For the evening:** the [Marsh Lantern]({site}/products/marsh-lantern) and the \
[Burrow Blanket]({site}/products/burrow-blanket). You will be the one everybody sits with.

Leave the umbrella. On a hill it is a sail."""
PACKING_IN_BRIEF = "Rain jacket, dry socks twice, hot tea, a lantern, a blanket. **No umbrella.**"


def answer(message: Message, chat: Chat) -> Iterator[Any]:
    """Answer a customer's message."""
    if message.tool_result is not None:
        yield from shown(message.tool_result, chat)
    elif message.attachments:
        yield from received(message)
    elif message.tool == "rain":
        yield from rain(message.text, chat)
    elif message.model == "brief" and topic(message.text) == "packing":
        yield PACKING_IN_BRIEF
    else:
        yield from ANSWERS[topic(message.text)](message.text, chat)


def topic(text: str) -> str:
    """Return the topic of a message."""
    for name, words in TOPICS.items():
        # Only a product can be shown.
        if re.search(words, text, re.IGNORECASE) and (name != "show" or find_product(text)):
            return name
    return "product" if find_product(text) else "unknown"


# --- the answers: they yield text, and show the rest by the chat's helpers ------------------------


def order(text: str, chat: Chat) -> Iterator[Any]:
    """Show an order as a card with a button."""
    number = re.search(r"\b\d{4}\b", text)
    if number is None:
        yield WHICH_ORDER
        return
    chat.progress(f"Looking for order {number[0]}…", icon="search")
    time.sleep(LOOK)
    found = find_order(number[0])
    # Other customers' orders are not found.
    if found is None or not found.is_of(chat.visitor.user_id):
        yield f"There is no order {number[0]}. {WHICH_ORDER}"
        return
    yield f"Here it is: {found.status.lower()}."
    chat.widget(knowledge.order_card(found, site(chat)), copy_text=knowledge.order_text(found))


def packing(_text: str, chat: Chat) -> Iterator[Any]:
    """Give a longer answer like a model: first thoughts, then word by word."""
    chat.thinking("Two days and one night, and it rains. What gets wet, and what must not?")
    time.sleep(LOOK)
    chat.thinking("Warm while moving, dry while sitting, and nothing that has to be carried twice.")
    time.sleep(LOOK)
    yield from spoken(PACKING.format(site=site(chat)))


def show(text: str, chat: Chat) -> Iterator[Any]:
    """Have the page show a product; static/shop.js does it, and `shown` gets the result."""
    product = find_product(text)
    if product is not None:
        yield chat.client_tool("show_product", {"slug": product.slug})


def shown(result: Any, chat: Chat) -> Iterator[Any]:
    """Answer with the page's result, which comes from a browser and can't be trusted."""
    product = PRODUCTS.get(str(result.arguments.get("slug")))
    if product is None:
        yield UNKNOWN
    elif isinstance(result.output, dict) and result.output.get("shown") is True:
        yield f"There it is, on this page. {knowledge.about(product)}"
    else:
        yield f"It has [a page of its own]({link(product, chat)}). {knowledge.about(product)}"


def sizes(text: str, _chat: Chat) -> Iterator[Any]:
    """Stream the sizes as tables, row by row."""
    yield from spoken(knowledge.sizes(find_product(text)))


def about(text: str, chat: Chat) -> Iterator[Any]:
    """Describe a product."""
    product = find_product(text)
    if product is not None:
        yield f"{knowledge.about(product)} [See it]({link(product, chat)})."


def hello(_text: str, chat: Chat) -> Iterator[Any]:
    """Greet the customer, by name if they are signed in."""
    name = chat.visitor.user_id
    yield f"Hello{f' {name}' if name else ''}! What are you getting ready for?"
    chat.suggest(["Where is my order 1042?", "What should I pack for a wet weekend?"])


def rain(_text: str, chat: Chat) -> Iterator[Any]:
    """Show the year's rain as a chart."""
    yield f"It rains least in {knowledge.driest_month()}, on the hill behind the shop:"
    chat.widget(knowledge.rain_chart(), copy_text=knowledge.rain_text())
    chat.suggest(["What should I pack for a wet weekend?"])


def ask_for_repair(_text: str, chat: Chat) -> Iterator[Any]:
    """Ask with a form what is to be repaired; :func:`repair` gets the answers."""
    yield "Gladly. Tell the workshop what has happened:"
    chat.widget(knowledge.repair_form())


def repair(payload: Any, chat: Chat) -> Iterator[Any]:
    """Answer the form of a repair: the action ``repair``.

    What comes is what a browser sent: only what the shop knows is taken from it.
    """
    given = payload if isinstance(payload, dict) else {}
    product, what = PRODUCTS.get(str(given.get("product"))), str(given.get("what") or "").strip()
    if product is None or not what:
        raise chat.error("Please tell us what is to be repaired, and what has happened.")
    if chat.sender is not None:
        chat.replace(knowledge.repair_card(product, what[:500], posted=given.get("how") == "post"))
    yield "The workshop has it, and answers tomorrow. (Not really: this is a demo.)"


def received(message: Message) -> Iterator[Any]:
    """Confirm files, of a damaged seam for example."""
    for file in message.attachments:
        # Read only what you need: here, its size.
        yield f"I have got **{file.name}** ({len(file.read()) / 1024:.1f} kB). "
    yield (
        "Somebody from the workshop would look at it now, if this shop were not invented. "
        "Everything with a seam is repaired for as long as you own it."
    )


def return_label(payload: Any, chat: Chat) -> Iterator[Any]:
    """Answer the button of an order's card: the action ``return_label``.

    The payload is that of a card in this visitor's thread; the shop still checks whose order it is.
    """
    found = find_order(payload.get("order")) if isinstance(payload, dict) else None
    if found is None or not found.is_of(chat.visitor.user_id) or not found.is_packed:
        raise chat.error("There is no such order to return.")
    if chat.sender is not None:
        chat.replace(knowledge.order_card(found, site(chat), label_sent=True))
    yield (
        f"The return label for order {found.number} is in your inbox, and good for "
        f"{RETURN_DAYS} days. (Not really: this is a demo, and nothing was sent.)"
    )


ANSWERS: dict[str, Callable[[str, Chat], Iterator[Any]]] = {
    "order": order,
    "packing": packing,
    "show": show,
    "returns": lambda _text, _chat: iter([knowledge.returns()]),
    "sizes": sizes,
    "delivery": lambda _text, _chat: iter([knowledge.delivery()]),
    "hours": lambda _text, _chat: iter([knowledge.hours()]),
    "thanks": lambda _text, _chat: iter([THANKS]),
    "hello": hello,
    "rain": rain,
    "repair": ask_for_repair,
    "product": about,
    "unknown": lambda _text, _chat: iter([UNKNOWN]),
}


def spoken(text: str) -> Iterator[str]:
    """Yield a text in pieces, with short pauses, like a model."""
    for piece in re.findall(r"\|.*\n*|\S+\s*", text):
        yield piece
        time.sleep(WORD)


def site(chat: Chat) -> str:
    """Return the shop's address without a trailing slash; the chat's page is /chatkit/ below it."""
    return chat.context.url.rpartition("/chatkit/")[0]


def link(product: Product, chat: Chat) -> str:
    """Return the absolute URL of a product's page: a chat may be in another origin's frame."""
    return f"{site(chat)}/products/{product.slug}"


# --- plain text, for the stand-in of a hosted workflow, which has no cards and no tools -----------


def reply(text: str) -> str:
    """Return a text that answers a customer's message."""
    product, number = find_product(text), re.search(r"\b\d{4}\b", text)
    found = find_order(number[0]) if number else None
    is_open = found is not None and found.is_of(None)
    texts = {
        "order": knowledge.order_text(found) if found and is_open else WHICH_ORDER,
        "packing": PACKING.format(site=""),
        "returns": knowledge.returns(),
        "sizes": knowledge.sizes(product),
        "delivery": knowledge.delivery(),
        "hours": knowledge.hours(),
        "thanks": THANKS,
        "hello": "Hello! What are you getting ready for?",
        "rain": knowledge.rain_text(),
        "repair": f"Everything with a seam is repaired: write to {knowledge.WORKSHOP}.",
    }
    return texts.get(topic(text)) or (knowledge.about(product) if product else UNKNOWN)
