// The icons of the header, drawn with strokes in 24 by 24.

import { svg } from "../shared/dom.js";

/** @type {Record<string, string>} */
export const ICONS = {
  "back-large": "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  compose:
    "M12 5H6.5A1.5 1.5 0 0 0 5 6.5v11A1.5 1.5 0 0 0 6.5 19h11a1.5 1.5 0 0 0 1.5-1.5V12M18 4.3a1.6 1.6 0 0 1 2.3 2.3L13 14l-3.2.9.9-3.2z",
  dots: "M6 12h.01M12 12h.01M18 12h.01",
  grid: "M5 5h5v5H5zM14 5h5v5h-5zM5 14h5v5H5zM14 14h5v5h-5z",
  history: "M4 12a8 8 0 1 0 2.4-5.7L4 8.5M4 4v4.5h4.5M12 8v4.2l3 1.8",
  home: "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
  "light-mode": "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 1 1 0 16",
  menu: "M4 7h16M4 12h16M4 17h16",
  "open-right": "M5 5h6M5 5v14h14v-6M14 5h5v5M19 5l-9 9",
  share: "M12 15V4M8 7.5L12 4l4 3.5M5 12v8h14v-8",
  star: "M12 4l2.5 5.2 5.5.7-4 4 1 5.6-5-2.7-5 2.7 1-5.6-4-4 5.5-.7z",
};
// Those that look alike enough; the rest of ChatKit's sixty become three dots.
/** @type {[RegExp, string][]} */
const ALIKE = [
  [/^home/, "home"],
  [/^(back|.*chevron-left)/, "back-large"],
  [/^(sidebar|menu|hamburger|collapse)/, "menu"],
  [/^(open|expand)/, "open-right"],
  [/^star/, "star"],
  [/mode$/, "light-mode"],
];

/**
 * The icon that stands for one of ChatKit's.
 * @param {string} name
 */
export const closestIcon = (name) =>
  Object.hasOwn(ICONS, name)
    ? name
    : (ALIKE.find(([pattern]) => pattern.test(name))?.[1] ?? "dots");

/** @param {string} name */
export const icon = (name) => svg(ICONS[closestIcon(name)]);
