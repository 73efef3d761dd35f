// Parts of the built-in chat that need no document: files, forms, questions, themes and texts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { refusalOf } from "../../flask_chatkit/static/builtin/attachments.js";
import {
  asList,
  failure,
  fillIn,
  formatBytes,
  safeUrl,
  textsOf,
} from "../../flask_chatkit/static/builtin/controls.js";
import { inputOf, PAGE_SIZE } from "../../flask_chatkit/static/builtin/conversation.js";
import { answersOf, valuesOf } from "../../flask_chatkit/static/builtin/forms.js";
import { themeProperties } from "../../flask_chatkit/static/builtin/theme.js";
import { formatSeconds } from "../../flask_chatkit/static/builtin/times.js";
import { contrast } from "../../flask_chatkit/static/shared/colour.js";

globalThis.document = { baseURI: "https://shop.test/help/" };

test("texts are filled in and measured for people", () => {
  assert.equal(fillIn("{} of {}", "$&", 2), "$& of 2");
  assert.equal(formatBytes(0), "0 B");
  assert.equal(formatBytes(1536), "1.5 kB");
  assert.equal(formatBytes(100 * 1024 ** 2), "100 MB");
  assert.equal(formatBytes(5 * 1024 ** 4), "5120 GB");
  assert.equal(formatSeconds(59, "en"), "59 sec");
  assert.equal(formatSeconds(125, "de"), "2 Min. 5 Sek.");
  assert.equal(formatSeconds(7, "xx-invalid-language-tag-"), formatSeconds(7));
});

test("lists, texts and errors take what there is", () => {
  assert.deepEqual([asList(null), asList("a"), asList([1])], [[], ["a"], [1]]);
  assert.deepEqual(textsOf({ content: [{ text: "a" }, null, {}] }), ["a", "", ""]);
  const error = failure("Oh", { status: 404, retry: false });
  assert.deepEqual([error.message, error.status, error.retry], ["Oh", 404, false]);
});

test("only harmless addresses are followed, absolute", () => {
  assert.equal(safeUrl("orders").href, "https://shop.test/help/orders");
  assert.equal(safeUrl("mailto:a@shop.test").protocol, "mailto:");
  assert.equal(safeUrl("chatkit-link:order").protocol, "chatkit-link:");
  for (const href of ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "https://"]) {
    assert.equal(safeUrl(href), null, href);
  }
});

test("a page has as many items as the server gives at once", () => {
  assert.equal(PAGE_SIZE, 30);
});

test("a message is sent with the ids of its files, and with nothing that was not chosen", () => {
  const content = [
    { type: "input_text", text: "a" },
    { type: "input_tag", text: "@b" },
  ];
  const attachments = [{ id: "atc_1", name: "a.png" }];
  assert.deepEqual(inputOf({ content, attachments, quote: "", tool: "", model: "fast" }), {
    content: [content[0], { data: {}, type: "input_tag", text: "@b" }],
    attachments: ["atc_1"],
    quoted_text: null,
    inference_options: { tool_choice: null, model: "fast" },
  });
});

const TEXT = { tooMany: "{} at most", wrongType: "not {}", tooBig: "{} over {}" };
const file = (name, type, size = 1) => ({ name, type, size });

test("files are refused by count, kind and size", () => {
  const refuse = (given, options = {}, count = 0) => refusalOf(given, count, options, TEXT);
  assert.equal(refuse(file("a.png", "image/png")), null);
  assert.equal(refuse(file("a.png", "image/png"), {}, 10), "10 at most");
  assert.equal(refuse(file("a.png", "image/png"), { maxCount: 1 }, 1), "1 at most");
  const accept = { "image/*": [], "text/csv": [".csv"] };
  assert.equal(refuse(file("a.png", "image/png"), { accept }), null);
  assert.equal(refuse(file("A.CSV", ""), { accept }), null);
  assert.equal(refuse(file("a.txt", "text/plain"), { accept }), "not a.txt");
  assert.equal(refuse(file("a", "x/y", 100 * 1024 ** 2 + 1)), "a over 100 MB");
  assert.equal(refuse(file("a", "x/y", 2000), { maxSize: 1024 }), "a over 1 kB");
});

test("a size may be given for a kind of files, and for the others", () => {
  const maxSize = { "image/*": 2048, "*": 1024 };
  const refuse = (type) => refusalOf(file("a", type, 1500), 0, { maxSize }, TEXT);
  assert.equal(refuse("image/png"), null);
  assert.equal(refuse("text/plain"), "a over 1 kB");
});

const field = (name, more) => ({ name, type: "text", matches: () => false, ...more });

test("the values of a form nest by the dots of their names", () => {
  const elements = [
    field("guest.name", { value: "Ann" }),
    field("guest.age", { value: "7" }),
    field("dog", { type: "checkbox", checked: true }),
    field("size", { type: "radio", value: "s", checked: false }),
    field("size", { type: "radio", value: "l", checked: true }),
    field("off", { value: "x", matches: (selector) => selector === ":disabled" }),
    field("", { value: "x" }),
  ];
  const values = JSON.parse(JSON.stringify(valuesOf({ elements })));
  assert.deepEqual(values, { guest: { name: "Ann", age: "7" }, dog: true, size: "l" });
  assert.deepEqual(Object.keys(valuesOf(null)), []);
});

test("a field may have any name, and no object is changed by it", () => {
  const elements = [
    field("__proto__.polluted", { value: "x" }),
    field("__proto__", { value: "y" }),
  ];
  const values = valuesOf({ elements });
  assert.equal({}.polluted, undefined);
  assert.equal(JSON.stringify(values), '{"__proto__":"y"}');
});

test("of a question with one answer what was typed counts", () => {
  const inputs = [{ id: "q" }, { id: "r", multiple: true }, { id: "s" }];
  const given = (name, value, more) => ({ name, value, type: "text", ...more });
  const fields = [
    given("i-q", "ticked", { type: "radio", checked: true }),
    given("i-q", " typed "),
    given("i-r", "a", { type: "checkbox", checked: true }),
    given("i-r", "b", { type: "checkbox", checked: false }),
    given("i-r", "c"),
    given("i-s", " "),
  ];
  assert.deepEqual(answersOf({ id: "i", type: "structured_input", inputs }, fields), {
    q: { values: ["typed"], skipped: false },
    r: { values: ["a", "c"], skipped: false },
    s: { values: [], skipped: true },
  });
});

/** The greys and the hexadecimal colours that the themes here have. */
const read = (value) => {
  const grey = /^hsl\(.* ([\d.]+)%\)$/.exec(value ?? "");
  if (grey) return [1, 1, 1].map(() => Number(grey[1]) / 100);
  return value?.match(/[\da-f]{2}/g)?.map((part) => Number.parseInt(part, 16) / 255);
};
const numbers = (css) => css.match(/\d+/g).map((part) => Number(part) / 255);

test("texts and edges of every theme have the contrast of WCAG 2", () => {
  for (const colorScheme of ["light", "dark"]) {
    for (const primary of ["#ffff00", "#000000", "#7a1fa2", "#ffffff", "#777777"]) {
      for (const level of [0, 3]) {
        const found = themeProperties({ colorScheme, color: { accent: { primary, level } } }, read);
        const against = (name, ground) => contrast(numbers(found[name]), numbers(found[ground]));
        for (const ground of ["--paper", "--bubble"]) {
          for (const name of ["--ink", "--muted", "--link", "--danger", "--success"]) {
            assert.ok(against(name, ground) >= 4.5, `${colorScheme} ${primary} ${name} ${ground}`);
          }
          assert.ok(against("--ring", ground) >= 3 && against("--edge", ground) >= 3);
        }
        assert.ok(against("--on-accent", "--accent") >= 4.5);
      }
    }
  }
});

test("a theme that names nothing is light, round and of normal size", () => {
  const found = themeProperties({}, read);
  assert.equal(found["color-scheme"], "light");
  assert.equal(found["--paper"], "rgb(255 255 255)");
  assert.equal(found["--size"], "16px");
  assert.equal(found["--corner"], themeProperties({ radius: "unknown" }, read)["--corner"]);
});
