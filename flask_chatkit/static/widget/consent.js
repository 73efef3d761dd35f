// Nothing is requested from OpenAI before the visitor agrees, here or in a way of the site's. Fetched
// for the widgets that wait for that, or for a click.

import { browserStore } from "../shared/dom.js";
import { loader, needsConsent, setState, widgets } from "./api.js";
import { start, stop, usesOpenAI } from "./element.js";
import { actions, contactLinks, paragraph, showNotice, textButton } from "./notices.js";

/** @typedef {import("./api.js").Widget} Widget */

/**
 * What a visitor agrees to: a chat of the site's own may have nothing to do with OpenAI.
 * @param {Pick<Widget, "config" | "words">} widget
 */
export const consentText = ({ config, words }) => {
  const { script, served, page, strings } = config;
  const isOpenAI = /(^|\.)openai\.com$/.test(new URL(script, location.href).hostname);
  const { consent, consentOwn } = words.widget;
  if (!served || (isOpenAI && usesOpenAI(config)) || strings?.consent) return consent;
  return consentOwn.replace("{}", () => new URL(page).host);
};

/**
 * Show the button that loads the chat.
 * @param {Widget} widget
 */
export const askToStart = (widget) => {
  const { words, config } = widget;
  const needs = needsConsent(config);
  const agree = textButton(words.widget.agree, () => {
    widget.hasStarted = widget.wantsFocus = true;
    if (!needs) return start(widget);
    browserStore.set("consent", "1");
    loader().consent();
  });
  showNotice(
    widget,
    paragraph(needs ? consentText(widget) : config.options.frameTitle),
    actions(agree, ...(needs ? contactLinks(widget) : [])),
  );
  if (needs) setState(widget, "consent");
};

/** Start or stop all widgets that wait for consent, when the page or the visitor has given it. */
export const followConsent = () => {
  const { agreed } = loader();
  if (!agreed) browserStore.set("consent", null);
  for (const widget of widgets.values()) {
    if (!needsConsent(widget.config)) continue;
    if (!agreed) {
      stop(widget);
      askToStart(widget);
    } else if (widget.root.dataset.state === "consent") {
      // A panel that is closed starts when it is opened.
      if (widget.panel?.open === false) setState(widget, "idle");
      else start(widget);
    }
  }
};
