// Answers that go on when their request ends, in OpenAI's element: it tells nobody that the visitor
// has pressed Stop, and does not ask for what another page has begun. The built-in chat does both.

import { sleep } from "../shared/dom.js";
import { callElement } from "./api.js";

/** @typedef {import("./api.js").Widget} Widget */

const LEAVE_MS = 300; // within which an element that leaves a thread says so

/** @type {Set<string>} the threads whose answers are read */
const reading = new Set();

/**
 * Follow the answer that a response is, or tells of.
 * @param {Widget} widget
 * @param {Request} request
 * @param {Response} response
 * @param {(name: string, body: object) => Promise<Response>} call makes one of the kit's own calls
 */
export const follow = async (widget, request, response, call) => {
  const { element } = widget;
  const { params } = await request.json();
  if (!/^text\/event-stream/.test(response.headers.get("Content-Type") ?? "")) {
    if (response.headers.get("X-ChatKit-Answer") === "running") {
      await waitFor(widget, params.thread_id, call);
    }
    return;
  }
  const answer = response.headers.get("X-ChatKit-Answer-Id") ?? undefined;
  const stop = async () => {
    const id = params.thread_id ?? widget.root.dataset.thread;
    await sleep(LEAVE_MS);
    const isThere = widget.element === element && widget.root.isConnected;
    if (id && isThere && widget.root.dataset.thread === id) {
      await call("stop", { thread_id: id, answer });
    }
  };
  const { signal } = request;
  if (signal.aborted) await stop();
  else signal.addEventListener("abort", () => stop().catch(() => {}), { once: true });
};

/**
 * Read an answer to its end, which keeps it going, and show it then.
 * @param {Widget} widget
 * @param {string} id
 * @param {(name: string, body: object) => Promise<Response>} call
 */
const waitFor = async (widget, id, call) => {
  const { element, root } = widget;
  if (reading.has(id)) return;
  reading.add(id);
  try {
    const answer = await call("resume", { thread_id: id });
    await answer.text();
  } finally {
    reading.delete(id);
  }
  if (widget.element === element && root.dataset.thread === id)
    await callElement(widget, "fetchUpdates");
};
