// Light or dark, and the look that a chat takes over from the site.

import { css, inkOn, legible, luminance, readColour } from "../shared/colour.js";

/** @typedef {import("./api.js").Widget} Widget */
/** @typedef {import("./api.js").Theme} Theme */
/** @typedef {import("../shared/colour.js").Colour} Colour */
/** @typedef {Record<string, string>} Preset */

const AA = 4.5; // the contrast ratio of WCAG 2 at which text is readable
const STEP = 0.02; // how far a colour moves at a time until it reads

export const prefersDark = matchMedia("(prefers-color-scheme: dark)");
export const isTouch = matchMedia("(pointer: coarse)");

/** @type {Record<"light" | "dark", Colour>} */
const PAPER = { dark: [0.12, 0.12, 0.12], light: [1, 1, 1] };

// Where the usual stylesheets keep what a chat needs of a site's look.
/** @type {Record<string, Preset>} */
const PRESETS = {
  bootstrap: {
    primary: "--bs-primary",
    background: "--bs-body-bg",
    foreground: "--bs-body-color",
    radius: "--bs-border-radius",
    family: "--bs-body-font-family",
  },
  pico: {
    primary: "--pico-primary-background",
    background: "--pico-background-color",
    foreground: "--pico-color",
    radius: "--pico-border-radius",
    family: "--pico-font-family",
  },
  shadcn: {
    primary: "--primary",
    background: "--background",
    foreground: "--foreground",
    radius: "--radius",
    family: "--font-sans",
  },
  plain: {},
};

// With commas, as every parser of ChatKit's options reads them.
/** @param {Colour} colour */
const rgb = (colour) => css(colour, ", ");

/**
 * @param {Colour} colour
 * @param {Colour} ground
 */
const readable = (colour, ground) => legible(colour, inkOn(ground), [ground], AA, STEP);

/** @returns {"light" | "dark"} */
const pageScheme = () => {
  for (const node of [document.documentElement, document.body]) {
    const given = node.dataset.theme ?? node.dataset.bsTheme;
    if (given === "dark" || given === "light") return given;
    for (const name of /** @type {const} */ (["dark", "light"])) {
      if (node.classList.contains(name)) return name;
    }
  }
  const declared = getComputedStyle(document.documentElement).colorScheme;
  if (declared === "dark" || declared === "light") return declared;
  return prefersDark.matches ? "dark" : "light";
};

/**
 * The name of the first preset whose colours a page has.
 * @param {Pick<CSSStyleDeclaration, "getPropertyValue">} style
 */
export const detectPreset = (style) =>
  Object.keys(PRESETS).find((name) => {
    const { primary, background } = PRESETS[name];
    return primary && style.getPropertyValue(primary) && style.getPropertyValue(background);
  }) ?? "plain";

/**
 * The value of the first of some custom properties that has one.
 * @param {Pick<CSSStyleDeclaration, "getPropertyValue">} style
 * @param {...(string | undefined)} names
 */
export const firstProperty = (style, ...names) => {
  const values = names.map((name) => name && style.getPropertyValue(name).trim());
  const value = values.find(Boolean);
  // Of shadcn's older themes: the parts of an hsl().
  return value && /^[\d.]+(deg)? [\d.]+% [\d.]+%$/.test(value) ? `hsl(${value})` : value;
};

/**
 * ChatKit's name for how round corners are.
 * @param {string | undefined} value a length, or such a name
 * @param {number} rem the page's, in pixels
 */
export const radiusOf = (value, rem = 16) => {
  if (value && /^(pill|round|soft|sharp)$/.test(value)) return value;
  const [, number, unit] = /^([\d.]+)(px|r?em)?$/.exec(value ?? "") ?? [];
  if (number === undefined) return undefined;
  const pixels = Number(number) * (unit === "rem" ? rem : unit === "em" ? 16 : 1);
  return pixels < 1 ? "sharp" : pixels < 7 ? "soft" : pixels < 17 ? "round" : "pill";
};

/**
 * The colour that is painted behind an element.
 * @param {Element | null} node
 */
const backdrop = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = readColour(at, getComputedStyle(at).backgroundColor);
    if (colour && colour.alpha > 0.5) return colour;
  }
  return null;
};

/**
 * On a plain page the look of its buttons or links is its accent.
 * @param {Element} root
 */
const pageAccent = (root) => {
  const { accentColor } = getComputedStyle(root);
  if (accentColor && accentColor !== "auto") return accentColor;
  /** @param {string} selector */
  const outside = (selector) =>
    [...document.querySelectorAll(selector)].find((node) => !node.closest(".chatkit"));
  const button = outside("[type=submit], button, .button, .btn");
  const ground = button && getComputedStyle(button).backgroundColor;
  const parts = (ground && readColour(button, ground)) || [];
  // Grey is what a browser paints a button that nobody has.
  if (Math.max(...parts) - Math.min(...parts) > 0.15) return ground;
  const link = outside("main a[href], a[href]");
  return link && getComputedStyle(link).color;
};

/**
 * The site's look as ChatKit's theme.
 * @param {Widget} widget
 * @param {"light" | "dark" | undefined} wanted was asked for, whatever the site is in
 * @param {{background?: string} | undefined} surface of the options
 * @returns {Theme}
 */
const siteTheme = ({ root, config }, wanted, surface) => {
  const style = getComputedStyle(root);
  const preset = PRESETS[config.preset === "auto" ? detectPreset(style) : (config.preset ?? "")];
  // What is set for the widget counts before what is set for the site's own style.
  /**
   * @param {string} fromPreset
   * @param {...string} names
   */
  const value = (fromPreset, ...names) =>
    firstProperty(style, ...names.map((name) => `--chatkit-${name}`), fromPreset);
  /** @param {string | undefined} given */
  const colour = (given) => (given ? readColour(root, given) : null);
  // The widget has a text colour of its own; the site's is that of what surrounds it.
  const around = getComputedStyle(root.parentElement ?? root);
  const here =
    colour(surface?.background) ??
    colour(value(preset.background, "bg", "background")) ??
    backdrop(root.parentElement) ??
    PAPER[pageScheme()];
  const own = luminance(here) < 0.18 ? "dark" : "light";
  const fits = surface || !wanted || wanted === own;
  const ground = fits ? here : PAPER[wanted];
  const ink = colour(value(preset.foreground, "text", "foreground")) ?? colour(around.color);
  const accent = colour(value(preset.primary, "primary", "accent") ?? pageAccent(root));
  const { fontSize } = getComputedStyle(document.documentElement);
  const radius = radiusOf(value(preset.radius, "radius"), Number.parseFloat(fontSize));
  const fontFamily = value(preset.family, "font", "font-family") ?? around.fontFamily;
  const baseSize = Math.round(Number.parseFloat(around.fontSize));
  return {
    colorScheme: own,
    color: {
      ...(accent && { accent: { primary: rgb(readable(accent, ground)), level: 1 } }),
      ...(fits && {
        surface: { background: rgb(ground), foreground: rgb(readable(ink ?? ground, ground)) },
      }),
    },
    ...(radius && { radius }),
    // The closest that ChatKit has.
    typography: { fontFamily, baseSize: Math.min(18, Math.max(14, baseSize)) },
  };
};

/**
 * What a site has painted its widgets with is the conversation's ground too, without a seam.
 * @param {Widget} widget
 * @returns {Theme | undefined}
 */
const paintedTheme = ({ root }) => {
  const style = getComputedStyle(root);
  const [ground, ink] = ["--chatkit-bg", "--chatkit-text"].map((name) => {
    const value = firstProperty(style, name);
    return value ? readColour(root, value) : null;
  });
  if (!ground) return undefined;
  const foreground = rgb(readable(ink ?? inkOn(ground), ground));
  return { color: { surface: { background: rgb(ground), foreground } } };
};

/**
 * Themes over each other: colours and typography are mixed, all else is replaced.
 * @param {...(Theme | undefined)} themes
 * @returns {Theme}
 */
export const mergeThemes = (...themes) => {
  /** @type {Theme} */
  const merged = {};
  for (const more of themes) {
    const { color, typography } = merged;
    Object.assign(merged, more);
    if (color && more?.color) merged.color = { ...color, ...more.color };
    if (typography && more?.typography) merged.typography = { ...typography, ...more.typography };
  }
  return merged;
};

/**
 * @param {Widget} widget
 * @returns {Theme}
 */
export const themeOf = (widget) => {
  const { config, themeOverride } = widget;
  const { colorScheme: asked, ...given } = config.options.theme ?? {};
  const { colorScheme: now, ...override } =
    typeof themeOverride === "string" ? { colorScheme: themeOverride } : (themeOverride ?? {});
  const wanted = now === "auto" ? undefined : (now ?? asked);
  const site = config.preset
    ? siteTheme(widget, wanted, given.color?.surface)
    : paintedTheme(widget);
  const theme = mergeThemes({ colorScheme: pageScheme() }, site, given, override);
  if (wanted) theme.colorScheme = wanted;
  // An iPhone zooms into smaller text when it is written into.
  if (isTouch.matches && theme.typography?.baseSize < 16) {
    theme.typography = { ...theme.typography, baseSize: 16 };
  }
  return theme;
};

/**
 * Have what surrounds the conversation look as it does.
 * @param {Widget} widget
 * @param {Theme} theme
 */
export const applyTheme = ({ root, panel, body }, theme) => {
  root.dataset.scheme = theme.colorScheme;
  const { accent, surface } = theme.color ?? {};
  const ground = accent && readColour(root, accent.primary);
  const place = panel ?? body;
  /**
   * @param {HTMLElement} node
   * @param {string} name
   * @param {string | undefined} value
   */
  const set = ({ style }, name, value) => {
    if (value) style.setProperty(name, value);
    else style.removeProperty(name);
  };
  set(root, "--_surface", surface?.background);
  set(root, "--_text", surface?.foreground);
  set(place, "--_accent", accent?.primary);
  set(place, "--_auto", ground && rgb(inkOn(ground)));
  const { fontFamily } = theme.typography ?? {};
  set(place, "font-family", fontFamily && `${fontFamily}, system-ui, sans-serif`);
};
