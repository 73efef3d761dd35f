// OpenAI's element: connected without inline styles, and watched as long as it lives, since it may
// blank itself at any time. Fetched beside OpenAI's script.

import { setState } from "./api.js";
import { createElement, EVENTS, fail, markReady, noteDown, startBuiltin, stop } from "./element.js";
import { contactLinks, showInterruption, showLoading, showNotice, textButton } from "./notices.js";
import { failure, hasUnsent } from "./secrets.js";

/** @typedef {import("./api.js").Widget} Widget */
/** @typedef {import("./api.js").ChatElement} ChatElement */

const SETTLE_MS = 1_500; // how long a frame that talks may take until its first call
const GRACE_MS = 250; // how long an element may be without its frame

// The element brings its style in its shadow root, when it is connected. Where style-src forbids
// inline styles the browser refuses it, and the frame is 300 by 150 pixels. Constructed stylesheets
// are allowed: so the style moves into one, and its layout is repeated after it.
const LAYOUT =
  ":host{display:block;width:100%;height:100%}div,iframe{border:0;width:100%;height:100%}";

/**
 * Have a shadow root put each `<style>` that it is given into a constructed stylesheet.
 * @param {ShadowRoot} root
 * @returns {() => void} moves those that have come in another way
 */
const moveStyles = (root) => {
  const sheet = new CSSStyleSheet();
  /** @type {(string | null)[]} */
  const rules = [];
  /** @param {unknown} node */
  const isKept = (node) => {
    if (!(node instanceof HTMLStyleElement)) return true;
    rules.push(node.textContent);
    sheet.replaceSync([...rules, LAYOUT].join("\n"));
    return false;
  };
  for (const name of /** @type {const} */ (["append", "appendChild", "prepend"])) {
    const insert = /** @type {(...nodes: any[]) => any} */ (root[name]).bind(root);
    root[name] = (/** @type {any[]} */ ...nodes) => {
      const kept = nodes.filter(isKept);
      return kept.length ? insert(...kept) : nodes[0];
    };
  }
  sheet.replaceSync(LAYOUT);
  root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
  return () => {
    for (const style of root.querySelectorAll("style")) if (!isKept(style)) style.remove();
  };
};

/**
 * Go on after an element that has removed itself, or does not work: a served chat in the built-in one,
 * with the same thread and what was not sent yet; a hosted one says so.
 * @param {Widget} widget
 * @param {ChatElement} element
 * @param {"lost" | "domain" | "silent"} reason
 * @param {boolean} [isInside] whether the focus was in it
 */
const lose = async (widget, element, reason, isInside) => {
  if (widget.element !== element) return;
  const { config, notice } = widget;
  if (config.served || reason !== "lost") noteDown(config, reason);
  if (widget.shown !== undefined) widget.thread = widget.shown;
  // What was refused is kept in another place, from which it comes back.
  if (!hasUnsent(config)) widget.draft ??= widget.sent;
  widget.sent = null;
  stop(widget);
  if (isInside) widget.wantsFocus = true;
  if (config.served) {
    showLoading(widget, Boolean(widget.thread));
    setState(widget, "loading");
  } else {
    fail(widget, failure(reason));
  }
  if (isInside) notice.focus();
  if (config.served) await startBuiltin(widget);
};

/**
 * What an element can't do the built-in chat does, if there is one; else the visitor is told.
 * @param {Widget} widget
 * @param {string} method
 * @param {() => Promise<void>} again
 * @returns {Promise<boolean>} whether another element has taken its place
 */
const replaceOrSay = async (widget, method, again) => {
  const { config, element, words } = widget;
  if (!element) return false;
  if (method === "focusComposer") {
    element.shadowRoot?.querySelector("iframe")?.focus();
    return false;
  }
  if (config.served) {
    // It is sent there, and need not be written there too.
    if (method === "sendUserMessage") widget.sent = null;
    await lose(widget, element, "lost", document.activeElement === element);
    return Boolean(widget.element);
  }
  const hide = () => showNotice(widget);
  const retry = textButton(words.widget.retry, () => {
    hide();
    again().catch(() => {});
  });
  showInterruption(widget, failure("unable"), hide, retry, ...contactLinks(widget));
  return false;
};

/**
 * Notice when an element has lost its frame, or says that it will.
 * @param {Widget} widget
 * @param {ChatElement} element
 * @param {ShadowRoot} root
 * @param {AbortSignal} signal
 */
const watchFrame = (widget, element, root, signal) => {
  // When the frame is gone nothing tells any more where the focus was.
  let wasInside = false;
  const noteFocus = () => {
    wasInside = document.activeElement === element;
  };
  window.addEventListener("blur", noteFocus, { signal });
  document.addEventListener("focusin", noteFocus, { signal });
  /** @param {"lost" | "domain"} reason */
  const end = (reason) => {
    const { activeElement } = document;
    const isNowhere = !activeElement || activeElement === document.body;
    lose(widget, element, reason, activeElement === element || (wasInside && isNowhere));
  };
  const isGone = () => !root.querySelector("iframe");
  const observer = new MutationObserver(() => {
    if (isGone()) setTimeout(() => isGone() && end("lost"), GRACE_MS);
  });
  observer.observe(root, { childList: true, subtree: true });
  signal.addEventListener("abort", () => observer.disconnect());
  element.addEventListener("chatkit.error", (event) => {
    const { error } = /** @type {CustomEvent} */ (event).detail ?? {};
    if (/DomainVerification/.test(String(error))) end("domain");
  });
};

/**
 * Wait for a sign of life: its first call, or whatever else its frame says. `chatkit.ready` is none.
 * @param {Widget} widget
 * @param {ChatElement} element
 * @param {ShadowRoot | null} root
 * @param {{signal: AbortSignal, patience: number}} how
 */
const awaitLife = (widget, element, root, { signal, patience }) => {
  const { config } = widget;
  let isAlive = false;
  widget.watchdog = setTimeout(() => {
    if (isAlive) return markReady(widget);
    if (config.served) return lose(widget, element, "silent");
    noteDown(config, "silent");
    fail(widget, failure("silent"));
  }, patience);
  const live = () => {
    if (isAlive || widget.isReady) return;
    isAlive = true;
    // A hosted chat asks for a secret, which takes its time.
    if (!config.served || widget.hasCalled) return;
    // Without a history there is nothing to ask for before the first message.
    const isQuiet = config.options.history?.enabled === false;
    clearTimeout(widget.watchdog);
    widget.watchdog = setTimeout(() => markReady(widget), isQuiet ? 0 : SETTLE_MS);
  };
  for (const type of ["log", ...Object.keys(EVENTS)])
    element.addEventListener(`chatkit.${type}`, live, { signal });
  const isOurs = (/** @type {MessageEvent} */ { source }) =>
    source !== null && source === root?.querySelector("iframe")?.contentWindow;
  window.addEventListener("message", (event) => isOurs(event) && live(), { signal });
};

/**
 * Make the element, and put it on the page.
 * @param {Widget} widget
 * @param {number} patience milliseconds that it may take to its first sign of life
 */
export const connect = (widget, patience) => {
  const element = createElement(widget, "openai-chatkit");
  widget.onMissing = (method, again) => replaceOrSay(widget, method, again);
  const { shadowRoot: root } = element;
  const watching = new AbortController();
  widget.gone?.promise.catch(() => watching.abort());
  awaitLife(widget, element, root, { signal: watching.signal, patience });
  const moveRest = root && moveStyles(root);
  widget.body.append(element);
  if (!root) return;
  moveRest?.();
  watchFrame(widget, element, root, watching.signal);
};
