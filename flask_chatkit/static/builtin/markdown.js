// Markdown, made harmless. Without its two libraries a text stays as it was written.

import { h } from "../shared/dom.js";
import { asList, link, picture, safeUrl } from "./controls.js";

/** @import { Strings } from "./types.js" */
/**
 * @typedef {object} MarkdownOptions
 * @property {Strings} text
 * @property {string[]} [domains] that images may be loaded from
 */

const LONGEST = 50_000; // characters
const TOP_LEVEL = 4; // of headings: those of the page and the chat are above

const [marked, purify] = await Promise.all(
  ["marked", "purify"].map((library) => import(`../vendor/${library}.mjs`)),
).catch(() => []);

const HARMLESS = /^(<\/?(br|sub|sup|kbd|mark|b|i|u|s)\s*\/?>)+$/i;
const escapeHtml = (/** @type {string} */ text) =>
  text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);

const parser = marked && new marked.Marked({ breaks: true, gfm: true });
parser?.use({
  renderer: {
    // HTML of a model is text about HTML.
    html: (/** @type {{text: string}} */ { text }) =>
      HARMLESS.test(text.trim()) ? text : escapeHtml(text),
    checkbox: (/** @type {{checked: boolean}} */ { checked }) => (checked ? "☑ " : "☐ "),
  },
});
const ALLOWED = {
  ALLOWED_TAGS: `a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i img kbd li mark ol p pre s
    strong sub sup table tbody td th thead tr u ul`.split(/\s+/),
  ALLOWED_ATTR: ["align", "alt", "class", "href", "src", "start", "title"],
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP:
    /^(https?:|mailto:|tel:|chatkit-link:|data:image\/|[^a-z]|[a-z0-9_]+($|[^:a-z0-9_+.-]))/i,
  RETURN_DOM_FRAGMENT: true,
};

/**
 * HTML that is not made harmless yet.
 * @param {string} text Markdown
 * @returns {string}
 * @throws if it would take too long
 */
export const parseMarkdown = (text) => {
  // Some texts take the square of the time to parse, and some all of the stack.
  if (!parser || text.length > LONGEST) throw new RangeError("too long, or no parser");
  return parser.parse(text);
};

/**
 * Whether an image may be loaded: it is in the text itself, or comes from one of the domains.
 * @param {string} src
 * @param {string[] | undefined} domains "*.example.org" is all below example.org
 */
export const mayShow = (src, domains) => {
  if (/^data:image\/(png|jpe?g|gif|webp|avif);/i.test(src)) return true;
  const url = safeUrl(src, /^https:$/);
  return asList(domains).some((domain) =>
    domain.startsWith("*.") ? url?.host.endsWith(domain.slice(1)) : url?.host === domain,
  );
};

/** @param {DocumentFragment} fresh */
const replaceLinks = (fresh) => {
  for (const each of fresh.querySelectorAll("a")) {
    each.replaceWith(link(each.getAttribute("href") ?? "", ...each.childNodes));
  }
};

/**
 * @param {DocumentFragment} fresh
 * @param {MarkdownOptions} options
 */
const replaceImages = (fresh, { text, domains }) => {
  for (const image of fresh.querySelectorAll("img")) {
    const src = image.getAttribute("src") ?? "";
    const alt = image.getAttribute("alt") || text.image;
    image.replaceWith(mayShow(src, domains) ? picture(src, alt, link(src, alt)) : link(src, alt));
  }
};

/** @param {DocumentFragment} fresh */
const replaceHeadings = (fresh) => {
  const headings = [...fresh.querySelectorAll("h1,h2,h3,h4,h5,h6")];
  const top = Math.min(...headings.map((heading) => Number(heading.tagName[1])));
  let level = TOP_LEVEL - 1;
  for (const heading of headings) {
    level = Math.min(TOP_LEVEL + Number(heading.tagName[1]) - top, level + 1, 6);
    const tag = /** @type {"h4"} */ (`h${level}`);
    heading.replaceWith(h(tag, {}, ...heading.childNodes));
  }
};

/**
 * @param {DocumentFragment} fresh
 * @param {Strings} text
 */
const wrapCode = (fresh, text) => {
  for (const pre of fresh.querySelectorAll("pre")) {
    const { className = "" } = pre.firstElementChild ?? {};
    const language = /language-([\w+#.-]+)/.exec(className)?.[1] ?? "";
    const copy = h("button", { type: "button", className: "plain", "data-copy": "" }, text.copy);
    const box = h("div", { className: "code" }, h("div", {}, h("span", {}, language), copy));
    pre.replaceWith(box);
    pre.tabIndex = 0;
    pre.dir = "ltr";
    box.append(pre);
  }
};

/**
 * @param {DocumentFragment} fresh
 * @param {Strings} text
 */
const wrapTables = (fresh, text) => {
  for (const table of fresh.querySelectorAll("table")) {
    const box = h("div", { className: "table", role: "group", "aria-label": text.table });
    table.replaceWith(box);
    box.tabIndex = 0;
    box.append(table);
  }
};

/**
 * Show `fresh` in `target`. The nodes at the start that are the same stay, with a selection in them.
 * @param {Element} target
 * @param {DocumentFragment} fresh
 */
const replaceTail = (target, fresh) => {
  const old = [...target.childNodes];
  const now = [...fresh.childNodes];
  const changed = now.findIndex((node, index) => !old[index]?.isEqualNode(node));
  const from = changed < 0 ? now.length : changed;
  for (const node of old.slice(from)) node.remove();
  target.append(...now.slice(from));
};

/**
 * Show Markdown in `target`.
 * @param {Element} target
 * @param {string} markdown
 * @param {MarkdownOptions} options
 */
export const showMarkdown = (target, markdown, options) => {
  /** @type {DocumentFragment | undefined} */
  let fresh;
  try {
    fresh = purify?.default.sanitize(parseMarkdown(markdown), ALLOWED);
  } catch {
    // Shown as it is, below.
  }
  target.classList.toggle("raw", !fresh);
  if (!fresh) {
    target.textContent = markdown;
    return;
  }
  replaceLinks(fresh);
  replaceImages(fresh, options);
  replaceHeadings(fresh);
  wrapCode(fresh, options.text);
  wrapTables(fresh, options.text);
  replaceTail(target, fresh);
};
