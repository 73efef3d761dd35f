"""The shop's agent: a model with the same knowledge as the built-in assistant.

``CHATKIT_SERVER="demo_app.agent:agent"`` puts it into the chats. It needs ``OPENAI_API_KEY`` only;
``OPENAI_MODEL`` sets another model than the Agents SDK's default, and ``OPENAI_BASE_URL`` another
endpoint for chat completions, such as Ollama, vLLM, LM Studio or OpenRouter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunContextWrapper,
    StopAtTools,
    function_tool,
    set_tracing_disabled,
)
from agents.models import get_default_model, get_default_model_settings
from chatkit.agents import AgentContext, ClientToolCall
from chatkit.widgets import DynamicWidgetRoot
from flask import current_app
from openai import AsyncOpenAI

from demo_app import knowledge
from demo_app.catalogue import PRODUCTS, find_order, find_product
from flask_chatkit.server import ChatContext

Context = RunContextWrapper[AgentContext[ChatContext]]

INSTRUCTIONS = f"""\
You answer in the chat of Larch & Lantern, a small outdoor shop in Hebden Mill. Be warm, brief and
concrete, in the customer's language. Orders, sizes, delivery, returns and opening hours you know
from your tools only: never guess them. If a tool has shown a card, don't repeat what is on it. Use
show_product when somebody wants to see a product. If something is none of the shop's business, say
so kindly. The shop is invented: if somebody wants to pay or to ship for real, tell them.

What the shop sells:
{chr(10).join(f"- {knowledge.about(each)} (slug {each.slug})" for each in PRODUCTS.values())}
"""


@function_tool
async def order_status(context: Context, number: str) -> str:
    """Look an order up, and show it to the customer as a card with a button for a return label.

    :param context: The chat.
    :param number: The order's number, four digits.
    """
    order = find_order(number.strip().lstrip("#"))
    # Other customers' orders are not found.
    if order is None or not order.is_of(context.context.request_context.visitor.user_id):
        return f"There is no order {number}. Ask for the number; it is on the receipt."
    card = knowledge.order_card(order, site(context))
    text = knowledge.order_text(order)
    await context.context.stream_widget(DynamicWidgetRoot.model_validate(card), copy_text=text)
    return f"The customer sees this as a card now: {text}"


@function_tool
def sizes(product: str) -> str:
    """Tell the sizes of a product, with a size table if it is worn.

    :param product: Its name or slug.
    """
    return knowledge.sizes(find_product(product))


@function_tool
def opening_hours() -> str:
    """Tell when the shop is open, and whether it is now."""
    return knowledge.hours()


@function_tool
def delivery_and_returns() -> str:
    """Tell how long delivery takes, what it costs, and how to send something back."""
    return f"{knowledge.delivery()}\n\n{knowledge.returns()}"


@function_tool
def show_product(context: Context, slug: str) -> str:
    """Have the customer's page show a product. Its answer tells whether that was possible.

    :param context: The chat.
    :param slug: The product's slug.
    """
    product = find_product(slug)
    if product is None:
        return f"There is no product {slug}."
    arguments = {"slug": product.slug, "address": f"{site(context)}/products/{product.slug}"}
    context.context.client_tool_call = ClientToolCall(name="show_product", arguments=arguments)
    return "The page was asked."


def site(context: Context) -> str:
    """Return the shop's address without a trailing slash; the chat's page is /chatkit/ below it."""
    return context.context.request_context.url.rpartition("/chatkit/")[0]


def make_agent(config: Mapping[str, Any]) -> Agent[AgentContext[ChatContext]]:
    """Create the agent.

    :param config: the application's configuration, with the keys that the module names.
    """
    key = config.get("CHATKIT_API_KEY") or config.get("OPENAI_API_KEY")
    endpoint = config.get("OPENAI_BASE_URL")
    name = model_name(config)
    # Traces go to OpenAI with the key in the environment: not those of another endpoint.
    set_tracing_disabled(bool(endpoint) or not os.environ.get("OPENAI_API_KEY"))
    # Local servers mostly need no key, but the client requires one.
    client = AsyncOpenAI(api_key=key or "none", base_url=endpoint or None)
    return Agent(
        name="Larch & Lantern",
        instructions=INSTRUCTIONS,
        model=(OpenAIChatCompletionsModel if endpoint else OpenAIResponsesModel)(name, client),
        # Other services refuse OpenAI's settings for reasoning and verbosity.
        model_settings=ModelSettings() if endpoint else get_default_model_settings(name),
        tools=[order_status, sizes, opening_hours, delivery_and_returns, show_product],
        # The page runs this one: the answer continues with the page's result.
        tool_use_behavior=StopAtTools(stop_at_tool_names=[show_product.name]),
    )


def model_name(config: Mapping[str, Any]) -> str:
    """Return the model's name: ``OPENAI_MODEL``, or else the Agents SDK's default."""
    return str(config.get("OPENAI_MODEL") or get_default_model())


def __getattr__(name: str) -> Any:
    """Create ``agent`` from the application's configuration when CHATKIT_SERVER imports it."""
    if name == "agent":
        return make_agent(current_app.config)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
