// Small functions for texts, and for links, icons and buttons.

import { h, svg } from "../shared/dom.js";

/** @import { Strings } from "./types.js" */

const TICK_MS = 2000;

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
 * @property {number} [wait] seconds until a limit is over
 * @property {unknown} [cause]
 * @property {() => unknown} [again] tries once more
 * @property {boolean} [told] whether the page around shows it already
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
export const textsOf = (item) =>
  asList(item.content).map((part) =>
    part?.type === "input_tag" ? `@${part.text}` : (part?.text ?? ""),
  );

/**
 * A size for people, as in "1.5 MB".
 * @param {number} count bytes
 */
export const formatBytes = (count) => {
  const step = Math.min(3, Math.floor(Math.log(Math.max(count, 1)) / Math.log(1024)));
  return `${+(count / 1024 ** step).toFixed(1)} ${["B", "kB", "MB", "GB"][step]}`;
};

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

/**
 * An image that is shown larger where it is clicked.
 * @param {Strings} text
 * @param {string} src
 * @param {string} alt
 * @param {...any} instead stands where it can't be had
 */
export const zoomable = (text, src, alt, ...instead) => {
  const label = fillIn(text.enlarge, alt);
  const node = h("button", { type: "button", className: "zoom", "aria-label": label });
  const image = picture(src, alt);
  image.addEventListener("error", () => node.replaceWith(...instead));
  node.append(image);
  return node;
};

/** @type {Record<string, string>} */
const ICONS = {
  at: "M15.5 12a3.5 3.5 0 1 0-7 0 3.5 3.5 0 0 0 7 0ZM15.5 8.5V13a2.5 2.5 0 0 0 5 0v-1a8.5 8.5 0 1 0-3.4 6.8",
  back: "M15 5l-7 7 7 7",
  bulb: "M9.5 17h5M10 20.5h4M12 3.5a6 6 0 0 0-3.5 10.9c.6.5 1 1.2 1 2v.6h5v-.6c0-.8.4-1.5 1-2A6 6 0 0 0 12 3.5Z",
  check: "M5 12.5 9.5 17 19 7.5",
  chevron: "M9 6l6 6-6 6",
  clip: "M19.5 11.5 12 19a4.6 4.6 0 0 1-6.5-6.5L13 5a3 3 0 0 1 4.3 4.3L9.8 16.8a1.5 1.5 0 0 1-2.1-2.1l6.8-6.8",
  close: "M6 6l12 12M18 6 6 18",
  compose:
    "M12 5H6.5A1.5 1.5 0 0 0 5 6.5v11A1.5 1.5 0 0 0 6.5 19h11a1.5 1.5 0 0 0 1.5-1.5V12M18 4.3a1.6 1.6 0 0 1 2.3 2.3L13 14l-3.2.9.9-3.2Z",
  copy: "M9 9h10.5v10.5H9ZM5.5 15h-1V4.5H15v1",
  dots: "M6 12h.01M12 12h.01M18 12h.01",
  download: "M12 4.5v10.5M7.5 11l4.5 4.5 4.5-4.5M5 19.5h14",
  down: "M12 5v14M6 13l6 6 6-6",
  edit: "M4.5 19.5l1-4L16 5a2.1 2.1 0 0 1 3 3L8.5 18.5Z",
  file: "M6.5 3.5h7l4 4v13h-11ZM13.5 3.5v4h4",
  globe:
    "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM3.5 12h17M12 3.5c3.3 3.5 3.3 13.5 0 17-3.3-3.5-3.3-13.5 0-17",
  history: "M4 12a8 8 0 1 0 2.4-5.7L4 8.5M4 4v4.5h4.5M12 8v4.2l3 1.8",
  image: "M4 5h16v14H4ZM4 16l4.5-4.5 4 4 3-3L20 17M15.5 9h.01",
  info: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM12 11v5M12 8h.01",
  menu: "M4 7h16M4 12h16M4 17h16",
  mic: "M12 3.5a2.75 2.75 0 0 0-2.75 2.75v5.5a2.75 2.75 0 0 0 5.5 0v-5.5A2.75 2.75 0 0 0 12 3.5ZM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3",
  plus: "M12 5v14M5 12h14",
  quote:
    "M10 7.5H5.5v5H10v-5ZM10 12c0 2.5-1.2 4-3.5 4.5M18.5 7.5H14v5h4.5v-5ZM18.5 12c0 2.5-1.2 4-3.5 4.5",
  retry: "M19.5 5v4.5H15M19.3 13.5a7.5 7.5 0 1 1-1.6-6.7l1.8 2.5",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM15.3 15.3 20 20",
  send: "M12 19V5M6 11l6-6 6 6",
  slash: "M4.5 4.5h15v15h-15ZM14 8l-4 8",
  spark: "M12 3.5l2 6.5 6.5 2-6.5 2-2 6.5-2-6.5L3.5 12l6.5-2Z",
  stop: "M8 8h8v8H8Z",
  trash: "M5 7h14M9.5 7V4.5h5V7M7 7l.8 12.5h8.4L17 7M10.5 11v5M13.5 11v5",
  up: "M7.5 11v8.5h-3V11ZM7.5 11l3.7-7.2a2 2 0 0 1 2.3 2.5L12.8 9.5h4.7a2 2 0 0 1 2 2.4l-1.1 6a2 2 0 0 1-2 1.6H7.5",
  warning: "M12 4.5 20.5 19h-17ZM12 10v4M12 16.5h.01",
};

/**
 * Draw an icon; what the chat itself does not use is loaded when it is first shown.
 * @param {string | undefined} name as the chat, ChatKit or Lucide have it
 * @param {string} [instead] the icon for a name that is unknown
 * @returns {SVGElement | ""} an empty string for none
 */
export const icon = (name, instead = "") => {
  if (!name && !instead) return "";
  const shown = name || instead;
  if (shown === "thumb-down") return svg(ICONS.up, "icon i-thumb-down");
  if (Object.hasOwn(ICONS, shown)) return svg(ICONS[shown], `icon i-${shown}`);
  const node = svg("", "icon");
  const show = (/** @type {string | undefined} */ path) => {
    if (!path) return node.remove();
    if (path[0] === "!") node.classList.add("filled");
    node.firstElementChild?.setAttribute("d", path.replace("!", ""));
  };
  import("./icons.js").then(
    ({ findPath }) => show(findPath(shown) ?? ICONS[instead] ?? findPath(instead)),
    () => show(ICONS[instead]),
  );
  return node;
};

/**
 * A button that shows an icon alone.
 * @param {string} label its accessible name, and its tooltip
 * @param {string} name of the icon
 * @param {(event: MouseEvent) => unknown} onclick
 * @param {Record<string, any>} more properties and attributes
 */
export const iconButton = (label, name, onclick, more = {}) =>
  h(
    "button",
    { type: "button", className: "plain", title: label, "aria-label": label, onclick, ...more },
    icon(name, "dots"),
  );

/**
 * Show for a moment that a button has done what it says.
 * @param {Element} node with an icon
 */
export const tick = (node) => {
  const [before] = node.getElementsByTagName("svg");
  const done = icon("check");
  if (!before || !done || before.matches(".i-check")) return;
  before.replaceWith(done);
  setTimeout(() => done.replaceWith(before), TICK_MS);
};

/**
 * A button with a text.
 * @param {string} label
 * @param {((event: MouseEvent) => unknown) | undefined} onclick
 * @param {string} className
 */
export const button = (label, onclick, className = "button") =>
  h("button", { type: "button", className, onclick }, label);

/**
 * A checkbox or radio button with its label.
 * @param {"checkbox" | "radio"} type
 * @param {Record<string, any>} given
 */
export const choice = (type, { label, ...given }) =>
  h("label", { className: "choice" }, h("input", { type, ...given }), h("span", {}, label));

/** What shows that something is under way. */
export const spinner = () => h("span", { className: "spinner" });
