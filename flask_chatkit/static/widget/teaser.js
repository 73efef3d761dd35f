// The greeting beside the launcher, shown once. Fetched for the widgets that have one.

import { browserStore, h } from "../shared/dom.js";
import { textButton } from "./notices.js";
import { dismissTeaser, iconButton, teaserKey, temporary } from "./panel.js";

/** @typedef {import("./api.js").Widget} Widget */

const ANNOUNCE_MS = 200; // what is in a live region from the beginning is not read out

/**
 * @param {Widget} widget
 * @param {() => void} open
 */
export const showTeaser = (widget, open) => {
  const { config, root, panel, launcher, words, status } = widget;
  const text = config.teaser?.text ?? "";
  if (!panel || panel.open || root.dataset.state !== "idle" || widget.teaser) return;
  if (browserStore.get(teaserKey(config)) === text) return;
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
