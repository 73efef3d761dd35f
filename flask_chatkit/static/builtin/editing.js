// Having a part of the conversation otherwise: editing one's last message, and trying again.
// What is replaced stays until the new answer has begun.

import { h } from "../shared/dom.js";
import { iconButton } from "./controls.js";
import { Part } from "./store.js";

/** @import { Entry, Item, Message, Run } from "./types.js" */

/**
 * The message of the visitor's that an item was made of.
 * @param {Item} item
 * @returns {Message}
 */
const messageOf = ({
  id,
  content,
  attachments,
  quoted_text: quote,
  inference_options: chosen,
}) => ({
  content,
  attachments: attachments ?? [],
  quote,
  tool: chosen?.tool_choice?.id ?? "",
  model: chosen?.model ?? "",
  replaces: id,
});

/** What is replaced: by an edited message, or by another answer. */
export class Editing extends Part {
  /** @type {string | null} the id of the message that is being edited */
  id = null;
  node = h("div", { className: "banner", hidden: true });
  /** @type {Message | null} what was being written before */
  #draft = null;
  #bar = h("div", { className: "bar" });
  /** @type {{node: HTMLElement, question: Entry} | null} what tries the last answer again */
  #again = null;

  /** The visitor's last message, if there is one in an open chat that rests. */
  get #last() {
    const { lastMessage, opening, run, thread } = this.store;
    const { type = "active" } = thread?.status ?? {};
    return run || opening || !thread || type !== "active" ? undefined : lastMessage;
  }

  /**
   * What a key does for it; true if that was all.
   * @param {KeyboardEvent} event
   */
  pressed(event) {
    const { composer } = this.chat;
    const leaves = event.key === "Escape" && this.id;
    const starts = event.key === "ArrowUp" && !this.id && composer.isEmpty && this.#last;
    if (!leaves && !starts) return false;
    event.preventDefault();
    event.stopPropagation(); // not the panel around the chat
    if (leaves) this.stop();
    else this.start();
    return true;
  }

  /**
   * Have a message in the field; what is written there comes back afterwards.
   * @param {Message} [message] the visitor's last one if none is given
   */
  start(message) {
    const { composer, store, view } = this.chat;
    const last = this.#last;
    const given = message ?? (last && messageOf(last.item));
    if (!given?.replaces) return;
    const draft = composer.take();
    if (!this.id) this.#draft = draft;
    this.id = given.replaces;
    composer.give({ ...given, replaces: undefined });
    composer.focus();
    view.announce(store.text.editing);
    store.emit("changed");
  }

  /** Leave the message as it is. */
  stop() {
    const { composer, store } = this.chat;
    composer.take();
    this.finish();
    composer.showProblem("");
    store.emit("changed");
    composer.focus();
  }

  /**
   * Have what was written before in the field again.
   * @returns the id of the message that was edited, if one was
   */
  finish() {
    const { id } = this;
    const draft = this.#draft;
    this.id = this.#draft = null;
    if (draft) this.chat.composer.give(draft);
    return id ?? undefined;
  }

  /** Before another thread is shown: what is edited there is a draft of this one. */
  leave() {
    this.chat.queue.takeBack();
    this.finish();
  }

  /** Show what can be edited and what is being edited, and what is replaced. */
  update() {
    const { store } = this;
    const { run, text, items } = store;
    if (this.id && !run && !items.has(this.id)) this.finish(); // another thread
    this.node.hidden = !this.id;
    if (this.node.textContent !== text.editing) {
      const stop = iconButton(text.cancel, "close", () => this.stop());
      this.node.replaceChildren(h("span", {}, text.editing), stop);
    }
    const last = this.#last;
    if (!last?.row) {
      // A library's `remove` may want a parent.
      if (this.#bar.isConnected) this.#bar.remove();
    } else if (this.#bar.parentElement !== last.row || this.#bar.title !== text.edit) {
      this.#bar.title = text.edit;
      this.#bar.replaceChildren(iconButton(text.edit, "edit", () => this.start()));
      last.row.append(this.#bar);
    }
    last?.row?.classList.toggle("editing", last.item.id === this.id);
    for (const entry of run?.old ?? []) this.#mark(entry, run?.message);
    if (this.#again && this.#again.question !== store.lastMessage) {
      const { node } = this.#again;
      node.title = text.retryFrom;
      node.setAttribute("aria-label", text.retryFrom);
      this.#again = null;
    }
  }

  /**
   * The button that has a message answered anew.
   * @param {Entry} question
   */
  retryButton(question) {
    const { actions, store } = this.chat;
    const { text } = store;
    const isLast = question === store.lastMessage;
    const again = () => actions.retry(question.item.id);
    const node = iconButton(isLast ? text.retry : text.retryFrom, "retry", again);
    if (isLast) this.#again = { node, question };
    return node;
  }

  /**
   * Show that an entry is about to be replaced: a message that was edited, by its successor.
   * @param {Entry} entry
   * @param {Message} [message]
   */
  #mark({ row, bar }, message) {
    if (row) {
      row.inert = true;
      row.hidden = Boolean(message);
      row.classList.add("replaced");
    }
    if (bar) bar.hidden = true;
  }

  /**
   * Remove what an answer replaces, which has begun.
   * @param {Run} run
   */
  begin(run) {
    const old = run.old ?? [];
    for (const { item } of old) this.store.remove(item.id);
    Object.assign(run, { old: undefined, gone: old });
  }

  /**
   * Whether an answer has anything to show.
   * @param {Run} run
   */
  isShown({ started, old, gone = old }) {
    const before = new Set(gone?.map(({ item }) => item.id));
    return this.store.entries.some(
      ({ item, body }) =>
        started.has(item.id) &&
        !before.has(item.id) &&
        item.type !== "user_message" &&
        (item.type !== "assistant_message" || body?.textContent),
    );
  }

  /**
   * At the end of an answer that has not come, show again what it would have replaced.
   * @param {Run} run
   */
  settle(run) {
    const { composer, store } = this.chat;
    const { failed, isStopped, message, returned, sent = "", started } = run;
    const old = run.old ?? run.gone;
    if (!old) return;
    if (!failed && !isStopped) {
      this.begin(run);
      return;
    }
    if (this.isShown(run)) return;
    const ids = new Set(old.map(({ item }) => item.id));
    for (const id of [...started, sent]) if (!ids.has(id)) store.remove(id);
    for (const { item, row, bar } of old) {
      row?.classList.remove("replaced");
      if (row) row.inert = row.hidden = false;
      bar?.remove();
      store.put(item);
      Object.assign(store.items.get(item.id) ?? {}, { bar: null });
    }
    if (message && !returned) composer.give(message);
  }
}
