// The protocol of ChatKit's servers: streams of events, and the updates of items.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  applyUpdate,
  Client,
  componentsOf,
  isHidden,
  readEvents,
} from "../../flask_chatkit/static/builtin/protocol.js";

/** The data of a stream that comes in these chunks. */
const read = async (...chunks) => {
  const encoder = new TextEncoder();
  const body = ReadableStream.from(
    chunks.map((chunk) => (typeof chunk === "string" ? encoder.encode(chunk) : chunk)),
  );
  const found = [];
  await readEvents(body, (data) => found.push(data));
  return found;
};

test("events end at an empty line, however it ends", async () => {
  assert.deepEqual(await read("data: a\n\ndata:b\r\n\r\ndata: c\r\r"), ["a", "b", "c"]);
});

test("an event may come in pieces, even within a line end or a character", async () => {
  const [first, ...rest] = new TextEncoder().encode("é");
  const pieces = [new Uint8Array([first]), new Uint8Array(rest)];
  assert.deepEqual(await read("da", "ta: a\r", "\n\r", "\ndata: ", ...pieces, "\n\n"), ["a", "é"]);
});

test("the lines of an event are joined, and one space after the colon is left out", async () => {
  assert.deepEqual(await read("data: a\ndata:  b\ndata:\n\n"), ["a\n b\n"]);
});

test("heartbeats and other fields are no events", async () => {
  assert.deepEqual(await read(": hb\n\nevent: x\nid: 1\n\n", "data: a\nretry: 5\n\n"), ["a"]);
});

test("what the stream ends in is an event, too", async () => {
  assert.deepEqual(await read("data: a\n\ndata: b"), ["a", "b"]);
});

test("a message grows by parts, text and annotations", () => {
  const item = { id: "m", type: "assistant_message" };
  const part = { content_index: 1 };
  applyUpdate(item, { type: "assistant_message.content_part.text_delta", ...part, delta: "Hel" });
  applyUpdate(item, { type: "assistant_message.content_part.text_delta", ...part, delta: "lo" });
  const annotation = { source: { url: "https://tea.test/" } };
  const added = { annotation_index: 0, annotation };
  applyUpdate(item, {
    type: "assistant_message.content_part.annotation_added",
    ...part,
    ...added,
  });
  assert.deepEqual(
    item.content.map(({ text }) => text),
    ["", "Hello"],
  );
  assert.deepEqual(item.content[1].annotations, [annotation]);
  const content = { type: "output_text", text: "Bye", annotations: [] };
  applyUpdate(item, { type: "assistant_message.content_part.done", ...part, content });
  assert.equal(item.content[1].text, "Bye");
  assert.notEqual(item.content[1], content);
});

test("a workflow gets tasks, and other ones in their place", () => {
  const item = { id: "w", type: "workflow", workflow: { type: "custom" } };
  applyUpdate(item, { type: "workflow.task.added", task_index: 0, task: { title: "b" } });
  applyUpdate(item, { type: "workflow.task.added", task_index: 0, task: { title: "a" } });
  applyUpdate(item, { type: "workflow.task.updated", task_index: 1, task: { title: "c" } });
  assert.deepEqual(
    item.workflow.tasks.map(({ title }) => title),
    ["a", "c"],
  );
});

test("components of a widget are found at any depth, and change in place", () => {
  const text = { type: "Text", id: "t", value: "a", color: "danger" };
  const item = {
    id: "w",
    type: "widget",
    widget: { type: "Card", children: [{ type: "Row", children: [text, "plain"] }] },
  };
  assert.equal(componentsOf(item.widget).length, 3);
  const update = { component_id: "t" };
  applyUpdate(item, { type: "widget.streaming_text.value_delta", ...update, delta: "b" });
  assert.equal(text.value, "ab");
  const component = { type: "Text", value: "c" };
  applyUpdate(item, { type: "widget.component.updated", ...update, component });
  assert.deepEqual(text, { id: "t", type: "Text", value: "c" });
  applyUpdate(item, { type: "widget.component.updated", component_id: "x", component });
  applyUpdate(item, { type: "widget.root.updated", widget: { type: "Box" } });
  assert.deepEqual(item.widget, { type: "Box" });
});

test("an image grows, and updates that are unknown change nothing", () => {
  const item = { id: "i", type: "generated_image", image: null, progress: 0 };
  const image = { url: "https://tea.test/a.png" };
  applyUpdate(item, { type: "generated_image.updated", image, progress: 0.5 });
  applyUpdate(item, { type: "from.the.future", image: null });
  assert.deepEqual(item, { id: "i", type: "generated_image", image, progress: 0.5 });
});

test("items for the server's own use are hidden", () => {
  assert.ok(isHidden({ id: "h", type: "hidden_context_item" }));
  assert.ok(isHidden({ id: "c", type: "client_tool_call" }));
  assert.ok(!isHidden({ id: "m", type: "assistant_message" }));
});

test("a limit says how long it lasts, other refusals do not", async () => {
  const client = new Client({ text: { failed: "Failed." } });
  const refusal = async (status, headers, body = "{}") =>
    client.check(new Response(body, { status, headers })).catch((error) => error);
  const limited = await refusal(429, { "Retry-After": "7" }, '{"message": "Slow down."}');
  assert.deepEqual([limited.message, limited.status, limited.wait], ["Slow down.", 429, 7]);
  assert.equal((await refusal(503, { "Retry-After": "7" })).wait, 0);
  assert.equal((await refusal(429, {})).wait, 0);
  assert.equal((await refusal(400, {}, "<p>")).message, "Failed.");
});
