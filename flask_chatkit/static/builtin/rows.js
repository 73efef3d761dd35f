// The rows of the conversation, one for each item, and the buttons under a turn of the assistant.

import { h, sleep } from "../shared/dom.js";
import { iconButton, textsOf, tick } from "./controls.js";
import { citesOf, drawItem, drawSources } from "./items.js";
import { showMarkdown } from "./markdown.js";
import { Part } from "./store.js";
import { timesOf } from "./times.js";
import { drawWidget } from "./widgets.js";

/** @import { Chat } from "./element.js" */
/** @import { Progress } from "./textview.js" */
/** @import { DrawContext, Entry, Theme } from "./types.js" */
/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Field */

const BUDGET_MS = 3; // for what a frame draws of a text that is coming in
const WHOLE = 10; // times as long for one that is there
const REST = 2; // times as long as was drawn, until the next time
const LONGEST_REST_MS = 100;
const FULL = 16; // rows and bars of a group

/**
 * Put a row in a group: what a browser lays out, and looks at, hardly grows with the conversation.
 * @param {Element} thread
 * @param {Element} row
 * @param {Element | null} before the row that it comes before; null for the end
 */
const insertRow = (thread, row, before) => {
  const next = before && /** @type {Element} */ (before.parentElement);
  const last = next ? next.previousElementSibling : thread.lastElementChild;
  if (before?.previousElementSibling) before.before(row);
  else if (last?.matches(".group") && last.childElementCount < FULL) last.append(row);
  else thread.insertBefore(h("div", { className: "group" }, row), next);
};

/**
 * The time of a message, in a list; none if it is not known.
 * @param {string | undefined} created
 * @param {string} language
 */
const drawTime = (created, language) => {
  const at = timesOf(created, language, { hour: true });
  const given = { dateTime: at?.date.toISOString(), title: at?.full, className: "caption" };
  return at ? [h("time", given, at.short)] : [];
};

const FIELDS = "input, textarea, select";
const fieldsIn = (/** @type {Element} */ node) =>
  /** @type {Field[]} */ ([...node.querySelectorAll(FIELDS)]);
const ticks = (/** @type {Field} */ field) => /radio|checkbox/.test(field.type);

/**
 * Keep what was typed and opened in `old` in `fresh`, too.
 * @param {Element | null} old
 * @param {Element | null} fresh
 */
const keepInput = (old, fresh) => {
  if (!old || !fresh) return;
  const before = fieldsIn(old);
  for (const field of fieldsIn(fresh)) {
    const same = before.find(
      ({ name, type, value }) =>
        name === field.name && type === field.type && (!ticks(field) || value === field.value),
    );
    if (!same) continue;
    if (ticks(field)) Object.assign(field, { checked: Reflect.get(same, "checked") });
    else if (same.value !== Reflect.get(same, "defaultValue")) field.value = same.value;
  }
  const opened = [...old.querySelectorAll("details")];
  [...fresh.querySelectorAll("details")].forEach((details, index) => {
    if (opened[index]) details.open = opened[index].open;
  });
};

/** The rows, drawn at most once a frame. */
export class Rows extends Part {
  /** @type {Set<Entry>} */
  #dirty = new Set();
  #frame = 0;
  #isResting = false;
  #isDeferred = false;

  /** @param {Chat} chat */
  constructor(chat) {
    super(chat);
    const { store } = chat;
    store.on("added", ({ entry, before }) => this.#add(entry, before));
    store.on("updated", (entry) => this.#schedule(entry));
    store.on("removed", ({ row, bar }) => {
      row?.remove();
      bar?.remove();
    });
    store.on("cleared", () => {
      this.#dirty.clear();
      chat.view.nodes.thread.replaceChildren();
    });
  }

  /** Make all rows anew; what was typed in them stays. */
  rebuild() {
    // The formats of times take a while to make: now, and not within an answer.
    globalThis.requestIdleCallback?.(() => drawTime("2026-01-01", this.store.language));
    for (const entry of this.store.entries) {
      const { row } = entry;
      this.#add(entry);
      keepInput(row, entry.row);
    }
  }

  /** Draw the widgets anew, which may have colours of their own for light and dark. */
  redrawWidgets() {
    for (const entry of this.store.entries) {
      if (entry.item.type === "widget") this.#schedule(Object.assign(entry, { changed: null }));
    }
  }

  /** Draw what has changed, now. */
  flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const entry of dirty) this.#draw(entry);
  }

  /**
   * Do something once all that has changed is drawn: now, if it is.
   * @param {() => void} then
   */
  afterDrawing(then) {
    if (this.#dirty.size === 0) then();
    else requestAnimationFrame(() => this.afterDrawing(then));
  }

  /** Leave the next frame to what was typed. */
  defer() {
    this.#isDeferred = true;
  }

  /** Draw in the next frame, once the browser has rested from the last one. */
  #request() {
    if (this.#isResting) return;
    this.#frame ||= requestAnimationFrame((begun) => {
      this.#frame = 0;
      const isDeferred = this.#isDeferred;
      this.#isDeferred = false;
      if (isDeferred) return this.#request();
      this.flush();
      this.#isResting = true;
      // Then the frame is laid out and painted, too: what is typed comes before the next one.
      setTimeout(async () => {
        await sleep(Math.min(REST * (performance.now() - begun), LONGEST_REST_MS));
        this.#isResting = false;
        if (this.#dirty.size > 0) this.#request();
      });
    });
  }

  /**
   * @param {Entry} entry
   * @param {Element | null} before
   */
  #add(entry, before = null) {
    const { store, view } = this.chat;
    const { text } = store;
    const { type } = entry.item;
    const heading = type === "user_message" ? text.you : text.assistant;
    entry.body = h("div", { className: "body" });
    entry.row = h(
      "article",
      { className: type },
      h("h3", { className: "hidden" }, heading),
      entry.body,
    );
    entry.bar = null;
    entry.changed = null;
    insertRow(view.nodes.thread, entry.row, before);
    this.#draw(entry);
  }

  /** @param {Entry} entry */
  #schedule(entry) {
    this.#dirty.add(entry);
    this.#request();
  }

  /** @param {Entry} entry */
  #draw(entry) {
    const { item, body } = entry;
    if (!body) return;
    if (item.type === "user_message") this.#stamp(entry);
    if (item.type === "assistant_message") this.#drawMessage(entry, body);
    else if (entry.changed && entry.context) this.#drawComponents(entry.changed, entry.context);
    else this.#drawWhole(entry, body);
  }

  /**
   * Say when a message was sent, once the server has.
   * @param {Entry} entry
   */
  #stamp({ item, row }) {
    if (row?.querySelector(":scope > time")) return;
    row?.append(...drawTime(item.created_at, this.store.language));
  }

  /**
   * @param {Element} node
   * @param {string} markdown
   * @param {Progress} [progress]
   */
  #markdown(node, markdown, progress) {
    const { text, thread } = this.store;
    const options = { text, domains: thread?.allowed_image_domains };
    return showMarkdown(node, markdown, options, progress);
  }

  /**
   * @param {Entry} entry
   * @param {Element} body
   */
  #drawMessage(entry, body) {
    const { item, streaming } = entry;
    const parts = textsOf(item);
    while (body.children.length < parts.length) body.append(h("div", { className: "md" }));
    const end = performance.now() + BUDGET_MS * (streaming ? 1 : WHOLE);
    const isLate = () => performance.now() > end;
    for (const [index, text] of parts.entries()) {
      const notes = streaming ? [] : citesOf(item, index);
      const progress = { streaming, isLate, notes };
      if (!this.#markdown(body.children[index], text, progress)) this.#schedule(entry);
    }
    for (const extra of [...body.children].slice(parts.length)) extra.remove();
    const sources = !streaming && drawSources(item, this.text);
    if (sources) body.append(sources);
  }

  /**
   * @param {Set<string>} ids
   * @param {DrawContext} context
   */
  #drawComponents(ids, context) {
    for (const id of ids) {
      const part = context.parts.get(id);
      part?.node.replaceWith(drawWidget(part.component, part.context));
    }
  }

  /**
   * @param {Entry} entry
   * @param {Element} body
   */
  #drawWhole(entry, body) {
    const { view } = this.chat;
    entry.context = this.#contextOf(entry, body);
    const fresh = h("div", {}, drawItem(entry.item, entry.context));
    keepInput(body, fresh);
    const focused = view.focused;
    const had = body.contains(focused);
    const name = had && focused?.getAttribute("name");
    body.replaceChildren(...fresh.childNodes);
    if (name)
      /** @type {HTMLElement | null} */ (
        body.querySelector(`[name="${CSS.escape(name)}"]`)
      )?.focus();
    // Where what was focused is no more, the keyboard must not fall out of the chat.
    if (had && !view.focused) view.nodes.log.focus({ preventScroll: true });
  }

  /**
   * @param {Entry} entry
   * @param {Element} body
   * @returns {DrawContext}
   */
  #contextOf(entry, body) {
    const { store, actions, view } = this.chat;
    const { theme: given = {} } = store.options;
    /** @type {Theme} */
    const theme = typeof given === "string" ? { colorScheme: given } : given;
    return {
      text: store.text,
      language: store.language,
      id: entry.item.id,
      theme,
      dark: theme.colorScheme === "dark",
      streaming: entry.streaming,
      fresh: entry.context?.fresh || (store.run?.started.has(entry.item.id) ?? false),
      host: view.nodes.thread,
      ground: /** @type {any} */ (null),
      labels: new Map(),
      parts: new Map(),
      markdown: (node, markdown) => {
        this.#markdown(node, markdown);
      },
      opensFiles: store.options.api.uploadStrategy?.type === "direct",
      shown: body.firstElementChild,
      redraw: () => this.#schedule(Object.assign(entry, { changed: null })),
      act: (action, control, values, form) => actions.act(entry, action, control, values, form),
      answer: (item, input) => actions.answer(item, input),
      tag: (part) => this.chat.mentions.draw(part),
    };
  }
}

const isMine = (/** @type {Entry | undefined} */ entry) => entry?.item.type === "user_message";

/** The buttons under the last row of each finished turn of the assistant. */
export class Turns extends Part {
  /** @type {HTMLElement | null} the last of them, which is always seen */
  #last = null;

  /** Have buttons where a turn has ended, and nowhere else. */
  update() {
    const { store } = this;
    const { entries } = store;
    /** @type {HTMLElement | null} */
    let last = null;
    for (const [index, entry] of entries.entries()) {
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
      if (entry.bar) last = entry.bar;
    }
    // A class: selectors that count siblings make a turn cost more with each one before it.
    if (last !== this.#last) this.#last?.classList.remove("last");
    last?.classList.add("last");
    this.#last = last;
    this.chat.editing.update();
  }

  /**
   * @param {Entry[]} turn
   * @param {Entry | undefined} question the visitor's message that it answers
   */
  #draw(turn, question) {
    const { actions, store } = this.chat;
    const { text, options } = store;
    const { feedback, retry } = options.threadItemActions ?? {};
    const bar = h("div", { className: "bar" });
    const texts = turn.map(({ item }) => item.copy_text ?? textsOf(item).join("")).filter(Boolean);
    if (texts.length > 0) {
      const copy = iconButton(text.copy, "copy", async () => {
        if (await actions.copy(texts.join("\n\n"))) tick(copy);
      });
      bar.append(copy);
    }
    if (feedback) {
      bar.append(
        this.#rating(turn, text.good, "up", "positive"),
        this.#rating(turn, text.bad, "thumb-down", "negative"),
      );
    }
    if (retry && question) bar.append(this.chat.editing.retryButton(question));
    bar.append(...drawTime(turn.at(-1)?.item.created_at, store.language));
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
      if (!(await this.chat.actions.rate(turn, kind))) return;
      for (const each of node.parentElement?.children ?? [])
        if (each.ariaPressed) each.ariaPressed = "false";
      node.ariaPressed = "true";
    };
    const node = iconButton(label, icon, rate, { ariaPressed: "false" });
    return node;
  }
}
