// The chat as an element, with the options, methods and events of OpenAI's.

import english from "../lang/en.js";
import { Attachments } from "./attachments.js";
import { Composer } from "./composer.js";
import { textsOf } from "./controls.js";
import { Conversation, Notices } from "./conversation.js";
import { Editing } from "./editing.js";
import { History } from "./history.js";
import { Mentions } from "./mentions.js";
import { Client } from "./protocol.js";
import { Queue } from "./queue.js";
import { Refused } from "./refused.js";
import { Actions, Responses } from "./responses.js";
import { Memory, Resume } from "./resume.js";
import { Rows, Turns } from "./rows.js";
import { Store } from "./store.js";
import { STYLE } from "./style.js";
import { Appearance } from "./theme.js";
import { View } from "./view.js";

/** @import { Dispatch } from "./store.js" */
/** @import { Options, Strings } from "./types.js" */

/** One chat: its state, and the parts that show and change it. */
export class Chat {
  /**
   * @param {ShadowRoot} root
   * @param {Strings} text
   * @param {Dispatch} dispatch
   */
  constructor(root, text, dispatch) {
    this.store = new Store(text, dispatch);
    this.client = new Client(this.store);
    this.actions = new Actions(this);
    this.appearance = new Appearance(this, root);
    this.attachments = new Attachments(this);
    this.composer = new Composer(this);
    this.conversation = new Conversation(this);
    this.editing = new Editing(this);
    this.history = new History(this);
    this.memory = new Memory(this);
    this.mentions = new Mentions(this);
    this.notices = new Notices(this);
    this.queue = new Queue(this);
    this.refused = new Refused(this);
    this.responses = new Responses(this);
    this.resume = new Resume(this);
    this.rows = new Rows(this);
    /** @type {import("./suggestions.js").Suggestions | null} when there were some */
    this.suggestions = null;
    this.turns = new Turns(this);
    this.view = new View(this, root);
  }
}

const SELECTED_MS = 200; // how long a selection stays before it is offered to be quoted
const BUSY = "The chat is still answering";

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);

/** The element that a page makes. */
export class BuiltinChat extends HTMLElement {
  #chat;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    this.#chat = new Chat(root, english.chat, (name, detail, bubbles = false) => {
      const given = { detail, bubbles, composed: bubbles };
      this.dispatchEvent(new CustomEvent(`chatkit.${name}`, given));
    });
    root.adoptedStyleSheets = [sheet, this.#chat.appearance.sheet];
  }

  connectedCallback() {
    const { store, view } = this.#chat;
    document.addEventListener("selectionchange", this.#selected);
    if (store.hasOptions && !view.isBuilt) this.#start();
  }

  disconnectedCallback() {
    document.removeEventListener("selectionchange", this.#selected);
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #selecting;
  #selected = () => {
    clearTimeout(this.#selecting);
    this.#selecting = setTimeout(() => {
      const { view } = this.#chat;
      // What is selected in a field is no part of an answer.
      if (!view.isBuilt || view.focused?.matches("input, textarea")) return;
      import("./quoting.js").then(({ offerQuote }) => offerQuote(this.#chat)).catch(() => {});
    }, SELECTED_MS);
  };

  async #start() {
    const { conversation, store, view } = this.#chat;
    view.build();
    await null; // who appends the element may still want to listen
    store.dispatch("ready", undefined, true);
    store.dispatch("log", { name: "builtin.ready" });
    const { initialThread } = store.options;
    if (initialThread) conversation.open(initialThread).catch(() => {});
  }

  /** The chat, once it has options and is on the page. */
  async #ready() {
    if (!this.#chat.view.isBuilt)
      throw new Error("The chat has no options yet, or is not on the page");
    return this.#chat;
  }

  /** The chat, if no answer is coming in. */
  async #idle() {
    const chat = await this.#ready();
    if (chat.store.run) throw new Error(BUSY);
    return chat;
  }

  /**
   * The full set of options, of an own server: they replace the former, the conversation stays.
   * @param {any} options
   */
  setOptions(options) {
    if (!options?.api?.url) throw new TypeError("options.api.url is missing");
    const { appearance, conversation, rows, store, view } = this.#chat;
    const before = store.hasOptions ? store.options : null;
    store.options = options;
    if (!before || !view.isBuilt) {
      if (this.isConnected) this.#start();
      return;
    }
    const withoutTheme = (/** @type {Options} */ all) => JSON.stringify({ ...all, theme: null });
    if (withoutTheme(before) === withoutTheme(options)) {
      appearance.apply();
      rows.redrawWidgets();
    } else view.build();
    if (before.api.url !== options.api.url) conversation.show(null);
  }

  /**
   * Other words for some of the texts, as in {send: "Senden"}.
   * @param {Partial<Strings>} strings
   * @param {string} [language] that they are in; that of the options if none is named
   */
  setStrings(strings, language) {
    const { store, view } = this.#chat;
    store.text = { ...store.text, ...strings };
    store.language = language ?? (store.hasOptions ? store.options.locale : undefined) ?? "";
    if (view.isBuilt) view.build();
  }

  async focusComposer() {
    const { composer } = await this.#ready();
    composer.focus();
  }

  /** @param {string | null} id null for a new chat */
  async setThreadId(id) {
    const { conversation } = await this.#ready();
    await conversation.open(id);
  }

  /** @param {any} params */
  async sendUserMessage(params) {
    const { conversation } = await this.#ready();
    if (params.newThread) conversation.show(null);
    await this.#idle();
    const { text, content, attachments = [], reply, toolChoice, model } = params;
    conversation.send({
      content: content ?? [{ type: "input_text", text: text ?? "" }],
      attachments,
      quote: reply,
      tool: toolChoice?.id,
      model,
    });
  }

  /** @param {any} params */
  async setComposerValue(params) {
    const { attachments, composer, mentions } = await this.#ready();
    const { text, content, reply, files, selectedToolId, selectedModelId } = params;
    const written = text ?? (content ? textsOf({ content }).join("") : undefined);
    const tags = (content ?? []).filter((/** @type {any} */ part) => part.type === "input_tag");
    if (tags.length > 0) (await mentions.load()).add(tags);
    composer.setValue({ text: written, quote: reply });
    if (params.attachments) attachments.replace(params.attachments);
    if (files) attachments.attach(files);
    if (selectedToolId !== undefined) composer.choose("tool", selectedToolId ?? "");
    if (selectedModelId !== undefined) composer.choose("model", selectedModelId);
    composer.update();
  }

  /**
   * @param {any} action
   * @param {string} [itemId]
   */
  async sendCustomAction(action, itemId) {
    const { responses, store } = await this.#ready();
    if (!store.thread) throw new Error("There is no thread yet");
    await this.#idle();
    const params = { thread_id: store.thread.id, item_id: itemId ?? null, action };
    await responses.run({ type: "threads.custom_action", params });
  }

  async fetchUpdates() {
    const { conversation } = await this.#ready();
    await conversation.refresh();
  }

  async showHistory() {
    const { history } = await this.#ready();
    if (!history.isEnabled) throw new Error("The history is disabled");
    await history.show();
  }

  async hideHistory() {
    const { history } = await this.#ready();
    history.hide();
  }
}
