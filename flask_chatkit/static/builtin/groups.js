// The rows in groups: what a browser lays out, and looks at, hardly grows with the conversation.

import { h } from "../shared/dom.js";

const FULL = 16; // rows and bars

/**
 * Whether a row goes into a group. A new group begins with a question, if there are any.
 * @param {Element | null | undefined} group
 * @param {Element} row
 * @returns {group is Element}
 */
const hasRoom = (group, row) => {
  if (!group?.matches(".group")) return false;
  return group.childElementCount < (row.matches(".user_message") ? FULL : 2 * FULL);
};

/**
 * @param {Element} thread
 * @param {Element} row
 * @param {Element | null} before the row that it comes before; null for the end
 */
export const insertRow = (thread, row, before) => {
  if (before?.previousElementSibling) {
    before.before(row);
    return;
  }
  const next = before?.parentElement ?? null;
  const last = next ? next.previousElementSibling : thread.lastElementChild;
  if (hasRoom(last, row)) last.append(row);
  else thread.insertBefore(h("div", { className: "group" }, row), next);
};

/** @param {Element} row */
export const removeRow = (row) => {
  const group = row.parentElement;
  row.remove();
  if (!group?.firstElementChild) group?.remove();
};
