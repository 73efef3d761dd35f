// A server's widget, drawn with the browser's own elements. What is unknown shows its words and its
// children.

import { h } from "../shared/dom.js";
import { asList, button, icon, iconButton, picture, safeUrl } from "./controls.js";
import { drawEditable, FIELDS } from "./forms.js";

/** @import { Action, Component, DrawContext } from "./types.js" */

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
const layOut = (node, widget, context) => {
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

/** @typedef {(widget: Component, context: DrawContext) => any} Draw */

/**
 * Draw a component with all that is in it.
 * @param {any} widget a component, or a string
 * @param {DrawContext} context
 * @returns {any} a node, or a string
 */
export const drawWidget = (widget, context) => {
  if (typeof widget === "string") return widget;
  if (!widget || typeof widget !== "object") return "";
  const draw = Object.hasOwn(WIDGETS, widget.type) ? WIDGETS[widget.type] : drawUnknown;
  const node = draw(widget, context);
  if (widget.id && node) context.parts.set(widget.id, { node, component: widget });
  return node;
};

/** @type {Draw} */
const children = (widget, context) =>
  asList(widget.children).map((child) => drawWidget(child, context));

/**
 * @param {string} direction
 * @returns {Draw}
 */
const flex = (direction) => (widget, context) => {
  const className = `flex ${widget.direction ?? direction}`;
  return layOut(h("div", { className }, children(widget, context)), widget, context);
};

/**
 * @param {"p" | "h4"} tag
 * @param {string} kind
 * @returns {Draw}
 */
const words = (tag, kind) => (widget, context) => {
  const { size, weight, value, textAlign, color, maxLines, truncate } = widget;
  const node = h(tag, { className: `${kind} ${size ?? ""} w-${weight ?? ""}`, dir: "auto" });
  node.append(String(value ?? ""));
  if (textAlign) node.style.textAlign = textAlign;
  if (color) node.style.color = textColour(color, context);
  if (maxLines || truncate) {
    node.classList.add("clamp");
    node.style.setProperty("--lines", maxLines ?? 1);
  }
  return node;
};

const drawStatus = (/** @type {Component} */ { status }) =>
  status?.text && h("p", { className: "caption" }, icon(status.icon), status.text);

/**
 * @param {HTMLElement} form
 * @param {Action | undefined} action
 * @param {DrawContext} context
 */
const onSubmit = (form, action, context) =>
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (action) context.act(action, event.submitter ?? form, {}, form);
  });

/** @type {Draw} */
const drawButton = (widget, context) => {
  const { label, iconStart, iconEnd, submit, onClickAction: action } = widget;
  const primary = widget.style === "primary" || widget.color === "primary";
  const node = h(
    "button",
    {
      type: submit ? "submit" : "button",
      className: `button ${primary ? "primary" : ""} ${widget.block ? "block" : ""}`,
      disabled: widget.disabled,
    },
    icon(iconStart),
    label ?? "",
    icon(iconEnd),
  );
  if (!label) node.setAttribute("aria-label", iconStart ?? iconEnd ?? context.text.open);
  if (!action) return node;
  node.addEventListener("click", (event) => {
    if (submit && node.form && !node.form.reportValidity()) return;
    event.preventDefault();
    context.act(action, node);
  });
  return node;
};

/** @type {Draw} */
const drawCard = (widget, context) => {
  const { asForm, cancel, confirm, padding } = widget;
  const foot = [cancel, confirm].filter(Boolean).map((each) => {
    const submits = asForm && each === confirm;
    const node = button(each.label, submits ? undefined : () => context.act(each.action, node));
    if (each === confirm) node.classList.add("primary");
    if (submits) node.type = "submit";
    return node;
  });
  const body = h("div", { className: "flex col" }, children(widget, context));
  const className = `card ${widget.size ?? ""}`;
  const node = h(asForm ? "form" : "div", { className }, drawStatus(widget), body);
  if (foot.length > 0) node.append(h("div", { className: "foot" }, foot));
  if (asForm) onSubmit(node, confirm?.action, context);
  if (padding !== undefined) body.style.padding = sides(padding);
  return widget.background ? layOut(node, { background: widget.background }, context) : node;
};

/**
 * @param {DrawContext} context
 * @param {any} table
 */
const scrollable = (context, table) => {
  const given = {
    className: "table",
    tabIndex: 0,
    role: "group",
    "aria-label": context.text.table,
  };
  return h("div", given, table);
};

/** @type {Draw} a chart as a table of its numbers */
const drawChart = ({ xAxis, series, data }, context) => {
  const key = xAxis?.dataKey ?? xAxis;
  const columns = asList(series);
  const row = (/** @type {any} */ each) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, xAxis?.labels?.[each[key]] ?? String(each[key])),
      columns.map(({ dataKey }) => h("td", {}, String(each[dataKey] ?? ""))),
    );
  const head = columns.map((one) => h("th", { scope: "col" }, one.label ?? one.dataKey));
  return scrollable(
    context,
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, h("td"), head)),
      h("tbody", {}, asList(data).map(row)),
    ),
  );
};

/** @type {Draw} */
const drawForm = (widget, context) => {
  const className = `flex ${widget.direction ?? "col"}`;
  const form = h("form", { className }, children(widget, context));
  layOut(form, widget, context);
  onSubmit(form, widget.onSubmitAction, context);
  return form;
};

/** @type {Draw} */
const drawIcon = ({ name, color }, context) => {
  const node = h("span", { className: "glyph" }, icon(name));
  if (color) node.style.color = textColour(color, context);
  return node;
};

/** @type {Draw} */
const drawImage = (widget, context) => {
  const { src, alt = "" } = widget;
  const url = safeUrl(src, /^(https?|data|blob):$/);
  const node = url ? picture(url.href, alt ?? "", alt ?? "") : h("span", {}, alt ?? "");
  return layOut(node, { ...widget, align: undefined }, context);
};

/** @type {Draw} */
const drawLabel = ({ fieldName, value }, context) =>
  h("label", { className: "label", htmlFor: `${context.id}-${fieldName}` }, value);

const LIST_LIMIT = 8; // rows, until more are asked for

/** @type {Draw} */
const drawList = (widget, context) => {
  const rows = asList(widget.children);
  const limit = Number.isInteger(widget.limit) ? widget.limit : LIST_LIMIT;
  const draw = (/** @type {any} */ row) => drawWidget(row, context);
  const given = { className: "card list", role: "list" };
  const node = h("ul", given, rows.slice(0, limit).map(draw));
  const more = button(context.text.more, () => {
    const rest = rows.slice(limit).map(draw);
    more.parentElement?.replaceWith(...rest);
    rest[0].querySelector("button")?.focus();
  });
  if (rows.length > limit) node.append(h("li", {}, more));
  return h("div", {}, drawStatus(widget), node);
};

const CONTROLS = "button, input, select, textarea, a";

/** @type {Draw} */
const drawListItem = (widget, context) => {
  const { onClickAction: action } = widget;
  const content = children(widget, context);
  const isControl = (/** @type {any} */ node) =>
    node.matches?.(CONTROLS) || node.querySelector?.(CONTROLS);
  const className = "flex row";
  /** @type {HTMLElement} */
  let row;
  if (!action) row = h("div", { className }, content);
  else if (content.some(isControl)) {
    // A button may not hold another one: the row gets one of its own.
    const go = iconButton(context.text.open, "chevron", () => context.act(action, go));
    row = h("div", { className }, content, go);
  } else {
    row = h("button", { type: "button", className: "flex row item" }, content);
    row.addEventListener("click", () => context.act(action, row));
  }
  return h("li", {}, layOut(row, widget, context));
};

/** @type {Draw} */
const drawMarkdown = ({ value }, context) => {
  const node = h("div", { className: "md", dir: "auto" });
  context.markdown(node, String(value ?? ""));
  return node;
};

/** @type {Draw} */
const drawSpacer = ({ minSize }) => {
  const node = h("span", { className: "spacer" });
  if (minSize) node.style.minInlineSize = length(minSize);
  return node;
};

/** @type {Draw} */
const drawRow = (widget, context) => {
  const row = h("tr", {}, children(widget, context));
  if (!widget.header) return row;
  for (const cell of /** @type {HTMLTableCellElement[]} */ ([...row.children])) {
    cell.replaceWith(h("th", { scope: "col", colSpan: cell.colSpan }, ...cell.childNodes));
  }
  return row;
};

/** @type {Draw} */
const drawCell = (widget, context) =>
  h("td", { colSpan: widget.colSpan, rowSpan: widget.rowSpan }, children(widget, context));

/** @type {Draw} */
const drawUnknown = (widget, context) => {
  const { value, label, title, text } = widget;
  const found = [value, label, title, text].find((each) => typeof each === "string");
  return h(
    "div",
    { className: "flex col" },
    found && h("p", { dir: "auto" }, found),
    children(widget, context),
  );
};

/** @type {Record<string, Draw>} by their types */
const WIDGETS = {
  ...FIELDS,
  Badge: ({ color, label }) =>
    h("span", { className: `badge ${color ?? "secondary"}` }, label ?? ""),
  Basic: flex("col"),
  Box: flex("col"),
  Button: drawButton,
  Caption: words("p", "caption"),
  Card: drawCard,
  Chart: drawChart,
  Col: flex("col"),
  Divider: () => h("hr"),
  Form: drawForm,
  Icon: drawIcon,
  Image: drawImage,
  Label: drawLabel,
  ListView: drawList,
  ListViewItem: drawListItem,
  Markdown: drawMarkdown,
  Row: flex("row"),
  Spacer: drawSpacer,
  Table: (widget, context) => scrollable(context, h("table", {}, children(widget, context))),
  "Table.Cell": drawCell,
  "Table.Row": drawRow,
  Text: (widget, context) =>
    widget.editable ? drawEditable(widget, context) : words("p", "text")(widget, context),
  Title: words("h4", "title"),
  Transition: (widget, context) => h("div", {}, children(widget, context)),
};
