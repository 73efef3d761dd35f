import assert from "node:assert/strict";
import { test } from "node:test";
import { answerWith, page } from "./browser.mjs";

const { closest, directionOf, languageOf, loadWords, localeOf, mergeWords } = await import(
  "../../flask_chatkit/static/widget/i18n.js"
);

test("the closest name of a locale", () => {
  const known = ["de", "de-AT", "pt", "pt-BR", "zh", "zh-TW"];
  for (const [locale, wanted] of [
    ["de", "de"],
    ["DE", "de"],
    ["de_at", "de-AT"],
    ["de-CH", "de"],
    ["de-Latn-AT", "de-AT"],
    ["pt-PT", "pt"],
    ["zh-Hant-HK", "zh-TW"],
    ["zh-hk", "zh-TW"],
    ["zh-Hans", "zh"],
    ["xx", undefined],
    ["-", undefined],
  ]) {
    assert.equal(closest(locale, known), wanted, locale);
  }
});

test("the options' locale counts before the page's", () => {
  page.lang = "pt-br";
  assert.equal(localeOf({ options: { locale: "de" } }), "de");
  assert.equal(localeOf({ options: {} }), "pt-BR");
  page.lang = "";
  assert.equal(localeOf({ options: {} }), undefined);
});

test("the language is the locale's, else the first of the browser's that there is", () => {
  assert.equal(languageOf("de-CH", ["fr"]), "de");
  assert.equal(languageOf("hu", ["fr"]), "en");
  assert.equal(languageOf(undefined, ["hu", "fr-CA", "de"]), "fr");
  assert.equal(languageOf(undefined), "en");
});

test("Arabic and Urdu are written from the right", () => {
  assert.deepEqual(["ar", "ur", "de"].map(directionOf), ["rtl", "rtl", "ltr"]);
});

test("the site's words stand over the language's, and these over English", () => {
  const strings = { retry: "Again!", chat: { send: "Go" } };
  const found = { widget: { close: "Zu", retry: "Nochmal" }, chat: { send: "Los", stop: "Halt" } };
  const { language, widget, chat } = mergeWords({ strings }, "de", found);
  assert.equal(language, "de");
  assert.equal(widget.close, "Zu");
  assert.equal(widget.retry, "Again!");
  assert.equal(widget.failed, "The chat could not be loaded.");
  assert.deepEqual(chat, { send: "Go", stop: "Halt" });
});

test("English needs no request, another language one, and a failed one is made again", async () => {
  const requests = answerWith(null, { widget: { close: "Zu" }, chat: {} });
  const english = await loadWords({ options: { locale: "en-GB" } });
  assert.equal(english.language, "en");
  assert.equal(requests.length, 0);
  const config = { options: { locale: "de" } };
  assert.equal((await loadWords(config)).language, "en");
  assert.equal((await loadWords(config)).widget.close, "Zu");
  assert.equal((await loadWords(config)).language, "de");
  assert.equal(requests.length, 2);
  assert.match(requests[0].url, /\/static\/lang\/de\.json$/);
  // A proxy with HTTP Basic has its password also for this.
  assert.notEqual(requests[0].credentials, "omit");
});
