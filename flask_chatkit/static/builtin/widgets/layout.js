// What lays out other components, and the space between them.

import { h } from "../../shared/dom.js";
import { lineColour, paint } from "./colours.js";
import { children, WIDGETS } from "./draw.js";
import { flexOf, length, pick, radius, ratio, sides, space } from "./values.js";

/** @import { DrawContext } from "../types.js" */
/** @import { Draw } from "./draw.js" */

/** @type {Record<string, string>} */
const JUSTIFY = { between: "space-between", around: "space-around", evenly: "space-evenly" };
const SIDES = ["top", "right", "bottom", "left"];
const LINE_STYLES = "solid dashed dotted double groove ridge inset outset";

/**
 * @param {any} value pixels, or a border
 * @param {DrawContext} context
 */
const border = (value, { ground }) => {
  const { size, color, style } = typeof value === "object" ? value : { size: value };
  const width = length(size);
  return width && `${width} ${pick(style, LINE_STYLES) || "solid"} ${lineColour(color, ground)}`;
};

/**
 * The borders of a node, by their properties.
 * @param {any} value
 * @param {DrawContext} context
 * @returns {Record<string, string | undefined>}
 */
const borders = (value, context) => {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" || "size" in value) return { border: border(value, context) };
  return Object.fromEntries(
    SIDES.map((side, index) => {
      const given = value[side] ?? value[index % 2 ? "x" : "y"];
      return [`border-${side}`, given === undefined ? undefined : border(given, context)];
    }),
  );
};

/** A length that is at most all there is, so that nothing sticks out of a small screen. */
const within = (/** @type {any} */ value) => {
  const found = length(value);
  return found && /^\d/.test(found) ? `min(${found}, 100%)` : found;
};

/** @param {any} widget */
const boxOf = (widget) => ({
  "aspect-ratio": ratio(widget.aspectRatio),
  "block-size": length(widget.height ?? widget.size),
  "border-radius": radius(widget.radius),
  "inline-size": length(widget.width ?? widget.size),
  "max-block-size": length(widget.maxHeight ?? widget.maxSize),
  overflow: length(widget.maxHeight ?? widget.maxSize) && "clip",
  "max-inline-size": within(widget.maxWidth ?? widget.maxSize),
  "min-block-size": length(widget.minHeight ?? widget.minSize),
  "min-inline-size": within(widget.minWidth ?? widget.minSize),
  flex: flexOf(widget.flex),
  margin: sides(widget.margin),
});

/**
 * @param {HTMLElement} node
 * @param {Record<string, string | undefined>} given
 */
const setStyles = (node, given) => {
  for (const [name, value] of Object.entries(given)) if (value) node.style.setProperty(name, value);
};

/**
 * Size and place a node as its widget asks for; what is no known value is left out.
 * @param {HTMLElement} node
 * @param {any} widget
 */
export const place = (node, widget) => setStyles(node, boxOf(widget));

/**
 * Lay out a node with children.
 * @param {HTMLElement} node
 * @param {any} widget
 * @param {DrawContext} context
 * @returns {DrawContext} that of the children, which may stand on another ground
 */
export const layOut = (node, widget, context) => {
  const { align, justify } = widget;
  place(node, widget);
  setStyles(node, {
    "align-items": pick(align, "start center end baseline stretch"),
    "justify-content":
      JUSTIFY[pick(justify, "between around evenly")] ?? pick(justify, "start center end stretch"),
    "flex-wrap": pick(widget.wrap, "nowrap wrap wrap-reverse"),
    gap: space(widget.gap),
    padding: sides(widget.padding),
    ...borders(widget.border, context),
  });
  return paint(node, widget.background, context);
};

/**
 * The class of a container.
 * @param {any} direction
 * @param {string} usual
 */
export const flexClass = (direction, usual) =>
  `flex ${direction === "column" ? "col" : pick(direction, "row col") || usual}`;

/**
 * @param {string} usual
 * @returns {Draw}
 */
const box = (usual) => (widget, context) => {
  const node = h("div", { className: flexClass(widget.direction, usual) });
  const inner = layOut(node, widget, context);
  node.append(...children(widget, inner));
  return node;
};

/** @type {Draw} */
const drawDivider = ({ color, size, spacing, flush }, { ground }) => {
  const node = h("hr", { className: flush ? "flush" : "" });
  setStyles(node, {
    "--thick": length(size),
    "--apart": space(spacing),
    "--shade": color && lineColour(color, ground),
  });
  return node;
};

/** @type {Draw} */
const drawSpacer = ({ minSize }) => {
  const node = h("span", { className: "spacer" });
  setStyles(node, { "--least": length(minSize) });
  return node;
};

/** @type {Draw} words, and what is in it */
const drawUnknown = (widget, context) => {
  const { value, label, title, text } = widget;
  const found = [value, label, title, text].find((each) => typeof each === "string");
  const shown = found && h("p", { dir: "auto" }, found);
  return h("div", { className: "flex col" }, shown, children(widget, context));
};

Object.assign(WIDGETS, {
  "": drawUnknown,
  Basic: box("col"),
  Box: box("col"),
  Col: box("col"),
  Divider: drawDivider,
  Row: box("row"),
  Spacer: drawSpacer,
  Transition: /** @type {Draw} */ (
    (widget, context) => h("div", { className: "transition" }, children(widget, context))
  ),
});
