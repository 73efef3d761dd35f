// Where a message is written: the text, a quote, the choice of a tool and a model.

import { h } from "../shared/dom.js";
import { heldOf } from "./attachments.js";
import { asList, fillIn, icon, iconButton, textsOf } from "./controls.js";
import { Part } from "./store.js";

/** @import { Entity, Message } from "./types.js" */
/**
 * @typedef {object} ComposerNodes
 * @property {HTMLTextAreaElement} input
 * @property {HTMLElement} quote
 * @property {HTMLElement} files
 * @property {HTMLElement} problem
 * @property {HTMLElement} wait how long a limit lasts
 * @property {HTMLButtonElement} next the button that has a message wait
 * @property {HTMLButtonElement} send
 * @property {HTMLElement} chips the tools that are chosen or pinned
 * @property {HTMLElement | null} model the button that shows the model
 * @property {HTMLElement | null} dictate
 * @property {HTMLFormElement} form
 */

const MENU = { "aria-haspopup": "menu", ariaExpanded: "false" };
const DOUBLE_CLICK = 500; // milliseconds in which a second click is of the first one

const isBusy = (/** @type {{state?: string}} */ { state }) => state === "busy";

/** Where a message is written, and sent from. */
export class Composer extends Part {
  /** @type {ComposerNodes | null} */
  #nodes = null;
  /** @type {string | null} */
  #quote = null;
  /** @type {Entity[]} those that were mentioned */
  tags = [];
  /** @type {(() => void) | undefined} asks for files */
  attach;
  /** The ids that were chosen; empty for none. */
  chosen = { tool: "", model: "" };
  #pressedAt = Number.NEGATIVE_INFINITY;

  get nodes() {
    if (!this.#nodes) throw new Error("The composer is not built yet");
    return this.#nodes;
  }

  get #options() {
    return this.options.composer ?? {};
  }

  /** Make its nodes anew; what was written stays. */
  build() {
    const { text } = this;
    const input = h("textarea", {
      rows: 1,
      dir: "auto",
      "aria-label": text.message,
      enterKeyHint: "send",
      value: this.#nodes?.input.value ?? this.chat.memory.draft,
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event),
      oninput: () => {
        this.chat.rows.defer();
        this.chat.memory.keepDraft();
        this.update();
      },
      onpaste: (/** @type {ClipboardEvent} */ event) => this.chat.attachments.paste(event),
    });
    const quote = h("div", { className: "quote" });
    const files = h("ul", { className: "files", role: "list" });
    const problem = h("p", { className: "problem", role: "alert", dir: "auto" });
    const onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.submit();
    };
    const send = this.#buildSend();
    const model = this.#buildModel();
    const dictate = this.#buildDictation();
    const chips = h("span", { className: "chips" });
    const { editing, queue, refused } = this.chat;
    const next = queue.buildButton();
    const end = [h("span", { className: "spacer" }), model, dictate, next, send];
    const tools = h("div", { className: "tools" }, this.#buildAdd(), chips, end);
    const above = [queue.node, editing.node, quote, files];
    const form = h("form", { className: "composer", onsubmit }, ...above, input, tools);
    // So that the menu is there when it is wanted, also without a network then.
    const prepare = () => import("./menu.js").catch(() => {});
    form.addEventListener("focusin", prepare, { once: true });
    const wait = refused.node;
    this.#nodes = { input, quote, files, problem, wait, next, send, chips, model, dictate, form };
    queue.update();
    this.chat.mentions.watch();
    return this.#nodes;
  }

  #buildSend() {
    const onclick = (/** @type {PointerEvent} */ event) => {
      const { responses, store } = this.chat;
      const isSoon = performance.now() - this.#pressedAt < DOUBLE_CLICK;
      // The second press of those who press everything twice is not meant for what the button has
      // become. Only clicks of a mouse are counted.
      const isSecond = isSoon && (event.detail !== 1 || event.pointerType === "touch");
      if (store.run || isSecond) event.preventDefault();
      if (isSecond) return;
      this.#pressedAt = performance.now();
      if (store.run) responses.stop();
    };
    return h("button", { className: "send", onclick });
  }

  /** What opens the menu of all that goes with a message; where that is files alone, asks for them. */
  #buildAdd() {
    const { text } = this;
    const { commands, entities } = this.options;
    const { tools, models } = this.#options;
    const { input, ask } = this.chat.attachments.buildPicker();
    this.attach = ask;
    const isMore =
      asList(tools).some(({ pinned }) => !pinned) ||
      commands?.enabled ||
      entities?.showComposerMenu;
    if (!isMore && !input) return null;
    if (!isMore && asList(models).length === 0)
      return [input, iconButton(text.attach, "clip", () => ask?.())];
    const add = iconButton(text.options, "plus", () => this.#openMenu(add), MENU);
    return [input, add];
  }

  /**
   * @param {HTMLElement} opener
   * @param {"model"} [only]
   */
  #openMenu(opener, only) {
    return this.#lazily(async () => {
      const { openChoices } = await import("./menu.js");
      openChoices(this.chat, opener, only);
    });
  }

  /** @param {() => Promise<unknown>} act needs a module that may not come */
  async #lazily(act) {
    try {
      await act();
    } catch (error) {
      this.showProblem(this.text.failed);
      this.store.report(error, "FatalAppError");
    }
  }

  #buildModel() {
    const models = asList(this.#options.models);
    if (models.length === 0) return null;
    const before = models.find(({ id, disabled }) => id === this.chat.memory.model && !disabled);
    this.chosen.model ||= (before ?? models.find((model) => model.default) ?? models[0]).id;
    const onclick = () => this.#openMenu(node, "model");
    const node = h("button", { type: "button", className: "plain model", onclick, ...MENU });
    return node;
  }

  #buildDictation() {
    const isPossible = navigator.mediaDevices && "MediaRecorder" in window;
    if (!this.#options.dictation?.enabled || !isPossible) return null;
    const start = async () => (await import("./dictation.js")).dictate(this.chat);
    return iconButton(this.text.dictate, "mic", () => this.#lazily(start));
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    // While an input method composes, Enter is a part of the word.
    const composes = event.isComposing || event.keyCode === 229;
    if (composes || this.chat.mentions.list?.pressed(event)) return;
    if (this.chat.editing.pressed(event)) return;
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    this.submit();
  }

  focus() {
    this.nodes.input.focus();
  }

  /** @param {string} message empty for none */
  showProblem(message) {
    this.nodes.problem.textContent = message;
  }

  get isEmpty() {
    return !this.nodes.input.value && this.chat.attachments.files.size === 0 && !this.#quote;
  }

  /**
   * Take what is written out of the composer.
   * @returns {Message | null} none if nothing is written
   */
  take() {
    if (this.isEmpty) return null;
    const { attachments, memory, mentions } = this.chat;
    const { input } = this.nodes;
    const content = mentions.split(input.value.trim());
    const files = [...attachments.files];
    const quote = this.#quote;
    input.value = "";
    this.#quote = null;
    attachments.files.clear();
    memory.keepDraft();
    return {
      content,
      attachments: files.flatMap(({ attachment }) => attachment ?? []),
      files,
      quote,
      ...this.chosen,
    };
  }

  /**
   * Have a message in the composer again, before what is being written.
   * @param {Message} message
   */
  give(message) {
    const { attachments, editing, memory, mentions, store } = this.chat;
    if (message.replaces && store.items.has(message.replaces)) {
      editing.start(message);
      return;
    }
    const { input } = this.nodes;
    if (this.isEmpty) {
      const { tool, model } = message;
      if (tool !== undefined) this.choose("tool", tool);
      if (model) this.choose("model", model);
    }
    const { content } = message;
    const tags = content.filter(({ type }) => type === "input_tag");
    if (tags.length > 0)
      mentions.load().then(
        (list) => list.add(tags),
        () => {},
      );
    input.value = [textsOf(message).join(""), input.value].filter(Boolean).join("\n\n");
    this.#quote ??= message.quote ?? null;
    const files = message.files ?? message.attachments.map(heldOf);
    attachments.files = new Set([...files, ...attachments.files]);
    input.setSelectionRange(input.value.length, input.value.length);
    memory.keepDraft();
    this.update();
  }

  /**
   * Write something where the caret is, and go there.
   * @param {string} text
   * @param {number} [back] how many characters before the caret it takes the place of
   */
  insert(text, back = 0) {
    const { input } = this.nodes;
    input.focus();
    const { selectionStart: start, selectionEnd: end } = input;
    input.setSelectionRange(start - back, end);
    // What was written before can be had back with Ctrl+Z; setRangeText() would forget it.
    const isDone = text
      ? document.execCommand("insertText", false, text)
      : document.execCommand("delete");
    if (!isDone) {
      input.setRangeText(text, start - back, end, "end");
      input.dispatchEvent(new CustomEvent("input"));
    }
  }

  /**
   * @param {"tool" | "model"} kind
   * @param {string} id
   */
  choose(kind, id) {
    if (kind === "tool" && this.chosen.tool !== id)
      this.store.dispatch("tool.change", { toolId: id || null });
    if (kind === "model") this.chat.memory.model = id;
    this.chosen[kind] = id;
    this.update();
  }

  /**
   * Put in what a page wants to have there; undefined leaves what there is.
   * @param {{text?: string, quote?: string | null}} value
   */
  setValue({ text, quote }) {
    if (text !== undefined) this.nodes.input.value = text;
    if (quote !== undefined) this.#quote = quote || null;
  }

  /** Show what theme, words and state mean for it. */
  update() {
    const { attachments, store } = this.chat;
    const { input, files } = this.nodes;
    const chosen = asList(this.#options.tools).find(({ id }) => id === this.chosen.tool);
    const own = chosen?.placeholderOverride ?? this.#options.placeholder;
    input.placeholder = own ?? store.text.placeholder;
    this.#updateChoice();
    if (!CSS.supports("field-sizing", "content")) {
      input.style.blockSize = "auto";
      input.style.blockSize = `${input.scrollHeight}px`;
    }
    this.#updateQuote();
    files.replaceChildren(...attachments.chips());
    this.chat.mentions.list?.paint();
    this.#updateSend();
  }

  /** Show the tools that are chosen or pinned, and the model. */
  #updateChoice() {
    const { text } = this;
    const { chips, model: node } = this.nodes;
    const { tool, model } = this.chosen;
    const shown = asList(this.#options.tools).filter(({ id, pinned }) => pinned || id === tool);
    const key = JSON.stringify([shown, tool]);
    if (chips.dataset.key !== key) {
      chips.dataset.key = key;
      chips.replaceChildren(...shown.map((each) => this.#chip(each, each.id === tool)));
    }
    const found = asList(this.#options.models).find(({ id }) => id === model);
    if (!node || !found) return;
    node.ariaLabel = `${text.model}: ${found.label}`;
    node.replaceChildren(h("span", { dir: "auto" }, found.label), icon("chevron"));
  }

  /**
   * @param {any} tool
   * @param {boolean} isChosen
   */
  #chip({ id, label, shortLabel, icon: name, pinned }, isChosen) {
    const onclick = () => {
      this.choose("tool", isChosen ? "" : id);
      this.focus();
    };
    const given = pinned
      ? { "aria-label": label, ariaPressed: String(isChosen) }
      : { "aria-label": fillIn(this.text.remove, label) };
    return h(
      "button",
      { type: "button", className: "plain chip", title: label, onclick, ...given },
      icon(name),
      h("span", { dir: "auto" }, shortLabel ?? label),
      isChosen && icon("close"),
    );
  }

  #updateQuote() {
    const { text } = this;
    const { quote } = this.nodes;
    quote.replaceChildren();
    if (!this.#quote) return;
    const remove = () => {
      this.#quote = null;
      this.update();
      this.focus();
    };
    const label = h("span", { className: "hidden" }, text.quote);
    quote.append(
      h("blockquote", { dir: "auto" }, label, this.#quote),
      iconButton(text.removeQuote, "close", remove),
    );
  }

  #updateSend() {
    const { attachments, queue, refused, store } = this.chat;
    const { run, text } = store;
    const { input, next, send } = this.nodes;
    const label = run ? text.stop : text.send;
    if (send.title !== label || !send.firstChild) {
      send.title = label;
      send.setAttribute("aria-label", label);
      send.type = run ? "button" : "submit";
      send.replaceChildren(icon(run ? "stop" : "send"));
    }
    const written = input.value.trim() || attachments.files.size > 0;
    next.hidden = !run || !written || queue.isFull;
    const usable = run ? run.canStop : written && refused.seconds === 0;
    // It keeps the focus when there is nothing to send, so it is not really disabled.
    send.setAttribute("aria-disabled", String(!usable));
  }

  /** Send what is written, after the answer that is under way. */
  submit() {
    const { attachments, conversation, editing, queue, refused, store, view } = this.chat;
    const { run, text } = store;
    const files = [...attachments.files];
    if (refused.check() || (!this.nodes.input.value.trim() && files.length === 0)) return;
    const failed = files.find(({ state }) => state === "failed");
    let problem = failed ? fillIn(text.uploadFailed, failed.name) : "";
    if (files.some(isBusy)) problem = text.uploadWait;
    if (run && queue.isFull) problem = text.queueFull;
    this.showProblem(problem);
    if (run && editing.id) view.announce(text.answering);
    else if (!problem) {
      const message = this.take();
      const { tool } = this.chosen;
      const stays = asList(this.#options.tools).find(({ id }) => id === tool)?.persistent;
      if (tool && !stays) this.choose("tool", "");
      const sent = /** @type {Message} */ ({ ...message, replaces: editing.finish() });
      if (run) queue.add(sent);
      else conversation.send(sent);
      this.update();
    }
  }
}
