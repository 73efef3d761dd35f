"""Checks of hosted chats: the key, its organisation and project, the workflow, its end."""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Iterator

from ..errors import ApiError
from ..hosted.answers import Reply
from ..hosted.client import WORKFLOWS_END
from .report import Finding, check, error, ok, skipped, warning
from .site import Site

_BILLING = "look at the plan and billing of the key's organisation: https://platform.openai.com"
_REACH = (
    "let this machine reach api.openai.com by https: firewall, DNS, HTTPS_PROXY, "
    "REQUESTS_CA_BUNDLE, CHATKIT_API_BASE"
)
_MOVE = (
    "serve the chat yourself: set CHATKIT_SERVER in place of CHATKIT_WORKFLOW_ID (docs/moving.md)"
)


@check(
    "api-key",
    "OpenAI's key is set and accepted, and which organisation and project it belongs to",
    cure=_REACH,
    seconds=8.0,
)
def api_key(site: Site) -> Iterator[Finding]:
    """List one thread, which needs the same permission as the kit, and changes nothing."""
    if not site.hosted:
        yield skipped("no chat is hosted by OpenAI")
        return
    if not site.settings.api_key:
        yield error(
            "there is no API key, and a hosted chat needs one",
            "set CHATKIT_API_KEY (or OPENAI_API_KEY) to a key of the workflow's project",
        )
        return
    try:
        reply = _ask(site, "GET", "/chatkit/threads?limit=1")
    except ApiError as failed:
        yield error(f"OpenAI can't be reached: {_reason(failed)}", _REACH)
        return
    if reply.status == 200:
        named = {
            word: reply.headers.get(f"openai-{word}") or given
            for word, given in (
                ("organization", site.settings.organization),
                ("project", site.settings.project),
            )
        }
        shown = [f"{word} {name}" for word, name in named.items() if name]
        yield ok("OpenAI accepts the key: " + (", ".join(shown) or "its default project"))
    else:
        yield _refused(reply)


def _refused(reply: Reply) -> Finding:
    code, message = str(reply.error.get("code")), str(reply.error.get("message", ""))
    if "organization" in code or "organization" in message.lower():
        return error(
            f"the key does not belong to CHATKIT_ORGANIZATION ({reply.status}, {code})",
            "correct CHATKIT_ORGANIZATION and CHATKIT_PROJECT, or remove them",
        )
    if reply.status == 401:
        return error(
            f"OpenAI does not accept the key ({reply.status}, {code})",
            "set CHATKIT_API_KEY to a key that is shown as active at platform.openai.com/api-keys",
        )
    if reply.status == 403:
        return error(
            f"the key may not use ChatKit ({reply.status}, {code})",
            "give the key the permission for ChatKit, or make one without restrictions",
        )
    if code == "insufficient_quota":
        return error("the organisation's quota at OpenAI is used up", _BILLING)
    if reply.status == 404:
        return error(
            "there is no ChatKit API at CHATKIT_API_BASE (404)",
            "remove CHATKIT_API_BASE, or let it end in /v1",
        )
    return error(
        f"OpenAI answered {reply.status} ({code})", "try again; see https://status.openai.com"
    )


@check(
    "workflow",
    "each hosted chat's workflow is reachable: a session is created for a visitor `doctor:…` "
    "and cancelled",
    cure=_REACH,
    seconds=12.0,
)
def workflow(site: Site) -> Iterator[Finding]:
    """Create a session and cancel it."""
    chats = [chat for chat in site.hosted if chat.workflow_id or site.settings.workflow_id]
    if not (chats and site.settings.api_key):
        yield skipped("no chat has a workflow" if not chats else "there is no API key")
        return
    for chat in chats:
        body = chat.session(f"doctor:{secrets.token_hex(4)}", None, site.settings)
        try:
            reply = _ask(site, "POST", "/chatkit/sessions", body)
        except ApiError as failed:
            yield error(f"OpenAI can't be reached: {_reason(failed)}", _REACH)
            return
        if reply.status == 200:
            site.kit.client.look("POST", f"/chatkit/sessions/{reply.answer.get('id')}/cancel")
            yield ok(f"the workflow of the chat {chat.name!r} answers")
        else:
            yield _no_session(chat.name, reply)


def _no_session(chat: str, reply: Reply) -> Finding:
    if reply.status == 410 or (reply.status == 404 and _today() >= WORKFLOWS_END):
        return error(f"OpenAI has ended the workflow of the chat {chat!r} ({reply.status})", _MOVE)
    if reply.status == 404:
        return error(
            f"OpenAI does not find the workflow of the chat {chat!r} (404)",
            "use a key of the workflow's own organisation and project (CHATKIT_ORGANIZATION, "
            "CHATKIT_PROJECT), and its exact id; if it has ended, set CHATKIT_SERVER",
        )
    if reply.status in {401, 403}:
        return _refused(reply)
    if reply.status == 400:
        return error(
            f"OpenAI refuses the session of the chat {chat!r}: {reply.error.get('message', '')}",
            f"correct the arguments of add_hosted({chat!r}, …)",
        )
    return _refused(reply)


@check(
    "workflows-end",
    "how many days are left until OpenAI ends hosted workflows (2026-11-30)",
    cure=_MOVE,
)
def workflows_end(site: Site) -> Iterator[Finding]:
    """Count the days."""
    left = (WORKFLOWS_END - _today()).days
    if site.hosted:
        names = ", ".join(chat.name for chat in site.hosted)
        if left <= 0:
            yield error(f"OpenAI has ended hosted workflows on {WORKFLOWS_END}: {names}", _MOVE)
        else:
            days = "1 day" if left == 1 else f"{left} days"
            yield warning(f"{days} left until OpenAI ends the workflows of: {names}", _MOVE)
    elif site.settings.workflow_id and site.settings.server:
        yield skipped(
            "CHATKIT_SERVER serves what CHATKIT_WORKFLOW_ID did",
            "once `flask chatkit threads migrate` has carried the threads over, remove "
            "CHATKIT_WORKFLOW_ID",
        )
    else:
        yield skipped("no chat is hosted by OpenAI")


def _ask(site: Site, method: str, path: str, body: dict[str, object] | None = None) -> Reply:
    reply = site.kit.client.look(method, path, body)
    if "Date" in reply.headers:
        site.clocks.setdefault("OpenAI", (reply.headers["Date"], time.time()))
    return reply


def _reason(failed: ApiError) -> str:
    return str(failed.detail or failed.description)


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.timezone.utc).date()
