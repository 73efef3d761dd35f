// What is shown of a chat's state, the rows of its items apart.

import { h } from "../shared/dom.js";
import { button, icon, iconButton, spinner, tick } from "./controls.js";
import { showMarkdown } from "./markdown.js";
import { Part } from "./store.js";

/** @import { Chat } from "./element.js" */
/**
 * @typedef {object} FrameNodes
 * @property {HTMLElement} chat all of it
 * @property {HTMLElement} main all but the history
 * @property {HTMLElement} title
 * @property {HTMLElement} save the button for a transcript
 * @property {HTMLElement} fresh the button for a new chat
 * @property {HTMLElement} past the button for the history
 * @property {HTMLElement} log what scrolls
 * @property {HTMLElement} start the start screen
 * @property {HTMLElement} earlier the button for what came before
 * @property {HTMLElement} thread the rows of the items
 * @property {HTMLElement} progress what is under way
 * @property {HTMLElement} latest the button that leads to the end
 * @property {HTMLElement} closed in the place of the composer, where nothing can be sent
 * @property {HTMLElement} status what screen readers announce
 */

/**
 * A button that the page puts at a side of the header; an empty string for none.
 * @param {Chat} chat
 * @param {"leftAction" | "rightAction"} side
 */
const headerAction = ({ store }, side) => {
  const { header } = store.options;
  const { icon: name, label } = header?.[side] ?? {};
  if (!name || header.enabled === false) return "";
  /** @type {Record<string, string>} */
  const words = store.text;
  const shown = label ?? words[name] ?? name.replaceAll("-", " ");
  return iconButton(shown, name, () => store.options.header[side].onClick?.());
};

/** @param {Chat} chat */
const buildHeader = (chat) => {
  const { conversation, history, store, view } = chat;
  const { text, options } = store;
  const enabled = options.header?.enabled !== false;
  const title = h("h2", { dir: "auto" });
  const fresh = iconButton(text.newChat, "compose", () => conversation.startNew());
  const past = iconButton(text.history, "history", () => history.toggle());
  past.hidden = !history.isEnabled;
  const save = view.downloadButton();
  const header = h(
    "div",
    { className: enabled ? "header" : "header hidden" },
    headerAction(chat, "leftAction"),
    title,
    enabled && [save, fresh, past],
    headerAction(chat, "rightAction"),
  );
  return { header, title, save, fresh, past };
};

/** @param {Chat} chat */
const buildLog = ({ conversation, store, view }) => {
  const { text, options } = store;
  const start = h("div", { className: "start" });
  const more = button(text.earlier, () => conversation.showEarlier());
  const earlier = h("p", { className: "center" }, more);
  const thread = h("div", { className: "thread" });
  // The words around may be English; the conversation need not be.
  thread.lang = options.locale ?? document.documentElement.lang;
  const progress = h("p", { className: "progress", hidden: true });
  const log = h(
    "div",
    {
      className: "log",
      role: "log",
      "aria-live": "off",
      "aria-label": text.messages,
      tabIndex: 0,
    },
    h("div", { className: "column" }, start, earlier, thread, progress),
  );
  log.addEventListener("scroll", () => view.scrolled(), { passive: true });
  // Pictures come late, and boxes change their size: the end stays in view, or the button comes.
  const sizes = new ResizeObserver(() => view.resized());
  for (const node of [log, log.firstElementChild]) if (node) sizes.observe(node);
  return { log, start, earlier, thread, progress };
};

/** @param {Chat} chat */
const buildFoot = ({ composer, store, view }) => {
  const { text, options } = store;
  const { disclaimer } = options;
  const { form, problem, wait } = composer.build();
  const toLatest = () => {
    view.scrollToEnd();
    // The button goes; who came to it by keyboard goes on from the end.
    if (view.focused === latest) view.nodes.log.focus({ preventScroll: true });
  };
  const latest = iconButton(text.latest, "down", toLatest, { className: "plain latest" });
  // A click leaves the focus where it is: in the field, say.
  latest.addEventListener("mousedown", (event) => event.preventDefault());
  const closed = h("div", { className: "closed", hidden: true });
  const small = h("div", {
    className: disclaimer?.highContrast ? "md disclaimer strong" : "md disclaimer",
    dir: "auto",
  });
  if (disclaimer?.text) showMarkdown(small, disclaimer.text, { text });
  const foot = h("div", { className: "foot-area" }, latest, problem, wait, form, closed, small);
  return { foot, latest, closed };
};

/**
 * Do what a click in the text asks for: copy code, open a picture or a file, send the page what a
 * link of the scheme `chatkit-link:` says.
 * @param {Chat} chat
 * @param {MouseEvent} event
 */
const clicked = (chat, event) => {
  const { actions, store } = chat;
  const target = /** @type {Element} */ (event.target);
  const copies = target.closest("[data-copy]");
  const code = copies?.closest(".code")?.querySelector("code");
  if (copies && code)
    actions.copy(code.textContent ?? "").then((isCopied) => isCopied && tick(copies));
  const opens = target.closest(".zoom, [data-file]");
  if (opens) import("./open.js").then(({ open }) => open(chat, opens));
  const link = /** @type {HTMLAnchorElement | null} */ (target.closest('a[href^="chatkit-link:"]'));
  if (!link) return;
  event.preventDefault();
  const [name] = link.href.replace(/^chatkit-link:\/*/, "").split(/[?#]/);
  const data = Object.fromEntries(new URL(link.href).searchParams);
  store.dispatch("deeplink", { name, data });
};

/**
 * Build the nodes of a chat, without its items.
 * @param {Chat} chat
 * @returns {FrameNodes}
 */
const buildFrame = (chat) => {
  const { attachments, history, store } = chat;
  const { header, ...headerNodes } = buildHeader(chat);
  const logNodes = buildLog(chat);
  const { foot, ...footNodes } = buildFoot(chat);
  const status = h("p", { role: "status", className: "hidden" });
  const main = h("div", { className: "main" }, header, logNodes.log, foot);
  const onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || !history.isOpen || history.isDocked) return;
    event.preventDefault();
    event.stopPropagation(); // not the panel around the chat
    history.hide();
  };
  const node = h(
    "div",
    {
      // No landmark: the page has put it into one of the same name.
      role: "group",
      className: "chat",
      "aria-label": store.options.frameTitle || store.text.chat,
      onclick: (/** @type {MouseEvent} */ event) => clicked(chat, event),
      onkeydown,
    },
    main,
    history.build(),
    status,
  );
  node.lang = store.language;
  attachments.takeDropped(node);
  return { chat: node, main, status, ...headerNodes, ...logNodes, ...footNodes };
};

const NEAR = 60; // pixels from the end within which the view follows the answer

/** The frame around the conversation, and where it is scrolled to. */
export class View extends Part {
  /** @type {ShadowRoot} */
  #root;
  /** @type {FrameNodes | null} */
  #nodes = null;
  #follows = true;
  #top = 0; // where the log was scrolled to when its end was near

  /**
   * @param {Chat} chat
   * @param {ShadowRoot} root
   */
  constructor(chat, root) {
    super(chat);
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

  /** A button that saves the open thread as a file. */
  downloadButton() {
    return iconButton(this.text.transcript, "download", async () => {
      const { download } = await import("./transcript.js");
      await download(this.chat);
    });
  }

  /**
   * Do something once the chat is built, if it is a page of its own.
   * @param {() => unknown} act
   */
  whenFull(act) {
    if (this.#root.host.closest(".chatkit-full")) queueMicrotask(act);
  }

  /** The element in the chat that has the focus. */
  get focused() {
    return this.#root.activeElement;
  }

  /** Make all nodes anew, for other options or words. What was written and shown stays. */
  build() {
    const { appearance, composer, history, rows } = this.chat;
    const old = this.#nodes;
    const hadFocus = old && this.focused === composer.nodes.input;
    const scroll = old?.log.scrollTop;
    const wasOpen = old && history.isOpen;
    this.#nodes = buildFrame(this.chat);
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
    const { composer, store, suggestions, turns } = this.chat;
    const { chat, main, title, save, fresh, start, earlier, log } = this.nodes;
    const { text, thread, run, opening } = store;
    const { title: wanted = {} } = store.options.header ?? {};
    title.textContent = wanted.text ?? (thread?.title || store.options.frameTitle || text.newChat);
    title.classList.toggle("hidden", wanted.enabled === false);
    const empty = store.items.size === 0 && !run && !opening;
    fresh.hidden = empty && !thread;
    save.hidden = !thread || store.items.size === 0;
    earlier.hidden = !store.earlier;
    const began = start.hidden;
    start.hidden = !empty || Boolean(thread);
    // A class: with :has(), each change of the conversation has the browser look at all of it.
    main.classList.toggle("starts", !start.hidden);
    if (began && !start.hidden) log.scrollTop = 0;
    if (!start.hidden && !start.firstChild) this.#buildStart();
    this.#renderClosed();
    log.setAttribute("aria-busy", String(Boolean(run || opening)));
    chat.classList.toggle("answering", Boolean(run));
    this.#renderProgress();
    turns.update();
    suggestions?.render();
    composer.update();
  }

  /** Show why nothing can be sent, if so. */
  #renderClosed() {
    const { composer, conversation, store } = this.chat;
    const { text, thread } = store;
    /** @type {Record<string, string>} */
    const words = text;
    const { closed } = this.nodes;
    const { type = "active", reason } = thread?.status ?? {};
    const isOpen = type === "active";
    composer.nodes.form.hidden = !isOpen;
    closed.hidden = isOpen;
    if (isOpen) return;
    closed.replaceChildren(
      h("p", { dir: "auto" }, reason || words[type] || text.closed),
      button(text.newChat, () => conversation.startNew()),
    );
  }

  /** Show that something is awaited. */
  #renderProgress() {
    const { text, run, opening, entries } = this.store;
    const { progress } = this.nodes;
    const last = entries.at(-1)?.item.type;
    const awaits = last === "user_message" || run?.old;
    const waits = run && (run.progress || run.calling || awaits);
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
    const { conversation, store } = this.chat;
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
      return h("li", {}, h("button", given, icon(name), label));
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

  /**
   * Show a row, with its top so many pixels below that of the log.
   * @param {Element} row
   * @param {number} at
   */
  showAt(row, at) {
    const { log } = this.nodes;
    const top = row.getBoundingClientRect().top - log.getBoundingClientRect().top;
    this.#follows = false;
    log.scrollTop += top - at;
  }

  /** Follow the answer while its end is near. */
  scrolled() {
    this.chat.memory.scrolled();
    const { log, latest } = this.nodes;
    const { scrollTop: top } = log;
    const left = log.scrollHeight - top - log.clientHeight;
    // Text that has come, or gone, is no reason to stay behind; the visitor's hand is.
    if (left < NEAR) {
      this.#follows = true;
      this.#top = top;
    } else if (top < this.#top - NEAR * 0.8) this.#follows = false;
    latest.classList.toggle("shown", left > 4 * NEAR);
  }

  /** Stay where the visitor was: at the end, or where they read. */
  resized() {
    if (!this.#nodes) return;
    const { options, run } = this.store;
    if (run && options.thread?.autoScroll === false) this.#follows = false;
    if (this.#follows) this.#goToEnd();
    this.scrolled();
  }

  /** Show the end, and follow what comes. */
  scrollToEnd() {
    this.#follows = true;
    this.#goToEnd();
  }

  #goToEnd() {
    const { log, start } = this.nodes;
    // Who has not begun begins at the top.
    if (start.hidden) log.scrollTop = log.scrollHeight;
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
