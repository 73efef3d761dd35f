// The fields of a widget's forms. Browsers check them; what they find stands below the field.

import { h } from "../../shared/dom.js";
import { asList, choice, iconButton } from "../controls.js";
import { WIDGETS } from "./draw.js";
import { flexClass } from "./layout.js";
import { dressText, textClass, words } from "./text.js";
import { pick, SIZES } from "./values.js";

/** @import { Component, DrawContext } from "../types.js" */
/** @import { Draw } from "./draw.js" */
/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Field */

/**
 * The classes of a control, by what it asks for.
 * @param {Component} widget
 * @param {string} variants that it may have
 */
export const controlClass = (widget, variants) => {
  const { size, variant, gutterSize, pill, block } = widget;
  const found = [
    pick(variant, variants) && `v-${variant}`,
    pick(size, SIZES) && `c-${size}`,
    pick(gutterSize, "2xs xs sm md lg xl") && `gut-${gutterSize}`,
    pill && "pill",
    block && "block",
  ];
  return found.filter(Boolean).join(" ");
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

/** What has had the focus once: a widget that is drawn anew does not take it again. */
const focusedOnce = new Set();

/**
 * @param {any} node
 * @param {Component} widget
 * @param {DrawContext} context
 */
const focusAtStart = (node, { name, autoFocus, autoSelect }, context) => {
  if (autoSelect) node.addEventListener("focus", () => node.select?.(), { once: true });
  const key = `${context.id} ${name}`;
  // An old conversation that is shown again takes the focus from nobody.
  if (!autoFocus || !context.fresh || focusedOnce.has(key)) return;
  focusedOnce.add(key);
  requestAnimationFrame(() => node.focus({ preventScroll: true }));
};

/** What password managers and other extensions look for. */
const UNFILLED = { "data-1p-ignore": "", "data-lpignore": "true", "data-bwignore": "" };

/**
 * A field with its label: that of a Label, else the best name it has.
 * @template {"input" | "select" | "textarea"} K
 * @param {K} tag
 * @param {Record<string, any>} given
 * @param {Component} widget
 * @param {DrawContext} context
 */
const field = (tag, given, widget, context) => {
  const { name, required, disabled, placeholder, pattern, autoComplete } = widget;
  const id = `${context.id}-${name}`;
  const own = { id, name, required, disabled, placeholder, pattern, dir: "auto" };
  const filled = widget.allowAutofillExtensions === false && UNFILLED;
  const node = h(tag, { ...own, autocomplete: autoComplete, ...filled, ...given });
  const label = placeholder || String(name ?? "").replace(/[._-]/g, " ");
  if (!context.labels.has(name)) node.setAttribute("aria-label", label);
  onChange(node, widget, context);
  focusAtStart(node, widget, context);
  return node;
};

/** @type {Draw} */
const drawCheckbox = (widget, context) => {
  const { name, disabled, required, defaultChecked } = widget;
  const label = widget.label ?? (context.labels.has(name) ? "" : name);
  const id = `${context.id}-${name}`;
  const node = choice("checkbox", { name, disabled, required, defaultChecked, label, id });
  onChange(node, widget, context);
  return node;
};

/** @type {Draw} */
const drawRadios = (widget, context) => {
  const { name, required, defaultValue } = widget;
  const id = `${context.id}-${name}`;
  const label = widget.ariaLabel ?? context.labels.get(name) ?? name;
  const given = { className: flexClass(widget.direction, "col"), role: "radiogroup", id };
  const node = h(
    "div",
    { ...given, "aria-label": label, "aria-required": required ? "true" : undefined },
    asList(widget.options).map((option) => {
      const disabled = option.disabled || widget.disabled;
      const defaultChecked = option.value === defaultValue;
      const { label, value } = option;
      return choice("radio", { name, value, label, required, disabled, defaultChecked });
    }),
  );
  onChange(node, widget, context);
  return node;
};

/**
 * A field with a button that empties it.
 * @param {any} node
 * @param {Component} widget
 * @param {DrawContext} context
 */
const clearable = (node, widget, { text }) => {
  if (!widget.clearable || widget.disabled) return "";
  const clear = () => {
    node.value = "";
    node.dispatchEvent(new CustomEvent("change", { bubbles: true }));
    node.focus();
  };
  return iconButton(text.clear, "close", clear, { className: "plain clear" });
};

/** @type {Draw} */
const drawSelect = (widget, context) => {
  const { placeholder, clearable: may, defaultValue } = widget;
  const className = controlClass(widget, "solid soft outline ghost");
  const node = field("select", { className, placeholder: undefined }, widget, context);
  const empty = placeholder || may || !defaultValue;
  if (empty) node.append(h("option", { value: "" }, placeholder ?? ""));
  for (const { value, label, disabled, description } of asList(widget.options)) {
    const defaultSelected = value === defaultValue;
    const shown = description ? `${label} – ${description}` : label;
    node.append(h("option", { value, disabled, defaultSelected }, shown));
  }
  const given = { className: widget.block ? "field block" : "field" };
  return may ? h("span", given, node, clearable(node, widget, context)) : node;
};

const day = (/** @type {unknown} */ value) => String(value ?? "").slice(0, 10);

/** @type {Draw} */
const drawDate = (widget, context) => {
  const { defaultValue, min, max, placeholder, block } = widget;
  const className = controlClass(widget, "solid soft outline ghost");
  const given = { type: "date", defaultValue: day(defaultValue), min: day(min), max: day(max) };
  const node = field("input", { className, ...given, dir: undefined }, widget, context);
  // A browser shows the form of a date where nothing is chosen.
  const hint = h("span", { className: "hint", ariaHidden: "true" }, placeholder);
  const update = () => node.classList.toggle("empty", Boolean(placeholder) && !node.value);
  for (const event of ["input", "change"]) node.addEventListener(event, update);
  update();
  const outer = { className: block ? "field block" : "field" };
  return h("span", outer, node, placeholder && hint, clearable(node, widget, context));
};

/** @type {Draw} */
const drawInput = (widget, context) => {
  const type = pick(widget.inputType, "number email text password tel url") || "text";
  const className = controlClass(widget, "soft outline");
  const given = { type, className, defaultValue: widget.defaultValue ?? "" };
  return field("input", given, widget, context);
};

/**
 * Check the pattern of a text of several lines, which browsers only do for a single one.
 * @param {HTMLTextAreaElement} node
 * @param {unknown} pattern
 */
const checkPattern = (node, pattern) => {
  if (typeof pattern !== "string") return;
  const probe = h("input", { pattern });
  const check = () => {
    probe.value = node.value.replace(/\n/g, " ");
    node.setCustomValidity(probe.validationMessage);
  };
  node.addEventListener("input", check);
  check();
};

/**
 * Have a text grow with what is written in it.
 * @param {HTMLTextAreaElement} node
 */
const grow = (node) => {
  node.classList.add("grows");
  if (CSS.supports("field-sizing", "content")) return;
  const fit = () => {
    node.style.blockSize = "auto";
    node.style.blockSize = `${node.scrollHeight + 2}px`;
  };
  node.addEventListener("input", fit);
  requestAnimationFrame(fit);
};

/** @type {Draw} */
const drawTextarea = (widget, context) => {
  const { rows = 3, maxRows, pattern, defaultValue, autoResize } = widget;
  const className = controlClass(widget, "soft outline");
  const given = { className, rows, defaultValue: defaultValue ?? "", pattern: undefined };
  const node = field("textarea", given, widget, context);
  node.style.setProperty("--rows", String(node.rows));
  if (Number.isInteger(maxRows)) node.style.setProperty("--most", String(maxRows));
  checkPattern(node, pattern);
  if (autoResize) grow(node);
  return node;
};

/** @type {Draw} a text that can be written over, in as many lines as it has */
const drawEditable = (widget, context) => {
  const { editable, value, minLines } = widget;
  const className = `editable ${textClass({ ...widget, maxLines: 0, truncate: false }, "text")}`;
  const given = { className, rows: 1, defaultValue: value ?? "", pattern: undefined };
  const node = field("textarea", given, editable, context);
  node.style.setProperty("--rows", String(minLines ?? 1));
  dressText(node, { ...widget, maxLines: 0, minLines: 0 }, context);
  checkPattern(node, editable.pattern);
  grow(node);
  return node;
};

// --- what is wrong -------------------------------------------------------------------------------

/** @param {Field} field */
const outerOf = (field) =>
  /** @type {Element} */ (
    field.closest("[role=radiogroup]") ?? field.closest(".choice, .field") ?? field
  );

/**
 * Show what is wrong with a field below it, or nothing.
 * @param {Field} field
 */
const showProblem = (field) => {
  const { validationMessage: message } = field;
  const outer = outerOf(field);
  const found = outer.nextElementSibling;
  const shown = found?.matches(".problem") ? found : null;
  if (!message || field.validity.valid) {
    shown?.remove();
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
    return;
  }
  const node = shown ?? h("p", { className: "problem", dir: "auto" });
  node.id = `${field.id || outer.id}-problem`;
  node.textContent = message;
  outer.after(node);
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", node.id);
};

/**
 * Say below the fields of a form what is wrong, in the browser's words, and lead to the first.
 * @param {HTMLFormElement} form
 */
export const watchForm = (form) => {
  const changed = (/** @type {Event} */ { target }) => {
    const field = /** @type {Field} */ (target);
    if (!field.willValidate) return;
    for (const each of /** @type {Field[]} */ ([...form.elements]))
      if (each.name === field.name && each.ariaInvalid) showProblem(each);
  };
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  form.addEventListener(
    "invalid",
    (event) => {
      event.preventDefault();
      const field = /** @type {Field} */ (event.target);
      showProblem(field);
      const wrong = /** @type {Field[]} */ ([...form.elements]).find(
        (each) => each.willValidate && !each.validity.valid,
      );
      if (wrong === field) field.focus();
    },
    true,
  );
};

/** @type {Record<string, Draw>} */
const FIELDS = {
  Checkbox: drawCheckbox,
  DatePicker: drawDate,
  Input: drawInput,
  RadioGroup: drawRadios,
  Select: drawSelect,
  Text: (widget, context) =>
    (widget.editable?.name ? drawEditable : words("p", "text"))(widget, context),
  Textarea: drawTextarea,
};
Object.assign(WIDGETS, FIELDS);
