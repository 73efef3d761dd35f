// The language of a widget, and its words in it.

/**
 * @typedef {object} Words
 * @property {string} language whose words these are
 * @property {Record<string, string>} widget
 * @property {Record<string, string>} chat of the built-in chat, over its English
 */

/** @type {Record<string, string>} */
const TEXT = {
  agree: "Start the chat",
  busy: "The chat is busy. Please try again in a moment.",
  close: "Close chat",
  consent: "To chat here, a script is loaded from OpenAI, and what you write is sent there.",
  contact: "Contact us another way",
  dismiss: "Dismiss",
  ended: "This chat has ended and is no longer available.",
  failed: "The chat could not be loaded.",
  history: "Earlier chats",
  limited: "You have asked for a lot. Please try again later.",
  loading: "The chat is loading…",
  newChat: "New chat",
  offline: "The chat can't be reached. Please check your connection.",
  page: "Open the chat on its own page",
  retry: "Try again",
  signIn: "Please sign in to chat.",
  silent: "The chat did not answer.",
  unread: "There is a new answer in the chat.",
};
// Those that there are words in (static/lang), and all that ChatKit speaks.
const LANGUAGES =
  "ar bn cs da de el en es fr hi id it ja ko nl pl pt ro ru sv tr uk ur vi zh zh-TW";
const LOCALES = `am ar bg bg-BG bn bn-BD bs bs-BA ca ca-ES cs cs-CZ da da-DK de de-DE el el-GR en es
  es-419 es-ES et et-EE fi fi-FI fr fr-CA fr-FR gu gu-IN hi hi-IN hr hr-HR hu hu-HU hy hy-AM id
  id-ID is is-IS it it-IT ja ja-JP ka ka-GE kk kn kn-IN ko ko-KR lt lv lv-LV mk mk-MK ml mn mr
  mr-IN ms ms-MY my my-MM nb nb-NO nl nl-NL pa pl pl-PL pt pt-BR pt-PT ro ro-RO ru ru-RU sk sk-SK
  sl sl-SI so so-SO sq sq-AL sr sr-RS sv sv-SE sw sw-TZ ta ta-IN te te-IN th th-TH tl tr tr-TR uk
  uk-UA ur vi vi-VN zh zh-CN zh-HK zh-Hant zh-TW`;

/**
 * The name in a list that is closest to a locale: `pt_br` finds `pt-BR`, else `pt`.
 * @param {string} locale
 * @param {string} known names between white space
 */
export const closest = (locale, known) => {
  const all = known.split(/\s+/);
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
  options.locale ?? closest(document.documentElement.lang || "-", LOCALES);

/** @param {string} locale */
export const directionOf = (locale) => (/^(ar|ur)/.test(locale) ? "rtl" : "ltr");

/**
 * The language that there are words in.
 * @param {string | undefined} locale
 * @param {readonly string[]} preferred the browser's, where there is no locale
 */
export const languageOf = (locale, preferred = []) => {
  for (const name of locale ? [locale] : preferred) {
    const found = closest(String(name), LANGUAGES);
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
  return { language, widget: { ...TEXT, ...widget, ...own }, chat: { ...chat, ...ownChat } };
};

/** @type {Record<string, Promise<Record<string, any>>>} */
const languages = {};

/** @param {string} language */
const fetchLanguage = (language) =>
  fetch(new URL(`../lang/${language}.json`, import.meta.url), { credentials: "omit" })
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
