// What the elements of a text become: links, pictures, headings, code, tables, boxes, maths.

import { h } from "../shared/dom.js";
import { asList, icon, link, picture, safeUrl, zoomable } from "./controls.js";

/** @import { Strings } from "./types.js" */
/** @typedef {number[]} Outline the levels of the headings that a place in the text is below */
/**
 * @typedef {object} MarkdownOptions
 * @property {Strings} text
 * @property {string[]} [domains] that images may be loaded from
 */

const TOP_LEVEL = 4; // of headings: those of the page and the chat are above

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

/**
 * @typedef {object} Making what is known where an element is made
 * @property {MarkdownOptions} options
 * @property {Outline} outline
 */

/** @param {Element} node */
const replaceLink = (node) =>
  node.replaceWith(link(node.getAttribute("href") ?? "", ...node.childNodes));

/**
 * @param {Element} image
 * @param {Making} making
 */
const replaceImage = (image, { options: { text, domains } }) => {
  const src = image.getAttribute("src") ?? "";
  const alt = image.getAttribute("alt") || text.image;
  const instead = link(src, alt);
  if (!mayShow(src, domains)) image.replaceWith(instead);
  // A link may hold no button.
  else if (image.closest("a")) image.replaceWith(picture(src, alt, alt));
  else image.replaceWith(zoomable(text, src, alt, instead));
};

/**
 * @param {Element} heading
 * @param {Making} making
 */
const replaceHeading = (heading, { outline }) => {
  const depth = Number(heading.tagName[1]);
  while (outline.length > 0 && outline[outline.length - 1] >= depth) outline.pop();
  outline.push(depth);
  const level = Math.min(TOP_LEVEL - 1 + outline.length, 6);
  const given = { dir: "auto" };
  heading.replaceWith(h(/** @type {"h4"} */ (`h${level}`), given, ...heading.childNodes));
};

/** @param {Element} node */
const giveDirection = (node) => node.setAttribute("dir", "auto");

/**
 * @param {Element} node
 * @param {Making} making
 */
const wrapCode = (node, { options: { text } }) => {
  const pre = /** @type {HTMLPreElement} */ (node);
  const { className = "" } = pre.firstElementChild ?? {};
  const language = /language-([\w+#.-]+)/.exec(className)?.[1] ?? "";
  const copy = h(
    "button",
    { type: "button", className: "plain", "data-copy": "" },
    icon("copy"),
    text.copy,
  );
  const box = h("div", { className: "code" }, h("div", {}, h("span", {}, language), copy));
  pre.replaceWith(box);
  pre.tabIndex = 0;
  pre.dir = "ltr";
  box.append(pre);
};

/**
 * @param {Element} table
 * @param {Making} making
 */
const wrapTable = (table, { options: { text } }) => {
  const heads = [...table.querySelectorAll("th")].map((cell) => cell.textContent?.trim());
  const label = [text.table, heads.filter(Boolean).join(", ")].filter(Boolean).join(": ");
  // An own direction, or in a page of the other one it would be scrolled to its end.
  const given = { className: "table", role: "group", "aria-label": label, dir: "auto" };
  const box = h("div", given);
  table.replaceWith(box);
  box.tabIndex = 0;
  box.append(table);
};

/** @param {Element} mark */
const drawBox = (mark) => {
  if (!mark.matches(".box")) return;
  const item = mark.closest("li");
  const isDone = mark.classList.contains("done");
  const label = [...(item?.childNodes ?? [])]
    .filter((node) => !/^[OU]L$/.test(node.nodeName))
    .map(({ textContent }) => textContent)
    .join(" ")
    .trim();
  item?.classList.add("task-item");
  mark.replaceWith(
    h(
      "span",
      {
        className: "box",
        role: "checkbox",
        "aria-checked": String(isDone),
        "aria-disabled": "true",
        "aria-label": label,
      },
      isDone && icon("check"),
    ),
  );
};

/** @type {Record<string, (node: Element, making: Making) => void>} by names of elements */
const MAKERS = {
  a: replaceLink,
  img: replaceImage,
  pre: wrapCode,
  table: wrapTable,
  kbd: drawBox,
  ...Object.fromEntries(["p", "ul", "ol", "blockquote"].map((name) => [name, giveDirection])),
  ...Object.fromEntries(["h1", "h2", "h3", "h4", "h5", "h6"].map((name) => [name, replaceHeading])),
};
const MADE = Object.keys(MAKERS).join();

/** @type {typeof import("./maths.js") | null} */
let maths = null;

/**
 * Show maths as a browser draws it; its source, until what makes it so has come.
 * @param {ParentNode} fresh
 * @param {Element} target that it is for
 */
const drawMaths = (fresh, target) => {
  const found = fresh.querySelectorAll("code.maths");
  if (maths) for (const node of found) maths.typeset(node, target);
  else if (found.length > 0) {
    const later = (/** @type {typeof import("./maths.js")} */ loaded) => {
      maths = loaded;
      for (const node of target.querySelectorAll("code.maths")) loaded.typeset(node, target);
    };
    import("./maths.js").then(later).catch(() => {});
  }
};

/**
 * Make a text's elements what they are in a chat.
 * @param {DocumentFragment} fresh
 * @param {Element} target that it is for
 * @param {MarkdownOptions} options
 * @param {Outline} outline before it; after it, then
 */
export const decorate = (fresh, target, options, outline) => {
  for (const node of fresh.querySelectorAll(MADE))
    MAKERS[node.localName](node, { options, outline });
  drawMaths(fresh, target);
};
