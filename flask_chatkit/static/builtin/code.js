// Code in colours, with highlight.js; loaded when the first block of code is finished.

import { h } from "../shared/dom.js";
import { unescapeHtml } from "./blocks.js";

const { default: hljs } = await import(`../vendor/${"highlight/core"}.mjs`);

const LONGEST = 10_000; // characters that are coloured in one go
const MOST = 200_000; // characters of a block that is coloured at all

/** @type {Record<string, string>} language → its other names */
const LANGUAGES = {
  bash: "sh zsh",
  c: "h",
  cpp: "c++ cc cxx hpp",
  csharp: "c# cs",
  css: "",
  diff: "patch",
  dockerfile: "docker",
  go: "golang",
  ini: "toml conf",
  java: "",
  javascript: "js jsx mjs cjs",
  json: "json5 jsonc jsonl",
  kotlin: "kt kts",
  lua: "",
  makefile: "make mk",
  markdown: "md",
  perl: "pl",
  php: "",
  powershell: "ps1 pwsh",
  python: "py py3",
  r: "",
  ruby: "rb",
  rust: "rs",
  shell: "console shell-session",
  sql: "mysql postgresql sqlite",
  swift: "",
  typescript: "ts tsx mts cts",
  xml: "html xhtml svg vue rss",
  yaml: "yml",
};
/** @type {Record<string, string[]>} language → those that are written in it */
const WITHIN = { shell: ["bash"], xml: ["css", "javascript"], markdown: ["xml"], php: ["xml"] };

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
  .hljs-comment, .hljs-quote, .hljs-meta { color: var(--muted); }
  .hljs-comment, .hljs-emphasis { font-style: italic; }
  .hljs-strong, .hljs-section { font-weight: 650; }
  .hljs-keyword, .hljs-selector-tag, .hljs-name, .hljs-tag .hljs-name, .hljs-deletion { color: var(--danger); }
  .hljs-string, .hljs-regexp, .hljs-addition, .hljs-selector-attr { color: var(--success); }
  .hljs-number, .hljs-literal, .hljs-symbol, .hljs-bullet, .hljs-link { color: var(--warning); }
  .hljs-title, .hljs-built_in, .hljs-type, .hljs-attr, .hljs-attribute, .hljs-section,
  .hljs-selector-id, .hljs-selector-class, .hljs-variable, .hljs-template-variable { color: var(--info); }
  @media (forced-colors: active) { [class^="hljs"] { color: CanvasText; } }
`);

/** @param {string} name as it stands beside the code */
const languageOf = (name) => {
  const wanted = name.toLowerCase();
  return Object.keys(LANGUAGES).find(
    (language) => language === wanted || LANGUAGES[language].split(" ").includes(wanted),
  );
};

/** @type {Map<string, Promise<void>>} */
const loading = new Map();

/**
 * @param {string} language
 * @returns {Promise<void>}
 */
const load = (language) => {
  const begun = loading.get(language);
  if (begun) return begun;
  const loaded = (async () => {
    const grammar = await import(`../vendor/highlight/${language}.mjs`);
    await Promise.all((WITHIN[language] ?? []).map(load));
    hljs.registerLanguage(language, grammar.default);
  })();
  loading.set(language, loaded);
  loaded.catch(() => loading.delete(language)); // another time
  return loaded;
};

/** Until the page has time. */
const idle = () =>
  new Promise((resolve) => {
    if ("requestIdleCallback" in window) requestIdleCallback(resolve, { timeout: 1000 });
    else setTimeout(resolve, 50);
  });

/**
 * What highlight.js writes, which is spans and text: made without a parser, it can be nothing else.
 * @param {string} html
 */
const spansOf = (html) => {
  const all = new DocumentFragment();
  /** @type {ParentNode[]} */
  const open = [all];
  for (const [, name, end, text] of html.matchAll(/<span class="([^"]*)">|(<\/span>)|([^<]+)/g)) {
    if (end) open.pop();
    else if (text) open.at(-1)?.append(unescapeHtml(text));
    else {
      const span = h("span", { className: name });
      open.at(-1)?.append(span);
      open.push(span);
    }
  }
  return all;
};

/**
 * @param {Element} node with nothing but text
 * @param {string} language
 */
const colour = (node, language) => {
  const text = node.textContent ?? "";
  const { value } = hljs.highlight(text, { language, ignoreIllegals: true });
  const fresh = spansOf(value);
  if (fresh.textContent === text) node.replaceChildren(fresh);
};

/** @param {Element} box */
const highlightBox = async (box) => {
  const code = box.querySelector("pre > code");
  const language = languageOf(box.querySelector("span")?.textContent ?? "");
  if (!code || !language || code.querySelector("[class^=hljs]")) return;
  await load(language);
  await idle();
  const length = code.textContent?.length ?? 0;
  if (!code.isConnected || length > MOST || code.querySelector("[class^=hljs]")) return;
  const root = /** @type {ShadowRoot | Document} */ (code.getRootNode());
  if (!root.adoptedStyleSheets.includes(sheet))
    root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
  if (length <= LONGEST) {
    colour(code, language);
    return;
  }
  // In its parts of some lines each, or nothing else could be done meanwhile.
  for (const part of [...code.childNodes]) {
    const lines = document.createElement("span");
    lines.className = "lines";
    lines.textContent = part.textContent;
    colour(lines, language);
    part.replaceWith(lines);
    await idle();
  }
};

let last = Promise.resolve();

/**
 * Colour blocks of code, one after the other, when the page has time.
 * @param {Iterable<Element>} boxes
 */
export const highlight = (boxes) => {
  for (const box of boxes) last = last.then(() => highlightBox(box)).catch(() => {});
};
