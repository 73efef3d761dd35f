import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { answerWith, page } from "./browser.mjs";

const secrets = await import("../../flask_chatkit/static/widget/secrets.js");
const refusals = await import("../../flask_chatkit/static/widget/refusals.js");

const CALL = "https://shop.example/chatkit/secret";
const HERE = "https://shop.example/orders?page=2#list";

let count = 0;
let config;
beforeEach(() => {
  count += 1;
  config = { page: `https://shop.example/chatkit/r${count}/`, base: `r${count}`, options: {} };
  page.csrf = null;
});

test("a login leads back to the page, where it would have led back to the call", () => {
  const back = (login) => new URL(refusals.leadBack(login, CALL, HERE));
  assert.equal(
    back("/login?next=%2Fchatkit%2Fsecret").searchParams.get("next"),
    "/orders?page=2#list",
  );
  assert.equal(back("login?a=b").href, "https://shop.example/chatkit/login?a=b");
  const elsewhere = back(`https://sso.example/?rd=${encodeURIComponent(CALL)}&app=shop`);
  assert.equal(elsewhere.searchParams.get("rd"), HERE);
  assert.equal(elsewhere.searchParams.get("app"), "shop");
  // What leads somewhere else is the login's own business.
  assert.equal(back("/login?next=%2Faccount").searchParams.get("next"), "/account");
  assert.equal(back("/login?next=http%3A%2F%2F%5B").searchParams.get("next"), "http://[");
});

const message = (text, type = "threads.create") =>
  new Request(`${config.page}api`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type, params: { input: { content: [{ type: "input_text", text }] } } }),
  });
const element = (field = "") => ({
  isConnected: true,
  shadowRoot: { querySelector: () => ({ value: field }) },
  given: [],
  async setComposerValue({ text }) {
    this.given.push(text);
  },
});

test("a message that was refused comes back, once", async () => {
  await refusals.keepUnsent(config, message("hello"));
  const chat = element();
  await refusals.restoreUnsent({ config, element: chat });
  await refusals.restoreUnsent({ config, element: chat });
  assert.deepEqual(chat.given, ["hello"]);
});

test("of two that were refused, both come back; one that was refused twice comes once", async () => {
  for (const text of ["one", "two", "one"]) await refusals.keepUnsent(config, message(text));
  const chat = element();
  await refusals.restoreUnsent({ config, element: chat });
  assert.deepEqual(chat.given, ["one\n\ntwo"]);
});

test("a message that was taken in the meantime does not come back", async () => {
  await refusals.keepUnsent(config, message("hello"));
  await refusals.forgetUnsent(config, message("x", "threads.list"));
  await refusals.forgetUnsent(config, message("hello", "threads.add_user_message"));
  const chat = element();
  await refusals.restoreUnsent({ config, element: chat });
  assert.deepEqual(chat.given, []);
});

test("what stands in the field is not overwritten, and no other call is kept", async () => {
  await refusals.keepUnsent(config, message("x", "threads.custom_action"));
  await refusals.keepUnsent(
    config,
    new Request(`${config.page}api`, { method: "POST", body: "{" }),
  );
  const chat = element();
  await refusals.restoreUnsent({ config, element: chat });
  await refusals.keepUnsent(config, message("hello"));
  const other = element("half a sen");
  await refusals.restoreUnsent({ config, element: other });
  assert.deepEqual([...chat.given, ...other.given], []);
});

test("an element that is busy is asked again", async () => {
  await refusals.keepUnsent(config, message("hello"));
  const chat = element();
  const set = chat.setComposerValue;
  chat.setComposerValue = () => {
    chat.setComposerValue = set;
    throw new Error("busy");
  };
  await refusals.restoreUnsent({ config, element: chat });
  assert.deepEqual(chat.given, ["hello"]);
});

const CSRF = { status: 400, headers: { "X-ChatKit-Reason": "csrf" } };
const html = (head) => {
  const { fetch } = globalThis;
  globalThis.fetch = async (url, init) =>
    String(url) === config.page && !init?.method ? new Response(head) : fetch(url, init);
};
const MINTED = { client_secret: "r", session_id: "s", expires_in: 600 };

for (const head of [
  '<meta name="csrf-token" content="new">',
  "<meta content=new name=csrf-token>",
  "<input type='hidden' name='csrf_token' value='new'>",
]) {
  test(`a CSRF token that has run out is replaced by that of ${head}`, async () => {
    page.csrf = "old";
    const requests = answerWith(CSRF, MINTED);
    html(`<!doctype html><head>${head}`);
    assert.equal(await secrets.getClientSecret(config, null), "r");
    assert.deepEqual(
      requests.map(({ headers }) => new Headers(headers).get("X-CSRFToken")),
      ["old", "new"],
    );
  });
}

test("where there is no new one, or another site's page asks, it is stale", async () => {
  answerWith(CSRF);
  html("<p>Sign in");
  await assert.rejects(secrets.getClientSecret(config, null), { reason: "stale", status: 400 });
  const requests = answerWith(CSRF);
  html('<meta name="csrf-token" content="new">');
  const elsewhere = { ...config, embedded: true };
  await assert.rejects(secrets.getClientSecret(elsewhere, null), { reason: "stale" });
  assert.equal(requests.length, 1);
});

test("a thread whose owner nobody could be asked for is kept", async () => {
  const requests = answerWith(MINTED);
  await secrets.getClientSecret({ ...config, served: true }, null);
  secrets.saveThread(config, "thread");
  globalThis.fetch = async (url) => {
    requests.push(url);
    if (url.endsWith("refresh")) return new Response("{}", { status: 404 });
    if (url.endsWith("/api")) throw new TypeError("offline");
    return new Response(JSON.stringify({ ...MINTED, client_secret: "other" }));
  };
  await secrets.getClientSecret({ ...config, served: true }, "r");
  assert.equal(secrets.loadThread(config), "thread");
});
