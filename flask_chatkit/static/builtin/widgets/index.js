// Widgets: all that a server shows as components. This room is loaded with the first of them.

import "./layout.js";
import "./text.js";
import "./fields.js";
import "./containers.js";
import "./chart.js";
import { groundOf } from "./colours.js";
import { drawComponent } from "./draw.js";
import { STYLE } from "./style.js";

/** @import { DrawContext } from "../types.js" */

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);

/**
 * Draw a widget.
 * @param {any} widget
 * @param {DrawContext} context
 */
export const drawRoot = (widget, context) => {
  const root = /** @type {ShadowRoot} */ (context.host.getRootNode());
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets.push(sheet);
  context.ground ??= groundOf(context);
  return drawComponent(widget, context);
};
