// The conversation that is shown: messages, threads, and the notices at its end.

import { h } from "../shared/dom.js";
import { asList, button, failure, icon, iconButton } from "./controls.js";
import { showMarkdown } from "./markdown.js";
import { Part } from "./store.js";

/** @import { Failure } from "./controls.js" */
/** @import { Chat } from "./element.js" */
/** @import { Item, Message, Request, Run, Thread } from "./types.js" */

/** Threads or items asked for at once. */
export const PAGE_SIZE = 30;

/**
 * A message as the protocol has it.
 * @param {Message} message
 */
export const inputOf = ({ content, attachments, quote, tool, model }) => ({
  content: content.map((part) => (part.type === "input_tag" ? { data: {}, ...part } : part)),
  attachments: attachments.map(({ id }) => id),
  quoted_text: quote || null,
  inference_options: { tool_choice: tool ? { id: tool } : null, model: model || null },
});

/** The thread that is shown, and what is sent in it. */
export class Conversation extends Part {
  #sent = 0;

  /**
   * Send a message in the open thread, or in a new one.
   * @param {Message} message
   */
  send(message) {
    const { history, responses, store, view } = this.chat;
    if (store.run) return;
    this.#sent += 1;
    const sent = `sent-${this.#sent}`;
    const { content, attachments, quote, replaces } = message;
    history.leave();
    store.put({ id: sent, type: "user_message", content, attachments, quoted_text: quote });
    view.scrollToEnd();
    store.dispatch("log", { name: "message.send" });
    const input = inputOf(message);
    const { thread } = store;
    /** @type {Partial<Request>} */
    const more = { sent, message };
    const at = store.entries.findIndex(({ item }) => item.id === replaces);
    if (at >= 0) {
      more.metadata = { flask_chatkit_replaces: replaces };
      more.old = store.entries.slice(at, -1);
    }
    responses.run(
      thread
        ? { type: "threads.add_user_message", params: { thread_id: thread.id, input }, ...more }
        : { type: "threads.create", params: { input }, ...more },
    );
  }

  /**
   * Leave what is shown and show `thread`, or a new chat. An answer goes on unseen.
   * @param {Thread | null} thread
   */
  show(thread) {
    const { composer, editing, history, memory, store } = this.chat;
    const wasRunning = store.run;
    store.run = null;
    if (wasRunning) store.dispatch("response.end");
    const { input, problem } = composer.nodes;
    // What was refused goes along into a new chat: the thread it was for may take nothing any more.
    const refused = !thread && !editing.id && problem.textContent ? input.value : "";
    if (refused) {
      input.value = "";
      memory.keepDraft();
    }
    composer.showProblem("");
    editing.leave();
    memory.switchThread(() => {
      store.opening = null;
      store.clear();
      store.earlier = null;
      store.call = null;
      history.leave();
      store.setThread(thread);
    });
    if (refused) {
      input.value = [refused, input.value].filter(Boolean).join("\n\n");
      memory.keepDraft();
      composer.update();
    }
    store.emit("changed");
  }

  /** Show a new chat, ready to be written in. */
  startNew() {
    this.show(null);
    this.chat.composer.focus();
  }

  /**
   * Open a thread.
   * @param {string | null} id null for a new chat
   * @throws {Error} it can't be had; the visitor reads so
   */
  async open(id) {
    const { store } = this;
    if (id === null) {
      this.show(null);
      return;
    }
    const turn = Symbol(id);
    this.show(store.thread?.id === id ? store.thread : { id, title: "" });
    store.opening = turn;
    store.emit("changed");
    try {
      await this.#load(id, () => store.opening === turn);
    } catch (error) {
      if (store.opening === turn) this.#failToOpen(id, /** @type {Error & Failure} */ (error));
      throw error;
    }
  }

  /**
   * @param {string} id
   * @param {Error & Failure} error
   */
  #failToOpen(id, error) {
    const { notices, store } = this.chat;
    this.show(null);
    const isGone = error.status === 404;
    error.again = () => this.open(id).catch(() => {});
    const isFirst = id === store.options.initialThread;
    const name = isFirst ? "InitialThreadLoadError" : "HistoryViewError";
    notices.fail(isGone ? failure(store.text.gone, { cause: error }) : error, undefined, name);
  }

  /** Load the open thread anew, and show it if that fails. */
  async reload() {
    await this.refresh().catch((error) => {
      this.chat.notices.fail(Object.assign(error, { again: () => this.reload() }));
    });
  }

  /** Load the open thread anew, unless an answer is coming in. */
  async refresh() {
    const { store } = this;
    const { id } = store.thread ?? {};
    if (id && !store.run) await this.#load(id, () => store.thread?.id === id && !store.run, true);
  }

  /**
   * @param {string} id
   * @param {() => boolean} isWanted whether it is still to be shown when it has come
   * @param {boolean} clears whether what is shown goes
   */
  async #load(id, isWanted, clears = false) {
    const { memory, notices, resume, store, view } = this.chat;
    store.dispatch("thread.load.start", { threadId: id });
    const { thread: loaded, state } = await resume.load(id);
    const { items, ...thread } = loaded;
    /** @type {{data: Item[], earlier: string | null}} */
    let page = { data: asList(items?.data), earlier: null };
    if (items?.has_more) page = await this.#page(id);
    if (!isWanted()) return;
    const shown = clears ? store.entries.map(({ item }) => item) : [];
    store.opening = null;
    if (clears) store.clear();
    store.setThread(thread);
    store.earlier = page.earlier;
    for (const item of page.data) store.put(item);
    // What a server had not stored before it died was read here all the same.
    const known = shown.findIndex((item) => item.id === page.data.at(-1)?.id);
    if (known >= 0) for (const item of shown.slice(known + 1)) store.put(item);
    store.emit("changed");
    if (!memory.restorePlace()) view.scrollToEnd();
    const last = page.data.filter(({ type }) => !/context|end_of_turn/.test(type)).at(-1);
    if (last?.type === "client_tool_call" && last.status === "pending") notices.offerTool(last);
    store.dispatch("thread.load.end", { threadId: id });
    resume.follow(id, state);
  }

  /**
   * The newest items of a thread, or those before a cursor, oldest first.
   * @param {string} id
   * @param {string} [after]
   * @returns {Promise<{data: Item[], earlier: string | null}>}
   */
  async #page(id, after) {
    const params = { thread_id: id, limit: PAGE_SIZE, order: "desc", ...(after && { after }) };
    const { data, has_more, after: next } = await this.chat.client.json("items.list", params);
    return { data: [...data].reverse(), earlier: has_more ? (next ?? data.at(-1)?.id) : null };
  }

  /**
   * Show an item of the open thread, however long ago it was.
   * @param {string} id
   */
  async showItem(id) {
    const { store, view } = this.chat;
    const thread = store.thread?.id;
    for (let cursor; !store.items.has(id) && store.earlier && store.earlier !== cursor; ) {
      cursor = store.earlier;
      await this.showEarlier();
      if (store.thread?.id !== thread) return;
    }
    const { row } = store.items.get(id) ?? {};
    if (row) view.showAt(row, 16);
  }

  /** Show what came before the first item. */
  async showEarlier() {
    const { notices, store, view } = this.chat;
    const { earlier: cursor, thread } = store;
    if (!cursor || !thread) return;
    store.earlier = null; // one at a time
    const { earlier, log } = view.nodes;
    const hadFocus = earlier.contains(view.focused);
    try {
      const page = await this.#page(thread.id, cursor);
      if (store.thread?.id !== thread.id) return;
      view.keepPosition(() => {
        store.prepend(page.data, store.entries[0]?.row ?? null);
        store.earlier = page.earlier;
      });
      if (hadFocus && !store.earlier) log.focus({ preventScroll: true });
    } catch (error) {
      store.earlier = cursor;
      notices.fail(error, undefined, "HistoryViewError");
    }
  }
}

/** What went wrong, and what the server wants known, at the end of the conversation. */
export class Notices extends Part {
  /**
   * Show a notice until the visitor dismisses it.
   * @param {string} message Markdown
   * @param {object} how
   * @param {string} [how.level] "info", "warning" or "danger"
   * @param {string} [how.title]
   * @param {() => unknown} [how.again] tries once more
   */
  show(message, { level = "info", title, again }) {
    const { composer, refused, store } = this.chat;
    const { text } = store;
    const body = h("div", { className: "md", dir: "auto" });
    showMarkdown(body, message ?? "", { text });
    const role = level === "danger" ? "alert" : "status";
    const node = h(
      "div",
      { className: `notice ${level}`, role },
      icon(level === "info" ? "info" : "warning"),
      h("div", {}, title && h("p", { dir: "auto" }, h("strong", {}, title)), body),
    );
    const remove = () => {
      node.remove();
      composer.focus();
    };
    const retry = () => {
      if (store.run) return;
      remove();
      again?.();
    };
    if (again) {
      const control = button(text.retry, retry);
      refused.bind(control);
      node.append(control);
    }
    node.append(iconButton(text.dismiss, "close", remove));
    this.#append(node);
  }

  /**
   * Show what went wrong, with a button to try again if there is a way. A message that the server
   * has not got, or not in the place of another one, is in the composer again.
   * @param {unknown} thrown
   * @param {Run} [run] the answer that failed
   * @param {string} [name] of ChatKit for such an error
   */
  fail(thrown, run, name = "StreamError") {
    const { editing, refused, store } = this.chat;
    const error = /** @type {Error & Failure} */ (thrown);
    store.report(error, name);
    const { message, sent = "" } = run ?? {};
    if (run) run.failed = true;
    if (run && (store.items.has(sent) || (message?.replaces && !editing.isShown(run)))) {
      refused.take(run, error);
      return;
    }
    refused.hold(error.wait);
    if (error.told) return;
    const mayAgain = error.retry || error.wait;
    const again = (mayAgain && run && this.#retryOf(run)) || error.again;
    this.show(error.message, { level: "danger", again });
  }

  /**
   * What tries once more to have an answer.
   * @param {Run} run
   */
  #retryOf({ got, request }) {
    const { actions, responses } = this.chat;
    if (!request) return undefined;
    const { type, params } = request;
    if (type === "threads.retry_after_item") return () => actions.retry(params.item_id, true);
    return () => (got ? actions.retry() : responses.run(request));
  }

  /**
   * Offer to go on with a client tool that was not answered: the page was left meanwhile.
   * @param {Item} call
   */
  offerTool(call) {
    const { responses, store } = this.chat;
    const { text } = store;
    const node = h(
      "div",
      { className: "notice info", role: "status" },
      icon("info"),
      h("p", {}, text.waiting),
    );
    const go = async () => {
      if (store.run) return;
      node.remove();
      responses.run(await responses.callTool(call));
    };
    node.append(button(text.continue, go));
    this.#append(node);
  }

  /** Remove those of errors, and questions: what is tried now makes them untrue. */
  removeErrors() {
    const { thread } = this.chat.view.nodes;
    for (const old of thread.querySelectorAll(".notice.danger, .notice.cut, .ask")) old.remove();
  }

  /** @param {HTMLElement} node */
  #append(node) {
    this.chat.view.nodes.thread.append(node);
  }
}
