// The header of a panel: its title, its close button, and the buttons of the chat and the site.

import { h, isSafeLink } from "../shared/dom.js";
import { icon } from "./icons.js";
import { pageFunction } from "./state.js";

/** @typedef {import("./state.js").Widget} Widget */
/** @typedef {{icon: string, label?: string, href?: string, action?: string}} SiteButton */

/**
 * Mark what the scripts add: a page cache brings it back without its listeners, and the loader then
 * removes it.
 * @template {HTMLElement} T
 * @param {T} node
 */
export const temporary = (node) => {
  node.dataset.chatkitLife = "";
  return node;
};

/**
 * A button that does something, or a link to an address.
 * @param {string} label
 * @param {string} name of an icon
 * @param {string | (() => void)} target
 */
export const iconButton = (label, name, target) => {
  const node =
    typeof target === "string"
      ? h("a", { href: target })
      : h("button", { type: "button", onclick: target });
  node.className = "chatkit-tool";
  node.title = label;
  node.setAttribute("aria-label", label);
  node.append(icon(name));
  return node;
};

/**
 * Follow the link of a site's button, or call what the page has declared for it. The server has
 * checked the addresses of its own widgets, but not those of markup that poses as one.
 * @param {Widget} widget
 * @param {SiteButton} button
 */
export const pressSiteButton = (widget, { href, action = "" }) => {
  if (isSafeLink(href)) location.assign(href);
  else pageFunction(widget, "actions", action)?.({}, null);
};

/**
 * A button of the site's in our own header.
 * @param {Widget} widget
 * @param {"leftAction" | "rightAction"} side
 */
const siteButtons = (widget, side) => {
  /** @type {SiteButton | undefined} */
  const given = widget.config.options.header?.[side];
  if (!given || (given.href && !isSafeLink(given.href))) return [];
  const label = given.label ?? given.action ?? given.icon.replaceAll("-", " ");
  const press = given.href ?? (() => pressSiteButton(widget, given));
  return [iconButton(label, given.icon, press)];
};

/**
 * @param {Widget} widget
 * @param {() => void} focusChat
 */
const newChatButton = (widget, focusChat) =>
  iconButton(widget.words.widget.newChat, "compose", async () => {
    await widget.element?.setThreadId(null).catch(() => {});
    focusChat();
  });

/** @param {Widget} widget */
const historyButton = (widget) => {
  const button = iconButton(widget.words.widget.history, "history", () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    widget.element?.[isOpen ? "hideHistory" : "showHistory"]().catch(() => {});
  });
  button.setAttribute("aria-expanded", "false");
  return button;
};

/**
 * @param {Widget} widget
 * @param {HTMLDialogElement} panel
 * @param {{close: () => void, focusChat: () => void}} does
 */
export const buildHeader = (widget, panel, { close, focusChat }) => {
  const { header, history } = widget.config.options;
  const title = header?.title?.text ?? panel.getAttribute("aria-label");
  const heading = h("h2", { tabIndex: -1 }, title);
  if (header?.title?.enabled === false) heading.className = "chatkit-hidden";
  const closeButton = iconButton(widget.words.widget.close, "close", close);
  closeButton.classList.add("chatkit-close");
  if (header?.enabled !== false) {
    widget.newChatButton = newChatButton(widget, focusChat);
    if (history?.enabled !== false) widget.historyButton = historyButton(widget);
  }
  // The close button is the first to be reached, and the last to be seen.
  widget.bar = temporary(
    h(
      "div",
      { className: "chatkit-bar" },
      closeButton,
      siteButtons(widget, "rightAction"),
      widget.historyButton,
      widget.newChatButton,
      heading,
      siteButtons(widget, "leftAction"),
    ),
  );
  updateHeader(widget);
  return widget.bar;
};

/**
 * Show the buttons while they can do something, and as long as ChatKit's header has none.
 * @param {Widget} widget
 */
export const updateHeader = (widget) => {
  const { isReady, newChatButton, historyButton, bar, usesElementHeader, root } = widget;
  if (!bar) return;
  const { activeElement } = document;
  const isHidden = Boolean(usesElementHeader && isReady);
  bar.classList.toggle("chatkit-hidden", isHidden);
  if (newChatButton) newChatButton.hidden = !isReady || !root.dataset.thread;
  if (historyButton) historyButton.hidden = !isReady;
  // A button that is hidden leaves the focus in the panel.
  if (activeElement && bar.contains(activeElement) && !activeElement.getClientRects().length) {
    const next = bar.querySelector(isHidden ? "h2" : ".chatkit-close");
    /** @type {HTMLElement} */ (next).focus();
  }
};
