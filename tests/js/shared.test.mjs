import "./browser.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  deferred,
  isSafeLink,
  openStore,
  sleep,
  withTimeout,
} from "../../flask_chatkit/static/shared/dom.js";
import { FakeStorage } from "./browser.mjs";

test("a store keeps its keys apart from the site's, and null removes one", () => {
  const sessionStorage = new FakeStorage();
  const store = openStore("sessionStorage", { sessionStorage });
  store.set("a", "1");
  assert.deepEqual([...sessionStorage.values], [["chatkit:a", "1"]]);
  assert.equal(store.get("a"), "1");
  assert.equal(store.get("b"), null);
  store.set("a", null);
  assert.equal(store.get("a"), null);
  assert.equal(sessionStorage.values.size, 0);
});

test("a store that is blocked holds for the page", () => {
  const store = openStore("localStorage", {
    get localStorage() {
      throw new DOMException("denied", "SecurityError");
    },
  });
  assert.equal(store.get("a"), null);
  store.set("a", "1");
  assert.equal(store.get("a"), "1");
  store.set("a", null);
  assert.equal(store.get("a"), null);
});

test("a store that is full holds for the page until there is room", () => {
  const localStorage = new FakeStorage();
  const store = openStore("localStorage", { localStorage });
  localStorage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  store.set("a", "1");
  assert.equal(store.get("a"), "1");
  delete localStorage.setItem;
  store.set("a", "2");
  assert.equal(store.get("a"), "2");
  assert.equal(localStorage.getItem("chatkit:a"), "2");
});

test("only links that run nothing are safe", () => {
  for (const href of ["/help", "help", "https://x.example/", "mailto:a@b.example", "tel:+1"]) {
    assert.equal(isSafeLink(href), true, href);
  }
  for (const href of ["javascript:alert(1)", " javascript:x", "data:text/html,x", "//", "", null]) {
    assert.equal(isSafeLink(href), false, String(href));
  }
  assert.equal(isSafeLink(undefined), false);
});

test("a promise that takes too long is rejected", async () => {
  assert.equal(await withTimeout(Promise.resolve(1), 50), 1);
  await assert.rejects(withTimeout(sleep(1000), 5, "script"), /^Error: script$/);
  await assert.rejects(withTimeout(Promise.reject(new Error("own")), 1000), /own/);
});

test("a deferred promise is settled from outside, and may be rejected unheard", async () => {
  const first = deferred();
  first.resolve();
  await first.promise;
  const second = deferred();
  second.reject(new Error("late"));
  await sleep(0);
  await assert.rejects(second.promise, /late/);
});
