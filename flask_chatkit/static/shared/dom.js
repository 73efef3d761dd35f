// Elements, links, promises and storage.

/**
 * Make an element: properties where it has them, attributes else; functions are listeners.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} given undefined, null and false are left out
 * @param {...any} children nodes, strings and lists of them; false and empty strings are left out
 * @returns {HTMLElementTagNameMap[K]}
 */
export const h = (tag, given = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (name in node) Reflect.set(node, name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child || child === 0));
  return node;
};

/**
 * An icon that is drawn with strokes in 24 by 24.
 * @param {string} path
 * @param {string} [className]
 */
export const svg = (path, className) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  node.setAttribute("viewBox", "0 0 24 24");
  node.setAttribute("aria-hidden", "true");
  if (className) node.setAttribute("class", className);
  line.setAttribute("d", path);
  node.append(line);
  return node;
};

/**
 * Whether a link may be followed: no `javascript:`, and nothing that is no address.
 * @param {string | null | undefined} href
 * @returns {href is string}
 */
export const isSafeLink = (href) => {
  try {
    return Boolean(href && /^(https?|mailto|tel):$/.test(new URL(href, location.href).protocol));
  } catch {
    return false;
  }
};

/** @type {{createScriptURL(url: string): string} | undefined} */
let policy;

/**
 * The address of a script, on pages that take trusted types alone, too.
 * @param {string} src
 */
export const scriptUrl = (src) => {
  try {
    const createScriptURL = (/** @type {string} */ url) => url;
    const { trustedTypes } = /** @type {any} */ (window);
    policy ??= trustedTypes?.createPolicy("flask-chatkit", { createScriptURL });
  } catch {
    // The page allows no such policy, and says so in its console.
  }
  return policy?.createScriptURL(src) ?? src;
};

/**
 * What is an own list or object, without what a page's scripts have given all others.
 * @param {any} value
 * @returns {any}
 */
const bare = (value) => {
  if (!value || typeof value !== "object") return value;
  const copy = Array.isArray(value) ? [] : {};
  for (const name of Object.keys(value)) Reflect.set(copy, name, bare(value[name]));
  return Object.setPrototypeOf(copy, null);
};

/**
 * JSON as it is meant to be: some scripts, of Prototype for one, give all lists a toJSON.
 * @param {object} value
 */
export const toJson = (value) => JSON.stringify(bare(value));

/**
 * The browser's own class: MooTools has a Request, too, and another document has that of the browser.
 * @returns {typeof Request}
 */
const browsersRequest = () => {
  if ("clone" in Request.prototype) return Request;
  const frame = h("iframe", { hidden: true });
  document.head.append(frame);
  return /** @type {any} */ (frame.contentWindow).Request;
};
export const NativeRequest = browsersRequest();

/**
 * Resolve after some milliseconds.
 * @param {number} ms
 */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * A promise that is rejected after `ms` milliseconds.
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @param {string} [message]
 * @returns {Promise<T>}
 */
export const withTimeout = (promise, ms, message) =>
  Promise.race([promise, sleep(ms).then(() => Promise.reject(new Error(message)))]);

/**
 * @typedef {object} Deferred a promise that others settle
 * @property {Promise<void>} promise
 * @property {() => void} resolve
 * @property {(reason: unknown) => void} reject
 */

/** @returns {Deferred} */
export const deferred = () => {
  /** @type {any} */
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  // It may be rejected before anybody waits for it.
  made.promise.catch(() => {});
  return made;
};

// --- storage -------------------------------------------------------------------------------------
// Storage that is blocked, or full, is storage that forgets: it then holds for this page.

/**
 * @typedef {object} Store
 * @property {(key: string) => string | null} get
 * @property {(key: string, value: string | null) => void} set null removes it
 */

/**
 * Storage of the browser under keys of our own.
 * @param {"localStorage" | "sessionStorage"} kind
 * @param {Record<"localStorage" | "sessionStorage", Storage>} [owner] the window if none is given
 * @returns {Store}
 */
export const openStore = (kind, owner) => {
  // Read within the try below: the window may have none, or refuse it.
  const storage = () => (owner ?? window)[kind];
  /** @type {Record<string, string | null>} */
  const held = {};
  return {
    get(key) {
      try {
        return storage().getItem(`chatkit:${key}`) ?? held[key] ?? null;
      } catch {
        return held[key] ?? null;
      }
    },
    set(key, value) {
      try {
        delete held[key];
        if (value === null) storage().removeItem(`chatkit:${key}`);
        else storage().setItem(`chatkit:${key}`, value);
      } catch {
        held[key] = value;
      }
    },
  };
};

export const tabStore = openStore("sessionStorage");
export const browserStore = openStore("localStorage");
