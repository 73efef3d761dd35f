// What the visitor may say next, as the server suggests it, below the last answer.

import { h } from "../shared/dom.js";
import { asList } from "./controls.js";
import { Part } from "./store.js";

/** @import { Chat } from "./element.js" */
/** @import { Run } from "./types.js" */

/** The suggestions of the last answer; the next message, or another thread, ends them. */
export class Suggestions extends Part {
  /** @type {{label: string, prompt: string}[]} */
  #all = [];
  /** @type {Run | null} the answer that they came with */
  #run = null;
  /** @type {HTMLElement | null} */
  #node = null;

  /** @param {Chat} chat */
  constructor(chat) {
    super(chat);
    chat.store.on("cleared", () => this.show(null, null));
  }

  /**
   * Show them when the answer has ended.
   * @param {any} data
   * @param {Run | null} run
   */
  show(data, run) {
    const isText = (/** @type {any} */ value) => typeof value === "string" && value !== "";
    this.#all = asList(data?.suggestions).filter(
      (each) => isText(each?.label) && isText(each.prompt),
    );
    this.#run = run;
    if (this.#node?.isConnected) this.#node.remove();
    this.#node = null;
    if (run) this.render();
  }

  /** Show them, or no longer. */
  render() {
    const { store, view } = this.chat;
    if (store.run && store.run !== this.#run) this.show(null, null);
    const { thread } = view.nodes;
    const isShown = this.#all.length > 0 && !store.run && store.thread?.status?.type !== "closed";
    if (isShown && !this.#node) this.#node = this.#build();
    if (isShown && this.#node) thread.after(this.#node);
    else if (this.#node?.isConnected) this.#node.remove();
  }

  #build() {
    const { conversation, store, view } = this.chat;
    const items = this.#all.map(({ label, prompt }) => {
      const onclick = () => {
        conversation.send({ content: [{ type: "input_text", text: prompt }], attachments: [] });
        view.nodes.log.focus({ preventScroll: true });
      };
      const given = { type: "button", className: "prompt", dir: "auto", onclick };
      return h("li", {}, h("button", given, label));
    });
    const given = { role: "list", "aria-label": store.text.suggestions };
    return h("ul", { className: "prompts suggestions", ...given }, items);
  }
}
