// The look of the chat, from ChatKit's option `theme`.

import { BLACK, contrast, css, legible, mix, WHITE } from "../shared/colour.js";
import { h } from "../shared/dom.js";
import { asList, safeUrl } from "./controls.js";
import { Part } from "./store.js";

/** @import { Colour } from "../shared/colour.js" */
/** @import { Chat } from "./element.js" */
/** @import { Theme } from "./types.js" */
/** @typedef {(value: string | undefined) => any} ReadColour any CSS colour as three numbers */

/** @type {Record<string, number[]>} corner, box and control, in the chat's rem */
const RADII = {
  pill: [1.4, 1.75, Infinity],
  round: [1, 1.1, 0.75],
  soft: [0.6, 0.7, 0.5],
  sharp: [0, 0, 0],
};
/** @type {Record<string, number>} likewise */
const GAPS = { compact: 0.75, normal: 1.15, spacious: 1.75 };

// The contrast ratios of WCAG 2 for text, 4.5, and for what is drawn, 3, with some to spare.
const TEXT_CONTRAST = 4.6;
const EDGE_CONTRAST = 3.05;

/**
 * @param {Theme} theme
 * @param {ReadColour} read
 * @returns {Record<"paper" | "ink" | "accent" | "bubble", Colour>}
 */
const basicColours = ({ colorScheme, color = {} }, read) => {
  const dark = colorScheme === "dark";
  const { hue = 0, tint = 0, shade = 0 } = color.grayscale ?? {};
  const grey = (/** @type {number} */ light) =>
    read(`hsl(${hue} ${tint * 3}% ${Math.min(100, Math.max(0, light - shade))}%)`);
  const surface = color.surface ?? {};
  const paper = read(surface.background) ?? (dark ? grey(12) : tint ? grey(98.5) : WHITE);
  const ink = read(surface.foreground) ?? (dark ? grey(94) : grey(8));
  const accent = read(color.accent?.primary) ?? ink;
  const level = color.accent?.level ?? 0;
  const bubble = level > 1 ? mix(accent, paper, level * 0.07) : mix(ink, paper, dark ? 0.11 : 0.06);
  return { paper, ink, accent, bubble };
};

/**
 * The custom properties of a theme.
 * @param {Theme} theme
 * @param {ReadColour} read undefined for what is no colour
 * @param {number} rem the size that the browser has for text, in pixels
 * @returns {Record<string, string>}
 */
export const themeProperties = (theme, read, rem = 16) => {
  const { colorScheme: scheme = "light", typography = {}, radius, density } = theme;
  const { paper, ink, accent, bubble } = basicColours(theme, read);
  const grounds = [paper, bubble];
  const visible = (/** @type {Colour} */ colour, /** @type {number} */ ratio) =>
    css(legible(colour, ink, grounds, ratio));
  const signal = (/** @type {string} */ light, /** @type {string} */ night) =>
    visible(read(scheme === "dark" ? night : light), TEXT_CONTRAST);
  const pixels = (/** @type {number} */ length) => `${Math.min(length * rem, 999)}px`;
  const [corner, box, control] = (RADII[radius ?? "pill"] ?? RADII.pill).map(pixels);
  return {
    "color-scheme": scheme,
    "--paper": css(paper),
    "--ink": css(ink),
    "--muted": visible(mix(ink, paper, 0.62), TEXT_CONTRAST),
    "--line": css(mix(ink, paper, 0.16)),
    "--edge": visible(mix(ink, paper, 0.45), EDGE_CONTRAST),
    "--bubble": css(bubble),
    "--accent": css(accent),
    "--on-accent": css(contrast(accent, WHITE) >= contrast(accent, BLACK) ? WHITE : BLACK),
    "--link": visible(accent, TEXT_CONTRAST),
    "--ring": visible(accent, EDGE_CONTRAST),
    "--danger": signal("#b42318", "#ff9c91"),
    "--warning": signal("#8a5200", "#ffc46b"),
    "--success": signal("#116b3a", "#6fdc9c"),
    "--info": signal("#0b5cad", "#8cc4ff"),
    "--discovery": signal("#6d3fc0", "#c3a9ff"),
    "--corner": corner,
    "--box": box,
    "--control": control,
    "--gap": pixels(GAPS[density ?? "normal"] ?? GAPS.normal),
    "--font": typography.fontFamily ?? "system-ui, sans-serif",
    "--mono": typography.fontFamilyMono ?? "ui-monospace, Menlo, Consolas, monospace",
    "--rem": pixels(1),
    "--size": pixels((typography.baseSize ?? 16) / 16),
  };
};

/**
 * A function that reads any CSS colour, with the help of a node that is shown nowhere.
 * @param {HTMLElement} probe
 * @returns {ReadColour}
 */
const colourReader = (probe) => (value) => {
  if (!value || !CSS.supports("color", value)) return undefined;
  probe.style.color = `color-mix(in srgb, ${value}, ${value})`;
  const found = getComputedStyle(probe)
    .color.match(/[\d.e+-]+/g)
    ?.slice(0, 3);
  return found?.map((part) => Math.min(1, Math.max(0, Number(part))));
};

/** The look of a chat: a style sheet with the theme's properties, and the fonts that it names. */
export class Appearance extends Part {
  sheet = new CSSStyleSheet();
  /** @type {ShadowRoot} */
  #root;
  /** @type {Set<string>} the URLs of fonts that are loaded */
  #fonts = new Set();

  /**
   * @param {Chat} chat
   * @param {ShadowRoot} root
   */
  constructor(chat, root) {
    super(chat);
    this.#root = root;
    this.sheet.replaceSync(":host{}");
  }

  /** Show the theme of the options. */
  apply() {
    if (!this.#root.isConnected) return;
    const { theme: given = {} } = this.options;
    /** @type {Theme} */
    const theme = typeof given === "string" ? { colorScheme: given } : given;
    const probe = h("span", { hidden: true });
    this.#root.append(probe);
    const { style } = /** @type {CSSStyleRule} */ (this.sheet.cssRules[0]);
    // What the browser takes for medium is the visitor's to say, and no page's.
    probe.style.font = "medium sans-serif";
    const rem = Number.parseFloat(getComputedStyle(probe).fontSize);
    for (const [name, value] of Object.entries(themeProperties(theme, colourReader(probe), rem)))
      style.setProperty(name, value);
    probe.remove();
    for (const font of asList(theme.typography?.fontSources)) this.#load(font);
  }

  /** @param {any} font */
  #load({ src, family, weight, style, display, unicodeRange }) {
    const url = safeUrl(src, /^(https?|data):$/);
    if (!url || this.#fonts.has(url.href)) return;
    this.#fonts.add(url.href);
    const given = { weight: weight && String(weight), style, display, unicodeRange };
    const known = Object.fromEntries(Object.entries(given).filter(([, value]) => value));
    document.fonts.add(new FontFace(family, `url("${url.href}")`, known));
  }
}
