// The field above the list of threads, which the server searches.

import { h } from "../../shared/dom.js";
import { fillIn, icon } from "../controls.js";
import { dress } from "../styles/finding.js";

/** @import { Chat } from "../element.js" */

const PAUSE_MS = 250; // after the last key
const LONGEST = 200; // characters

/** What is looked for. */
export class Search {
  #chat;
  #load;
  #input;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  query = "";

  /**
   * @param {Chat} chat
   * @param {() => unknown} load loads the list anew
   */
  constructor(chat, load) {
    const { text } = chat.store;
    dress(chat);
    this.#chat = chat;
    this.#load = load;
    this.#input = h("input", {
      type: "search",
      "aria-label": text.search,
      placeholder: text.search,
      maxLength: LONGEST,
      dir: "auto",
      enterKeyHint: "search",
      oninput: () => this.#typed(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event),
    });
    this.node = h("div", { className: "search", role: "search" }, icon("search"), this.#input);
    this.mark = this.mark.bind(this);
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#apply(), PAUSE_MS);
  }

  #apply() {
    clearTimeout(this.#timer);
    const query = this.#input.value.trim();
    if (query === this.query) return;
    this.query = query;
    this.#load();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.isComposing) return;
    if (event.key === "Enter") this.#apply();
    if (event.key !== "Escape" || !this.#input.value) return;
    // The first one clears the field, the next one closes the list.
    event.preventDefault();
    event.stopPropagation();
    this.#input.value = "";
    this.#apply();
  }

  /** @param {number} count */
  announce(count) {
    const { store, view } = this.#chat;
    view.announce(count ? fillIn(store.text.results, count) : store.text.noResults);
  }

  /**
   * A text in which the words that were looked for are marked.
   * @param {string} shown
   */
  mark(shown) {
    const words = this.query.match(/[\p{L}\p{M}\p{N}]+/gu);
    if (!words) return [shown];
    words.sort((one, other) => other.length - one.length);
    // Words of scripts without spaces may begin anywhere.
    const any = words.map((word) =>
      /[^\p{Script=Latin}\p{N}]/u.test(word) ? word : `(?<![\\p{L}\\p{N}])${word}`,
    );
    const parts = shown.split(new RegExp(`(${any.join("|")})`, "giu"));
    const wanted = new Set(words.map((word) => word.toLowerCase()));
    return parts
      .filter(Boolean)
      .map((part) => (wanted.has(part.toLowerCase()) ? h("mark", {}, part) : part));
  }
}
