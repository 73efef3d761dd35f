// What a chat knows: its options and words, the open thread, its items, and the answer that comes in.

import { applyUpdate, isHidden } from "./protocol.js";

/** @import { Chat } from "./element.js" */
/** @import { Entry, Item, Options, Run, Strings, Thread } from "./types.js" */
/**
 * @typedef {object} StoreEvents what listeners get, by the names of the events
 * @property {{entry: Entry, before: Element | null}} added
 * @property {Entry} updated
 * @property {Entry} removed
 * @property {undefined} cleared the items alone
 * @property {undefined} changed anything else
 * @property {Run} ended an answer of the thread that is shown
 */
/** @typedef {(name: string, detail?: any, bubbles?: boolean) => void} Dispatch */

/** The state of one chat, and the events of its changes. */
export class Store {
  /** @type {Options | null} */
  #options = null;
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();
  language = "en"; // of the text
  /** @type {Thread | null} */
  thread = null;
  /** @type {Map<string, Entry>} by their ids, in the order of the conversation */
  items = new Map();
  /** @type {string | null} the cursor to what came before */
  earlier = null;
  /** @type {Run | null} */
  run = null;
  /** @type {Run | null} that under way, or the one before; none in a thread that was just opened */
  last = null;
  /** @type {Item | null} the client tool call that waits */
  call = null;
  /** @type {symbol | null} the thread that is being opened */
  opening = null;

  /**
   * @param {Strings} text
   * @param {Dispatch} dispatch sends the page an event, `chatkit.<name>`
   */
  constructor(text, dispatch) {
    this.text = text;
    this.dispatch = dispatch;
  }

  get options() {
    if (!this.#options) throw new Error("The chat has no options yet");
    return this.#options;
  }

  set options(options) {
    this.#options = options;
  }

  get hasOptions() {
    return this.#options !== null;
  }

  /** All entries, in the order of the conversation. */
  get entries() {
    return [...this.items.values()];
  }

  /** The visitor's last message, if there is one. */
  get lastMessage() {
    return this.entries.filter(({ item }) => item.type === "user_message").at(-1);
  }

  /**
   * Call `listener` at each event of a name.
   * @template {keyof StoreEvents} K
   * @param {K} name
   * @param {(detail: StoreEvents[K]) => void} listener
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
  }

  /**
   * @template {keyof StoreEvents} K
   * @param {K} name
   * @param {StoreEvents[K]} [detail]
   */
  emit(name, detail) {
    for (const listener of this.#listeners.get(name) ?? []) listener(detail);
  }

  /**
   * Add an item, or replace the one of its id.
   * @param {Item} item
   * @param {object} how
   * @param {boolean} [how.streaming] whether more of it is coming
   * @param {Element | null} [how.before] the row that a new one comes before; null for the end
   */
  put(item, { streaming = false, before = null } = {}) {
    if (item.type === "client_tool_call" && item.status === "pending" && !streaming)
      this.call = item;
    if (isHidden(item)) return;
    const known = this.items.get(item.id) ?? this.#adopt(item);
    if (known) {
      Object.assign(known, { item, streaming, changed: null });
      this.emit("updated", known);
      return;
    }
    const entry = { item, streaming, changed: null, row: null, body: null };
    const added = { ...entry, bar: null, context: null };
    this.items.set(item.id, added);
    this.emit("added", { entry: added, before });
  }

  /**
   * The visitor's message that was shown before the server gave it its id.
   * @param {Item} item
   */
  #adopt(item) {
    const sent = this.run?.request?.sent ?? "";
    const entry = item.type === "user_message" ? this.items.get(sent) : undefined;
    if (!entry) return undefined;
    this.items.delete(sent);
    this.items.set(item.id, entry);
    return entry;
  }

  /**
   * Apply an update to an item; unknown ids are ignored.
   * @param {string} id
   * @param {any} update
   */
  update(id, update) {
    const entry = this.items.get(id);
    if (!entry) return;
    applyUpdate(entry.item, update);
    if (/^widget\.(component|streaming)/.test(update.type)) {
      entry.changed ??= new Set();
      entry.changed.add(update.component_id);
    } else entry.changed = null;
    this.emit("updated", entry);
  }

  /**
   * Put items before those that are there.
   * @param {Item[]} items
   * @param {Element | null} before the row that comes after them
   */
  prepend(items, before) {
    const now = this.items;
    this.items = new Map();
    for (const item of items) this.put(item, { before });
    for (const [id, entry] of now) this.items.set(id, entry);
  }

  /** @param {string} id */
  remove(id) {
    const entry = this.items.get(id);
    this.items.delete(id);
    if (entry) this.emit("removed", entry);
  }

  /** Forget the items; what shows them goes, too. */
  clear() {
    this.items.clear();
    this.last = null;
    this.emit("cleared");
  }

  /** @param {Thread | null} thread */
  setThread(thread) {
    const before = this.thread;
    this.thread = thread;
    if (String(before?.allowed_image_domains) !== String(thread?.allowed_image_domains)) {
      // Pictures that were links may be shown now.
      for (const entry of this.entries) {
        if (entry.item.type === "assistant_message") this.emit("updated", entry);
      }
    }
    const threadId = thread?.id ?? null;
    if ((before?.id ?? null) !== threadId) this.dispatch("thread.change", { threadId });
  }

  /**
   * Send an error to the page, by the name that ChatKit has for what failed.
   * @param {unknown} thrown
   * @param {string} name
   */
  report(thrown, name) {
    // A page's function may throw anything.
    const { code, message = String(thrown) } = /** @type {any} */ (thrown ?? {});
    const error = new Error(message, { cause: thrown });
    this.dispatch("error", { error: Object.assign(error, { code, name }) });
  }

  /** Nothing more is coming for any item. */
  endStreaming() {
    for (const entry of this.entries) {
      if (!entry.streaming) continue;
      entry.streaming = false;
      this.emit("updated", entry);
    }
  }
}

/** A part of a chat, which reaches the other parts by their names. */
export class Part {
  /** @param {Chat} chat */
  constructor(chat) {
    this.chat = chat;
  }

  get store() {
    return this.chat.store;
  }

  get text() {
    return this.store.text;
  }

  get options() {
    return this.store.options;
  }
}
