// The panel of a floating widget: opens, closes, keeps the focus where the visitor is, and counts the
// answers that came meanwhile.

import { browserStore, h, isSafeLink, svg, tabStore } from "../shared/dom.js";
import { callElement, emit, pageFunction, widgets } from "./api.js";
import { isTouch } from "./theme.js";

/** @typedef {import("./api.js").Widget} Widget */
/** @typedef {{icon: string, label?: string, href?: string, action?: string}} SiteButton */

// The icons of the header, drawn with strokes in 24 by 24.
/** @type {Record<string, string>} */
export const ICONS = {
  "back-large": "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  compose:
    "M12 5H6.5A1.5 1.5 0 0 0 5 6.5v11A1.5 1.5 0 0 0 6.5 19h11a1.5 1.5 0 0 0 1.5-1.5V12M18 4.3a1.6 1.6 0 0 1 2.3 2.3L13 14l-3.2.9.9-3.2z",
  dots: "M6 12h.01M12 12h.01M18 12h.01",
  grid: "M5 5h5v5H5zM14 5h5v5h-5zM5 14h5v5H5zM14 14h5v5h-5z",
  history: "M4 12a8 8 0 1 0 2.4-5.7L4 8.5M4 4v4.5h4.5M12 8v4.2l3 1.8",
  home: "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
  "light-mode": "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 1 1 0 16",
  menu: "M4 7h16M4 12h16M4 17h16",
  "open-right": "M5 5h6M5 5v14h14v-6M14 5h5v5M19 5l-9 9",
  share: "M12 15V4M8 7.5L12 4l4 3.5M5 12v8h14v-8",
  star: "M12 4l2.5 5.2 5.5.7-4 4 1 5.6-5-2.7-5 2.7 1-5.6-4-4 5.5-.7z",
};
// Those that look alike enough; the rest of ChatKit's sixty become three dots.
/** @type {[RegExp, string][]} */
const ALIKE = [
  [/^home/, "home"],
  [/^(back|.*chevron-left)/, "back-large"],
  [/^(sidebar|menu|hamburger|collapse)/, "menu"],
  [/^(open|expand)/, "open-right"],
  [/^star/, "star"],
  [/mode$/, "light-mode"],
];

/**
 * The icon that stands for one of ChatKit's.
 * @param {string} name
 */
export const closestIcon = (name) =>
  Object.hasOwn(ICONS, name)
    ? name
    : (ALIKE.find(([pattern]) => pattern.test(name))?.[1] ?? "dots");

/** @param {string} name */
export const icon = (name) => svg(ICONS[closestIcon(name)]);

/**
 * @typedef {Widget & {panel: HTMLDialogElement, launcher: HTMLElement, status: HTMLElement}} Floating
 */

export const isSmall = matchMedia("(max-width: 30rem), (max-height: 30rem)");
export const canHover = matchMedia("(hover: hover)");
// What a browser closes at Esc before anything else, wherever the focus is.
const ON_TOP = ":is(:modal, :popover-open:not([popover=manual])):not(.chatkit-panel)";

/**
 * @param {Widget} widget
 * @returns {widget is Floating}
 */
const isFloating = (widget) => widget.panel !== null;

const openOnes = () => [...widgets.values()].filter(isFloating).filter(({ panel }) => panel.open);

/** @param {Widget} widget */
const focusComposer = (widget) => callElement(widget, "focusComposer").catch(() => {});

/** @param {Widget} widget */
export const hasFocus = ({ panel, body }) => (panel ?? body).contains(document.activeElement);

/**
 * Give the chat the focus that a visitor's click has asked for; who has gone elsewhere stays there.
 * @param {Widget} widget
 * @param {boolean} isInside whether the focus is, or was, in the widget
 */
export const focusChat = (widget, isInside = hasFocus(widget)) => {
  if (!widget.wantsFocus || widget.panel?.open === false) return;
  widget.wantsFocus = false;
  // On other devices it would bring up the keyboard.
  if (canHover.matches && isInside) focusComposer(widget);
};

// --- the header ------------------------------------------------------------------------------------

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
    await callElement(widget, "setThreadId", null).catch(() => {});
    focusChat();
  });

/** @param {Widget} widget */
const historyButton = (widget) => {
  const button = iconButton(widget.words.widget.history, "history", () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    callElement(widget, isOpen ? "hideHistory" : "showHistory").catch(() => {});
  });
  button.setAttribute("aria-expanded", "false");
  return button;
};

/**
 * @param {Widget} widget
 * @param {HTMLDialogElement} panel
 */
const buildHeader = (widget, panel) => {
  const close = () => closePanel(widget);
  const focusChat = () => canHover.matches && focusComposer(widget);
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

/**
 * Follow other options.
 * @param {Widget} widget
 */
export const rebuildHeader = (widget) => {
  const { bar, panel, historyButton } = widget;
  if (!bar || !panel) return;
  const isFocused = bar.contains(document.activeElement);
  const isOpen = historyButton?.getAttribute("aria-expanded");
  widget.newChatButton = widget.historyButton = undefined;
  bar.replaceWith(buildHeader(widget, panel));
  const button = /** @type {Widget} */ (widget).historyButton;
  if (isOpen) button?.setAttribute("aria-expanded", isOpen);
  if (isFocused) /** @type {HTMLElement} */ (panel.querySelector(".chatkit-close")).focus();
};

/**
 * The header of the element, where the panel's own does not take its place.
 * @param {Widget} widget
 * @returns {Record<string, any> | undefined}
 */
export const elementHeader = (widget) => {
  const { header } = widget.config.options;
  if (widget.bar && !widget.usesElementHeader) return { enabled: false };
  const shown = { ...header };
  for (const side of ["leftAction", "rightAction"]) {
    const button = shown[side];
    if (!button) continue;
    shown[side] = { icon: button.icon, onClick: () => pressSiteButton(widget, button) };
    // ChatKit's own has no place for a label, and stays blank if there is one.
    if (button.label && "builtin" in widget.root.dataset) shown[side].label = button.label;
  }
  if (widget.usesElementHeader) {
    const side = shown.rightAction ? "leftAction" : "rightAction";
    shown[side] = { icon: "close", onClick: () => closePanel(widget) };
  }
  return header || widget.usesElementHeader ? shown : undefined;
};

// --- the panel -------------------------------------------------------------------------------------

/**
 * @param {Widget} widget
 * @param {HTMLDialogElement} panel
 */
export const buildPanel = (widget, panel) => {
  const { root, config, body } = widget;
  const { header } = config.options;
  panel.removeAttribute("open"); // as a page cache put it back
  // ChatKit's own header has a close button too, unless the site's buttons take all the room.
  widget.usesElementHeader =
    config.panelHeader === false && !(header?.leftAction && header?.rightAction);
  const bar = buildHeader(widget, panel);
  widget.status = temporary(h("p", { className: "chatkit-hidden chatkit-status" }));
  widget.status.setAttribute("role", "status");
  panel.append(bar, body);
  root.append(widget.status);
  // It comes a moment after the closing; by then the panel may be open again.
  panel.addEventListener("close", () => {
    if (!panel.open && widgets.get(root) === widget) afterClose(widget);
  });
};

/**
 * @param {Widget} widget
 * @param {number} count
 */
export const setUnread = (widget, count) => {
  if (!isFloating(widget) || widget.unread === count) return;
  const { root, launcher, status, words } = widget;
  widget.unread = count;
  launcher.querySelector(".chatkit-badge")?.remove();
  if (count) {
    root.dataset.unread = String(count);
    // Not as text, which would be taken for the button's name.
    const badge = temporary(h("span", { className: "chatkit-badge", "aria-hidden": "true" }));
    badge.dataset.count = String(count);
    launcher.append(badge);
    // Once: a screen reader reads it when there is a pause.
    if (!status.textContent) status.textContent = words.widget.unread;
  } else {
    delete root.dataset.unread;
    status.textContent = "";
  }
  emit(widget, "unread", { count });
};

// A phone's keyboard covers the page, and only visualViewport knows. Who zooms in with two fingers
// sees less of the page too, and wants nothing to move.
const fitKeyboard = () => {
  if (!window.visualViewport) return;
  const { height, offsetTop, scale } = window.visualViewport;
  for (const { panel } of widgets.values()) {
    if (!panel?.matches(":modal")) continue;
    // A page may be zoomed by its style, too.
    const { currentCSSZoom: zoom = 1 } = /** @type {{currentCSSZoom?: number}} */ (panel);
    panel.style.setProperty("--_seen", `${(height * scale) / zoom}px`);
    panel.style.setProperty("--_above", `${scale > 1 ? 0 : offsetTop / zoom}px`);
  }
};

/**
 * Over the whole of a small screen, beside the page on others.
 * @param {Floating} widget
 * @param {boolean} [isQuiet] whether the focus stays where it is
 */
const present = ({ panel, root }, isQuiet) => {
  const { matches } = isSmall;
  root.toggleAttribute("data-modal", matches);
  if (matches) panel.showModal();
  // The attribute opens it without taking the focus.
  else if (isQuiet) panel.setAttribute("open", "");
  else panel.show();
  if (matches) fitKeyboard();
};

/**
 * @param {Widget} widget
 * @param {{opener?: HTMLElement, isQuiet?: boolean}} how
 */
export const openPanel = (widget, { opener, isQuiet }) => {
  if (!isFloating(widget) || widget.panel.open) return;
  const { root, launcher } = widget;
  const { activeElement } = document;
  const from = activeElement === document.body ? launcher : activeElement;
  widget.opener = opener ?? /** @type {HTMLElement | null} */ (from) ?? launcher;
  dismissTeaser(widget);
  root.dataset.open = "";
  launcher.setAttribute("aria-expanded", "true");
  present(widget, isQuiet);
  setUnread(widget, 0);
  rememberOpen(widget);
  emit(widget, "open");
  widget.wantsFocus = !isQuiet;
};

/** @param {import("./api.js").Config} config */
export const teaserKey = ({ chat }) => `teaser:${chat}`;

/**
 * Remove the teaser for good: who has answered it in either way, or has come before it, is left
 * alone.
 * @param {Widget} widget
 * @returns {boolean} whether there was one
 */
export const dismissTeaser = (widget) => {
  const { config, status, teaser } = widget;
  if (config.teaser) browserStore.set(teaserKey(config), config.teaser.text);
  if (!teaser) return false;
  teaser.remove();
  widget.teaser = null;
  if (status) status.textContent = "";
  return true;
};

/**
 * For the next page, which opens one chat; on a small screen it would cover the page.
 * @param {Widget} [last]
 */
const rememberOpen = (last = openOnes()[0]) =>
  tabStore.set("open", (!isSmall.matches && last?.config.chat) || null);

/** @param {Widget} widget */
export const closePanel = (widget) => {
  if (!isFloating(widget) || !widget.panel.open) return;
  widget.panel.close();
  // The dialog's own close event comes a moment later; what the page learns is true now.
  afterClose(widget);
};

/** @param {Widget} widget */
const afterClose = (widget) => {
  const { root, launcher, opener } = widget;
  if (root.dataset.open === undefined) return;
  delete root.dataset.open;
  delete root.dataset.modal;
  launcher?.setAttribute("aria-expanded", "false");
  rememberOpen();
  if (/^#chat(-|$)/.test(location.hash)) {
    // So that the same link opens it again.
    history.replaceState(history.state, "", location.pathname + location.search);
  }
  const { activeElement } = document;
  if (!activeElement || activeElement === document.body || root.contains(activeElement)) {
    const isShown = opener?.isConnected && opener.checkVisibility?.() !== false;
    (isShown ? opener : launcher)?.focus();
  }
  emit(widget, "close");
};

const followScreen = () => {
  for (const widget of openOnes()) {
    const { panel, element } = widget;
    const activeElement = /** @type {HTMLElement | null} */ (document.activeElement);
    // A tablet's keyboard may make the page lower: who writes with it would lose it.
    if (isTouch.matches && activeElement === element) continue;
    panel.close();
    present(widget);
    // Who writes goes on writing; the frame itself can't be given the focus from here.
    if (activeElement === element) focusComposer(widget);
    /** @type {HTMLElement | null} */ else activeElement?.focus?.({ preventScroll: true });
  }
};

/** @param {KeyboardEvent} event */
const closeOnEscape = (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
  const target = /** @type {Element} */ (event.target);
  const open = openOnes();
  const here = open.find(({ root }) => root.contains(target)) ?? open.pop();
  // What the page itself has opened is closed by the page, or by the browser.
  const layer = target.closest?.("dialog, [popover], [aria-modal]");
  if (!here || layer?.matches(":not(.chatkit-panel)") || document.querySelector(ON_TOP)) return;
  event.preventDefault();
  closePanel(here);
};

export const watchScreen = () => {
  for (const type of ["resize", "scroll"]) {
    window.visualViewport?.addEventListener(type, fitKeyboard);
  }
  isSmall.addEventListener("change", followScreen);
  document.addEventListener("keydown", closeOnEscape);
};
