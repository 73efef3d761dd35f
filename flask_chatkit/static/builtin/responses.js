// Answers of the server that come in as a stream, with the client tools that they call.

import { failure, textsOf } from "./helpers.js";
import { readableText } from "./items.js";
import { readEvents } from "./protocol.js";

/** @import { Chat } from "./chat.js" */
/** @import { Failure } from "./helpers.js" */
/** @import { Item, Request, Run } from "./types.js" */

const LONGEST_ANNOUNCEMENT = 2000; // characters
/** The events that change nothing but an item's row, if that. */
const QUIET = new Set(["thread.item.updated", "client_effect"]);

export class Responses {
  /** @type {Chat} */
  #chat;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /**
   * Run one streaming call to its end, with the client tools it asks for.
   * @param {Request} request
   */
  async run(request) {
    const { notices, store, view } = this.#chat;
    /** @type {Run} */
    const run = {
      abort: new AbortController(),
      canStop: true,
      got: false,
      request,
      started: new Set(),
    };
    store.run = run;
    notices.removeErrors();
    store.dispatch("response.start");
    store.emit("changed");
    view.announce(store.text.answering);
    try {
      while (run.request) await this.#step(run, run.request);
    } catch (error) {
      if (store.run === run && !run.abort.signal.aborted) this.#fail(error, run);
    } finally {
      if (store.run === run) this.#finish(run);
    }
  }

  /**
   * Send a request and read its answer; the run has the next request then, if there is one.
   * @param {Run} run
   * @param {Request} request
   */
  async #step(run, { type, params }) {
    const { client, store } = this.#chat;
    run.got = false;
    store.call = null;
    const response = await client.post({ type, params }, run.abort.signal);
    const isStream = /^text\/event-stream/i.test(response.headers.get("Content-Type") ?? "");
    if (!isStream || !response.body) throw failure(store.text.failed, { retry: true });
    for await (const data of readEvents(response.body)) {
      run.got = true;
      // A chat that was left is read to its end, so that its answer is stored.
      if (store.run === run) this.#receive(data, run);
    }
    const call = store.run === run ? store.call : null;
    run.request = call && (await this.callTool(call, run));
  }

  /**
   * @param {unknown} error
   * @param {Run} run
   */
  #fail(error, run) {
    const { notices, store } = this.#chat;
    const isLost = run.got && !(/** @type {Failure} */ (error).status);
    const shown = isLost ? failure(store.text.lost, { cause: error, retry: true }) : error;
    notices.fail(shown, run);
  }

  /** @param {Run} run */
  #finish({ abort, started, got }) {
    const { rows, store, view } = this.#chat;
    store.run = null;
    store.endStreaming();
    rows.flush();
    store.emit("changed");
    const fresh = store.entries.filter(
      ({ item }) => started.has(item.id) && item.type !== "user_message",
    );
    const text = fresh
      .map(({ body }) => (body ? readableText(body) : ""))
      .join("\n")
      .trim();
    if (abort.signal.aborted) view.announce(store.text.stopped);
    else if (text || got) view.announce(text.slice(0, LONGEST_ANNOUNCEMENT));
    store.dispatch("response.end");
  }

  /** Stop the answer that comes in. */
  stop() {
    const { composer, store } = this.#chat;
    const { run } = store;
    if (!run?.canStop) return;
    run.abort.abort();
    const entry = store.items.get(run.request?.sent ?? "");
    if (!run.got && entry) {
      // Nothing has arrived there: what was written comes back.
      composer.restore(textsOf(entry.item).join(""));
      store.remove(entry.item.id);
    }
    composer.focus();
  }

  /**
   * Have the page run a client tool.
   * @param {Item} call
   * @param {Partial<Run>} run
   * @returns {Promise<Request>} what sends its result
   */
  async callTool({ name, arguments: params, thread_id: id }, run = {}) {
    const { store } = this.#chat;
    run.calling = true;
    store.emit("changed");
    let result;
    try {
      const { onClientTool } = store.options;
      if (!onClientTool) throw new Error(`No handler for the client tool ${name}`);
      result = await onClientTool({ name, params: params ?? {} });
    } catch (error) {
      // The assistant learns of it and goes on, else the thread would hang.
      store.dispatch("error", { error });
      result = { error: String(/** @type {any} */ (error)?.message ?? error) };
    }
    run.calling = false;
    return {
      type: "threads.add_client_tool_output",
      params: { thread_id: id ?? store.thread?.id, result: result ?? {} },
    };
  }

  /**
   * @param {string} data
   * @param {Run} run
   */
  #receive(data, run) {
    const { store } = this.#chat;
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      store.dispatch("log", { name: "stream.unreadable" });
      return;
    }
    const { type } = event;
    if (!Object.hasOwn(this.#handlers, type)) {
      store.dispatch("log", { name: "stream.unknown", data: { type } });
      return;
    }
    this.#handlers[type](event, run);
    if (!QUIET.has(type)) store.emit("changed");
  }

  /** @type {Record<string, (event: any, run: Run) => void>} by the types of events */
  #handlers = {
    "thread.created": ({ thread }) => this.#chat.store.setThread(thread),
    "thread.updated": ({ thread }) => this.#chat.store.setThread(thread),
    "thread.item.added": ({ item }, run) => this.#put(item, run, true),
    "thread.item.replaced": ({ item }, run) => this.#put(item, run, false),
    "thread.item.done": ({ item }, run) => this.#put(item, run, false),
    "thread.item.removed": ({ item_id: id }) => this.#chat.store.remove(id),
    "thread.item.updated": ({ item_id: id, update }) => this.#chat.store.update(id, update),
    stream_options: ({ stream_options: options }, run) => {
      run.canStop = options?.allow_cancel !== false;
    },
    progress_update: (event, run) => {
      run.progress = event;
    },
    client_effect: ({ name, data }) => this.#chat.store.dispatch("effect", { name, data }),
    error: ({ message, allow_retry: retry }, run) => {
      const { notices, store } = this.#chat;
      notices.fail(failure(message || store.text.failed, { retry }), run);
    },
    notice: (event) => this.#chat.notices.show(event.message, event),
  };

  /**
   * @param {Item} item
   * @param {Run} run
   * @param {boolean} streaming
   */
  #put(item, run, streaming) {
    run.progress = null;
    run.started.add(item.id);
    this.#chat.store.put(item, { streaming });
  }
}
