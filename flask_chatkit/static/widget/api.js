// What the page and the widgets have to do with each other: the loader's FlaskChatKit, the events and
// states that the page sees, and the functions that it has declared.

import { browserStore } from "../shared/dom.js";

/**
 * @typedef {object} Config what the server and the loader have said of a widget
 * @property {string} chat its name
 * @property {string} page the address of its own page, below which its calls go
 * @property {string} base the address of the kit
 * @property {string} styles the address of the stylesheet
 * @property {string} script the address of OpenAI's script
 * @property {boolean} [debug] whether the site is being developed
 * @property {boolean} [embedded] whether this is a page of another site
 * @property {boolean} [login] whether visitors there are known by the kit's cookie all the same
 * @property {boolean} [served] whether the site serves the chat, and OpenAI does not host it
 * @property {string} [domainKey]
 * @property {"direct" | "two_phase"} [upload]
 * @property {"click" | "consent"} [load]
 * @property {{href: string, label?: string}} [contact]
 * @property {string} [preset]
 * @property {boolean} [panelHeader]
 * @property {boolean} [messageEvents]
 * @property {{chat?: Record<string, string>, [key: string]: any}} [strings]
 * @property {{text: string, delay: number}} [teaser]
 * @property {Record<string, any>} options of the element
 */

/**
 * @typedef {HTMLElement & {
 *   setOptions(options: object): void,
 *   setStrings?(strings: Record<string, string>, language: string): void,
 *   setThreadId(id: string | null): Promise<void>,
 *   sendUserMessage(message: object): Promise<void>,
 *   setComposerValue(value: object): Promise<void>,
 *   focusComposer(): Promise<void>,
 *   showHistory(): Promise<void>,
 *   hideHistory(): Promise<void>,
 *   fetchUpdates?(): Promise<void>,
 * }} ChatElement OpenAI's element, or that of the built-in chat
 */

/**
 * @typedef {object} Widget
 * @property {HTMLElement} root
 * @property {Config} config
 * @property {import("./i18n.js").Words} words
 * @property {HTMLElement} body what surrounds the element
 * @property {HTMLElement} notice what a visitor reads while there is no chat
 * @property {number} unread answers that came while the panel was closed
 * @property {HTMLDialogElement | null} panel of a floating widget
 * @property {HTMLElement | null} launcher
 * @property {HTMLElement} [status] is read out by a screen reader
 * @property {HTMLElement} [bar] the panel's header
 * @property {HTMLElement} [newChatButton]
 * @property {HTMLElement} [historyButton]
 * @property {boolean} [usesElementHeader] whether the element's header takes the bar's place
 * @property {HTMLElement | null} [teaser]
 * @property {HTMLElement | null} [opener] what the focus goes back to
 * @property {boolean} [wantsFocus] whether the chat gets the focus when it works
 * @property {object | null} [attempt] the start that is under way; another one takes its place
 * @property {ChatElement | null} [element]
 * @property {boolean} [isReady] whether the element has called the server
 * @property {boolean} [hasStarted] whether the visitor has pressed the button that loads the chat
 * @property {import("../shared/dom.js").Deferred | null} [waiting] settled when the chat works
 * @property {ReturnType<typeof setTimeout>} [watchdog]
 * @property {string} [interruption] the code or reason of the last failure
 * @property {{secret: Promise<string>, until: number} | null} [early]
 * @property {string | null} [thread] the first one that is shown
 * @property {Theme} [theme]
 * @property {string | Theme} [themeOverride] of setTheme()
 */

/** @typedef {Record<string, any>} Theme as ChatKit has it */

/**
 * @typedef {object} Chat what `FlaskChatKit.get()` returns
 * @property {Record<string, Function>} tools
 * @property {Record<string, Function>} actions
 */

/**
 * @typedef {object} Api of the loader
 * @property {(name: string) => EventTarget & Chat} get
 * @property {(given?: boolean) => void} consent
 * @property {string} [nonce]
 * @property {boolean} [agreed] undefined as long as the page has not said
 * @property {() => unknown} [agree] is called when `agreed` has changed
 * @property {Function} [act]
 */

// Where one widget of a page waits for consent they all do, so that none is a way around it.
const WAITING = '[data-chatkit*=\'"load":"consent"\']';

/** @returns {Api} */
export const loader = () => /** @type {any} */ (window).FlaskChatKit;

/** @type {Map<HTMLElement, Widget>} */
export const widgets = new Map();

/** @param {Config} config */
export const needsConsent = ({ load }) =>
  load === "consent" || document.querySelector(WAITING) !== null;

/** @param {Config} config */
export const hasConsent = (config) =>
  !needsConsent(config) || (loader().agreed ?? browserStore.get("consent"));

/**
 * Send an event of a widget to the page: it bubbles, and comes to who listens to the chat.
 * @param {Widget} widget
 * @param {string} type
 * @param {object} [detail]
 */
export const emit = ({ root, config }, type, detail) => {
  const init = { detail: { chat: config.chat, id: root.id, ...detail } };
  const fullType = `chatkit.${type}`;
  root.dispatchEvent(new CustomEvent(fullType, { bubbles: true, ...init }));
  for (const name of new Set([config.chat, root.id])) {
    // A chat's listeners may use either name.
    for (const each of [type, fullType]) {
      loader().get(name).dispatchEvent(new CustomEvent(each, init));
    }
  }
};

/**
 * @param {Widget} widget
 * @param {"idle" | "consent" | "loading" | "ready" | "failed"} state
 * @param {object} [detail]
 */
export const setState = (widget, state, detail) => {
  if (widget.root.dataset.state === state) return;
  widget.root.dataset.state = state;
  // These two are no news to anybody.
  if (!/loading|idle/.test(state)) emit(widget, state, detail);
};

/**
 * The page's own function of a widget, else that of its chat.
 * @param {Widget} widget
 * @param {"tools" | "actions"} kind
 * @param {string} name
 * @returns {Function | undefined}
 */
export const pageFunction = ({ root, config }, kind, name) =>
  loader().get(root.id)[kind][name] ?? loader().get(config.chat)[kind][name];
