// What is offered while one writes: entities behind an @, commands behind a slash.

import { h } from "../shared/dom.js";
import { Part } from "./store.js";
import { entityOf, findTags } from "./tags.js";

/** @import { MenuItem } from "./menu.js" */

/** The most characters behind an @ that are still a search. */
const LONGEST = 40;
const MENTION = new RegExp(`(?:^|[\\s(])@([^@\\n]{0,${LONGEST}})$`);
const COMMAND = /^\/(\S*)$/;

/**
 * What a text asks for at its end.
 * @param {string} before the caret
 * @returns {{kind: "entity" | "command", query: string} | null}
 */
export const wantedAt = (before) => {
  const command = COMMAND.exec(before);
  if (command) return { kind: "command", query: command[1] };
  const mention = MENTION.exec(before);
  return mention && { kind: "entity", query: mention[1] };
};

/** The search in the composer, and the mentions in what was sent; the rest comes when it is needed. */
export class Mentions extends Part {
  /** @type {import("./listbox.js").Listbox | null} */
  #list = null;
  #seen = "";

  /** What can be searched. */
  get sources() {
    const { entities, commands } = this.options;
    /** @param {string} query */
    const search = async (query) => {
      const found = (await commands?.onSearch?.(query)) ?? [];
      const starts = (/** @type {MenuItem} */ { label }) =>
        label.toLowerCase().startsWith(query.toLowerCase());
      return [...found, ...this.chat.composer.actions().filter(starts)];
    };
    return { entity: entities?.onTagSearch, command: commands?.enabled ? search : undefined };
  }

  /** Follow what is written in the composer's field. */
  watch() {
    this.#list?.close();
    this.#list = null;
    const { input } = this.chat.composer.nodes;
    for (const type of ["input", "click", "keyup"])
      input.addEventListener(type, () => this.#look());
    input.addEventListener("blur", () => this.#list?.close());
  }

  /** What the composer's menu has of it. */
  items() {
    const { entity, command } = this.sources;
    const { text } = this;
    /** @type {MenuItem[]} */
    const items = [];
    const write = (/** @type {string} */ sign) => () => {
      const { composer } = this.chat;
      const { value, selectionEnd: at } = composer.nodes.input;
      composer.insert(/\S$/.test(value.slice(0, at)) ? ` ${sign}` : sign);
    };
    if (entity && this.options.entities?.showComposerMenu)
      items.push({ label: text.mention, icon: "at", run: write("@") });
    if (command) items.push({ label: text.commands, icon: "slash", run: write("/") });
    return items;
  }

  /**
   * Let the list have a key.
   * @param {KeyboardEvent} event
   * @returns whether it was for the list
   */
  pressed(event) {
    return Boolean(this.#list?.pressed(event));
  }

  /** Mark the mentions in the field. */
  paint() {
    this.#list?.paint();
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
    const entity = entityOf(part);
    const onclick = () => onClick?.(entity);
    const node = h("button", { type: "button", className: "tag", onclick }, label);
    const show = () =>
      import("./preview.js")
        .then(({ showPreview }) => showPreview(this.chat, node, entity))
        .catch(() => {});
    for (const type of onRequestPreview ? ["pointerenter", "focus"] : [])
      node.addEventListener(type, show);
    return node;
  }

  async #look() {
    const { composer, store } = this.chat;
    const { input } = composer.nodes;
    const { selectionStart: start, selectionEnd: end, value } = input;
    const state = `${start} ${end} ${value}`;
    if (state === this.#seen) return; // a key that did nothing here
    this.#seen = state;
    const wanted = start === end ? wantedAt(value.slice(0, end)) : null;
    const at = wanted ? end - wanted.query.length - 1 : 0;
    const isDone = findTags(value, composer.tags).some((tag) => tag.start === at);
    if (!wanted || isDone || !this.sources[wanted.kind]) return this.#list?.close();
    try {
      const { Listbox } = await import("./listbox.js");
      this.#list ??= new Listbox(this.chat);
      this.#list.search(wanted);
    } catch (error) {
      store.dispatch("error", { error });
    }
  }
}
