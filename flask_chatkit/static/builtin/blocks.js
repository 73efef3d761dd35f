// Markdown as blocks, each parsed once: what is appended later changes the last ones alone.

/**
 * @typedef {object} Block a part of a text that nothing appended can change any more
 * @property {number} at where it begins in the text
 * @property {string} raw
 * @property {string} prefix what stands before `raw` when it is parsed: the head of a table, say
 * @property {boolean} joins whether it goes on with the list, table or code of the block before it
 * @property {string} html
 */

const LONGEST_PARAGRAPH = 20_000; // characters
const WINDOW = 16_000; // characters that are parsed at once
/** After how many lines of code, rows and items the next ones are a block of their own. */
const CUTS = { code: 50, table: 30, list: 20 };

const marked = await import(`../vendor/${"marked"}.mjs`);

const HARMLESS = /^(<\/?(br|sub|sup|kbd|mark|b|i|u|s)\s*\/?>)+$/i;
/** @param {string} text */
export const escapeHtml = (text) =>
  text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);

/** @type {Record<string, string>} */
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", "#x27": "'" };
/** @param {string} html of text that marked or highlight.js has escaped */
export const unescapeHtml = (html) =>
  html.replace(/&(amp|lt|gt|quot|#39|#x27);/g, (_, name) => ENTITIES[name]);

// --- maths -----------------------------------------------------------------------------------------
// $$…$$, \(…\) and \[…\], without empty lines. A single $ is money.

const INSIDE = String.raw`((?:(?!\n[ \t]*\n)[^])+?)`;
const INLINE_MATHS = new RegExp(
  String.raw`^(?:\$\$${INSIDE}\$\$|\\\[${INSIDE}\\\]|\\\(${INSIDE}\\\))`,
);
const MATHS_BLOCK = new RegExp(
  String.raw`^ {0,3}(?:\$\$${INSIDE}\$\$|\\\[${INSIDE}\\\])[ \t]*(?:\n|$)`,
);
const ALL_MATHS = new RegExp(INLINE_MATHS.source.slice(1), "g");

/**
 * @param {"block" | "inline"} level
 * @param {RegExp} pattern
 */
const maths = (level, pattern) => ({
  name: `${level}Maths`,
  level,
  start: level === "inline" ? (/** @type {string} */ src) => src.search(/\$\$|\\[[(]/) : undefined,
  tokenizer(/** @type {string} */ src) {
    if (!/^ {0,3}(\$\$|\\[[(])/.test(src)) return undefined;
    const [raw, ...found] = pattern.exec(src) ?? [];
    if (raw === undefined) return undefined;
    const shows = level === "block" || found[2] === undefined;
    return { type: `${level}Maths`, raw, text: found.find(Boolean)?.trim(), shows };
  },
  renderer: (/** @type {any} */ { text, shows }) => {
    const code = `<code class="${shows ? "maths shows" : "maths"}">${escapeHtml(text)}</code>`;
    return level === "block" ? `<p>${code}</p>\n` : code;
  },
});

// --- the parser ------------------------------------------------------------------------------------

const parser = new marked.Marked({ breaks: true, gfm: true });
parser.use({
  extensions: [maths("block", MATHS_BLOCK), maths("inline", INLINE_MATHS)].map(
    ({ start, ...given }) => (start ? { ...given, start } : given),
  ),
  hooks: {
    // A star in maths ends no emphasis.
    emStrongMask: (/** @type {string} */ src) =>
      src.replace(ALL_MATHS, (found) => `[${"a".repeat(found.length - 2)}]`),
  },
  renderer: {
    // HTML of a model is text about HTML.
    html: (/** @type {{text: string, block?: boolean}} */ { text, block }) => {
      if (HARMLESS.test(text.trim())) return text;
      return block ? `<p>${escapeHtml(text.trim())}</p>\n` : escapeHtml(text);
    },
    // Made a box below; no other element of the text can have a class of this name.
    checkbox: (/** @type {{checked: boolean}} */ { checked }) =>
      `<kbd class="box${checked ? " done" : ""}"></kbd>`,
  },
  tokenizer: {
    // A tag is shown as text, so it is no link, and what follows it is not raw.
    tag(/** @type {string} */ src) {
      const { state } = /** @type {any} */ (this).lexer;
      const { inLink, inRawBlock } = state;
      const token = marked.Tokenizer.prototype.tag.call(this, src);
      Object.assign(state, { inLink, inRawBlock });
      return token && { ...token, inLink, inRawBlock };
    },
    // The title of a definition ends before an empty line, as CommonMark has it.
    def(/** @type {string} */ src) {
      if (!/^ {0,3}\[/.test(src)) return undefined;
      const end = src.search(/\n[ \t]*\n/);
      return marked.Tokenizer.prototype.def.call(this, end < 0 ? src : src.slice(0, end + 1));
    },
  },
});

/** @typedef {Record<string, {href: string, title?: string}>} Links by their labels */

/**
 * @param {Links} [links]
 * @returns {Links} without a prototype: a label may be any word
 */
const copyLinks = (links) => Object.assign(Object.create(null), links);

/**
 * @param {string} text
 * @param {Links} links
 * @returns {any} tokens, with the links that are known then
 */
const lex = (text, links) => {
  const lexer = new marked.Lexer(parser.defaults);
  Object.assign(lexer.tokens.links, links);
  return lexer.lex(text);
};

/**
 * Parse what may be nested deeper than there is stack: such a part stays as it was written.
 * @type {typeof lex}
 */
const lexSafely = (text, links) => {
  try {
    return lex(text, links);
  } catch {
    const known = copyLinks(links);
    const tokens = (text.match(/[\s\S]+?(?:\n[ \t]*\n|$)/g) ?? []).flatMap((raw) => {
      try {
        const found = lex(raw, known);
        Object.assign(known, found.links);
        return found;
      } catch {
        return [{ type: "html", block: true, raw, text: raw }];
      }
    });
    return Object.assign(tokens, { links: known });
  }
};

/**
 * @param {any[]} tokens
 * @param {string} [prefix] that a list has two items of
 */
const htmlOf = (tokens, prefix) => {
  if (prefix && tokens[0]?.type === "list") tokens[0].items.splice(0, 2);
  try {
    return parser.parser(tokens);
  } catch {
    return `<p>${escapeHtml(tokens.map(({ raw }) => raw).join(""))}</p>\n`;
  }
};

/**
 * The HTML of Markdown as a whole; it is not made harmless yet.
 * @param {string} text
 * @returns {string}
 */
export const parseMarkdown = (text) => htmlOf(lexSafely(text, {}));

// --- which blocks are finished -----------------------------------------------------------------------

const isFence = (/** @type {any} */ token) =>
  token.type === "code" && token.codeBlockStyle !== "indented";

/** What ends a paragraph by its first line alone, and can't be a part of an underlined heading. */
const ENDS_PARAGRAPH = /^ {0,3}(?:#{1,6}(?:[ \t]|\n|$)|>|```|~~~|(?:[*+-]|1[.)]) +[^ \t\n])/;

/**
 * Whether nothing that is appended can change a block, by what follows it.
 * @param {any} token
 * @param {any} after the next token that is more than empty lines
 * @param {boolean} isLine whether the first line of that has ended
 * @param {boolean} isApart whether an empty line comes next
 * @param {boolean} parted whether one comes anywhere after the block
 */
const isFinished = (token, after, isLine, isApart, parted) => {
  switch (token.type) {
    case "paragraph":
    case "text":
      if (parted) return true;
      return isLine && !/^\s*(\[|\$\$|\\\[)/.test(token.raw) && ENDS_PARAGRAPH.test(after.raw);
    case "def":
      return isApart || (isLine && !/^[ \t]*["'(]/.test(after.raw));
    case "heading":
    case "hr":
    case "space":
    case "blockMaths":
      return true;
    case "code":
      return isFence(token) || isLine;
    case "blockquote":
    case "table":
      return isApart || isLine;
    default:
      return isLine;
  }
};

/**
 * How many of the tokens are finished.
 * @param {any[]} tokens
 * @param {string} text that they are of
 */
const countFinished = (tokens, text) => {
  const starts = [0];
  for (const { raw } of tokens) starts.push(starts[starts.length - 1] + raw.length);
  let lastPart = -1; // the last empty line that something follows
  let last = tokens.length - 1;
  while (last >= 0 && tokens[last].type === "space") last -= 1;
  /** @param {number} index */
  const isEmpty = (index) =>
    // What is trimmed off a list is white space, too.
    tokens[index].type === "space" &&
    /\n[ \t]*\n/.test(text.slice(Math.max(starts[index] - 1, 0), starts[index + 1]));
  for (let index = 0; index < last; index += 1) if (isEmpty(index)) lastPart = index;
  for (let index = 0; index < last; index += 1) {
    let following = index + 1;
    while (tokens[following].type === "space") following += 1;
    const isLine = text.indexOf("\n", starts[following] + 1) >= 0;
    const isApart = isEmpty(index + 1);
    if (!isFinished(tokens[index], tokens[following], isLine, isApart, lastPart > index))
      return index;
  }
  return Math.max(last, 0);
};

// --- parts of long blocks ----------------------------------------------------------------------------

/**
 * @typedef {object} Part of a block that is too long to be parsed again and again
 * @property {number} length of what is finished
 * @property {string} prefix of what comes after it
 */

/** @typedef {{at: number, block: number, isLoose: boolean}} Parted a list, and its first block */

/**
 * Where the line of a number ends; 0 if there are not that many.
 * @param {string} text
 * @param {number} count
 */
const endOfLine = (text, count) => {
  let end = 0;
  for (let line = 0; line < count; line += 1) {
    end = text.indexOf("\n", end) + 1;
    if (end === 0) return 0;
  }
  return end;
};

/**
 * What makes the items after it loose: two with an empty line between them.
 * @param {string} item
 */
const looseStart = (item) => `${/^\s*(?:\d+[.)]|.)/.exec(item)?.[0]} x\n\n`.repeat(2);

/**
 * @param {any} token
 * @param {string} prefix that its text begins with
 * @returns {Part | null} null if it is short, or can't be parted
 */
const partOf = (token, prefix) => {
  const { raw, type } = token;
  if (type === "paragraph" && raw.length > LONGEST_PARAGRAPH) {
    const start = raw.slice(0, LONGEST_PARAGRAPH);
    const end = Math.max(start.lastIndexOf("\n"), start.lastIndexOf(" ")) + 1;
    return { length: end || LONGEST_PARAGRAPH, prefix: "" };
  }
  if (isFence(token)) {
    const end = endOfLine(raw, 1 + CUTS.code);
    // The end of the fence is not parted from the last line.
    if (!end || !endOfLine(raw.slice(end), 2)) return null;
    return { length: end, prefix: raw.slice(0, endOfLine(raw, 1)) };
  }
  if (type === "table" && token.rows.length > CUTS.table + 1)
    return { length: endOfLine(raw, 2 + CUTS.table), prefix: raw.slice(0, endOfLine(raw, 2)) };
  if (type !== "list") return null;
  const count = CUTS.list + (prefix ? 2 : 0);
  if (token.items.length <= count + 1) return null;
  const length = token.items
    .slice(0, count)
    .reduce(
      (/** @type {number} */ sum, /** @type {{raw: string}} */ item) => sum + item.raw.length,
      0,
    );
  return { length, prefix: token.loose ? looseStart(token.items[count].raw) : "" };
};

/**
 * Whether blocks define a label; what comes after them may do so, too.
 * @param {any[]} tokens
 * @param {string} tag
 * @returns {boolean}
 */
const defines = (tokens, tag) =>
  tokens.some((token) => token.tag === tag || defines(token.items ?? token.tokens ?? [], tag));

/** A text that grows, as blocks. */
export class Blocks {
  /** @type {Block[]} */
  finished = [];
  /** @type {Block} what may still change */
  open = { at: 0, raw: "", prefix: "", joins: false, html: "" };
  #given = "";
  #size = WINDOW; // of the next part that is parsed at once
  #at = 0; // where the open part begins
  #tail = ""; // the open part, with line ends that are \n
  #prefix = "";
  #joins = false;
  /** @type {Parted | null} the list that is being parted */
  #list = null;
  /** @type {Links} of finished blocks */
  #links = copyLinks();
  /** @type {Links} that the finished blocks were parsed with */
  #applied = copyLinks();

  /**
   * Take the text as it is now.
   * @param {string} given
   * @param {() => boolean} isLate whether to go on another time
   * @returns {{from: number, isWhole: boolean, isOther: boolean}} the first block that is new or
   * changed, whether all of the text was taken, and whether it does not go on with the one before
   */
  update(given, isLate = () => false) {
    const isOther = !this.#accept(given);
    let from = isOther ? 0 : this.finished.length;
    for (;;) {
      const isWhole = this.#tail.length <= this.#size;
      const before = this.#at;
      const { first, links, isParted } = this.#take(this.#windowOf(this.#size));
      from = Math.min(from, first, this.#relink(links));
      this.#size = this.#at === before && !isParted ? this.#size * 2 : WINDOW;
      if (isWhole && !isParted) return { from, isWhole, isOther };
      if (!isWhole && isLate()) {
        this.open = { ...this.open, at: this.#at, raw: "", html: "", joins: false };
        return { from, isWhole, isOther };
      }
    }
  }

  /**
   * @param {string} given
   * @returns whether it goes on with what was given before
   */
  #accept(given) {
    const grows = given.startsWith(this.#given);
    let more = grows ? given.slice(this.#given.length) : given;
    if (!grows) {
      this.finished = [];
      this.#tail = "";
      this.#begin(0, "", false);
      this.#list = null;
      this.#links = copyLinks();
      this.#applied = copyLinks();
    } else if (this.#given.endsWith("\r") && more.startsWith("\n")) more = more.slice(1);
    this.#given = given;
    this.#tail += more.replace(/\r\n?/g, "\n");
    return grows;
  }

  /**
   * @param {number} at
   * @param {string} prefix
   * @param {boolean} joins
   */
  #begin(at, prefix, joins) {
    this.#at = at;
    this.#prefix = prefix;
    this.#joins = joins;
  }

  /**
   * The next characters, up to the end of a line if one ends there.
   * @param {number} size
   */
  #windowOf(size) {
    const tail = this.#tail;
    if (size >= tail.length) return tail;
    const end = tail.lastIndexOf("\n", size - 1) + 1;
    return tail.slice(0, end || size);
  }

  /**
   * Parse the open part, and finish what can be.
   * @param {string} tail
   */
  #take(tail) {
    const text = this.#prefix + tail;
    const tokens = lexSafely(text, this.#links);
    const { links } = tokens;
    const first = this.finished.length;
    if (this.#list && !this.#list.isLoose && tokens[0]?.loose)
      return { first: this.#loosen(), links: this.#links, isParted: true };
    const count = countFinished(tokens, text);
    let left = this.#prefix.length; // of the prefix
    for (let index = 0; tokens[index] && index <= count; index += 1) {
      const token = tokens[index];
      const part = partOf(token, this.#prefix);
      if (!part && index === count) break;
      const own = part ? token.raw.slice(0, part.length) : token.raw;
      const raw = own.slice(left);
      if (part && token.type === "list" && token.loose) this.#prefix ||= looseStart(raw);
      const found = part ? lexSafely(this.#prefix + raw, links) : [token];
      this.#finish(raw, found, links, token, part);
      // What comes after a part is parsed anew: it has another prefix.
      if (part) return { first, links, isParted: true };
      left = Math.max(left - own.length, 0);
    }
    const prefix = this.#prefix;
    const html = htmlOf(tokens.slice(count), prefix);
    this.open = { at: this.#at, raw: this.#tail, prefix, joins: this.#joins, html };
    return { first, links, isParted: false };
  }

  /**
   * @param {string} raw
   * @param {any[]} tokens
   * @param {Links} links that are known
   * @param {any} token the whole block
   * @param {Part | null} part of it
   */
  #finish(raw, tokens, links, token, part) {
    for (const tag of Object.keys(links))
      if (!(tag in this.#links) && defines(tokens, tag)) this.#links[tag] = links[tag];
    const html = htmlOf(tokens, this.#prefix);
    this.finished.push({ at: this.#at, raw, prefix: this.#prefix, joins: this.#joins, html });
    const { type, loose } = token;
    const block = this.finished.length - 1;
    if (!part || type !== "list") this.#list = null;
    else this.#list ??= { at: this.#at, block, isLoose: loose };
    this.#tail = this.#tail.slice(raw.length);
    this.#begin(this.#at + raw.length, part?.prefix ?? "", Boolean(part) && type !== "paragraph");
  }

  /** One item makes all of its list loose: begin the list anew. */
  #loosen() {
    const { at, block } = /** @type {Parted} */ (this.#list);
    const again = this.finished.splice(block);
    this.#tail = again.map(({ raw }) => raw).join("") + this.#tail;
    this.#begin(at, looseStart(this.#tail), false);
    this.#list = { at, block, isLoose: true };
    return block;
  }

  /**
   * Parse those blocks anew whose links were defined, or changed, after them.
   * @param {Links} links
   * @returns {number} the first one
   */
  #relink(links) {
    const before = this.#applied;
    const changed = Object.keys({ ...before, ...links }).filter(
      (tag) => before[tag]?.href !== links[tag]?.href || before[tag]?.title !== links[tag]?.title,
    );
    let first = Number.POSITIVE_INFINITY;
    if (changed.length === 0) return first;
    this.#applied = copyLinks(links);
    const words = changed.map((tag) => tag.match(/[\p{L}\p{N}]+/gu) ?? []);
    for (const [index, block] of this.finished.entries()) {
      const text = block.raw.toLowerCase();
      const mentions = words.some((label) => label.every((word) => text.includes(word)));
      if (!mentions || !text.includes("[")) continue;
      const html = this.parse(block);
      if (html === block.html) continue;
      // Another object: who shows it compares.
      this.finished[index] = { ...block, html };
      first = Math.min(first, index);
    }
    return first;
  }

  /**
   * The HTML of a block.
   * @param {Block} block
   * @param {string} raw in the place of the block's own
   */
  parse({ prefix, raw: own }, raw = own) {
    return htmlOf(lexSafely(prefix + raw, this.#applied), prefix);
  }
}
