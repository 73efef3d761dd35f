// The list of the visitor's threads, over the conversation: they are opened, renamed and deleted here.

import { h } from "../shared/dom.js";
import { button, fillIn, iconButton, spinner } from "./controls.js";
import { PAGE_SIZE } from "./conversation.js";
import { Part } from "./store.js";

/** @import { Chat } from "./element.js" */
/** @import { Thread } from "./types.js" */

const TOUCH = "(pointer: coarse)";
const LONGEST_TITLE = 200; // characters

/** A thread in the list. */
class ThreadRow extends Part {
  node = h("li", { className: "past" });

  /**
   * @param {Chat} chat
   * @param {Thread} thread
   */
  constructor(chat, thread) {
    super(chat);
    this.thread = thread;
    this.#draw();
  }

  get #title() {
    return this.thread.title || this.text.untitled;
  }

  get #date() {
    const when = new Date(this.thread.created_at ?? "");
    const { locale } = this.options;
    return Number.isNaN(+when) ? "" : when.toLocaleDateString(locale, { dateStyle: "medium" });
  }

  #draw() {
    const { store } = this;
    const { text } = store;
    const { showRename = true, showDelete = true } = store.options.history ?? {};
    const open = h(
      "button",
      {
        type: "button",
        className: "item",
        "aria-current": this.thread.id === store.thread?.id && "true",
        onclick: () => this.#open(),
      },
      h("span", { dir: "auto" }, this.#title),
      h("span", { className: "caption" }, this.#date),
    );
    this.node.replaceChildren(open);
    const rename = `${text.rename}: ${this.#title}`;
    const remove = `${text.delete}: ${this.#title}`;
    if (showRename) this.node.append(iconButton(rename, "edit", () => this.#askForTitle()));
    if (showDelete) this.node.append(iconButton(remove, "trash", () => this.#askToDelete()));
  }

  async #open() {
    const { composer, conversation } = this.chat;
    await conversation.open(this.thread.id).catch(() => {});
    if (!matchMedia(TOUCH).matches) composer.focus();
  }

  /** Show the thread again, in the place of a question. */
  #goBack() {
    this.#draw();
    this.node.querySelector("button")?.focus();
  }

  /**
   * Ask something in the place of the thread.
   * @param {HTMLElement} question
   */
  #ask(question) {
    question.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.#goBack();
    });
    this.node.replaceChildren(question);
  }

  #askForTitle() {
    const { text } = this;
    const input = h("input", {
      type: "text",
      value: this.thread.title || "",
      "aria-label": text.title,
      dir: "auto",
      required: true,
      maxLength: LONGEST_TITLE,
    });
    const form = h(
      "form",
      { className: "edit" },
      input,
      h("button", { type: "submit", className: "button primary" }, text.save),
      button(text.cancel, () => this.#goBack()),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const title = input.value.trim();
      if (title) this.#rename(title, form);
    });
    this.#ask(form);
    input.select();
    input.focus();
  }

  /**
   * @param {string} title
   * @param {HTMLElement} form
   */
  async #rename(title, form) {
    const { client, store } = this.chat;
    const { id } = this.thread;
    try {
      await client.json("threads.update", { thread_id: id, title });
    } catch (error) {
      this.#showProblem(form, error);
      return;
    }
    if (store.thread?.id === id) store.thread = { ...store.thread, title };
    this.thread = { ...this.thread, title };
    this.#goBack();
    store.emit("changed");
  }

  #askToDelete() {
    const { text } = this;
    const question = fillIn(text.deleteAsk, this.#title);
    const no = button(text.cancel, () => this.#goBack());
    const yes = button(text.delete, () => this.#delete(group), "button danger");
    const given = { className: "edit", role: "group", "aria-label": question };
    const group = h("div", given, h("p", { dir: "auto" }, question), yes, no);
    this.#ask(group);
    no.focus();
  }

  /** @param {HTMLElement} group */
  async #delete(group) {
    const { client, history } = this.chat;
    const { id } = this.thread;
    try {
      await client.json("threads.delete", { thread_id: id });
    } catch (error) {
      this.#showProblem(group, error);
      return;
    }
    history.remove(this.node, id);
  }

  /**
   * @param {HTMLElement} node
   * @param {unknown} error
   */
  #showProblem(node, error) {
    this.store.report(error, "HistoryViewError");
    node.querySelector(".problem")?.remove();
    const { message } = /** @type {Error} */ (error);
    node.append(h("p", { className: "problem", role: "alert" }, message));
  }
}

/** The list, which covers the conversation while it is open. */
export class History extends Part {
  #panel = h("div");
  #list = h("ul");
  #end = h("div");
  #back = h("button");

  /** Make its panel anew, hidden. */
  build() {
    this.#panel = h("div", { className: "history", hidden: true });
    return this.#panel;
  }

  get isOpen() {
    return !this.#panel.hidden;
  }

  get isEnabled() {
    return this.options.history?.enabled !== false;
  }

  /** Show the list, and load it. */
  async show() {
    const { store, view } = this.chat;
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
    const { composer, store, view } = this.chat;
    const { main, past } = view.nodes;
    const hadFocus = this.#panel.contains(view.focused);
    main.inert = false;
    this.#panel.hidden = true;
    if (hadFocus) (past.checkVisibility?.() === false ? composer.nodes.input : past).focus();
    store.dispatch("history.close");
  }

  /** @param {string} [after] the last thread that is shown */
  async #load(after) {
    const { client, store } = this.chat;
    const { text } = store;
    const [list, end] = [this.#list, this.#end];
    end.replaceChildren(h("p", { className: "progress", role: "status" }, spinner(), text.loading));
    try {
      const params = { limit: PAGE_SIZE, order: "desc", ...(after && { after }) };
      const { data, has_more, after: next } = await client.json("threads.list", params);
      const rows = data.map((/** @type {any} */ each) => new ThreadRow(this.chat, each).node);
      list.append(...rows);
      end.replaceChildren();
      if (has_more && data.length > 0) {
        end.append(button(text.more, () => this.#load(next ?? data.at(-1).id)));
      }
      if (!list.firstChild) end.append(h("p", { className: "caption" }, text.noChats));
      if (after) rows[0]?.querySelector("button")?.focus();
    } catch (error) {
      store.report(error, "HistoryViewError");
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
    const { conversation, store } = this.chat;
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
