/**
 * The built-in chat: <flask-chatkit-chat>, in which a served chat goes on when OpenAI's element does
 * not come. It takes the same options, methods and events, and speaks the same protocol to the same
 * endpoint. It is loaded only then, after marked and DOMPurify (without them text stays plain).
 *
 * Words come from TEXT; a page says others with setStrings({send: "Senden"}).
 */
(() => {
  const TAG = "flask-chatkit-chat";
  if (customElements.get(TAG)) return;
  const { marked, DOMPurify } = window;

  const TEXT = {
    answering: "The assistant is answering.",
    assistant: "The assistant said:",
    attach: "Attach files",
    bad: "Bad answer",
    cancel: "Cancel",
    chat: "Chat",
    close: "Close",
    closed: "This chat is closed.",
    continue: "Continue",
    copied: "Copied.",
    copy: "Copy",
    delete: "Delete",
    deleteAsk: "Delete “{}”? This can’t be undone.",
    dismiss: "Dismiss",
    earlier: "Show earlier messages",
    failed: "Something went wrong. Please try again.",
    generated: "Generated image",
    gone: "That chat does not exist any more.",
    good: "Good answer",
    greeting: "What can I help with today?",
    history: "Chats",
    hideHistory: "Back to the chat",
    image: "Image",
    latest: "Go to the latest message",
    loading: "Loading…",
    locked: "This chat is locked.",
    lost: "The connection was lost before the answer was complete.",
    message: "Message",
    messages: "Messages",
    model: "Model",
    more: "Show more",
    newChat: "New chat",
    noChats: "No chats yet.",
    noTool: "No tool",
    offline: "You seem to be offline. Please check your connection.",
    open: "Open",
    other: "Another answer",
    placeholder: "Message the assistant",
    quote: "Quoted:",
    remove: "Remove {}",
    removeQuote: "Remove the quote",
    rename: "Rename",
    retry: "Try again",
    save: "Save",
    send: "Send message",
    skip: "Skip",
    skipped: "Skipped",
    sources: "Sources",
    steps: "Steps",
    stop: "Stop the answer",
    stopped: "The answer was stopped.",
    submit: "Send answers",
    table: "Table",
    thanks: "Thank you for the feedback.",
    thinking: "Thinking…",
    thought: "Thought for {}",
    title: "Title",
    tool: "Tool",
    tooBig: "{} is too large. A file may have up to {}.",
    tooMany: "Up to {} files can be sent with a message.",
    untitled: "Untitled chat",
    uploadFailed: "{} could not be uploaded.",
    uploading: "Uploading…",
    uploadWait: "Please wait until the files are uploaded.",
    waiting: "The assistant waits for an answer of this page.",
    working: "Working…",
    wrongType: "{} is not a kind of file that can be sent here.",
    you: "You said:",
  };

  // 24 by 24, drawn with strokes.
  const ICONS = {
    back: "M15 5l-7 7 7 7",
    bulb: "M9.5 17h5M10 20.5h4M12 3.5a6 6 0 0 0-3.5 10.9c.6.5 1 1.2 1 2v.6h5v-.6c0-.8.4-1.5 1-2A6 6 0 0 0 12 3.5Z",
    calendar: "M4.5 6h15v14h-15ZM4.5 10.5h15M8.5 3.5v4M15.5 3.5v4",
    check: "M5 12.5 9.5 17 19 7.5",
    chevron: "M9 6l6 6-6 6",
    clip: "M19.5 11.5 12 19a4.6 4.6 0 0 1-6.5-6.5L13 5a3 3 0 0 1 4.3 4.3L9.8 16.8a1.5 1.5 0 0 1-2.1-2.1l6.8-6.8",
    clock: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM12 7.5V12l3 2",
    close: "M6 6l12 12M18 6 6 18",
    compose:
      "M12 5H6.5A1.5 1.5 0 0 0 5 6.5v11A1.5 1.5 0 0 0 6.5 19h11a1.5 1.5 0 0 0 1.5-1.5V12M18 4.3a1.6 1.6 0 0 1 2.3 2.3L13 14l-3.2.9.9-3.2Z",
    copy: "M9 9h10.5v10.5H9ZM5.5 15h-1V4.5H15v1",
    dots: "M6 12h.01M12 12h.01M18 12h.01",
    down: "M12 5v14M6 13l6 6 6-6",
    edit: "M4.5 19.5l1-4L16 5a2.1 2.1 0 0 1 3 3L8.5 18.5Z",
    file: "M6.5 3.5h7l4 4v13h-11ZM13.5 3.5v4h4",
    globe:
      "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM3.5 12h17M12 3.5c3.3 3.5 3.3 13.5 0 17-3.3-3.5-3.3-13.5 0-17",
    home: "M4 11l8-7 8 7v9h-5v-6H9v6H4Z",
    history: "M4 12a8 8 0 1 0 2.4-5.7L4 8.5M4 4v4.5h4.5M12 8v4.2l3 1.8",
    image: "M4 5h16v14H4ZM4 16l4.5-4.5 4 4 3-3L20 17M15.5 9h.01",
    info: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM12 11v5M12 8h.01",
    mail: "M3.5 5.5h17v13h-17ZM4 6.5l8 6.5 8-6.5",
    menu: "M4 7h16M4 12h16M4 17h16",
    plus: "M12 5v14M5 12h14",
    retry: "M19.5 5v4.5H15M19.3 13.5a7.5 7.5 0 1 1-1.6-6.7l1.8 2.5",
    search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM15.3 15.3 20 20",
    send: "M12 19V5M6 11l6-6 6 6",
    share: "M12 15V4M8 7.5 12 4l4 3.5M5 12v8h14v-8",
    spark: "M12 3.5l2 6.5 6.5 2-6.5 2-2 6.5-2-6.5L3.5 12l6.5-2Z",
    star: "M12 4l2.5 5.2 5.5.7-4 4 1 5.6-5-2.7-5 2.7 1-5.6-4-4 5.5-.7Z",
    stop: "M8 8h8v8H8Z",
    trash: "M5 7h14M9.5 7V4.5h5V7M7 7l.8 12.5h8.4L17 7M10.5 11v5M13.5 11v5",
    up: "M7.5 11v8.5h-3V11ZM7.5 11l3.7-7.2a2 2 0 0 1 2.3 2.5L12.8 9.5h4.7a2 2 0 0 1 2 2.4l-1.1 6a2 2 0 0 1-2 1.6H7.5",
    user: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM4.5 20c.8-3.5 3.8-5 7.5-5s6.7 1.5 7.5 5",
    warning: "M12 4.5 20.5 19h-17ZM12 10v4M12 16.5h.01",
  };
  // What ChatKit and Lucide call them.
  const ALIASES = {
    "back-large": "back",
    "back-small": "back",
    "check-circle": "check",
    "check-circle-filled": "check",
    "circle-question": "info",
    "dots-horizontal": "dots",
    "dots-vertical": "dots",
    "square-image": "image",
    "square-text": "file",
    "star-filled": "star",
    "home-alt": "home",
    document: "file",
    hamburger: "menu",
    images: "image",
    lightbulb: "bulb",
    notebook: "file",
    "notebook-pencil": "edit",
    "page-blank": "file",
    pencil: "edit",
    profile: "user",
    reload: "retry",
    sparkle: "spark",
    "sparkle-double": "spark",
    sparkles: "spark",
    write: "edit",
  };

  // --- small helpers -----------------------------------------------------------------------------

  /** An element: properties where it has them, else attributes; functions are listeners. */
  const h = (tag, given = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
      if (value === undefined || value === null || value === false) continue;
      if (typeof value === "function") node.addEventListener(name.slice(2), value);
      else if (name in node) node[name] = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(2).filter((child) => child || child === 0));
    return node;
  };

  const hasIcon = (name) => {
    const plain = String(name ?? "").replace("lucide:", "");
    return ICONS[plain] ? plain : ALIASES[plain];
  };
  const icon = (name) => {
    const found = hasIcon(name) ?? name;
    if (!ICONS[found] && found !== "thumb-down") return "";
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("class", `icon i-${found}`);
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", ICONS[found] ?? ICONS.up);
    svg.append(path);
    return svg;
  };

  const iconButton = (label, name, onclick, more = {}) =>
    h(
      "button",
      { type: "button", className: "plain", title: label, "aria-label": label, onclick, ...more },
      icon(name),
    );
  const button = (label, onclick, className = "button") =>
    h("button", { type: "button", className, onclick }, label);

  const fill = (text, ...values) =>
    values.reduce((done, value) => done.replace("{}", () => value), text);
  const list = (value) => (Array.isArray(value) ? value : value ? [value] : []);
  const failure = (message, more) => Object.assign(new Error(message), more);
  const textOf = (item) => list(item.content).map((part) => part?.text ?? "");

  /** What a screen reader is told of a row: its words, with a pause between blocks. */
  const readable = (node) => {
    const copy = node.cloneNode(true);
    const unsaid = "[data-copy], details:not([open]) > :not(summary)";
    for (const part of copy.querySelectorAll(unsaid)) part.remove();
    const blocks = "p, li, div, tr, h4, h5, h6, summary, dt, dd, label, legend, button";
    for (const block of copy.querySelectorAll(blocks)) block.append("\n");
    return copy.textContent.replace(/\s*\n\s*/g, "\n");
  };

  /** An address that is safe to follow, absolute; null for others. */
  const address = (href, schemes = /^(https?|mailto|tel|chatkit-link):$/) => {
    try {
      const url = new URL(href, document.baseURI);
      return schemes.test(url.protocol) ? url : null;
    } catch {
      return null;
    }
  };
  const anchor = (href, ...children) => {
    const url = href && address(href);
    if (!url) return h("span", {}, ...children);
    return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, ...children);
  };
  /** An image; `instead` stands where it can't be had or the site's policy forbids it. */
  const picture = (src, alt, ...instead) =>
    h("img", {
      alt,
      loading: "lazy",
      referrerPolicy: "no-referrer",
      onerror: ({ target }) => target.replaceWith(...instead),
      src,
    });

  const bytes = (count) => {
    const step = Math.min(3, Math.floor(Math.log(Math.max(count, 1)) / Math.log(1024)));
    return `${+(count / 1024 ** step).toFixed(1)} ${["B", "kB", "MB", "GB"][step]}`;
  };

  /** The data of a stream of server-sent events; lines that say anything else are heartbeats. */
  const readEvents = async function* (body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let data = [];
    for (;;) {
      const { value = "", done } = await reader.read();
      // A CR at the very end may be the first half of a CRLF.
      const lines = (rest + value).split(done ? /\r\n|\r|\n/ : /\r\n|\n|\r(?!$)/);
      rest = done ? "" : lines.pop();
      if (done) lines.push("");
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        else if (line === "" && data.length > 0) {
          yield data.join("\n");
          data = [];
        }
      }
      if (done) return;
    }
  };

  // --- Markdown ----------------------------------------------------------------------------------

  const escaped = (text) => text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);
  const HARMLESS = /^(<\/?(br|sub|sup|kbd|mark|b|i|u|s)\s*\/?>)+$/i;
  const parser = marked && new marked.Marked({ breaks: true, gfm: true });
  parser?.use({
    renderer: {
      // HTML of a model is text about HTML.
      html: ({ text }) => (HARMLESS.test(text.trim()) ? text : escaped(text)),
      checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    },
  });
  const purify = parser && DOMPurify?.(window);
  const ALLOWED = {
    ALLOWED_TAGS: `a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i img kbd li mark ol p pre s
      strong sub sup table tbody td th thead tr u ul`.split(/\s+/),
    ALLOWED_ATTR: ["align", "alt", "class", "href", "src", "start", "title"],
    ALLOW_DATA_ATTR: false,
    ALLOWED_URI_REGEXP:
      /^(https?:|mailto:|tel:|chatkit-link:|data:image\/|[^a-z]|[a-z0-9_]+($|[^:a-z0-9_+.-]))/i,
    RETURN_DOM_FRAGMENT: true,
  };

  const mayShow = (src, domains) => {
    if (/^data:image\/(png|jpe?g|gif|webp|avif);/i.test(src)) return true;
    const url = address(src, /^https:$/);
    return list(domains).some((domain) =>
      domain.startsWith("*.") ? url?.host.endsWith(domain.slice(1)) : url?.host === domain,
    );
  };

  /** Show Markdown in `target`; what stays the same stays where it is, a selection in it too. */
  const LONGEST_MARKDOWN = 50_000; // characters
  const showMarkdown = (target, text, { text: t, domains, start = 4 }) => {
    if (!purify) {
      target.classList.add("raw");
      target.textContent = text;
      return;
    }
    let fresh;
    try {
      // Some texts take the square of the time to parse, and some all of the stack.
      if (text.length > LONGEST_MARKDOWN) throw new RangeError("too long");
      fresh = purify.sanitize(parser.parse(text), ALLOWED);
    } catch {
      target.classList.add("raw");
      target.textContent = text;
      return;
    }
    target.classList.remove("raw");
    for (const link of fresh.querySelectorAll("a")) {
      link.replaceWith(anchor(link.getAttribute("href") ?? "", ...link.childNodes));
    }
    for (const image of fresh.querySelectorAll("img")) {
      const src = image.getAttribute("src") ?? "";
      const alt = image.getAttribute("alt") || t.image;
      image.replaceWith(
        mayShow(src, domains) ? picture(src, alt, anchor(src, alt)) : anchor(src, alt),
      );
    }
    const headings = [...fresh.querySelectorAll("h1,h2,h3,h4,h5,h6")];
    const top = Math.min(...headings.map((heading) => Number(heading.tagName[1])));
    let level = start - 1;
    for (const heading of headings) {
      level = Math.min(start + Number(heading.tagName[1]) - top, level + 1, 6);
      heading.replaceWith(h(`h${level}`, {}, ...heading.childNodes));
    }
    for (const pre of fresh.querySelectorAll("pre")) {
      const language = /language-([\w+#.-]+)/.exec(pre.firstElementChild?.className)?.[1] ?? "";
      const copy = h("button", { type: "button", className: "plain", "data-copy": "" }, t.copy);
      const box = h("div", { className: "code" }, h("div", {}, h("span", {}, language), copy));
      pre.replaceWith(box);
      pre.tabIndex = 0;
      pre.dir = "ltr";
      box.append(pre);
    }
    for (const table of fresh.querySelectorAll("table")) {
      const box = h("div", { className: "table", role: "group", "aria-label": t.table });
      table.replaceWith(box);
      box.tabIndex = 0;
      box.append(table);
    }
    const old = [...target.childNodes];
    const now = [...fresh.childNodes];
    const same = now.findIndex((node, index) => !old[index]?.isEqualNode(node));
    const from = same < 0 ? now.length : same;
    for (const node of old.slice(from)) node.remove();
    target.append(...now.slice(from));
  };

  // --- colours -----------------------------------------------------------------------------------

  const mix = (one, other, share) => one.map((part, i) => part * share + other[i] * (1 - share));
  const luminance = (colour) =>
    colour
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  /** `colour`, moved towards `ink` until it reads on all of `grounds`. */
  const legible = (colour, ink, grounds, ratio) => {
    for (let share = 1; share > 0; share -= 0.05) {
      const mixed = mix(colour, ink, share);
      if (grounds.every((ground) => contrast(mixed, ground) >= ratio)) return mixed;
    }
    return ink;
  };
  const css = (colour) => `rgb(${colour.map((part) => Math.round(part * 255)).join(" ")})`;
  const BLACK = [0, 0, 0];
  const WHITE = [1, 1, 1];

  const RADII = {
    pill: ["1.4rem", "1.75rem", "999px"],
    round: ["1rem", "1.1rem", "0.75rem"],
    soft: ["0.6rem", "0.7rem", "0.5rem"],
    sharp: ["0px", "0px", "0px"],
  };
  const GAPS = { compact: "0.75rem", normal: "1.15rem", spacious: "1.75rem" };

  /** The custom properties of a theme; `read` turns any CSS colour into three numbers. */
  const themed = (theme, read) => {
    const { colorScheme: scheme = "light", color = {}, typography = {}, radius, density } = theme;
    const dark = scheme === "dark";
    const { hue = 0, tint = 0, shade = 0 } = color.grayscale ?? {};
    const grey = (light) =>
      read(`hsl(${hue} ${tint * 3}% ${Math.min(100, Math.max(0, light - shade))}%)`);
    const surface = color.surface ?? {};
    const paper = read(surface.background) ?? (dark ? grey(12) : tint ? grey(98.5) : WHITE);
    const ink = read(surface.foreground) ?? (dark ? grey(94) : grey(8));
    const accent = read(color.accent?.primary) ?? ink;
    const level = color.accent?.level ?? 0;
    const bubble =
      level > 1 ? mix(accent, paper, level * 0.07) : mix(ink, paper, dark ? 0.11 : 0.06);
    const grounds = [paper, bubble];
    const signal = (light, night) => css(legible(read(dark ? night : light), ink, grounds, 4.6));
    const [corner, box, control] = RADII[radius] ?? RADII.pill;
    return {
      "color-scheme": scheme,
      "--paper": css(paper),
      "--ink": css(ink),
      "--muted": css(legible(mix(ink, paper, 0.62), ink, grounds, 4.6)),
      "--line": css(mix(ink, paper, 0.16)),
      "--edge": css(legible(mix(ink, paper, 0.45), ink, grounds, 3.05)),
      "--bubble": css(bubble),
      "--accent": css(accent),
      "--on-accent": css(contrast(accent, WHITE) >= contrast(accent, BLACK) ? WHITE : BLACK),
      "--link": css(legible(accent, ink, grounds, 4.6)),
      "--ring": css(legible(accent, ink, grounds, 3.05)),
      "--danger": signal("#b42318", "#ff9c91"),
      "--warning": signal("#8a5200", "#ffc46b"),
      "--success": signal("#116b3a", "#6fdc9c"),
      "--info": signal("#0b5cad", "#8cc4ff"),
      "--corner": corner,
      "--box": box,
      "--control": control,
      "--gap": GAPS[density] ?? GAPS.normal,
      "--font": typography.fontFamily ?? "system-ui, sans-serif",
      "--mono": typography.fontFamilyMono ?? "ui-monospace, Menlo, Consolas, monospace",
      "--size": `${typography.baseSize ?? 16}px`,
    };
  };

  // --- widgets -----------------------------------------------------------------------------------
  // A server's widget, drawn with the browser's own elements. What is unknown shows its words and its
  // children. A context `c` has: text, id, dark, markdown(node, text), act(action, control, values?),
  // parts (component id → node and element).

  const space = (value) => (typeof value === "number" ? `${value * 4}px` : value);
  const length = (value) => (typeof value === "number" ? `${value}px` : value);
  const TOKENS = { emphasis: "ink", primary: "ink", prose: "ink", secondary: "muted" };
  const colour = (value, c) => {
    const found = typeof value === "object" ? value?.[c.dark ? "dark" : "light"] : value;
    if (/^(success|warning|danger|info)$/.test(found)) return `var(--${found})`;
    if (found === "tertiary") return "var(--muted)";
    return TOKENS[found] ? `var(--${TOKENS[found]})` : found;
  };
  const ground = (value, c) =>
    /^surface/.test(value)
      ? value === "surface"
        ? "var(--paper)"
        : "var(--bubble)"
      : colour(value, c);
  const sides = (value) =>
    typeof value === "object" && value
      ? [
          value.top ?? value.y,
          value.right ?? value.x,
          value.bottom ?? value.y,
          value.left ?? value.x,
        ]
          .map((side) => space(side ?? 0))
          .join(" ")
      : space(value);
  const FLEX = { between: "space-between", around: "space-around", evenly: "space-evenly" };

  /** The layout a widget asks for, as far as it is size, space and colour; refused values vanish. */
  const lay = (node, w, c) => {
    const set = {
      "align-items": w.align,
      "aspect-ratio": w.aspectRatio,
      "background-color": w.background && ground(w.background, c),
      "block-size": length(w.height ?? w.size),
      "border-radius": w.radius && { none: "0", full: "999px" }[w.radius],
      "flex-wrap": w.wrap,
      "inline-size": length(w.width ?? w.size),
      "justify-content": FLEX[w.justify] ?? w.justify,
      "max-block-size": length(w.maxHeight ?? w.maxSize),
      "max-inline-size": length(w.maxWidth ?? w.maxSize),
      "min-block-size": length(w.minHeight ?? w.minSize),
      flex: w.flex,
      gap: space(w.gap),
      margin: sides(w.margin),
      padding: sides(w.padding),
    };
    for (const [name, value] of Object.entries(set)) {
      if (value !== undefined && value !== null) node.style.setProperty(name, value);
    }
    return node;
  };

  const draw = (w, c) => {
    if (typeof w === "string") return w;
    if (!w || typeof w !== "object") return "";
    const node = (Object.hasOwn(WIDGETS, w.type) ? WIDGETS[w.type] : WIDGETS.unknown)(w, c);
    if (w.id && node) c.parts.set(w.id, { node, w });
    return node;
  };
  const inside = (w, c) => list(w.children).map((child) => draw(child, c));
  const flex = (direction) => (w, c) =>
    lay(h("div", { className: `flex ${w.direction ?? direction}` }, inside(w, c)), w, c);

  const words = (tag, className) => (w, c) => {
    const node = h(tag, {
      className: `${className} ${w.size ?? ""} w-${w.weight ?? ""}`,
      dir: "auto",
    });
    node.append(String(w.value ?? ""));
    if (w.textAlign) node.style.textAlign = w.textAlign;
    if (w.color) node.style.color = colour(w.color, c);
    if (w.maxLines || w.truncate) {
      node.classList.add("clamp");
      node.style.setProperty("--lines", w.maxLines ?? 1);
    }
    return node;
  };

  const status = (w) =>
    w.status?.text && h("p", { className: "caption" }, icon(w.status.icon), w.status.text);

  /** The values of a form as an object; the name "todo.title" is a title in a todo. */
  const valuesOf = (form) => {
    const values = {};
    for (const field of form?.elements ?? []) {
      // As a browser's own form does it, nothing of what is disabled is sent.
      if (!field.name || field.matches(":disabled")) continue;
      if (field.type === "radio" && !field.checked) continue;
      const path = field.name.split(".");
      let at = values;
      for (const step of path.slice(0, -1)) {
        if (!Object.hasOwn(at, step) || typeof at[step] !== "object")
          at[step] = Object.create(null);
        at = at[step];
      }
      const value = field.type === "checkbox" ? field.checked : field.value;
      Object.defineProperty(at, path.at(-1), {
        value,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
    return values;
  };

  /** A form field with its label: that of a Label, else the best name it has. */
  const field = (tag, given, w, c) => {
    const node = h(tag, {
      id: `${c.id}-${w.name}`,
      name: w.name,
      required: w.required,
      disabled: w.disabled,
      placeholder: w.placeholder,
      pattern: w.pattern,
      ...given,
    });
    const label = w.placeholder || String(w.name ?? "").replace(/[._-]/g, " ");
    if (!c.labels.has(w.name)) node.setAttribute("aria-label", label);
    onChange(node, w, c);
    return node;
  };
  const onChange = (node, w, c) =>
    w.onChangeAction &&
    node.addEventListener("change", ({ target }) =>
      c.act(w.onChangeAction, target, {
        [w.name]: target.type === "checkbox" ? target.checked : target.value,
      }),
    );
  const choice = (type, { label, ...given }) =>
    h("label", { className: "choice" }, h("input", { type, ...given }), h("span", {}, label));

  const asForm = (node, action, c) =>
    node.addEventListener("submit", (event) => {
      event.preventDefault();
      if (action) c.act(action, event.submitter ?? node, {}, node);
    });
  const day = (value) => String(value ?? "").slice(0, 10);

  const WIDGETS = {
    Badge: (w) => h("span", { className: `badge ${w.color ?? "secondary"}` }, w.label ?? ""),
    Basic: (w, c) => flex("col")(w, c),
    Box: flex("col"),
    Button: (w, c) => {
      const node = h(
        "button",
        {
          type: w.submit ? "submit" : "button",
          className: `button ${w.style === "primary" || w.color === "primary" ? "primary" : ""} ${w.block ? "block" : ""}`,
          disabled: w.disabled,
        },
        icon(w.iconStart),
        w.label ?? "",
        icon(w.iconEnd),
      );
      if (!w.label) node.setAttribute("aria-label", w.iconStart ?? w.iconEnd ?? c.text.open);
      if (w.onClickAction) {
        node.addEventListener("click", (event) => {
          if (w.submit && node.form && !node.form.reportValidity()) return;
          event.preventDefault();
          c.act(w.onClickAction, node);
        });
      }
      return node;
    },
    Caption: words("p", "caption"),
    Card: (w, c) => {
      const foot = [w.cancel, w.confirm].filter(Boolean).map((each) => {
        const submits = w.asForm && each === w.confirm;
        const node = button(each.label, submits ? undefined : () => c.act(each.action, node));
        if (each === w.confirm) node.classList.add("primary");
        if (submits) node.type = "submit";
        return node;
      });
      const body = h("div", { className: "flex col" }, inside(w, c));
      const node = h(
        w.asForm ? "form" : "div",
        { className: `card ${w.size ?? ""}` },
        status(w),
        body,
      );
      if (foot.length > 0) node.append(h("div", { className: "foot" }, foot));
      if (w.asForm) asForm(node, w.confirm?.action, c);
      if (w.padding !== undefined) body.style.padding = sides(w.padding);
      return w.background ? lay(node, { background: w.background }, c) : node;
    },
    Chart: (w, c) => {
      const key = w.xAxis?.dataKey ?? w.xAxis;
      const series = list(w.series);
      const cell = (row, { dataKey }) => h("td", {}, String(row[dataKey] ?? ""));
      const row = (each) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, w.xAxis?.labels?.[each[key]] ?? String(each[key])),
          series.map((one) => cell(each, one)),
        );
      const head = series.map((one) => h("th", { scope: "col" }, one.label ?? one.dataKey));
      const table = h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("td"), head)),
        h("tbody", {}, list(w.data).map(row)),
      );
      return h(
        "div",
        { className: "table", tabIndex: 0, role: "group", "aria-label": c.text.table },
        table,
      );
    },
    Checkbox: (w, c) => {
      const { name, disabled, required, defaultChecked } = w;
      const label = w.label ?? (c.labels.has(name) ? "" : name);
      const node = choice("checkbox", {
        name,
        disabled,
        required,
        defaultChecked,
        label,
        id: `${c.id}-${name}`,
      });
      onChange(node, w, c);
      return node;
    },
    Col: flex("col"),
    DatePicker: (w, c) =>
      field(
        "input",
        { type: "date", defaultValue: day(w.defaultValue), min: day(w.min), max: day(w.max) },
        w,
        c,
      ),
    Divider: () => h("hr"),
    Form: (w, c) => {
      const node = lay(
        h("form", { className: `flex ${w.direction ?? "col"}` }, inside(w, c)),
        w,
        c,
      );
      asForm(node, w.onSubmitAction, c);
      return node;
    },
    Icon: (w, c) => {
      const node = h("span", { className: "glyph" }, icon(w.name));
      if (w.color) node.style.color = colour(w.color, c);
      return node;
    },
    Image: (w, c) => {
      const url = address(w.src, /^(https?|data|blob):$/);
      const node = url ? picture(url.href, w.alt ?? "", w.alt ?? "") : h("span", {}, w.alt ?? "");
      return lay(node, { ...w, align: undefined }, c);
    },
    Input: (w, c) =>
      field("input", { type: w.inputType ?? "text", defaultValue: w.defaultValue ?? "" }, w, c),
    Label: (w, c) => h("label", { className: "label", htmlFor: `${c.id}-${w.fieldName}` }, w.value),
    ListView: (w, c) => {
      const rows = list(w.children);
      const limit = Number.isInteger(w.limit) ? w.limit : 8;
      const node = h(
        "ul",
        { className: "card list", role: "list" },
        rows.slice(0, limit).map((row) => draw(row, c)),
      );
      const more = button(c.text.more, () => {
        const rest = rows.slice(limit).map((row) => draw(row, c));
        more.parentElement.replaceWith(...rest);
        rest[0].querySelector("button")?.focus();
      });
      if (rows.length > limit) node.append(h("li", {}, more));
      return h("div", {}, status(w), node);
    },
    ListViewItem: (w, c) => {
      const content = inside(w, c);
      const controls = "button, input, select, textarea, a";
      const nested = content.some(
        (node) => node.matches?.(controls) || node.querySelector?.(controls),
      );
      if (!w.onClickAction)
        return h("li", {}, lay(h("div", { className: "flex row" }, content), w, c));
      if (!nested) {
        const row = h("button", { type: "button", className: "flex row item" }, content);
        row.addEventListener("click", () => c.act(w.onClickAction, row));
        return h("li", {}, lay(row, w, c));
      }
      // A button may not hold another one: the row gets one of its own.
      const go = iconButton(c.text.open, "chevron", () => c.act(w.onClickAction, go));
      return h("li", {}, lay(h("div", { className: "flex row" }, content, go), w, c));
    },
    Markdown: (w, c) => {
      const node = h("div", { className: "md", dir: "auto" });
      c.markdown(node, String(w.value ?? ""));
      return node;
    },
    RadioGroup: (w, c) => {
      const node = h(
        "div",
        { className: `flex ${w.direction ?? "col"}`, role: "radiogroup", id: `${c.id}-${w.name}` },
        list(w.options).map(({ label, value, disabled }) =>
          choice("radio", {
            name: w.name,
            value,
            label,
            required: w.required,
            disabled: disabled || w.disabled,
            defaultChecked: value === w.defaultValue,
          }),
        ),
      );
      node.setAttribute("aria-label", w.ariaLabel ?? c.labels.get(w.name) ?? w.name);
      onChange(node, w, c);
      return node;
    },
    Row: flex("row"),
    Select: (w, c) => {
      const node = field("select", { placeholder: undefined, pattern: undefined }, w, c);
      const empty = w.placeholder || w.clearable || !w.defaultValue;
      if (empty) node.append(h("option", { value: "" }, w.placeholder ?? ""));
      for (const { value, label, disabled } of list(w.options)) {
        node.append(
          h("option", { value, disabled, defaultSelected: value === w.defaultValue }, label),
        );
      }
      return node;
    },
    Spacer: (w) => {
      const node = h("span", { className: "spacer" });
      if (w.minSize) node.style.minInlineSize = length(w.minSize);
      return node;
    },
    Table: (w, c) =>
      h(
        "div",
        { className: "table", tabIndex: 0, role: "group", "aria-label": c.text.table },
        h("table", {}, inside(w, c)),
      ),
    "Table.Cell": (w, c) => h("td", { colSpan: w.colSpan, rowSpan: w.rowSpan }, inside(w, c)),
    "Table.Row": (w, c) => {
      const row = h("tr", {}, inside(w, c));
      if (!w.header) return row;
      for (const cell of [...row.children]) {
        cell.replaceWith(h("th", { scope: "col", colSpan: cell.colSpan }, ...cell.childNodes));
      }
      return row;
    },
    Text: (w, c) => {
      if (!w.editable) return words("p", "text")(w, c);
      return field(
        "input",
        { type: "text", defaultValue: w.value ?? "" },
        { ...w, ...w.editable },
        c,
      );
    },
    Textarea: (w, c) =>
      field(
        "textarea",
        { defaultValue: w.defaultValue ?? "", rows: w.rows ?? 3, pattern: undefined },
        w,
        c,
      ),
    Title: words("h4", "title"),
    Transition: (w, c) => h("div", {}, inside(w, c)),
    unknown: (w, c) => {
      const said = [w.value, w.label, w.title, w.text].find((each) => typeof each === "string");
      return h(
        "div",
        { className: "flex col" },
        said && h("p", { dir: "auto" }, said),
        inside(w, c),
      );
    },
  };

  const findAll = (w, found = []) => {
    if (w && typeof w === "object") {
      found.push(w);
      for (const child of list(w.children)) findAll(child, found);
    }
    return found;
  };

  // --- the items of a thread ---------------------------------------------------------------------

  const HIDDEN = /^(hidden_context_item|sdk_hidden_context|end_of_turn|client_tool_call)$/;
  const nameOf = (source) =>
    source?.title || source?.label || source?.filename || source?.url || source?.id || "";

  const attachmentChip = (attachment, ...more) => {
    const { type, name, preview_url: preview } = attachment;
    const plain = [
      icon(type === "image" ? "image" : "file"),
      h("span", { className: "name", dir: "auto" }, name),
    ];
    const url = type === "image" && preview && address(preview, /^(https?|data):$/);
    if (!url) return h("li", { className: "file" }, plain, ...more);
    return h("li", { className: "file picture" }, picture(url.href, name, ...plain), ...more);
  };

  const drawSource = (source) =>
    h(
      "li",
      { dir: "auto" },
      source.url ? anchor(source.url, nameOf(source)) : h("span", {}, nameOf(source)),
      (source.attribution || source.description) &&
        h("span", { className: "caption" }, ` ${source.attribution ?? source.description}`),
    );

  const drawSources = (item, t) => {
    const found = new Map();
    for (const part of list(item.content)) {
      for (const { source } of list(part?.annotations)) {
        if (source) found.set(source.url ?? source.id ?? source.filename ?? source.title, source);
      }
    }
    if (found.size === 0) return "";
    return h(
      "details",
      { className: "sources" },
      h("summary", {}, icon("chevron"), `${t.sources} (${found.size})`),
      h("ol", {}, [...found.values()].map(drawSource)),
    );
  };

  const TASK_ICONS = { web_search: "globe", thought: "bulb", file: "file", image: "image" };
  const taskTitle = (task, t) =>
    task.title ||
    task.title_query ||
    list(task.queries).join(", ") ||
    (task.type === "thought" ? t.thinking : task.type === "image" ? t.image : "");
  const drawTask = (task, c) => {
    const title = taskTitle(task, c.text);
    const glyph = { loading: "busy", complete: "check" }[task.status_indicator];
    const node = h(
      "li",
      { className: "task" },
      glyph === "busy"
        ? h("span", { className: "spinner" })
        : icon(glyph ?? hasIcon(task.icon) ?? TASK_ICONS[task.type] ?? "spark"),
    );
    const body = h("div", {}, title && h("p", { dir: "auto" }, title));
    if (task.content) {
      const said = h("div", { className: "md", dir: "auto" });
      c.markdown(said, task.content);
      body.append(said);
    }
    if (list(task.sources).length > 0) body.append(h("ul", {}, task.sources.map(drawSource)));
    node.append(body);
    return node;
  };

  const duration = (seconds) =>
    seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const drawWorkflow = ({ workflow }, c, open) => {
    const { summary, type } = workflow;
    const tasks = list(workflow.tasks);
    const said = Number.isFinite(summary?.duration)
      ? fill(c.text.thought, duration(summary.duration))
      : summary?.title;
    const busy = c.streaming && !said;
    const now =
      busy &&
      (taskTitle(tasks.at(-1) ?? {}, c.text) ||
        (type === "reasoning" ? c.text.thinking : c.text.working));
    return h(
      "details",
      { className: "workflow", open: open ?? workflow.expanded },
      h(
        "summary",
        {},
        busy ? h("span", { className: "spinner" }) : icon("chevron"),
        said || now || c.text.steps,
      ),
      h(
        "ul",
        { role: "list" },
        tasks.map((task) => drawTask(task, c)),
      ),
    );
  };

  const drawQuestions = (item, c) => {
    const { inputs, status: state, id } = item;
    if (state !== "pending") {
      return h(
        "dl",
        { className: "card" },
        inputs.map(({ question, answer }) => [
          h("dt", { dir: "auto" }, question),
          h(
            "dd",
            { dir: "auto" },
            answer && !answer.skipped ? list(answer.values).join(", ") : c.text.skipped,
          ),
        ]),
      );
    }
    const form = h("form", { className: "card flex col" });
    for (const question of inputs) {
      const name = `${id}-${question.id}`;
      if (question.type === "multiple_choice") {
        const type = question.multiple ? "checkbox" : "radio";
        form.append(
          h(
            "fieldset",
            {},
            h("legend", { dir: "auto" }, question.question),
            list(question.options).map(({ value }) => choice(type, { name, value, label: value })),
            h("input", {
              type: "text",
              name,
              placeholder: c.text.other,
              "aria-label": `${question.question} ${c.text.other}`,
            }),
          ),
        );
      } else {
        form.append(
          h("label", { className: "label", htmlFor: name, dir: "auto" }, question.question),
          ...list(question.description).map((said) =>
            h("p", { className: "caption", dir: "auto" }, said),
          ),
          h("textarea", { id: name, name, rows: 2, dir: "auto" }),
        );
      }
    }
    const answers = () =>
      Object.fromEntries(
        inputs.map((question) => {
          const fields = [...form.elements].filter((each) => each.name === `${id}-${question.id}`);
          const given = fields.filter((each) => !/radio|checkbox/.test(each.type) || each.checked);
          const values = given.map((each) => each.value.trim()).filter(Boolean);
          // What was typed says more than what was ticked, where only one answer counts.
          const kept = question.multiple ? values : values.slice(-1);
          return [question.id, { values: kept, skipped: kept.length === 0 }];
        }),
      );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      c.answer(item, { status: "answered", answers: answers() });
    });
    form.append(
      h(
        "div",
        { className: "foot" },
        button(c.text.skip, () => c.answer(item, { status: "skipped", answers: {} })),
        h("button", { type: "submit", className: "button primary" }, c.text.submit),
      ),
    );
    return form;
  };

  const ITEMS = {
    user_message: (item) => [
      item.quoted_text && h("blockquote", { dir: "auto" }, item.quoted_text),
      list(item.attachments).length > 0 &&
        h(
          "ul",
          { className: "files", role: "list" },
          item.attachments.map((each) => attachmentChip(each)),
        ),
      textOf(item).join("") &&
        h(
          "div",
          { className: "bubble", dir: "auto" },
          list(item.content).map((part) =>
            part.type === "input_tag" ? h("span", { className: "badge" }, part.text) : part.text,
          ),
        ),
    ],
    widget: (item, c) => {
      const root = typeof item.widget === "string" ? JSON.parse(item.widget) : item.widget;
      c.labels = new Map(
        findAll(root)
          .filter((w) => w.type === "Label")
          .map((w) => [w.fieldName, w.value]),
      );
      return [draw(root, c)];
    },
    generated_image: ({ image, progress }, c) => {
      const url = image?.url && address(image.url, /^(https?|data|blob):$/);
      return [
        url
          ? h(
              "div",
              { className: "generated" },
              picture(url.href, c.text.generated, anchor(url.href, c.text.generated)),
            )
          : h("p", { className: "progress" }, h("span", { className: "spinner" }), c.text.working),
        progress > 0 &&
          progress < 1 &&
          h("progress", { value: progress, "aria-label": c.text.generated }),
      ];
    },
    structured_input: (item, c) => [drawQuestions(item, c)],
    task: ({ task }, c) => [h("ul", { className: "workflow", role: "list" }, drawTask(task, c))],
    workflow: (item, c) => [drawWorkflow(item, c, c.was?.open)],
  };

  /** Apply one of the ten kinds of update to `item`. */
  const change = (item, update) => {
    const { type, content_index: at, task_index: index } = update;
    if (type.startsWith("assistant_message.")) {
      item.content ??= [];
      while (item.content.length <= at)
        item.content.push({ type: "output_text", text: "", annotations: [] });
      const part = item.content[at];
      if (type.endsWith(".text_delta")) part.text += update.delta;
      else if (type.endsWith(".annotation_added")) {
        part.annotations = list(part.annotations);
        part.annotations.splice(update.annotation_index, 0, update.annotation);
      } else item.content[at] = { ...update.content };
    } else if (type.startsWith("workflow.task.")) {
      item.workflow.tasks ??= [];
      if (type.endsWith(".added")) item.workflow.tasks.splice(index, 0, update.task);
      else item.workflow.tasks[index] = update.task;
    } else if (type === "widget.root.updated") item.widget = update.widget;
    else if (type === "widget.component.updated") {
      const found = findAll(item.widget).find((w) => w.id === update.component_id);
      if (found) {
        for (const key of Object.keys(found)) delete found[key];
        Object.assign(found, { id: update.component_id }, update.component);
      }
    } else if (type === "widget.streaming_text.value_delta") {
      const found = findAll(item.widget).find((w) => w.id === update.component_id);
      if (found) found.value = (found.value ?? "") + update.delta;
    } else if (type === "generated_image.updated") {
      Object.assign(item, { image: update.image, progress: update.progress });
    }
  };

  // --- the element -------------------------------------------------------------------------------

  const STYLE = `
    :host { display: block; block-size: 100%; inline-size: 100%; min-block-size: 12rem; }
    *, ::before, ::after { box-sizing: border-box; }
    [hidden] { display: none !important; }
    .hidden { position: absolute; inline-size: 1px; block-size: 1px; margin: 0; overflow: hidden;
      clip-path: inset(50%); white-space: nowrap; }
    .chat { position: relative; block-size: 100%; overflow: hidden; background: var(--paper);
      color: var(--ink); font: var(--size) / 1.55 var(--font); container: chat / size;
      -webkit-text-size-adjust: 100%; }
    .main, .history { position: absolute; inset: 0; display: flex; flex-direction: column; }
    .history { background: var(--paper); }
    h2, h3, h4, p, ul, ol, dl, dd, figure, blockquote, fieldset { margin: 0; padding: 0; }
    ul[role], .edit { list-style: none; }
    svg { inline-size: 1.25em; block-size: 1.25em; flex: none; fill: none; stroke: currentcolor;
      stroke-linecap: round; stroke-linejoin: round; stroke-width: 1.75; }
    .i-thumb-down { transform: rotate(180deg); }
    .i-stop { fill: currentcolor; }
    .i-dots { stroke-width: 3; }
    a { color: var(--link); text-underline-offset: 0.15em; }
    :focus-visible { outline: 2px solid var(--ring); outline-offset: 2px; }
    button, input, select, textarea { font: inherit; color: inherit; }
    button { cursor: pointer; }
    button:disabled { cursor: default; opacity: 0.55; }
    .spacer { flex: 1; }
    .center { text-align: center; padding-block: 0.5rem; }
    .caption { color: var(--muted); font-size: 0.875em; }
    .problem { color: var(--danger); font-size: 0.9em; padding: 0 0.75rem 0.4rem; }
    .problem:empty { display: none; }

    .plain { display: inline-flex; align-items: center; justify-content: center; gap: 0.35rem;
      min-inline-size: 2.25rem; min-block-size: 2.25rem; padding: 0.25rem; flex: none;
      background: none; border: 1px solid transparent; border-radius: var(--control); color: var(--muted); }
    .plain:hover { background: var(--bubble); color: var(--ink); }
    .plain[aria-pressed="true"] { color: var(--ink); }
    .plain[aria-pressed="true"] svg { fill: currentcolor; }
    .button { display: inline-flex; align-items: center; justify-content: center; gap: 0.4rem;
      min-block-size: 2.25rem; padding: 0.3rem 0.95rem; font-size: 0.9375em; font-weight: 500;
      background: var(--paper); border: 1px solid var(--line); border-radius: var(--control); }
    .button:hover { background: var(--bubble); }
    .button.primary, .send { background: var(--accent); border-color: transparent; color: var(--on-accent); }
    .button.primary:hover { background: var(--accent); filter: brightness(1.1); }
    .button.danger { color: var(--danger); border-color: currentcolor; }
    .button.block { inline-size: 100%; }

    .header { display: flex; align-items: center; gap: 0.15rem; flex: none; min-block-size: 3.25rem;
      border-block-end: 1px solid var(--line); padding-inline: 1rem 0.5rem; }
    .header .plain:first-child { margin-inline-start: -0.5rem; }
    h2 { flex: 1; min-inline-size: 0; font-size: 1em; font-weight: 600; overflow: hidden;
      text-overflow: ellipsis; white-space: nowrap; }

    .log { flex: 1; min-block-size: 0; overflow: hidden auto; overscroll-behavior: contain;
      padding: 1rem; scrollbar-width: thin; scrollbar-color: var(--line) transparent; }
    .log:focus-visible { outline-offset: -2px; }
    .column { display: flex; flex-direction: column; min-block-size: 100%; max-inline-size: 46rem; margin-inline: auto; }
    .thread { display: flex; flex-direction: column; gap: var(--gap); }
    .thread > .bar { margin-block-start: calc(0.35rem - var(--gap)); }

    .start { flex: 1; display: flex; flex-direction: column; justify-content: center; gap: 1.5rem;
      padding-block: 1rem; }
    .greeting { font-size: 1.5em; line-height: 1.25; font-weight: 600; letter-spacing: -0.015em;
      text-align: center; text-wrap: balance; }
    .prompts { display: flex; flex-wrap: wrap; justify-content: center; gap: 0.5rem; }
    .prompt { display: flex; align-items: center; gap: 0.5rem; min-block-size: 2.5rem; padding: 0.45rem 1rem;
      text-align: start; background: none; border: 1px solid var(--line); border-radius: var(--corner); }
    .prompt:hover { background: var(--bubble); }
    .prompt svg { color: var(--muted); }

    article { min-inline-size: 0; overflow-wrap: anywhere; position: relative; }
    .user_message { align-self: flex-end; max-inline-size: min(85%, 36rem); }
    .user_message .files { justify-content: flex-end; }
    .user_message .body { display: flex; flex-direction: column; align-items: flex-end; gap: 0.35rem; }
    .bubble { padding: 0.55rem 1rem; background: var(--bubble); border: 1px solid transparent;
      border-radius: var(--corner); white-space: pre-wrap; max-inline-size: 100%; }
    .unsent .bubble { border: 1px dashed var(--danger); }
    blockquote { padding-inline-start: 0.75rem; border-inline-start: 3px solid var(--line); color: var(--muted); }
    .bar { display: flex; margin-inline-start: -0.5rem; }
    .bar .plain { min-inline-size: 2rem; min-block-size: 2rem; }
    .bar svg { inline-size: 1.1em; block-size: 1.1em; }
    .bar:empty { display: none; }

    .raw { white-space: pre-wrap; }
    .md > * + * { margin-block-start: 0.75em; }
    .md + .md { margin-block-start: 0.75em; }
    .md :is(h1, h2, h3, h4, h5, h6) { font-size: 1.05em; font-weight: 650; line-height: 1.3; margin-block: 1.1em 0.4em; }
    .md > h4 { font-size: 1.2em; }
    .md > :first-child { margin-block-start: 0; }
    .md :is(ul, ol) { padding-inline-start: 1.5em; }
    .md li + li, .md li > :is(ul, ol, p) { margin-block-start: 0.25em; }
    .md li::marker { color: var(--muted); }
    .md hr, .card hr { border: 0; border-block-start: 1px solid var(--line); margin-block: 0.75em; inline-size: 100%; }
    .card hr { margin-block: 0; }
    .md img { max-inline-size: 100%; block-size: auto; border-radius: 0.5rem; }
    code, kbd { font: 0.875em / 1.5 var(--mono); padding: 0.1em 0.35em; background: var(--bubble); border-radius: 0.3em; }
    .code { border: 1px solid var(--line); border-radius: min(var(--corner), 0.75rem); overflow: hidden; }
    .code > div { display: flex; align-items: center; justify-content: space-between; padding-inline: 0.9rem 0.25rem;
      font-size: 0.8125em; color: var(--muted); background: var(--bubble); }
    .code pre { margin: 0; padding: 0.75rem 0.9rem; overflow-x: auto; text-align: left; }
    .code code { padding: 0; background: none; }
    .code .plain { padding-inline: 0.6rem; font-size: 1em; min-block-size: 2rem; }
    pre:focus-visible, .table:focus-visible { outline-offset: -2px; }
    .table { overflow-x: auto; border: 1px solid var(--line); border-radius: min(var(--corner), 0.75rem); }
    table { border-collapse: collapse; min-inline-size: 100%; font-size: 0.9375em; overflow-wrap: normal; }
    th, td { padding: 0.45rem 0.8rem; text-align: start; vertical-align: top; border-block-end: 1px solid var(--line); }
    thead th, th[scope="col"] { font-weight: 600; background: var(--bubble); }
    tr:last-child > :is(th, td) { border-block-end: 0; }
    [align="right"] { text-align: end; }
    [align="center"] { text-align: center; }

    details { border-radius: var(--control); }
    summary { display: flex; align-items: center; gap: 0.45rem; min-block-size: 2rem; inline-size: fit-content;
      color: var(--muted); font-size: 0.9375em; cursor: pointer; list-style: none; border-radius: 0.4rem; }
    summary::-webkit-details-marker { display: none; }
    summary:hover { color: var(--ink); }
    summary .i-chevron { inline-size: 1em; block-size: 1em; transition: rotate 0.15s; }
    details[open] > summary .i-chevron, :dir(rtl) > summary .i-chevron { rotate: 90deg; }
    :dir(rtl):not([open]) > summary .i-chevron { rotate: 180deg; }
    .sources ol { padding-inline-start: 2rem; font-size: 0.9375em; }
    .workflow > ul, ul.workflow { display: flex; flex-direction: column; gap: 0.6rem; padding-block: 0.4rem;
      border-inline-start: 2px solid var(--line); padding-inline-start: 0.9rem; margin-inline-start: 0.4rem; }
    .task { display: flex; gap: 0.55rem; color: var(--muted); font-size: 0.9375em; }
    .task > svg, .task > .spinner { margin-block-start: 0.15em; }
    .task > div { min-inline-size: 0; }
    .task ul { padding-inline-start: 1.2em; }
    .generated img { display: block; max-inline-size: min(100%, 28rem); border-radius: min(var(--corner), 1rem); }
    .progress { display: flex; align-items: center; gap: 0.6rem; min-block-size: 1.75rem; color: var(--muted); margin-block-start: var(--gap); }
    .center .progress { justify-content: center; }
    .spinner { flex: none; inline-size: 1.05em; block-size: 1.05em; border: 2px solid var(--line); border-block-start-color: var(--muted);
      border-radius: 50%; animation: turn 0.9s linear infinite; }
    .typing { display: flex; gap: 0.3rem; }
    .typing i { inline-size: 0.5rem; block-size: 0.5rem; border-radius: 50%; background: var(--muted); animation: beat 1.2s infinite; }
    .typing i + i { animation-delay: 0.15s; }
    .typing i + i + i { animation-delay: 0.3s; }
    @keyframes turn { to { rotate: 360deg; } }
    @keyframes beat { 0%, 60%, 100% { opacity: 0.3; } 30% { opacity: 1; } }

    .notice { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; align-items: center; gap: 0.5rem 0.6rem; padding: 0.5rem 0.5rem 0.5rem 0.9rem;
      border: 1px solid var(--line); border-inline-start: 3px solid var(--info); border-radius: min(var(--corner), 0.75rem); font-size: 0.9375em; }
    .notice > div { overflow-wrap: anywhere; }
    .notice > .plain { grid-area: 1 / 3; }
    .notice > .button { grid-column: 2; justify-self: start; }
    .notice > svg { color: var(--info); }
    .notice.danger { border-inline-start-color: var(--danger); }
    .notice.danger > svg { color: var(--danger); }
    .notice.warning { border-inline-start-color: var(--warning); }
    .notice.warning > svg { color: var(--warning); }

    .foot-area { position: relative; flex: none; inline-size: 100%; max-inline-size: 48rem; margin-inline: auto;
      padding: 0 1rem max(0.75rem, env(safe-area-inset-bottom)); }
    .latest { position: absolute; inset-block-end: calc(100% + 0.5rem); inset-inline-start: calc(50% - 1.125rem); visibility: hidden;
      background: var(--paper); border-color: var(--line); border-radius: 50%; box-shadow: 0 2px 8px rgb(0 0 0 / 15%); }
    .latest.shown { visibility: visible; }
    .composer { display: flex; flex-direction: column; padding: 0.4rem; background: var(--paper);
      border: 1px solid var(--edge); border-radius: var(--box); box-shadow: 0 2px 12px rgb(0 0 0 / 6%); }
    .composer:focus-within { border-color: var(--ring); box-shadow: 0 0 0 1px var(--ring); }
    .composer textarea { field-sizing: content; resize: none; inline-size: 100%; min-block-size: 2.25rem; max-block-size: 10rem;
      padding: 0.4rem 0.75rem; background: none; border: 0; outline: 0; line-height: 1.45; overflow-y: auto; scrollbar-width: thin; }
    ::placeholder { color: var(--muted); opacity: 1; }
    textarea:placeholder-shown { direction: inherit; }
    .composer ::placeholder { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
    .tools { display: flex; align-items: center; gap: 0.25rem; min-inline-size: 0; }
    .tools select { min-inline-size: 0; max-inline-size: 10rem; padding-inline: 0.5rem; color: var(--muted); border-color: transparent; text-overflow: ellipsis; }
    .send { display: grid; place-items: center; inline-size: 2.25rem; block-size: 2.25rem; flex: none; padding: 0; border: 1px solid transparent;
      border-radius: max(50% - (999px - var(--control)) * 999, min(var(--control), 50%)); }
    .send[aria-disabled="true"] { background: var(--bubble); color: var(--muted); cursor: default; }
    .composer:not(:has(.tools > :is(.plain, select))) { flex-flow: row wrap; align-items: flex-end; }
    .composer:not(:has(.tools > :is(.plain, select))) textarea { flex: 1; inline-size: auto; }
    .composer:not(:has(.tools > :is(.plain, select))) > :is(.quote, .files) { flex-basis: 100%; }
    .quote:not(:empty) { display: flex; align-items: start; justify-content: space-between; gap: 0.5rem; padding: 0.3rem 0.3rem 0.3rem 0.75rem; }
    .quote blockquote { max-block-size: 4.5em; overflow: hidden; }
    .files { display: flex; flex-wrap: wrap; gap: 0.4rem; }
    .composer .files:not(:empty) { padding: 0.25rem 0.25rem 0.4rem; max-block-size: 8rem; overflow-y: auto; }
    .file { display: flex; align-items: center; gap: 0.45rem; position: relative; min-block-size: 2.75rem; max-inline-size: 16rem; padding-inline: 0.7rem;
      background: var(--paper); border: 1px solid var(--line); border-radius: min(var(--corner), 0.75rem); font-size: 0.875em; }
    .file .name { min-inline-size: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .file .plain { min-inline-size: 1.75rem; min-block-size: 1.75rem; margin-inline-end: -0.35rem; }
    .file.failed { border-color: var(--danger); }
    .picture:has(img) { padding: 0; overflow: hidden; }
    .picture img { display: block; block-size: 4.5rem; min-inline-size: 3rem; max-inline-size: 9rem; object-fit: cover; }
    .user_message .picture img { block-size: 9rem; max-inline-size: 15rem; }
    .picture .plain { position: absolute; inset-block-start: 0.2rem; inset-inline-end: 0.2rem; margin: 0; background: var(--paper); border-color: var(--line); color: var(--ink); }
    .closed { display: flex; flex-direction: column; align-items: center; gap: 0.6rem; padding: 0.75rem; text-align: center; color: var(--muted); }
    .disclaimer { padding-block-start: 0.5rem; text-align: center; font-size: 0.78em; line-height: 1.4; color: var(--muted); }
    .disclaimer:empty { display: none; }
    .strong { color: var(--ink); }
    .dropping::after { content: ""; position: absolute; inset: 0.5rem; pointer-events: none; border: 2px dashed var(--ring); border-radius: var(--box);
      background: color-mix(in srgb, var(--accent) 8%, transparent); }

    .past { display: flex; align-items: center; gap: 0.15rem; border-radius: min(var(--corner), 0.9rem); }
    .past:hover, .past:has([aria-current]) { background: var(--bubble); }
    .past .item { flex: 1; display: flex; flex-direction: column; align-items: flex-start; min-inline-size: 0; min-block-size: 3rem; padding: 0.4rem 0.8rem;
      background: none; border: 0; text-align: start; border-radius: inherit; line-height: 1.35; }
    .past .item > span { max-inline-size: 100%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .edit { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; flex: 1; padding: 0.5rem 0.8rem; }
    .edit > :is(p, input) { flex: 1 1 10rem; min-inline-size: 0; overflow-wrap: anywhere; }

    .widget .body, .structured_input .body { max-inline-size: 34rem; }
    .card { padding: 1rem; background: var(--paper); border: 1px solid var(--line); border-radius: min(var(--box), 1.1rem); }
    .card.sm { max-inline-size: 22rem; }
    .card > .caption:first-child { display: flex; align-items: center; gap: 0.4rem; padding-block-end: 0.6rem; }
    .card.list { padding: 0.35rem; }
    .list > li > .flex { padding: 0.55rem 0.65rem; }
    .list > li > .button { margin: 0.4rem 0.65rem; }
    .item.flex { inline-size: 100%; background: none; border: 0; text-align: start; border-radius: 0.7rem; }
    .item.flex:hover { background: var(--bubble); }
    .flex { display: flex; gap: 0.6rem; min-inline-size: 0; max-inline-size: 100%; }
    .flex > * { min-inline-size: 0; }
    .flex.row { align-items: center; flex-wrap: wrap; }
    .flex.col { flex-direction: column; }
    .flex.col > .button:not(.block) { align-self: flex-start; }
    .foot { display: flex; flex-wrap: wrap; justify-content: flex-end; gap: 0.5rem; padding-block-start: 0.9rem; }
    .title { font-size: 1.1em; font-weight: 600; line-height: 1.3; }
    .title.xl, .title.\\32 xl, .title.\\33 xl, .title.\\34 xl, .title.\\35 xl { font-size: 1.4em; }
    .title.sm { font-size: 1em; }
    .text.xs, .text.sm { font-size: 0.9em; }
    .text.lg, .text.xl { font-size: 1.1em; }
    .w-medium { font-weight: 500; } .w-semibold { font-weight: 600; } .w-bold { font-weight: 700; } .w-normal { font-weight: 400; }
    .clamp { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: var(--lines); overflow: hidden; }
    .glyph { display: inline-flex; }
    .badge { display: inline-block; inline-size: fit-content; padding: 0.05em 0.6em; font-size: 0.8125em; font-weight: 500; background: var(--bubble); border: 1px solid var(--line); border-radius: 999px; }
    .badge.success { color: var(--success); } .badge.danger { color: var(--danger); } .badge.warning { color: var(--warning); }
    .badge:is(.info, .discovery) { color: var(--info); }
    .widget img { display: block; max-inline-size: 100%; border-radius: 0.6rem; object-fit: cover; }
    .label, legend { font-weight: 500; font-size: 0.9375em; padding: 0; }
    fieldset { border: 0; min-inline-size: 0; }
    input:not([type="radio"], [type="checkbox"]), select, .widget textarea, .structured_input textarea { min-block-size: 2.25rem; max-inline-size: 100%; padding: 0.35rem 0.7rem; background: var(--paper);
      border: 1px solid var(--edge); border-radius: min(var(--control), 0.6rem); }
    .flex.col > :is(input, textarea, select), fieldset > input { inline-size: 100%; }
    .choice { display: flex; align-items: center; gap: 0.55rem; min-block-size: 2rem; cursor: pointer; }
    .choice input { inline-size: 1.15rem; block-size: 1.15rem; margin: 0; accent-color: var(--link); flex: none; }
    dt { font-weight: 500; font-size: 0.9375em; } dd { color: var(--muted); } dd + dt { margin-block-start: 0.6rem; }
    [aria-busy="true"]:is(button, article) { opacity: 0.6; pointer-events: none; }

    @container chat (max-width: 30rem) {
      .log { padding-inline: 0.85rem; }
      .foot-area { padding-inline: 0.6rem; }
      .greeting { font-size: 1.35em; }
    }
    @container chat (max-height: 26rem) {
      .header { min-block-size: 2.5rem; }
      .disclaimer { display: none; }
      .composer { flex-flow: row wrap; align-items: flex-end; }
      .composer textarea { flex: 1 1 6rem; inline-size: auto; max-block-size: 4.5rem; }
      .composer > :is(.quote, .files) { flex-basis: 100%; }
      .tools select { max-inline-size: 5rem; }
      .start { gap: 0.75rem; justify-content: flex-start; padding-block: 0; }
      .greeting { font-size: 1.1em; }
      .foot-area { padding-block-end: 0.4rem; }
    }
    @media (pointer: coarse) {
      .plain, .send, .button, .bar .plain, .tools select, .file .plain, summary, .choice, .code .plain { min-inline-size: 2.75rem; min-block-size: 2.75rem; }
      .bar .plain { margin-inline-end: 0.15rem; }
      .send { inline-size: 2.75rem; block-size: 2.75rem; }
      textarea, input, select { font-size: max(16px, 1em) !important; }
    }
    @media (prefers-contrast: more) { :host { --muted: var(--ink) !important; --line: var(--edge) !important; } }
    @media (prefers-reduced-motion: reduce) { *, ::before, ::after { animation: none !important; transition: none !important; } .typing i { opacity: 0.7; } }
    @media (forced-colors: active) {
      .bubble, .send, .plain, .badge, .button { border-color: currentcolor; }
      .plain[aria-pressed="true"], .past:has([aria-current]), .past:has([aria-current]) :is(button, span) { forced-color-adjust: none; background: Highlight; color: HighlightText; }
      .send[aria-disabled="true"] { color: GrayText; border-color: GrayText; }
      .typing i { background: CanvasText; }
    }
    @media print { .foot-area, .bar, .plain { display: none; } .chat, .main, .log { position: static; block-size: auto; overflow: visible; } }
  `;
  const PAGE = 30; // threads or items asked for at once
  const NEAR = 60; // pixels from the end within which the view follows the answer
  const TOUCH = "(pointer: coarse)";
  const METHODS_BUSY = "The chat is still answering";

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);

  class BuiltinChat extends HTMLElement {
    #root = this.attachShadow({ mode: "open" });
    #theme = new CSSStyleSheet();
    #text = TEXT;
    #language = "en"; // of the text
    #options = null;
    #ui = null;
    #thread = null;
    #items = new Map(); // id → {item, row, …}, in the order of the conversation
    #earlier = null; // the cursor to what came before
    #run = null; // the answer that is coming in
    #call = null; // the client tool call that waits
    #files = new Set(); // what the composer holds: {name, state, attachment}
    #quote = null;
    #sent = 0;
    #opening = 0;
    #dirty = new Set();
    #frame = 0;
    #follows = true;
    #fonts = new Set();
    #chosen = { tool: "", model: "" };

    constructor() {
      super();
      this.#theme.replaceSync(":host{}");
      this.#root.adoptedStyleSheets = [sheet, this.#theme];
    }

    connectedCallback() {
      if (this.#options && !this.#ui) this.#start();
    }

    // --- what a page calls -----------------------------------------------------------------------

    /** The full set of options, of an own server: they replace the former, the conversation stays. */
    setOptions(options) {
      if (!options?.api?.url) throw new TypeError("options.api.url is missing");
      const before = this.#options;
      this.#options = options;
      if (!this.#ui) {
        if (this.isConnected) this.#start();
        return;
      }
      const plain = (all) => JSON.stringify({ ...all, theme: null });
      if (plain(before) === plain(options)) this.#redress();
      else this.#build();
      if (before.api.url !== options.api.url) this.#show(null);
    }

    /** Other words for some of the texts, {send: "Senden", …}, and the language they are in. */
    setStrings(strings, language = this.#options?.locale ?? "") {
      this.#text = { ...this.#text, ...strings };
      this.#language = language;
      if (this.#ui) this.#build();
    }

    async focusComposer() {
      (await this.#ready()).input.focus();
    }

    async setThreadId(id) {
      await this.#ready();
      await this.#open(id);
    }

    async sendUserMessage(params) {
      await this.#ready();
      if (params.newThread) this.#show(null);
      if (this.#run) throw new Error(METHODS_BUSY);
      const { text, content, attachments = [], reply, toolChoice, model } = params;
      this.#send({
        content: content ?? [{ type: "input_text", text: text ?? "" }],
        attachments,
        quote: reply,
        tool: toolChoice?.id,
        model,
      });
    }

    async setComposerValue(params) {
      const ui = await this.#ready();
      const { text, content, reply, attachments, files } = params;
      if (text !== undefined || content) ui.input.value = text ?? textOf({ content }).join("");
      if (reply !== undefined) this.#quote = reply || null;
      if (attachments) {
        this.#files = new Set(
          attachments.map((attachment) => ({ name: attachment.name, attachment })),
        );
      }
      if (files) this.#attach(files);
      if (params.selectedToolId !== undefined) this.#choose("tool", params.selectedToolId ?? "");
      if (params.selectedModelId !== undefined) this.#choose("model", params.selectedModelId);
      this.#compose();
    }

    async sendCustomAction(action, itemId) {
      await this.#ready();
      if (!this.#thread) throw new Error("There is no thread yet");
      if (this.#run) throw new Error(METHODS_BUSY);
      const params = { thread_id: this.#thread.id, item_id: itemId ?? null, action };
      await this.#respond({ type: "threads.custom_action", params });
    }

    async fetchUpdates() {
      await this.#ready();
      if (this.#thread && !this.#run) await this.#open(this.#thread.id, { quiet: true });
    }

    async showHistory() {
      await this.#ready();
      if (!this.#hasHistory) throw new Error("The history is disabled");
      await this.#showHistory();
    }

    async hideHistory() {
      await this.#ready();
      this.#hideHistory();
    }

    async #ready() {
      if (!this.#ui) throw new Error("The chat has no options yet, or is not on the page");
      return this.#ui;
    }

    #emit(name, detail, bubbles = false) {
      this.dispatchEvent(
        new CustomEvent(`chatkit.${name}`, { detail, bubbles, composed: bubbles }),
      );
    }

    async #start() {
      this.#build();
      await null; // who appends the element may still want to listen
      this.#emit("ready", undefined, true);
      this.#emit("log", { name: "builtin.ready" });
      if (this.#options.initialThread) this.#open(this.#options.initialThread).catch(() => {});
    }

    get #hasHistory() {
      return this.#options.history?.enabled !== false;
    }

    // --- the frame around the conversation -------------------------------------------------------

    #build() {
      const t = this.#text;
      const o = this.#options;
      const old = this.#ui;
      const held = old && this.#root.activeElement;
      const scroll = old?.log.scrollTop;
      const ui = {};
      this.#ui = ui;

      const action = (side) => {
        const { icon: name, label } = o.header?.[side] ?? {};
        if (!name || o.header.enabled === false) return "";
        const known =
          hasIcon(name) ?? (/^(sidebar|menu|open|collapse)/.test(name) ? "menu" : "dots");
        return iconButton(label ?? t[name] ?? name.replaceAll("-", " "), known, () =>
          this.#options.header[side].onClick?.(),
        );
      };
      ui.title = h("h2", { dir: "auto" });
      ui.new = iconButton(t.newChat, "compose", () => {
        this.#show(null);
        ui.input.focus();
      });
      ui.past = iconButton(t.history, "history", () => this.#showHistory());
      ui.past.hidden = !this.#hasHistory;
      ui.header = h(
        "div",
        { className: o.header?.enabled === false ? "header hidden" : "header" },
        action("leftAction"),
        ui.title,
        o.header?.enabled !== false && [ui.new, ui.past],
        action("rightAction"),
      );

      ui.start = h("div", { className: "start" });
      ui.earlier = h(
        "p",
        { className: "center" },
        button(t.earlier, () => this.#more()),
      );
      ui.thread = h("div", { className: "thread" });
      ui.progress = h("p", { className: "progress", hidden: true });
      ui.log = h(
        "div",
        {
          className: "log",
          role: "log",
          "aria-live": "off",
          "aria-label": t.messages,
          tabIndex: 0,
        },
        h("div", { className: "column" }, ui.start, ui.earlier, ui.thread, ui.progress),
      );
      ui.log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
      ui.latest = iconButton(t.latest, "down", () => this.#toEnd(true), {
        className: "plain latest",
      });

      ui.input = h("textarea", {
        rows: 1,
        dir: "auto",
        "aria-label": t.message,
        enterKeyHint: "send",
        onkeydown: (event) => {
          // While an input method composes, Enter is a part of the word.
          if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229)
            return;
          event.preventDefault();
          this.#submit();
        },
        oninput: () => this.#compose(),
        onpaste: (event) => {
          const files = [...(event.clipboardData?.files ?? [])];
          if (files.length === 0 || !o.composer?.attachments?.enabled) return;
          event.preventDefault();
          this.#attach(files);
        },
      });
      ui.input.value = old?.input.value ?? "";
      ui.quote = h("div", { className: "quote" });
      ui.files = h("ul", { className: "files", role: "list" });
      ui.problem = h("p", { className: "problem", role: "alert" });
      ui.tools = h("div", { className: "tools" });
      ui.form = h(
        "form",
        {
          className: "composer",
          onsubmit: (event) => {
            event.preventDefault();
            this.#submit();
          },
        },
        ui.quote,
        ui.files,
        ui.input,
        ui.tools,
      );
      this.#buildTools();
      ui.closed = h("div", { className: "closed", hidden: true });
      const { disclaimer } = o;
      const small = h("div", {
        className: disclaimer?.highContrast ? "md disclaimer strong" : "md disclaimer",
        dir: "auto",
      });
      if (disclaimer?.text) showMarkdown(small, disclaimer.text, { text: t });

      ui.status = h("p", { role: "status", className: "hidden" });
      ui.main = h(
        "div",
        { className: "main" },
        ui.header,
        ui.log,
        h("div", { className: "foot-area" }, ui.latest, ui.problem, ui.form, ui.closed, small),
      );
      ui.history = h("div", { className: "history", hidden: true });
      ui.chat = h(
        "div",
        {
          // No landmark: the page has put it into one of the same name.
          role: "group",
          className: "chat",
          "aria-label": o.frameTitle || t.chat,
          onclick: (event) => this.#clicked(event),
          onkeydown: (event) => {
            if (event.key !== "Escape" || ui.history.hidden) return;
            event.preventDefault();
            event.stopPropagation(); // not the panel around the chat
            this.#hideHistory();
          },
        },
        ui.main,
        ui.history,
        ui.status,
      );
      // The words around are English until others are set; the conversation need not be.
      ui.chat.lang = this.#language;
      ui.thread.lang = o.locale ?? document.documentElement.lang;
      this.#droppable(ui.chat);
      this.#root.replaceChildren(ui.chat);
      this.#dress();

      for (const entry of this.#items.values()) {
        const kept = entry.row;
        this.#row(entry);
        this.#keep(kept, entry.row);
      }
      // Notices say what is the case now; they are drawn once and move along.
      if (old)
        for (const notice of old.thread.querySelectorAll(":scope > .notice"))
          ui.thread.append(notice);
      this.#compose();
      this.#render();
      if (old) {
        ui.log.scrollTop = scroll;
        if (!old.history.hidden) this.#showHistory();
        else if (held === old.input) ui.input.focus();
      }
    }

    #buildTools() {
      const { ui, t, o } = { ui: this.#ui, t: this.#text, o: this.#options.composer ?? {} };
      const parts = [];
      if (o.attachments?.enabled) {
        const accept = Object.entries(o.attachments.accept ?? {})
          .flat(2)
          .join(",");
        const picker = h("input", {
          type: "file",
          multiple: true,
          hidden: true,
          accept,
          tabIndex: -1,
        });
        picker.setAttribute("aria-hidden", "true");
        picker.addEventListener("change", () => {
          this.#attach([...picker.files]);
          picker.value = "";
        });
        parts.push(
          picker,
          iconButton(t.attach, "clip", () => picker.click()),
        );
      }
      const select = (kind, label, options) => {
        const node = h("select", {
          "aria-label": label,
          onchange: () => this.#choose(kind, node.value),
        });
        for (const { id, label: name, disabled } of options) {
          node.append(h("option", { value: id, disabled }, name));
        }
        ui[kind] = node;
        parts.push(node);
      };
      if (list(o.tools).length > 0)
        select("tool", t.tool, [{ id: "", label: t.noTool }, ...o.tools]);
      if (list(o.models).length > 0) {
        select("model", t.model, o.models);
        this.#chosen.model ||= (o.models.find((model) => model.default) ?? o.models[0]).id;
      }
      ui.send = h("button", {
        className: "send",
        onclick: (event) => {
          if (!this.#run) return;
          event.preventDefault();
          this.#stop();
        },
      });
      ui.tools.replaceChildren(...parts, h("span", { className: "spacer" }), ui.send);
    }

    #choose(kind, id) {
      if (kind === "tool" && this.#chosen.tool !== id)
        this.#emit("tool.change", { toolId: id || null });
      this.#chosen[kind] = id;
      this.#compose();
    }

    /** What theme, words and state mean for the composer. */
    #compose() {
      const { ui, t, o } = { ui: this.#ui, t: this.#text, o: this.#options.composer ?? {} };
      const tool = list(o.tools).find(({ id }) => id === this.#chosen.tool);
      ui.input.placeholder = tool?.placeholderOverride ?? o.placeholder ?? t.placeholder;
      if (ui.tool) ui.tool.value = this.#chosen.tool;
      if (ui.model) ui.model.value = this.#chosen.model;
      if (!CSS.supports("field-sizing", "content")) {
        ui.input.style.blockSize = "auto";
        ui.input.style.blockSize = `${ui.input.scrollHeight}px`;
      }
      ui.quote.replaceChildren();
      if (this.#quote) {
        ui.quote.append(
          h(
            "blockquote",
            { dir: "auto" },
            h("span", { className: "hidden" }, t.quote),
            this.#quote,
          ),
          iconButton(t.removeQuote, "close", () => {
            this.#quote = null;
            this.#compose();
            ui.input.focus();
          }),
        );
      }
      ui.files.replaceChildren(...[...this.#files].map((file) => this.#chip(file)));
      const filled = ui.input.value.trim() || this.#files.size > 0;
      const stops = this.#run?.canStop;
      const label = this.#run ? t.stop : t.send;
      if (ui.send.title !== label || !ui.send.firstChild) {
        ui.send.title = label;
        ui.send.setAttribute("aria-label", label);
        ui.send.type = this.#run ? "button" : "submit";
        ui.send.replaceChildren(icon(this.#run ? "stop" : "send"));
      }
      // It keeps the focus when there is nothing to send, so it is not really disabled.
      ui.send.setAttribute("aria-disabled", String(this.#run ? !stops : !filled));
    }

    /** Another theme alone: nothing but the colours changes, and widgets that know the night. */
    #redress() {
      this.#dress();
      for (const entry of this.#items.values()) {
        if (entry.item.type === "widget") this.#later(Object.assign(entry, { changed: null }));
      }
    }

    #dress() {
      if (!this.isConnected) return;
      const given = this.#options.theme ?? {};
      const theme = typeof given === "string" ? { colorScheme: given } : given;
      const probe = h("span", { hidden: true });
      this.#root.append(probe);
      const read = (value) => {
        if (!value || !CSS.supports("color", value)) return undefined;
        probe.style.color = `color-mix(in srgb, ${value}, ${value})`;
        const found = getComputedStyle(probe)
          .color.match(/[\d.e+-]+/g)
          ?.slice(0, 3);
        return found?.map((part) => Math.min(1, Math.max(0, Number(part))));
      };
      const { style } = this.#theme.cssRules[0];
      for (const [name, value] of Object.entries(themed(theme, read)))
        style.setProperty(name, value);
      probe.remove();
      for (const font of list(theme.typography?.fontSources)) {
        const url = address(font.src, /^(https?|data):$/);
        if (!url || this.#fonts.has(url.href)) continue;
        this.#fonts.add(url.href);
        const { family, weight, style: slant, display, unicodeRange } = font;
        const more = { weight: weight && String(weight), style: slant, display, unicodeRange };
        const known = Object.fromEntries(Object.entries(more).filter(([, value]) => value));
        document.fonts.add(new FontFace(family, `url("${url.href}")`, known));
      }
    }

    /** Everything but the items: title, start screen, what is busy, what may be done. */
    #render() {
      const { ui, t, o } = { ui: this.#ui, t: this.#text, o: this.#options };
      const { title = {} } = o.header ?? {};
      ui.title.textContent = title.text ?? this.#thread?.title ?? t.newChat;
      ui.title.classList.toggle("hidden", title.enabled === false);
      const empty = this.#items.size === 0 && !this.#run && !this.#opening;
      ui.new.hidden = empty && !this.#thread;
      ui.earlier.hidden = !this.#earlier;
      ui.start.hidden = !empty || Boolean(this.#thread);
      if (!ui.start.hidden && !ui.start.firstChild) this.#buildStart();

      const { type = "active", reason } = this.#thread?.status ?? {};
      const closed = type !== "active";
      ui.form.hidden = closed;
      ui.closed.hidden = !closed;
      if (closed) {
        ui.closed.replaceChildren(
          h("p", { dir: "auto" }, reason || t[type] || t.closed),
          button(t.newChat, () => {
            this.#show(null);
            ui.input.focus();
          }),
        );
      }
      ui.log.setAttribute("aria-busy", String(Boolean(this.#run || this.#opening)));
      ui.chat.classList.toggle("answering", Boolean(this.#run));
      const last = [...this.#items.values()].at(-1)?.item;
      const waits =
        this.#run && (this.#run.progress || this.#run.calling || last?.type === "user_message");
      ui.progress.hidden = !waits && !this.#opening;
      if (!ui.progress.hidden) {
        const said = this.#opening ? t.loading : (this.#run.progress?.text ?? "");
        const key = `${said}|${this.#run?.progress?.icon}`;
        if (ui.progress.dataset.key !== key) {
          ui.progress.dataset.key = key;
          ui.progress.replaceChildren(
            said
              ? h("span", { className: "spinner" })
              : h("span", { className: "typing" }, h("i"), h("i"), h("i")),
            said,
          );
        }
      }
      this.#bars();
      this.#compose();
      this.#toEnd();
    }

    #buildStart() {
      const { ui, t } = { ui: this.#ui, t: this.#text };
      const { greeting = t.greeting, prompts = [] } = this.#options.startScreen ?? {};
      ui.start.append(h("p", { className: "greeting", dir: "auto" }, greeting));
      if (prompts.length === 0) return;
      const items = prompts.map(({ label, prompt, icon: name }) => {
        const content =
          typeof prompt === "string" ? [{ type: "input_text", text: prompt }] : prompt;
        const onclick = () => {
          this.#send({ content, attachments: [] });
          ui.log.focus({ preventScroll: true });
        };
        return h(
          "li",
          {},
          h(
            "button",
            { type: "button", className: "prompt", dir: "auto", onclick },
            icon(hasIcon(name)),
            label,
          ),
        );
      });
      ui.start.append(h("ul", { className: "prompts", role: "list" }, items));
    }

    #say(text) {
      const { status } = this.#ui;
      status.textContent = status.textContent === text ? `${text}\u00a0` : text;
    }

    #scrolled() {
      const { log, latest } = this.#ui;
      const left = log.scrollHeight - log.scrollTop - log.clientHeight;
      this.#follows = left < NEAR;
      latest.classList.toggle("shown", left > 4 * NEAR);
    }

    #toEnd(always = false) {
      const { log } = this.#ui;
      if (always) this.#follows = true;
      const may = this.#options.thread?.autoScroll !== false || !this.#run;
      if (always || (this.#follows && may)) log.scrollTop = log.scrollHeight;
    }

    #clicked(event) {
      const copy = event.target.closest?.("[data-copy]");
      if (copy) this.#copy(copy.closest(".code").querySelector("code").textContent);
      const link = event.target.closest?.('a[href^="chatkit-link:"]');
      if (link) {
        event.preventDefault();
        const url = new URL(link.href);
        const name = link.href.replace(/^chatkit-link:\/*/, "").split(/[?#]/)[0];
        this.#emit("deeplink", { name, data: Object.fromEntries(url.searchParams) });
      }
    }

    async #copy(text) {
      try {
        await navigator.clipboard.writeText(text);
        this.#say(this.#text.copied);
      } catch {
        this.#say(this.#text.failed); // not allowed here
      }
    }

    // --- the server ------------------------------------------------------------------------------

    #fetch(url, init) {
      const given = this.#options.api.fetch;
      const there = new URL(url, document.baseURI);
      const home = new URL(this.#options.api.url, document.baseURI);
      // What a site's own fetch adds, a token say, is for its own server only.
      return given && there.origin === home.origin ? given(url, init) : fetch(url, init);
    }

    async #post(request, signal) {
      let response;
      try {
        response = await this.#fetch(this.#options.api.url, {
          method: "POST",
          headers: {
            "Content-Type": "application/json",
            Accept: "text/event-stream, application/json",
          },
          body: JSON.stringify(request),
          signal,
        });
      } catch (error) {
        if (signal?.aborted) throw error;
        // A browser's words for it are for developers, a site's own fetch has words for visitors.
        const message = error instanceof TypeError ? this.#text.offline : error.message;
        throw failure(message, { cause: error, retry: true });
      }
      if (!response.ok) await this.#refused(response);
      return response;
    }

    async #refused(response) {
      const body = await response.json().catch(() => null);
      const message = typeof body?.message === "string" && body.message;
      const { status } = response;
      const retry = status >= 500 || status === 429 || status === 408 || status === 401;
      throw failure(message || this.#text.failed, { status, retry });
    }

    async #json(type, params) {
      const response = await this.#post({ type, params });
      const body = await response.json().catch(() => null);
      if (body === null) throw failure(this.#text.failed, { retry: true });
      return body;
    }

    /** Run one streaming call to its end, with the client tools it asks for. */
    async #respond(request) {
      const run = { abort: new AbortController(), canStop: true, request, got: false };
      this.#run = run;
      const current = () => this.#run === run;
      for (const old of this.#ui.thread.querySelectorAll(":scope > .notice.danger")) old.remove();
      this.#emit("response.start");
      this.#render();
      this.#say(this.#text.answering);
      try {
        while (run.request) {
          run.got = false;
          this.#call = null;
          const { type, params } = run.request;
          const response = await this.#post({ type, params }, run.abort.signal);
          if (!/^text\/event-stream/i.test(response.headers.get("Content-Type"))) {
            throw failure(this.#text.failed, { retry: true });
          }
          for await (const data of readEvents(response.body)) {
            run.got = true;
            // A chat that was left is read to its end, so that its answer is stored.
            if (current()) this.#receive(data, run);
          }
          run.request = current() && this.#call ? await this.#runTool(this.#call, run) : null;
        }
      } catch (error) {
        if (current() && !run.abort.signal.aborted) {
          const lost = run.got && !error.status;
          this.#fail(lost ? failure(this.#text.lost, { cause: error, retry: true }) : error, run);
        }
      } finally {
        if (current()) this.#finish();
      }
    }

    #finish() {
      const { abort, started, got } = this.#run;
      this.#run = null;
      for (const entry of this.#items.values()) {
        if (entry.streaming) {
          entry.streaming = false;
          this.#dirty.add(entry);
        }
      }
      this.#paint();
      this.#render();
      const fresh = [...this.#items.values()].filter(({ item }) => started?.has(item.id));
      const said = fresh
        .map(({ body, item }) => (item.type === "user_message" ? "" : readable(body)))
        .join("\n")
        .trim();
      if (abort.signal.aborted) this.#say(this.#text.stopped);
      else if (said || got) this.#say(said.slice(0, 2000));
      this.#emit("response.end");
    }

    #stop() {
      const run = this.#run;
      if (!run?.canStop) return;
      run.abort.abort();
      const entry = this.#items.get(run.request?.sent);
      if (!run.got && entry) {
        // Nothing has arrived there: what was written comes back.
        this.#ui.input.value ||= textOf(entry.item).join("");
        this.#drop(entry.item.id);
      }
      this.#ui.input.focus();
    }

    async #runTool(call, run) {
      run.calling = true;
      this.#render();
      let result;
      try {
        if (!this.#options.onClientTool)
          throw new Error(`No handler for the client tool ${call.name}`);
        result = await this.#options.onClientTool({
          name: call.name,
          params: call.arguments ?? {},
        });
      } catch (error) {
        // The assistant learns of it and goes on, else the thread would hang.
        this.#emit("error", { error });
        result = { error: String(error?.message ?? error) };
      }
      run.calling = false;
      const params = { thread_id: call.thread_id ?? this.#thread?.id, result: result ?? {} };
      return { type: "threads.add_client_tool_output", params };
    }

    #receive(data, run) {
      let event;
      try {
        event = JSON.parse(data);
      } catch {
        this.#emit("log", { name: "stream.unreadable" });
        return;
      }
      switch (event.type) {
        case "thread.created":
        case "thread.updated":
          this.#setThread(event.thread);
          break;
        case "thread.item.added":
        case "thread.item.replaced":
        case "thread.item.done":
          run.progress = null;
          run.started ??= new Set();
          run.started.add(event.item.id);
          this.#put(event.item, event.type === "thread.item.added");
          break;
        case "thread.item.removed":
          this.#drop(event.item_id);
          break;
        case "thread.item.updated": {
          const entry = this.#items.get(event.item_id);
          if (!entry) return;
          change(entry.item, event.update);
          if (/^widget\.(component|streaming)/.test(event.update.type)) {
            entry.changed ??= new Set();
            entry.changed.add(event.update.component_id);
          } else entry.changed = null;
          this.#later(entry);
          return;
        }
        case "stream_options":
          run.canStop = event.stream_options?.allow_cancel !== false;
          break;
        case "progress_update":
          run.progress = event;
          break;
        case "client_effect":
          this.#emit("effect", { name: event.name, data: event.data });
          return;
        case "error":
          this.#fail(
            failure(event.message || this.#text.failed, { retry: event.allow_retry }),
            run,
          );
          break;
        case "notice":
          this.#notice(event.message, event);
          break;
        default:
          this.#emit("log", { name: "stream.unknown", data: { type: event.type } });
          return;
      }
      this.#render();
    }

    /** Say what went wrong, with a way to try again if there is one. */
    #fail(error, run) {
      this.#emit("error", { error });
      let { again } = error;
      const { request, got } = run ?? {};
      const unsent = this.#items.get(request?.sent);
      if (error.retry && run) {
        again = () => {
          if (got && !unsent) return this.#retry();
          const { type, params } = request;
          // The thread may be there already, without the message.
          return this.#respond(
            type === "threads.create" && this.#thread
              ? {
                  ...request,
                  type: "threads.add_user_message",
                  params: { ...params, thread_id: this.#thread.id },
                }
              : request,
          );
        };
      }
      unsent?.row.classList.add("unsent");
      this.#notice(error.message, { level: "danger", again });
    }

    #notice(message, { level = "info", title, again }) {
      const t = this.#text;
      const body = h("div", { className: "md", dir: "auto" });
      showMarkdown(body, message ?? "", { text: t });
      const node = h("div", {
        className: `notice ${level}`,
        role: level === "danger" ? "alert" : "status",
      });
      const remove = () => {
        node.remove();
        this.#ui.input.focus();
      };
      node.append(
        icon(level === "info" ? "info" : "warning"),
        h("div", {}, title && h("p", { dir: "auto" }, h("strong", {}, title)), body),
      );
      if (again) {
        node.append(
          button(t.retry, () => {
            if (this.#run) return;
            remove();
            again();
          }),
        );
      }
      node.append(iconButton(t.dismiss, "close", remove));
      this.#ui.thread.append(node);
      this.#toEnd();
    }

    // --- the conversation ------------------------------------------------------------------------

    #submit() {
      const { ui, t } = { ui: this.#ui, t: this.#text };
      const text = ui.input.value.trim();
      const files = [...this.#files].filter(({ state }) => state !== "failed");
      if (this.#run) return;
      if (files.some(({ state }) => state === "busy")) {
        ui.problem.textContent = t.uploadWait;
        return;
      }
      if (!text && files.length === 0) return;
      ui.problem.textContent = "";
      ui.input.value = "";
      const { tool, model } = this.#chosen;
      const quote = this.#quote;
      this.#quote = null;
      this.#files.clear();
      const kept = list(this.#options.composer?.tools).find(({ id }) => id === tool)?.persistent;
      if (tool && !kept) this.#choose("tool", "");
      const attachments = files.map(({ attachment }) => attachment);
      const content = text ? [{ type: "input_text", text }] : [];
      this.#send({ content, attachments, quote, tool, model });
    }

    #send({ content, attachments, quote, tool, model }) {
      if (this.#run) return;
      this.#sent += 1;
      const id = `sent-${this.#sent}`;
      this.#hideHistory();
      this.#put({ id, type: "user_message", content, attachments, quoted_text: quote });
      this.#toEnd(true);
      const input = {
        content: content.map((part) => (part.type === "input_tag" ? { data: {}, ...part } : part)),
        attachments: attachments.map((attachment) => attachment.id),
        quoted_text: quote || null,
        inference_options: { tool_choice: tool ? { id: tool } : null, model: model || null },
      };
      this.#emit("log", { name: "message.send" });
      this.#respond(
        this.#thread
          ? {
              type: "threads.add_user_message",
              params: { thread_id: this.#thread.id, input },
              sent: id,
            }
          : { type: "threads.create", params: { input }, sent: id },
      );
    }

    #setThread(thread) {
      const before = this.#thread?.id ?? null;
      const domains = String(this.#thread?.allowed_image_domains);
      this.#thread = thread;
      const now = thread?.id ?? null;
      if (domains !== String(thread?.allowed_image_domains)) {
        // Pictures that were links may be shown now.
        for (const entry of this.#items.values()) {
          if (entry.item.type === "assistant_message") this.#later(entry);
        }
      }
      if (before !== now) this.#emit("thread.change", { threadId: now });
    }

    /** Leave what is shown and show `thread`, or a new chat. An answer goes on unseen. */
    #show(thread) {
      const was = this.#run;
      this.#run = null;
      if (was) this.#emit("response.end");
      this.#opening = 0;
      this.#items.clear();
      this.#dirty.clear();
      this.#earlier = null;
      this.#call = null;
      this.#ui.thread.replaceChildren();
      this.#ui.problem.textContent = "";
      this.#hideHistory();
      this.#setThread(thread);
      this.#render();
    }

    async #open(id, { quiet = false } = {}) {
      if (id === null) {
        this.#show(null);
        return;
      }
      const turn = Symbol(id);
      if (!quiet) {
        this.#show(this.#thread?.id === id ? this.#thread : { id, title: "" });
        this.#opening = turn;
        this.#render();
      }
      this.#emit("thread.load.start", { threadId: id });
      try {
        const { items: first, ...thread } = await this.#json("threads.get_by_id", {
          thread_id: id,
        });
        let data = list(first?.data);
        let earlier = null;
        if (first?.has_more) ({ data, earlier } = await this.#page(id));
        if (quiet ? this.#thread?.id !== id || this.#run : this.#opening !== turn) return;
        this.#opening = 0;
        if (quiet) {
          this.#items.clear();
          this.#ui.thread.replaceChildren();
        }
        this.#setThread(thread);
        this.#earlier = earlier;
        for (const item of data) this.#put(item);
        this.#render();
        this.#toEnd(true);
        const last = data.filter((item) => !/context|end_of_turn/.test(item.type)).at(-1);
        if (last?.type === "client_tool_call" && last.status === "pending") this.#pending(last);
        this.#emit("thread.load.end", { threadId: id });
      } catch (error) {
        if (quiet || this.#opening !== turn) throw error;
        this.#show(null);
        const gone = error.status === 404;
        error.again = () => this.#open(id).catch(() => {});
        this.#fail(gone ? failure(this.#text.gone, { cause: error }) : error);
        throw error;
      }
    }

    /** The newest items of a thread, or those before a cursor, oldest first. */
    async #page(id, after) {
      const params = { thread_id: id, limit: PAGE, order: "desc", ...(after && { after }) };
      const { data, has_more: more, after: next } = await this.#json("items.list", params);
      return { data: [...data].reverse(), earlier: more ? (next ?? data.at(-1)?.id) : null };
    }

    async #more() {
      const { log, earlier } = this.#ui;
      const cursor = this.#earlier;
      if (!cursor) return;
      this.#earlier = null; // one at a time
      const { id } = this.#thread;
      const focused = earlier.contains(this.#root.activeElement);
      try {
        const page = await this.#page(id, cursor);
        if (this.#thread?.id !== id) return;
        const height = log.scrollHeight - log.scrollTop;
        const now = this.#items;
        this.#items = new Map();
        const first = this.#ui.thread.firstChild;
        for (const item of page.data) this.#put(item, false, first);
        for (const [key, entry] of now) this.#items.set(key, entry);
        this.#earlier = page.earlier;
        this.#follows = false;
        this.#render();
        log.scrollTop = log.scrollHeight - height;
        if (focused && !this.#earlier) log.focus({ preventScroll: true });
      } catch (error) {
        this.#earlier = cursor;
        this.#fail(error);
      }
    }

    /** A client tool that nobody answered: the page was left meanwhile. */
    #pending(call) {
      const t = this.#text;
      const node = h(
        "div",
        { className: "notice info", role: "status" },
        icon("info"),
        h("p", {}, t.waiting),
      );
      const go = button(t.continue, async () => {
        if (this.#run) return;
        node.remove();
        this.#respond(await this.#runTool(call, {}));
      });
      node.append(go);
      this.#ui.thread.append(node);
      this.#toEnd();
    }

    #put(item, streaming = false, before = null) {
      if (item.type === "client_tool_call" && item.status === "pending" && !streaming)
        this.#call = item;
      if (HIDDEN.test(item.type)) return;
      let entry = this.#items.get(item.id);
      const { sent } = this.#run?.request ?? {};
      if (!entry && item.type === "user_message" && this.#items.has(sent)) {
        // The server has what was shown at once.
        entry = this.#items.get(sent);
        this.#items.delete(sent);
        this.#items.set(item.id, entry);
        entry.row.classList.remove("unsent");
      }
      if (!entry) {
        entry = { row: null };
        this.#items.set(item.id, entry);
      }
      Object.assign(entry, { item, streaming, changed: null });
      if (!entry.row) this.#row(entry, before);
      else this.#later(entry);
    }

    #drop(id) {
      const entry = this.#items.get(id);
      entry?.row.remove();
      entry?.bar?.remove();
      this.#items.delete(id);
    }

    #row(entry, before = null) {
      const { text: t } = { text: this.#text };
      const mine = entry.item.type === "user_message";
      const heading = h("h3", { className: "hidden" }, mine ? t.you : t.assistant);
      entry.row = h("article", { className: entry.item.type }, heading);
      entry.body = h("div", { className: "body" });
      entry.row.append(entry.body);
      entry.bar = null;
      entry.changed = null;
      this.#ui.thread.insertBefore(entry.row, before);
      this.#fillRow(entry);
    }

    #later(entry) {
      this.#dirty.add(entry);
      this.#frame ||= requestAnimationFrame(() => this.#paint());
    }

    #paint() {
      cancelAnimationFrame(this.#frame);
      this.#frame = 0;
      for (const entry of this.#dirty) this.#fillRow(entry);
      this.#dirty.clear();
      this.#toEnd();
    }

    /** Fill in or renew what a row shows. */
    #fillRow(entry) {
      const { item, body, streaming } = entry;
      const t = this.#text;
      const { allowed_image_domains: domains } = this.#thread ?? {};
      const markdown = (node, text) => showMarkdown(node, text, { text: t, domains });
      if (item.type === "assistant_message") {
        const parts = textOf(item);
        while (body.children.length < parts.length)
          body.append(h("div", { className: "md", dir: "auto" }));
        for (const [index, text] of parts.entries()) markdown(body.children[index], text);
        for (const extra of [...body.children].slice(parts.length)) extra.remove();
        const sources = !streaming && drawSources(item, t);
        if (sources) body.append(sources);
        return;
      }
      const parts = new Map();
      const c = {
        text: t,
        id: item.id,
        dark: (this.#options.theme?.colorScheme ?? this.#options.theme) === "dark",
        streaming,
        labels: new Map(),
        parts,
        markdown,
        was: body.firstElementChild,
        act: (action, control, values, form) => this.#act(entry, action, control, values, form),
        answer: (of, input) => this.#answer(of, input),
      };
      if (entry.changed && entry.c) {
        for (const id of entry.changed) {
          const { node, w } = entry.c.parts.get(id) ?? {};
          if (node) node.replaceWith(draw(w, entry.c));
        }
        return;
      }
      entry.c = c;
      const fresh = h("div", {}, (ITEMS[item.type] ?? (() => [draw(item, c)]))(item, c));
      this.#keep(body, fresh);
      const focused = this.#root.activeElement;
      const had = body.contains(focused);
      const name = had && focused.name;
      body.replaceChildren(...fresh.childNodes);
      if (name) body.querySelector(`[name="${CSS.escape(name)}"]`)?.focus();
      // Where what was focused is no more, the keyboard must not fall out of the chat.
      if (had && !this.#root.activeElement) this.#ui.log.focus({ preventScroll: true });
    }

    /** What was typed and opened in `old` is so in `fresh`. */
    #keep(old, fresh) {
      if (!old || !fresh) return;
      const fields = "input, textarea, select";
      for (const field of fresh.querySelectorAll(fields)) {
        const same = [...old.querySelectorAll(fields)].find(
          (each) =>
            each.name === field.name &&
            each.type === field.type &&
            (!/radio|checkbox/.test(field.type) || each.value === field.value),
        );
        if (!same) continue;
        if (/radio|checkbox/.test(field.type)) field.checked = same.checked;
        else if (same.value !== same.defaultValue) field.value = same.value;
      }
      const opened = [...old.querySelectorAll("details")];
      [...fresh.querySelectorAll("details")].forEach((details, index) => {
        if (opened[index]) details.open = opened[index].open;
      });
    }

    /** The actions under the last row of each finished turn of the assistant. */
    #bars() {
      const entries = [...this.#items.values()];
      entries.forEach((entry, index) => {
        const { item } = entry;
        const next = entries[index + 1];
        const ends = item.type !== "user_message" && (!next || next.item.type === "user_message");
        const wanted = ends && !(this.#run && !next);
        if (!wanted) {
          entry.bar?.remove();
          entry.bar = null;
        } else if (!entry.bar) {
          let start = index;
          while (start > 0 && entries[start - 1].item.type !== "user_message") start -= 1;
          entry.bar = this.#bar(entries.slice(start, index + 1), entries[start - 1]);
          entry.row.after(entry.bar);
        }
      });
    }

    #bar(turn, asked) {
      const t = this.#text;
      const { feedback, retry } = this.#options.threadItemActions ?? {};
      const bar = h("div", { className: "bar" });
      const copied = turn
        .map(({ item }) => item.copy_text ?? textOf(item).join(""))
        .filter(Boolean);
      if (copied.length > 0) {
        bar.append(iconButton(t.copy, "copy", () => this.#copy(copied.join("\n\n"))));
      }
      const rate = (kind) => async (event) => {
        const pressed = event.currentTarget;
        const ids = turn.map(({ item }) => item.id);
        try {
          await this.#json("items.feedback", { thread_id: this.#thread.id, item_ids: ids, kind });
          for (const each of bar.children) if (each.ariaPressed) each.ariaPressed = "false";
          pressed.ariaPressed = "true";
          this.#say(t.thanks);
        } catch (error) {
          this.#fail(error);
        }
      };
      if (feedback) {
        bar.append(
          iconButton(t.good, "up", rate("positive"), { ariaPressed: "false" }),
          iconButton(t.bad, "thumb-down", rate("negative"), { ariaPressed: "false" }),
        );
      }
      if (retry && asked)
        bar.append(iconButton(t.retry, "retry", () => this.#retry(asked.item.id)));
      return bar;
    }

    /** Answer a message of the visitor's anew, the last one if none is named. */
    #retry(id) {
      if (this.#run) return;
      const ids = [...this.#items.keys()];
      const mine = [...this.#items.values()].filter(({ item }) => item.type === "user_message");
      const from = id ?? mine.at(-1)?.item.id;
      if (!from || !this.#thread) return;
      for (const later of ids.slice(ids.indexOf(from) + 1)) this.#drop(later);
      this.#toEnd(true);
      const params = { thread_id: this.#thread.id, item_id: from };
      this.#respond({ type: "threads.retry_after_item", params });
    }

    async #act(entry, action, control, values = {}, form = control.closest?.("form")) {
      const { item, row } = entry;
      const { type, payload, handler, loadingBehavior: busy = "auto", streaming } = action;
      const given = { ...valuesOf(form), ...values };
      const merged = Object.keys(given).length > 0 ? { ...payload, ...given } : payload;
      const sent = { type, ...(merged !== undefined && { payload: merged }) };
      const onServer = handler !== "client";
      if (onServer && streaming !== false && this.#run) {
        this.#say(this.#text.answering);
        return;
      }
      const whole = busy === "container" || (busy === "auto" && form);
      const waits = busy === "none" ? null : whole ? row : control;
      waits?.setAttribute("aria-busy", "true");
      try {
        const params = { thread_id: this.#thread.id, item_id: item.id, action: sent };
        if (!onServer) {
          await this.#options.widgets?.onAction?.(sent, { id: item.id, widget: item.widget });
        } else if (streaming === false) {
          const answer = await this.#json("threads.sync_custom_action", params);
          if (answer.updated_item) this.#put(answer.updated_item);
        } else await this.#respond({ type: "threads.custom_action", params });
      } catch (error) {
        this.#fail(error);
      } finally {
        waits?.removeAttribute("aria-busy");
      }
    }

    #answer(item, input) {
      if (this.#run) return;
      const params = { thread_id: this.#thread.id, item_id: item.id, input };
      this.#respond({ type: "threads.add_structured_input", params });
    }

    // --- attachments -----------------------------------------------------------------------------

    #droppable(node) {
      const wanted = (event) =>
        this.#options.composer?.attachments?.enabled && event.dataTransfer?.types.includes("Files");
      const over = (event) => {
        if (!wanted(event)) return;
        event.preventDefault();
        node.classList.toggle("dropping", event.type === "dragover");
        if (event.type === "drop") this.#attach([...event.dataTransfer.files]);
      };
      for (const type of ["dragover", "dragleave", "drop"]) node.addEventListener(type, over);
    }

    #refusal(file) {
      const t = this.#text;
      const {
        maxSize = 100 * 1024 ** 2,
        maxCount = 10,
        accept,
      } = this.#options.composer?.attachments ?? {};
      const type = file.type || "application/octet-stream";
      const matches = (pattern) =>
        pattern === "*" ||
        pattern === "*/*" ||
        pattern === type ||
        (pattern.endsWith("/*") && type.startsWith(pattern.slice(0, -1)));
      if (this.#files.size >= maxCount) return fill(t.tooMany, maxCount);
      const name = file.name.toLowerCase();
      const fits = ([pattern, ends]) =>
        matches(pattern) || list(ends).some((end) => name.endsWith(end.toLowerCase()));
      if (accept && !Object.entries(accept).some(fits)) return fill(t.wrongType, file.name);
      let limit = maxSize;
      if (typeof maxSize === "object") {
        const own = Object.keys(maxSize).find(
          (pattern) => !/^\*?$/.test(pattern) && matches(pattern),
        );
        limit = maxSize[own] ?? maxSize["*"] ?? maxSize[""] ?? 100 * 1024 ** 2;
      }
      return file.size > limit ? fill(t.tooBig, file.name, bytes(limit)) : null;
    }

    #attach(files) {
      const problems = [];
      for (const file of files) {
        const problem = this.#refusal(file);
        if (problem) problems.push(problem);
        else {
          const held = { name: file.name, file, state: "busy" };
          this.#files.add(held);
          this.#upload(held);
        }
      }
      this.#ui.problem.textContent = [...new Set(problems)].join(" ");
      this.#compose();
    }

    async #upload(held) {
      const { file } = held;
      held.state = "busy";
      this.#compose();
      held.abort = new AbortController();
      const { signal } = held.abort;
      try {
        const strategy = this.#options.api.uploadStrategy ?? { type: "two_phase" };
        if (strategy.type === "direct") {
          const body = new FormData();
          body.append("file", file, file.name);
          const response = await this.#fetch(strategy.uploadUrl, { method: "POST", body, signal });
          if (!response.ok) await this.#refused(response);
          held.attachment = await response.json();
        } else {
          const mime_type = file.type || "application/octet-stream";
          const params = { name: file.name, size: file.size, mime_type };
          const attachment = await this.#json("attachments.create", params);
          held.attachment = attachment;
          const to = attachment.upload_descriptor;
          if (to) {
            const init = { method: to.method, headers: to.headers ?? {}, body: file, signal };
            const response = await this.#fetch(to.url, init);
            if (!response.ok) await this.#refused(response);
          }
        }
        held.state = "done";
      } catch (error) {
        if (signal.aborted) return;
        held.state = "failed";
        const own = error.status && error.message !== this.#text.failed;
        this.#ui.problem.textContent = own
          ? error.message
          : fill(this.#text.uploadFailed, held.name);
        this.#emit("error", { error });
      }
      this.#compose();
    }

    #chip(held) {
      const t = this.#text;
      const remove = iconButton(fill(t.remove, held.name), "close", () => {
        held.abort?.abort();
        this.#files.delete(held);
        this.#ui.problem.textContent = "";
        if (held.file && held.attachment) {
          this.#json("attachments.delete", { attachment_id: held.attachment.id }).catch(() => {});
        }
        this.#compose();
        this.#ui.input.focus();
      });
      if (held.state === "busy") {
        const busy = h("span", { className: "caption" }, t.uploading);
        return h(
          "li",
          { className: "file" },
          h("span", { className: "spinner" }),
          h("span", { className: "name", dir: "auto" }, held.name),
          busy,
          remove,
        );
      }
      if (held.state === "failed") {
        const again = iconButton(t.retry, "retry", () => this.#upload(held));
        const name = h("span", { className: "name", dir: "auto" }, held.name);
        return h("li", { className: "file failed" }, icon("warning"), name, again, remove);
      }
      return attachmentChip(held.attachment, remove);
    }

    // --- the history -----------------------------------------------------------------------------

    async #showHistory() {
      const { ui, t } = { ui: this.#ui, t: this.#text };
      const opened = ui.history.hidden;
      ui.list = h("ul", { role: "list" });
      ui.listEnd = h("div", { className: "center" });
      const back = iconButton(t.hideHistory, "back", () => this.#hideHistory());
      ui.history.replaceChildren(
        h("div", { className: "header" }, back, h("h2", {}, t.history)),
        h("div", { className: "log" }, h("div", { className: "column" }, ui.list, ui.listEnd)),
      );
      ui.history.hidden = false;
      ui.main.inert = true;
      back.focus();
      if (opened) this.#emit("history.open");
      await this.#threads();
    }

    #hideHistory() {
      const { ui } = { ui: this.#ui };
      if (ui.history.hidden) return;
      const focused = ui.history.contains(this.#root.activeElement);
      ui.main.inert = false;
      ui.history.hidden = true;
      if (focused) (ui.past.checkVisibility?.() === false ? ui.input : ui.past).focus();
      this.#emit("history.close");
    }

    async #threads(after) {
      const { ui, t } = { ui: this.#ui, t: this.#text };
      const { list: shown, listEnd: end } = ui;
      end.replaceChildren(
        h(
          "p",
          { className: "progress", role: "status" },
          h("span", { className: "spinner" }),
          t.loading,
        ),
      );
      try {
        const params = { limit: PAGE, order: "desc", ...(after && { after }) };
        const { data, has_more: more, after: next } = await this.#json("threads.list", params);
        const rows = data.map((thread) => this.#threadRow(thread));
        shown.append(...rows);
        end.replaceChildren();
        if (more && data.length > 0) {
          end.append(button(t.more, () => this.#threads(next ?? data.at(-1).id)));
        }
        if (!shown.firstChild) end.append(h("p", { className: "caption" }, t.noChats));
        if (after) rows[0]?.querySelector("button")?.focus();
      } catch (error) {
        this.#emit("error", { error });
        const again = button(t.retry, () => this.#threads(after));
        end.replaceChildren(h("p", { role: "alert" }, error.message), again);
      }
    }

    #threadRow(thread) {
      const t = this.#text;
      const title = thread.title || t.untitled;
      const { showRename = true, showDelete = true } = this.#options.history ?? {};
      const when = new Date(thread.created_at);
      const locale = this.#options.locale;
      const date = Number.isNaN(+when)
        ? ""
        : when.toLocaleDateString(locale, { dateStyle: "medium" });
      const row = h("li", { className: "past" });
      const current = thread.id === this.#thread?.id && "true";
      const choose = h(
        "button",
        {
          type: "button",
          className: "item",
          "aria-current": current,
          onclick: async () => {
            await this.#open(thread.id).catch(() => {});
            if (!matchMedia(TOUCH).matches) this.#ui.input.focus();
          },
        },
        h("span", { dir: "auto" }, title),
        h("span", { className: "caption" }, date),
      );
      row.append(choose);
      const edit =
        showRename && iconButton(`${t.rename}: ${title}`, "edit", () => this.#rename(row, thread));
      const away =
        showDelete && iconButton(`${t.delete}: ${title}`, "trash", () => this.#ask(row, thread));
      row.append(...[edit, away].filter(Boolean));
      return row;
    }

    #rename(row, thread) {
      const t = this.#text;
      const input = h("input", {
        type: "text",
        value: thread.title || "",
        "aria-label": t.title,
        dir: "auto",
        required: true,
        maxLength: 200,
      });
      const back = (now) => {
        const fresh = this.#threadRow(now);
        row.replaceWith(fresh);
        fresh.querySelector("button").focus();
      };
      const form = h(
        "form",
        { className: "edit" },
        input,
        h("button", { type: "submit", className: "button primary" }, t.save),
        button(t.cancel, () => back(thread)),
      );
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        const title = input.value.trim();
        if (!title) return;
        try {
          await this.#json("threads.update", { thread_id: thread.id, title });
          if (this.#thread?.id === thread.id) this.#thread = { ...this.#thread, title };
          back({ ...thread, title });
          this.#render();
        } catch (error) {
          this.#trouble(form, error);
        }
      });
      form.addEventListener("keydown", (event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        event.stopPropagation();
        back(thread);
      });
      row.replaceChildren(form);
      input.select();
      input.focus();
    }

    #ask(row, thread) {
      const t = this.#text;
      const back = () => {
        const fresh = this.#threadRow(thread);
        row.replaceWith(fresh);
        fresh.querySelector("button").focus();
      };
      const question = h("p", { dir: "auto" }, fill(t.deleteAsk, thread.title || t.untitled));
      const no = button(t.cancel, back);
      const yes = button(
        t.delete,
        async () => {
          try {
            await this.#json("threads.delete", { thread_id: thread.id });
            const next = (row.nextElementSibling ?? row.previousElementSibling)?.querySelector(
              "button",
            );
            row.remove();
            if (this.#thread?.id === thread.id) this.#forget();
            (next ?? this.#ui.history.querySelector("button")).focus();
            if (!this.#ui.list.firstChild) this.#threads();
          } catch (error) {
            this.#trouble(group, error);
          }
        },
        "button danger",
      );
      const group = h(
        "div",
        { className: "edit", role: "group", "aria-label": question.textContent },
        question,
        yes,
        no,
      );
      group.addEventListener("keydown", (event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        event.stopPropagation();
        back();
      });
      row.replaceChildren(group);
      no.focus();
    }

    /** The open thread is gone; the list of the others stays open. */
    #forget() {
      const { history } = this.#ui;
      history.hidden = true;
      this.#show(null);
      history.hidden = false;
    }

    #trouble(node, error) {
      this.#emit("error", { error });
      node.querySelector(".problem")?.remove();
      node.append(h("p", { className: "problem", role: "alert" }, error.message));
    }
  }

  customElements.define(TAG, BuiltinChat);
})();
