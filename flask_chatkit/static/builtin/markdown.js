// Markdown, once what shows it has come. Until then, and without it, a text stays as it was written.

import { h } from "../shared/dom.js";

/** @import { MarkdownOptions } from "./prose.js" */
/** @import { Progress } from "./textview.js" */

/** One of each; code comes last, so that it is not coloured. */
const SAMPLE = "# a\n- [ ] *b* [c](/)\n\n|d|\n|-|\n|e|\n```\nf\n";
const text = /** @type {import("./types.js").Strings} */ ({});

/** @type {typeof import("./textview.js").showText | null} */
let show = null;
/** @type {Map<Element, [string, MarkdownOptions, Progress]>} what waits to be shown */
const waiting = new Map();

import("./textview.js").then(
  ({ showText }) => {
    show = showText;
    for (const [target, [markdown, options, { streaming, notes }]] of waiting) {
      target.classList.remove("raw");
      showText(target, markdown, options, { streaming, notes });
    }
    waiting.clear();
    // What draws a text is compiled now, and not when the first answer begins.
    globalThis.requestIdleCallback?.(() =>
      showText(h("div"), SAMPLE, { text }, { streaming: true }),
    );
  },
  () => waiting.clear(),
);

/**
 * Show Markdown in `target`. What was shown there before is gone on with.
 * @param {Element} target
 * @param {string} markdown
 * @param {MarkdownOptions} options
 * @param {Progress} [progress]
 * @returns whether all of it is shown
 */
export const showMarkdown = (target, markdown, options, progress = {}) => {
  if (show) return show(target, markdown, options, progress);
  target.classList.add("raw");
  target.textContent = markdown;
  waiting.set(target, [markdown, options, progress]);
  return true;
};
