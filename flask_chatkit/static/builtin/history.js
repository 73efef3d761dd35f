// The list of the visitor's threads, over the conversation.

import { h } from "../shared/dom.js";
import { button, iconButton, spinner } from "./controls.js";
import { PAGE_SIZE } from "./conversation.js";
import { ThreadRow } from "./thread-row.js";

/** @import { Chat } from "./chat.js" */

export class History {
  /** @type {Chat} */
  #chat;
  #panel = h("div");
  #list = h("ul");
  #end = h("div");
  #back = h("button");

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /** Make its panel anew, hidden. */
  build() {
    this.#panel = h("div", { className: "history", hidden: true });
    return this.#panel;
  }

  get isOpen() {
    return !this.#panel.hidden;
  }

  get isEnabled() {
    return this.#chat.store.options.history?.enabled !== false;
  }

  /** Show the list, and load it. */
  async show() {
    const { store, view } = this.#chat;
    const { text } = store;
    const wasOpen = this.isOpen;
    this.#list = h("ul", { role: "list" });
    this.#end = h("div", { className: "center" });
    this.#back = iconButton(text.hideHistory, "back", () => this.hide());
    this.#panel.replaceChildren(
      h("div", { className: "header" }, this.#back, h("h2", {}, text.history)),
      h("div", { className: "log" }, h("div", { className: "column" }, this.#list, this.#end)),
    );
    this.#panel.hidden = false;
    view.nodes.main.inert = true;
    this.#back.focus();
    if (!wasOpen) store.dispatch("history.open");
    await this.#load();
  }

  hide() {
    if (!this.isOpen) return;
    const { composer, store, view } = this.#chat;
    const { main, past } = view.nodes;
    const hadFocus = this.#panel.contains(view.focused);
    main.inert = false;
    this.#panel.hidden = true;
    if (hadFocus) (past.checkVisibility?.() === false ? composer.nodes.input : past).focus();
    store.dispatch("history.close");
  }

  /** @param {string} [after] the last thread that is shown */
  async #load(after) {
    const { client, store } = this.#chat;
    const { text } = store;
    const [list, end] = [this.#list, this.#end];
    end.replaceChildren(h("p", { className: "progress", role: "status" }, spinner(), text.loading));
    try {
      const params = { limit: PAGE_SIZE, order: "desc", ...(after && { after }) };
      const { data, has_more, after: next } = await client.json("threads.list", params);
      const rows = data.map((/** @type {any} */ each) => new ThreadRow(this.#chat, each).node);
      list.append(...rows);
      end.replaceChildren();
      if (has_more && data.length > 0) {
        end.append(button(text.more, () => this.#load(next ?? data.at(-1).id)));
      }
      if (!list.firstChild) end.append(h("p", { className: "caption" }, text.noChats));
      if (after) rows[0]?.querySelector("button")?.focus();
    } catch (error) {
      store.dispatch("error", { error });
      const { message } = /** @type {Error} */ (error);
      const again = button(text.retry, () => this.#load(after));
      end.replaceChildren(h("p", { role: "alert" }, message), again);
    }
  }

  /**
   * Take a deleted thread from the list; the list stays open, though the thread may have been.
   * @param {HTMLElement} row
   * @param {string} id
   */
  remove(row, id) {
    const { conversation, store } = this.#chat;
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    const next = neighbour?.querySelector("button");
    row.remove();
    if (store.thread?.id === id) {
      this.#panel.hidden = true;
      conversation.show(null);
      this.#panel.hidden = false;
    }
    (next ?? this.#back).focus();
    if (!this.#list.firstChild) this.#load();
  }
}
