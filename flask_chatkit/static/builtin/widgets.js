// A server's widgets, which few chats have: what draws them comes with the first of them.

import { h } from "../shared/dom.js";
import { spinner } from "./controls.js";
import { componentsOf } from "./protocol.js";

/** @import { DrawContext } from "./types.js" */

/** @type {typeof import("./widgets/index.js") | undefined} */
let room;
/** @type {Promise<void> | undefined} */
let coming;

/** Load what draws widgets; where that fails the next call tries again. */
export const loadWidgets = () => {
  coming ??= import("./widgets/index.js").then(
    (found) => {
      room = found;
    },
    () => {
      coming = undefined;
    },
  );
  return coming;
};

/** What is waited for, if widgets are shown that are not drawn yet. */
export const whenDrawn = () => (room ? undefined : coming);

/**
 * The words of a widget, where what draws it can't be had.
 * @param {any} widget
 */
const wordsOf = (widget) =>
  componentsOf(widget)
    .map(({ value, label, title, text }) => value ?? label ?? title ?? text)
    .filter((each) => typeof each === "string")
    .map((each) => h("p", { dir: "auto" }, each));

/**
 * Draw a component with all that is in it.
 * @param {any} widget
 * @param {DrawContext} context
 * @returns {any} a node, or a string
 */
export const drawWidget = (widget, context) => {
  if (room) return room.drawRoot(widget, context);
  const node = h("p", { className: "progress" }, spinner());
  loadWidgets().then(() => (room ? context.redraw() : node.replaceWith(...wordsOf(widget))));
  return node;
};
