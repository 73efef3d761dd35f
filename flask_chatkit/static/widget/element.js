// ChatKit's element: loaded, started, and replaced by the built-in chat of a served chat.

import { deferred, h, scriptUrl, tabStore, withTimeout } from "../shared/dom.js";
import {
  callElement,
  emit,
  hasConsent,
  loader,
  pageCallbacks,
  pageSearches,
  setState,
} from "./api.js";
import { localeOf } from "./i18n.js";
import {
  failureText,
  remedies,
  showFailure,
  showInterruption,
  showLoading,
  showNotice,
} from "./notices.js";
import { elementHeader, focusChat, hasFocus, setUnread, updateHeader } from "./panel.js";
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
const PREPARE_MS = 2_000; // after that a served chat's own element is fetched beside
const HOLD_MS = 600_000; // how long a frame that did not work is not tried again

// The elements' own events do not bubble. These do, from the widget, with details that contain
// nothing of the conversation.
/** @type {Record<string, string[]>} */
export const EVENTS = {
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
  // It came after all, too late for who had added it.
  if (!loading && customElements.get("openai-chatkit")) return Promise.resolve();
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

// On a network that swallows OpenAI's script, or where its frame does not work, only the first page of
// a tab waits for that.
/** @param {Config} config */
const downKey = ({ base }) => `down:${base}`;

/**
 * Remember that OpenAI's part does not come, or forget it.
 * @param {Config} config
 * @param {string | null} reason
 */
export const noteDown = (config, reason) =>
  tabStore.set(downKey(config), reason && `${reason} ${Date.now() + HOLD_MS}`);

/**
 * Why OpenAI's part is not expected to come. A script is tried again on each page, beside what is
 * shown; a frame after a while.
 * @param {Config} config
 */
const whyDown = (config) => {
  const [reason, until] = (tabStore.get(downKey(config)) ?? "").split(" ");
  return usesOpenAI(config) && (reason === "script" || Number(until) > Date.now()) ? reason : null;
};

const importOpenAI = () => import("./openai.js");
const importBuiltin = () => import("../builtin/index.js");

/**
 * Fetch what the chat will be shown in, when the visitor is about to open it.
 * @param {Config} config
 */
export const warmUp = (config) => {
  if (!usesOpenAI(config)) return;
  if (config.served && whyDown(config)) {
    importBuiltin().catch(() => {});
    return;
  }
  for (const loading of [loadScript(config.script), importOpenAI()]) loading.catch(() => {});
};

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
  on("error", ({ error }) => {
    const { name, message, code } = error ?? {};
    emit(widget, "error", { message, error: { name, message, code } });
  });
  // It may hold what was said, so only for sites that ask for it.
  if (config.messageEvents) on("log", ({ name, data }) => emit(widget, "log", { name, data }));
  on("thread.change", ({ threadId }) => {
    widget.shown = threadId ?? null;
    if (threadId) widget.sent = null;
    if (threadId) root.dataset.thread = threadId;
    else delete root.dataset.thread;
    saveThread(config, threadId ?? null);
    if (widget.interruption === "changed") endInterruption(widget);
    updateHeader(widget);
  });
  // Of a hosted chat's messages this is all that the page learns.
  on("response.start", () => {
    if (!config.served) widget.draft = widget.sent = null;
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
const restoreUnsent = async (widget) => {
  if (!widget.element || !hasUnsent(widget.config)) return;
  const refusals = await import("./refusals.js").catch(() => null);
  await refusals?.restoreUnsent(widget);
};

/**
 * Have what was written before in the composer, once.
 * @param {Widget} widget
 */
const restoreDraft = async (widget) => {
  const { draft } = widget;
  // Of the element whose place this one has taken.
  if (draft) await callElement(widget, "setComposerValue", draft);
  else await restoreUnsent(widget);
};

/** @param {Widget} widget */
export const markReady = (widget) => {
  const isInside = hasFocus(widget);
  const { config, isReady, root } = widget;
  if (!isReady) widget.waiting?.resolve();
  widget.isReady = true;
  // Other calls work; this thread does not.
  if (widget.interruption !== "changed") endInterruption(widget);
  setState(widget, "ready");
  updateHeader(widget);
  focusChat(widget, isInside);
  if (isReady) return;
  restoreDraft(widget).catch(() => {});
  if (!("builtin" in root.dataset)) noteDown(config, null);
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
    await callElement(widget, "setThreadId", null);
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
export const fail = (widget, error) => {
  const reason = error.code ?? error.reason;
  clearTimeout(widget.watchdog);
  widget.interruption = reason;
  // It was said at once, and is true.
  if (widget.presumed && widget.presumed === error.reason) return failureText(widget, error);
  if (widget.isReady) {
    // A conversation is on the screen: it stays, and the element asks again when it must.
    const ways = remedies(widget, error, () => startNew(widget));
    return showInterruption(widget, error, () => goOn(widget), ...ways);
  }
  const text = showFailure(widget, error, () => {
    widget.wantsFocus = true;
    startAgain(widget);
  });
  widget.waiting?.reject(new Error(text));
  widget.waiting = null;
  setState(widget, "failed", { reason });
  return text;
};

/** @type {import("./secrets.js").Reports} */
const reports = { onReady: markReady, onFailure: fail };

// --- options ---------------------------------------------------------------------------------------

/**
 * All options of the element; each call of setOptions() replaces those before.
 * @param {Widget} widget
 */
export const elementOptions = (widget) => {
  const { config, theme, thread } = widget;
  /** @type {Record<string, any>} */
  const options = {
    ...config.options,
    ...pageCallbacks(widget),
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
export const createElement = (widget, name) => {
  const element = /** @type {ChatElement} */ (document.createElement(name));
  widget.theme = themeOf(widget);
  widget.gone = deferred();
  widget.shown = undefined;
  widget.hasCalled = false;
  widget.onMissing = undefined;
  widget.element = element;
  relayEvents(widget, element);
  applyTheme(widget, widget.theme);
  element.setOptions(elementOptions(widget));
  return element;
};

/**
 * @param {Widget} widget
 * @param {object} attempt
 */
const startOpenAI = async (widget, attempt) => {
  const { config } = widget;
  const patience = config.served ? FALLBACK_MS : SCRIPT_MS;
  let isSlow = false;
  setTimeout(() => {
    isSlow = true;
    const hasCome = widget.isReady || (widget.element && widget.hasCalled);
    const isWanted = config.served && widget.attempt === attempt && !hasCome;
    if (isWanted) importBuiltin().catch(() => {});
  }, PREPARE_MS);
  const parts = Promise.all([
    importOpenAI(),
    loadScript(config.script).then(() => customElements.whenDefined("openai-chatkit")),
  ]);
  try {
    const [{ connect }] = await withTimeout(parts, patience, "script");
    if (widget.attempt === attempt) connect(widget, patience);
  } catch (error) {
    // The next try does not wait for the same one.
    scripts.delete(config.script);
    if (isSlow) noteDown(config, "script");
    throw error;
  }
};

/**
 * The chat of our own, which a served chat goes on in when OpenAI's does not come.
 * @param {Widget} widget
 */
export const startBuiltin = async (widget) => {
  const { body, root, words } = widget;
  const attempt = newAttempt(widget);
  try {
    const { define } = await importBuiltin();
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
  const { element, root } = widget;
  clearTimeout(widget.watchdog);
  // The built-in chat remembers by itself what is written in it.
  if ("builtin" in root.dataset) widget.draft = widget.sent = null;
  element?.remove();
  widget.gone?.reject(new Error("The chat was closed"));
  widget.element = widget.attempt = null;
  widget.isReady = false;
  widget.interruption = undefined;
  updateHeader(widget);
  delete root.dataset.builtin;
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

/**
 * Start a chat that has failed, whatever is known of OpenAI's part.
 * @param {Widget} widget
 */
export const startAgain = (widget) => {
  noteDown(widget.config, null);
  return start(widget);
};

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
  widget.presumed = undefined;
  // The requests of a sandboxed frame are of no origin, and no server answers them.
  if (window.origin === "null") return fail(widget, failure("failed"));
  const known = whyDown(config);
  if (known && !config.served) {
    // At once, while it is tried again behind that.
    fail(widget, failure(known));
    widget.presumed = known;
  } else {
    const opens = config.options.initialThread ?? loadThread(config);
    showLoading(widget, Boolean(opens));
    setState(widget, "loading");
  }
  // Nothing would come, and the browser reports when that changes; unless the site is this machine.
  if (navigator.onLine === false && !(await isReachable(config))) {
    if (widget.attempt === attempt) giveUp(widget, failure("offline"));
    return;
  }
  await restoreThread(widget, config.served ? null : requestEarly(widget));
  if (widget.attempt !== attempt) return;
  if (known === "script") {
    // The next page has it again.
    loadScript(config.script).then(
      () => noteDown(config, null),
      () => {},
    );
  }
  if (!usesOpenAI(config) || (config.served && known)) return startBuiltin(widget);
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
