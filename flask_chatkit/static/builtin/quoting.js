// A button at a part of an answer that is selected, which quotes it in the next message.

import { h } from "../shared/dom.js";
import { icon } from "./controls.js";
import { dress } from "./styles/writing.js";

/** @import { Chat } from "./element.js" */

const LONGEST = 2000; // characters
const GAP = 6; // pixels between the selection and the button

/** @type {WeakMap<Chat, HTMLElement>} */
const shown = new WeakMap();

/**
 * The range that is selected within a shadow root.
 * @param {ShadowRoot} root
 * @returns {AbstractRange | undefined}
 */
const rangeIn = (root) => {
  /** @type {any} */
  const selection = document.getSelection();
  const [composed] = selection?.getComposedRanges?.({ shadowRoots: [root] }) ?? [];
  if (composed) return composed;
  // Browsers before that: Chromium has a selection for each root.
  const own = /** @type {any} */ (root).getSelection?.() ?? selection;
  return own?.rangeCount ? own.getRangeAt(0) : undefined;
};

/**
 * The answer that a node belongs to.
 * @param {Node} node
 */
const answerOf = (node) => {
  const element = node instanceof Element ? node : node.parentElement;
  return element?.closest("article:not(.user_message) .body")?.closest("article");
};

/** @param {Chat} chat */
const hide = (chat) => {
  const node = shown.get(chat);
  if (!node) return;
  shown.delete(chat);
  const { log } = chat.view.nodes;
  if (chat.view.focused === node) log.focus({ preventScroll: true });
  node.remove();
};

/**
 * Offer to quote what is selected, if that is a part of one answer.
 * @param {Chat} chat
 */
export const offerQuote = (chat) => {
  const { composer, store, view } = chat;
  // The selection stays while its button has the focus.
  if (shown.has(chat) && view.focused === shown.get(chat)) return;
  hide(chat);
  const found = rangeIn(/** @type {ShadowRoot} */ (view.nodes.chat.getRootNode()));
  const row = found && answerOf(found.startContainer);
  if (!row || answerOf(found.endContainer) !== row || composer.nodes.form.hidden) return;
  const range = document.createRange();
  range.setStart(found.startContainer, found.startOffset);
  range.setEnd(found.endContainer, found.endOffset);
  const text = (String(document.getSelection()) || String(range)).trim();
  if (!text) return;
  const quote = () => {
    const isWhole = text.length <= LONGEST;
    composer.setValue({ quote: isWhole ? text : `${text.slice(0, LONGEST)}…` });
    document.getSelection()?.removeAllRanges();
    hide(chat);
    composer.update();
    composer.focus();
  };
  const node = h(
    "button",
    {
      type: "button",
      className: "button quoter",
      popover: "manual",
      onclick: quote,
      onpointerdown: (/** @type {Event} */ event) => event.preventDefault(), // it stays selected
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        event.stopPropagation(); // not the panel around the chat
        hide(chat);
      },
    },
    icon("quote"),
    store.text.quoteSelection,
  );
  dress(chat);
  row.append(node);
  leadTo(node, view);
  shown.set(chat, node);
  node.showPopover?.();
  place(node, range, view.nodes.log);
  view.nodes.log.addEventListener("scroll", () => hide(chat), { once: true, passive: true });
};

/**
 * Have Tab lead from what is selected to the button: a selection by mouse focuses the whole log.
 * @param {HTMLElement} node
 * @param {Chat["view"]} view
 */
const leadTo = (node, view) => {
  const { log } = view.nodes;
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (!node.isConnected) log.removeEventListener("keydown", onKey);
    else if (event.key === "Tab" && !event.shiftKey && view.focused === log) {
      event.preventDefault();
      node.focus({ preventScroll: true });
    }
  };
  log.addEventListener("keydown", onKey);
};

/**
 * @param {HTMLElement} node
 * @param {Range} range
 * @param {HTMLElement} log
 */
const place = (node, range, log) => {
  const bounds = log.getBoundingClientRect();
  const lines = [...range.getClientRects()].filter(({ width }) => width > 0);
  const last = lines.at(-1) ?? range.getBoundingClientRect();
  const first = lines[0] ?? last;
  const { offsetWidth: width, offsetHeight: height } = node;
  const isBelow = last.bottom + GAP + height <= bounds.bottom;
  const top = isBelow ? last.bottom + GAP : Math.max(first.top - GAP - height, bounds.top);
  const end = getComputedStyle(node).direction === "rtl" ? last.left : last.right - width;
  const left = Math.max(bounds.left + GAP, Math.min(end, bounds.right - width - GAP));
  Object.assign(node.style, { top: `${top}px`, left: `${left}px` });
};
