// A thread in the history: it is opened, renamed and deleted here.

import { h } from "../shared/dom.js";
import { button, iconButton } from "./controls.js";
import { fillIn } from "./helpers.js";

/** @import { Chat } from "./chat.js" */
/** @import { Thread } from "./types.js" */

const TOUCH = "(pointer: coarse)";
const LONGEST_TITLE = 200; // characters

export class ThreadRow {
  /** @type {Chat} */
  #chat;
  node = h("li", { className: "past" });

  /**
   * @param {Chat} chat
   * @param {Thread} thread
   */
  constructor(chat, thread) {
    this.#chat = chat;
    this.thread = thread;
    this.#draw();
  }

  get #title() {
    return this.thread.title || this.#chat.store.text.untitled;
  }

  get #date() {
    const when = new Date(this.thread.created_at ?? "");
    const { locale } = this.#chat.store.options;
    return Number.isNaN(+when) ? "" : when.toLocaleDateString(locale, { dateStyle: "medium" });
  }

  #draw() {
    const { store } = this.#chat;
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
    const { composer, conversation } = this.#chat;
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
    const { text } = this.#chat.store;
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
    const { client, store } = this.#chat;
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
    const { text } = this.#chat.store;
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
    const { client, history } = this.#chat;
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
    this.#chat.store.dispatch("error", { error });
    node.querySelector(".problem")?.remove();
    const { message } = /** @type {Error} */ (error);
    node.append(h("p", { className: "problem", role: "alert" }, message));
  }
}
