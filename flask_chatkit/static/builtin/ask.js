// The question before what follows an earlier answer is replaced.

import { h } from "../shared/dom.js";
import { button } from "./controls.js";

/** @import { Chat } from "./element.js" */
/** @import { Entry } from "./types.js" */

/**
 * Ask below an answer, before it is replaced with all that follows.
 * @param {Chat} chat
 * @param {Entry[]} old the answer, and what follows
 * @param {() => void} go
 */
export const askFirst = ({ store, view }, old, go) => {
  const { text } = store;
  const back = /** @type {HTMLElement | null} */ (view.focused);
  const leave = () => {
    node.remove();
    back?.focus({ preventScroll: true });
  };
  const onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation(); // not the panel around the chat
    leave();
  };
  const no = button(text.cancel, leave);
  const yes = button(text.retry, go, "button primary");
  const given = { className: "ask", role: "group", "aria-label": text.retryAsk, onkeydown };
  const node = h("div", given, h("p", {}, text.retryAsk), yes, no);
  view.nodes.thread.querySelector(".ask")?.remove();
  const next = old.findIndex(({ item }) => item.type === "user_message");
  const { bar, row } = old[next - 1] ?? {};
  (bar ?? row)?.after(node);
  no.focus();
  node.scrollIntoView({ block: "nearest" });
};
