// What the page and the widgets have to do with each other: the loader's FlaskChatKit, the events and
// states that the page sees, and the functions that it has declared.

import { browserStore, NativeRequest, toJson } from "../shared/dom.js";

/**
 * @typedef {object} Config what the server and the loader have said of a widget
 * @property {string} chat its name
 * @property {string} [id] of the widget's root
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
 * @property {Record<string, any>} [about] what the macro says that the page is about
 * @property {Record<string, any>} options of the element
 */

/**
 * @typedef {HTMLElement & {
 *   setOptions(options: object): void,
 *   setStrings?(strings: Record<string, string>, language: string): void,
 *   setThreadId(id: string | null): Promise<void>,
 *   sendUserMessage(message: object): Promise<void>,
 *   setComposerValue(value: object): Promise<void>,
 *   sendCustomAction(action: object, itemId?: string): Promise<void>,
 *   fetchUpdates(): Promise<void>,
 *   focusComposer(): Promise<void>,
 *   showHistory(): Promise<void>,
 *   hideHistory(): Promise<void>,
 * }} ChatElement OpenAI's element, or that of the built-in chat
 */

/**
 * @typedef {"setThreadId" | "sendUserMessage" | "setComposerValue" | "sendCustomAction"
 *   | "fetchUpdates" | "focusComposer" | "showHistory" | "hideHistory"} Method of an element
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
 * @property {import("../shared/dom.js").Deferred | null} [gone] rejected when the element is lost
 * @property {(method: Method, again: () => Promise<void>) => Promise<boolean>} [onMissing] is called
 *   when the element does not have a method; whether another one has taken its place, which has it
 * @property {string | null} [shown] the thread that the element shows; undefined before it has said
 * @property {Message | null} [draft] what was put into the composer
 * @property {Message | null} [sent] what was sent, until it is in a thread that is known
 * @property {boolean} [hasCalled] whether the element has begun to call the site's server
 * @property {string} [presumed] why the chat was said to have failed before it was tried
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
 * @typedef {object} Message what ChatKit's sendUserMessage() and setComposerValue() take
 * @property {string} [text]
 * @property {object[]} [content]
 * @property {string} [reply] a text that is quoted
 * @property {object[]} [attachments]
 * @property {boolean} [newThread]
 */

/**
 * @typedef {object} Chat what `FlaskChatKit.get()` returns
 * @property {Record<string, Function>} tools
 * @property {Record<string, Function>} actions
 * @property {Given} given
 * @property {() => Promise<void>} open
 * @property {() => Promise<void>} close
 * @property {() => Promise<void>} toggle
 * @property {(message: string | Message) => Promise<void>} send
 * @property {(message: string | Message) => Promise<void>} compose
 * @property {(id: string | null) => Promise<void>} thread
 * @property {(theme: string | Theme | null) => Promise<void>} setTheme
 * @property {(options: Record<string, any>) => Promise<void>} configure
 * @property {() => Promise<void>} focusComposer
 * @property {() => Promise<void>} showHistory
 * @property {() => Promise<void>} hideHistory
 * @property {() => Promise<void>} fetchUpdates
 * @property {(action: {type: string, payload?: object}, itemId?: string) => Promise<void>}
 *   sendCustomAction
 * @property {(type: string, listener: (event: CustomEvent) => void) => Chat} on
 * @property {(type: string, listener: (event: CustomEvent) => void) => Chat} off
 * @property {(name: string, run: (params: any) => unknown) => Chat} tool
 * @property {(type: string, run: (payload: any, item: any) => unknown) => Chat} action
 * @property {{status: string, open: boolean, unread: number, thread?: string}} state
 */

/**
 * @typedef {object} Given what a page has declared of a chat
 * @property {{search?: Function, click?: Function, preview?: Function}} [entities]
 * @property {{search?: Function, select?: Function}} [commands]
 * @property {object | (() => unknown)} [context] what the page is about
 * @property {object | (() => unknown)} [headers] of requests to the chat's own server
 */

/**
 * @typedef {object} Api of the loader
 * @property {(name: string) => EventTarget & Chat} get
 * @property {(given?: boolean) => void} consent
 * @property {string} [nonce]
 * @property {boolean} [agreed] undefined as long as the page has not said
 * @property {() => unknown} [agree] is called when `agreed` has changed
 * @property {Function} [act]
 * @property {(name: string, kind: string) => void} [changed] what a page has declared of a chat
 * @property {any} [heard] takes each name that on() is given
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

// --- what the page declares ------------------------------------------------------------------------

/** Bytes of what a page says that it is about, as JSON. */
const MAX_PAGE = 4096;
/** The calls that run none of the site's code. */
const READS = /^(threads\.(get_by_id|list|update|delete)|items\.list|attachments\.)/;

/**
 * What the page has declared of a widget, else of its chat.
 * @template {keyof Given} K
 * @param {Config} config
 * @param {K} kind
 * @returns {Given[K]}
 */
export const pageValue = ({ id, chat }, kind) =>
  loader().get(id ?? chat).given[kind] ?? loader().get(chat).given[kind];

/**
 * The page's own functions as the element's options, looked up when it calls them.
 * @param {Widget} widget
 */
export const pageCallbacks = (widget) => ({
  /** @param {{name: string, params: object}} call */
  onClientTool: async ({ name, params }) => {
    const { onClientTool } = widget.config.options;
    const tool = pageFunction(widget, "tools", name);
    if (!tool && onClientTool) return onClientTool({ name, params });
    if (!tool) throw new Error(`this page has no tool ${JSON.stringify(name)}`);
    return (await tool(params)) ?? {};
  },
  widgets: {
    /**
     * @param {{type: string, payload?: object}} action
     * @param {object} item
     */
    onAction: async (action, item) => {
      const run = pageFunction(widget, "actions", action.type);
      if (run) return run(action.payload, item);
      return widget.config.options.widgets?.onAction?.(action, item);
    },
  },
});

/**
 * What can be searched while one writes, as the element's options.
 * @param {Config} config
 * @returns {{entities?: object, commands?: object}}
 */
export const pageSearches = (config) => {
  const { entities, commands } = config.options;
  const found = pageValue(config, "entities");
  const { search, click, preview } = found ?? {};
  const does = pageValue(config, "commands");
  return {
    ...(found && {
      entities: {
        ...entities,
        ...(search && { onTagSearch: async (/** @type {string} */ query) => search(query) }),
        ...(click && { onClick: click }),
        ...(preview && {
          onRequestPreview: async (/** @type {object} */ entity) => {
            const shown = await preview(entity);
            return shown && "preview" in shown ? shown : { preview: shown ?? null };
          },
        }),
      },
    }),
    ...(does && {
      commands: {
        enabled: true,
        ...commands,
        ...(does.search && {
          onSearch: async (/** @type {string} */ query) => does.search?.(query),
        }),
        ...(does.select && { onSelect: does.select }),
      },
    }),
  };
};

/**
 * A value that the page has declared, or what its function returns now.
 * @param {Config} config
 * @param {"context" | "headers"} kind
 * @returns {Promise<Record<string, any>>}
 */
const currentValue = async (config, kind) => {
  try {
    /** @type {any} */
    const given = pageValue(config, kind);
    return { ...(typeof given === "function" ? await given() : given) };
  } catch (error) {
    // What the visitor has written matters more.
    console.error(error);
    return {};
  }
};

/**
 * The page's headers for calls to the chat's own server; the kit's own come on top.
 * @param {Config} config
 */
export const pageHeaders = async (config) => {
  const headers = new Headers();
  for (const [name, value] of Object.entries(await currentValue(config, "headers"))) {
    try {
      if (!/^x-chatkit-/i.test(name)) headers.set(name, value);
    } catch {
      console.error(`flask_chatkit: headers(): ${name} is no header, or its value is none`);
    }
  }
  return headers;
};

/**
 * A call of the element with what the page has to say to its own server: its headers, and what it is
 * about. What goes elsewhere, a file to a store for files, stays as it is.
 * @param {Config} config
 * @param {Request} request
 */
export const withPage = async (config, request) => {
  const { page: home, about } = config;
  if (new URL(request.url).origin !== new URL(home).origin) return request;
  for (const [name, value] of await pageHeaders(config))
    if (!request.headers.has(name)) request.headers.set(name, value);
  const page = { ...about, ...(await currentValue(config, "context")) };
  if (request.url !== `${home}api` || Object.keys(page).length === 0) return request;
  let json;
  try {
    json = toJson(page);
  } catch {
    json = null; // a circle
  }
  if (json === null || new Blob([json]).size > MAX_PAGE) {
    console.error(`flask_chatkit: context() takes JSON of at most ${MAX_PAGE} bytes`);
    return request;
  }
  const body = await request.clone().json();
  if (READS.test(body.type)) return request;
  const metadata = { ...body.metadata, page: JSON.parse(json) };
  return new NativeRequest(request, { body: toJson({ ...body, metadata }) });
};

// --- what the page does not hear -------------------------------------------------------------------
// A page's listeners see no field in the chat's shadow, but an element of no kind they know: their
// shortcuts would take each letter, and a modal of theirs the focus.

const FIELD = "input, select, textarea, [contenteditable]";
const OWN = `contextmenu copy cut dragstart mousedown selectstart touchmove wheel`.split(" ");

/** @param {Event} event */
const isOfField = (event) => /** @type {Element} */ (event.composedPath()[0]).matches?.(FIELD);

/** @param {Event} event */
const stop = (event) => event.stopPropagation();

/** @param {KeyboardEvent} event */
const keepKey = (event) => {
  const { altKey, ctrlKey, metaKey, key } = event;
  const isShortcut = (altKey || ctrlKey || metaKey) && !event.getModifierState("AltGraph");
  // Of keys that write nothing the page, and the panel, may make what they like.
  if (isOfField(event) && !isShortcut && key !== "Escape") stop(event);
};

/**
 * Keep what happens in the chat from the page's own listeners.
 * @param {HTMLElement} node the panel, or the body of a chat in the page
 */
export const keepEvents = (node) => {
  for (const type of OWN) node.addEventListener(type, stop, { passive: true });
  for (const type of /** @type {const} */ (["keydown", "keypress", "keyup"]))
    node.addEventListener(type, keepKey);
  node.addEventListener("paste", (event) => {
    if (isOfField(event)) stop(event);
  });
  // What the chat does not take may be for the page.
  for (const type of ["dragover", "drop"])
    node.addEventListener(type, (event) => {
      if (event.defaultPrevented) stop(event);
    });
};

/** @param {any} node */
const isInWidget = (node) =>
  Boolean(node?.nodeType) && [...widgets.keys()].some((root) => root.contains(node));

/**
 * Let the focus go into a widget, and stay there, while a modal of the page's is open: its listeners
 * are told that the focus left a field of the page's, and nothing else.
 */
export const keepFocus = () => {
  for (const type of /** @type {const} */ (["focus", "focusin", "blur", "focusout"])) {
    const handle = (/** @type {FocusEvent} */ event) => {
      const { bubbles, relatedTarget, target } = event;
      const isInside = isInWidget(target);
      if (!isInside && !(type === "focusout" && isInWidget(relatedTarget))) return;
      event.stopImmediatePropagation();
      const [at] = event.composedPath();
      // In the chat's shadow it is heard, and ends there.
      const more = isInside ? { relatedTarget } : { composed: true };
      if (!isInside || at !== target) at.dispatchEvent(new FocusEvent(type, { bubbles, ...more }));
    };
    window.addEventListener(type, handle, true);
  }
};

/**
 * Call a method of the element: the one place where that is done. A build that does not have it
 * throws at once, and an element that is lost meanwhile never answers.
 * @param {Widget} widget
 * @param {Method} method
 * @param {...any} given
 * @returns {Promise<void>}
 */
export const callElement = async (widget, method, ...given) => {
  const { element, gone } = widget;
  if (!element) throw new Error(`The chat ${widget.config.chat} has not started`);
  const again = () => callElement(widget, method, ...given);
  let answer;
  try {
    answer = /** @type {any} */ (element)[method](...given);
  } catch (error) {
    if (widget.element === element && !(await widget.onMissing?.(method, again))) throw error;
    return again();
  }
  await Promise.race([answer, gone?.promise ?? answer]);
};
