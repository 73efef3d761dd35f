"""OpenAI's React bindings drive the browser stand-in, unchanged."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from flask_chatkit.testing.standin import OpenAIStandIn

APP = """
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { ChatKit, useChatKit } from "@openai/chatkit-react";

window.seen = [];
const saw = (name) => (detail) => window.seen.push([name, detail ?? null]);

function App() {
  const [dark, setDark] = useState(false);
  const chat = useChatKit({
    api: { getClientSecret: (current) => window.mint(current) },
    theme: dark ? "dark" : "light",
    startScreen: { greeting: "Hello from React" },
    onReady: saw("ready"),
    onError: ({ error }) => window.seen.push(["error", error.message]),
    onResponseStart: saw("response.start"),
    onResponseEnd: saw("response.end"),
    onThreadChange: saw("thread.change"),
    onHistoryOpen: saw("history.open"),
    onLog: () => {},
  });
  return (
    <>
      <button onClick={() => setDark(!dark)}>Switch theme</button>
      <button onClick={() => chat.sendUserMessage({ text: "Hello!" })}>Say hello</button>
      <button onClick={() => chat.showHistory()}>Show history</button>
      <div style={{ height: 500 }}>
        <ChatKit control={chat.control} className="chat" />
      </div>
    </>
  );
}

createRoot(document.getElementById("root")).render(<StrictMode><App /></StrictMode>);
"""


@pytest.fixture(scope="module")
def bundle(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Bundle the app with esbuild, in React's development mode (its checks included)."""
    folder = tmp_path_factory.mktemp("react")
    (folder / "node_modules").symlink_to(node_modules)
    (folder / "app.jsx").write_text(APP)
    esbuild = node_modules / ".bin/esbuild"
    flags = ["--bundle", "--jsx=automatic", '--define:process.env.NODE_ENV="development"']
    command = [esbuild, "app.jsx", "--outfile=app.js", "--log-level=warning", *flags]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    assert done.stderr == ""
    return (folder / "app.js").read_text()


@pytest.mark.parametrize("first", ["the app", "the element"])
def test_react_bindings_drive_the_stand_in(
    page: Page, serve, console, openai_standin: OpenAIStandIn, bundle: str, first: str
) -> None:
    """The hook and the component send a message, hear events and change options in one frame."""
    given: list[str | None] = []

    def mint(current: str | None) -> str:
        given.append(current)
        answer = requests.post(
            f"{openai_standin.api_base}/chatkit/sessions",
            json={"user": "visitor", "workflow": {"id": "wf_standin"}},
            headers={"Authorization": "Bearer sk-standin", "OpenAI-Beta": "chatkit_beta=v1"},
            timeout=5,
        )
        return str(answer.json()["client_secret"])

    page.expose_function("mint", mint)
    script = openai_standin.script_url.replace("127.0.0.1", "localhost")
    tags = ['<script src="/app.js"></script>', f'<script src="{script}"></script>']
    if first == "the element":
        tags.reverse()
    html = f'<!doctype html><title>React</title><div id="root"></div>{"".join(tags)}'
    page.goto(
        serve({"/": ("text/html", html), "/app.js": ("text/javascript; charset=utf-8", bundle)})
    )
    frame = page.frame_locator("openai-chatkit iframe")
    frame.get_by_text("Hello from React").wait_for()
    assert page.locator("openai-chatkit").get_attribute("class") == "chat"

    page.get_by_role("button", name="Say hello").click()
    frame.get_by_text("You wrote “Hello!”.").wait_for()
    page.wait_for_function("seen.some(([name]) => name === 'response.end')")
    page.get_by_role("button", name="Switch theme").click()
    frame.locator("html[data-color-scheme=dark]").wait_for()
    page.get_by_role("button", name="Show history").click()
    frame.get_by_role("heading", name="Chats").wait_for()

    (thread,) = openai_standin.threads
    page.wait_for_function("seen.some(([name]) => name === 'history.open')")
    assert page.evaluate("seen") == [
        ["ready", None],
        ["response.start", None],
        ["thread.change", {"threadId": thread}],
        ["response.end", None],
        ["history.open", None],
    ]
    assert given == [None]
    assert page.evaluate("__chatkitStandin.frameLoads") == 1
    assert page.evaluate("__chatkitStandin.problems") == []
    assert console.all == []
