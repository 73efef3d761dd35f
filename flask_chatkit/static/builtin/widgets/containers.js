// Cards, lists, forms, tables, and the buttons in them.

import { h } from "../../shared/dom.js";
import { asList, button, icon, iconButton } from "../controls.js";
import { componentsOf } from "../protocol.js";
import { paint, withTheme } from "./colours.js";
import { children, drawComponent, WIDGETS } from "./draw.js";
import { controlClass, watchForm } from "./fields.js";
import { flexClass, layOut } from "./layout.js";
import { drawStatus } from "./text.js";
import { pick, sides } from "./values.js";

/** @import { Action, Component, DrawContext } from "../types.js" */
/** @import { Draw } from "./draw.js" */

/**
 * @param {HTMLFormElement} form
 * @param {Action | undefined} action
 * @param {DrawContext} context
 */
const onSubmit = (form, action, context) => {
  watchForm(form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (action) context.act(action, event.submitter ?? form, {}, form);
  });
};

const TONES = "primary secondary info discovery success caution warning danger";
const VARIANTS = "solid soft outline ghost";

/** @param {Component} widget */
const buttonClass = (widget) => {
  const { style, color, variant, uniform, label, iconSize } = widget;
  const tone = pick(color, TONES) || pick(style, "primary secondary") || "secondary";
  const usual = tone === "secondary" ? "outline" : "solid";
  const found = [
    "button",
    `tone-${tone}`,
    pick(variant, VARIANTS) || usual,
    controlClass({ ...widget, variant: "" }, ""),
    (uniform || !label) && "uniform",
    pick(iconSize, "sm md lg xl 2xl") && `g-${iconSize}`,
  ];
  return found.filter(Boolean).join(" ");
};

/** @type {Draw} */
const drawButton = (widget, context) => {
  const { label, iconStart, iconEnd, submit, disabled, onClickAction: action } = widget;
  const given = { type: submit ? "submit" : "button", className: buttonClass(widget), disabled };
  const end = iconEnd && icon(iconEnd, "dot");
  const node = h("button", given, iconStart && icon(iconStart, "dot"), label ?? "", end);
  if (!label) {
    const name = String(iconStart ?? iconEnd ?? "").replace(/^\w+:/, "");
    node.ariaLabel = name.replaceAll("-", " ") || context.text.open;
  }
  if (!action) return node;
  node.addEventListener("click", (event) => {
    if (submit && node.form && !node.form.reportValidity()) return;
    event.preventDefault();
    context.act(action, node);
  });
  return node;
};

/**
 * The buttons at a card's end.
 * @param {Component} widget
 * @param {HTMLElement} card
 * @param {DrawContext} context
 */
const drawFoot = ({ asForm, cancel, confirm }, card, context) => {
  const form = asForm ? card : undefined;
  const buttons = [cancel, confirm].filter(Boolean).map((each) => {
    const submits = asForm && each === confirm;
    const act = () => context.act(each.action, node, {}, form);
    const node = button(each.label ?? "", submits ? undefined : act);
    if (each === confirm) node.classList.add("primary");
    if (submits) node.type = "submit";
    return node;
  });
  return buttons.length > 0 && h("div", { className: "foot" }, buttons);
};

/**
 * What stands for a card that is collapsed: its status, else its first words.
 * @param {Component} widget
 * @param {DrawContext} context
 */
const summaryOf = (widget, { text }) => {
  const status = drawStatus(widget);
  if (status) return h("span", { className: status.className }, ...status.childNodes);
  const words = componentsOf(widget).find(({ value }) => typeof value === "string" && value);
  return words?.value ?? text.more;
};

/** @type {Draw} */
const drawCard = (widget, context) => {
  const { asForm, collapsed, confirm, padding, background } = widget;
  const node = h(asForm ? "form" : "div", {
    className: `card size-${pick(widget.size, "sm md lg full") || "md"}`,
  });
  const inner = paint(node, background, withTheme(node, widget.theme, context));
  const body = h("div", { className: "flex col" }, children(widget, inner));
  const foot = drawFoot(widget, node, inner);
  if (node instanceof HTMLFormElement) onSubmit(node, confirm?.action, context);
  const space = sides(padding);
  if (space) {
    const [top, side = top] = space.split(" ");
    node.classList.add("padded");
    body.style.padding = space;
    node.style.setProperty("--pad-y", top);
    node.style.setProperty("--pad-x", side);
  }
  const all = [body, foot].filter(Boolean);
  if (!collapsed) node.append(...[drawStatus(widget), ...all].filter((each) => each !== false));
  else {
    const summary = h("summary", {}, icon("chevron"), summaryOf(widget, context));
    node.append(h("details", {}, summary, ...all));
  }
  return node;
};

/** @type {Draw} */
const drawForm = (widget, context) => {
  const form = h("form", { className: flexClass(widget.direction, "col") });
  form.append(...children(widget, layOut(form, widget, context)));
  onSubmit(form, widget.onSubmitAction, context);
  return form;
};

const LIST_LIMIT = 8; // rows, until more are asked for

/** @type {Draw} */
const drawList = (widget, context) => {
  const rows = asList(widget.children);
  const limit = Number.isInteger(widget.limit) && widget.limit > 0 ? widget.limit : LIST_LIMIT;
  const node = h("ul", { className: "card list", role: "list" });
  const inner = withTheme(node, widget.theme, context);
  const draw = (/** @type {any} */ row) => drawComponent(row, inner);
  node.append(...rows.slice(0, limit).map(draw));
  const more = button(context.text.more, () => {
    const rest = rows.slice(limit).map(draw);
    more.parentElement?.replaceWith(...rest);
    const next = rest[0].querySelector("button, a, input") ?? rest[0];
    if (next === rest[0]) next.tabIndex = -1;
    next.focus();
  });
  if (rows.length > limit) node.append(h("li", {}, more));
  return h("div", { className: "listing" }, drawStatus(widget), node);
};

const CONTROLS = "button, input, select, textarea, a, summary, [tabindex]";

/** @type {Draw} */
const drawListItem = (widget, context) => {
  const { onClickAction: action, gap, align } = widget;
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
  layOut(row, { gap, align }, context);
  return h("li", {}, row);
};

// --- tables --------------------------------------------------------------------------------------

/**
 * @param {DrawContext} context
 * @param {any} table
 */
export const scrollable = ({ text }, table) => {
  const given = { className: "table", tabIndex: 0, role: "group", "aria-label": text.table };
  return h("div", given, table);
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
const drawCell = ({ colSpan, rowSpan, ...widget }, context) =>
  h("td", { colSpan, rowSpan }, children(/** @type {any} */ (widget), context));

/** @type {Record<string, Draw>} */
const CONTAINERS = {
  Button: drawButton,
  Card: drawCard,
  Form: drawForm,
  ListView: drawList,
  ListViewItem: drawListItem,
  Table: (widget, context) => scrollable(context, h("table", {}, children(widget, context))),
  "Table.Cell": drawCell,
  "Table.Row": drawRow,
};
Object.assign(WIDGETS, CONTAINERS);
