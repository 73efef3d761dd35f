// A thread in the list: it is opened, renamed and deleted here.

import { h } from "../../shared/dom.js";
import { button, fillIn, iconButton } from "../controls.js";
import { Part } from "../store.js";
import { timesOf } from "../times.js";

/** @import { Chat } from "../element.js" */
/** @import { Thread } from "../types.js" */
/** @typedef {{item_id: string, excerpt: string}} Found in which message a search has found it */

const TOUCH = "(pointer: coarse)";
const LONGEST_TITLE = 200; // characters

/** A thread in the list. */
export class ThreadRow extends Part {
  node = h("li", { className: "past" });

  /**
   * @param {Chat} chat
   * @param {Thread} thread
   * @param {Found} [found]
   * @param {(text: string) => any} [mark] draws a text with what was looked for
   */
  constructor(chat, thread, found, mark = (text) => text) {
    super(chat);
    this.thread = thread;
    this.found = found;
    this.mark = mark;
    this.#draw();
  }

  get #title() {
    return this.thread.title || this.text.untitled;
  }

  #draw() {
    const { store, found } = this;
    const { text } = store;
    const { showRename = true, showDelete = true } = store.options.history ?? {};
    const at = timesOf(this.thread.created_at, store.options.locale ?? store.language);
    const open = h(
      "button",
      {
        type: "button",
        className: "item",
        "aria-current": this.thread.id === store.thread?.id && "true",
        onclick: () => this.#open(),
      },
      h("span", { dir: "auto" }, this.mark(this.#title)),
      found?.excerpt && h("span", { className: "caption", dir: "auto" }, this.mark(found.excerpt)),
      at &&
        h(
          "time",
          { className: "caption", dateTime: at.date.toISOString(), title: at.full },
          at.short,
        ),
    );
    this.node.replaceChildren(open);
    const rename = `${text.rename}: ${this.#title}`;
    const remove = `${text.delete}: ${this.#title}`;
    if (showRename) this.node.append(iconButton(rename, "edit", () => this.#askForTitle()));
    if (showDelete) this.node.append(iconButton(remove, "trash", () => this.#askToDelete()));
  }

  /**
   * Show the thread as it is now, and whether it is the one that is open.
   * @param {Thread | null} thread the open one
   */
  update(thread) {
    if (thread?.id === this.thread.id && thread.title) this.thread = { ...this.thread, ...thread };
    // A question in its place stays.
    if (this.node.querySelector(".edit")) return;
    const { focused } = this.chat.view;
    const at = [...this.node.children].indexOf(/** @type {Element} */ (focused));
    this.#draw();
    if (at >= 0) /** @type {HTMLElement} */ (this.node.children[at]).focus();
  }

  async #open() {
    const { composer, conversation } = this.chat;
    try {
      await conversation.open(this.thread.id);
    } catch {
      return; // the visitor reads why
    }
    if (this.found) await conversation.showItem(this.found.item_id);
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
    try {
      await client.json("threads.delete", { thread_id: this.thread.id });
    } catch (error) {
      this.#showProblem(group, error);
      return;
    }
    history.remove(this);
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
