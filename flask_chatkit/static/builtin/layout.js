// Sizes, space and colours that widgets ask for, as CSS.

/** @import { Component, DrawContext } from "./types.js" */

const space = (/** @type {any} */ value) => (typeof value === "number" ? `${value * 4}px` : value);

/**
 * A length: a number is pixels.
 * @param {any} value
 */
export const length = (value) => (typeof value === "number" ? `${value}px` : value);

/** @type {Record<string, string>} */
const TOKENS = { emphasis: "ink", primary: "ink", prose: "ink", secondary: "muted" };

/**
 * A colour of text: one of ChatKit's names, any of CSS, or one each for light and dark.
 * @param {any} value
 * @param {DrawContext} context
 */
export const textColour = (value, { dark }) => {
  const found = typeof value === "object" ? value?.[dark ? "dark" : "light"] : value;
  if (/^(success|warning|danger|info)$/.test(found)) return `var(--${found})`;
  if (found === "tertiary") return "var(--muted)";
  return TOKENS[found] ? `var(--${TOKENS[found]})` : found;
};

/**
 * @param {any} value
 * @param {DrawContext} context
 */
const background = (value, context) => {
  if (value === "surface") return "var(--paper)";
  return /^surface/.test(value) ? "var(--bubble)" : textColour(value, context);
};

/**
 * Space on the four sides: a number is steps of four pixels.
 * @param {any} value
 */
export const sides = (value) => {
  if (typeof value !== "object" || !value) return space(value);
  const { top, right, bottom, left, x, y } = value;
  return [top ?? y, right ?? x, bottom ?? y, left ?? x].map((side) => space(side ?? 0)).join(" ");
};

/** @type {Record<string, string>} */
const JUSTIFY = { between: "space-between", around: "space-around", evenly: "space-evenly" };
/** @type {Record<string, string>} the others are the theme's */
const RADII = { none: "0", full: "999px" };

/**
 * Lay out a node as its widget asks for; a value that CSS does not know is left out.
 * @template {HTMLElement | SVGElement} T
 * @param {T} node
 * @param {Component | Record<string, any>} widget
 * @param {DrawContext} context
 */
export const layOut = (node, widget, context) => {
  const set = {
    "align-items": widget.align,
    "aspect-ratio": widget.aspectRatio,
    "background-color": widget.background && background(widget.background, context),
    "block-size": length(widget.height ?? widget.size),
    "border-radius": widget.radius && RADII[widget.radius],
    "flex-wrap": widget.wrap,
    "inline-size": length(widget.width ?? widget.size),
    "justify-content": JUSTIFY[widget.justify] ?? widget.justify,
    "max-block-size": length(widget.maxHeight ?? widget.maxSize),
    "max-inline-size": length(widget.maxWidth ?? widget.maxSize),
    "min-block-size": length(widget.minHeight ?? widget.minSize),
    flex: widget.flex,
    gap: space(widget.gap),
    margin: sides(widget.margin),
    padding: sides(widget.padding),
  };
  for (const [name, value] of Object.entries(set)) {
    if (value !== undefined && value !== null) node.style.setProperty(name, value);
  }
  return node;
};
