// The days under which the list of chats stands.

import { format, midnight, within } from "../times.js";

const DAY = 86_400_000; // milliseconds

/**
 * The heading under which a day stands: today, yesterday, the week before, else the month.
 * @param {Date} date
 * @param {Date} now
 * @param {{language?: string, week: string}} words
 */
export const groupOf = (date, now, { language, week }) => {
  const days = Math.round((midnight(now) - midnight(date)) / DAY);
  if (days > 7) {
    /** @type {Intl.DateTimeFormatOptions} */
    const form = { month: "long" };
    if (date.getFullYear() !== now.getFullYear()) form.year = "numeric";
    return format(date, language, form);
  }
  if (days > 1) return week;
  return within(language, (locale) => {
    const names = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
    const name = names.format(days > 0 ? -1 : 0, "day");
    return name[0].toLocaleUpperCase(locale) + name.slice(1);
  });
};
