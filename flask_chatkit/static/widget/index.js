// The widget: imported by the loader when a visitor wants to chat. It opens and closes the panel,
// makes ChatKit's element, gets its secrets, follows the page's light or dark, and shows a notice
// when something does not work.
//
// All modules are imported here, so that a browser fetches them in one go.

import { deferred, h, withTimeout } from "../shared/dom.js";
import "../shared/colour.js";
import "../lang/en.js";
import { hasConsent, keepEvents, keepFocus, loader, widgets } from "./api.js";
import {
  askToStart,
  followPage,
  followTheme,
  loadScript,
  start,
  stop,
  usesOpenAI,
} from "./element.js";
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
  temporary,
  watchScreen,
} from "./panel.js";
import "./secrets.js";
import { applyTheme, prefersDark, themeOf } from "./theme.js";

/** @typedef {import("./api.js").Widget} Widget */
/** @typedef {import("./api.js").Config} Config */

const BUILD_MS = 2_000; // how long the first opening waits for style and words
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
const openedElement = async (widget, opener) => {
  open(widget, opener);
  if (!widget.isReady) {
    widget.waiting ??= deferred();
    await widget.waiting.promise;
  }
  return /** @type {import("./api.js").ChatElement} */ (widget.element);
};

/** @param {string | object} value */
const asMessage = (value) => (typeof value === "string" ? { text: value } : value);

/** @type {Record<string, (widget: Widget, value?: any, opener?: HTMLElement) => unknown>} */
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
    const element = await openedElement(widget, opener);
    try {
      await element.sendUserMessage(asMessage(value));
    } catch (error) {
      // It is answering: who has clicked finds the words in the field.
      if (!opener) throw error;
      await element.setComposerValue(asMessage(value));
    }
  },
  compose: async (widget, value, opener) => {
    widget.wantsFocus = false;
    const element = await openedElement(widget, opener);
    await element.setComposerValue(asMessage(value));
    if (canHover.matches) await element.focusComposer();
  },
  thread: async (widget, id = null) => {
    if (widget.isReady) await widget.element?.setThreadId(id);
    else widget.thread = id;
  },
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
 * Fetch OpenAI's script beside the stylesheet, when the visitor is about to open the chat.
 * @param {Config} config
 */
const warm = (config) => {
  const waits = config.load === "click" || !hasConsent(config);
  if (!waits && usesOpenAI(config)) loadScript(config.script).catch(() => {});
};

/**
 * @param {HTMLElement} root
 * @param {Config} config
 * @param {string} act `click`, or one of ACTS
 * @param {any} value of the act; of a click, the button
 */
const perform = async (root, config, act, value) => {
  const isClick = act === "click";
  if (isClick || act === "warm") warm(config);
  const isBuilt = widgets.has(root);
  const widget = await obtainWidget(root, config);
  if (!isClick) {
    await ACTS[act === "toggle" && !isBuilt ? "open" : act](widget, value);
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
    if (widget.root.dataset.state === "failed") start(widget);
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

// Another kit's widget may be there already; its modules serve all widgets of the page.
if (!api.act) {
  api.act = perform;
  api.changed = followPage;
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
