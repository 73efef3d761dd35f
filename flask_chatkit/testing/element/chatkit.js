/**
 * A stand-in for the <openai-chatkit> element, for tests and demos. This is not OpenAI's code and
 * contains none of it: it is written from the public types (@openai/chatkit 1.9.0) and the public
 * documentation, so that a page that works here works with the real element too.
 *
 * It is at least as strict as the real one. Only setOptions() configures it, the options replace the
 * former ones, and anything the types do not allow leaves it blank for good, with one console.error
 * that names the path. So does moving it in the document, an insecure context, or a module import.
 * Options that it refuses are a thrown IntegrationError too, and a `chatkit.error`. Its style comes
 * with connectedCallback(). A method that a build does not have throws at once, and a chat that has
 * removed itself answers nothing any more.
 *
 * For tests it leaves one handle in the page, `window.__chatkitStandin`:
 *   elements      the elements created so far
 *   frameLoads    how often a chat frame was loaded, of all elements
 *   lastOptions   what setOptions() was given last, by any element
 *   problems      why elements stayed blank, oldest first
 *   check(o)      the problem with some options, or null: the check that setOptions() makes
 *   of(element)   {frameLoads, options, problem} of one element
 *   retryDelays   milliseconds before each further POST of a streaming call (own server); assign
 *                 a new array to change them. As in the real element there are five.
 *   missing       the names of methods that this build does not have; assign a new array
 *   refuses       whether the host is missing in OpenAI's list of domains: as soon as the frame
 *                 talks, it reports a DomainVerificationRequestError and removes itself
 *   unmount(e)    an element's frame removes itself, without a word
 *   refuse(e)     the same, after a DomainVerificationRequestError
 *
 * A page may assign `window.__chatkitStandin = {missing, refuses}` before this script runs.
 */
(() => {
  // biome-ignore lint/suspicious/noRedundantUseStrict: a classic script, not a module
  "use strict";

  const TAG = "openai-chatkit";
  const script = document.currentScript;
  if (customElements.get(TAG)) return;

  let unusable = null;
  if (!script || !/^https?:/.test(script.src)) {
    unusable =
      "chatkit.js must be loaded by a classic script tag of its own (no module, no bundle)";
  } else if (!window.isSecureContext) {
    unusable = "a secure context is needed (https or localhost)";
  }
  const FRAME_URL = unusable ? null : new URL("frame.html", script.src);

  // ---------------------------------------------------------------- the schema of the options
  // A rule takes a value and its path, and returns what is wrong with it, or null.

  const isPlain = (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
    const proto = Object.getPrototypeOf(value);
    return proto === null || Object.getPrototypeOf(proto) === null;
  };
  const that = (test, wanted) => (value, path) =>
    test(value) ? null : `${path} must be ${wanted}`;
  const either = (first, second) => (value, path) => first(value, path) && second(value, path);
  const firstOf = (problems) => {
    for (const problem of problems) if (problem) return problem;
    return null;
  };

  const text = that((v) => typeof v === "string", "a string");
  const filled = that((v) => typeof v === "string" && v !== "", "a non-empty string");
  const flag = that((v) => typeof v === "boolean", "true or false");
  const callback = that((v) => typeof v === "function", "a function");
  const nothing = that((v) => v === null, "null");
  const anything = () => null;
  const number = (min, max) =>
    that((v) => Number.isFinite(v) && v >= min && v <= max, `a number from ${min} to ${max}`);
  const whole = (min, max) =>
    that(
      (v) => Number.isInteger(v) && v >= min && v <= max,
      `a whole number from ${min} to ${max}`,
    );
  const oneOf = (words) => {
    const known = new Set(words.trim().split(/\s+/));
    const wanted =
      known.size < 9 ? `one of ${[...known].join(", ")}` : "one of the documented names";
    return that((v) => typeof v === "string" && known.has(v), wanted);
  };
  const list = (rule) => (value, path) =>
    Array.isArray(value)
      ? firstOf(Array.from(value, (entry, index) => rule(entry, `${path}[${index}]`)))
      : `${path} must be an array`;
  const map = (rule) => (value, path) =>
    isPlain(value)
      ? firstOf(
          Object.keys(value).map((k) => value[k] !== undefined && rule(value[k], `${path}.${k}`)),
        )
      : `${path} must be an object`;
  const json = (value, path) => {
    if (value === null || typeof value === "string" || typeof value === "boolean") return null;
    if (Number.isFinite(value)) return null;
    if (Array.isArray(value)) return list(json)(value, path);
    return isPlain(value) ? map(json)(value, path) : `${path} is not JSON`;
  };

  /** An object with exactly these keys; "?" marks the optional ones, undefined counts as absent. */
  const shape = (fields) => {
    const rules = new Map();
    for (const name of Object.keys(fields)) rules.set(name.replace("?", ""), fields[name]);
    const required = Object.keys(fields).filter((name) => !name.endsWith("?"));
    return (value, path) => {
      if (!isPlain(value)) return `${path} must be an object`;
      const keys = Object.keys(value).filter((key) => value[key] !== undefined);
      const unknown = keys.find((key) => !rules.has(key));
      if (unknown !== undefined) return `${path}.${unknown} is not a known option`;
      const absent = required.find((key) => !keys.includes(key));
      if (absent !== undefined) return `${path}.${absent} is missing`;
      return firstOf(keys.map((key) => rules.get(key)(value[key], `${path}.${key}`)));
    };
  };

  /** One of several shapes, told apart by their `type`. */
  const byType = (shapes) => (value, path) => {
    if (!isPlain(value)) return `${path} must be an object`;
    const problem = oneOf(Object.keys(shapes).join(" "))(value.type, `${path}.type`);
    return problem || shape({ type: text, ...shapes[value.type] })(value, path);
  };

  const LOCALE = oneOf(`
    am ar bg-BG bn-BD bs-BA ca-ES cs-CZ da-DK de-DE el-GR es-419 es-ES et-EE fi-FI fr-CA fr-FR gu-IN
    hi-IN hr-HR hu-HU hy-AM id-ID is-IS it-IT ja-JP ka-GE kk kn-IN ko-KR lt lv-LV mk-MK ml mn mr-IN
    ms-MY my-MM nb-NO nl-NL pa pl-PL pt-BR pt-PT ro-RO ru-RU sk-SK sl-SI so-SO sq-AL sr-RS sv-SE
    sw-TZ ta-IN te-IN th-TH tl tr-TR uk-UA ur vi-VN zh-CN zh-HK zh-TW bg bn bs ca cs da de el es et
    fi fr gu hi hr hu hy id is it ja ka kn ko lv mk mr ms my nb nl pl pt ro ru sk sl so sq sr sv sw
    ta te th tr uk vi zh zh-Hant en`);
  const HEADER_ICON = oneOf(`
    sidebar-left sidebar-right sidebar-open-left sidebar-open-right sidebar-open-left-alt
    sidebar-open-right-alt sidebar-floating-left sidebar-floating-right sidebar-floating-open-left
    sidebar-floating-open-right sidebar-collapse-left sidebar-collapse-right collapse-left
    collapse-right open-left open-right double-chevron-left double-chevron-right home home-alt
    back-small back-large expand-large collapse-large expand-small collapse-small star star-filled
    bug chat-temporary settings-cog grid dots-horizontal dots-vertical dots-horizontal-circle
    dots-vertical-circle menu menu-inverted hamburger history book-open compose share light-mode
    dark-mode close`);
  const ICON = either(
    that((v) => typeof v === "string" && /^lucide:./.test(v), "a lucide: icon"),
    oneOf(`
    agent analytics atom batch bolt book-open book-closed book-clock bug calendar chart check
    check-circle check-circle-filled chevron-left chevron-right circle-question clock compass
    confetti cube desktop document dots-horizontal dots-vertical empty-circle external-link globe
    keys lab images info lifesaver lightbulb mail map-pin maps mobile name notebook notebook-pencil
    page-blank phone play plus profile profile-card reload star star-filled search sparkle
    sparkle-double square-code square-image square-text suitcase settings-slider user wreath write
    write-alt write-alt2`),
  );

  const CONTENT = list(
    byType({
      input_text: { text },
      input_tag: {
        text,
        id: text,
        "group?": text,
        "data?": map(json),
        "interactive?": flag,
      },
    }),
  );
  const ATTACHMENTS = list(
    byType({
      file: { id: text, name: text, mime_type: text },
      image: { id: text, name: text, mime_type: text, preview_url: text },
    }),
  );
  const FONT = shape({
    family: text,
    src: text,
    "weight?": either(text, number(1, 1000)),
    "style?": oneOf("normal italic oblique"),
    "display?": oneOf("auto block swap fallback optional"),
    "unicodeRange?": text,
  });
  const SCHEME = oneOf("light dark");
  const THEME = shape({
    "colorScheme?": SCHEME,
    "typography?": shape({
      "baseSize?": whole(14, 18),
      "fontSources?": list(FONT),
      "fontFamily?": text,
      "fontFamilyMono?": text,
    }),
    "radius?": oneOf("pill round soft sharp"),
    "density?": oneOf("compact normal spacious"),
    "color?": shape({
      "grayscale?": shape({ hue: number(0, 360), tint: whole(0, 9), "shade?": whole(-4, 4) }),
      "accent?": shape({ primary: text, level: whole(0, 3) }),
      "surface?": shape({ background: text, foreground: text }),
    }),
  });

  const HOSTED_API = shape({ getClientSecret: callback });
  const OWN_API = shape({
    url: filled,
    domainKey: filled,
    "fetch?": callback,
    "uploadStrategy?": byType({ two_phase: {}, direct: { uploadUrl: filled } }),
  });
  const API = (value, path) => {
    if (!isPlain(value)) return `${path} must be an object`;
    const given = Object.keys(value).filter((key) => value[key] !== undefined);
    const own = given.filter((key) => /^(url|domainKey|fetch|uploadStrategy)$/.test(key));
    if (own.length && given.includes("getClientSecret")) {
      return `${path} mixes getClientSecret with ${own.join(", ")}`;
    }
    return (own.length ? OWN_API : HOSTED_API)(value, path);
  };

  const HEADER_ACTION = shape({ icon: HEADER_ICON, onClick: callback });
  const OPTIONS = shape({
    api: API,
    "locale?": LOCALE,
    "theme?": (value, path) => (isPlain(value) ? THEME : SCHEME)(value, path),
    "frameTitle?": text,
    "initialThread?": either(nothing, text),
    "onClientTool?": callback,
    "header?": shape({
      "enabled?": flag,
      "title?": shape({ "enabled?": flag, "text?": text }),
      "leftAction?": HEADER_ACTION,
      "rightAction?": HEADER_ACTION,
    }),
    "history?": shape({ "enabled?": flag, "showDelete?": flag, "showRename?": flag }),
    "startScreen?": shape({
      "greeting?": text,
      "prompts?": list(
        shape({
          label: text,
          prompt: (value, path) => (Array.isArray(value) ? CONTENT : text)(value, path),
          "icon?": ICON,
        }),
      ),
    }),
    "threadItemActions?": shape({ "feedback?": flag, "retry?": flag }),
    "composer?": shape({
      "placeholder?": text,
      "attachments?": shape({
        enabled: flag,
        "maxSize?": (value, path) =>
          (isPlain(value) ? map(number(0, Infinity)) : number(0, Infinity))(value, path),
        "maxCount?": whole(0, Infinity),
        "accept?": map(list(text)),
      }),
      "tools?": list(
        shape({
          id: text,
          label: text,
          icon: ICON,
          "shortLabel?": text,
          "placeholderOverride?": text,
          "pinned?": flag,
          "persistent?": flag,
        }),
      ),
      "models?": list(
        shape({
          id: text,
          label: text,
          "description?": text,
          "disabled?": flag,
          "default?": flag,
        }),
      ),
      "dictation?": shape({ enabled: flag }),
    }),
    "disclaimer?": shape({ text, "highContrast?": flag }),
    "entities?": shape({
      "onTagSearch?": callback,
      "showComposerMenu?": flag,
      "onClick?": callback,
      "onRequestPreview?": callback,
    }),
    "commands?": shape({ enabled: flag, "onSearch?": callback, "onSelect?": callback }),
    "widgets?": shape({ "onAction?": callback }),
    "thread?": shape({ "autoScroll?": flag }),
  });

  const MESSAGE = {
    "text?": text,
    "content?": CONTENT,
    "reply?": text,
    "attachments?": ATTACHMENTS,
  };
  const ACTION = shape({ type: text, "payload?": map(json) });
  const PARAMETERS = {
    focusComposer: [],
    setThreadId: [either(nothing, text)],
    sendUserMessage: [
      shape({ ...MESSAGE, "newThread?": flag, "toolChoice?": shape({ id: text }), "model?": text }),
    ],
    setComposerValue: [
      shape({
        ...MESSAGE,
        "files?": list(anything),
        "selectedToolId?": either(nothing, text),
        "selectedModelId?": text,
      }),
    ],
    sendCustomAction: [ACTION, (value, path) => (value === undefined ? null : text(value, path))],
    fetchUpdates: [],
    showHistory: [],
    hideHistory: [],
  };

  /** The path of a string that looks like a secret or a key, or null. */
  const findSecret = (value, path, seen = new Set()) => {
    // The locale sk-SK is no key.
    if (typeof value === "string") return /^(ek_|sk-(?!SK$))/.test(value) ? path : null;
    if (typeof value !== "object" || value === null || seen.has(value)) return null;
    seen.add(value);
    return firstOf(Object.keys(value).map((key) => findSecret(value[key], `${path}.${key}`, seen)));
  };

  /** What is wrong with the options, in one line without their values, or null. */
  const check = (options) => {
    try {
      const secret = findSecret(options, "options");
      if (secret) return `${secret} holds a secret: options must never carry one`;
      const problem = OPTIONS(options, "options");
      if (problem) return problem;
      const attachments = options.composer?.attachments?.enabled;
      if (attachments && options.api.url && !options.api.uploadStrategy) {
        return "options.api.uploadStrategy is missing, and attachments are enabled";
      }
      return null;
    } catch (error) {
      return `options can't be read as JSON: ${error.message}`; // a cycle, a throwing getter
    }
  };

  // ------------------------------------------------------------------------- an own server's API

  const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  const post = (api, body, signal) =>
    (api.fetch || window.fetch).call(window, api.url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });

  const postJson = async (api, body) => {
    const response = await post(api, body);
    const answer = await response.json().catch(() => null);
    if (!response.ok) throw new Error(answer?.message || response.statusText || "Request failed");
    return answer;
  };

  /** POST a streaming call, and again where the real element does; 4xx fails at once. */
  const openStream = async (api, body, signal) => {
    for (let attempt = 0; ; attempt += 1) {
      const response = await post(api, body, signal);
      const type = response.headers.get("Content-Type") || "";
      if (response.ok && /^text\/event-stream\b/i.test(type)) return response;
      response.body?.cancel();
      const refused = response.status >= 400 && response.status < 500;
      if (refused || attempt >= handle.retryDelays.length) {
        const why = response.ok ? "with something other than an event stream" : "with an error";
        throw new Error(`${body.type} was answered ${why} (${response.status})`);
      }
      await sleep(handle.retryDelays[attempt]);
    }
  };

  async function* readStream(response) {
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    let data = [];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines.map((each) => each.replace(/\r$/, ""))) {
        if (line.startsWith("data:")) {
          data.push(line.slice(5).replace(/^ /, ""));
        } else if (line === "") {
          if (!data.length) throw new Error("An empty event: a heartbeat ends with one newline");
          yield JSON.parse(data.join("\n"));
          data = [];
        }
      }
    }
  }

  // ------------------------------------------------------- one element and its talk with its frame

  const STYLE =
    ":host,div{display:block;height:100%;width:100%}iframe{border:0;display:block;height:100%;width:100%}";
  /** An error with one of the names that ChatKit's public errors have. */
  const named = (name, message) => Object.assign(new Error(message), { name });

  const hosts = new WeakMap();
  const live = new Set(); // those with a frame

  class Host {
    constructor(element) {
      this.element = element;
      this.problem = unusable;
      this.options = null;
      this.frame = null;
      this.frameLoads = 0;
      this.left = false; // it was taken out of the document once
      this.isUnmounted = false; // its frame has removed itself
      this.greeted = false; // the frame has said that it listens
      this.waiting = []; // calls made before that
      this.calls = new Map(); // id → {resolve, reject}
      this.streams = new Map(); // id → AbortController
      this.lastId = 0;
      element.attachShadow({ mode: "open" });
    }

    blank(problem) {
      this.problem = problem;
      handle.problems.push(problem);
      console.error(`[chatkit stand-in] stays blank: ${problem}`);
      this.close();
    }

    /** The frame removes itself. Nobody answers the calls that are under way, nor later ones. */
    unmount() {
      live.delete(this);
      this.frame?.parentNode.remove();
      this.frame = null;
      this.isUnmounted = true;
      for (const stream of this.streams.values()) stream.abort();
    }

    refuse() {
      const message = "Domain verification request failed with 401";
      this.emit("error", { error: named("DomainVerificationRequestError", message) });
      this.unmount();
    }

    close() {
      live.delete(this);
      this.frame?.parentNode.remove();
      this.frame = null;
      for (const stream of this.streams.values()) stream.abort();
      for (const call of this.calls.values()) call.reject(new Error("The chat was closed"));
      this.calls.clear();
      this.waiting = [];
    }

    setOptions(options) {
      handle.lastOptions = options;
      if (this.problem) return;
      const problem = check(options);
      if (problem) {
        this.blank(problem);
        const error = named("IntegrationError", problem);
        this.emit("error", { error });
        throw error;
      }
      this.options = options;
      if (this.frame) {
        this.frame.title = options.frameTitle || "Chat";
        if (this.greeted) this.sendOptions();
      } else if (this.element.isConnected && !this.isUnmounted) {
        this.open();
      }
    }

    connected() {
      if (!this.left) {
        // Like the real one: a style element, which a CSP without 'unsafe-inline' blocks.
        const style = document.createElement("style");
        style.textContent = STYLE;
        this.element.shadowRoot.append(style);
      }
      if (this.problem) return;
      if (this.left) this.blank("the element was moved or re-attached: create a new one");
      else if (this.options) this.open();
    }

    disconnected() {
      this.left = true;
      this.close();
    }

    open() {
      const frame = document.createElement("iframe");
      frame.title = this.options.frameTitle || "Chat";
      frame.src = FRAME_URL.href;
      frame.addEventListener("load", () => {
        handle.frameLoads += 1;
        this.frameLoads += 1;
        if (this.frameLoads === 1) this.emit("ready"); // a blocked frame loads, too
      });
      this.frame = frame;
      live.add(this);
      const wrapper = document.createElement("div");
      wrapper.append(frame);
      this.element.shadowRoot.append(wrapper);
    }

    emit(name, detail) {
      const bubbles = name === "ready";
      const event = new CustomEvent(`chatkit.${name}`, { detail, bubbles, composed: bubbles });
      this.element.dispatchEvent(event);
    }

    // ---- messages

    post(message) {
      this.frame.contentWindow.postMessage({ chatkitStandin: 1, ...message }, FRAME_URL.origin);
    }

    sendOptions() {
      const { api, ...rest } = this.options;
      const shown = JSON.stringify(rest, (_key, value) =>
        typeof value === "function" ? true : value,
      );
      const mode = api.url ? "own" : "hosted";
      this.post({ kind: "options", mode, options: JSON.parse(shown) });
    }

    call(name, args) {
      if (handle.missing.includes(name)) {
        throw named("IntegrationError", `ChatKit command "${name}" is not available`);
      }
      if (this.isUnmounted) return new Promise(() => {});
      if (this.problem) return Promise.reject(new Error(this.problem));
      if (this.left) return Promise.reject(new Error("The element is not in the document"));
      if (!this.options) return Promise.reject(new Error(`${name}() before setOptions()`));
      const rules = PARAMETERS[name];
      const wrong = rules.map((rule, index) =>
        rule(args[index], `${name}() argument ${index + 1}`),
      );
      if (firstOf(wrong)) return Promise.reject(new TypeError(firstOf(wrong)));
      return new Promise((resolve, reject) => {
        this.lastId += 1;
        this.calls.set(this.lastId, { resolve, reject });
        // Focus crosses into another site's frame only from its own document.
        const message = { kind: "call", id: this.lastId, name, args: args.slice(0, rules.length) };
        const send = () => {
          if (name === "focusComposer") this.frame.focus();
          this.post(message);
        };
        if (this.greeted) send();
        else this.waiting.push(send);
      });
    }

    receive(message) {
      if (message.kind === "hello") {
        if (handle.refuses) {
          this.refuse();
          return;
        }
        this.greeted = true;
        this.sendOptions();
        for (const send of this.waiting.splice(0)) send();
      } else if (message.kind === "event") {
        const { detail, name } = message;
        const isError = name === "error";
        this.emit(name, isError ? { error: named(detail.name, detail.message) } : detail);
      } else if (message.kind === "reply") {
        const call = this.calls.get(message.id);
        this.calls.delete(message.id);
        if (message.error === undefined) call?.resolve();
        else call?.reject(new Error(message.error));
      } else if (message.kind === "abort") {
        this.streams.get(message.id)?.abort();
      } else if (message.kind === "ask") {
        this.answer(message);
      }
    }

    /** The frame asked for something that only the page can do. */
    async answer({ id, name, args }) {
      const { frame } = this;
      let reply;
      try {
        reply = { value: await this[`ask_${name}`](...args, id) };
      } catch (error) {
        const aborted = error?.name === "AbortError";
        reply = { error: String(error?.message || error), aborted };
      }
      if (frame && frame === this.frame) this.post({ kind: "reply", id, ...reply });
    }

    async ask_secret(current) {
      const secret = await this.options.api.getClientSecret(current);
      if (typeof secret === "string" && secret !== "") return secret;
      throw new Error("getClientSecret must resolve to a non-empty string");
    }

    ask_json(body) {
      return postJson(this.options.api, body);
    }

    async ask_stream(body, id) {
      const controller = new AbortController();
      this.streams.set(id, controller);
      try {
        const response = await openStream(this.options.api, body, controller.signal);
        for await (const event of readStream(response)) this.post({ kind: "chunk", id, event });
      } finally {
        this.streams.delete(id);
      }
    }

    async ask_tool(call) {
      if (!this.options.onClientTool) throw new Error("No onClientTool handler");
      const result = await this.options.onClientTool(call);
      return JSON.parse(JSON.stringify(result ?? {}));
    }

    async ask_widget(action, item) {
      await this.options.widgets?.onAction?.(action, item);
    }

    ask_click(side) {
      this.options.header?.[side]?.onClick();
    }
  }

  window.addEventListener("message", (event) => {
    if (event.data?.chatkitStandin !== 1) return;
    for (const host of live) {
      if (event.source === host.frame.contentWindow && event.origin === FRAME_URL.origin) {
        host.receive(event.data);
      }
    }
  });

  class ChatKitStandIn extends HTMLElement {
    constructor() {
      super();
      hosts.set(this, new Host(this));
      handle.elements.push(this);
    }

    connectedCallback() {
      hosts.get(this).connected();
    }

    disconnectedCallback() {
      hosts.get(this).disconnected();
    }

    setOptions(options) {
      hosts.get(this).setOptions(options);
    }
  }

  for (const name of Object.keys(PARAMETERS)) {
    const method = {
      [name](...args) {
        return hosts.get(this).call(name, args);
      },
    };
    Object.defineProperty(ChatKitStandIn.prototype, name, {
      value: method[name],
      configurable: true,
      writable: true,
    });
  }

  const handle = {
    elements: [],
    frameLoads: 0,
    lastOptions: null,
    problems: unusable ? [unusable] : [],
    retryDelays: [100, 200, 400, 800, 1600],
    missing: [],
    refuses: false,
    ...window.__chatkitStandin,
    check,
    unmount: (element) => hosts.get(element).unmount(),
    refuse: (element) => hosts.get(element).refuse(),
    of: (element) => {
      const { frameLoads, options, problem } = hosts.get(element);
      return { frameLoads, options, problem };
    },
  };
  window.__chatkitStandin = handle;
  if (unusable) console.error(`[chatkit stand-in] stays blank: ${unusable}`);
  customElements.define(TAG, ChatKitStandIn);
})();
