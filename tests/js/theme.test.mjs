import "./browser.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";

const { detectPreset, firstProperty, mergeThemes, radiusOf } = await import(
  "../../flask_chatkit/static/widget/theme.js"
);

const style = (properties) => ({ getPropertyValue: (name) => properties[name] ?? "" });

test("a length becomes ChatKit's name for how round corners are", () => {
  for (const [value, wanted] of [
    ["0", "sharp"],
    ["0.375rem", "soft"],
    ["6px", "soft"],
    ["8px", "round"],
    [".5em", "round"],
    ["2rem", "pill"],
    ["999px", "pill"],
    ["soft", "soft"],
    ["calc(1px + 1em)", undefined],
    ["", undefined],
    [undefined, undefined],
  ]) {
    assert.equal(radiusOf(value), wanted, value);
  }
});

test("a preset is found by its colours, and a page without any is plain", () => {
  assert.equal(
    detectPreset(style({ "--bs-primary": "#00f", "--bs-body-bg": "#fff" })),
    "bootstrap",
  );
  assert.equal(detectPreset(style({ "--bs-primary": "#00f" })), "plain");
  const shadcn = { "--primary": "240 5% 10%", "--background": "0 0% 100%" };
  assert.equal(detectPreset(style(shadcn)), "shadcn");
  assert.equal(detectPreset(style({})), "plain");
});

test("the first property that has a value counts, and the parts of an hsl() are one", () => {
  const found = style({ "--a": " ", "--b": " red ", "--c": "222.2 47.4% 11.2%" });
  assert.equal(firstProperty(found, "--a", undefined, "--b", "--c"), "red");
  assert.equal(firstProperty(found, "--c"), "hsl(222.2 47.4% 11.2%)");
  assert.equal(firstProperty(found, "--a", "--x"), undefined);
});

test("themes are merged colour by colour, and the later one counts", () => {
  const site = {
    colorScheme: "dark",
    color: { accent: { primary: "red" }, surface: { background: "black" } },
    typography: { baseSize: 14, fontFamily: "Inter" },
    radius: "soft",
  };
  const given = { color: { accent: { primary: "blue" } }, typography: { baseSize: 16 } };
  assert.deepEqual(
    mergeThemes({ colorScheme: "light" }, site, undefined, given, { density: "x" }),
    {
      colorScheme: "dark",
      color: { accent: { primary: "blue" }, surface: { background: "black" } },
      typography: { baseSize: 16, fontFamily: "Inter" },
      radius: "soft",
      density: "x",
    },
  );
  assert.equal(site.color.accent.primary, "red");
});
