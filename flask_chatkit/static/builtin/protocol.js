// The protocol of ChatKit's servers: events, the updates of items, and calls.

import { sleep, toJson } from "../shared/dom.js";
import { asList, failure } from "./controls.js";

/** @import { Failure } from "./controls.js" */
/** @import { Store } from "./store.js" */
/** @import { Component, Item } from "./types.js" */

/** Items that are not shown. */
const HIDDEN = /^(hidden_context_item|sdk_hidden_context|end_of_turn|client_tool_call)$/;

/** @param {Item} item */
export const isHidden = (item) => HIDDEN.test(item.type);

const BUSY_MS = 8; // that events are received without a break
const WAITED_MS = 1; // for more of a stream: that was a break

/**
 * Read a stream of server-sent events to its end; lines of any other kind are heartbeats.
 * @param {ReadableStream<Uint8Array>} body
 * @param {(data: string) => void} take
 */
export const readEvents = async (body, take) => {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  /** @type {string[]} */
  let data = [];
  let until = 0;
  for (;;) {
    const asked = performance.now();
    const { value, done } = await reader.read();
    const now = performance.now();
    if (now - asked > WAITED_MS) until = now + BUSY_MS;
    const text = decoder.decode(value, { stream: !done });
    // A CR at the very end may be the first half of a CRLF.
    const lines = (rest + text).split(done ? /\r\n|\r|\n/ : /\r\n|\n|\r(?!$)/);
    rest = done ? "" : (lines.pop() ?? "");
    if (done) lines.push("");
    for (const line of lines) {
      if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
      else if (line === "" && data.length > 0) {
        take(data.join("\n"));
        data = [];
        // Much may have come at once: what is typed and drawn goes on meanwhile.
        if (performance.now() > until) {
          await sleep(0);
          until = performance.now() + BUSY_MS;
        }
      }
    }
    if (done) return;
  }
};

/**
 * A widget's components, the widget itself first.
 * @param {Component} component
 * @param {Component[]} found
 */
export const componentsOf = (component, found = []) => {
  if (component && typeof component === "object") {
    found.push(component);
    for (const child of asList(component.children)) componentsOf(child, found);
  }
  return found;
};

/**
 * @param {Item} item
 * @param {any} update
 */
const updateMessage = (item, update) => {
  const { type, content_index: at } = update;
  item.content ??= [];
  while (item.content.length <= at)
    item.content.push({ type: "output_text", text: "", annotations: [] });
  const part = item.content[at];
  if (type.endsWith(".text_delta")) part.text += update.delta;
  else if (type.endsWith(".annotation_added")) {
    part.annotations = asList(part.annotations);
    part.annotations.splice(update.annotation_index, 0, update.annotation);
  } else item.content[at] = { ...update.content };
};

/**
 * @param {Item} item
 * @param {any} update
 */
const updateTask = (item, { type, task_index: index, task }) => {
  item.workflow.tasks ??= [];
  if (type.endsWith(".added")) item.workflow.tasks.splice(index, 0, task);
  else item.workflow.tasks[index] = task;
};

/**
 * @param {Item} item
 * @param {any} update
 */
const updateComponent = (item, { type, component_id: id, component, delta }) => {
  const found = componentsOf(item.widget).find((each) => each.id === id);
  if (!found) return;
  if (type === "widget.streaming_text.value_delta") {
    found.value = (found.value ?? "") + delta;
    return;
  }
  for (const key of Object.keys(found)) delete found[key];
  Object.assign(found, { id }, component);
};

/** Whether an update changes components of a widget, not the whole of it. */
const OF_COMPONENT = /^widget\.(component\.updated|streaming_text\.value_delta)$/;

/**
 * Apply one of the ten kinds of update to `item`.
 * @param {Item} item
 * @param {any} update
 */
export const applyUpdate = (item, update) => {
  const { type } = update;
  if (type.startsWith("assistant_message.")) updateMessage(item, update);
  else if (type.startsWith("workflow.task.")) updateTask(item, update);
  else if (OF_COMPONENT.test(type)) updateComponent(item, update);
  else if (type === "widget.root.updated") item.widget = update.widget;
  else if (type === "generated_image.updated") {
    Object.assign(item, { image: update.image, progress: update.progress });
  }
};

/** Calls to the server. */
export class Client {
  /** @type {Store} */
  #store;

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
  }

  /**
   * Fetch a URL with the function of the page, if it is on the server's origin.
   * @param {string} url
   * @param {RequestInit} init
   */
  fetch(url, init) {
    const { fetch: given, url: api } = this.#store.options.api;
    const there = new URL(url, document.baseURI);
    const home = new URL(api, document.baseURI);
    // What a page's own fetch adds, a token say, is for its own server only.
    return given && there.origin === home.origin ? given(url, init) : fetch(url, init);
  }

  /**
   * Make one of the kit's own calls.
   * @param {"resume" | "stop"} name
   * @param {object} body
   * @param {RequestInit} more
   */
  call(name, body, more) {
    return this.fetch(`${this.#store.options.api.url}/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: toJson(body),
      ...more,
    });
  }

  /**
   * Send a request of the protocol.
   * @param {{type: string, params: object, metadata?: object}} request
   * @param {AbortSignal} [signal]
   */
  async post(request, signal) {
    let response;
    try {
      response = await this.fetch(this.#store.options.api.url, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          Accept: "text/event-stream, application/json",
        },
        body: toJson(request),
        signal,
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      // A browser's message is for developers, that of a page's own fetch for visitors.
      const { message, told } = /** @type {Error & Failure} */ (error);
      const isOwn = !(error instanceof TypeError);
      const shown = isOwn ? message : this.#store.text.offline;
      throw failure(shown, { cause: error, retry: true, told });
    }
    await this.check(response);
    return response;
  }

  /**
   * @param {Response} response
   * @throws what the server said, if it has refused
   */
  async check(response) {
    if (response.ok) return;
    const body = await response.json().catch(() => null);
    const message = typeof body?.message === "string" && body.message;
    const { status } = response;
    const retry = status >= 500 || status === 429 || status === 408 || status === 401;
    const wait = status === 429 ? Number(response.headers.get("Retry-After")) : 0;
    throw failure(message || this.#store.text.failed, { status, retry, wait, told: body?.told });
  }

  /**
   * Send a request that is answered by JSON.
   * @param {string} type
   * @param {object} params
   * @returns {Promise<any>}
   */
  async json(type, params) {
    return this.read(await this.post({ type, params }));
  }

  /**
   * List the visitor's threads, or those that a query finds. The answer's `search` says whether the
   * server can search.
   * @param {object} params
   * @param {string} query
   */
  async list(params, query) {
    const metadata = { flask_chatkit_search: query };
    return this.read(await this.post({ type: "threads.list", params, metadata }));
  }

  /**
   * @param {Response} response
   * @returns {Promise<any>}
   */
  async read(response) {
    const body = await response.json().catch(() => null);
    if (body === null) throw failure(this.#store.text.failed, { retry: true });
    return body;
  }
}
