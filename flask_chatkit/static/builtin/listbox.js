// The list over the composer's field, of what is found for an @ or a slash, and the marks in the field.

import { h } from "../shared/dom.js";
import { asList, fillIn, icon } from "./controls.js";
import { actionsOf, fit } from "./menu.js";
import { Part } from "./store.js";
import { dress } from "./styles/writing.js";
import { contentOf, entityOf, findTags, wantedAt } from "./tags.js";

/** @import { Command, Entity } from "./types.js" */
/** @typedef {{kind: "entity" | "command", query: string}} Wanted */
/** @typedef {{node: HTMLElement, pick: () => unknown}} Option */

const PAUSE_MS = 120; // what is typed faster is one search
const MOST = 50;

/** One composer's list. */
export class Listbox extends Part {
  /** @type {HTMLElement | null} */
  #node = null;
  /** @type {Option[]} */
  #options = [];
  #active = 0;
  /** What is searched, or was when the list was dismissed. */
  #key = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #seen = "";

  /** @param {import("./element.js").Chat} chat */
  constructor(chat) {
    super(chat);
    dress(chat);
  }

  /**
   * A text as the parts of a message.
   * @param {string} text
   */
  split(text) {
    return contentOf(text, this.chat.composer.tags);
  }

  /**
   * Know mentions that others have written.
   * @param {any[]} parts of a message
   */
  add(parts) {
    const { composer } = this.chat;
    composer.tags = [...composer.tags, ...parts.map(entityOf)];
  }

  /** What can be searched. */
  get #sources() {
    const { entities, commands } = this.options;
    const search = async (/** @type {string} */ query) => {
      const found = (await commands?.onSearch?.(query)) ?? [];
      const starts = (/** @type {{label: string}} */ { label }) =>
        label.toLowerCase().startsWith(query.toLowerCase());
      return [...found, ...actionsOf(this.chat).filter(starts)];
    };
    return { entity: entities?.onTagSearch, command: commands?.enabled ? search : undefined };
  }

  /** Search for what is asked for where the caret is. */
  look() {
    const { nodes, tags } = this.chat.composer;
    const { selectionStart: start, selectionEnd: end, value } = nodes.input;
    const state = `${start} ${end} ${value}`;
    if (state === this.#seen) return; // a key that did nothing here
    this.#seen = state;
    const wanted = start === end ? wantedAt(value.slice(0, end)) : null;
    const at = wanted ? end - wanted.query.length - 1 : 0;
    const isDone = findTags(value, tags).some((tag) => tag.start === at);
    if (!wanted || isDone || !this.#sources[wanted.kind]) this.close();
    else this.#search(wanted);
  }

  /**
   * Search, and show what is found.
   * @param {Wanted} wanted
   */
  #search(wanted) {
    const key = `${wanted.kind} ${wanted.query}`;
    if (key === this.#key) return;
    this.#key = key;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      try {
        const source = this.#sources[wanted.kind];
        const found = asList(await source?.(wanted.query)).slice(0, MOST);
        if (this.#key === key) this.#show(found, wanted);
      } catch (error) {
        this.#remove();
        this.store.report(error, "EntitySearchError");
      }
    }, PAUSE_MS);
  }

  close() {
    this.#key = "";
    this.#remove();
  }

  #remove() {
    clearTimeout(this.#timer);
    this.#node?.remove();
    this.#node = null;
    const { input } = this.chat.composer.nodes;
    for (const name of ["aria-controls", "aria-activedescendant"]) input.removeAttribute(name);
  }

  /**
   * @param {any[]} found
   * @param {Wanted} wanted
   * @param {number} [back] how many characters before the caret a choice takes the place of
   */
  #show(found, wanted, back = wanted.query.length + 1) {
    const { composer, view } = this.chat;
    const { text } = this;
    this.#remove();
    // After a word that nothing is found for, one is writing something else.
    if (found.length === 0 && /\s/.test(wanted.query)) return;
    const label = wanted.kind === "entity" ? text.mention : text.commands;
    const node = h("div", { className: "menu", role: "listbox", id: "found", "aria-label": label });
    this.#options = [];
    /** @type {Map<string, HTMLElement>} */
    const groups = new Map();
    for (const each of found) {
      const { group = "" } = each;
      const into = groups.get(group) ?? this.#group(group);
      groups.set(group, into);
      into.append(this.#option(each, wanted.kind, back));
    }
    node.append(...groups.values());
    if (found.length === 0) node.append(h("div", { className: "caption" }, text.noResults));
    // In the order that they are shown in.
    this.#options.sort((a, b) => (a.node.compareDocumentPosition(b.node) & 4 ? -1 : 1));
    composer.nodes.form.append(node);
    fit(node);
    this.#node = node;
    composer.nodes.input.setAttribute("aria-controls", "found");
    view.announce(found.length > 0 ? fillIn(text.results, found.length) : text.noResults);
    this.#move(0);
  }

  /** @param {string} name empty for none */
  #group(name) {
    const caption = name && h("div", { className: "caption", "aria-hidden": "true" }, name);
    return h("div", { role: "group", "aria-label": name || null }, caption);
  }

  /**
   * @param {any} found an entity or a command
   * @param {Wanted["kind"]} kind
   * @param {number} back
   */
  #option(found, kind, back) {
    const pick = () => {
      this.close();
      if (kind === "entity") this.#mention(found, back);
      else this.#command(found, back);
    };
    const { title = found.label, icon: name, description } = found;
    const node = h(
      "div",
      {
        className: "option",
        role: "option",
        id: `found-${this.#options.length}`,
        onpointerdown: (/** @type {Event} */ event) => event.preventDefault(), // the field is focused
        onclick: pick,
      },
      icon(name),
      h("span", { dir: "auto" }, title, description && h("small", {}, description)),
    );
    this.#options.push({ node, pick });
    return node;
  }

  /**
   * @param {Entity} entity
   * @param {number} back
   */
  #mention(entity, back) {
    const { composer } = this.chat;
    composer.tags = [...composer.tags.filter(({ title }) => title !== entity.title), entity];
    composer.insert(`@${entity.title} `, back);
  }

  /**
   * @param {Command} command
   * @param {number} back
   */
  async #command(command, back) {
    const { composer, store } = this.chat;
    composer.insert("", back);
    if (command.run) return command.run();
    try {
      const { onSelect } = this.options.commands ?? {};
      const found = await onSelect?.(command);
      if (found?.type === "entity") this.#mention(found.entity, 0);
      else if (found?.type === "menu")
        this.#show(found.commands, { kind: "command", query: "" }, 0);
    } catch (error) {
      store.report(error, "EntitySearchError");
    }
  }

  /** @param {number} to */
  #move(to) {
    const { input } = this.chat.composer.nodes;
    const count = this.#options.length;
    if (count === 0) return;
    this.#active = (to + count) % count;
    this.#options.forEach(({ node }, index) => {
      node.ariaSelected = String(index === this.#active);
    });
    const { node } = this.#options[this.#active];
    input.setAttribute("aria-activedescendant", node.id);
    node.scrollIntoView({ block: "nearest" });
  }

  /**
   * @param {KeyboardEvent} event
   * @returns whether it was for the list
   */
  pressed(event) {
    const { key, shiftKey } = event;
    if (key === "Backspace") this.#selectTag();
    if (!this.#node) return false;
    if (key === "Escape") this.#remove();
    else if (this.#options.length === 0) return false;
    else if (key === "ArrowDown") this.#move(this.#active + 1);
    else if (key === "ArrowUp") this.#move(this.#active - 1);
    else if ((key === "Enter" || key === "Tab") && !shiftKey) this.#options[this.#active].pick();
    else return false;
    event.preventDefault();
    event.stopPropagation(); // not the panel around the chat
    return true;
  }

  /** Have the key that is pressed delete the whole mention before the caret. */
  #selectTag() {
    const { nodes, tags } = this.chat.composer;
    const { selectionStart: start, selectionEnd: end, value } = nodes.input;
    const found = findTags(value, tags).find((each) => each.end === end);
    if (found && start === end) nodes.input.setSelectionRange(found.start, found.end);
  }

  /** Mark the mentions in the field: a text below it has their colours. */
  paint() {
    const { nodes, tags } = this.chat.composer;
    const { form, input } = nodes;
    const found = findTags(input.value, tags);
    let mirror = /** @type {HTMLElement | null} */ (form.querySelector(".mirror"));
    if (found.length === 0) return mirror?.remove();
    if (!mirror) {
      mirror = h("div", { className: "mirror", dir: "auto", "aria-hidden": "true" });
      const follow = () => Object.assign(mirror ?? {}, { scrollTop: input.scrollTop });
      input.addEventListener("scroll", follow, { passive: true });
      form.append(mirror);
    }
    /** @type {(string | HTMLElement)[]} */
    const parts = [];
    let done = 0;
    for (const { start, end } of found) {
      parts.push(input.value.slice(done, start), h("mark", {}, input.value.slice(start, end)));
      done = end;
    }
    mirror.replaceChildren(...parts, `${input.value.slice(done)}\n`);
    const { offsetTop, offsetLeft, clientWidth, clientHeight } = input;
    Object.assign(mirror.style, {
      insetBlockStart: `${offsetTop}px`,
      left: `${offsetLeft}px`,
      inlineSize: `${clientWidth}px`,
      blockSize: `${clientHeight}px`,
    });
    mirror.scrollTop = input.scrollTop;
  }
}
