// ChatKit's element: loaded, started, watched, and replaced by the built-in chat of a served chat.

import { deferred, h, scriptUrl, withTimeout } from "../shared/dom.js";
import { emit, hasConsent, loader, pageFunction, pageSearches, setState, widgets } from "./api.js";
import { localeOf } from "./i18n.js";
import { remedies, showFailure, showInterruption, showLoading, showNotice } from "./notices.js";
import {
  closePanel,
  focusChat,
  hasFocus,
  pressSiteButton,
  setUnread,
  updateHeader,
} from "./panel.js";
import {
  failure,
  getClientSecret,
  hasUnsent,
  hostedApi,
  isReachable,
  loadThread,
  requestEarly,
  saveThread,
  servedApi,
} from "./secrets.js";
import { applyTheme, themeOf } from "./theme.js";

/** @typedef {import("./api.js").Widget} Widget */
/** @typedef {import("./api.js").Config} Config */
/** @typedef {import("./api.js").ChatElement} ChatElement */
/** @typedef {import("./secrets.js").Failure} Failure */

const SCRIPT_MS = 15_000; // how long OpenAI's script takes at most, and the element's first call
const FALLBACK_MS = 8_000; // the same where the chat can go on without OpenAI's element

// The elements' own events do not bubble. These do, from the widget, with details that contain
// nothing of the conversation.
/** @type {Record<string, string[]>} */
const EVENTS = {
  deeplink: ["name", "data"],
  effect: ["name", "data"],
  "history.close": [],
  "history.open": [],
  "response.end": [],
  "response.start": [],
  "thread.change": ["threadId"],
  "thread.load.end": ["threadId"],
  "thread.load.start": ["threadId"],
  "tool.change": ["toolId"],
};

/** @type {Map<string, Promise<void>>} */
const scripts = new Map();

/**
 * Add a classic script, once; one that did not come may be tried again.
 * @param {string} src
 */
export const loadScript = (src) => {
  let loading = scripts.get(src);
  if (!loading) {
    loading = new Promise((resolve, reject) => {
      const script = h("script", { src: scriptUrl(src), nonce: loader().nonce });
      script.onload = () => resolve();
      script.onerror = () => {
        scripts.delete(src);
        script.remove();
        reject(new Error(`${src} failed`));
      };
      document.head.append(script);
    });
    scripts.set(src, loading);
  }
  return loading;
};

/**
 * Whether OpenAI's element can show a chat: without a key of OpenAI's list, or on an insecure page,
 * a served chat would only be blank there.
 * @param {Config} config
 */
export const usesOpenAI = ({ served, domainKey }) =>
  !served || Boolean(domainKey && isSecureContext);

/**
 * Pass the element's events on to the page, and follow what they mean for the widget.
 * @param {Widget} widget
 * @param {ChatElement} element
 */
const relayEvents = (widget, element) => {
  const { config, root } = widget;
  /**
   * @param {string} type
   * @param {(detail: any) => void} handle
   */
  const on = (type, handle) =>
    element.addEventListener(`chatkit.${type}`, (event) => {
      const { detail } = /** @type {CustomEvent} */ (event);
      if (widget.element === element) handle(detail ?? {});
    });
  for (const [type, names] of Object.entries(EVENTS)) {
    on(type, (detail) =>
      emit(widget, type, Object.fromEntries(names.map((name) => [name, detail[name]]))),
    );
  }
  on("error", ({ error }) => emit(widget, "error", { message: error?.message }));
  // It may hold what was said, so only for sites that ask for it.
  if (config.messageEvents) on("log", ({ name, data }) => emit(widget, "log", { name, data }));
  on("thread.change", ({ threadId }) => {
    if (threadId) root.dataset.thread = threadId;
    else delete root.dataset.thread;
    saveThread(config, threadId ?? null);
    if (widget.interruption === "changed") endInterruption(widget);
    updateHeader(widget);
  });
  on("response.end", () => {
    if (widget.panel?.open === false) setUnread(widget, widget.unread + 1);
  });
  for (const [type, isOpen] of Object.entries({ "history.open": true, "history.close": false })) {
    on(type, () => widget.historyButton?.setAttribute("aria-expanded", String(isOpen)));
  }
  // It proves nothing: the widget reports when it is ready.
  element.addEventListener("chatkit.ready", (event) => event.stopPropagation());
};

/** @param {Widget} widget */
const endInterruption = (widget) => {
  widget.interruption = undefined;
  showNotice(widget);
};

/**
 * Put a message that was refused, on this page or the one before, into the composer.
 * @param {Widget} widget
 */
const restoreUnsent = async ({ config, element }) => {
  if (!element || !hasUnsent(config)) return;
  const refusals = await import("./refusals.js").catch(() => null);
  await refusals?.restoreUnsent(config, element);
};

/** @param {Widget} widget */
const markReady = (widget) => {
  const isInside = hasFocus(widget);
  if (!widget.isReady) {
    widget.waiting?.resolve();
    restoreUnsent(widget);
  }
  widget.isReady = true;
  // Other calls work; this thread does not.
  if (widget.interruption !== "changed") endInterruption(widget);
  setState(widget, "ready");
  updateHeader(widget);
  focusChat(widget, isInside);
};

/** @param {Widget} widget */
const goOn = (widget) => {
  endInterruption(widget);
  widget.wantsFocus = true;
  focusChat(widget, true);
};

/**
 * Go on in a new chat, with the message that was not taken.
 * @param {Widget} widget
 */
const startNew = async (widget) => {
  goOn(widget);
  try {
    await widget.element?.setThreadId(null);
  } catch {
    // It is busy; its own button starts a new chat, too.
  }
  await restoreUnsent(widget);
};

/**
 * @param {Widget} widget
 * @param {Failure} error
 * @returns {string} what the visitor reads
 */
const fail = (widget, error) => {
  clearTimeout(widget.watchdog);
  widget.interruption = error.code ?? error.reason;
  if (widget.isReady) {
    // A conversation is on the screen: it stays, and the element asks again when it must.
    const ways = remedies(widget, error, () => startNew(widget));
    return showInterruption(widget, error, () => goOn(widget), ...ways);
  }
  const text = showFailure(widget, error, () => {
    widget.wantsFocus = true;
    start(widget);
  });
  widget.waiting?.reject(new Error(text));
  widget.waiting = null;
  setState(widget, "failed", { reason: error.code ?? error.reason });
  return text;
};

/** @type {import("./secrets.js").Reports} */
const reports = { onReady: markReady, onFailure: fail };

// --- options ---------------------------------------------------------------------------------------

/**
 * The page's own functions, looked up when the element calls them.
 * @param {Widget} widget
 */
const callbacks = (widget) => ({
  /** @param {{name: string, params: object}} call */
  onClientTool: async ({ name, params }) => {
    const tool = pageFunction(widget, "tools", name);
    if (!tool) throw new Error(`this page has no tool ${JSON.stringify(name)}`);
    return (await tool(params)) ?? {};
  },
  widgets: {
    /**
     * @param {{type: string, payload?: object}} action
     * @param {object} item
     */
    onAction: async ({ type, payload }, item) =>
      pageFunction(widget, "actions", type)?.(payload, item),
  },
});

/**
 * The header of the element, where the panel's own does not take its place.
 * @param {Widget} widget
 * @returns {Record<string, any> | undefined}
 */
const elementHeader = (widget) => {
  const { header } = widget.config.options;
  if (widget.bar && !widget.usesElementHeader) return { enabled: false };
  const shown = { ...header };
  for (const side of ["leftAction", "rightAction"]) {
    const button = shown[side];
    if (!button) continue;
    shown[side] = { icon: button.icon, onClick: () => pressSiteButton(widget, button) };
    // ChatKit's own has no place for a label, and stays blank if there is one.
    if (button.label && "builtin" in widget.root.dataset) shown[side].label = button.label;
  }
  if (widget.usesElementHeader) {
    const side = shown.rightAction ? "leftAction" : "rightAction";
    shown[side] = { icon: "close", onClick: () => closePanel(widget) };
  }
  return header || widget.usesElementHeader ? shown : undefined;
};

/**
 * All options of the element; each call of setOptions() replaces those before.
 * @param {Widget} widget
 */
export const elementOptions = (widget) => {
  const { config, theme, thread } = widget;
  /** @type {Record<string, any>} */
  const options = {
    ...config.options,
    ...callbacks(widget),
    ...pageSearches(config),
    locale: localeOf(config),
    header: elementHeader(widget),
    theme,
    api: config.served ? servedApi(widget, reports) : hostedApi(widget, reports),
  };
  if (thread !== undefined) options.initialThread = thread;
  for (const name of ["header", "locale"]) if (options[name] === undefined) delete options[name];
  return options;
};

// --- life ------------------------------------------------------------------------------------------

/**
 * @param {Widget} widget
 * @param {string} name
 */
const createElement = (widget, name) => {
  const element = /** @type {ChatElement} */ (document.createElement(name));
  widget.theme = themeOf(widget);
  widget.element = element;
  relayEvents(widget, element);
  applyTheme(widget, widget.theme);
  element.setOptions(elementOptions(widget));
  return element;
};

// The element brings its style in its shadow root. Where style-src forbids inline styles the
// browser refuses it, and the frame is 300 by 150 pixels. Constructed stylesheets are allowed: so
// the style moves into one before the element is connected, and its layout is repeated after.
const LAYOUT = ":host{display:block;width:100%;height:100%}iframe{border:0;width:100%;height:100%}";
/** @param {ChatElement} element */
const moveStyles = ({ shadowRoot }) => {
  if (!shadowRoot) return;
  const styles = [...shadowRoot.querySelectorAll("style")];
  const sheet = new CSSStyleSheet();
  sheet.replaceSync([...styles.map((style) => style.textContent), LAYOUT].join("\n"));
  for (const style of styles) style.remove();
  shadowRoot.adoptedStyleSheets = [...shadowRoot.adoptedStyleSheets, sheet];
};

/**
 * @param {Widget} widget
 * @param {object} attempt
 */
const startOpenAI = async (widget, attempt) => {
  const { body, config } = widget;
  const patience = config.served ? FALLBACK_MS : SCRIPT_MS;
  const defined = loadScript(config.script).then(() =>
    customElements.whenDefined("openai-chatkit"),
  );
  await withTimeout(defined, patience, "script");
  if (widget.attempt !== attempt) return;
  const element = createElement(widget, "openai-chatkit");
  widget.watchdog = setTimeout(() => {
    if (config.served) startBuiltin(widget);
    else fail(widget, failure("silent"));
  }, patience);
  if (config.served && config.options.history?.enabled === false) {
    // It has nothing to ask for before the first message.
    element.addEventListener("chatkit.ready", () => {
      clearTimeout(widget.watchdog);
      markReady(widget);
    });
  }
  moveStyles(element);
  body.append(element);
  moveStyles(element);
};

/**
 * The chat of our own, which a served chat goes on in when OpenAI's does not come.
 * @param {Widget} widget
 */
const startBuiltin = async (widget) => {
  const { body, root, words } = widget;
  const attempt = newAttempt(widget);
  try {
    const { define } = await import("../builtin/index.js");
    await define();
    if (widget.attempt !== attempt) return;
    root.dataset.builtin = "";
    const element = createElement(widget, "flask-chatkit-chat");
    element.setStrings?.(words.chat, words.language);
    body.append(element);
    markReady(widget);
  } catch (error) {
    if (widget.attempt === attempt) giveUp(widget, error);
  }
};

/**
 * @param {Widget} widget
 * @param {any} error
 */
const giveUp = (widget, error) => {
  widget.attempt = null;
  fail(widget, error.reason ? error : failure("script"));
};

/**
 * Remove the element of an attempt that failed, which can't be reset; one that works is never moved
 * or removed.
 * @param {Widget} widget
 */
export const stop = (widget) => {
  clearTimeout(widget.watchdog);
  widget.element?.remove();
  widget.element = widget.attempt = null;
  widget.isReady = false;
  widget.interruption = undefined;
  updateHeader(widget);
  delete widget.root.dataset.builtin;
};

/**
 * Of two starts at once the later goes on.
 * @param {Widget} widget
 */
const newAttempt = (widget) => {
  stop(widget);
  const attempt = {};
  widget.attempt = attempt;
  return attempt;
};

/** @param {Widget} widget */
const importConsent = (widget) =>
  import("./consent.js").catch(() => {
    fail(widget, failure("offline"));
  });

/**
 * Show the button that loads the chat.
 * @param {Widget} widget
 */
export const askToStart = async (widget) => (await importConsent(widget))?.askToStart(widget);

/** @param {Widget} widget */
export const start = async (widget) => {
  const { config } = widget;
  if (!hasConsent(config)) {
    const consent = await importConsent(widget);
    // The page may have agreed meanwhile.
    if (!consent || !hasConsent(config)) return consent?.askToStart(widget);
  }
  const attempt = newAttempt(widget);
  widget.waiting ??= deferred();
  // The requests of a sandboxed frame are of no origin, and no server answers them.
  if (window.origin === "null") return fail(widget, failure("failed"));
  showLoading(widget);
  setState(widget, "loading");
  // Nothing would come, and the browser reports when that changes; unless the site is this machine.
  if (navigator.onLine === false && !(await isReachable(config))) {
    if (widget.attempt === attempt) giveUp(widget, failure("offline"));
    return;
  }
  await restoreThread(widget, config.served ? null : requestEarly(widget));
  if (widget.attempt !== attempt) return;
  if (!usesOpenAI(config)) return startBuiltin(widget);
  try {
    await startOpenAI(widget, attempt);
  } catch (error) {
    if (widget.attempt !== attempt) return;
    if (config.served) await startBuiltin(widget);
    else giveUp(widget, error);
  }
};

/**
 * Show the thread of the page before, if it is still the same visitor's.
 * @param {Widget} widget
 * @param {Promise<unknown> | null} secret that is under way
 */
const restoreThread = async (widget, secret) => {
  const { config } = widget;
  const { history, initialThread } = config.options;
  if (initialThread !== undefined || history?.enabled === false) return;
  if (!loadThread(config)) return;
  await (secret ?? getClientSecret(config, null).catch(() => {}));
  widget.thread ??= loadThread(config) ?? undefined;
};

/**
 * Follow what the page has declared of a chat since its element started.
 * @param {string} name of the chat, or of a widget
 * @param {string} kind what is asked for anew each time needs nothing
 */
export const followPage = (name, kind) => {
  if (!/entities|commands/.test(kind)) return;
  for (const widget of widgets.values()) {
    const { config, element, root } = widget;
    if (name === config.chat || name === root.id) element?.setOptions(elementOptions(widget));
  }
};

/** Follow a theme switch: the full options are set again, on the same element. */
export const followTheme = () => {
  for (const [root, widget] of widgets) {
    if (!root.isConnected) {
      widgets.delete(root);
      continue;
    }
    const theme = themeOf(widget);
    if (JSON.stringify(theme) === JSON.stringify(widget.theme)) continue;
    widget.theme = theme;
    applyTheme(widget, theme);
    widget.element?.setOptions(elementOptions(widget));
  }
};
