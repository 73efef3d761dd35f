// Texts, labels, badges, icons and images.

import { h } from "../../shared/dom.js";
import { icon, picture, safeUrl } from "../controls.js";
import { paint, textColour } from "./colours.js";
import { WIDGETS } from "./draw.js";
import { place } from "./layout.js";
import { length, pick, plain } from "./values.js";

/** @import { Component, DrawContext } from "../types.js" */
/** @import { Draw } from "./draw.js" */

const TEXT_SIZES = "xs sm md lg xl 2xl 3xl 4xl 5xl";
const WEIGHTS = "normal medium semibold bold";

/** @param {unknown} value */
const lines = (value) => (Number.isInteger(value) && Number(value) > 0 ? String(value) : "");

/**
 * The classes of a text, by what it asks for.
 * @param {Component} widget
 * @param {string} kind
 */
export const textClass = (widget, kind) => {
  const { size, weight, italic, lineThrough, maxLines, truncate } = widget;
  const found = [
    kind,
    pick(size, TEXT_SIZES) && `s-${size}`,
    pick(weight, WEIGHTS) && `w-${weight}`,
    italic && "italic",
    lineThrough && "struck",
    lines(maxLines) ? "clamp" : truncate && "cut",
  ];
  return found.filter(Boolean).join(" ");
};

/**
 * Align, colour and measure a text.
 * @param {HTMLElement} node
 * @param {Component} widget
 * @param {DrawContext} context
 */
export const dressText = (node, widget, { ground }) => {
  const { textAlign, color, maxLines, minLines, width } = widget;
  node.style.textAlign = pick(textAlign, "start center end");
  const shade = color && textColour(color, ground);
  if (shade) node.style.color = shade;
  if (lines(maxLines)) node.style.setProperty("--lines", lines(maxLines));
  if (lines(minLines)) node.style.minBlockSize = `${lines(minLines)}lh`;
  node.style.inlineSize = length(width) ?? "";
};

/**
 * @param {"p" | "h4"} tag
 * @param {string} kind
 * @returns {Draw}
 */
export const words = (tag, kind) => (widget, context) => {
  const { value, streaming } = widget;
  const node = h(tag, { className: textClass(widget, kind), dir: "auto" }, plain(value));
  if (streaming && context.streaming) node.ariaBusy = "true";
  dressText(node, widget, context);
  return node;
};

/** @type {Draw} */
const drawLabel = (widget, context) => {
  const { fieldName, value } = widget;
  const given = { htmlFor: `${context.id}-${fieldName}`, dir: "auto" };
  const node = h("label", { className: textClass(widget, "label"), ...given }, value);
  dressText(node, widget, context);
  return node;
};

/** @type {Draw} */
const drawMarkdown = ({ value, streaming }, context) => {
  const node = h("div", { className: "md", dir: "auto" });
  if (streaming && context.streaming) node.ariaBusy = "true";
  context.markdown(node, plain(value));
  return node;
};

/** @type {Draw} */
const drawBadge = ({ color, label, size, variant, pill }) => {
  const shade = pick(color, "secondary success danger warning info discovery") || "secondary";
  const kind = pick(variant, "solid soft outline") || "soft";
  const className = `badge tone-${shade} ${kind} b-${pick(size, "sm md lg") || "md"} ${pill === false ? "squared" : ""}`;
  return h("span", { className, dir: "auto" }, label ?? "");
};

/** @type {Draw} */
const drawIcon = ({ name, color, size }, { ground }) => {
  const className = `glyph g-${pick(size, "xs sm md lg xl 2xl 3xl") || "md"}`;
  const node = h("span", { className }, icon(name, "empty-circle"));
  const shade = color && textColour(color, ground, 3);
  if (shade) node.style.color = shade;
  return node;
};

const POSITIONS = /^(top|bottom)?( ?(left|right|center))?$/;

/** @type {Draw} */
const drawImage = (widget, context) => {
  const { src, fit, position, frame, flush } = widget;
  const alt = plain(widget.alt);
  const url = safeUrl(src, /^(https?|data|blob):$/);
  const words = h("span", { className: "caption", dir: "auto" }, alt);
  const node = url ? picture(url.href, alt, words) : words;
  node.classList.toggle("frame", Boolean(frame));
  node.classList.toggle("flush", Boolean(flush));
  place(node, widget);
  node.style.objectFit = pick(fit, "cover contain fill scale-down none");
  if (POSITIONS.test(plain(position))) node.style.objectPosition = plain(position);
  paint(node, widget.background, context);
  return node;
};

/**
 * The line at the top of a card or list.
 * @param {Component} widget
 * @returns {HTMLElement | false}
 */
export const drawStatus = ({ status }) => {
  if (!status?.text) return false;
  const { text, favicon, frame, icon: name } = status;
  const url = favicon && safeUrl(favicon, /^(https?|data):$/);
  const image = url && picture(url.href, "");
  if (image) image.className = frame ? "favicon frame" : "favicon";
  return h(
    "p",
    { className: "caption status" },
    image || icon(name),
    h("span", { dir: "auto" }, text),
  );
};

/** @type {Record<string, Draw>} */
const TEXTS = {
  Badge: drawBadge,
  Caption: words("p", "caption"),
  Icon: drawIcon,
  Image: drawImage,
  Label: drawLabel,
  Markdown: drawMarkdown,
  Title: words("h4", "title"),
};
Object.assign(WIDGETS, TEXTS);
