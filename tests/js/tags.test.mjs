// Mentions in what is written, and what a text asks for.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  contentOf,
  entityOf,
  findTags,
  wantedAt,
} from "../../flask_chatkit/static/builtin/tags.js";

const TEA = { id: "t1", title: "Tea" };
const GREEN = { id: "t2", title: "Tea, green", data: { price: "3" }, interactive: true };
const CHAI = { id: "t3", title: "चाय", group: "Teas" };

const found = (text, tags = [TEA, GREEN, CHAI]) =>
  findTags(text, tags).map(({ tag, start, end }) => [tag.id, start, end]);

test("mentions are found where they stand, the longest of several", () => {
  assert.deepEqual(found("@Tea"), [["t1", 0, 4]]);
  assert.deepEqual(found("@Tea, green and @Tea."), [
    ["t2", 0, 11],
    ["t1", 16, 20],
  ]);
  assert.deepEqual(found("(@चाय)"), [["t3", 1, 5]]);
});

test("what only begins like a mention is none", () => {
  assert.deepEqual(found("@Teapot @tea Tea @ Tea @@Te"), []);
  assert.deepEqual(found("@Tea", []), []);
  assert.deepEqual(found("@@Tea"), [["t1", 1, 5]]);
});

test("a text becomes parts that say the same", () => {
  assert.deepEqual(contentOf("Is @Tea, green good?", [TEA, GREEN]), [
    { type: "input_text", text: "Is " },
    {
      type: "input_tag",
      id: "t2",
      text: "Tea, green",
      data: { price: "3" },
      group: null,
      interactive: true,
    },
    { type: "input_text", text: " good?" },
  ]);
  assert.deepEqual(contentOf("Plain", [TEA]), [{ type: "input_text", text: "Plain" }]);
  assert.deepEqual(contentOf("", [TEA]), []);
});

test("a part is the entity again", () => {
  for (const tag of [TEA, GREEN, CHAI]) {
    const [part] = contentOf(`@${tag.title}`, [tag]);
    assert.deepEqual(entityOf(part), { data: {}, interactive: false, ...tag });
  }
});

test("an @ asks for entities where a word may begin, a slash for commands where a message does", () => {
  const entity = (query) => ({ kind: "entity", query });
  assert.deepEqual(wantedAt("@"), entity(""));
  assert.deepEqual(wantedAt("see (@Gr"), entity("Gr"));
  assert.deepEqual(wantedAt("see @Green t"), entity("Green t"));
  assert.deepEqual(wantedAt("/cl"), { kind: "command", query: "cl" });
  for (const text of ["", "me@example.org", "a /cl", "/cl now", "@a\nb", `@${"x".repeat(41)}`]) {
    assert.equal(wantedAt(text), null, text);
  }
});
