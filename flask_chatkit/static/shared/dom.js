// Elements, links and promises.

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
