// The language of a widget, and its words in it.

import english from "../lang/en.js";
import known from "../shared/locales.js";

/**
 * @typedef {object} Words
 * @property {string} language whose words these are
 * @property {Record<string, string>} widget
 * @property {Record<string, string>} chat of the built-in chat, over its English
 */

/**
 * The name in a list that is closest to a locale: `pt_br` finds `pt-BR`, else `pt`.
 * @param {string} locale
 * @param {string[]} all
 */
export const closest = (locale, all) => {
  const parts = locale.toLowerCase().replace("_", "-").split("-");
  const [language] = parts;
  const tries =
    language === "zh" && /hant|tw|hk/.test(locale.toLowerCase())
      ? ["zh-tw"]
      : [parts.join("-"), `${language}-${parts.at(-1)}`, language];
  return tries.map((one) => all.find((each) => each.toLowerCase() === one)).find(Boolean);
};

/**
 * The locale of the options, where Flask-Babel's is too, else the page's. A browser's own is found
 * by ChatKit itself.
 * @param {import("./api.js").Config} config
 * @returns {string | undefined}
 */
export const localeOf = ({ options }) =>
  options.locale ?? closest(document.documentElement.lang || "-", known.locales);

/** @param {string} locale */
export const directionOf = (locale) => (/^(ar|ur)/.test(locale) ? "rtl" : "ltr");

/**
 * The language that there are words in.
 * @param {string | undefined} locale
 * @param {readonly string[]} preferred the browser's, where there is no locale
 */
export const languageOf = (locale, preferred = []) => {
  for (const name of locale ? [locale] : preferred) {
    const found = closest(String(name), known.languages);
    if (found) return found;
  }
  return "en";
};

/**
 * A language's words over the English, and the site's own over both.
 * @param {import("./api.js").Config} config
 * @param {string} language
 * @param {{widget?: Record<string, string>, chat?: Record<string, string>}} found
 * @returns {Words}
 */
export const mergeWords = ({ strings }, language, { widget, chat } = {}) => {
  const { chat: ownChat, ...own } = strings ?? {};
  return {
    language,
    widget: { ...english.widget, ...widget, ...own },
    chat: { ...chat, ...ownChat },
  };
};

/** @type {Record<string, Promise<Record<string, any>>>} */
const languages = {};

/** @param {string} language */
const fetchLanguage = (language) =>
  fetch(new URL(`../lang/${language}.json`, import.meta.url))
    .then((response) => response.json())
    .catch(() => {
      // The next widget asks again.
      delete languages[language];
      return {};
    });

/**
 * @param {import("./api.js").Config} config
 * @returns {Promise<Words>}
 */
export const loadWords = async (config) => {
  const language = languageOf(localeOf(config), navigator.languages);
  languages[language] ??= language === "en" ? Promise.resolve({}) : fetchLanguage(language);
  const found = await languages[language];
  return mergeWords(config, found.widget ? language : "en", found);
};
