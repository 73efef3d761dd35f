// One message that is sent when the answer under way has ended.

import { h } from "../shared/dom.js";
import { icon, iconButton, textsOf } from "./controls.js";
import { Part } from "./store.js";

/** @import { Chat } from "./element.js" */
/** @import { Message, Run } from "./types.js" */

/** The message that waits, above the field. */
export class Queue extends Part {
  /** @type {Message | null} */
  #message = null;
  node = h("div", { className: "queued", hidden: true });

  /** @param {Chat} chat */
  constructor(chat) {
    super(chat);
    chat.store.on("ended", (run) => this.#ended(run));
  }

  get isFull() {
    return this.#message !== null;
  }

  /** What waits, as it was written. */
  get written() {
    return this.#message ? textsOf(this.#message).join("") : "";
  }

  /** The button beside Stop, for those who have no Enter key. */
  buildButton() {
    const onclick = () => this.chat.composer.submit();
    return iconButton(this.text.queue, "send", onclick, { className: "next" });
  }

  /**
   * Have a message wait for the end of the answer.
   * @param {Message} message
   */
  add(message) {
    this.#message = message;
    this.update();
    this.chat.memory.keepDraft();
    this.chat.view.announce(this.text.queued);
  }

  /** Have what waits in the field again. */
  takeBack() {
    const message = this.#message;
    if (!message) return;
    this.#message = null;
    this.chat.composer.give(message);
    this.update();
  }

  /** Show what waits. */
  update() {
    const { text } = this;
    const { content = [], attachments = [] } = this.#message ?? {};
    this.node.hidden = !this.isFull;
    if (!this.isFull) {
      this.node.replaceChildren();
      return;
    }
    const names = attachments.map(({ name }) => name).join(", ");
    const shown = textsOf({ content }).join("").trim() || names;
    const back = () => {
      this.takeBack();
      this.chat.composer.focus();
    };
    this.node.replaceChildren(
      icon("clock"),
      h(
        "p",
        {},
        h("span", { className: "caption" }, text.queued),
        h("span", { dir: "auto" }, shown),
      ),
      iconButton(text.takeBack, "edit", back),
    );
  }

  /** @param {Run} run */
  #ended({ failed, isStopped }) {
    const { conversation, memory, store } = this.chat;
    const message = this.#message;
    const { type = "active" } = store.thread?.status ?? {};
    if (!message) return;
    if (failed || isStopped || type !== "active") {
      this.takeBack();
      return;
    }
    this.#message = null;
    this.update();
    memory.keepDraft();
    conversation.send(message);
  }
}
