import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { answerWith, page } from "./browser.mjs";

const secrets = await import("../../flask_chatkit/static/widget/secrets.js");

let count = 0;
let config;
const minted = (secret, more) => ({
  client_secret: secret,
  session_id: `session of ${secret}`,
  expires_in: 600,
  ...more,
});

beforeEach(() => {
  count += 1;
  config = { page: `https://shop.example/chatkit/${count}/`, base: `${count}`, options: {} };
  page.csrf = null;
});

test("one request serves all who wait, and the next page of the tab reuses its secret", async () => {
  const requests = answerWith(minted("s1"), { status: "active" });
  const [one, other] = await Promise.all([
    secrets.getClientSecret(config, null),
    secrets.getClientSecret(config, null),
  ]);
  assert.deepEqual([one, other], ["s1", "s1"]);
  assert.equal(requests.length, 1);
  assert.equal(requests[0].url, `${config.page}secret`);
  assert.equal(requests[0].method, "POST");
  assert.equal(requests[0].credentials, "include");
});

test("a secret that a tab keeps is checked before it is handed out again", async () => {
  const requests = answerWith(minted("s2"), { status: "active" }, { status: "active" });
  await secrets.getClientSecret(config, null);
  globalThis.fetch = async (url) => {
    requests.push({ url });
    return new Response(JSON.stringify({ status: "active" }));
  };
  assert.equal(await secrets.getClientSecret(config, null), "s2");
  assert.equal(requests[1].url, `${config.page}session/session of s2/validate`);
});

test("an expired secret is refreshed, and never handed out again", async () => {
  const requests = answerWith(minted("s3"), minted("s4"));
  assert.equal(await secrets.getClientSecret(config, null), "s3");
  assert.equal(await secrets.getClientSecret(config, "s3"), "s4");
  assert.equal(requests[1].url, `${config.page}session/session of s3/refresh`);
  assert.equal(secrets.freshSecret({ secret: "s3", until: Date.now() + 1000 }), null);
});

test("a session of somebody else is not refreshed: a new one is minted, in a new thread", async () => {
  const requests = answerWith(minted("s5"), minted("s6"));
  await secrets.getClientSecret(config, null);
  secrets.saveThread(config, "thread");
  globalThis.fetch = async (url) => {
    requests.push({ url });
    return url.endsWith("refresh")
      ? new Response("{}", { status: 404 })
      : new Response(JSON.stringify(minted("s6")));
  };
  assert.equal(await secrets.getClientSecret(config, "s5"), "s6");
  assert.deepEqual(
    requests.map(({ url }) => url.slice(config.page.length)),
    ["secret", "session/session of s5/refresh", "secret"],
  );
  assert.equal(secrets.loadThread(config), null);
});

test("a secret is fresh until shortly before it expires", async () => {
  answerWith(minted("s7", { expires_in: 600 }));
  const before = Date.now();
  await secrets.getClientSecret(config, null);
  const { until } = secrets.loadEntry(config);
  assert.ok(until - before >= 569_000 && until - before < 571_000);
});

test("an answer without a secret, or with one that has expired, is a failure", async () => {
  for (const answer of [{}, minted(""), minted("x", { expires_in: 0 }), minted(7)]) {
    answerWith(answer);
    await assert.rejects(secrets.getClientSecret(config, null), { reason: "failed" });
  }
});

test("failures have a reason, the server's code and its sentence", async () => {
  answerWith();
  await assert.rejects(secrets.getClientSecret(config, null), { reason: "offline" });
  const refused = { status: 429, message: "Later", error: { code: "rate_limited" } };
  answerWith({ ...refused, headers: { "Retry-After": "61" } });
  await assert.rejects(secrets.getClientSecret(config, null), {
    reason: "failed",
    code: "rate_limited",
    serverMessage: "Later",
    status: 429,
    retryAfter: 61,
  });
  answerWith({ status: 410, headers: { "X-ChatKit-Reason": "workflow_ended" } });
  await assert.rejects(secrets.getClientSecret(config, null), { reason: "ended" });
});

test("a short wait that the server asks for is waited, once", async () => {
  const busy = { status: 429, headers: { "Retry-After": "0.01" } };
  const requests = answerWith(busy, minted("s8"));
  assert.equal(await secrets.getClientSecret(config, null), "s8");
  assert.equal(requests.length, 2);
});

test("the CSRF token goes along on the site's own pages only", async () => {
  page.csrf = "token";
  const requests = answerWith(minted("s9"), minted("s10"));
  await secrets.getClientSecret(config, null);
  assert.equal(requests[0].headers.get("X-CSRFToken"), "token");
  await secrets.getClientSecret({ ...config, page: `${config.page}x/`, embedded: true }, null);
  assert.equal(requests[1].headers.get("X-CSRFToken"), null);
});

test("on another site's page a token stands in the cookie's place", async () => {
  const elsewhere = { ...config, embedded: true };
  const requests = answerWith(
    minted("s11", { visitor: "v1.sig" }),
    minted("s12", { visitor: "v2.sig", temporary: true }),
    minted("s13"),
  );
  await secrets.getClientSecret(elsewhere, null);
  await secrets.getClientSecret(elsewhere, "s11");
  await secrets.getClientSecret(elsewhere, "s12");
  const sent = requests.map(({ headers }) => headers.get("X-ChatKit-Visitor"));
  assert.deepEqual(sent, ["", "v1.sig", "v1.sig"]);
  assert.ok(requests.every(({ credentials }) => credentials === "omit"));
  const login = { ...elsewhere, login: true };
  assert.equal(secrets.credentialsOf(login), "include");
});

test("a secret that was requested early is handed out once, and soon", async () => {
  const widget = { config };
  answerWith(minted("s14"), { status: "active" });
  await secrets.requestEarly(widget);
  assert.equal(await secrets.firstSecret(widget), "s14");
  assert.equal(widget.early, null);
  widget.early = { secret: Promise.resolve("old"), until: Date.now() - 1 };
  globalThis.fetch = async () => new Response(JSON.stringify({ status: "active" }));
  assert.equal(await secrets.firstSecret(widget), "s14");
});
