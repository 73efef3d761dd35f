// Markdown as far as it needs no document; what makes it harmless does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Blocks, parseMarkdown } from "../../flask_chatkit/static/builtin/blocks.js";
import { mayShow } from "../../flask_chatkit/static/builtin/prose.js";
import { Lexer } from "../../flask_chatkit/static/vendor/marked.mjs";

globalThis.document = { baseURI: "https://shop.test/help" };

test("HTML is shown as text, but for a few tags without attributes", () => {
  assert.equal(parseMarkdown("<script>x</script>").includes("<script"), false);
  assert.match(parseMarkdown("H<sub>2</sub>O<br>"), /H<sub>2<\/sub>O<br>/);
  assert.equal(parseMarkdown("<b onclick=x>a</b>").includes("<b "), false);
});

test("lines break, and tasks have boxes", () => {
  assert.match(parseMarkdown("a\nb"), /a<br>b/);
  assert.match(parseMarkdown("- [x] a\n- [ ] b"), /"box done"><\/kbd>a[\s\S]*"box"><\/kbd>b/);
});

test("maths is what stands between its marks, and money is not", () => {
  const code = (text) => [...parseMarkdown(text).matchAll(/<code class="(maths[^"]*)">([^<]*)/g)];
  const found = code(String.raw`It is \(a_1 * b_1\) and $$c$$, or \[d\]`);
  assert.deepEqual(
    found.map(([, kind, source]) => [kind, source]),
    [
      ["maths", "a_1 * b_1"],
      ["maths shows", "c"],
      ["maths shows", "d"],
    ],
  );
  assert.equal(code("$$\nx\n+ y\n- z\n$$")[0][2], "x\n+ y\n- z");
  for (const text of ["$5 and $6", "`$$x$$`", "```\n\\(x\\)\n```", "$$a\n\nb$$", "\\\\(x)"])
    assert.deepEqual(code(text), [], text);
  assert.match(parseMarkdown("*a \\(b * c\\) d*"), /^<p><em>a .* d<\/em><\/p>\n$/);
});

// --- texts that grow -------------------------------------------------------------------------------

/** The HTML of blocks, with those that go on with another one put into it. */
const merge = ({ finished, open }) =>
  [...finished, open].reduce((html, block) => {
    if (!block.joins || !block.html) return html + block.html;
    const [head] =
      /^<pre><code[^>]*>|^<table>\n<thead>[\s\S]*?<\/thead>\n(?:<tbody>)?|^<[ou]l[^>]*>\n/.exec(
        block.html,
      );
    const tail = /(?:<\/code><\/pre>|<\/tbody><\/table>|<\/[ou]l>)\n$/.exec(html)[0];
    const rest = block.html.slice(head.length);
    // A head without rows is all of its table.
    return rest.startsWith("</table>")
      ? html + rest.slice("</table>\n".length)
      : html.slice(0, -tail.length) + rest;
  }, "");

const numbers = (count) => Array.from({ length: count }, (_, number) => number);
const DOCUMENTS = {
  headings: "# One\ntext\n## Two ##\n\nUnder\n===\nlined\n---\n\n***\n",
  lists: "- a\n- b\n\n  c\n- d\n\n1. e\n2. f\n   - g\n\n     h\n10) i\n* j\n+ k\n\nEnd",
  "a list that gets loose": `${numbers(60)
    .map((n) => `- item ${n}\n`)
    .join("")}\n- last\n`,
  "a long list": `${numbers(70)
    .map((n) => `${n + 3}. item *${n}*\n   - [x] n\n`)
    .join("")}\nEnd\n`,
  tables: "a\n\n| b | c |\n|---|--:|\n| d | e |\nf\n\nh | i\n--- | ---\nj\n# k\n",
  "a long table": `|a|b|\n|-|-|\n${numbers(90)
    .map((n) => `|${n}|\`x\`|\n`)
    .join("")}\nEnd\n`,
  code: "```js\nlet a\n\n```\n    indented\n\n    more\n~~~\nopen\n```\n",
  "long code": `\`\`\`py\n${numbers(170)
    .map((n) => `x = ${n}  # <b>\n\n`)
    .join("")}\`\`\`\nEnd`,
  "code that ends where it is cut": `\`\`\`\n${"x\n".repeat(51)}\`\`\`\n\n\`\`\`\n${"\n".repeat(102)}\`\`\``,
  links:
    '[a], [b][a] and [C d]\n\n> [a]\n\n[a]: /one "t\nu"\n[c D]: <two x>\n[a]: /no\n\n- [e]\n\n[e]: /e\n"t"\n',
  "links that are defined last": `${"See [one] and [two][one].\n\n".repeat(9)}[one]: https://a.test/b`,
  quotes: "> a\n> - b\nlazy\n\n> c\n# d\n> ```\n> e\n\n> | f |\n> |---|\n",
  html: "<div>\na\n\n<!-- b\n\nc -->\nd <b>e</b>\n\n<pre>\n\nf\n</pre>\ng\n<a href=x>h\n\nwww.i.test",
  maths: "$$\na\n- b\n= c\n$$\n\n\\[ d\n+ e \\] f\n\n\\(g\\) costs $1 or $2 $$h\n\ni$$\n",
  "lines of Windows": "a\r\n\r\n- b\r\n- c\r\n\r\nd\re\r\n",
  // Each begins as something else.
  "what changes its mind":
    "=\n10. h\n-\n\n|\n't'\n- l\n\nfoo\n***\nbar\n---\n\n[x]: /u\n\"t\n# h\nu\"\n",
};

for (const [name, text] of Object.entries(DOCUMENTS)) {
  test(`a text that comes in any pieces is the same in the end: ${name}`, () => {
    const whole = parseMarkdown(text);
    const once = new Blocks();
    once.update(text);
    assert.equal(merge(once), whole);
    for (let cut = 0; cut <= text.length; cut += 1) {
      const blocks = new Blocks();
      blocks.update(text.slice(0, cut));
      assert.equal(merge(blocks), parseMarkdown(text.slice(0, cut)), text.slice(0, cut));
      blocks.update(text);
      assert.equal(merge(blocks), whole, `cut at ${cut}`);
    }
  });
  test(`a text that comes by characters is the same in the end: ${name}`, () => {
    const blocks = new Blocks();
    for (let end = 1; end <= text.length; end += 1) blocks.update(text.slice(0, end));
    assert.equal(merge(blocks), parseMarkdown(text));
  });
}

test("texts that are made of anything are the same in the end", () => {
  const atoms = [
    ..."a|b **c** d|foo|\n|\n\n|  |    |- |* |1. |2) |# |---|***|===|=|-|> |```|~~~|`x`|[x]: /u|[x]".split(
      "|",
    ),
    ...["|", "| a | b |", "|---|---|", "h | i", "\n--- | ---\n", '" t"', "<b>", "<div>", "<!-- c"],
    ...[
      "-->",
      "<pre>",
      "$$",
      "\\[",
      "\\(a\\)",
      "*",
      "_",
      "\t",
      "\r\n",
      "- [ ] t",
      "  - n",
      "\n***\n",
    ],
  ];
  let seed = 7;
  const random = (below) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return Math.floor((seed / 2147483648) * below);
  };
  for (let count = 0; count < 400; count += 1) {
    const text = numbers(2 + random(14))
      .map(() => atoms[random(atoms.length)])
      .join("");
    const blocks = new Blocks();
    for (let end = 1; end <= text.length; end += 1) blocks.update(text.slice(0, end));
    assert.equal(merge(blocks), parseMarkdown(text), JSON.stringify(text));
  }
});

test("what is taken back is gone", () => {
  const blocks = new Blocks();
  blocks.update("One\n\nTwo\n\nThree");
  blocks.update("One\n\nFour");
  assert.equal(merge(blocks), parseMarkdown("One\n\nFour"));
});

/** How many characters are parsed while a text comes. */
const countParsed = (text, step) => {
  const { blockTokens } = Lexer.prototype;
  let count = 0;
  Lexer.prototype.blockTokens = function (source, ...more) {
    if (more[0] === this.tokens) count += source.length;
    return blockTokens.call(this, source, ...more);
  };
  try {
    const blocks = new Blocks();
    for (let end = step; end < text.length + step; end += step) blocks.update(text.slice(0, end));
  } finally {
    Lexer.prototype.blockTokens = blockTokens;
  }
  return count;
};
const LONG = {
  "many blocks": (size) =>
    "## Part\n\nSome *words* of it.\n\n- a\n- b\n\n```js\nlet a;\n```\n\n".repeat(size),
  "one list": (size) => "- an item of it\n".repeat(5 * size),
  "one table": (size) => `| a | b |\n|---|---|\n${"| some | words |\n".repeat(5 * size)}`,
  "one block of code": (size) => `\`\`\`\n${"let a = 1;\n".repeat(7 * size)}`,
  "one paragraph of many": (size) => "words and words\n\n".repeat(5 * size),
};
for (const [name, make] of Object.entries(LONG)) {
  test(`ten times the text is parsed by ten times the characters: ${name}`, () => {
    const [short, long] = [make(40), make(400)];
    const [few, many] = [short, long].map((text) => countParsed(text, 20) / text.length);
    assert.ok(many < 1.3 * few, `${few} and ${many} times each character`);
  });
}

test("a block that is finished is not parsed again", () => {
  let text = "One *a*.\n\n## Two\n\n- b\n- c\n\nThree\n";
  const { blockTokens } = Lexer.prototype;
  const blocks = new Blocks();
  blocks.update(text);
  const before = [...blocks.finished];
  const sources = [];
  Lexer.prototype.blockTokens = function (source, ...more) {
    sources.push(source);
    return blockTokens.call(this, source, ...more);
  };
  try {
    for (const more of ["and", " four", ".\n\nFive"]) {
      text += more;
      blocks.update(text);
    }
  } finally {
    Lexer.prototype.blockTokens = blockTokens;
  }
  assert.deepEqual(sources, ["Three\nand", "Three\nand four", "Three\nand four.\n\nFive"]);
  assert.ok(before.every((block, index) => block === blocks.finished[index]));
});

test("what is nested too deep is shown as it was written, and what follows is not", () => {
  const deep = `${">".repeat(20_000)} a`;
  const blocks = new Blocks();
  blocks.update(`${deep}\n\nSome *words*\n\n- and a list\n\nEnd`);
  assert.match(merge(blocks), /<p>Some <em>words<\/em><\/p>\n<ul>\n<li>and a list<\/li>/);
});

test("a long paragraph is cut, and costs no more", () => {
  const text = "some *words* ".repeat(8_000);
  const blocks = new Blocks();
  blocks.update(text);
  assert.ok(blocks.finished.length >= 5);
  assert.equal(blocks.finished.map(({ raw }) => raw).join("") + blocks.open.raw, text);
  assert.ok(blocks.finished.every(({ html }) => !html.includes("*")));
});

test("images are shown from the thread's domains, and from the text itself", () => {
  const domains = ["pictures.test", "*.cdn.test"];
  assert.ok(mayShow("https://pictures.test/a.png", domains));
  assert.ok(mayShow("https://a.cdn.test/b.png", domains));
  assert.ok(mayShow("data:image/png;base64,AAAA", undefined));
  for (const src of [
    "https://elsewhere.test/a.png",
    "https://cdn.test.evil.test/a.png",
    "https://evilcdn.test/a.png",
    "http://pictures.test/a.png",
    "data:image/svg+xml,<svg>",
    "/a.png",
    "javascript:alert(1)",
  ]) {
    assert.ok(!mayShow(src, domains), src);
  }
  assert.ok(!mayShow("https://pictures.test/a.png", undefined));
});
