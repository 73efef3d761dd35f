// The state of a chat, and who hears of its changes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../../flask_chatkit/static/builtin/store.js";

/** A store with a log of its events, and of those that the page gets. */
const open = () => {
  const seen = [];
  const sent = [];
  const store = new Store({}, (name, detail) => sent.push([name, detail]));
  for (const name of ["added", "updated", "removed", "cleared", "changed"]) {
    store.on(name, (detail) => seen.push([name, (detail?.entry ?? detail)?.item.id]));
  }
  return { store, seen, sent };
};
const message = (id, more) => ({ id, type: "assistant_message", content: [], ...more });

test("items keep their order, and the same id is the same entry", () => {
  const { store, seen } = open();
  store.put(message("a"));
  store.put(message("b"), { streaming: true });
  store.put(message("a", { content: [{ text: "new" }] }));
  store.remove("b");
  store.remove("unknown");
  assert.deepEqual([...store.items.keys()], ["a"]);
  assert.equal(store.items.get("a").item.content[0].text, "new");
  assert.deepEqual(seen, [
    ["added", "a"],
    ["added", "b"],
    ["updated", "a"],
    ["removed", "b"],
  ]);
});

test("what was there before comes first", () => {
  const { store } = open();
  store.put(message("c"));
  store.prepend([message("a"), message("b")], null);
  assert.deepEqual([...store.items.keys()], ["a", "b", "c"]);
});

test("the visitor's message takes the id that the server gives it", () => {
  const { store } = open();
  store.put({ id: "sent-1", type: "user_message", content: [] });
  const entry = store.items.get("sent-1");
  store.run = { request: { type: "threads.create", params: {}, sent: "sent-1" } };
  store.put({ id: "msg_1", type: "user_message", content: [] });
  assert.equal(store.items.get("msg_1"), entry);
  assert.equal(store.items.size, 1);
});

test("the visitor's last message is known", () => {
  const { store } = open();
  assert.equal(store.lastMessage, undefined);
  for (const id of ["a", "b"]) {
    store.put({ id, type: "user_message", content: [] });
    store.put(message(`answer to ${id}`));
  }
  assert.equal(store.lastMessage.item.id, "b");
});

test("a finished call of a client tool waits, and is not shown", () => {
  const { store, seen } = open();
  const call = { id: "c", type: "client_tool_call", status: "pending", name: "now" };
  store.put(call, { streaming: true });
  assert.equal(store.call, null);
  store.put(call);
  assert.equal(store.call, call);
  assert.deepEqual(seen, []);
});

test("updates name the components that changed, until the whole item has", () => {
  const { store } = open();
  const widget = { type: "Card", children: [{ type: "Text", id: "t", value: "a" }] };
  store.put({ id: "w", type: "widget", widget });
  const entry = store.items.get("w");
  const update = { type: "widget.streaming_text.value_delta", component_id: "t", delta: "b" };
  store.update("w", update);
  assert.deepEqual(entry.changed, new Set(["t"]));
  store.update("w", { type: "widget.root.updated", widget: { type: "Box" } });
  assert.equal(entry.changed, null);
  store.update("unknown", update);
});

test("the page hears of another thread, once", () => {
  const { store, sent } = open();
  store.setThread({ id: "t1" });
  store.setThread({ id: "t1", title: "Tea" });
  store.setThread(null);
  assert.deepEqual(sent, [
    ["thread.change", { threadId: "t1" }],
    ["thread.change", { threadId: null }],
  ]);
});

test("messages are drawn anew when pictures of other domains may be shown", () => {
  const { store, seen } = open();
  store.put(message("a"));
  store.put({ id: "w", type: "widget", widget: {} });
  store.setThread({ id: "t1", allowed_image_domains: ["tea.test"] });
  assert.deepEqual(seen.slice(2), [["updated", "a"]]);
});

test("nothing is streaming any more at the end of an answer", () => {
  const { store, seen } = open();
  store.put(message("a"));
  store.put(message("b"), { streaming: true });
  store.endStreaming();
  assert.deepEqual(seen.slice(2), [["updated", "b"]]);
  assert.equal(store.items.get("b").streaming, false);
});
