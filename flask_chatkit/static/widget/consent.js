// Nothing is requested from OpenAI before the visitor agrees, here or in a way of the site's.

import { actions, contactLinks, paragraph, showNotice, textButton } from "./notices.js";
import { browserStore } from "./secrets.js";
import { loader, setState } from "./state.js";

/** @typedef {import("./state.js").Widget} Widget */
/** @typedef {import("./state.js").Config} Config */

// Where one widget of a page waits for it all do, so that none is a way around it.
const WAITING = '[data-chatkit*=\'"load":"consent"\']';

/** @param {Config} config */
export const needsConsent = ({ load }) =>
  load === "consent" || document.querySelector(WAITING) !== null;

/** @param {Config} config */
export const hasConsent = (config) =>
  !needsConsent(config) || (loader().agreed ?? browserStore.get("consent"));

export const forgetConsent = () => browserStore.set("consent", null);

/**
 * Show the button that loads the chat.
 * @param {Widget} widget
 * @param {() => void} start for a widget that needs a click, but no consent
 */
export const askToStart = (widget, start) => {
  const { words, config } = widget;
  const needs = needsConsent(config);
  const agree = textButton(words.widget.agree, () => {
    widget.hasStarted = widget.wantsFocus = true;
    if (!needs) return start();
    browserStore.set("consent", "1");
    loader().consent();
  });
  showNotice(
    widget,
    paragraph(needs ? words.widget.consent : config.options.frameTitle),
    actions(agree, ...(needs ? contactLinks(widget) : [])),
  );
  if (needs) setState(widget, "consent");
};
