// Drawing components by their types, which the modules beside this one add.

import { asList } from "../controls.js";

/** @import { Component, DrawContext } from "../types.js" */
/** @typedef {(widget: Component, context: DrawContext) => any} Draw */

/** @type {Record<string, Draw>} by their types */
export const WIDGETS = {};

/**
 * Draw a component with all that is in it.
 * @param {any} widget a component, or a string
 * @param {DrawContext} context
 * @returns {any} a node, or a string
 */
export const drawComponent = (widget, context) => {
  if (typeof widget === "string") return widget;
  if (!widget || typeof widget !== "object") return "";
  const type = Object.hasOwn(WIDGETS, widget.type) ? widget.type : "";
  let node;
  try {
    node = WIDGETS[type](widget, context);
  } catch {
    // What one component is made of must not keep the others from being drawn.
    node = WIDGETS[""](widget, context);
  }
  if (widget.id && node) context.parts.set(widget.id, { node, component: widget, context });
  return node;
};

/** @type {Draw} */
export const children = (widget, context) =>
  asList(widget.children).map((child) => drawComponent(child, context));
