// The nodes around the conversation: header, messages and foot.

import { h } from "../shared/dom.js";
import { button, iconButton } from "./controls.js";
import { findIcon } from "./icons.js";
import { showMarkdown } from "./markdown.js";

/** @import { Chat } from "./chat.js" */
/**
 * @typedef {object} FrameNodes
 * @property {HTMLElement} chat all of it
 * @property {HTMLElement} main all but the history
 * @property {HTMLElement} title
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
  const known = findIcon(name) ?? (/^(sidebar|menu|open|collapse)/.test(name) ? "menu" : "dots");
  const shown = label ?? store.text[name] ?? name.replaceAll("-", " ");
  return iconButton(shown, known, () => store.options.header[side].onClick?.());
};

/** @param {Chat} chat */
const buildHeader = (chat) => {
  const { conversation, history, store } = chat;
  const { text, options } = store;
  const enabled = options.header?.enabled !== false;
  const title = h("h2", { dir: "auto" });
  const fresh = iconButton(text.newChat, "compose", () => conversation.startNew());
  const past = iconButton(text.history, "history", () => history.show());
  past.hidden = !history.isEnabled;
  const header = h(
    "div",
    { className: enabled ? "header" : "header hidden" },
    headerAction(chat, "leftAction"),
    title,
    enabled && [fresh, past],
    headerAction(chat, "rightAction"),
  );
  return { header, title, fresh, past };
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
  return { log, start, earlier, thread, progress };
};

/** @param {Chat} chat */
const buildFoot = ({ composer, store, view }) => {
  const { text, options } = store;
  const { disclaimer } = options;
  const { form, problem } = composer.build();
  const toLatest = () => view.scrollToEnd(true);
  const latest = iconButton(text.latest, "down", toLatest, { className: "plain latest" });
  const closed = h("div", { className: "closed", hidden: true });
  const small = h("div", {
    className: disclaimer?.highContrast ? "md disclaimer strong" : "md disclaimer",
    dir: "auto",
  });
  if (disclaimer?.text) showMarkdown(small, disclaimer.text, { text });
  const foot = h("div", { className: "foot-area" }, latest, problem, form, closed, small);
  return { foot, latest, closed };
};

/**
 * Send the page what a link of the scheme `chatkit-link:` says, and copy code where that is wanted.
 * @param {Chat} chat
 * @param {MouseEvent} event
 */
const clicked = ({ actions, store }, event) => {
  const target = /** @type {Element} */ (event.target);
  const code = target.closest("[data-copy]")?.closest(".code")?.querySelector("code");
  if (code) actions.copy(code.textContent ?? "");
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
export const buildFrame = (chat) => {
  const { attachments, history, store } = chat;
  const { header, ...headerNodes } = buildHeader(chat);
  const logNodes = buildLog(chat);
  const { foot, ...footNodes } = buildFoot(chat);
  const status = h("p", { role: "status", className: "hidden" });
  const main = h("div", { className: "main" }, header, logNodes.log, foot);
  const onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || !history.isOpen) return;
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
