// Where a message is written: the text, a quote, the choice of a tool and a model.

import { h } from "../shared/dom.js";
import { asList, icon, iconButton } from "./controls.js";
import { Part } from "./store.js";

/** @import { Chat } from "./element.js" */
/**
 * @typedef {object} ComposerNodes
 * @property {HTMLTextAreaElement} input
 * @property {HTMLElement} quote
 * @property {HTMLElement} files
 * @property {HTMLElement} problem
 * @property {HTMLButtonElement} send
 * @property {HTMLSelectElement | null} tool
 * @property {HTMLSelectElement | null} model
 * @property {HTMLFormElement} form
 */

const isBusy = (/** @type {{state?: string}} */ { state }) => state === "busy";

/** Where a message is written, and sent from. */
export class Composer extends Part {
  /** @type {ComposerNodes | null} */
  #nodes = null;
  /** @type {string | null} */
  #quote = null;
  /** The ids that were chosen; empty for none. */
  #chosen = { tool: "", model: "" };

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
        this.chat.memory.keepDraft();
        this.update();
      },
      onpaste: (/** @type {ClipboardEvent} */ event) => this.chat.attachments.paste(event),
    });
    const quote = h("div", { className: "quote" });
    const files = h("ul", { className: "files", role: "list" });
    const problem = h("p", { className: "problem", role: "alert" });
    const onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.submit();
    };
    const tool = this.#buildTools();
    const tools = h("div", { className: "tools" });
    const send = this.#buildSend();
    const model = this.#buildModels();
    const picker = this.chat.attachments.buildPicker();
    tools.append(...picker, ...[tool, model].filter((each) => each !== null));
    tools.append(h("span", { className: "spacer" }), send);
    const form = h("form", { className: "composer", onsubmit }, quote, files, input, tools);
    this.#nodes = { input, quote, files, problem, send, tool, model, form };
    return this.#nodes;
  }

  #buildSend() {
    const onclick = (/** @type {Event} */ event) => {
      const { responses, store } = this.chat;
      if (!store.run) return;
      event.preventDefault();
      responses.stop();
    };
    return h("button", { className: "send", onclick });
  }

  #buildTools() {
    const { text } = this;
    const tools = asList(this.#options.tools);
    if (tools.length === 0) return null;
    return this.#select("tool", text.tool, [{ id: "", label: text.noTool }, ...tools]);
  }

  #buildModels() {
    const models = asList(this.#options.models);
    if (models.length === 0) return null;
    this.#chosen.model ||= (models.find((model) => model.default) ?? models[0]).id;
    return this.#select("model", this.text.model, models);
  }

  /**
   * @param {"tool" | "model"} kind
   * @param {string} label
   * @param {{id: string, label: string, disabled?: boolean}[]} options
   */
  #select(kind, label, options) {
    const onchange = () => this.choose(kind, node.value);
    const node = h(
      "select",
      { "aria-label": label, onchange },
      options.map(({ id, label: name, disabled }) => h("option", { value: id, disabled }, name)),
    );
    return node;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    // While an input method composes, Enter is a part of the word.
    const composes = event.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || composes) return;
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

  /**
   * Bring back the text of a message that was not sent, unless another is being written.
   * @param {string} text
   */
  restore(text) {
    this.nodes.input.value ||= text;
    this.chat.memory.keepDraft();
  }

  /**
   * @param {"tool" | "model"} kind
   * @param {string} id
   */
  choose(kind, id) {
    if (kind === "tool" && this.#chosen.tool !== id)
      this.store.dispatch("tool.change", { toolId: id || null });
    this.#chosen[kind] = id;
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
    const { input, files, tool, model } = this.nodes;
    const chosen = asList(this.#options.tools).find(({ id }) => id === this.#chosen.tool);
    const own = chosen?.placeholderOverride ?? this.#options.placeholder;
    input.placeholder = own ?? store.text.placeholder;
    if (tool) tool.value = this.#chosen.tool;
    if (model) model.value = this.#chosen.model;
    if (!CSS.supports("field-sizing", "content")) {
      input.style.blockSize = "auto";
      input.style.blockSize = `${input.scrollHeight}px`;
    }
    this.#updateQuote();
    files.replaceChildren(...attachments.chips());
    this.#updateSend();
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
    const { attachments, store } = this.chat;
    const { run, text } = store;
    const { input, send } = this.nodes;
    const label = run ? text.stop : text.send;
    if (send.title !== label || !send.firstChild) {
      send.title = label;
      send.setAttribute("aria-label", label);
      send.type = run ? "button" : "submit";
      send.replaceChildren(icon(run ? "stop" : "send"));
    }
    const usable = run ? run.canStop : input.value.trim() || attachments.files.size > 0;
    // It keeps the focus when there is nothing to send, so it is not really disabled.
    send.setAttribute("aria-disabled", String(!usable));
  }

  /** Send what is written. */
  submit() {
    const { attachments, conversation, store } = this.chat;
    const { input } = this.nodes;
    if (store.run) return;
    const text = input.value.trim();
    const files = [...attachments.files].filter(({ state }) => state !== "failed");
    if (files.some(isBusy)) {
      this.showProblem(store.text.uploadWait);
      return;
    }
    if (!text && files.length === 0) return;
    this.showProblem("");
    input.value = "";
    this.chat.memory.keepDraft();
    const { tool, model } = this.#chosen;
    const quote = this.#quote;
    this.#quote = null;
    attachments.files.clear();
    const stays = asList(this.#options.tools).find(({ id }) => id === tool)?.persistent;
    if (tool && !stays) this.choose("tool", "");
    conversation.send({
      content: text ? [{ type: "input_text", text }] : [],
      attachments: files.flatMap(({ attachment }) => attachment ?? []),
      quote,
      tool,
      model,
    });
  }
}
