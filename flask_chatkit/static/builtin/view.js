// What is shown of a chat's state, the rows of its items apart.

import { h } from "../shared/dom.js";
import { button, spinner } from "./controls.js";
import { buildFrame } from "./frame.js";
import { findIcon, icon } from "./icons.js";

/** @import { Chat } from "./chat.js" */
/** @import { FrameNodes } from "./frame.js" */

const NEAR = 60; // pixels from the end within which the view follows the answer

export class View {
  /** @type {Chat} */
  #chat;
  /** @type {ShadowRoot} */
  #root;
  /** @type {FrameNodes | null} */
  #nodes = null;
  #follows = true;

  /**
   * @param {Chat} chat
   * @param {ShadowRoot} root
   */
  constructor(chat, root) {
    this.#chat = chat;
    this.#root = root;
    chat.store.on("changed", () => this.render());
  }

  get isBuilt() {
    return this.#nodes !== null;
  }

  get nodes() {
    if (!this.#nodes) throw new Error("The chat is not built yet");
    return this.#nodes;
  }

  /** The element in the chat that has the focus. */
  get focused() {
    return this.#root.activeElement;
  }

  /** Make all nodes anew, for other options or words. What was written and shown stays. */
  build() {
    const { appearance, composer, history, rows } = this.#chat;
    const old = this.#nodes;
    const hadFocus = old && this.focused === composer.nodes.input;
    const scroll = old?.log.scrollTop;
    const wasOpen = old && history.isOpen;
    this.#nodes = buildFrame(this.#chat);
    const { chat, log, thread } = this.#nodes;
    this.#root.replaceChildren(chat);
    appearance.apply();
    rows.rebuild();
    // Notices say what is the case now; they are drawn once and move along.
    thread.append(...(old?.thread.querySelectorAll(":scope > .notice") ?? []));
    composer.update();
    this.render();
    if (scroll !== undefined) log.scrollTop = scroll;
    if (wasOpen) history.show();
    else if (hadFocus) composer.focus();
  }

  /** Show everything but the items: title, start screen, what is busy, what may be done. */
  render() {
    const { composer, store, turns } = this.#chat;
    const { chat, title, fresh, start, earlier, log } = this.nodes;
    const { text, thread, run, opening } = store;
    const { title: wanted = {} } = store.options.header ?? {};
    title.textContent = wanted.text ?? thread?.title ?? text.newChat;
    title.classList.toggle("hidden", wanted.enabled === false);
    const empty = store.items.size === 0 && !run && !opening;
    fresh.hidden = empty && !thread;
    earlier.hidden = !store.earlier;
    start.hidden = !empty || Boolean(thread);
    if (!start.hidden && !start.firstChild) this.#buildStart();
    this.#renderClosed();
    log.setAttribute("aria-busy", String(Boolean(run || opening)));
    chat.classList.toggle("answering", Boolean(run));
    this.#renderProgress();
    turns.update();
    composer.update();
    this.scrollToEnd();
  }

  /** Show why nothing can be sent, if so. */
  #renderClosed() {
    const { composer, conversation, store } = this.#chat;
    const { text, thread } = store;
    const { closed } = this.nodes;
    const { type = "active", reason } = thread?.status ?? {};
    const isOpen = type === "active";
    composer.nodes.form.hidden = !isOpen;
    closed.hidden = isOpen;
    if (isOpen) return;
    closed.replaceChildren(
      h("p", { dir: "auto" }, reason || text[type] || text.closed),
      button(text.newChat, () => conversation.startNew()),
    );
  }

  /** Show that something is awaited. */
  #renderProgress() {
    const { text, run, opening, entries } = this.#chat.store;
    const { progress } = this.nodes;
    const last = entries.at(-1)?.item.type;
    const waits = run && (run.progress || run.calling || last === "user_message");
    progress.hidden = !waits && !opening;
    if (progress.hidden) return;
    const shown = opening ? text.loading : (run?.progress?.text ?? "");
    const key = `${shown}|${run?.progress?.icon}`;
    if (progress.dataset.key === key) return;
    progress.dataset.key = key;
    const typing = h("span", { className: "typing" }, h("i"), h("i"), h("i"));
    progress.replaceChildren(shown ? spinner() : typing, shown);
  }

  #buildStart() {
    const { conversation, store } = this.#chat;
    const { log, start } = this.nodes;
    const { greeting = store.text.greeting, prompts = [] } = store.options.startScreen ?? {};
    start.append(h("p", { className: "greeting", dir: "auto" }, greeting));
    if (prompts.length === 0) return;
    const items = prompts.map(({ label, prompt, icon: name }) => {
      const isText = typeof prompt === "string";
      const content = isText ? [{ type: "input_text", text: prompt }] : prompt;
      const onclick = () => {
        conversation.send({ content, attachments: [] });
        log.focus({ preventScroll: true });
      };
      const given = { type: "button", className: "prompt", dir: "auto", onclick };
      return h("li", {}, h("button", given, icon(findIcon(name)), label));
    });
    start.append(h("ul", { className: "prompts", role: "list" }, items));
  }

  /**
   * Have screen readers read a text.
   * @param {string} text
   */
  announce(text) {
    const { status } = this.nodes;
    // The same text again is one that has changed a little.
    status.textContent = status.textContent === text ? `${text}\u00a0` : text;
  }

  /** Follow the answer while its end is near. */
  scrolled() {
    const { log, latest } = this.nodes;
    const left = log.scrollHeight - log.scrollTop - log.clientHeight;
    this.#follows = left < NEAR;
    latest.classList.toggle("shown", left > 4 * NEAR);
  }

  /** @param {boolean} always even if the visitor has scrolled up */
  scrollToEnd(always = false) {
    const { store } = this.#chat;
    const { log } = this.nodes;
    if (always) this.#follows = true;
    const may = store.options.thread?.autoScroll !== false || !store.run;
    if (always || (this.#follows && may)) log.scrollTop = log.scrollHeight;
  }

  /**
   * Do something above what is shown, which stays where it is.
   * @param {() => void} change
   */
  keepPosition(change) {
    const { log } = this.nodes;
    const height = log.scrollHeight - log.scrollTop;
    change();
    this.#follows = false;
    this.render();
    log.scrollTop = log.scrollHeight - height;
  }
}
