// The picture of a chart, drawn by uPlot. It comes with the first chart.

import { h } from "../../shared/dom.js";

/** @import { Model, Series } from "./chart.js" */
/**
 * @typedef {object} Drawn a series as it is drawn
 * @property {Series} series
 * @property {(number | null)[]} tops where its values end, on the others of its stack
 * @property {number} slot of a bar among those of a category
 */

const LIBRARY = "uplot"; // in a name that the type checker does not follow
/** @type {any} */
const uPlot = (await import(`../../vendor/${LIBRARY}.mjs`)).default;

const FONT_SIZE = 12; // pixels
const GAP = 3; // pixels
const LONGEST_LABEL = 16; // characters
const NOTHING = { stroke: null, clip: null, band: null, gaps: null, flags: 0 };
/** Those that are drawn one after the other: lines are on top. */
const ORDER = ["area", "bar", "line"];

/**
 * The series in the order in which they are drawn: of a stack the highest first, since each hides
 * the lower part of the one before.
 * @param {Series[]} series
 * @returns {Drawn[]}
 */
export const arrange = (series) => {
  /** @type {Map<string, (number | null)[]>} */
  const stacks = new Map();
  /** @type {Map<string, number>} */
  const slots = new Map();
  const drawn = series.map((one, index) => {
    const { stack, type, values } = one;
    const below = stacks.get(stack);
    const tops = values.map((value, at) =>
      stack && below ? (below[at] ?? 0) + (value ?? 0) : value,
    );
    if (stack) stacks.set(stack, tops);
    const slot = stack || String(index);
    if (type === "bar" && !slots.has(slot)) slots.set(slot, slots.size);
    return { series: one, tops, slot: slots.get(slot) ?? 0 };
  });
  const order = (/** @type {Drawn} */ { series: { type } }) => ORDER.indexOf(type);
  return drawn.reverse().sort((a, b) => order(a) - order(b));
};

/**
 * The curve of a line. On an axis of categories all of d3's are one of three.
 * @param {string} curve
 */
const pathsOf = (curve) => {
  const { linear, spline, stepped } = uPlot.paths;
  if (/^step/.test(curve)) return stepped({ align: curve === "stepBefore" ? -1 : 1 });
  return /^(basis|bump|natural|monotone)/.test(curve) ? spline() : linear();
};

/**
 * @param {number} slots bars of a category
 * @param {number} slot
 * @param {Model} model
 */
const barPaths =
  (slots, slot, { gap = GAP, categoryGap }) =>
  (
    /** @type {any} */ u,
    /** @type {number} */ index,
    /** @type {number} */ from,
    /** @type {number} */ to,
  ) => {
    const place = (/** @type {number} */ at) => u.valToPos(at, "x", true);
    const ratio = devicePixelRatio || 1;
    const unit = Math.abs(place(1) - place(0));
    const room = Math.max(
      slots,
      unit - (categoryGap === undefined ? unit * 0.25 : categoryGap * ratio),
    );
    const between = slots > 1 ? Math.min(gap * ratio, room / slots / 2) : 0;
    const width = Math.min((room - between * (slots - 1)) / slots, 64 * ratio);
    const all = width * slots + between * (slots - 1);
    const zero = u.valToPos(0, "y", true);
    const fill = new Path2D();
    for (let at = from; at <= to; at += 1) {
      const value = u.data[index][at];
      if (value === null || value === undefined) continue;
      const top = u.valToPos(value, "y", true);
      const left = Math.round(place(at) - all / 2 + slot * (width + between));
      fill.rect(left, Math.min(top, zero), Math.max(1, Math.round(width)), Math.abs(zero - top));
    }
    return { ...NOTHING, fill };
  };

/**
 * @param {Drawn[]} drawn
 * @param {Model} model
 * @param {string} ground
 * @param {boolean} rtl
 */
const seriesOf = (drawn, model, ground, rtl) => {
  const slots = 1 + Math.max(...drawn.map(({ slot }) => slot));
  return drawn.map(({ series: { type, colour, curve, stack }, slot }) => {
    if (type === "bar") {
      const points = { show: false };
      return {
        fill: colour,
        paths: barPaths(slots, rtl ? slots - 1 - slot : slot, model),
        points,
        width: 0,
      };
    }
    // What stands on another area covers it.
    const shade = `color-mix(in srgb, ${colour} 30%, ${stack ? ground : "transparent"})`;
    return {
      stroke: colour,
      width: 2,
      fill: type === "area" ? shade : undefined,
      fillTo: 0,
      paths: pathsOf(curve),
      points: { show: model.labels.length === 1, size: 6, fill: colour },
    };
  });
};

/**
 * How wide a text is in a chart, and in which font and colour.
 * @param {HTMLElement} host
 */
const measure = (host) => {
  const { color, fontFamily } = getComputedStyle(host);
  const font = `${FONT_SIZE}px ${fontFamily}`;
  const brush = /** @type {CanvasRenderingContext2D} */ (h("canvas").getContext("2d"));
  brush.font = font;
  const widthOf = (/** @type {string} */ label) => brush.measureText(label).width;
  return { color, font, widthOf };
};

/**
 * @param {HTMLElement} host
 * @param {Model} model
 * @param {boolean} rtl
 */
const axesOf = (host, { labels, xAxis, yAxis }, rtl) => {
  const { color, font, widthOf } = measure(host);
  const shown = labels.map((label) =>
    label.length > LONGEST_LABEL ? `${label.slice(0, LONGEST_LABEL - 1)}…` : label,
  );
  const widest = Math.max(...shown.map(widthOf)) + 12;
  const faint = `color-mix(in srgb, ${color} 16%, transparent)`;
  const muted = `color-mix(in srgb, ${color} 75%, transparent)`;
  const number = new Intl.NumberFormat(undefined, { notation: "compact" });
  const splits = (/** @type {any} */ u) => {
    const step = Math.max(
      1,
      Math.ceil((widest * labels.length) / (u.bbox.width / devicePixelRatio)),
    );
    return labels.map((_, at) => at).filter((at) => at % step === 0);
  };
  const common = { font, stroke: muted, ticks: { show: false } };
  const axes = [
    {
      ...common,
      show: xAxis,
      size: 26,
      gap: 6,
      grid: { show: false },
      splits,
      values: (/** @type {any} */ _u, /** @type {number[]} */ at) => at.map((each) => shown[each]),
    },
    {
      ...common,
      side: rtl ? 1 : 3,
      size: (/** @type {any} */ _u, /** @type {string[] | null} */ values) =>
        yAxis ? Math.max(0, ...(values ?? []).map(widthOf)) + 12 : 0,
      gap: 6,
      space: 36,
      grid: { stroke: faint, width: 1 },
      values: (/** @type {any} */ _u, /** @type {number[]} */ at) =>
        at.map((each) => (yAxis ? number.format(each) : "")),
    },
  ];
  return { axes, widest };
};

/**
 * What is shown where the pointer is.
 * @param {HTMLElement} host
 * @param {Model} model
 */
const tooltip = (host, { labels, series }) => {
  const node = h("div", { className: "tip", hidden: true });
  host.append(node);
  return (/** @type {any} */ u) => {
    const { idx, left } = u.cursor;
    node.hidden = idx === null || idx === undefined || left < 0;
    if (node.hidden) return;
    const rows = series.map(({ label, colour, type, values }) => {
      const mark = h("span", { className: type === "line" ? "mark thin" : "mark" });
      mark.style.color = colour;
      return h("div", {}, mark, label, h("b", {}, String(values[idx] ?? "–")));
    });
    node.replaceChildren(h("div", {}, labels[idx]), ...rows);
    const at = u.bbox.left / devicePixelRatio + left;
    const isRight = at > host.clientWidth / 2;
    node.style.left = isRight ? "auto" : `${at + 12}px`;
    node.style.right = isRight ? `${host.clientWidth - at + 12}px` : "auto";
  };
};

/**
 * @param {HTMLElement} host
 * @param {Model} model
 * @returns {any} uPlot
 */
const make = (host, model) => {
  const rtl = getComputedStyle(/** @type {Element} */ (host.parentElement)).direction === "rtl";
  const drawn = arrange(model.series);
  const count = model.labels.length;
  const isCentred = count === 1 || model.series.some(({ type }) => type === "bar");
  const edge = isCentred ? 0.5 : 0;
  const isForced = matchMedia("(forced-colors: active)").matches;
  const ground = isForced ? "Canvas" : getComputedStyle(host).getPropertyValue("--paper");
  const { axes, widest } = axesOf(host, model, rtl);
  const side = isCentred ? 0 : model.xAxis ? widest / 2 : 8;
  const options = {
    width: host.clientWidth,
    height: host.clientHeight,
    legend: { show: false },
    cursor: {
      show: model.tooltip,
      y: false,
      drag: { x: false, y: false },
      points: { show: false },
    },
    scales: {
      x: { time: false, range: [-edge, count - 1 + edge], dir: rtl ? -1 : 1 },
      y: {
        range: (/** @type {any} */ _u, /** @type {number} */ low, /** @type {number} */ high) =>
          uPlot.rangeNum(Math.min(0, low ?? 0), Math.max(0, high ?? 1) || 1, {
            min: { pad: 0.05, soft: 0, mode: 1 },
            max: { pad: 0.05, soft: 0, mode: 1 },
          }),
      },
    },
    padding: [10, side, model.xAxis ? 0 : 4, side],
    axes,
    series: [{}, ...seriesOf(drawn, model, ground, rtl)],
    hooks: model.tooltip ? { setCursor: [tooltip(host, model)] } : {},
  };
  const data = [model.labels.map((_, at) => at), ...drawn.map(({ tops }) => tops)];
  return new uPlot(options, data, host);
};

/**
 * Draw a chart in `host`, as large as that is.
 * @param {HTMLElement} host
 * @param {Model} model
 */
export const drawPlot = (host, model) => {
  if (model.labels.length === 0 || model.series.length === 0) return;
  /** @type {any} */
  let plot;
  const observer = new ResizeObserver(() => {
    const { clientWidth: width, clientHeight: height, isConnected } = host;
    if (!isConnected) {
      plot?.destroy();
      observer.disconnect();
    } else if (plot) plot.setSize({ width, height });
    else if (width && height) plot = make(host, model);
  });
  observer.observe(host);
};
