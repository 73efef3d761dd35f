// The fields of a widget's forms, and the values in them.

import { h } from "../shared/dom.js";
import { choice } from "./controls.js";
import { asList } from "./helpers.js";

/** @import { Component, DrawContext } from "./types.js" */
/** @typedef {(widget: Component, context: DrawContext) => HTMLElement} DrawField */

/**
 * Set `path` in `values`, where "todo.title" is a title in a todo.
 * @param {Record<string, any>} values
 * @param {string[]} path
 * @param {unknown} value
 */
const setPath = (values, path, value) => {
  let at = values;
  for (const step of path.slice(0, -1)) {
    if (!Object.hasOwn(at, step) || typeof at[step] !== "object") at[step] = Object.create(null);
    at = at[step];
  }
  // Not by assignment: a field may be named __proto__.
  const name = path[path.length - 1];
  const more = { enumerable: true, configurable: true, writable: true };
  Object.defineProperty(at, name, { value, ...more });
};

/**
 * The values of a form as an object.
 * @param {{elements: Iterable<any>} | null | undefined} form
 */
export const valuesOf = (form) => {
  /** @type {Record<string, any>} */
  const values = {};
  for (const field of form?.elements ?? []) {
    // As a browser's own form does it, nothing of what is disabled is sent.
    if (!field.name || field.matches(":disabled")) continue;
    if (field.type === "radio" && !field.checked) continue;
    const value = field.type === "checkbox" ? field.checked : field.value;
    setPath(values, field.name.split("."), value);
  }
  return values;
};

/**
 * @param {HTMLElement} node
 * @param {Component} widget
 * @param {DrawContext} context
 */
const onChange = (node, widget, context) => {
  const { name, onChangeAction: action } = widget;
  if (!action) return;
  node.addEventListener("change", (event) => {
    const target = /** @type {HTMLInputElement} */ (event.target);
    const value = target.type === "checkbox" ? target.checked : target.value;
    context.act(action, target, { [name]: value });
  });
};

/**
 * A field with its label: that of a Label, else the best name it has.
 * @template {"input" | "select" | "textarea"} K
 * @param {K} tag
 * @param {Record<string, any>} given
 * @param {Component} widget
 * @param {DrawContext} context
 */
const field = (tag, given, widget, context) => {
  const { name, required, disabled, placeholder, pattern } = widget;
  const id = `${context.id}-${name}`;
  const node = h(tag, { id, name, required, disabled, placeholder, pattern, ...given });
  const label = placeholder || String(name ?? "").replace(/[._-]/g, " ");
  if (!context.labels.has(name)) node.setAttribute("aria-label", label);
  onChange(node, widget, context);
  return node;
};

/** @type {DrawField} */
const drawCheckbox = (widget, context) => {
  const { name, disabled, required, defaultChecked } = widget;
  const label = widget.label ?? (context.labels.has(name) ? "" : name);
  const id = `${context.id}-${name}`;
  const node = choice("checkbox", { name, disabled, required, defaultChecked, label, id });
  onChange(node, widget, context);
  return node;
};

const day = (/** @type {unknown} */ value) => String(value ?? "").slice(0, 10);

/** @type {DrawField} */
const drawDate = (widget, context) => {
  const { defaultValue, min, max } = widget;
  const given = { type: "date", defaultValue: day(defaultValue), min: day(min), max: day(max) };
  return field("input", given, widget, context);
};

/** @type {DrawField} */
const drawInput = (widget, context) => {
  const given = { type: widget.inputType ?? "text", defaultValue: widget.defaultValue ?? "" };
  return field("input", given, widget, context);
};

/** @type {DrawField} */
const drawRadios = (widget, context) => {
  const { name, required, defaultValue } = widget;
  const node = h(
    "div",
    {
      className: `flex ${widget.direction ?? "col"}`,
      role: "radiogroup",
      id: `${context.id}-${name}`,
    },
    asList(widget.options).map(({ label, value, disabled: off }) => {
      const disabled = off || widget.disabled;
      const defaultChecked = value === defaultValue;
      return choice("radio", { name, value, label, required, disabled, defaultChecked });
    }),
  );
  node.setAttribute("aria-label", widget.ariaLabel ?? context.labels.get(name) ?? name);
  onChange(node, widget, context);
  return node;
};

/** @type {DrawField} */
const drawSelect = (widget, context) => {
  const { placeholder, clearable, defaultValue } = widget;
  const node = field("select", { placeholder: undefined, pattern: undefined }, widget, context);
  const empty = placeholder || clearable || !defaultValue;
  if (empty) node.append(h("option", { value: "" }, placeholder ?? ""));
  for (const { value, label, disabled } of asList(widget.options)) {
    const defaultSelected = value === defaultValue;
    node.append(h("option", { value, disabled, defaultSelected }, label));
  }
  return node;
};

/** @type {DrawField} */
const drawTextarea = (widget, context) => {
  const given = { defaultValue: widget.defaultValue ?? "", rows: widget.rows ?? 3 };
  return field("textarea", { ...given, pattern: undefined }, widget, context);
};

/** @type {DrawField} text that can be written over */
export const drawEditable = (widget, context) => {
  const given = { type: "text", defaultValue: widget.value ?? "" };
  return field("input", given, { ...widget, ...widget.editable }, context);
};

/** @type {Record<string, DrawField>} by their types */
export const FIELDS = {
  Checkbox: drawCheckbox,
  DatePicker: drawDate,
  Input: drawInput,
  RadioGroup: drawRadios,
  Select: drawSelect,
  Textarea: drawTextarea,
};
