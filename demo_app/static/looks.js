// The bench: what its controls say is told to the chats in the frames, at once where the widget can do
// that, else by loading the frame anew with options in its address; and it is written as a macro call.
const form = document.querySelector(".bench");
const call = document.querySelector(".call");
const frames = [...document.querySelectorAll(".sites iframe")];
const { elements } = form;
const launcher = form.querySelector(".launcher");
const mistake = document.querySelector("#label-error");

// The options of the macros in the order in which the call names them, and those that can be changed
// in a chat that is there.
const OPTIONS = "label accent radius density base_size preset side edge icon text teaser".split(
  " ",
);
const LIVE = new Set(["accent", "radius", "density", "base_size"]);

const night = matchMedia("(prefers-color-scheme: dark)");
const shopScheme = () =>
  document.documentElement.dataset.theme ?? (night.matches ? "dark" : "light");

// What is asked for, without what is left blank. A control that is switched off says nothing.
const options = () => {
  const said = new FormData(form);
  const coloured = said.get("coloured");
  const found = {};
  for (const name of OPTIONS) {
    const value = String(said.get(name) ?? "").trim();
    if (value && (name !== "accent" || coloured)) found[name] = value;
  }
  return found;
};

// --- the macro call --------------------------------------------------------------------------------

// A text of JSON's is one of Jinja's too.
const literal = (name, value) => {
  if (name === "base_size") return value;
  const text = JSON.stringify(value);
  return name === "teaser" ? `{"text": ${text}, "delay": 1}` : text;
};

const write = (variant, found) => {
  const given = variant === "floating" ? [] : ['height="28rem"'];
  for (const name in found) given.push(`${name}=${literal(name, found[name])}`);
  call.querySelector("code").textContent = `{{ chatkit_${variant}(${given.join(", ")}) }}`;
};

// --- the frames ------------------------------------------------------------------------------------

const addressOf = (frame, variant, scheme, found) => {
  const query = new URLSearchParams({ variant, scheme, ...found });
  return new URL(`?${query}`, frame.src).href;
};

// What each frame was last made to load, and where that is; at first what its macro is told by itself.
const asked = new Map(
  frames.map((frame) => [frame, { variant: "themed", found: {}, address: frame.src }]),
);

// Whether what differs can be changed in the chat that is there: it can be told other things, but not
// to forget what its macro was told.
const isNear = (had, variant, found) =>
  had.variant === variant &&
  OPTIONS.every((name) =>
    LIVE.has(name) ? !(name in had.found) || name in found : had.found[name] === found[name],
  );

const themeOf = ({ accent, radius, density, base_size: size }) => ({
  ...(accent && { color: { accent: { primary: accent, level: 1 } } }),
  ...(radius && { radius }),
  ...(density && { density }),
  ...(size && { typography: { baseSize: Number(size) } }),
});

const changed = new WeakSet(); // the documents whose chats are told something else than their macros

const dress = (frame, scheme, had, found) => {
  const { document: inside, FlaskChatKit: chatkit } = frame.contentWindow;
  inside.documentElement.setAttribute(frame.dataset.switch, scheme);
  if (!chatkit) return;
  if (!changed.has(inside) && [...LIVE].every((name) => had[name] === found[name])) return;
  changed.add(inside);
  chatkit
    .get()
    .setTheme(themeOf(found))
    .catch(() => {});
  // The launcher is the page's, and so is its colour; the ink on it goes with it.
  const { style } = inside.querySelector(".chatkit");
  style.removeProperty("--chatkit-on-accent");
  if (found.accent) style.setProperty("--chatkit-accent", found.accent);
  else style.removeProperty("--chatkit-accent");
};

// Whether a frame's page is there, and is still the one that was asked for: it may have links.
const isThere = (frame) => {
  try {
    const { location, document: inside } = frame.contentWindow;
    const is = location.href.split("#")[0] === asked.get(frame).address;
    return is && inside.readyState === "complete";
  } catch {
    return false;
  }
};

// What the controls say, as long as that makes sense.
let wanted = { variant: "themed", found: {} };

const show = (frame) => {
  const { variant, found } = wanted;
  const scheme = elements.scheme.value || shopScheme();
  const had = asked.get(frame);
  if (!isNear(had, variant, found)) {
    const address = addressOf(frame, variant, scheme, found);
    asked.set(frame, { ...wanted, address });
    // In its own place: Back leads out of here, and not through all that was tried.
    frame.contentWindow.location.replace(address);
  } else if (isThere(frame)) {
    dress(frame, scheme, had.found, found);
  }
};

// --- the controls ----------------------------------------------------------------------------------

let waiting;
const update = (patience = 0) => {
  const variant = elements.variant.value;
  launcher.disabled = launcher.hidden = variant !== "floating";
  // It does so without being told.
  elements.preset.disabled = variant === "themed";
  const found = options();
  const { label, text } = found;
  const isWrong = Boolean(label && text && !label.toLowerCase().includes(text.toLowerCase()));
  elements.label.setAttribute("aria-invalid", String(isWrong));
  mistake.textContent = isWrong
    ? "The label must contain the launcher’s text, so that it can be said to find it."
    : "";
  if (isWrong) return;
  wanted = { variant, found };
  write(variant, found);
  clearTimeout(waiting);
  waiting = setTimeout(() => frames.forEach(show), patience);
};

form.addEventListener("input", ({ target }) => {
  if (target === elements.accent) elements.coloured.checked = true;
  // While somebody types, the pages are left alone.
  update(target.matches("input:not([type])") ? 500 : 100);
});
form.addEventListener("reset", () => setTimeout(update));
form.addEventListener("submit", (event) => event.preventDefault());
for (const frame of frames) frame.addEventListener("load", () => show(frame));
night.addEventListener("change", () => update());
new MutationObserver(() => update()).observe(document.documentElement, {
  attributeFilter: ["data-theme"],
});

call.querySelector("button").addEventListener("click", async () => {
  const code = call.querySelector("code");
  const status = call.querySelector("[role=status]");
  try {
    await navigator.clipboard.writeText(code.textContent);
    status.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(code);
    status.textContent = "Your browser leaves the copying to you: it is selected.";
  }
  setTimeout(() => {
    status.textContent = "";
  }, 4000);
});

// On a phone the pages come first.
const bench = document.querySelector(".options");
bench.open = matchMedia("(width >= 44rem)").matches;
bench.hidden = false;
call.hidden = false;
update();
