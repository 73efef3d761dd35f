// What the server answers as a stream, and what a visitor does to have it.

import { sleep } from "../shared/dom.js";
import { failure } from "./controls.js";
import { valuesOf } from "./forms.js";
import { readableText } from "./items.js";
import { isHidden, readEvents } from "./protocol.js";
import { ANSWER, ANSWER_ID } from "./resume.js";
import { Part } from "./store.js";
import { whenDrawn } from "./widgets.js";

/** @import { Failure } from "./controls.js" */
/** @import { Chat } from "./element.js" */
/** @import { Action, Entry, Item, Request, Run } from "./types.js" */

/** The client effect that has what the visitor may say next. */
const SUGGESTIONS = "chatkit.suggestions";
const LONGEST_ANNOUNCEMENT = 2000; // characters
/** How long the answer of a lost connection is waited for, each time, in milliseconds. */
const PAUSES = [0, 1_000, 3_000];
/** The events that change nothing but an item's row, if that. */
const QUIET = new Set(["thread.item.updated", "client_effect"]);

/** The answers that come in as streams, one at a time. */
export class Responses extends Part {
  /**
   * Run one streaming call to its end, with the client tools it asks for.
   * @param {Request} request
   */
  async run(request) {
    const { conversation, notices, resume, store, view } = this.chat;
    /** @type {Run} */
    const run = {
      abort: new AbortController(),
      canStop: true,
      got: false,
      losses: 0,
      message: request.message,
      old: request.old,
      request,
      sent: request.sent,
      started: new Set(),
      thread: request.params.thread_id ?? null,
    };
    store.run = store.last = run;
    notices.removeErrors();
    store.dispatch("response.start");
    store.emit("changed");
    view.announce(store.text.answering);
    try {
      while (run.request) await this.#tryStep(run, run.request);
      resume.note(run.thread, false);
    } catch (error) {
      if (store.run === run) this.#fail(error, run);
    } finally {
      if (store.run === run) this.#finish(run);
    }
    if (!run.reloads || store.thread?.id !== run.thread) return;
    await conversation.reload();
    if (!store.run) store.emit("ended", run);
  }

  /**
   * Take a step; where the connection is lost and the answer goes on, the next step reads that.
   * @param {Run} run
   * @param {Request} request
   */
  async #tryStep(run, request) {
    try {
      await this.#step(run, request);
    } catch (error) {
      const pause = PAUSES[run.losses];
      const isLost = run.outlives && run.thread && !(/** @type {Failure} */ (error).status);
      if (!isLost || pause === undefined || this.store.run !== run) throw error;
      run.losses += 1;
      await sleep(pause);
      const params = { thread_id: run.thread };
      run.request = { type: "resume", params, resumes: { isOwn: true } };
    }
  }

  /**
   * Send a request and read its answer; the run has the next request then, if there is one.
   * @param {Run} run
   * @param {Request} request
   */
  async #step(run, request) {
    const { client, notices, resume, store } = this.chat;
    const { type, params, metadata, resumes } = request;
    run.got = false;
    store.call = null;
    if (resumes?.isOwn ?? true) resume.note(run.thread, true);
    // Those of the next answer are not known yet.
    if (!resumes) run.outlives = run.answer = undefined;
    const response = resumes
      ? await resume.read(request, run)
      : await client.post({ type, params, metadata }, run.abort.signal);
    if (!response) {
      run.reloads = true;
      run.request = null;
      return;
    }
    run.outlives = response.headers.has(ANSWER);
    run.answer = response.headers.get(ANSWER_ID) ?? undefined;
    this.#leave(run);
    const isStream = /^text\/event-stream/i.test(response.headers.get("Content-Type") ?? "");
    if (!isStream || !response.body) throw failure(store.text.failed, { retry: true });
    await readEvents(response.body, (data) => {
      run.got = true;
      run.losses = 0;
      // A chat that was left is read to its end, so that its answer is stored.
      if (store.run === run) this.#receive(data, run);
      else if (run.isStopped) this.#learnThread(data, run);
    });
    const call = store.run === run ? store.call : null;
    run.request = null;
    // Of two pages that read the same answer, the one that has begun it calls the tool.
    if (call && resumes && !resumes.isOwn) notices.offerTool(call);
    else if (call) run.request = await this.callTool(call, run);
  }

  /**
   * @param {unknown} error
   * @param {Run} run
   */
  #fail(error, run) {
    const { conversation, notices, store } = this.chat;
    const { status } = /** @type {Failure} */ (error);
    const isLost = (run.got || run.losses > 0) && !status;
    // What it replaces is gone: the thread has changed, by an answer that was stopped late, say.
    if (status === 404 && run.message?.replaces) run.reloads = true;
    // What has come since is there, whatever became of the answer.
    const again = run.losses > 0 && (() => conversation.reload());
    const how = again ? { again } : { retry: true };
    notices.fail(isLost ? failure(store.text.lost, { cause: error, ...how }) : error, run);
  }

  /**
   * Leave an answer that was stopped, and have the server stop it, once it is known where it is.
   * @param {Run} run
   */
  #leave({ abort, answer, isStopped, outlives, thread }) {
    if (!isStopped || outlives === undefined || (outlives && !thread)) return;
    // The same message, sent again at once, has the same answer.
    const isShown = answer !== undefined && this.store.run?.answer === answer;
    if (thread && outlives && !isShown) this.chat.resume.stop(thread, answer);
    abort.abort();
  }

  /**
   * @param {string} data
   * @param {Run} run
   */
  #learnThread(data, run) {
    run.thread ??= data.startsWith('{"type":"thread.created"') ? JSON.parse(data).thread.id : null;
    this.#leave(run);
  }

  /** @param {Run} run */
  #finish(run) {
    const { editing, rows, store, view } = this.chat;
    const { isStopped, started, got } = run;
    store.run = null;
    store.endStreaming();
    rows.flush();
    editing.settle(run);
    store.emit("changed");
    const fresh = store.entries.filter(
      ({ item }) => started.has(item.id) && item.type !== "user_message",
    );
    const announce = () => {
      const text = fresh
        .map(({ body }) => (body ? readableText(body, LONGEST_ANNOUNCEMENT) : ""))
        .join("\n")
        .trim();
      if (isStopped) view.announce(store.text.stopped);
      else if (text || got) view.announce(text.slice(0, LONGEST_ANNOUNCEMENT));
    };
    const late = whenDrawn();
    if (late) late.then(() => rows.afterDrawing(announce));
    else rows.afterDrawing(announce);
    store.dispatch("response.end");
    if (!run.reloads) store.emit("ended", run);
  }

  /** Stop the answer that comes in. */
  stop() {
    const { composer, store } = this.chat;
    const { run } = store;
    if (!run?.canStop) return;
    run.isStopped = true;
    const { message, sent = "" } = run;
    if (!run.got && message && store.items.has(sent)) {
      // Nothing has arrived there: what was written comes back.
      run.returned = true;
      store.remove(sent);
      composer.give(message);
    }
    this.#finish(run);
    this.#leave(run);
    composer.focus();
  }

  /**
   * Have the page run a client tool.
   * @param {Item} call
   * @param {Partial<Run>} run
   * @returns {Promise<Request>} what sends its result
   */
  async callTool({ name, arguments: params, thread_id: id }, run = {}) {
    const { store } = this;
    run.calling = true;
    store.emit("changed");
    let result;
    try {
      const { onClientTool } = store.options;
      if (!onClientTool) throw new Error(`No handler for the client tool ${name}`);
      result = await onClientTool({ name, params: params ?? {} });
    } catch (error) {
      // The assistant learns of it and goes on, else the thread would hang.
      store.report(error, "IntegrationError");
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
    const { store } = this;
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
    "thread.created": ({ thread }, run) => {
      const { memory, resume, store } = this.chat;
      store.setThread(thread);
      memory.becomeThread();
      run.thread = thread.id;
      resume.note(thread.id, true);
    },
    "thread.updated": ({ thread }) => this.store.setThread(thread),
    "thread.item.added": ({ item }, run) => this.#put(item, run, true),
    "thread.item.replaced": ({ item }, run) => this.#put(item, run, false),
    "thread.item.done": ({ item }, run) => this.#put(item, run, false),
    "thread.item.removed": ({ item_id: id }) => this.store.remove(id),
    "thread.item.updated": ({ item_id: id, update }) => this.store.update(id, update),
    stream_options: ({ stream_options: options }, run) => {
      run.canStop = options?.allow_cancel !== false;
    },
    progress_update: (event, run) => {
      run.progress = event;
    },
    client_effect: ({ name, data }, run) => {
      if (name === SUGGESTIONS) this.#suggest(data, run).catch(() => {});
      this.store.dispatch("effect", { name, data });
    },
    error: ({ message, allow_retry: retry, retry_after: wait }, run) => {
      const { notices, store } = this.chat;
      notices.fail(failure(message || store.text.failed, { retry, wait }), run);
    },
    notice: (event) => this.chat.notices.show(event.message, event),
  };

  /**
   * @param {any} data
   * @param {Run} run
   */
  async #suggest(data, run) {
    const { chat, store } = this;
    const { Suggestions } = await import("./suggestions.js");
    if (store.last !== run) return; // another answer, or another thread, has come since
    chat.suggestions ??= new Suggestions(chat);
    chat.suggestions.show(data, run);
  }

  /**
   * @param {Item} item
   * @param {Run} run
   * @param {boolean} streaming
   */
  #put(item, run, streaming) {
    run.progress = null;
    // An old one comes again if the new answer has failed.
    const isOld = (run.old ?? run.gone)?.some((entry) => entry.item.id === item.id);
    if (!isOld) {
      if (run.old && item.type !== "user_message" && !isHidden(item)) this.chat.editing.begin(run);
      run.started.add(item.id);
    }
    this.store.put(item, { streaming });
  }
}

/**
 * An action as it is sent, with the values of its form in the payload.
 * @param {Action} action
 * @param {Record<string, any>} values
 */
const filledIn = ({ type, payload }, values) => {
  const merged = Object.keys(values).length > 0 ? { ...payload, ...values } : payload;
  return { type, ...(merged !== undefined && { payload: merged }) };
};

/** What a visitor does with items: actions of widgets, answers to questions, feedback, another try. */
export class Actions extends Part {
  get #threadId() {
    return this.store.thread?.id;
  }

  /**
   * Do what a control of a widget asks for.
   * @param {Entry} entry
   * @param {Action} action
   * @param {any} control
   * @param {Record<string, any>} values of the control
   * @param {any} form whose values are sent, too
   */
  async act(entry, action, control, values = {}, form = control.closest?.("form")) {
    const { store, notices, view } = this.chat;
    const { handler, loadingBehavior = "auto", streaming } = action;
    if (handler !== "client" && streaming !== false && store.run) {
      view.announce(store.text.answering);
      return;
    }
    const whole = loadingBehavior === "container" || (loadingBehavior === "auto" && form);
    const waits = loadingBehavior === "none" ? null : whole ? entry.row : control;
    if (waits?.ariaBusy === "true") return; // it is done already
    waits?.setAttribute("aria-busy", "true");
    try {
      await this.#perform(entry, action, { ...valuesOf(form), ...values });
    } catch (error) {
      notices.fail(error, undefined, "WidgetItemError");
    } finally {
      waits?.removeAttribute("aria-busy");
    }
  }

  /**
   * @param {Entry} entry
   * @param {Action} action
   * @param {Record<string, any>} values
   */
  async #perform({ item }, action, values) {
    const { store, client, responses } = this.chat;
    const sent = filledIn(action, values);
    const params = { thread_id: this.#threadId, item_id: item.id, action: sent };
    if (action.handler === "client") {
      const { id, widget } = item;
      await store.options.widgets?.onAction?.(sent, { id, widget });
    } else if (action.streaming === false) {
      const answer = await client.json("threads.sync_custom_action", params);
      if (answer.updated_item) store.put(answer.updated_item);
    } else await responses.run({ type: "threads.custom_action", params });
  }

  /**
   * Answer the questions of an item.
   * @param {Item} item
   * @param {Record<string, any>} input
   */
  answer(item, input) {
    const { store, responses } = this.chat;
    if (store.run) return;
    const params = { thread_id: this.#threadId, item_id: item.id, input };
    responses.run({ type: "threads.add_structured_input", params });
  }

  /**
   * Have a message of the visitor's answered anew. What follows stays until there is an answer.
   * @param {string} [id] of the message; the last one if none is named
   * @param {boolean} isSure whether the visitor knows that other messages of theirs are replaced
   */
  retry(id, isSure = false) {
    const { notices, responses, store, view } = this.chat;
    const { entries, run, thread } = store;
    if (run || !thread) return;
    const from = id ? store.items.get(id) : store.lastMessage;
    if (!from) return;
    const old = entries.slice(entries.indexOf(from) + 1);
    if (!isSure && from !== store.lastMessage) {
      const asking = import("./ask.js");
      asking.then(
        ({ askFirst }) => askFirst(this.chat, old, () => this.retry(id, true)),
        (cause) => notices.fail(failure(store.text.offline, { cause })),
      );
      return;
    }
    // The button is about to go.
    if (view.focused) view.nodes.log.focus({ preventScroll: true });
    view.scrollToEnd();
    const params = { thread_id: thread.id, item_id: from.item.id };
    responses.run({ type: "threads.retry_after_item", params, old });
  }

  /**
   * Say whether a turn of the assistant was good.
   * @param {Entry[]} turn
   * @param {"positive" | "negative"} kind
   * @returns whether the server has it
   */
  async rate(turn, kind) {
    const { client, notices, store, view } = this.chat;
    const item_ids = turn.map(({ item }) => item.id);
    try {
      await client.json("items.feedback", { thread_id: this.#threadId, item_ids, kind });
    } catch (error) {
      notices.fail(error);
      return false;
    }
    view.announce(store.text.thanks);
    return true;
  }

  /**
   * @param {string} text
   * @returns whether it was copied
   */
  async copy(text) {
    const { store, view } = this.chat;
    const isCopied = await navigator.clipboard?.writeText(text).then(
      () => true,
      () => false, // not allowed here
    );
    view.announce(isCopied ? store.text.copied : store.text.failed);
    return Boolean(isCopied);
  }
}
