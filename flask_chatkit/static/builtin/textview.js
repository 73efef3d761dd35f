// Markdown, made harmless and shown; loaded beside the chat, which does not wait for it.

import { h } from "../shared/dom.js";
import { Blocks, unescapeHtml } from "./blocks.js";
import { decorate } from "./prose.js";

/** @import { Block } from "./blocks.js" */
/** @import { MarkdownOptions, Outline } from "./prose.js" */
/**
 * @typedef {object} Shown a finished block, and what shows it
 * @property {Block} block
 * @property {Node[]} nodes
 * @property {Element | null} top the block of the text that they are in
 * @property {Outline} outline after it
 */
/**
 * @typedef {object} Note a mark in the text that leads to a source
 * @property {number} index where it stands in the text, in characters of Unicode
 * @property {() => Node} draw
 */
/**
 * @typedef {object} Progress
 * @property {boolean} [streaming] whether more is coming
 * @property {() => boolean} [isLate] whether to go on another time
 * @property {Note[]} [notes] of the whole text
 */

const PART = 40; // blocks, empty lines included
const AT_ONCE = 600; // characters of HTML
const PENDING = "\0"; // in the place of HTML that is not drawn yet

const { default: purify } = await import(`../vendor/${"purify"}.mjs`);

const ALLOWED = {
  ALLOWED_TAGS: `a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i img kbd li mark ol p pre s
    strong sub sup table tbody td th thead tr u ul`.split(/\s+/),
  ALLOWED_ATTR: ["align", "alt", "class", "href", "src", "start", "title"],
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP:
    /^(https?:|mailto:|tel:|chatkit-link:|data:image\/|[^a-z]|[a-z0-9_]+($|[^:a-z0-9_+.-]))/i,
  RETURN_DOM_FRAGMENT: true,
};
// An own one, which reads its configuration once.
const cleaner = purify(window);
cleaner.setConfig(ALLOWED);
/** Between two blocks; no element of a text has a class of this name. */
const END = '<hr class="end">';
const OWN_TAGS = "b,i,u,s,sub,sup,kbd,mark";
/** Tags that a text may have itself: what is not closed would go on in the block after it. */
const OWN_TAG = /<(b|i|u|s|sub|sup|kbd|mark)\s*\/?>/i;

/**
 * The first blocks that can be made harmless together, which is faster.
 * @param {Block[]} blocks
 */
const together = (blocks) => {
  let length = 0;
  const end = blocks.findIndex(({ html }, index) => {
    length += html.length;
    return index > 0 && (length > AT_ONCE || OWN_TAG.test(html));
  });
  return OWN_TAG.test(blocks[0].html) ? [blocks[0]] : blocks.slice(0, end < 0 ? undefined : end);
};

/**
 * @param {Block[]} blocks
 * @returns {DocumentFragment[]} what is harmless of each
 */
const clean = (blocks) => {
  const all = cleaner.sanitize(blocks.map(({ html }) => html).join(END));
  if (blocks.length === 1) return [all];
  // Within their document: in the page's, pictures would be loaded now.
  const room = () => /** @type {Document} */ (all.ownerDocument).createDocumentFragment();
  const found = [room()];
  for (const node of [...all.childNodes]) {
    if (node.nodeName === "HR" && /** @type {Element} */ (node).className === "end")
      found.push(room());
    else found[found.length - 1].append(node);
  }
  // Should an element not be closed, its block may not reach into the next one.
  return found.length === blocks.length ? found : blocks.flatMap((block) => clean([block]));
};

/**
 * @param {Element} one
 * @param {Element} other
 */
const isAlike = (one, other) =>
  one.nodeName === other.nodeName &&
  one.attributes.length === other.attributes.length &&
  [...one.attributes].every(({ name, value }) => other.getAttribute(name) === value);

/** @type {Set<Node>} */
const NONE = new Set();

/**
 * Make a node show what another one does; what is the same stays, with a selection in it.
 * @param {Node} old
 * @param {Node} fresh
 * @param {Set<Node>} others nodes within it that are none of its own
 * @returns {Node} the one that stands there now
 */
const morph = (old, fresh, others = NONE) => {
  if (old instanceof Text && fresh instanceof Text) {
    if (fresh.data.startsWith(old.data)) old.appendData(fresh.data.slice(old.length));
    else old.data = fresh.data;
    return old;
  }
  if (!(old instanceof Element && fresh instanceof Element && isAlike(old, fresh))) {
    /** @type {ChildNode} */ (old).replaceWith(fresh);
    return fresh;
  }
  // Highlighted code is the same text in more elements.
  if (old.matches("pre > code") && old.textContent === fresh.textContent) return old;
  const next = [...old.childNodes].find((node) => others.has(node)) ?? null;
  const rest = [...old.childNodes].filter((node) => !others.has(node));
  for (const node of [...fresh.childNodes]) {
    const before = rest.shift();
    if (before) morph(before, node, others);
    else old.insertBefore(node, next);
  }
  for (const node of rest) node.remove();
  return old;
};

/**
 * What a list, a table or code has its parts in.
 * @param {Element | null} top
 */
const containerOf = (top) => {
  if (!top || top.matches("ul, ol")) return top;
  const table = top.querySelector("table");
  return table ? (table.tBodies[0] ?? table.createTBody()) : top.querySelector("code");
};

const MORE_THAN_TEXT = /<|&(?!(amp|lt|gt|quot|#39);)/;

/**
 * The text by which one HTML is longer than another, within the same elements.
 * @param {string} before
 * @param {string} now
 * @returns {{text: string, after: string, last: string} | null} with the character that it comes
 * after, and the line end that it comes before; null if more has changed than that
 */
const addedText = (before, now) => {
  let end = /(?:<\/\w+>\s*)*$/.exec(before.slice(-200))?.[0] ?? "";
  let start = before.slice(0, before.length - end.length);
  // Code ends with a line end, whether there is one yet or not.
  const last = start.endsWith("\n") && !now.startsWith(start) ? "\n" : "";
  end = last + end;
  start = before.slice(0, before.length - end.length);
  const after = start.at(-1) ?? "";
  if (end === last || !after || />|;/.test(after)) return null;
  if (now.length < before.length || !now.startsWith(start) || !now.endsWith(end)) return null;
  const added = now.slice(start.length, now.length - end.length);
  if (MORE_THAN_TEXT.test(added)) return null;
  return { text: unescapeHtml(added), after, last };
};

/**
 * The last text in a node that is more than white space.
 * @param {Node | null | undefined} node
 * @returns {Text | null}
 */
const lastWords = (node) => {
  if (!node || node instanceof Text) return node?.data.trim() ? node : null;
  for (let child = node.lastChild; child; child = child.previousSibling) {
    const found = lastWords(child);
    // A picture, say, has none: words come after it.
    if (found || child instanceof Element) return found;
  }
  return null;
};

/**
 * What stands where something else is to be shown.
 * @param {Node[]} nodes
 * @returns {Shown}
 */
const placeholder = (nodes) => {
  const block = { at: -1, raw: "", prefix: "", joins: false, html: "" };
  return { block, nodes, top: null, outline: [] };
};

/** @type {Promise<typeof import("./code.js") | void> | null} */
let code = null;

/** One text, as it is shown. */
class Prose {
  #blocks = new Blocks();
  /** @type {Shown[]} */
  #shown = [];
  /** @type {Element[]} by their numbers, from 1 on */
  #parts = [];
  /** @type {Shown | null} what shows the open part */
  #open = null;
  #openHtml = "";
  #noted = ""; // where the marks stand that are shown
  target;
  #options;

  /**
   * @param {Element} target
   * @param {MarkdownOptions} options
   */
  constructor(target, options) {
    this.target = target;
    this.#options = options;
  }

  /**
   * @param {string} markdown
   * @param {Progress} progress
   * @returns whether all of it is shown
   */
  update(markdown, { streaming = false, isLate = () => false, notes = [] }) {
    const { from, isWhole, isOther } = this.#blocks.update(markdown, isLate);
    const { finished, open } = this.#blocks;
    // What was shown is in the place of what comes.
    if (isOther) {
      this.#open = placeholder(this.#release(0));
      this.#openHtml = PENDING;
    }
    const known = Math.min(this.#shown.length, finished.length);
    for (let index = from; index < known; index += 1)
      if (this.#shown[index].block !== finished[index]) this.#redraw(index, finished[index]);
    const isBehind = this.#shown.length !== finished.length;
    if (isBehind || (open.html !== this.#openHtml && !this.#extend(open.html)))
      this.#draw(isLate, streaming && isBehind);
    const isDrawn =
      isWhole && this.#shown.length === finished.length && this.#openHtml === open.html;
    this.#highlight(known, isDrawn && !streaming);
    if (isDrawn && !streaming) this.#note(markdown, notes);
    return isDrawn;
  }

  /**
   * @param {string} markdown
   * @param {Note[]} notes
   */
  #note(markdown, notes) {
    const noted = notes.map(({ index }) => index).join();
    if (noted === this.#noted) return;
    this.#noted = noted;
    import("./cites.js")
      .then(({ cite }) => cite(this, this.#blocks, markdown, notes))
      .catch(() => {
        this.#noted = "";
      });
  }

  /**
   * Show a block by another HTML.
   * @param {Block} block
   * @param {string} html
   * @returns {Node[]} what shows it
   */
  show(block, html) {
    const index = this.#shown.findIndex((shown) => shown.block === block);
    if (index >= 0) {
      this.#redraw(index, { ...block, html });
      this.#shown[index].block = block;
      return this.#shown[index].nodes;
    }
    const old = this.#open?.nodes ?? [];
    this.#open = this.#place({ ...block, html }, old);
    for (const node of old) /** @type {ChildNode} */ (node).remove();
    return this.#open.nodes;
  }

  /**
   * What a block's HTML is shown by: what goes on with the block before, and the rest.
   * @param {Block} block
   * @param {Outline} outline before it, which is brought up to date
   * @param {DocumentFragment} fresh
   * @returns {[Node[], Node[]]}
   */
  #parse({ html, joins }, outline, fresh) {
    if (!html.trim()) return [[], []];
    decorate(fresh, this.target, this.#options, outline);
    // Of a tag that is not closed there is an empty element at the end.
    const nodes = [...fresh.childNodes].filter(
      (node) => node.textContent?.trim() || (node instanceof Element && !node.matches(OWN_TAGS)),
    );
    if (!joins) return [[], nodes];
    const inner = [...(containerOf(/** @type {Element} */ (nodes.shift()))?.childNodes ?? [])];
    // Lines of code are laid out apart from those before them.
    const parts = inner.map((node) =>
      node instanceof Text ? h("span", { className: "lines" }, node) : node,
    );
    return [parts, nodes];
  }

  /**
   * Add to the last words of what is open, if nothing but text has come.
   * @param {string} html
   * @returns whether that was all
   */
  #extend(html) {
    const more = addedText(this.#openHtml, html);
    // The label of a box is the text beside it.
    if (more === null || html.includes('<kbd class="box')) return false;
    const words = lastWords(this.#open?.nodes.at(-1));
    if (!words?.data.endsWith(more.after + more.last)) return false;
    words.insertData(words.length - more.last.length, more.text);
    this.#openHtml = html;
    return true;
  }

  /** What was open stays as it is where that is a finished block now. */
  #finish() {
    const block = this.#blocks.finished[this.#shown.length];
    const { at, joins } = this.#open?.block ?? {};
    if (!this.#open || block?.html !== this.#openHtml) return;
    if (block.at !== at || block.joins !== joins) return;
    this.#shown.push({ ...this.#open, block });
    this.#open = null;
  }

  /**
   * Take what is open, and what is shown from an index on, for something else to be in its place.
   * @param {number} index
   * @returns {Node[]}
   */
  #release(index) {
    const released = [...this.#shown.splice(index), this.#open];
    this.#open = null;
    return released.flatMap((shown) => shown?.nodes ?? []);
  }

  /**
   * Draw what is new, in the place of what was open.
   * @param {() => boolean} isLate whether to draw the rest another time
   * @param {boolean} isFast whether to draw the open part another time: it is about to change
   */
  #draw(isLate, isFast) {
    const { finished, open } = this.#blocks;
    this.#finish();
    const old = this.#release(finished.length);
    const blocks = finished.slice(this.#shown.length);
    if (!isFast || blocks.length === 0) blocks.push(open);
    do {
      const some = together(blocks);
      for (const fresh of clean(some)) {
        const block = /** @type {Block} */ (blocks.shift());
        const shown = this.#place(block, old, fresh);
        if (block === open) this.#open = shown;
        else this.#shown.push(shown);
      }
    } while (blocks.length > 0 && !isLate());
    this.#openHtml = this.#open ? open.html : PENDING;
    if (this.#open) {
      for (const node of old) /** @type {ChildNode} */ (node).remove();
    } else if (old.length > 0) this.#open = placeholder(old); // until it is drawn anew
  }

  /**
   * Show a block after those that are shown.
   * @param {Block} block
   * @param {Node[]} old nodes that are in its place; those that were used are taken out
   * @param {DocumentFragment} [fresh]
   * @returns {Shown}
   */
  #place(block, old, fresh = clean([block])[0]) {
    const last = this.#shown.at(-1);
    const outline = [...(last?.outline ?? [])];
    const [inner, outer] = this.#parse(block, outline, fresh);
    let top = last?.top ?? null;
    const container = containerOf(top) ?? this.target;
    const nodes = inner.map((node) => this.#put(node, container, old));
    for (const node of outer) {
      const now = this.#put(node, this.#partOf(this.#shown.length), old);
      if (now instanceof Element) top = now;
      nodes.push(now);
    }
    return { block, nodes, top, outline };
  }

  /**
   * What the block of a number stands in: a long text is laid out in parts, where it is seen.
   * @param {number} index
   * @returns {Element}
   */
  #partOf(index) {
    const number = Math.floor(index / PART);
    if (number === 0) return this.target;
    this.#parts[number] ??= this.target.appendChild(h("div", { className: "part" }));
    return this.#parts[number];
  }

  /**
   * @param {Node} node
   * @param {Element} parent
   * @param {Node[]} old
   * @returns {Node} what shows it
   */
  #put(node, parent, old) {
    const before = /** @type {ChildNode | undefined} */ (old.shift());
    if (before?.parentNode === parent) return morph(before, node);
    before?.remove();
    const next = old.find(({ parentNode }) => parentNode === parent);
    const first = parent === this.target && this.#parts[1];
    return parent.insertBefore(node, next ?? (first || null));
  }

  /**
   * What goes on with the block before it, from an index on; what is open may do so, too.
   * @param {number} index
   */
  #joined(index) {
    const after = [...this.#shown.slice(index), ...(this.#open ? [this.#open] : [])];
    const end = after.findIndex(({ block }) => !block.joins);
    return end < 0 ? after : after.slice(0, end);
  }

  /**
   * Show a finished block in another way.
   * @param {number} index
   * @param {Block} block
   */
  #redraw(index, block) {
    const shown = this.#shown[index];
    const outline = [...(this.#shown[index - 1]?.outline ?? [])];
    // A list has the items of the blocks that go on with it.
    const others = new Set(this.#joined(index + 1).flatMap(({ nodes }) => nodes));
    const fresh = this.#parse(block, outline, clean([block])[0]).flat();
    const nodes = fresh.map((node, place) => {
      const before = shown.nodes[place];
      if (before) return morph(before, node, others);
      const last = /** @type {ChildNode} */ (shown.nodes.at(-1));
      last.after(node);
      return node;
    });
    for (const node of shown.nodes.slice(fresh.length)) /** @type {ChildNode} */ (node).remove();
    const isTop = shown.nodes[0] === shown.top;
    this.#shown[index] = {
      ...shown,
      block,
      nodes,
      top: isTop ? /** @type {Element} */ (nodes[0]) : shown.top,
    };
  }

  /**
   * Highlight code that is finished.
   * @param {number} from the first block that may be new
   * @param {boolean} isDone whether all blocks are finished
   */
  #highlight(from, isDone) {
    const { finished, open } = this.#blocks;
    /** @type {Set<Node | null>} */
    const boxes = new Set();
    for (let index = Math.max(from - 1, 0); index < this.#shown.length; index += 1) {
      const { block, top } = this.#shown[index];
      if (block.html.includes("<pre") && !(finished[index + 1] ?? open).joins) boxes.add(top);
    }
    if (isDone && open.html.includes("<pre"))
      for (const node of this.#open?.nodes ?? []) boxes.add(node);
    if (boxes.size === 0) return;
    code ??= import("./code.js").catch(() => {
      code = null; // another time
    });
    code.then((loaded) => loaded?.highlight(/** @type {Set<Element>} */ (boxes)));
  }
}

/** @type {WeakMap<Element, {prose: Prose, key: string}>} */
const known = new WeakMap();

/**
 * Show Markdown in `target`. What was shown there before is gone on with.
 * @param {Element} target
 * @param {string} markdown
 * @param {MarkdownOptions} options
 * @param {Progress} progress
 * @returns whether all of it is shown
 */
export const showText = (target, markdown, options, progress) => {
  const key = `${options.domains} ${options.text.copy}`;
  let shown = known.get(target);
  if (shown?.key !== key) {
    target.replaceChildren();
    // Each block has a direction of its own.
    target.removeAttribute("dir");
    shown = { key, prose: new Prose(target, options) };
    known.set(target, shown);
  }
  return shown.prose.update(markdown, progress);
};
