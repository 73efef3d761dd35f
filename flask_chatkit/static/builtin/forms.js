// The values of a form, and the questions that an assistant asks as one.

import { h } from "../shared/dom.js";
import { asList, button, choice } from "./controls.js";

/** @import { DrawContext, Item } from "./types.js" */

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
