// The panel of a floating widget: opens, closes, keeps the focus where the visitor is, and counts the
// answers that came meanwhile.

import { h } from "../shared/dom.js";
import { buildHeader, temporary } from "./header.js";
import { tabStore } from "./secrets.js";
import { emit, widgets } from "./state.js";
import { dismissTeaser } from "./teaser.js";
import { isTouch } from "./theme.js";

/** @typedef {import("./state.js").Widget} Widget */
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
export const isFloating = (widget) => widget.panel !== null;

const openOnes = () => [...widgets.values()].filter(isFloating).filter(({ panel }) => panel.open);

/** @param {Widget} widget */
const focusComposer = ({ element }) => element?.focusComposer().catch(() => {});

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
  const bar = buildHeader(widget, panel, {
    close: () => closePanel(widget),
    focusChat: () => canHover.matches && focusComposer(widget),
  });
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
    panel.style.setProperty("--_seen", `${height * scale}px`);
    panel.style.setProperty("--_above", `${scale > 1 ? 0 : offsetTop}px`);
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
