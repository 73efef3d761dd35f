// What an entity is, shown beside a mention of it that is pointed at or focused.

import { h } from "../shared/dom.js";
import { showMarkdown } from "./markdown.js";
import { dress } from "./styles/writing.js";
import { entityOf } from "./tags.js";
import { drawWidget, loadWidgets } from "./widgets.js";

/** @import { Chat } from "./element.js" */
/** @import { Theme } from "./types.js" */

const GAP = 6; // pixels between the mention and its preview

/**
 * Tell the page that a mention was clicked.
 * @param {Chat} chat
 * @param {any} part of the message
 */
export const clickTag = ({ store }, part) => store.options.entities?.onClick?.(entityOf(part));

/**
 * @param {Chat} chat
 * @param {HTMLElement} node
 * @param {any} part of the message
 */
export const previewTag = async (chat, node, part) => {
  const { store, view } = chat;
  const { entities, theme: given = {} } = store.options;
  const entity = entityOf(part);
  dress(chat);
  const isWanted = () => node.matches(":hover, :focus-visible");
  if (node.ariaDescription !== null && node.nextElementSibling?.matches(".preview")) return;
  /** @type {any} */
  let found;
  try {
    found = await entities?.onRequestPreview?.(entity);
    if (found?.preview) await loadWidgets();
  } catch (error) {
    store.report(error, "EntitySearchError");
  }
  if (!found?.preview || !isWanted() || node.nextElementSibling?.matches(".preview")) return;
  const { text } = store;
  /** @type {Theme} */
  const theme = typeof given === "string" ? { colorScheme: given } : given;
  const body = drawWidget(found.preview, {
    text,
    language: store.language,
    id: entity.id,
    theme,
    dark: theme.colorScheme === "dark",
    streaming: false,
    fresh: false,
    host: view.nodes.thread,
    ground: /** @type {any} */ (null),
    labels: new Map(),
    parts: new Map(),
    markdown: (/** @type {Element} */ into, /** @type {string} */ markdown) =>
      showMarkdown(into, markdown, { text }),
    shown: null,
    redraw: () => {},
    act: () => {},
    answer: () => {},
    tag: () => "",
  });
  const box = h("div", { className: "preview widget", popover: "manual", inert: true }, body);
  node.after(box);
  box.showPopover?.();
  node.ariaDescription = box.textContent;
  const at = node.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = box;
  const fits = at.top - GAP - height >= 0;
  const left = Math.max(GAP, Math.min(at.left, innerWidth - width - GAP));
  const top = fits ? at.top - GAP - height : at.bottom + GAP;
  Object.assign(box.style, { top: `${top}px`, left: `${left}px` });
  const listening = new AbortController();
  const hide = (/** @type {Event} */ event) => {
    const isKey = event instanceof KeyboardEvent;
    if (isKey && event.key !== "Escape") return;
    if (isKey)
      event.stopPropagation(); // not the panel around the chat
    else if (event.type !== "scroll" && isWanted()) return;
    listening.abort();
    box.remove();
  };
  const { signal } = listening;
  for (const type of ["pointerleave", "blur", "keydown"])
    node.addEventListener(type, hide, { signal });
  node.closest(".log")?.addEventListener("scroll", hide, { signal, passive: true });
};
