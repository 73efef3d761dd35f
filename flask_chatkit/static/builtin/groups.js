// The rows in groups: what a browser lays out, and looks at, hardly grows with the conversation.

import { h } from "../shared/dom.js";

const FULL = 16; // rows and bars

/**
 * @param {Element} thread
 * @param {Element} row
 * @param {Element | null} before the row that it comes before; null for the end
 */
export const insertRow = (thread, row, before) => {
  const next = before && /** @type {Element} */ (before.parentElement);
  const last = next ? next.previousElementSibling : thread.lastElementChild;
  if (before?.previousElementSibling) before.before(row);
  else if (last?.matches(".group") && last.childElementCount < FULL) last.append(row);
  else thread.insertBefore(h("div", { className: "group" }, row), next);
};
