// The colours of widgets, and the grounds that their texts stand on. A colour is read by the browser
// and written anew, so that no string of a widget's is CSS, and moved until it can be read.

import { BLACK, contrast, css, inkOn, legible, mix, readColour } from "../../shared/colour.js";
import { themeProperties } from "../theme.js";
import { plain } from "./values.js";

/** @import { Colour } from "../../shared/colour.js" */
/** @import { DrawContext } from "../types.js" */
/** @typedef {Colour & {alpha?: number}} Given a colour that may let its ground through */
/**
 * @typedef {object} Ground what is below a text
 * @property {Colour[]} colours several for a gradient
 * @property {Colour} ink that text has there
 * @property {boolean} dark
 * @property {(value: string) => Given | null} read any CSS colour
 */

const TEXT_CONTRAST = 4.5;
const SHAPE_CONTRAST = 3;
/** What refers to something else than a colour. */
const REFERENCE = /var|url|env|attr|image|inherit|initial|unset|revert|current/i;
const LONGEST = 80; // characters

/** @type {Record<string, number>} hues of OKLCH; grey has none */
const HUES = {
  gray: -1,
  red: 25,
  orange: 50,
  yellow: 92,
  green: 152,
  teal: 190,
  blue: 257,
  purple: 302,
  pink: 355,
};

/**
 * One of the named scales, "red-100" to "red-1000", which are mirrored in the dark.
 * @param {string} hue
 * @param {number} step
 * @param {boolean} dark
 */
export const primitive = (hue, step, dark) => {
  const depth = Math.min(1, (dark ? 1000 - step : step) / 1000);
  const swell = depth < 0.5 ? (depth * 2) ** 0.8 : 1.45 - depth * 0.9;
  const angle = HUES[hue];
  const light = 1 - depth * 0.8 + (hue === "yellow" ? 0.1 * swell : 0);
  return `oklch(${light.toFixed(3)} ${angle < 0 ? 0 : (0.2 * swell).toFixed(3)} ${Math.max(0, angle)})`;
};

/**
 * The ground that all widgets of a chat stand on.
 * @param {DrawContext} context
 * @returns {Ground}
 */
export const groundOf = ({ host, dark }) => {
  /** @type {Map<string, Given | null>} */
  const known = new Map();
  const read = (/** @type {string} */ value) => {
    if (!known.has(value)) known.set(value, readColour(host, value));
    return known.get(value) ?? null;
  };
  const paper = read("var(--paper)") ?? [1, 1, 1];
  return { colours: [paper], ink: read("var(--ink)") ?? BLACK, dark, read };
};

/**
 * The one of a pair for light and dark that counts here.
 * @param {any} value
 * @param {Ground} ground
 */
const themed = (value, { dark }) =>
  plain(value && typeof value === "object" ? value[dark ? "dark" : "light"] : value);

/**
 * A colour that is no name of ChatKit's but for its scales.
 * @param {any} value
 * @param {Ground} ground
 * @returns {Given | null}
 */
export const readGiven = (value, ground) => {
  const given = plain(value);
  if (!given || given.length > LONGEST || REFERENCE.test(given)) return null;
  const [, hue, step] = /^([a-z]+)-(\d{1,4})$/.exec(given) ?? [];
  if (hue === "alpha") return Object.assign([...ground.ink], { alpha: Math.min(100, +step) / 100 });
  if (hue) return Object.hasOwn(HUES, hue) ? ground.read(primitive(hue, +step, ground.dark)) : null;
  return ground.read(given);
};

/**
 * What a colour looks like on a ground.
 * @param {Given} colour
 * @param {Colour} below
 */
const over = (colour, below) => mix([...colour], below, colour.alpha ?? 1);

/** @param {Given} colour */
const write = (colour) => {
  const { alpha = 1 } = colour;
  return alpha < 1 ? css(colour).replace(")", ` / ${+alpha.toFixed(3)})`) : css(colour);
};

/** @type {Record<string, string>} */
const TEXTS = {
  prose: "ink",
  primary: "ink",
  emphasis: "ink",
  secondary: "muted",
  tertiary: "muted",
  success: "success",
  warning: "warning",
  danger: "danger",
  info: "info",
  discovery: "discovery",
};

/**
 * A colour of text, readable where it stands; undefined for none.
 * @param {any} value one of ChatKit's names, any of CSS, or one each for light and dark
 * @param {Ground} ground
 * @param {number} [ratio] the contrast that it must have
 */
export const textColour = (value, ground, ratio = TEXT_CONTRAST) => {
  const found = themed(value, ground);
  if (Object.hasOwn(TEXTS, found)) return `var(--${TEXTS[found]})`;
  const colour = readGiven(found, ground);
  if (!colour) return undefined;
  return css(legible(over(colour, ground.colours[0]), ground.ink, ground.colours, ratio + 0.05));
};

/** @type {Record<string, string>} */
const LINES = { default: "line", subtle: "bubble", strong: "edge" };

/**
 * The colour of a line.
 * @param {any} value
 * @param {Ground} ground
 */
export const lineColour = (value, ground) => {
  const found = themed(value, ground);
  const colour = readGiven(found, ground);
  if (colour && !Object.hasOwn(LINES, found)) return write(colour);
  return `var(--${LINES[found] ?? "line"})`;
};

/** @type {Record<string, [string, string]>} for light and dark */
const SERIES = {
  blue: ["#2f6fed", "#6ea4ff"],
  purple: ["#8250df", "#b794ff"],
  orange: ["#d2600a", "#ff9f5a"],
  green: ["#1a8a4a", "#5cc98a"],
  red: ["#cf2f3a", "#ff7d80"],
  yellow: ["#a07800", "#f2cc4d"],
  pink: ["#cb3c86", "#ff8fc4"],
};

/**
 * The colour of a series in a chart.
 * @param {any} value
 * @param {number} index of the series
 * @param {Ground} ground
 * @returns {string}
 */
export const seriesColour = (value, index, ground) => {
  const names = Object.keys(SERIES);
  const given = themed(value, ground);
  const own = Object.hasOwn(SERIES, given) ? given : names[index % names.length];
  const found = (own !== given && textColour(given, ground, SHAPE_CONTRAST)) || "";
  if (found && !found.startsWith("var")) return found;
  return /** @type {string} */ (
    textColour(SERIES[own][ground.dark ? 1 : 0], ground, SHAPE_CONTRAST)
  );
};

// --- backgrounds ---------------------------------------------------------------------------------

/** @type {Record<string, number>} the share of ink in them */
const SURFACES = {
  surface: 0,
  "surface-secondary": 0.04,
  "surface-tertiary": 0.08,
  "surface-elevated": 0,
  "surface-elevated-secondary": 0.05,
};
const ANGLE = String.raw`-?\d{1,4}(\.\d{1,4})?(deg|turn|rad|grad)`;
const AT = String.raw`at( (\d{1,3}%|center|top|bottom|left|right)){1,2}`;
/** @type {Record<string, RegExp>} what a gradient may have before its colours */
const DIRECTIONS = {
  linear: new RegExp(`^(${ANGLE}|to( (top|bottom|left|right)){1,2})$`),
  radial: new RegExp(`^(circle|ellipse)?( ?(closest|farthest)-(side|corner))?( ?${AT})?$`),
  conic: new RegExp(`^(from ${ANGLE})?( ?${AT})?$`),
};
const PLACES = /(\s+\d{1,5}(\.\d{1,4})?(%|px|r?em|deg)){1,2}$/;

/**
 * @typedef {object} Background
 * @property {string} css
 * @property {Given[]} colours
 */

/**
 * @param {string} value
 * @param {Ground} ground
 * @returns {Background | null}
 */
const readGradient = (value, ground) => {
  const [, kind, inner] = /^(linear|radial|conic)-gradient\(([^;{}]{1,400})\)$/.exec(value) ?? [];
  if (!kind) return null;
  // At the commas that are in no parentheses.
  const parts = inner.split(/,(?![^(]*\))/).map((part) => part.trim());
  const direction = DIRECTIONS[kind].test(parts[0]) ? [parts.shift()] : [];
  const colours = parts.map((part) => readGiven(part.replace(PLACES, ""), ground));
  if (colours.length < 2 || colours.some((colour) => !colour)) return null;
  const known = /** @type {Given[]} */ (colours);
  const stops = known.map((colour, at) => write(colour) + (PLACES.exec(parts[at])?.[0] ?? ""));
  return { css: `${kind}-gradient(${[...direction, ...stops].join(", ")})`, colours: known };
};

/**
 * @param {any} value
 * @param {Ground} ground
 * @returns {Background | null}
 */
export const readBackground = (value, ground) => {
  const found = themed(value, ground);
  if (Object.hasOwn(SURFACES, found)) {
    const [paper] = ground.colours;
    const share = SURFACES[found] + (ground.dark && found === "surface-elevated" ? 0.07 : 0);
    const colour = mix(ground.ink, paper, share);
    return { css: css(colour), colours: [colour] };
  }
  const gradient = readGradient(found, ground);
  if (gradient) return gradient;
  const colour = readGiven(found, ground);
  return colour && { css: write(colour), colours: [colour] };
};

/** The properties of a theme that are colours. */
const COLOURS =
  /^(color-scheme|--(paper|ink|muted|line|edge|bubble|accent|on-accent|link|ring|danger|warning|success|info|discovery))$/;

/**
 * Give all below `node` the colours of a theme.
 * @param {HTMLElement} node
 * @param {DrawContext} context
 * @param {Ground} ground
 * @param {any} surface its two colours, if they are not the theme's
 */
const applyColours = (node, { theme }, ground, surface) => {
  const { dark, read } = ground;
  const colours = { ...theme, colorScheme: dark ? "dark" : "light" };
  colours.color = { ...theme.color, surface };
  const find = (/** @type {any} */ value) =>
    Array.isArray(value) ? value : (value && read(value)) || undefined;
  const found = themeProperties(/** @type {any} */ (colours), find);
  for (const [name, value] of Object.entries(found))
    if (COLOURS.test(name)) node.style.setProperty(name, value);
  node.style.color = "var(--ink)";
  return found;
};

/**
 * Paint the background of a node, unless no text could be read on it.
 * @param {HTMLElement} node
 * @param {any} value
 * @param {DrawContext} context
 * @returns {DrawContext} that of what is in it
 */
export const paint = (node, value, context) => {
  const { ground } = context;
  const found = value && readBackground(value, ground);
  if (!found) return context;
  /** @type {Colour[]} */
  const colours = found.colours.flatMap((/** @type {Given} */ each) =>
    ground.colours.map((below) => over(each, below)),
  );
  const worst = (/** @type {Colour} */ ink) =>
    colours.reduce((one, other) => (contrast(ink, one) < contrast(ink, other) ? one : other));
  const rank = (/** @type {Colour} */ ink) => contrast(ink, worst(ink));
  const inks = [ground.ink, ...colours.map(inkOn)];
  const ink =
    rank(ground.ink) > 7 ? ground.ink : inks.reduce((a, b) => (rank(a) < rank(b) ? b : a));
  // Black on one end and white on the other: there is no ink for it.
  if (rank(ink) < TEXT_CONTRAST) return context;
  node.style.background = found.css;
  const dark = ink === ground.ink ? ground.dark : contrast(ink, BLACK) > 10;
  const inner = { ...ground, colours, ink, dark };
  applyColours(node, context, inner, { background: worst(ink), foreground: ink });
  return { ...context, ground: inner };
};

/**
 * Have a part of a widget in light or dark, whatever the chat is in.
 * @param {HTMLElement} node
 * @param {any} scheme
 * @param {DrawContext} context
 * @returns {DrawContext} that of what is in it
 */
export const withTheme = (node, scheme, context) => {
  const { ground } = context;
  const dark = scheme === "dark";
  if ((scheme !== "light" && !dark) || dark === ground.dark) return context;
  const found = applyColours(node, context, { ...ground, dark }, undefined);
  const [paper, ink] = ["--paper", "--ink"].map((name) => ground.read(found[name]) ?? BLACK);
  node.style.background = "var(--paper)";
  return { ...context, ground: { ...ground, dark, colours: [paper], ink } };
};
