import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BLACK,
  contrast,
  css,
  inkOn,
  legible,
  luminance,
  mix,
  parseComputed,
  WHITE,
} from "../../flask_chatkit/static/shared/colour.js";

test("luminance and contrast are those of WCAG 2", () => {
  assert.equal(luminance(BLACK), 0);
  assert.equal(luminance(WHITE), 1);
  assert.equal(contrast(BLACK, WHITE), 21);
  assert.equal(contrast(WHITE, BLACK), 21);
  // #767676 is the lightest grey that reads on white.
  const grey = [0x76 / 255, 0x76 / 255, 0x76 / 255];
  assert.equal(contrast(grey, WHITE).toFixed(2), "4.54");
  assert.ok(
    contrast(
      grey.map((part) => part + 1 / 255),
      WHITE,
    ) < 4.5,
  );
});

test("ink is black or white, whichever reads better", () => {
  assert.equal(inkOn(WHITE), BLACK);
  assert.equal(inkOn(BLACK), WHITE);
  assert.equal(inkOn([0.5, 0, 0.7]), WHITE);
  assert.equal(inkOn([1, 1, 0]), BLACK);
});

test("a colour moves as little as it takes until it reads", () => {
  const red = [200 / 255, 0, 0];
  assert.deepEqual(legible(red, BLACK, [WHITE], 4.5), red);
  const yellow = [1, 0.9, 0];
  const found = legible(yellow, BLACK, [WHITE, [0.95, 0.95, 0.95]], 4.5, 0.02);
  assert.ok(contrast(found, WHITE) >= 4.5);
  assert.ok(contrast(found, [0.95, 0.95, 0.95]) >= 4.5);
  assert.ok(contrast(found, WHITE) < 6);
  assert.deepEqual(
    found,
    found.map((part) => Math.round(part * 255) / 255),
  );
  assert.equal(legible(yellow, [0.6, 0.6, 0.6], [WHITE], 4.5)[0], 0.6);
});

test("mixing takes a share of the first", () => {
  assert.deepEqual(mix(WHITE, BLACK, 0.25), [0.25, 0.25, 0.25]);
});

test("a colour is written in whole numbers", () => {
  assert.equal(css([1, 0.5, 0]), "rgb(255 128 0)");
  assert.equal(css([1, 0.5, 0], ", "), "rgb(255, 128, 0)");
});

test("computed colours are read in both forms, with their opacity", () => {
  for (const [computed, wanted, alpha] of [
    ["color(srgb 1 0.5 0)", [1, 0.5, 0], 1],
    ["color(srgb 1 0.5 0 / 0.25)", [1, 0.5, 0], 0.25],
    ["color(srgb 1.2 -0.1 1e-7)", [1, 0, 1e-7], 1],
    ["rgb(255, 0, 51)", [1, 0, 0.2], 1],
    ["rgba(255, 0, 51, 0.5)", [1, 0, 0.2], 0.5],
  ]) {
    const found = parseComputed(computed);
    assert.deepEqual([...found], wanted);
    assert.equal(found.alpha, alpha);
  }
  assert.equal(parseComputed(""), null);
  assert.equal(parseComputed("currentcolor"), null);
});
