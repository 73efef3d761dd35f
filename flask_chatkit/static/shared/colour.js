// Colours as three numbers from 0 to 1: red, green and blue.

/** @typedef {number[]} Colour */

/** @type {Colour} */
export const BLACK = [0, 0, 0];
/** @type {Colour} */
export const WHITE = [1, 1, 1];

/**
 * Mix two colours.
 * @param {Colour} one
 * @param {Colour} other
 * @param {number} share of the first, from 0 to 1
 */
export const mix = (one, other, share) =>
  one.map((part, i) => part * share + other[i] * (1 - share));

/**
 * The relative luminance of WCAG 2.
 * @param {Colour} colour
 */
export const luminance = (colour) =>
  colour
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);

/**
 * The contrast ratio of WCAG 2, from 1 to 21.
 * @param {Colour} one
 * @param {Colour} other
 */
export const contrast = (one, other) => {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};

/**
 * Black or white, whichever has more contrast to `ground`.
 * @param {Colour} ground
 */
export const inkOn = (ground) =>
  contrast(WHITE, ground) > contrast(BLACK, ground) ? WHITE : BLACK;

/**
 * `colour`, moved towards `ink` until its contrast to all of `grounds` is at least `ratio`.
 * @param {Colour} colour
 * @param {Colour} ink
 * @param {Colour[]} grounds
 * @param {number} ratio
 * @param {number} step how far it moves at a time, from 0 to 1
 */
export const legible = (colour, ink, grounds, ratio, step = 0.05) => {
  for (let share = 1; share > 0; share -= step) {
    // As CSS writes it, in whole numbers up to 255.
    const mixed = mix(colour, ink, share).map((part) => Math.round(part * 255) / 255);
    if (grounds.every((ground) => contrast(mixed, ground) >= ratio)) return mixed;
  }
  return ink;
};

/**
 * A colour in CSS.
 * @param {Colour} colour
 * @param {string} separator a comma where older parsers may read it
 */
export const css = (colour, separator = " ") =>
  `rgb(${colour.map((part) => Math.round(part * 255)).join(separator)})`;

/**
 * The numbers of a computed colour, `rgb(…)` with up to 255 or `color(srgb …)`.
 * @param {string} computed
 * @returns {Colour & {alpha: number} | null}
 */
export const parseComputed = (computed) => {
  const [red, green, blue, alpha = 1] = (computed.match(/[\d.e+-]+/g) ?? []).map(Number);
  if (blue === undefined) return null;
  const scale = computed.startsWith("rgb") ? 255 : 1;
  const colour = [red, green, blue].map((part) => Math.min(1, Math.max(0, part / scale)));
  return Object.assign(colour, { alpha });
};

/**
 * Any CSS colour, custom properties included, as `root` sees it.
 * @param {Element} root
 * @param {string} value
 */
export const readColour = (root, value) => {
  const probe = document.createElement("span");
  probe.hidden = true;
  root.append(probe);
  // Every colour space is computed to sRGB.
  probe.style.color = `color-mix(in srgb, ${value}, ${value})`;
  const computed = probe.style.color && getComputedStyle(probe).color;
  probe.remove();
  return parseComputed(computed);
};
