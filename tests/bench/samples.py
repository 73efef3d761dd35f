"""OpenAI's advanced samples, served by us and by their own FastAPI apps, answer by answer.

Run it by hand, ``python tests/bench/samples.py PATH``, with a checkout of
``openai/openai-chatkit-advanced-samples``; the README beside it tells how to read the table.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import json
import logging
import os
import random
import re
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The stand-in of the model's API is the tests'.
sys.path[:0] = [str(ROOT), str(HERE.parent / "server")]

#: Seconds that a title takes: it comes when the answer is over, and not somewhere in it.
TITLE_SECONDS = 0.3
#: Seconds that one call may take.
PATIENCE = 30


# --- what is asked -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """A call, with ``$thread``, ``$user``, ``$assistant``, ``$widget`` and ``$file`` for ids.

    :param name: the row's name.
    :param fails: whether neither can answer it: the sample breaks off, and ours has to refuse.
    """

    name: str
    type: str
    params: dict
    fails: bool = False


def said(text, **more):
    """Write a visitor's message."""
    content = [{"type": "input_text", "text": text}]
    return {"content": content, "attachments": [], "inference_options": {}, **more}


def create(text, **more):
    """Begin a thread."""
    return Ask(f"create: {text[:24]}", "threads.create", {"input": said(text, **more)})


def add(text, **more):
    """Go on in the thread; ``use NAME {…}`` has the model call a function."""
    params = {"thread_id": "$thread", "input": said(text, **more)}
    return Ask(f"message: {text[:40]}", "threads.add_user_message", params)


def use(tool, **arguments):
    """Have the model call a function."""
    return add(f"use {tool} {json.dumps(arguments)}")


def act(kind, sender="$widget", **payload):
    """Use a widget."""
    params = {"thread_id": "$thread", "action": {"type": kind, "payload": payload}}
    if sender:
        params["item_id"] = sender
    return Ask(f"action: {kind}", "threads.custom_action", params)


OWN = {
    "cat-lounge": [
        use("get_cat_status"),
        use("feed_cat", meal="tuna"),
        use("speak_as_cat", line="meow (I am full)"),
        use(
            "suggest_cat_names",
            suggestions=[
                {"name": "Biscuit", "reason": "Warm"},
                {"name": "Mochi", "reason": "Round"},
                {"name": "Pixel", "reason": "Small"},
            ],
        ),
        act("cats.select_name", name="Mochi", options=[{"name": "Mochi", "reason": "Round"}]),
        act("cats.select_name", name="Biscuit", options=[{"name": "Mochi", "reason": "Round"}]),
        use("show_cat_profile", age=3, favorite_toy="Yarn"),
        use("set_cat_name", name="Tiger"),
    ],
    "customer-support": [
        use("change_seat", flight_number="OA476", seat="14C"),
        use("meal_preference_list"),
        act("support.set_meal_preference", meal="kosher"),
        act("support.set_meal_preference", meal="everything"),
        use(
            "flight_option_list",
            destination="CDG",
            depart_date="2027-03-01",
            return_date="2027-03-09",
            cabin="economy",
        ),
        act(
            "flight.select",
            id="f1",
            leg="outbound",
            options=[
                {
                    "id": "f1",
                    "from_airport": "SFO",
                    "to_airport": "CDG",
                    "dep_time": "08:00",
                    "arr_time": "19:00",
                    "date_label": "1 March",
                    "cabin": "economy",
                }
            ],
            request={
                "origin": "SFO",
                "destination": "CDG",
                "depart_date": "2027-03-01",
                "return_date": "2027-03-09",
                "cabin": "economy",
            },
        ),
        act("upsell.accept", sender=None, cabin_name="Premium", price="$129"),
        Ask(
            "attachments.create",
            "attachments.create",
            {"name": "bag.png", "size": 1000, "mime_type": "image/png"},
        ),
        add("my bag is broken", attachments=["$file"]),
        Ask("attachments.delete", "attachments.delete", {"attachment_id": "$file"}),
        Ask(
            "attachments.create, a text",
            "attachments.create",
            {"name": "a.txt", "size": 10, "mime_type": "text/plain"},
            fails=True,
        ),
    ],
    "metro-map": [
        use("get_map"),
        use("list_lines"),
        use("show_line_selector", message="Which line?"),
        act("line.select", id="blue"),
        use("add_station", station_name="new dawn", line_id="blue", append=True),
        use("add_station", station_name="nowhere", line_id="no-such-line", append=True),
        use("get_station", station_id="helios-prime"),
        use("get_selected_stations"),
        Ask(
            "client tool's output",
            "threads.add_client_tool_output",
            {"thread_id": "$thread", "result": {"stationIds": ["helios-prime"]}},
        ),
        Ask(
            "client tool's output, none asked for",
            "threads.add_client_tool_output",
            {"thread_id": "$thread", "result": {"again": True}},
            fails=True,
        ),
    ],
    "news-guide": [
        use("list_available_tags_and_keywords"),
        use("search_articles_by_tags", tags=["parks"]),
        use("get_current_page"),
        use("get_article_by_id", article_id="bench-orientation-debate"),
        add(
            'use search_events_by_keyword {"keywords": ["coffee"]}',
            inference_options={"tool_choice": {"id": "event_finder"}},
        ),
        add(
            "a riddle please",
            inference_options={"tool_choice": {"id": "puzzle"}},
        ),
        act("open_article", sender=None, id="bench-orientation-debate"),
        act("view_event_details", sender=None, id="council-coffee-briefing", event_ids=[]),
    ],
}

FIRST = [create("Hello there"), add("And good morning")]

LAST = [
    add("fail"),
    add("after that"),
    Ask("get_by_id", "threads.get_by_id", {"thread_id": "$thread"}),
    Ask("items.list", "items.list", {"thread_id": "$thread", "limit": 3, "order": "asc"}),
    Ask(
        "items.list, further",
        "items.list",
        {"thread_id": "$thread", "limit": 50, "order": "desc", "after": "$user"},
    ),
    Ask(
        "feedback",
        "items.feedback",
        {"thread_id": "$thread", "item_ids": ["$assistant"], "kind": "positive"},
    ),
    Ask("retry", "threads.retry_after_item", {"thread_id": "$thread", "item_id": "$user"}),
    act("no.such.action", sender=None),
    act("no.such.action", sender="$user"),
    Ask("update", "threads.update", {"thread_id": "$thread", "title": "Renamed"}),
    create("Another thread"),
    Ask("list, one", "threads.list", {"limit": 1}),
    Ask("list, all", "threads.list", {"order": "asc"}),
    Ask("delete", "threads.delete", {"thread_id": "$thread"}),
    Ask("get_by_id, deleted", "threads.get_by_id", {"thread_id": "$thread"}, fails=True),
    Ask(
        "message to no thread",
        "threads.add_user_message",
        {"thread_id": "thr_nothing", "input": said("Is anybody there?")},
        fails=True,
    ),
    Ask(
        "action of no widget",
        "threads.custom_action",
        {"thread_id": "$thread", "item_id": "msg_none", "action": {"type": "x", "payload": {}}},
        fails=True,
    ),
    Ask("list, afterwards", "threads.list", {}),
    Ask("no such operation", "threads.explode", {}, fails=True),
    Ask("no parameters", "items.list", {}, fails=True),
]


#: What the samples can't answer with openai-chatkit 1.6, and ours can. They save a thread together
#: with its items, and their stores hand it out like that, which the package does not expect.
MENDED = {("metro-map", "get_by_id"), ("news-guide", "get_by_id")}


# --- who is asked ------------------------------------------------------------------------------


class Links:
    """What the customer-support sample wants of a request: where its own files are."""

    def __init__(self, url):
        self._base = url.partition("/chatkit/")[0]

    def url_for(self, name, attachment_id):
        """Make the address that the sample's own app has for an attachment."""
        act = {"upload_attachment": "upload", "download_attachment": "content"}[name]
        return f"{self._base}/support/attachments/{attachment_id}/{act}"


def contexts(sample):
    """What a site says to ``add_server`` beside the server, where it has a context of its own."""
    if sample == "customer-support":
        return {"context": lambda chat: {"request": Links(chat.url)}}
    if sample == "metro-map":
        from app.request_context import RequestContext

        return {
            "context": lambda chat: RequestContext(
                request=None, map_id=chat.headers.get("map-id") or "solstice-metro"
            ),
            "headers": ["map-id"],
        }
    if sample == "news-guide":
        from app.request_context import RequestContext

        return {
            "context": lambda chat: RequestContext(
                request=None, article_id=chat.headers.get("article-id")
            ),
            "headers": ["article-id"],
        }
    return {}


@contextlib.contextmanager
def flask_site(sample):
    """Serve a sample's server by the kit; the address of its endpoint."""
    from app.server import create_chatkit_server
    from flask import Flask
    from werkzeug.serving import make_server

    from flask_chatkit import ChatKit

    app = Flask(__name__)
    app.config.update(SECRET_KEY="bench" * 8, RATELIMIT_ENABLED=False)
    kit = ChatKit()
    # The samples' pages send actions that name no widget.
    kit.add_server("default", create_chatkit_server, page_actions=True, **contexts(sample))
    app.register_blueprint(kit)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/chatkit/api"
    server.shutdown()


@contextlib.contextmanager
def fastapi_site(sample):
    """Serve a sample by its own app; the address of its endpoint."""
    import uvicorn
    from app.main import app

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    path = "/support/chatkit" if sample == "customer-support" else "/chatkit"
    yield f"http://127.0.0.1:{port}{path}"
    server.should_exit = True
    thread.join(5)


SITES = {"flask": flask_site, "fastapi": fastapi_site}


class Talk:
    """Asks a site, and remembers the ids that it was told."""

    def __init__(self, client, url):
        self.client = client
        self.url = url
        self.ids = {}

    def ask(self, call):
        """Send a call; its status, kind of content, and content."""
        import httpx

        # Where the samples' apps break off they close the connection; the next call has its own.
        headers = {"article-id": "featured", "Connection": "close"}
        body = {"type": call.type, "params": self.filled(call.params)}
        data, status, kind, broken = bytearray(), 0, "", ""
        try:
            with self.client.stream("POST", self.url, json=body, headers=headers) as response:
                status = response.status_code
                kind = response.headers.get("content-type", "").partition(";")[0]
                for chunk in response.iter_raw():
                    data += chunk
        except httpx.HTTPError as error:
            broken = type(error).__name__
        answer = bytes(data).replace(b": hb\n", b"").decode()
        with contextlib.suppress(ValueError):
            self.note(kind, answer)
        return {"status": status, "kind": kind, "broken": broken, "answer": answer}

    def filled(self, value):
        """Put the ids in."""
        if isinstance(value, dict):
            return {key: self.filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one) for one in value]
        return self.ids.get(value, value) if isinstance(value, str) else value

    def note(self, kind, answer):
        """Remember the last ids of each kind."""
        if kind == "application/json":
            told = json.loads(answer)
            if "mime_type" in told:
                self.ids["$file"] = told["id"]
            return
        for event in answer.split("\n\n")[:-1]:
            told = json.loads(event.removeprefix("data: "))
            if told["type"] == "thread.created":
                self.ids["$thread"] = told["thread"]["id"]
            elif told["type"] == "thread.item.done":
                item = told["item"]
                name = {"user_message": "$user", "assistant_message": "$assistant"}
                self.ids[name.get(item["type"], f"${item['type']}")] = item["id"]


def attend(side, sample):
    """Ask one site everything, and print what it answered as JSON."""
    import httpx

    logging.disable(logging.CRITICAL)
    told = []
    # The samples print, which is none of ours.
    with (
        contextlib.redirect_stdout(sys.stderr),
        SITES[side](sample) as url,
        httpx.Client(timeout=PATIENCE) as client,
    ):
        if side == "flask":
            minted = client.post(url.replace("/api", "/secret"), json={}).json()
            client.headers["Authorization"] = f"Bearer {minted['client_secret']}"
        talk = Talk(client, url)
        for place, call in enumerate(calls(sample)):
            # Cats get their colours, and travellers their seats, by chance.
            random.seed(place)
            told.append(talk.ask(call))
    print(json.dumps(told), flush=True)
    # Neither side has anything left to say that would be waited for.
    os._exit(0)


def calls(sample):
    """Make the whole list of calls for a sample."""
    return [*FIRST, *OWN[sample], *LAST]


# --- the model ---------------------------------------------------------------------------------


def scripted(api, body, is_streamed):
    """Answer by what is asked and by nothing else, so that both sites are answered alike."""
    from model_api import Fail, Say, Use

    if not is_streamed:
        time.sleep(TITLE_SECONDS)
        return Say(["a title."])
    # All that the model is told is part of what is compared.
    told = json.dumps([body.get("instructions"), body["input"], body.get("tools")], sort_keys=True)
    heard = hashlib.sha256(plain(told, {}).encode()).hexdigest()[:8]
    if body["input"][-1].get("type") == "function_call_output":
        return Say(["That is done, ", heard])
    texts = [
        part["text"]
        for item in body["input"]
        if item.get("role") == "user" and not isinstance(item["content"], str)
        for part in item["content"]
        if part["type"] == "input_text"
    ]
    asked = next((text for text in reversed(texts) if not text.startswith("<")), "")
    order = re.search(r"use (\w+) (\{.*)", asked, re.DOTALL)
    if order:
        arguments, _ = json.JSONDecoder().raw_decode(order[2])
        return Use([(order[1], arguments)])
    if "fail" in asked:
        return Fail(400, "the model does not want to")
    return Say([f"{word} " for word in f"You said: {asked}, and I heard {heard}".split()])


# --- are they the same -------------------------------------------------------------------------

_ID = re.compile(
    r"\b(?:thr|msg|tc|wf|tsk|atc|shcx)_[0-9a-f]{8,32}\b|\b(?:msg|fc|call|resp)_\d+(?:_\d+)?\b"
)
_TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?")
_SITE = re.compile(r"http://127\.0\.0\.1:\d+")


def plain(text, known):
    """Take ids, times and ports out of an answer; an id is the same one throughout."""
    text = _SITE.sub("<site>", _TIME.sub("<time>", text))
    return _ID.sub(lambda match: known.setdefault(match[0], f"<id {len(known) + 1}>"), text)


@dataclass
class Verdict:
    """What came of one call.

    :param told: how each side answered, in a few words.
    :param lines: where they differ.
    """

    name: str
    is_same: bool
    told: tuple[str, str]
    lines: list[str] = field(default_factory=list)


def summary(answer):
    """Say in a few words how a call was answered."""
    said = f"{answer['status']} "
    if answer["kind"] == "text/event-stream":
        events = [
            json.loads(one.removeprefix("data: ")) for one in answer["answer"].split("\n\n")[:-1]
        ]
        said += f"{len(events)} events"
        if events and events[-1]["type"] == "error":
            said += ", error"
    else:
        said += f"{len(answer['answer'])} bytes"
    return said + (f", {answer['broken']}" if answer["broken"] else "")


def judge(sample, call, ours, theirs, known):
    """Compare two answers to one call."""
    told = summary(ours), summary(theirs)
    if (sample, call.name) in MENDED:
        return Verdict(call.name, (ours["status"], theirs["status"]) == (200, 500), told)
    if call.fails:
        # The samples have no answer to this: their app breaks off, or says 500.
        failed = bool(theirs["broken"]) or theirs["status"] >= 400 or not theirs["answer"]
        refused = 400 <= ours["status"] < 500 and "message" in ours["answer"]
        refused |= ours["status"] == 200 and '"type":"error"' in ours["answer"]
        return Verdict(call.name, failed and refused, told)
    mine = plain(ours["answer"], known[0]), ours["status"], ours["kind"], ours["broken"]
    other = plain(theirs["answer"], known[1]), theirs["status"], theirs["kind"], theirs["broken"]
    both = [one[0].replace("\n\n", "\n").splitlines() for one in (other, mine)]
    lines = list(difflib.unified_diff(*both, "FastAPI", "ours", lineterm="", n=0))
    return Verdict(call.name, mine == other and ours["status"] == 200, told, lines)


def answers(side, sample, path, base_url):
    """Run one sample on one side, in a process and a folder of its own."""
    from model_api import KEY

    backend = path / "examples" / sample / "backend"
    env = os.environ | {
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": KEY,
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "PYTHONPATH": os.pathsep.join([str(backend), str(ROOT)]),
        "PYTHONWARNINGS": "ignore",
        # Where the answer depends on the order of a set.
        "PYTHONHASHSEED": "0",
    }
    command = [sys.executable, __file__, str(path), "--side", side, "--sample", sample]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{sample}, {side}: it did not run\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def compare(sample, path, base_url):
    """Run one sample on both sides, and print what came of it; how many answers differed."""
    ours, theirs = (answers(side, sample, path, base_url) for side in ("flask", "fastapi"))
    known = {}, {}
    verdicts = [
        judge(sample, call, mine, other, known)
        for call, mine, other in zip(calls(sample), ours, theirs, strict=True)
    ]
    different = [verdict for verdict in verdicts if not verdict.is_same]
    print(f"\n{sample:<48}{'ours':<28}{'FastAPI':<40}")
    for verdict in verdicts:
        said = "same" if verdict.is_same else "DIFFERENT"
        if verdict.is_same and verdict.told[0][0] != verdict.told[1][0]:
            said = "refused" if verdict.told[0][0] == "4" else "mended"
        print(f"  {verdict.name:<46}{verdict.told[0]:<28}{verdict.told[1]:<40}{said}")
        for line in verdict.lines[:12] if not verdict.is_same else ():
            print(f"      {line[:300]}")
    return len(verdicts), len(different)


def main():
    """Run the samples one after the other, and tell by the exit code whether all is the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="the checkout")
    parser.add_argument("--sample", choices=OWN, help="this one only")
    parser.add_argument("--side", choices=SITES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        warnings.simplefilter("ignore")
        attend(args.side, args.sample)
    from model_api import serve_model

    samples = [args.sample] if args.sample else list(OWN)
    with serve_model() as api:
        api.next_reply = partial(scripted, api)
        path = args.path.resolve()
        counts = [(sample, *compare(sample, path, api.base_url)) for sample in samples]
        for wrong in sorted(set(api.wrong)):
            print(f"The model's API refused a request: {wrong}")
    print()
    for sample, count, different in counts:
        print(f"{sample:<20}{count:>4} calls, {different} answered differently")
    sys.exit(any(different for *_, different in counts))


if __name__ == "__main__":
    main()
