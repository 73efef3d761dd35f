// Times in the language of the chat's words.

/** @type {Intl.DateTimeFormatOptions} */
const SHORT_TIME = { timeStyle: "short" };
/** @type {Intl.DateTimeFormatOptions} */
const SHORT_DATE = { dateStyle: "medium" };
/** @type {Intl.DateTimeFormatOptions} */
const FULL = { dateStyle: "full", timeStyle: "short" };

/**
 * Call a function with a language, or with the browser's where that is none.
 * @template T
 * @param {string | undefined} language
 * @param {(locale: string | undefined) => T} make
 */
export const within = (language, make) => {
  try {
    return make(language || undefined);
  } catch {
    return make(undefined);
  }
};

/** @type {Map<string, Intl.DateTimeFormat>} to make one takes milliseconds */
const formats = new Map();

/**
 * @param {Date} date
 * @param {string | undefined} language
 * @param {Intl.DateTimeFormatOptions} form
 */
export const format = (date, language, form) => {
  const key = JSON.stringify([language, form]);
  const known =
    formats.get(key) ?? within(language, (locale) => new Intl.DateTimeFormat(locale, form));
  formats.set(key, known);
  return known.format(date);
};

/** @param {number | Date} at */
export const midnight = (at) => new Date(at).setHours(0, 0, 0, 0);

/**
 * A time in short and in full; the short one is the hour today, and the day before.
 * @param {string | undefined} created as the server has it
 * @param {string | undefined} language
 * @param {{hour?: boolean, now?: Date}} [how] whether always to have the hour
 * @returns {{short: string, full: string, date: Date} | null} null for no time
 */
export const timesOf = (created, language, { hour = false, now = new Date() } = {}) => {
  const date = new Date(created ?? "");
  if (Number.isNaN(+date)) return null;
  const isToday = midnight(date) === midnight(now);
  const short = isToday || hour ? SHORT_TIME : SHORT_DATE;
  return { short: format(date, language, short), full: format(date, language, FULL), date };
};

/**
 * A length of time, in minutes and seconds.
 * @param {number} seconds
 * @param {string | undefined} language
 */
export const formatSeconds = (seconds, language) => {
  const inUnit = (/** @type {number} */ count, /** @type {string} */ unit) => {
    /** @type {Intl.NumberFormatOptions} */
    const form = { style: "unit", unit, unitDisplay: "short" };
    return within(language, (locale) => count.toLocaleString(locale, form));
  };
  const rest = inUnit(seconds % 60, "second");
  return seconds < 60 ? rest : `${inUnit(Math.floor(seconds / 60), "minute")} ${rest}`;
};
