// The greeting beside the launcher, shown once.

import { h } from "../shared/dom.js";
import { iconButton, temporary } from "./header.js";
import { textButton } from "./notices.js";
import { browserStore } from "./secrets.js";

/** @typedef {import("./state.js").Widget} Widget */

const ANNOUNCE_MS = 200; // what is in a live region from the beginning is not read out

/** @param {import("./state.js").Config} config */
const keyOf = ({ chat }) => `teaser:${chat}`;

/**
 * @param {Widget} widget
 * @param {() => void} open
 */
export const showTeaser = (widget, open) => {
  const { config, root, panel, launcher, words, status } = widget;
  const text = config.teaser?.text ?? "";
  if (!panel || panel.open || root.dataset.state !== "idle" || widget.teaser) return;
  if (browserStore.get(keyOf(config)) === text) return;
  const greeting = textButton(text, open);
  greeting.dir = "auto";
  const dismiss = iconButton(words.widget.dismiss, "close", () => {
    const { activeElement } = document;
    if (dismissTeaser(widget) && activeElement === dismiss) launcher?.focus();
  });
  widget.teaser = temporary(h("div", { className: "chatkit-teaser" }, greeting, dismiss));
  launcher?.after(widget.teaser);
  setTimeout(() => {
    if (widget.teaser && status) status.textContent = text;
  }, ANNOUNCE_MS);
};

/**
 * Remove the teaser for good: who has answered it in either way, or has come before it, is left
 * alone.
 * @param {Widget} widget
 * @returns {boolean} whether there was one
 */
export const dismissTeaser = (widget) => {
  const { config, status, teaser } = widget;
  if (config.teaser) browserStore.set(keyOf(config), config.teaser.text);
  if (!teaser) return false;
  teaser.remove();
  widget.teaser = null;
  if (status) status.textContent = "";
  return true;
};
