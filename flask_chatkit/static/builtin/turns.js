// The buttons under the last row of each finished turn of the assistant.

import { h } from "../shared/dom.js";
import { iconButton } from "./controls.js";
import { textsOf } from "./helpers.js";

/** @import { Chat } from "./chat.js" */
/** @import { Entry } from "./types.js" */

const isMine = (/** @type {Entry | undefined} */ entry) => entry?.item.type === "user_message";

export class Turns {
  /** @type {Chat} */
  #chat;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /** Have buttons where a turn has ended, and nowhere else. */
  update() {
    const { store } = this.#chat;
    const { entries } = store;
    entries.forEach((entry, index) => {
      const next = entries[index + 1];
      const ends = !isMine(entry) && (!next || isMine(next));
      if (!ends || (store.run && !next)) {
        entry.bar?.remove();
        entry.bar = null;
      } else if (!entry.bar) {
        let start = index;
        while (start > 0 && !isMine(entries[start - 1])) start -= 1;
        entry.bar = this.#draw(entries.slice(start, index + 1), entries[start - 1]);
        entry.row?.after(entry.bar);
      }
    });
  }

  /**
   * @param {Entry[]} turn
   * @param {Entry | undefined} question the visitor's message that it answers
   */
  #draw(turn, question) {
    const { actions, store } = this.#chat;
    const { text, options } = store;
    const { feedback, retry } = options.threadItemActions ?? {};
    const bar = h("div", { className: "bar" });
    const texts = turn.map(({ item }) => item.copy_text ?? textsOf(item).join("")).filter(Boolean);
    if (texts.length > 0) {
      bar.append(iconButton(text.copy, "copy", () => actions.copy(texts.join("\n\n"))));
    }
    if (feedback) {
      bar.append(
        this.#rating(turn, text.good, "up", "positive"),
        this.#rating(turn, text.bad, "thumb-down", "negative"),
      );
    }
    if (retry && question)
      bar.append(iconButton(text.retry, "retry", () => actions.retry(question.item.id)));
    return bar;
  }

  /**
   * @param {Entry[]} turn
   * @param {string} label
   * @param {string} icon
   * @param {"positive" | "negative"} kind
   */
  #rating(turn, label, icon, kind) {
    const rate = async () => {
      if (!(await this.#chat.actions.rate(turn, kind))) return;
      for (const each of node.parentElement?.children ?? [])
        if (each.ariaPressed) each.ariaPressed = "false";
      node.ariaPressed = "true";
    };
    const node = iconButton(label, icon, rate, { ariaPressed: "false" });
    return node;
  }
}
