// Buttons and choices.

import { h } from "../shared/dom.js";
import { icon } from "./icons.js";

/**
 * A button that shows an icon alone.
 * @param {string} label its accessible name, and its tooltip
 * @param {string} name of the icon
 * @param {(event: MouseEvent) => unknown} onclick
 * @param {Record<string, any>} more properties and attributes
 */
export const iconButton = (label, name, onclick, more = {}) =>
  h(
    "button",
    { type: "button", className: "plain", title: label, "aria-label": label, onclick, ...more },
    icon(name),
  );

/**
 * A button with a text.
 * @param {string} label
 * @param {((event: MouseEvent) => unknown) | undefined} onclick
 * @param {string} className
 */
export const button = (label, onclick, className = "button") =>
  h("button", { type: "button", className, onclick }, label);

/**
 * A checkbox or radio button with its label.
 * @param {"checkbox" | "radio"} type
 * @param {Record<string, any>} given
 */
export const choice = (type, { label, ...given }) =>
  h("label", { className: "choice" }, h("input", { type, ...given }), h("span", {}, label));

/** What shows that something is under way. */
export const spinner = () => h("span", { className: "spinner" });
