import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { page } from "./browser.mjs";

const { elementOptions } = await import("../../flask_chatkit/static/widget/element.js");
const { failureText } = await import("../../flask_chatkit/static/widget/notices.js");
const { closestIcon } = await import("../../flask_chatkit/static/widget/panel.js");
const { mergeWords } = await import("../../flask_chatkit/static/widget/i18n.js");

const widget = (config, more) => ({
  root: { id: "chatkit-1", dataset: {} },
  config: { chat: "default", page: "https://shop.example/chatkit/", options: {}, ...config },
  theme: { colorScheme: "light" },
  element: {},
  ...more,
});
const optionsOf = (...given) => elementOptions(widget(...given));

beforeEach(() => {
  page.lang = "";
  page.chats = {};
});

test("a hosted chat gets secrets, a served one an address, and neither an empty option", () => {
  const hosted = optionsOf({ options: { composer: {}, locale: "de" } });
  assert.deepEqual(Object.keys(hosted.api), ["getClientSecret"]);
  assert.equal(hosted.locale, "de");
  assert.deepEqual(hosted.composer, {});
  assert.ok(!("header" in hosted) && !("initialThread" in hosted));
  const { api, ...rest } = optionsOf({ served: true, domainKey: "key", upload: "direct" });
  assert.equal(api.url, "https://shop.example/chatkit/api");
  assert.equal(api.domainKey, "key");
  assert.deepEqual(api.uploadStrategy, {
    type: "direct",
    uploadUrl: "https://shop.example/chatkit/attachments",
  });
  assert.ok(!("locale" in rest));
  const { uploadStrategy } = optionsOf({ served: true, upload: "two_phase" }).api;
  assert.deepEqual(uploadStrategy, { type: "two_phase" });
  assert.ok(!("uploadStrategy" in optionsOf({ served: true }).api));
});

test("the thread of the page before is an option, null for a new one", () => {
  assert.equal(optionsOf({}, { thread: "thread" }).initialThread, "thread");
  assert.equal(optionsOf({}, { thread: null }).initialThread, null);
});

test("the panel's header takes the place of the element's, unless it is switched off", () => {
  const header = { title: { text: "Help" } };
  assert.deepEqual(optionsOf({ options: { header } }, { bar: {} }).header, { enabled: false });
  assert.deepEqual(optionsOf({ options: { header } }).header, header);
  const bare = { bar: {}, usesElementHeader: true };
  const { rightAction } = optionsOf({ options: { header } }, bare).header;
  assert.equal(rightAction.icon, "close");
  const taken = { rightAction: { icon: "home", href: "/" } };
  const both = optionsOf({ options: { header: taken } }, bare).header;
  assert.equal(both.leftAction.icon, "close");
  assert.equal(both.rightAction.icon, "home");
});

test("a site's button calls what the page has declared for it, the widget's before the chat's", () => {
  const header = { leftAction: { icon: "home", action: "home", label: "Home" } };
  const called = [];
  FlaskChatKit.get("default").actions.home = () => called.push("chat");
  const { leftAction } = optionsOf({ options: { header } }).header;
  assert.ok(!("label" in leftAction));
  leftAction.onClick();
  FlaskChatKit.get("chatkit-1").actions.home = () => called.push("widget");
  leftAction.onClick();
  assert.deepEqual(called, ["chat", "widget"]);
  const root = { id: "chatkit-1", dataset: { builtin: "" } };
  assert.equal(optionsOf({ options: { header } }, { root }).header.leftAction.label, "Home");
});

test("a client tool of the page answers, and one that is missing is an error", async () => {
  const { onClientTool } = optionsOf({});
  await assert.rejects(onClientTool({ name: "colour", params: {} }), /no tool "colour"/);
  FlaskChatKit.get("default").tools.colour = ({ which }) => ({ colour: `${which} blue` });
  assert.deepEqual(await onClientTool({ name: "colour", params: { which: "sky" } }), {
    colour: "sky blue",
  });
  FlaskChatKit.get("default").tools.none = () => undefined;
  assert.deepEqual(await onClientTool({ name: "none", params: {} }), {});
});

test("a failure is read in the visitor's language, and else as the server has it", () => {
  const english = { words: mergeWords({}, "en"), config: {} };
  const german = { words: mergeWords({}, "de", { widget: { limited: "Zu viel" } }), config: {} };
  const limited = { reason: "failed", code: "rate_limited", serverMessage: "Too many" };
  assert.equal(failureText(english, limited), "Too many");
  assert.equal(failureText(german, limited), "Zu viel");
  const own = { words: mergeWords({ strings: { limited: "No" } }, "en"), config: {} };
  own.config.strings = { limited: "No" };
  assert.equal(failureText(own, limited), "No");
  assert.equal(failureText(german, { reason: "failed", serverMessage: "Odd" }), "Odd");
  assert.equal(failureText(english, { reason: "silent" }), "The chat did not answer.");
  assert.equal(failureText(english, { reason: "unheard of" }), "The chat could not be loaded.");
});

test("an icon of ChatKit's that there is none like is three dots", () => {
  const names = ["close", "home-alt", "chevron-left", "sidebar-left", "open", "dark-mode", "bug"];
  assert.deepEqual(names.map(closestIcon), [
    "close",
    "home",
    "back-large",
    "menu",
    "open-right",
    "light-mode",
    "dots",
  ]);
  assert.equal(closestIcon("constructor"), "dots");
});
