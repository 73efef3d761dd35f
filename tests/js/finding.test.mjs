// Groups of days, times, and a thread as a file.

import assert from "node:assert/strict";
import { test } from "node:test";
import { groupOf } from "../../flask_chatkit/static/builtin/history/days.js";
import { timesOf } from "../../flask_chatkit/static/builtin/times.js";
import { fileName, writeTranscript } from "../../flask_chatkit/static/builtin/transcript.js";
import english from "../../flask_chatkit/static/lang/en.json" with { type: "json" };

const NOW = new Date(2026, 10, 29, 0, 30);
const group = (date, language = "en") => groupOf(date, NOW, { language, week: "Previous 7 days" });

test("days are those of the calendar, also across a change of the clocks", () => {
  assert.equal(group(new Date(2026, 10, 29, 0, 0)), "Today");
  assert.equal(group(new Date(2026, 10, 29, 23, 0)), "Today"); // a clock that is wrong
  assert.equal(group(new Date(2026, 10, 28, 23, 59)), "Yesterday");
  assert.equal(group(new Date(2026, 10, 27, 0, 1)), "Previous 7 days");
  assert.equal(group(new Date(2026, 10, 22, 0, 0)), "Previous 7 days");
  assert.equal(group(new Date(2026, 10, 21, 23, 59)), "November");
  assert.equal(group(new Date(2026, 2, 1)), "March");
  assert.equal(group(new Date(2025, 11, 31)), "December 2025");
});

test("groups are in the language of the words", () => {
  assert.equal(group(new Date(2026, 10, 29), "de"), "Heute");
  assert.equal(group(new Date(2026, 10, 28), "fr"), "Hier");
  assert.equal(group(new Date(2026, 10, 28), "tr"), "Dün");
  assert.equal(group(new Date(2025, 0, 2), "ja"), "2025年1月");
  // A tag that is none is no reason to show nothing.
  assert.match(group(new Date(2026, 10, 29), "no such tag"), /./);
});

test("a time is the hour today, and the day before", () => {
  const today = timesOf(new Date(2026, 10, 29, 0, 10).toISOString(), "en", { now: NOW });
  assert.match(today?.short ?? "", /^12:10\sAM$/);
  assert.match(today?.full ?? "", /^Sunday, November 29, 2026/);
  const before = new Date(2026, 10, 20, 13, 5).toISOString();
  assert.equal(timesOf(before, "en", { now: NOW })?.short, "Nov 20, 2026");
  assert.match(timesOf(before, "en", { now: NOW, hour: true })?.short ?? "", /^1:05\sPM$/);
  assert.equal(timesOf(undefined, "en"), null);
  assert.equal(timesOf("never", "en"), null);
});

test("a thread becomes Markdown, with quotes, files, sources and nothing hidden", () => {
  const created_at = new Date(2026, 10, 29, 9, 5).toISOString();
  const source = { type: "url", title: "Sizes", url: "https://example.org/a)b" };
  const items = [
    {
      type: "user_message",
      created_at,
      content: [{ text: "Which " }, { type: "input_tag", text: "shoe" }, { text: "?" }],
      quoted_text: "one\ntwo",
      attachments: [{ name: "foot.png" }],
    },
    { type: "hidden_context_item", content: "secret" },
    { type: "workflow", workflow: { tasks: [{ content: "secret" }] } },
    { type: "widget", created_at, copy_text: "Two seats", widget: {} },
    {
      type: "assistant_message",
      created_at,
      content: [{ text: "**42**", annotations: [{ source }, { source }] }],
    },
  ];
  const written = writeTranscript({ id: "x", title: "Shoes" }, items, {
    text: english.chat,
    language: "en",
  }).replaceAll("\u202f", " ");
  assert.equal(
    written,
    [
      "# Shoes",
      "## You said:\n\n*Sunday, November 29, 2026 at 9:05 AM*",
      "> one\n> two",
      "Which @shoe?",
      "- foot.png",
      "## The assistant said:\n\n*Sunday, November 29, 2026 at 9:05 AM*",
      "Two seats",
      "**42**",
      "Sources:\n\n- [Sizes](<https://example.org/a)b>)\n",
    ].join("\n\n"),
  );
});

test("a file's name is one for every system", () => {
  assert.equal(fileName('a/b\\c:d*?"<>|'), "a b c d.md");
  assert.equal(fileName("..\u202e😀"), "chat.md");
  assert.equal(fileName("Größe 中文"), "Größe 中文.md");
  assert.equal(fileName("x".repeat(300)).length, 83);
});
