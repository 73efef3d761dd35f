// The fields of a widget's forms, and the questions that an assistant asks as a form.

import { h } from "../shared/dom.js";
import { asList, button, choice } from "./controls.js";

/** @import { Component, DrawContext, Item } from "./types.js" */
/** @typedef {(widget: Component, context: DrawContext) => HTMLElement} DrawField */

/**
 * The values of a form as an object, where the field "todo.title" is a title in a todo.
 * @param {{elements: Iterable<any>} | null | undefined} form
 */
export const valuesOf = (form) => {
  // A field may be named __proto__, which is a name like others in objects without a prototype.
  const values = Object.create(null);
  for (const field of form?.elements ?? []) {
    // As a browser's own form does it, nothing of what is disabled is sent.
    if (!field.name || field.matches(":disabled")) continue;
    if (field.type === "radio" && !field.checked) continue;
    const path = field.name.split(".");
    const name = path.pop();
    let at = values;
    for (const step of path) {
      if (typeof at[step] !== "object") at[step] = Object.create(null);
      at = at[step];
    }
    at[name] = field.type === "checkbox" ? field.checked : field.value;
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

/**
 * @param {any[]} inputs
 * @param {DrawContext} context
 */
const drawAnswers = (inputs, { text }) =>
  h(
    "dl",
    { className: "card" },
    inputs.map(({ question, answer }) => [
      h("dt", { dir: "auto" }, question),
      h(
        "dd",
        { dir: "auto" },
        answer && !answer.skipped ? asList(answer.values).join(", ") : text.skipped,
      ),
    ]),
  );

/**
 * @param {any} question
 * @param {string} name
 * @param {DrawContext} context
 */
const drawChoices = ({ question, multiple, options }, name, { text }) => {
  const type = multiple ? "checkbox" : "radio";
  const label = `${question} ${text.other}`;
  return h(
    "fieldset",
    {},
    h("legend", { dir: "auto" }, question),
    asList(options).map(({ value }) => choice(type, { name, value, label: value })),
    h("input", { type: "text", name, placeholder: text.other, "aria-label": label }),
  );
};

/**
 * @param {any} question
 * @param {string} name
 */
const drawFreeform = ({ question, description }, name) => [
  h("label", { className: "label", htmlFor: name, dir: "auto" }, question),
  ...asList(description).map((each) => h("p", { className: "caption", dir: "auto" }, each)),
  h("textarea", { id: name, name, rows: 2, dir: "auto" }),
];

/**
 * What the visitor has answered, by the questions' ids.
 * @param {Item} item
 * @param {Iterable<any>} fields
 */
export const answersOf = ({ id, inputs }, fields) =>
  Object.fromEntries(
    inputs.map((/** @type {any} */ question) => {
      const own = [...fields].filter((each) => each.name === `${id}-${question.id}`);
      const given = own.filter((each) => !/radio|checkbox/.test(each.type) || each.checked);
      const values = given.map((each) => each.value.trim()).filter(Boolean);
      // What was typed says more than what was ticked, where only one answer counts.
      const kept = question.multiple ? values : values.slice(-1);
      return [question.id, { values: kept, skipped: kept.length === 0 }];
    }),
  );

/**
 * @param {Item} item
 * @param {DrawContext} context
 */
export const drawQuestions = (item, context) => {
  const { inputs, status, id } = item;
  if (status !== "pending") return drawAnswers(inputs, context);
  const form = h("form", { className: "card flex col" });
  for (const question of inputs) {
    const name = `${id}-${question.id}`;
    const isChoice = question.type === "multiple_choice";
    if (isChoice) form.append(drawChoices(question, name, context));
    else form.append(...drawFreeform(question, name));
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    context.answer(item, { status: "answered", answers: answersOf(item, form.elements) });
  });
  const skip = () => context.answer(item, { status: "skipped", answers: {} });
  form.append(
    h(
      "div",
      { className: "foot" },
      button(context.text.skip, skip),
      h("button", { type: "submit", className: "button primary" }, context.text.submit),
    ),
  );
  return form;
};
