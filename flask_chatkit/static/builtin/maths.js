// Maths as MathML, with Temml; loaded when the first formula comes.

import { h } from "../shared/dom.js";

const [{ default: temml }, { default: purify }] = await Promise.all(
  ["temml", "purify"].map((library) => import(`../vendor/${library}.mjs`)),
);

const MOST = 500; // formulas that are remembered

/** What a formula asks for beyond these is ignored, in em: it stays on its message. */
const SMALLEST = -2;
const LARGEST = 40;
const SIZES = ["width", "height", "depth", "lspace", "rspace", "voffset", "linethickness"];
/** @type {Record<string, number>} the units in em, about; some sizes are of the node's own width */
const UNITS = { "": 1, width: 0, em: 1, ex: 0.5, px: 1 / 16, pt: 1 / 12, mm: 0.24, cm: 2.4, in: 6 };

/** What a formula may set of its own, which the policy of a site forbids in attributes. */
const STYLES = /^(padding-(left|right)|color|background-color|math-(depth|style)|border(-\w+)?)$/;

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
  math { font-family: "Cambria Math", "STIX Two Math", "Latin Modern Math", "Noto Sans Math", math; font-size: 1.08em;
    font-style: normal; font-weight: normal; line-height: normal; letter-spacing: normal; text-indent: 0; direction: ltr; }
  math * { border-color: currentcolor; }
  .md:has(math) { overflow: clip; overflow-clip-margin: 0.5em; }
  .formula { display: block; overflow: auto hidden; padding-block: 0.25em; text-align: center; direction: ltr; scrollbar-width: thin; }
  .formula math { display: block math; math-style: normal; }
  mtd.tml-right { text-align: end; }
  mtd.tml-left { text-align: start; }
  mtable.tml-jot mtd { padding-block: 0.7ex; }
  mtable.tml-small mtd { padding-block: 0.35ex; }
  .tml-prime { font-family: math; }
  mrow.tml-cancel { background: linear-gradient(to top left, transparent 48%, currentcolor 49%, currentcolor 51%, transparent 52%); }
`);

/** @type {Map<string, DocumentFragment | null>} */
const drawn = new Map();

/**
 * @param {string} source LaTeX
 * @param {boolean} shows whether it stands on a line of its own
 * @returns {DocumentFragment | null} null if it can't be understood
 */
const draw = (source, shows) => {
  let html;
  try {
    html = temml.renderToString(source, { displayMode: shows, throwOnError: true });
  } catch {
    return null;
  }
  const fresh = purify.sanitize(html.replaceAll(' style="', ' data-css="'), {
    USE_PROFILES: { mathMl: true },
    ADD_ATTR: ["class", "data-css", "display"],
    FORBID_ATTR: ["href", "xlink:href", "style"],
    FORBID_TAGS: ["maction"],
    RETURN_DOM_FRAGMENT: true,
  });
  for (const name of SIZES)
    for (const node of fresh.querySelectorAll(`[${name}]`)) {
      const [, number, unit] = /^([+-]?[\d.]+)(\w*)$/.exec(node.getAttribute(name) ?? "") ?? [];
      const size = Number(number) * UNITS[unit];
      if (!(size >= SMALLEST && size <= LARGEST)) node.removeAttribute(name);
    }
  for (const node of fresh.querySelectorAll("[data-css]")) {
    for (const rule of (node.getAttribute("data-css") ?? "").split(";")) {
      const [name, value = ""] = rule.split(":").map((/** @type {string} */ part) => part.trim());
      if (STYLES.test(name) && !/url/i.test(value)) node.style.setProperty(name, value);
    }
    node.removeAttribute("data-css");
  }
  return fresh;
};

/**
 * Show a formula in the place of its source.
 * @param {Element} node with the source
 * @param {Element} target that it is in, or will be
 */
export const typeset = (node, target) => {
  const source = node.textContent ?? "";
  const shows = node.classList.contains("shows");
  const key = `${shows} ${source}`;
  if (!drawn.has(key)) {
    if (drawn.size >= MOST) drawn.clear();
    drawn.set(key, draw(source, shows));
  }
  const found = drawn.get(key);
  if (!found) return;
  const root = /** @type {ShadowRoot | Document} */ (target.getRootNode());
  if (root.adoptedStyleSheets && !root.adoptedStyleSheets.includes(sheet))
    root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
  const fresh = found.cloneNode(true);
  node.replaceWith(shows ? h("span", { className: "formula", tabIndex: 0 }, fresh) : fresh);
};
