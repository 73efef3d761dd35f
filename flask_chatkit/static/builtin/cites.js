// Marks in a text that lead to its sources; loaded when a text has some.

import { h } from "../shared/dom.js";
import { ownUnits } from "./style.js";

/** @import { Block, Blocks } from "./blocks.js" */
/** @import { Note } from "./textview.js" */

const sheet = new CSSStyleSheet();
sheet.replaceSync(
  ownUnits(`
  .cite { margin-inline-start: 0.2em; white-space: nowrap; }
  .cite > :is(a, button) { display: inline-block; min-inline-size: 1.6em; padding: 0 0.4em; border: 1px solid var(--line); border-radius: 1em;
    background: var(--bubble); color: var(--ink); font: inherit; font-size: 0.72em; line-height: 1.6; text-align: center; text-decoration: none; vertical-align: 0.15em; }
  .cite > :is(a, button):hover { border-color: currentcolor; }
  @media (pointer: coarse) { .cite > :is(a, button) { position: relative; min-inline-size: 2.2em; }
    .cite > :is(a, button)::after { content: ""; position: absolute; inset: -0.8rem -0.4rem; } }
`),
);

const MARK = /<\uE000(\d+)\uE001/;
const MARKS = /&lt;\uE000\d+\uE001/g;

/**
 * Where a mark does not cut a word, a link or a formula in two.
 * @param {string} raw
 * @param {number} index
 */
const endOfWord = (raw, index) => {
  let end = index;
  // Not after the line that it belongs to.
  while (end > 0 && /\s/.test(raw[end - 1])) end -= 1;
  while (end < raw.length && /[!-~]/.test(raw[end])) end += 1;
  return end;
};

/**
 * A block with marks, as HTML; those that would change what it says stand at its end.
 * @param {Blocks} blocks
 * @param {Block} block
 * @param {{at: number, number: number}[]} marks the last one first
 * @returns {{html: string, left: number[]}}
 */
const marked = (blocks, block, marks) => {
  let { raw } = block;
  let { html } = block;
  /** @type {number[]} */
  const left = [];
  for (const { at, number } of marks) {
    const place = endOfWord(block.raw, at);
    const tried = `${raw.slice(0, place)}<\uE000${number}\uE001${raw.slice(place)}`;
    const found = blocks.parse(block, tried);
    if (found.replace(MARKS, "") === block.html) {
      raw = tried;
      html = found;
    } else left.unshift(number);
  }
  return { html, left };
};

/**
 * @param {Node[]} nodes
 * @param {(number: number) => Node} draw
 */
const replaceMarks = (nodes, draw) => {
  for (const node of nodes) {
    const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      let rest = /** @type {Text} */ (text);
      for (let found = MARK.exec(rest.data); found; found = MARK.exec(rest.data)) {
        const mark = rest.splitText(found.index);
        rest = mark.splitText(found[0].length);
        const cite = draw(Number(found[1]));
        const outer = mark.parentElement?.closest("a, button");
        mark.remove();
        if (outer) outer.after(cite);
        else rest.before(cite);
      }
      texts.currentNode = rest;
    }
  }
};

/**
 * Put marks into a text that is shown whole.
 * @param {{target: Element, show(block: Block, html: string): Node[]}} prose
 * @param {Blocks} blocks
 * @param {string} text
 * @param {Note[]} notes
 */
export const cite = (prose, blocks, text, notes) => {
  const root = /** @type {ShadowRoot} */ (prose.target.getRootNode());
  if (!root.adoptedStyleSheets) return;
  if (!root.adoptedStyleSheets.includes(sheet))
    root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
  const characters = [...text];
  const draw = (/** @type {number} */ number) =>
    h("span", { className: "cite" }, notes[number].draw());
  const all = [...blocks.finished, blocks.open];
  const places = notes.map(({ index }, number) => {
    const before = characters.slice(0, index).join("").replace(/\r\n?/g, "\n").length;
    return { before: Math.max(before, 1), number };
  });
  for (const block of all) {
    const end = block.at + block.raw.length;
    const marks = places
      .filter(({ before }) => before > block.at && (before <= end || block === blocks.open))
      .map(({ before, number }) => ({ at: Math.min(before - block.at, block.raw.length), number }))
      .sort((one, other) => other.at - one.at || other.number - one.number);
    if (marks.length === 0) continue;
    const { html, left } = marked(blocks, block, marks);
    const nodes = prose.show(block, html);
    replaceMarks(nodes, draw);
    const last = nodes.at(-1);
    if (last instanceof Element) {
      const inside = last.matches("p, h4, h5, h6, li")
        ? last
        : (last.querySelector("li:last-child") ?? last);
      if (inside.matches(".code, .table")) inside.after(...left.map(draw));
      else inside.append(...left.map(draw));
    }
  }
};
