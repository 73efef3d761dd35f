// Markdown as far as it needs no document; what makes it harmless does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { mayShow, parseMarkdown } from "../../flask_chatkit/static/builtin/markdown.js";

globalThis.document = { baseURI: "https://shop.test/help" };

test("HTML is shown as text, but for a few tags without attributes", () => {
  assert.equal(parseMarkdown("<script>x</script>").includes("<script"), false);
  assert.match(parseMarkdown("H<sub>2</sub>O<br>"), /H<sub>2<\/sub>O<br>/);
  assert.equal(parseMarkdown("<b onclick=x>a</b>").includes("<b "), false);
});

test("lines break, and tasks have boxes", () => {
  assert.match(parseMarkdown("a\nb"), /a<br>b/);
  assert.match(parseMarkdown("- [x] a\n- [ ] b"), /☑ a[\s\S]*☐ b/);
});

test("what would take too long is refused", () => {
  assert.throws(() => parseMarkdown("x".repeat(50_001)), RangeError);
});

test("images are shown from the thread's domains, and from the text itself", () => {
  const domains = ["pictures.test", "*.cdn.test"];
  assert.ok(mayShow("https://pictures.test/a.png", domains));
  assert.ok(mayShow("https://a.cdn.test/b.png", domains));
  assert.ok(mayShow("data:image/png;base64,AAAA", undefined));
  for (const src of [
    "https://elsewhere.test/a.png",
    "https://cdn.test.evil.test/a.png",
    "https://evilcdn.test/a.png",
    "http://pictures.test/a.png",
    "data:image/svg+xml,<svg>",
    "/a.png",
    "javascript:alert(1)",
  ]) {
    assert.ok(!mayShow(src, domains), src);
  }
  assert.ok(!mayShow("https://pictures.test/a.png", undefined));
});
