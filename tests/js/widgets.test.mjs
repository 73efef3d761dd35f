// What widgets become without a document: lengths, colours, backgrounds, icons and stacks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { findPath } from "../../flask_chatkit/static/builtin/icons.js";
import {
  lineColour,
  primitive,
  readBackground,
  seriesColour,
  textColour,
} from "../../flask_chatkit/static/builtin/widgets/colours.js";
import {
  flexOf,
  length,
  pick,
  radius,
  ratio,
  sides,
  space,
} from "../../flask_chatkit/static/builtin/widgets/values.js";
import { contrast } from "../../flask_chatkit/static/shared/colour.js";

test("lengths are numbers of pixels, or of units that CSS knows", () => {
  assert.deepEqual([length(12), length("12"), length(1.5)], ["12px", "12px", "1.5px"]);
  for (const kept of ["50%", "2.5rem", "10vh", "auto", "max-content", "calc(100% - 2rem)"]) {
    assert.equal(length(kept), kept);
  }
  const refused = ["", null, -1, "-1px", "1px;x:y", "var(--x)", "calc(1px + var(--x))", "url(x)"];
  for (const value of [...refused, "10 px", {}, [], true, 1e300, Number.NaN, "1px 2px"]) {
    assert.equal(length(value), undefined, String(value));
  }
});

test("space counts steps of four pixels, on all sides or on some", () => {
  assert.deepEqual([space(2), space("1rem"), sides(2)], ["8px", "1rem", "8px"]);
  assert.equal(sides({ x: 1, top: 3 }), "12px 4px 0px 4px");
  assert.equal(sides({ left: "url(x)", y: "50%" }), "50% 0px 50% 0px");
  assert.equal(sides("0.5rem 12px"), "0.5rem 12px");
  assert.equal(sides("1px 2px 3px 4px 5px"), undefined);
  assert.equal(sides(undefined), undefined);
});

test("ratios, growth, radii and words are those that are known", () => {
  assert.deepEqual([ratio(2), ratio("16/9"), ratio("16 / 9")], ["2", "16/9", "16 / 9"]);
  assert.equal(ratio("16/9;x"), undefined);
  assert.deepEqual([flexOf(1), flexOf("2 1 0"), flexOf("none")], ["1", "2 1 0", "none"]);
  assert.deepEqual([flexOf("1 x"), flexOf({}), flexOf("1 1 1 1 1")], Array(3).fill(undefined));
  assert.deepEqual([radius("md"), radius("100%"), radius("toString")], ["8px", "100%", undefined]);
  assert.deepEqual([pick("a", "a b"), pick("a b", "a b"), pick({}, "a")], ["a", "", ""]);
});

/** Colours that a browser reads: hexadecimal ones, with or without alpha. */
const read = (value) => {
  const [, hex] = /^#([\da-f]{6}|[\da-f]{8})$/.exec(value) ?? [];
  if (!hex) return null;
  const parts = hex.match(/../g).map((part) => Number.parseInt(part, 16) / 255);
  return Object.assign(parts.slice(0, 3), { alpha: parts[3] ?? 1 });
};
const light = { colours: [[1, 1, 1]], ink: [0, 0, 0], dark: false, read };
const dark = { colours: [[0.1, 0.1, 0.1]], ink: [1, 1, 1], dark: true, read };
const numbers = (css) => css.match(/[\d.]+/g).map((part) => Number(part) / 255);

test("names of colours are the theme's, others are moved until they can be read", () => {
  assert.equal(textColour("danger", light), "var(--danger)");
  assert.equal(textColour("tertiary", light), "var(--muted)");
  assert.equal(textColour({ light: "#660000", dark: "#0000ff" }, light), "rgb(102 0 0)");
  assert.ok(contrast(numbers(textColour("#eeeeee", light)), [1, 1, 1]) >= 4.5);
  assert.ok(contrast(numbers(textColour("#111111", dark)), dark.colours[0]) >= 4.5);
  assert.equal(textColour("alpha-100", light), "rgb(0 0 0)");
  for (const value of ["var(--x)", "url(x)", "currentcolor", "x".repeat(99), {}, "toString"]) {
    assert.equal(textColour(value, light), undefined);
  }
});

test("lines have three names, and all colours", () => {
  assert.equal(lineColour("strong", light), "var(--edge)");
  assert.equal(lineColour(undefined, light), "var(--line)");
  assert.equal(lineColour("#11223344", light), "rgb(17 34 51 / 0.267)");
  assert.equal(lineColour("red;x:y", light), "var(--line)");
});

test("the scales go from light to dark, and in the dark the other way", () => {
  const lightness = (value) => Number(/\(([\d.]+)/.exec(value)[1]);
  const steps = [50, 100, 300, 500, 700, 900].map((step) => primitive("blue", step, false));
  assert.deepEqual(
    steps,
    [...steps].sort((a, b) => lightness(b) - lightness(a)),
  );
  assert.equal(primitive("blue", 100, true), primitive("blue", 900, false));
  assert.match(primitive("gray", 500, false), / 0 0\)$/);
});

test("series without a colour have one each, and all can be seen", () => {
  const seven = [0, 1, 2, 3, 4, 5, 6].map((index) => seriesColour(undefined, index, light));
  assert.equal(new Set(seven).size, 7);
  assert.equal(seriesColour("blue", 3, light), seven[0]);
  for (const ground of [light, dark]) {
    for (const given of ["#ffffff", "#101010", "yellow", undefined, { light: "#fefefe" }]) {
      const found = numbers(seriesColour(given, 2, ground));
      assert.ok(contrast(found, ground.colours[0]) >= 3, String(given));
    }
  }
});

test("gradients are written anew from their parts", () => {
  const css = (value) => readBackground(value, light)?.css;
  assert.equal(
    css("linear-gradient(to right, #ff0000, #00ff0080 20% 40%)"),
    "linear-gradient(to right, rgb(255 0 0), rgb(0 255 0 / 0.502) 20% 40%)",
  );
  assert.equal(
    css("radial-gradient(circle at 10% top, #ffffff,#000000)"),
    "radial-gradient(circle at 10% top, rgb(255 255 255), rgb(0 0 0))",
  );
  for (const value of [
    "linear-gradient(#ff0000)",
    "linear-gradient(var(--x), #ff0000)",
    "linear-gradient(45deg, #ff0000, url(x))",
    "linear-gradient(45deg; x, #ff0000, #ff0000)",
    "paint-gradient(#ff0000, #ff0000)",
    "url(x), linear-gradient(#ff0000, #ff0000)",
    "url(https://x.test/y.png)",
  ]) {
    assert.equal(css(value), undefined, value);
  }
});

test("icons have ChatKit's names and Lucide's", () => {
  assert.equal(findPath("lucide:lightbulb"), findPath("lightbulb"));
  assert.equal(findPath("settings-slider"), findPath("lucide:sliders-horizontal"));
  assert.match(findPath("star-filled"), /^!M/);
  for (const name of ["hologram", "vendor:x", "toString", "__proto__", "", undefined]) {
    assert.equal(findPath(name), undefined);
  }
});
