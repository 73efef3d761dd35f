// Small functions that several parts of the chat use.

import { h } from "../shared/dom.js";

/**
 * A value as a list: a list is itself, nothing is an empty one.
 * @param {any} value
 * @returns {any[]}
 */
export const asList = (value) => (Array.isArray(value) ? value : value ? [value] : []);

/**
 * Fill the gaps `{}` of a string.
 * @param {string} text
 * @param {...any} values
 */
export const fillIn = (text, ...values) =>
  values.reduce((done, value) => done.replace("{}", () => value), text);

/**
 * @typedef {object} Failure what the chat knows of an error beyond its message
 * @property {boolean} [retry] whether the same request may succeed later
 * @property {number} [status] of the HTTP response
 * @property {unknown} [cause]
 * @property {() => unknown} [again] tries once more
 */

/**
 * An error whose message is for the visitor.
 * @param {string} message
 * @param {Failure} [more]
 * @returns {Error & Failure}
 */
export const failure = (message, more) => Object.assign(new Error(message), more);

/**
 * The text of each part of an item.
 * @param {{content?: any, [key: string]: any}} item
 * @returns {string[]}
 */
export const textsOf = (item) => asList(item.content).map((part) => part?.text ?? "");

/**
 * A size for people, as in "1.5 MB".
 * @param {number} count bytes
 */
export const formatBytes = (count) => {
  const step = Math.min(3, Math.floor(Math.log(Math.max(count, 1)) / Math.log(1024)));
  return `${+(count / 1024 ** step).toFixed(1)} ${["B", "kB", "MB", "GB"][step]}`;
};

/**
 * A duration for people, as in "2 min 5 s".
 * @param {number} seconds
 */
export const formatSeconds = (seconds) =>
  seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;

/**
 * An absolute URL that is safe to follow; null for others.
 * @param {string} href
 * @param {RegExp} schemes
 */
export const safeUrl = (href, schemes = /^(https?|mailto|tel|chatkit-link):$/) => {
  try {
    const url = new URL(href, document.baseURI);
    return schemes.test(url.protocol) ? url : null;
  } catch {
    return null;
  }
};

/**
 * A link that opens in another tab; what it would hold, if its address is not safe.
 * @param {string} href
 * @param {...any} children
 */
export const link = (href, ...children) => {
  const url = href && safeUrl(href);
  if (!url) return h("span", {}, ...children);
  return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, ...children);
};

/**
 * An image.
 * @param {string} src
 * @param {string} alt
 * @param {...any} instead stands where it can't be had or the site's policy forbids it
 */
export const picture = (src, alt, ...instead) =>
  h("img", {
    alt,
    loading: "lazy",
    referrerPolicy: "no-referrer",
    onerror: (/** @type {Event} */ { target }) =>
      /** @type {Element} */ (target).replaceWith(...instead),
    src,
  });
