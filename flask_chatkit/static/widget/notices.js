// What a visitor reads while the chat loads, or does not; and the cause, for who develops the site.

import { h, isSafeLink } from "../shared/dom.js";

/** @typedef {import("./api.js").Widget} Widget */
/** @typedef {import("./secrets.js").Failure} Failure */

// The server's own sentences are English.
/** @type {Record<string, string>} */
const WORDS_OF_CODES = {
  rate_limited: "limited",
  unauthenticated: "signIn",
  upstream_timeout: "busy",
  upstream_unavailable: "busy",
};

/**
 * Show something in the place of the chat, or above a chat that works; without parts, nothing.
 * @param {Widget} widget
 * @param {...Node} parts
 */
export const showNotice = ({ notice, isReady, bar }, ...parts) => {
  const hasFocus = notice.contains(document.activeElement);
  notice.classList.toggle("chatkit-strip", Boolean(isReady));
  notice.replaceChildren(...parts);
  // The focus does not fall out of the chat with the button that had it.
  const next = parts.length ? notice : bar?.querySelector(".chatkit-close");
  if (hasFocus) /** @type {HTMLElement | undefined} */ (next)?.focus();
};

/**
 * @param {string} text
 * @param {string} [className]
 */
export const paragraph = (text, className = "") => h("p", { textContent: text, className });

/**
 * @param {string} text
 * @param {() => void} onclick
 */
export const textButton = (text, onclick) =>
  h("button", { type: "button", textContent: text, onclick });

/** @param {...Node} ways */
export const actions = (...ways) => h("p", { className: "chatkit-actions" }, ways);

/**
 * Show the outline of what comes: a start screen, or a conversation, and the place to write in.
 * @param {Widget} widget
 * @param {boolean} [talks] whether it is a conversation
 */
export const showLoading = (widget, talks = false) => {
  const lines = [1, 2, 3, 4].map(() => h("span"));
  const field = paragraph(widget.words.widget.loading);
  const shape = talks ? "chatkit-skeleton chatkit-talk" : "chatkit-skeleton";
  showNotice(widget, h("div", { className: shape }, h("div", {}, lines), field));
};

/** @param {Widget} widget */
export const contactLinks = ({ config, words }) => {
  const { href, label = words.widget.contact } = config.contact ?? {};
  return isSafeLink(href) ? [h("a", { href, textContent: label })] : [];
};

/** @param {Widget} widget */
const waysOut = (widget) => {
  const { config, words } = widget;
  const link = h("a", { href: config.page, textContent: words.widget.page });
  const isHere = new URL(link.href).pathname === location.pathname;
  return [...(isHere ? [] : [link]), ...contactLinks(widget)];
};

/**
 * What a visitor can do about a refusal, beside trying again.
 * @param {Widget} widget
 * @param {Failure} failure
 * @param {() => void} [startNew] starts a new chat, where one is shown
 */
export const remedies = ({ words, config }, { reason, signIn }, startNew) => {
  const { login, newChat, reload } = words.widget;
  const target = config.embedded ? "_blank" : undefined;
  const isHere = signIn && new URL(signIn).pathname === location.pathname;
  return [
    isSafeLink(signIn) && !isHere && h("a", { href: signIn, textContent: login, target }),
    reason === "stale" && textButton(reload, () => location.reload()),
    reason === "changed" && startNew && textButton(newChat, startNew),
  ].filter((node) => node instanceof Node);
};

/**
 * What a visitor reads of a failure: the server's sentence, or one in the visitor's language.
 * @param {Pick<Widget, "words" | "config">} widget
 * @param {Failure} failure
 */
export const failureText = ({ words, config }, { reason, serverMessage, code = "" }) => {
  const wordOfCode = /^(ended|stale|changed)$/.test(reason) ? reason : WORDS_OF_CODES[code];
  const key = wordOfCode ?? reason;
  const isKnown = Boolean(wordOfCode);
  const isOurs = !serverMessage || (isKnown && (words.language !== "en" || config.strings?.[key]));
  return isOurs ? (words.widget[key] ?? words.widget.failed) : serverMessage;
};

// A policy that forbids what the chat needs reports it, before there is a widget perhaps.
/** @type {Map<string, string>} */
const violations = new Map(); // blocked address → directive
export const watchPolicy = () => {
  document.addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective }) => {
    violations.set(blockedURI, effectiveDirective);
  });
};

/**
 * The probable cause of a failure, and the check of `flask chatkit doctor` that finds the same, in
 * the same words.
 * @param {Widget} widget
 * @param {Failure} failure
 * @returns {[cause: string, check?: string]}
 */
const failureCause = ({ config }, { reason, serverMessage, code }) => {
  const { origin } = new URL(config.script, document.baseURI);
  for (const [uri, directive] of violations) {
    if (!uri.startsWith(origin)) continue;
    return [`The page's Content-Security-Policy blocks ${uri}: see ${directive}.`, "csp"];
  }
  if (!isSecureContext) return ["ChatKit needs a secure context: https, or localhost.", "https"];
  if (reason === "script") return [`${config.script} did not load: is it blocked, or offline?`];
  if (reason === "silent" && globalThis.crossOriginIsolated) {
    return ["The page's Cross-Origin-Embedder-Policy keeps OpenAI's frame out.", "coep"];
  }
  if (/silent|domain|lost/.test(reason)) {
    const what = reason === "silent" ? "did not call back" : "has removed itself";
    const cause = `ChatKit's frame ${what}: is ${location.hostname} in OpenAI's domain allow-list,
      in the organisation of the key?`;
    return [cause, "allow-list"];
  }
  if (reason === "ended") {
    const cause = `OpenAI has ended hosted workflows: set CHATKIT_SERVER in place of CHATKIT_WORKFLOW_ID.`;
    return [cause, "workflow"];
  }
  if (reason === "stale" && code === "bad_request") {
    return ["A CSRF check of the site refuses the chat's calls: csrf.exempt(chatkit).", "csrf"];
  }
  const check = code === "misconfigured" || code === "upstream_rejected" ? "api-key" : undefined;
  return [serverMessage ?? "The site's log and the browser's network panel tell more.", check];
};

/**
 * Show a failure above a conversation, which stays. The built-in chat shows by itself what a visitor
 * can only read.
 * @param {Widget} widget
 * @param {Failure} failure
 * @param {() => void} onDismiss
 * @param {...Node} ways
 * @returns {string} what the visitor reads
 */
export const showInterruption = (widget, failure, onDismiss, ...ways) => {
  const text = failureText(widget, failure);
  if (ways.length || !("builtin" in widget.root.dataset)) {
    const dismiss = textButton(widget.words.widget.dismiss, onDismiss);
    showNotice(widget, paragraph(text), actions(...ways, dismiss));
  }
  return text;
};

/**
 * Show a failure in the place of the chat.
 * @param {Widget} widget
 * @param {Failure} failure
 * @param {() => void} onRetry
 * @returns {string} what the visitor reads
 */
export const showFailure = (widget, failure, onRetry) => {
  const { words, config } = widget;
  const text = failureText(widget, failure);
  const [cause, check] = failureCause(widget, failure);
  // A visitor can do nothing with the cause; a developer looks here.
  const more = `See ${check ? `the check ${check} of ` : ""}flask chatkit doctor.`;
  const line = `the chat ${config.chat} did not start. ${cause}`.replace(/\s+/g, " ");
  console.warn(`flask_chatkit: ${line}${config.debug ? ` ${more}` : ""}`);
  const retry = textButton(words.widget.retry, onRetry);
  // A chat that has ended comes back neither by trying again nor on its own page.
  const ways =
    failure.reason === "ended"
      ? contactLinks(widget)
      : [...remedies(widget, failure), retry, ...waysOut(widget)];
  showNotice(
    widget,
    paragraph(text),
    ...(config.debug ? [paragraph(cause, "chatkit-cause")] : []),
    ...(ways.length ? [actions(...ways)] : []),
  );
  return text;
};
