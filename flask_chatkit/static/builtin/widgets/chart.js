// A chart: a picture for the eyes, a table for all others, and where the picture does not come.

import { h } from "../../shared/dom.js";
import { asList } from "../controls.js";
import { seriesColour } from "./colours.js";
import { scrollable } from "./containers.js";
import { WIDGETS } from "./draw.js";
import { place } from "./layout.js";

/** @import { Component, DrawContext } from "../types.js" */
/**
 * @typedef {object} Series
 * @property {"bar" | "line" | "area"} type
 * @property {string} label
 * @property {string} colour
 * @property {string} stack the series with the same one stand on each other
 * @property {string} curve
 * @property {(number | null)[]} values
 */
/**
 * @typedef {object} Model what is drawn
 * @property {string[]} labels of the x-axis
 * @property {Series[]} series
 * @property {boolean} xAxis
 * @property {boolean} yAxis
 * @property {boolean} tooltip
 * @property {number} [gap] pixels between the bars of a category
 * @property {number} [categoryGap] pixels between categories
 */

const MOST = 20; // series
const KINDS = ["bar", "line", "area"];
const FORCED = ["CanvasText", "LinkText", "Highlight", "GrayText"];

/** @param {unknown} value */
const numberOf = (value) => {
  const found = typeof value === "string" && value.trim() ? Number(value) : value;
  return typeof found === "number" && Number.isFinite(found) ? found : null;
};

/** @param {unknown} value */
const pixels = (value) => (Number.isFinite(value) ? Math.max(0, Number(value)) : undefined);

/**
 * @param {Component} widget
 * @param {DrawContext} context
 * @returns {Model}
 */
export const modelOf = (widget, { ground }) => {
  const { xAxis, showYAxis = false, showTooltip = true, barGap, barCategoryGap } = widget;
  const rows = asList(widget.data).filter((row) => row && typeof row === "object");
  const key = xAxis?.dataKey ?? xAxis;
  const labels = xAxis?.labels ?? {};
  const nameOf = (/** @type {any} */ value) =>
    String(Object.hasOwn(labels, value) ? labels[value] : (value ?? ""));
  const series = asList(widget.series).slice(0, MOST);
  const isForced = matchMedia("(forced-colors: active)").matches;
  return {
    labels: rows.map((row) => nameOf(row[key])),
    series: series.map((one, index) => ({
      type: KINDS.includes(one?.type) ? one.type : "line",
      label: String(one?.label ?? one?.dataKey ?? ""),
      colour: isForced ? FORCED[index % FORCED.length] : seriesColour(one?.color, index, ground),
      stack: one?.stack ? `${one.type} ${one.stack}` : "",
      curve: String(one?.curveType ?? ""),
      values: rows.map((row) => numberOf(row[one?.dataKey])),
    })),
    xAxis: xAxis?.hide !== true,
    yAxis: showYAxis === true,
    tooltip: showTooltip !== false,
    gap: pixels(barGap),
    categoryGap: pixels(barCategoryGap),
  };
};

/** @param {Model} model */
const drawTable = ({ labels, series }) => {
  const head = series.map(({ label }) => h("th", { scope: "col" }, label));
  const cells = (/** @type {number} */ at) =>
    series.map(({ values }) => h("td", {}, String(values[at] ?? "")));
  const rows = labels.map((label, at) =>
    h("tr", {}, h("th", { scope: "row" }, label), ...cells(at)),
  );
  return h("table", {}, h("thead", {}, h("tr", {}, h("td"), ...head)), h("tbody", {}, ...rows));
};

/** @param {Model} model */
const drawLegend = ({ series }) =>
  h(
    "ul",
    { className: "legend", role: "list", ariaHidden: "true" },
    series.map(({ label, colour, type }) => {
      const mark = h("span", { className: type === "line" ? "mark thin" : "mark" });
      mark.style.color = colour;
      return h("li", {}, mark, label);
    }),
  );

/**
 * @param {Component} widget
 * @param {DrawContext} context
 */
const drawChart = (widget, context) => {
  const model = modelOf(widget, context);
  const table = drawTable(model);
  const plot = h("div", { className: "plot", ariaHidden: "true", dir: "ltr" });
  const hidden = h("div", { className: "hidden" }, table);
  const legend = widget.showLegend !== false && drawLegend(model);
  const node = h("figure", { className: "chart" }, plot, legend, hidden);
  place(plot, { ...widget, flex: undefined });
  if (widget.flex !== undefined) place(node, { flex: widget.flex });
  import("./plot.js")
    .then(({ drawPlot }) => drawPlot(plot, model))
    .catch(() => node.replaceChildren(scrollable(context, table)));
  return node;
};

WIDGETS.Chart = drawChart;
