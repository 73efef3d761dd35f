// The values of a widget's properties as CSS. A widget is a server's data, in part a model's: a value
// reaches a style only if it is one of a list, a number, or a string of a known pattern.

/**
 * A value if it is one of the words.
 * @param {any} value
 * @param {string} words separated by spaces
 * @returns {string}
 */
export const pick = (value, words) => (words.split(" ").includes(value) ? value : "");

/**
 * A string or number as a string; an empty one for all else.
 * @param {any} value
 */
export const plain = (value) =>
  typeof value === "string" || typeof value === "number" ? String(value).trim() : "";

const NUMBER = /^\d{0,5}(\.\d{1,9})?$/;
const UNIT = /^\d{0,5}(\.\d{1,9})?(px|r?em|%|[dls]?v[hw]|vmin|vmax|ch|lh|cq[whib])$/;
const WORD = /^(auto|(min|max|fit)-content)$/;
const SUM = /^(calc|min|max|clamp)\([\d\s.%a-z+*/(),-]{1,80}\)$/;
const SUBSTITUTES = /var|url|env|attr|expression/;

/**
 * @param {any} value
 * @param {number} step pixels that a plain number counts
 * @returns {string | undefined}
 */
const measure = (value, step) => {
  const given = plain(value);
  if (!given) return undefined;
  if (NUMBER.test(given)) return `${Number(given) * step}px`;
  const known = UNIT.test(given) || WORD.test(given);
  return known || (SUM.test(given) && !SUBSTITUTES.test(given)) ? given : undefined;
};

/**
 * A length: a number is pixels.
 * @param {any} value
 */
export const length = (value) => measure(value, 1);

/**
 * Space: a number is steps of four pixels.
 * @param {any} value
 */
export const space = (value) => measure(value, 4);

/**
 * Space on the four sides.
 * @param {any} value
 */
export const sides = (value) => {
  if (typeof value !== "object" || !value) {
    const parts = String(value ?? "")
      .trim()
      .split(/\s+/)
      .map(space);
    return space(value) ?? (parts.length < 5 && parts.every(Boolean) ? parts.join(" ") : undefined);
  }
  const { top, right, bottom, left, x, y } = value;
  return [top ?? y, right ?? x, bottom ?? y, left ?? x]
    .map((side) => space(side) ?? "0px")
    .join(" ");
};

/**
 * A ratio of width to height, as in "16/9".
 * @param {any} value
 */
export const ratio = (value) => {
  const given = plain(value);
  return /^\d+(\.\d+)?(\s*\/\s*\d+(\.\d+)?)?$/.test(given) ? given : undefined;
};

/**
 * How a child of a row or column grows.
 * @param {any} value
 */
export const flexOf = (value) => {
  const given = plain(value);
  if (/^(none|auto|initial)$/.test(given)) return given;
  const [grow, ...rest] = given.split(/\s+/);
  const known = NUMBER.test(grow) && grow && rest.length < 3 && rest.every((each) => length(each));
  return known ? given : undefined;
};

/** @type {Record<string, string>} */
const RADII = {
  none: "0",
  "2xs": "2px",
  xs: "4px",
  sm: "6px",
  md: "8px",
  lg: "10px",
  xl: "12px",
  "2xl": "16px",
  "3xl": "20px",
  "4xl": "24px",
  full: "999px",
  "100%": "100%",
};

/** @param {any} value */
export const radius = (value) => RADII[pick(value, Object.keys(RADII).join(" "))];

/** The sizes of controls, from small to large. */
export const SIZES = "3xs 2xs xs sm md lg xl 2xl 3xl";
