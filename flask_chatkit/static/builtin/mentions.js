// Mentions, in what is written and in what was sent; the list and its search come when they are needed.

import { h } from "../shared/dom.js";
import { Part } from "./store.js";

/** What the composer's field can be asked for, and the tags of messages. */
export class Mentions extends Part {
  /** @type {import("./listbox.js").Listbox | null} */
  list = null;

  async load() {
    const { Listbox } = await import("./listbox.js");
    this.list ??= new Listbox(this.chat);
    return this.list;
  }

  /** Follow what is written in the composer's field. */
  watch() {
    const { entities, commands } = this.options;
    const { input } = this.chat.composer.nodes;
    this.list?.close();
    if (!entities?.onTagSearch && !commands?.enabled) return;
    const look = () => {
      if (this.list) this.list.look();
      else if (/[@/]/.test(input.value))
        this.load().then(
          (list) => list.look(),
          () => {},
        );
    };
    for (const type of ["input", "click", "keyup"]) input.addEventListener(type, look);
    input.addEventListener("blur", () => this.list?.close());
  }

  /**
   * A text as the parts of a message.
   * @param {string} text
   * @returns {any[]}
   */
  split(text) {
    return this.list?.split(text) ?? (text ? [{ type: "input_text", text }] : []);
  }

  /**
   * Draw a mention in a message.
   * @param {any} part
   */
  draw(part) {
    const { onClick, onRequestPreview } = this.options.entities ?? {};
    const label = `@${part.text}`;
    if (!part.interactive || !(onClick || onRequestPreview))
      return h("span", { className: "tag" }, label);
    const use = async (/** @type {Event} */ { type }) => {
      const { clickTag, previewTag } = await import("./preview.js");
      if (type === "click") clickTag(this.chat, part);
      else previewTag(this.chat, node, part);
    };
    const used = (/** @type {Event} */ event) => use(event).catch(() => {});
    const events = {
      onclick: used,
      ...(onRequestPreview && { onpointerenter: used, onfocus: used }),
    };
    const node = h("button", { type: "button", className: "tag", ...events }, label);
    return node;
  }
}
