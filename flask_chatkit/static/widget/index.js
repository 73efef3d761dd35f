// The widget: imported by the loader when a visitor wants to chat. It opens and closes the panel,
// makes ChatKit's element, gets its secrets, follows the page's light or dark, and shows a notice
// when something does not work.
//
// All modules are imported here, so that a browser fetches them in one go.

import { deferred, h, withTimeout } from "../shared/dom.js";
import "../shared/colour.js";
import "../lang/en.js";
import { callElement, hasConsent, keepEvents, keepFocus, loader, widgets } from "./api.js";
import { askToStart, EVENTS, elementOptions, start, startAgain, stop, warmUp } from "./element.js";
import { directionOf, loadWords, localeOf, mergeWords } from "./i18n.js";
import "../shared/locales.js";
import { watchPolicy } from "./notices.js";
import {
  buildPanel,
  canHover,
  closePanel,
  focusChat,
  isSmall,
  openPanel,
  rebuildHeader,
  temporary,
  watchScreen,
} from "./panel.js";
import "./secrets.js";
import { applyTheme, prefersDark, themeOf } from "./theme.js";

/** @typedef {import("./api.js").Widget} Widget */
/** @typedef {import("./api.js").Config} Config */

const BUILD_MS = 2_000; // how long the first opening waits for style and words
const STATES = ["consent", "failed", "ready"]; // those that are events
const THEME_ATTRIBUTES = ["class", "style", "data-theme", "data-bs-theme"];

const api = loader();

// --- building --------------------------------------------------------------------------------------

/** @type {Map<HTMLElement, Promise<Widget>>} */
const building = new Map();
/** @type {Map<string, Promise<unknown>>} */
const stylesheets = new Map();

/** @param {string} href */
const loadStylesheet = (href) => {
  let loading = stylesheets.get(href);
  if (!loading) {
    const link = h("link", { rel: "stylesheet", href, nonce: api.nonce });
    loading = new Promise((resolve) => {
      link.onload = link.onerror = resolve;
    });
    stylesheets.set(href, loading);
    document.head.append(link);
  }
  return loading;
};

/**
 * @param {HTMLElement} root
 * @param {Config} config
 * @returns {Promise<Widget>}
 */
const build = async (root, config) => {
  config.id = root.id;
  for (const old of widgets.keys()) if (!old.isConnected) widgets.delete(old);
  // Beside the stylesheet, since it is needed as soon.
  if (config.load === "click" || !hasConsent(config)) import("./consent.js").catch(() => {});
  watchTheme(); // a page cache may have put another body in the former's place
  const words = await withTimeout(
    Promise.all([loadWords(config), loadStylesheet(config.styles)]).then(([found]) => found),
    BUILD_MS,
  ).catch(() => mergeWords(config, "en"));
  root.querySelector(".chatkit-fallback")?.remove();
  const notice = h("div", { className: "chatkit-notice", tabIndex: -1 });
  notice.setAttribute("role", "status");
  const body = temporary(h("div", { className: "chatkit-body" }, notice));
  /** @type {HTMLDialogElement | null} */
  const panel = root.querySelector(":scope > .chatkit-panel");
  /** @type {HTMLElement | null} */
  const launcher = root.querySelector(":scope > .chatkit-launcher");
  /** @type {Widget} */
  const widget = { root, config, words, body, notice, panel, launcher, unread: 0 };
  const locale = localeOf(config);
  if (locale) Object.assign(panel ?? body, { lang: locale, dir: directionOf(locale) });
  if (panel) {
    buildPanel(widget, panel);
  } else {
    const heading = h("h2", { className: "chatkit-hidden" }, root.ariaLabel);
    root.append(temporary(heading), body);
  }
  keepEvents(panel ?? body);
  // Colours of its own from the first moment.
  applyTheme(widget, themeOf(widget));
  widgets.set(root, widget);
  return widget;
};

/**
 * @param {HTMLElement} root
 * @param {Config} config
 * @returns {Promise<Widget>}
 */
const obtainWidget = (root, config) => {
  let widget = widgets.get(root);
  if (widget && !root.contains(widget.body)) {
    // Morphed back to what the server sends; it starts anew.
    stop(widget);
    widget = undefined;
  }
  if (widget) return Promise.resolve(widget);
  let made = building.get(root);
  if (!made) {
    made = build(root, config).finally(() => building.delete(root));
    building.set(root, made);
  }
  return made;
};

// --- options that change ---------------------------------------------------------------------------

/**
 * Set all options again, on the same element.
 * @param {Widget} widget
 * @throws the element does not take them
 */
const sendOptions = (widget) => widget.element?.setOptions(elementOptions(widget));

/**
 * Find the theme anew.
 * @param {Widget} widget
 * @returns {boolean} whether it is another one
 */
const takeTheme = (widget) => {
  const theme = themeOf(widget);
  if (JSON.stringify(theme) === JSON.stringify(widget.theme)) return false;
  widget.theme = theme;
  applyTheme(widget, theme);
  return true;
};

/**
 * Set all options again of an element that goes on without them, too.
 * @param {Widget} widget
 */
const refreshOptions = (widget) => {
  try {
    sendOptions(widget);
  } catch (error) {
    console.warn(error);
  }
};

/**
 * Follow what the page has declared of a chat since its element started.
 * @param {string} name of the chat, or of a widget
 * @param {string} kind what is asked for anew each time needs nothing
 */
const followPage = (name, kind) => {
  if (!/entities|commands/.test(kind)) return;
  for (const widget of widgets.values()) {
    if (name === widget.config.chat || name === widget.root.id) refreshOptions(widget);
  }
};

/** Follow a theme switch: the full options are set again, on the same element. */
const followTheme = () => {
  for (const [root, widget] of widgets) {
    if (!root.isConnected) {
      widgets.delete(root);
      continue;
    }
    if (takeTheme(widget)) refreshOptions(widget);
  }
};

// --- what the loader calls -------------------------------------------------------------------------

/**
 * @param {Widget} widget
 * @param {{opener?: HTMLElement, isQuiet?: boolean}} how
 */
const show = (widget, how = {}) => {
  const { root, panel, config } = widget;
  openPanel(widget, how);
  const { state } = root.dataset;
  if (state === "idle" || state === "failed") {
    if (!panel && config.load === "click" && !widget.hasStarted) {
      askToStart(widget);
    } else {
      start(widget);
    }
  } else if (widget.isReady) {
    focusChat(widget);
  }
};

/**
 * A chat in the page can't be opened, but be seen.
 * @param {Widget} widget
 * @param {HTMLElement} [opener]
 */
const open = (widget, opener) => {
  show(widget, { opener });
  if (!widget.panel) widget.root.scrollIntoView({ block: "nearest" });
};

/**
 * Open the chat, and wait until it works.
 * @param {Widget} widget
 * @param {HTMLElement} [opener]
 */
const untilOpen = async (widget, opener) => {
  open(widget, opener);
  if (widget.isReady) return;
  widget.waiting ??= deferred();
  await widget.waiting.promise;
};

/**
 * Options over a widget's own: mappings are merged, all else is replaced, and undefined removes it.
 * @param {Record<string, any>} own
 * @param {Record<string, any>} more
 */
const mergeOptions = (own, more) => {
  const merged = { ...own };
  for (const [name, value] of Object.entries(more)) {
    const isMapping = Object.getPrototypeOf(value ?? 0) === Object.prototype;
    if (value === undefined) delete merged[name];
    else merged[name] = isMapping ? mergeOptions(merged[name] ?? {}, value) : value;
  }
  return merged;
};

/**
 * @param {Widget} widget
 * @param {Record<string, any>} more
 */
const configure = (widget, more) => {
  const { config, element } = widget;
  const before = config.options;
  const { theme, ...rest } = more ?? {};
  if (Object.getPrototypeOf(more ?? 0) !== Object.prototype || "api" in more)
    throw new TypeError("configure: give an object of ChatKit's options, without api");
  config.options = mergeOptions(before, rest);
  if ("theme" in more) {
    const given = typeof theme === "string" ? { colorScheme: theme } : theme;
    config.options = mergeOptions(config.options, { theme: given });
    if (given?.colorScheme === "auto") delete config.options.theme.colorScheme;
  }
  rebuildHeader(widget);
  if (!element) return;
  try {
    takeTheme(widget);
    sendOptions(widget);
  } catch (error) {
    // It stays blank then: a new one starts with the former options.
    config.options = before;
    rebuildHeader(widget);
    if (widget.shown !== undefined) widget.thread = widget.shown;
    start(widget);
    throw error;
  }
};

/** @param {string | object} value */
const asMessage = (value) => (typeof value === "string" ? { text: value } : value);

/**
 * Call a method of a chat that works, or is about to; one that nobody has opened is not started by it.
 * @param {Widget} widget
 * @param {import("./api.js").Method} method
 * @param {...any} given
 */
const calledWhenReady = async (widget, method, ...given) => {
  if (widget.root.dataset.state === "loading") await untilOpen(widget);
  await callElement(widget, method, ...given);
};

/** @type {Record<string, (widget: Widget, value?: any, more?: any) => unknown>} */
const ACTS = {
  open: (widget, _, opener) => open(widget, opener),
  close: closePanel,
  toggle: (widget, _, opener) => (widget.panel?.open ? closePanel(widget) : open(widget, opener)),
  show: (widget) => show(widget),
  restore: (widget) => isSmall.matches || show(widget, { isQuiet: true }),
  tease: async (widget) => {
    const { showTeaser } = await import("./teaser.js");
    showTeaser(widget, () => show(widget, { opener: widget.launcher ?? undefined }));
  },
  warm: () => {},
  send: async (widget, value, opener) => {
    await untilOpen(widget, opener);
    const { element } = widget;
    const message = asMessage(value);
    widget.sent = message;
    try {
      await callElement(widget, "sendUserMessage", message);
    } catch (error) {
      // Of an element that was lost meanwhile it is the next one's draft.
      if (widget.element === element) widget.sent = null;
      // It is answering: who has clicked finds the words in the field.
      if (!opener) throw error;
      if (widget.element) await callElement(widget, "setComposerValue", message);
    }
  },
  compose: async (widget, value, opener) => {
    widget.wantsFocus = false;
    await untilOpen(widget, opener);
    widget.draft = asMessage(value);
    await callElement(widget, "setComposerValue", widget.draft);
    if (canHover.matches) await callElement(widget, "focusComposer");
  },
  thread: async (widget, id = null) => {
    if (widget.isReady) await callElement(widget, "setThreadId", id);
    else widget.thread = id;
  },
  configure,
  focusComposer: async (widget) => {
    await untilOpen(widget);
    await callElement(widget, "focusComposer");
  },
  showHistory: async (widget) => {
    await untilOpen(widget);
    await callElement(widget, "showHistory");
  },
  hideHistory: (widget) => calledWhenReady(widget, "hideHistory"),
  fetchUpdates: (widget) => calledWhenReady(widget, "fetchUpdates"),
  sendCustomAction: (widget, ...given) => calledWhenReady(widget, "sendCustomAction", ...given),
  setTheme: (widget, theme) => {
    const isOptions = typeof theme === "object" && !Array.isArray(theme);
    const name = isOptions ? theme?.colorScheme : theme;
    if (![undefined, null, "light", "dark", "auto"].includes(name)) {
      throw new TypeError('setTheme: give "light", "dark", "auto", theme options, or null');
    }
    widget.themeOverride = theme ?? undefined;
    followTheme();
  },
};

/**
 * What a click on a launcher, or on a button of the page's, asks for.
 * @param {HTMLElement} opener
 * @param {boolean} isBuilt before there is anything to close, a second click is an impatient first
 * @returns {[act: string, message?: string]}
 */
const actOfClick = (opener, isBuilt) => {
  if (opener.matches(".chatkit-launcher") && isBuilt) return ["toggle"];
  const { chatkitMessage, chatkitSend } = opener.dataset;
  const message = chatkitSend ?? chatkitMessage;
  if (!message) return ["open"];
  return [chatkitSend ? "send" : "compose", message];
};

/**
 * Fetch OpenAI's script beside the stylesheet.
 * @param {Config} config
 */
const warm = (config) => {
  if (config.load !== "click" && hasConsent(config)) warmUp(config);
};

/**
 * @param {HTMLElement} root
 * @param {Config} config
 * @param {string} act `click`, or one of ACTS
 * @param {any} [value] of the act; of a click, the button
 * @param {any} [item] of sendCustomAction()
 */
const perform = async (root, config, act, value, item) => {
  const isClick = act === "click";
  if (isClick || act === "warm") warm(config);
  const isBuilt = widgets.has(root);
  const widget = await obtainWidget(root, config);
  if (!isClick) {
    const does = act === "toggle" && !isBuilt ? "open" : act;
    await ACTS[does](widget, value, does === "sendCustomAction" ? item : undefined);
    return;
  }
  const [does, message] = actOfClick(value, isBuilt);
  try {
    await ACTS[does](widget, message, value);
  } catch {
    // Who clicked sees it in the chat.
  }
};

// --- what happens on the page ----------------------------------------------------------------------

const retryOnline = () => {
  for (const widget of widgets.values()) {
    if (widget.root.dataset.state === "failed") startAgain(widget);
  }
};

// Who has signed in in another tab finds the chat working in this one.
const retrySignedIn = () => {
  if (document.visibilityState !== "visible") return;
  for (const widget of widgets.values()) {
    const { interruption, root } = widget;
    if (interruption === "unauthenticated" && root.dataset.state === "failed") start(widget);
  }
};

const themeObserver = new MutationObserver(followTheme);
const watchTheme = () => {
  for (const node of [document.documentElement, document.body]) {
    themeObserver.observe(node, { attributes: true, attributeFilter: THEME_ATTRIBUTES });
  }
};

// What a page listens to, and no widget ever sends.
/** @param {string} type */
const checkName = (type) => {
  const known = [...Object.keys(EVENTS), ...STATES, "close", "error", "log", "open", "unread"];
  if (!known.includes(type.replace(/^chatkit\./, "")))
    import("./names.js").then(({ tellName }) => tellName(type, known)).catch(() => {});
};

// Another kit's widget may be there already; its modules serve all widgets of the page.
if (!api.act) {
  api.act = perform;
  api.changed = followPage;
  for (const type of api.heard ?? []) checkName(type);
  api.heard = { push: checkName };
  api.agree = () =>
    import("./consent.js").then(({ followConsent }) => followConsent()).catch(console.warn);
  watchPolicy();
  watchScreen();
  keepFocus();
  window.addEventListener("online", retryOnline);
  document.addEventListener("visibilitychange", retrySignedIn);
  prefersDark.addEventListener("change", followTheme);
  // A switch that is animated has its colours when it is over.
  document.addEventListener("transitionend", ({ target }) => {
    const isAround = [...widgets.keys()].some((root) =>
      /** @type {Node} */ (target).contains(root),
    );
    if (isAround) followTheme();
  });
}
