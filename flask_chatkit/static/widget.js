// The widget: fetched by the loader when a visitor wants to chat. It opens and closes the panel, makes
// ChatKit's element, gets its secrets, follows the page's light or dark, and says so when something
// does not work.
(() => {
  const api = window.FlaskChatKit;
  if (api.act) return;

  const PATIENCE = 15_000; // milliseconds for OpenAI's script, and for the element's first call
  const HURRY = 8_000; // the same where the chat can go on without OpenAI's element
  const DRESSING = 2_000; // milliseconds that the first opening waits for style and words
  const SOON = 3_000; // milliseconds that a secret which was asked for early is handed out
  const MARGIN = 30_000; // a secret that has less left is not handed out again
  const LONGEST_WAIT = 60; // seconds of Retry-After that a visitor is kept waiting
  const SMALL = matchMedia("(max-width: 30rem), (max-height: 30rem)");
  const AA = 4.5; // the contrast ratio of WCAG 2 that text is readable with

  const TEXT = {
    agree: "Start the chat",
    busy: "The chat is busy. Please try again in a moment.",
    close: "Close chat",
    consent: "To chat here, a script is loaded from OpenAI, and what you write is sent there.",
    contact: "Contact us another way",
    dismiss: "Dismiss",
    ended: "This chat has ended and is no longer available.",
    failed: "The chat could not be loaded.",
    history: "Earlier chats",
    limited: "You have asked for a lot. Please try again later.",
    loading: "The chat is loading…",
    newChat: "New chat",
    offline: "The chat can't be reached. Please check your connection.",
    page: "Open the chat on its own page",
    retry: "Try again",
    signIn: "Please sign in to chat.",
    silent: "The chat did not answer.",
    unread: "There is a new answer in the chat.",
  };
  // Those that there are words in (static/lang), and all that ChatKit speaks.
  const LANGUAGES =
    "ar bn cs da de el en es fr hi id it ja ko nl pl pt ro ru sv tr uk ur vi zh zh-TW";
  const LOCALES = `am ar bg bg-BG bn bn-BD bs bs-BA ca ca-ES cs cs-CZ da da-DK de de-DE el el-GR en es
    es-419 es-ES et et-EE fi fi-FI fr fr-CA fr-FR gu gu-IN hi hi-IN hr hr-HR hu hu-HU hy hy-AM id
    id-ID is is-IS it it-IT ja ja-JP ka ka-GE kk kn kn-IN ko ko-KR lt lv lv-LV mk mk-MK ml mn mr
    mr-IN ms ms-MY my my-MM nb nb-NO nl nl-NL pa pl pl-PL pt pt-BR pt-PT ro ro-RO ru ru-RU sk sk-SK
    sl sl-SI so so-SO sq sq-AL sr sr-RS sv sv-SE sw sw-TZ ta ta-IN te te-IN th th-TH tl tr tr-TR uk
    uk-UA ur vi vi-VN zh zh-CN zh-HK zh-Hant zh-TW`;
  // Of the header's icons, drawn with strokes in 24 by 24.
  const ICONS = {
    "back-large": "M15 5l-7 7 7 7",
    close: "M6 6l12 12M18 6L6 18",
    compose:
      "M12 5H6.5A1.5 1.5 0 0 0 5 6.5v11A1.5 1.5 0 0 0 6.5 19h11a1.5 1.5 0 0 0 1.5-1.5V12M18 4.3a1.6 1.6 0 0 1 2.3 2.3L13 14l-3.2.9.9-3.2z",
    dots: "M6 12h.01M12 12h.01M18 12h.01",
    grid: "M5 5h5v5H5zM14 5h5v5h-5zM5 14h5v5H5zM14 14h5v5h-5z",
    history: "M4 12a8 8 0 1 0 2.4-5.7L4 8.5M4 4v4.5h4.5M12 8v4.2l3 1.8",
    home: "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
    "light-mode": "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 1 1 0 16",
    menu: "M4 7h16M4 12h16M4 17h16",
    "open-right": "M5 5h6M5 5v14h14v-6M14 5h5v5M19 5l-9 9",
    share: "M12 15V4M8 7.5L12 4l4 3.5M5 12v8h14v-8",
    star: "M12 4l2.5 5.2 5.5.7-4 4 1 5.6-5-2.7-5 2.7 1-5.6-4-4 5.5-.7z",
  };
  // What looks alike enough; the rest of ChatKit's sixty are three dots.
  const ALIKE = [
    [/^home/, "home"],
    [/^(back|.*chevron-left)/, "back-large"],
    [/^(sidebar|menu|hamburger|collapse)/, "menu"],
    [/^(open|expand)/, "open-right"],
    [/^star/, "star"],
    [/mode$/, "light-mode"],
  ];

  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const absolute = (url) => new URL(url, location).href;
  const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const icon = (name) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", ICONS[name]);
    svg.append(path);
    return svg;
  };
  const timeout = (promise, ms, message) =>
    Promise.race([promise, sleep(ms).then(() => Promise.reject(new Error(message)))]);

  // Storage that is blocked, or full, is storage that forgets: it then holds for this page.
  const storage = (kind) => {
    const held = {};
    return {
      get(key) {
        try {
          return window[kind].getItem(`chatkit:${key}`) ?? held[key] ?? null;
        } catch {
          return held[key] ?? null;
        }
      },
      set(key, value) {
        try {
          delete held[key];
          if (value === null) window[kind].removeItem(`chatkit:${key}`);
          else window[kind].setItem(`chatkit:${key}`, value);
        } catch {
          held[key] = value;
        }
      },
    };
  };
  const tab = storage("sessionStorage");
  const browser = storage("localStorage");

  // --- languages ---------------------------------------------------------------------------------

  const closest = (name, known) => {
    const all = known.split(/\s+/);
    const parts = String(name).toLowerCase().replace("_", "-").split("-");
    const [language] = parts;
    const tries =
      language === "zh" && /hant|tw|hk/.test(name.toLowerCase())
        ? ["zh-tw"]
        : [parts.join("-"), `${language}-${parts.at(-1)}`, language];
    return tries.map((one) => all.find((each) => each.toLowerCase() === one)).find(Boolean);
  };

  // The option or Flask-Babel, which are in the options, then the page; a browser's own is found by
  // ChatKit itself.
  const localeOf = ({ options }) =>
    options.locale ?? closest(document.documentElement.lang || "-", LOCALES);

  const languageOf = (config) => {
    const wanted = localeOf(config);
    for (const name of wanted ? [wanted] : (navigator.languages ?? [])) {
      const found = closest(name, LANGUAGES);
      if (found) return found;
    }
    return "en";
  };

  // What the widget says: what it has found, and what the site says otherwise, over the English.
  const spell = ({ strings }, language, { widget, chat } = {}) => {
    const { chat: said, ...own } = strings ?? {};
    return { language, widget: { ...TEXT, ...widget, ...own }, chat: { ...chat, ...said } };
  };

  const languages = {};
  const wordsOf = async (config) => {
    const language = languageOf(config);
    languages[language] ??=
      language === "en"
        ? Promise.resolve({})
        : fetch(new URL(`lang/${language}.json`, absolute(config.widget)), { credentials: "omit" })
            .then((response) => response.json())
            .catch(() => {
              delete languages[language];
              return {};
            });
    const found = await languages[language];
    return spell(config, found.widget ? language : "en", found);
  };

  // --- secrets -----------------------------------------------------------------------------------

  const dead = new Set(); // secrets that were reported as run out
  const pending = new Map(); // one request serves all who wait for the same chat

  const recall = (config) => {
    try {
      return JSON.parse(tab.get(config.page));
    } catch {
      return null;
    }
  };
  const isFresh = (entry) =>
    Boolean(entry?.secret) && !dead.has(entry.secret) && entry.until > Date.now();
  const remember = (config, entry) => tab.set(config.page, entry && JSON.stringify(entry));

  // An error that `words` has a text for, or that the server told in words of its own.
  const failure = (reason, more) => Object.assign(new Error(reason), { reason, ...more });

  // Whether the visitor is known by a token: of another site's page, unless it may chat as whoever is
  // signed in on the kit's.
  const isByToken = ({ embedded, login }) => embedded && !login;

  const csrfToken = ({ embedded }) => {
    // Another site's page keeps its token to itself.
    if (embedded) return null;
    const token = document.querySelector('meta[name="csrf-token"], input[name="csrf_token"]');
    return token && (token.content ?? token.value);
  };

  const ask = async (config, url, method) => {
    const headers = { Accept: "application/json" };
    if (method === "POST") {
      headers["Content-Type"] = "application/json";
      const token = csrfToken(config);
      if (token) headers["X-CSRFToken"] = token;
    }
    // On another site's page a cookie would be a third party's: a signed token stands in its place.
    const visitor = `visitor:${config.base}`;
    if (isByToken(config)) {
      // What else is kept there would be no header, and fetch would not even try.
      const kept = browser.get(visitor) ?? "";
      headers["X-ChatKit-Visitor"] = /^[\w.-]*$/.test(kept) ? kept : "";
    }
    let response;
    try {
      response = await fetch(url, {
        method,
        headers,
        body: method === "POST" ? "{}" : undefined,
        // Also to a kit on a subdomain; which origins may, the server says.
        credentials: isByToken(config) ? "omit" : "include",
        cache: "no-store",
        signal: AbortSignal.timeout?.(30_000),
      });
    } catch {
      throw failure("offline");
    }
    // What stands between may answer for the site, with a page of its own.
    const body = await response.json().catch(() => null);
    if (response.ok && body && typeof body === "object") {
      // A visitor for this answer only does not replace the one whom the next one may know.
      if (isByToken(config) && typeof body.visitor === "string" && !body.temporary)
        browser.set(visitor, body.visitor);
      return body;
    }
    const told = typeof body?.message === "string" ? body.message : null;
    const wait = Number(response.headers.get("Retry-After"));
    const hasEnded = response.headers.get("X-ChatKit-Reason") === "workflow_ended";
    const { code } = body?.error ?? {};
    throw failure(hasEnded ? "ended" : "failed", { told, code, status: response.status, wait });
  };

  // One mint after the other, in all tabs: the first one's answer brings the cookie by which the
  // next ones are the same visitor's.
  const inTurn = (work) => navigator.locks?.request("chatkit", work) ?? work();

  // Waits once as long as the server says, if that is not too long, and asks again.
  const post = async (config, url) => {
    const once = () => inTurn(() => ask(config, url, "POST"));
    try {
      return await once();
    } catch (error) {
      if (!(error.wait > 0 && error.wait <= LONGEST_WAIT)) throw error;
      await sleep(error.wait * 1000);
      return once();
    }
  };

  // The secret of an earlier page of this tab, if it is still good and still this visitor's: after a
  // login, a logout or a lost cookie the server does not know the session any more.
  const reuse = async (config, entry) => {
    if (!isFresh(entry)) return null;
    const url = `${config.page}session/${entry.session}/validate`;
    const answer = await ask(config, url, "GET").catch(() => null);
    return answer?.status === "active" ? entry.secret : null;
  };

  // Whether a thread of a served chat is that of the visitor whom a secret is for.
  const owns = async (config, secret, thread) => {
    const token = csrfToken(config);
    const response = await fetch(`${config.page}api`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Authorization: `Bearer ${secret}`,
        ...(token && { "X-CSRFToken": token }),
      },
      body: JSON.stringify({ type: "threads.get_by_id", params: { thread_id: thread } }),
      credentials: isByToken(config) ? "omit" : "include",
    }).catch(() => null);
    return response?.ok ?? false;
  };

  const mint = async (config, entry) => {
    let minted;
    if (entry) {
      minted = await post(config, `${config.page}session/${entry.session}/refresh`).catch(
        (error) => {
          // Not this visitor's session, or not one any more.
          if (error.status !== 404) throw error;
        },
      );
    }
    const kept = minted ? null : keptThread(config);
    // Somebody else's thread is not this visitor's to go on with.
    if (!minted) keepThread(config, null);
    minted ??= await post(config, `${config.page}secret`);
    const secret = minted.client_secret;
    if (typeof secret !== "string" || !secret || !(minted.expires_in > 0)) throw failure("failed");
    remember(config, {
      secret,
      session: minted.session_id,
      until: Date.now() + minted.expires_in * 1000 - Math.min(MARGIN, minted.expires_in * 250),
    });
    // Who has signed in since keeps the conversation: a served chat's threads come along.
    if (kept && config.served && (await owns(config, secret, kept))) keepThread(config, kept);
    return secret;
  };

  const obtain = async (config) => {
    const entry = recall(config);
    return (await reuse(config, entry)) ?? mint(config, entry);
  };

  // What ChatKit's element calls: with null first, later with the secret that is running out.
  const getClientSecret = async (config, current) => {
    if (current) {
      dead.add(current);
      const entry = recall(config);
      // Only what refreshing needs stays, so that the next page can't hand the dead one out either.
      if (entry?.secret === current) remember(config, { session: entry.session });
    }
    // Twice: the request that is under way may bring the very secret that is running out.
    for (let attempt = 0; attempt < 2; attempt += 1) {
      if (!pending.has(config.page)) {
        const request = obtain(config).finally(() => pending.delete(config.page));
        pending.set(config.page, request);
      }
      const secret = await pending.get(config.page);
      if (!dead.has(secret)) return secret;
    }
    throw failure("failed");
  };

  // Asked for beside the script, since each takes a while, and handed out once, and soon: later the
  // visitor may be another one, and what has failed may work.
  const askEarly = (widget) => {
    const secret = getClientSecret(widget.config, null);
    widget.early = { secret, until: Date.now() + SOON };
    // Who hands it out tells of a failure.
    return secret.catch(() => {});
  };
  const firstSecret = (widget) => {
    const { config, early } = widget;
    widget.early = null;
    return early?.until > Date.now() ? early.secret : getClientSecret(config, null);
  };

  // The thread that a page of this tab was in, for the next one.
  const keepThread = (config, id) => tab.set(`thread:${config.page}`, id);
  const keptThread = (config) => tab.get(`thread:${config.page}`);

  // --- what the element calls --------------------------------------------------------------------

  const hostedApi = (widget) => {
    const { element } = widget;
    return {
      getClientSecret: async (current) => {
        clearTimeout(widget.watchdog);
        try {
          const { config } = widget;
          const secret = await (current ? getClientSecret(config, current) : firstSecret(widget));
          if (widget.element === element) settle(widget);
          return secret;
        } catch (error) {
          if (widget.element === element) fail(widget, error);
          throw error;
        }
      },
    };
  };

  const servedApi = (widget) => {
    const { page, domainKey, upload } = widget.config;
    return {
      url: `${page}api`,
      domainKey,
      fetch: (input, init) => speak(widget, input, init),
      ...(upload && {
        uploadStrategy: {
          type: upload,
          ...(upload === "direct" && { uploadUrl: `${page}attachments` }),
        },
      }),
    };
  };

  // What the element of a served chat calls in fetch's place. A token that is not good any more, or
  // not this visitor's, is told by a 401, and made anew once.
  const speak = async (widget, input, init) => {
    const { config, element } = widget;
    const credentials = isByToken(config) ? "omit" : "include";
    const request = new Request(input, { ...init, credentials });
    const csrf = csrfToken(config);
    if (csrf) request.headers.set("X-CSRFToken", csrf);
    const send = (token) => {
      const copy = request.clone();
      copy.headers.set("Authorization", `Bearer ${token}`);
      return fetch(copy);
    };
    clearTimeout(widget.watchdog);
    try {
      const entry = recall(config);
      const token = isFresh(entry) ? entry.secret : await getClientSecret(config, null);
      const response = await send(token);
      const answer =
        response.status === 401 ? await send(await getClientSecret(config, token)) : response;
      if (widget.element === element) settle(widget);
      return answer;
    } catch (error) {
      // Stop is an abort, and a chat that has shown something tells of its own failures.
      if (error.name !== "AbortError" && widget.element === element && !widget.works) {
        fail(widget, error instanceof TypeError ? failure("offline") : error);
      }
      throw error;
    }
  };

  // The page's own functions, as they are when they are asked for: a widget's, then its chat's.
  const own = ({ root, config }, kind, name) =>
    api.get(root.id)[kind][name] ?? api.get(config.chat)[kind][name];

  const handlersOf = (widget) => ({
    onClientTool: async ({ name, params }) => {
      const tool = own(widget, "tools", name);
      if (!tool) throw new Error(`this page has no tool ${JSON.stringify(name)}`);
      return (await tool(params)) ?? {};
    },
    widgets: {
      onAction: async (action, item) => own(widget, "actions", action.type)?.(action.payload, item),
    },
  });

  // The server has checked the addresses of its own widgets; markup that poses as one has it not.
  const leads = (href) => {
    try {
      return href && /^(https?|mailto|tel):$/.test(new URL(href, location).protocol);
    } catch {
      return false;
    }
  };

  // A header's button leads somewhere, or calls what the page has declared for it.
  const press = (widget, { href, action }) => {
    if (leads(href)) location.assign(href);
    else own(widget, "actions", action)?.({}, null);
  };

  const headerOf = (widget) => {
    const { header } = widget.config.options;
    if (widget.bar && !widget.bare) return { enabled: false };
    const shown = { ...header };
    for (const side of ["leftAction", "rightAction"]) {
      const button = shown[side];
      if (!button) continue;
      shown[side] = { icon: button.icon, onClick: () => press(widget, button) };
      // ChatKit's own has no place for a label, and stays blank if there is one.
      if (button.label && "builtin" in widget.root.dataset) shown[side].label = button.label;
    }
    if (widget.bare) {
      const side = shown.rightAction ? "leftAction" : "rightAction";
      shown[side] = { icon: "close", onClick: () => hide(widget) };
    }
    return header || widget.bare ? shown : undefined;
  };

  const optionsOf = (widget) => {
    const { config, theme, thread } = widget;
    const options = {
      ...config.options,
      ...handlersOf(widget),
      locale: localeOf(config),
      header: headerOf(widget),
      theme,
      api: config.served ? servedApi(widget) : hostedApi(widget),
    };
    if (thread !== undefined) options.initialThread = thread;
    for (const name of ["header", "locale"]) if (options[name] === undefined) delete options[name];
    return options;
  };

  // --- light, dark and the site's look -----------------------------------------------------------

  const night = matchMedia("(prefers-color-scheme: dark)");

  const scheme = () => {
    for (const node of [document.documentElement, document.body]) {
      const said = node.dataset.theme ?? node.dataset.bsTheme;
      if (said === "dark" || said === "light") return said;
      for (const name of ["dark", "light"]) if (node.classList.contains(name)) return name;
    }
    const declared = getComputedStyle(document.documentElement).colorScheme;
    if (declared === "dark" || declared === "light") return declared;
    return night.matches ? "dark" : "light";
  };

  // Three numbers from 0 to 1 of a colour, whatever the stylesheet calls it, and how opaque it is.
  const read = (root, value) => {
    const probe = make("span", { hidden: true });
    root.append(probe);
    probe.style.color = `color-mix(in srgb, ${value}, ${value})`;
    const said = probe.style.color && getComputedStyle(probe).color;
    probe.remove();
    const [red, green, blue, alpha = 1] = (said.match(/[\d.e+-]+/g) ?? []).map(Number);
    if (blue === undefined) return null;
    const colour = [red, green, blue].map((part) => Math.min(1, Math.max(0, part)));
    return Object.assign(colour, { alpha });
  };
  const css = (colour) => `rgb(${colour.map((part) => Math.round(part * 255)).join(", ")})`;
  const luminance = (colour) =>
    colour
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const inkOn = (ground) =>
    [
      [0, 0, 0],
      [1, 1, 1],
    ].sort((one, other) => contrast(other, ground) - contrast(one, ground))[0];
  // The colour, moved as little as it takes towards black or white until it reads on the ground.
  const legible = (colour, ground) => {
    const ink = inkOn(ground);
    for (let share = 0; share < 1; share += 0.02) {
      const mixed = colour.map((part, index) => part + (ink[index] - part) * share);
      // As it is written, which is rounded.
      const written = mixed.map((part) => Math.round(part * 255) / 255);
      if (contrast(written, ground) >= AA) return written;
    }
    return ink;
  };

  // Where the usual stylesheets keep what a chat needs of a site's look.
  const PRESETS = {
    bootstrap: {
      primary: "--bs-primary",
      background: "--bs-body-bg",
      foreground: "--bs-body-color",
      radius: "--bs-border-radius",
      family: "--bs-body-font-family",
    },
    pico: {
      primary: "--pico-primary-background",
      background: "--pico-background-color",
      foreground: "--pico-color",
      radius: "--pico-border-radius",
      family: "--pico-font-family",
    },
    shadcn: {
      primary: "--primary",
      background: "--background",
      foreground: "--foreground",
      radius: "--radius",
      family: "--font-sans",
    },
    plain: {},
  };
  const presetOf = (style, asked) =>
    asked === "auto"
      ? (Object.keys(PRESETS).find((name) => {
          const { primary, background } = PRESETS[name];
          return primary && style.getPropertyValue(primary) && style.getPropertyValue(background);
        }) ?? "plain")
      : asked;

  // What the first of some custom properties says that says anything.
  const property = (style, ...names) => {
    const values = names.map((name) => name && style.getPropertyValue(name).trim());
    const value = values.find(Boolean);
    // Of shadcn's older themes: the parts of an hsl().
    return /^[\d.]+(deg)? [\d.]+% [\d.]+%$/.test(value) ? `hsl(${value})` : value;
  };

  const backdrop = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = read(at, getComputedStyle(at).backgroundColor);
      if (colour?.alpha > 0.5) return colour;
    }
    return null;
  };

  // On a plain page what its buttons or links look like is its accent.
  const ownAccent = (root) => {
    const told = getComputedStyle(root).accentColor;
    if (told && told !== "auto") return told;
    const outside = (selector) =>
      [...document.querySelectorAll(selector)].find((node) => !node.closest(".chatkit"));
    const button = outside("[type=submit], button, .button, .btn");
    const ground = button && getComputedStyle(button).backgroundColor;
    const [red, green, blue] = ground ? read(button, ground) : [];
    // Grey is what a browser paints a button that nobody has.
    if (Math.max(red, green, blue) - Math.min(red, green, blue) > 0.15) return ground;
    const link = outside("main a[href], a[href]");
    return link && getComputedStyle(link).color;
  };

  const roundness = (value) => {
    if (/^(pill|round|soft|sharp)$/.test(value)) return value;
    const [, number, unit] = /^([\d.]+)(px|r?em)?$/.exec(value) ?? [];
    if (number === undefined) return undefined;
    const pixels = number * (unit && unit !== "px" ? 16 : 1);
    return pixels < 1 ? "sharp" : pixels < 7 ? "soft" : pixels < 17 ? "round" : "pill";
  };

  // `wanted` is the light or dark that was asked for, whatever the site is in, and `surface` the
  // one that is an option.
  const siteTheme = ({ root, config }, wanted, surface) => {
    const style = getComputedStyle(root);
    const preset = PRESETS[presetOf(style, config.preset)];
    // What is said to the widget counts before what is said to the site's own style.
    const told = (known, ...names) =>
      property(style, ...names.map((name) => `--chatkit-${name}`), known);
    const colour = (value) => value && read(root, value);
    // The widget has a text colour of its own; the site's is that of what surrounds it.
    const around = getComputedStyle(root.parentElement ?? root);
    const paper = { dark: [0.12, 0.12, 0.12], light: [1, 1, 1] };
    const here =
      colour(surface?.background) ??
      colour(told(preset.background, "bg", "background")) ??
      backdrop(root.parentElement) ??
      paper[scheme()];
    const own = luminance(here) < 0.18 ? "dark" : "light";
    const fits = surface || !wanted || wanted === own;
    const ground = fits ? here : paper[wanted];
    const ink = colour(told(preset.foreground, "text", "foreground")) ?? colour(around.color);
    const accent = colour(told(preset.primary, "primary", "accent") ?? ownAccent(root));
    const radius = roundness(told(preset.radius, "radius"));
    const fontFamily = told(preset.family, "font", "font-family") ?? around.fontFamily;
    const baseSize = Math.round(Number.parseFloat(around.fontSize));
    return {
      colorScheme: own,
      color: {
        ...(accent && { accent: { primary: css(legible(accent, ground)), level: 1 } }),
        ...(fits && {
          surface: { background: css(ground), foreground: css(legible(ink ?? ground, ground)) },
        }),
      },
      ...(radius && { radius }),
      // The closest that ChatKit has.
      typography: { fontFamily, baseSize: Math.min(18, Math.max(14, baseSize)) },
    };
  };

  // What a site has painted its widgets with is the conversation's ground too, without a seam.
  const painted = ({ root }) => {
    const style = getComputedStyle(root);
    const [ground, ink] = ["--chatkit-bg", "--chatkit-text"].map((name) => {
      const value = property(style, name);
      return value && read(root, value);
    });
    if (!ground) return undefined;
    const foreground = css(legible(ink || inkOn(ground), ground));
    return { color: { surface: { background: css(ground), foreground } } };
  };

  const TOUCH = matchMedia("(pointer: coarse)");

  const themeOf = (widget) => {
    const { config, override } = widget;
    const theme = { colorScheme: scheme() };
    const { colorScheme: asked, ...given } = config.options.theme ?? {};
    const { colorScheme: now, ...told } =
      typeof override === "string" ? { colorScheme: override } : (override ?? {});
    const wanted = now === "auto" ? undefined : (now ?? asked);
    for (const more of [
      config.preset ? siteTheme(widget, wanted, given.color?.surface) : painted(widget),
      given,
      told,
    ]) {
      const { color, typography } = theme;
      Object.assign(theme, more);
      if (color && more?.color) theme.color = { ...color, ...more.color };
      if (typography && more?.typography) theme.typography = { ...typography, ...more.typography };
    }
    if (wanted) theme.colorScheme = wanted;
    // An iPhone zooms into smaller text when it is written into.
    if (TOUCH.matches && theme.typography?.baseSize < 16) {
      theme.typography = { ...theme.typography, baseSize: 16 };
    }
    return theme;
  };

  // What surrounds the conversation looks as it does.
  const dress = ({ root, theme, panel, body }) => {
    root.dataset.scheme = theme.colorScheme;
    const { accent, surface } = theme.color ?? {};
    const ground = accent && read(root, accent.primary);
    const set = ({ style }, name, value) => {
      if (value) style.setProperty(name, value);
      else style.removeProperty(name);
    };
    set(root, "--_surface", surface?.background);
    set(root, "--_text", surface?.foreground);
    const place = panel ?? body;
    set(place, "--_accent", accent?.primary);
    set(place, "--_auto", ground && css(inkOn(ground)));
    const { fontFamily } = theme.typography ?? {};
    set(place, "font-family", fontFamily && `${fontFamily}, system-ui, sans-serif`);
  };

  // --- what a visitor is told --------------------------------------------------------------------

  const emit = (widget, type, detail) => {
    const { root, config } = widget;
    const init = { detail: { chat: config.chat, id: root.id, ...detail } };
    const whole = `chatkit.${type}`;
    root.dispatchEvent(new CustomEvent(whole, { bubbles: true, ...init }));
    for (const name of new Set([config.chat, root.id])) {
      // Who listens to a chat may say it either way.
      for (const said of [type, whole]) api.get(name).dispatchEvent(new CustomEvent(said, init));
    }
  };

  const become = (widget, state, detail) => {
    if (widget.root.dataset.state === state) return;
    widget.root.dataset.state = state;
    // These two are no news to anybody.
    if (!/loading|idle/.test(state)) emit(widget, state, detail);
  };

  const tell = ({ notice, works, bar }, ...parts) => {
    const isHeld = notice.contains(document.activeElement);
    notice.classList.toggle("chatkit-strip", Boolean(works));
    notice.replaceChildren(...parts);
    // The focus does not fall out of the chat with the button that had it.
    if (isHeld) (parts.length ? notice : bar?.querySelector(".chatkit-close"))?.focus();
  };
  const say = (text, className = "") => make("p", { textContent: text, className });
  const button = (text, onclick) => make("button", { type: "button", textContent: text, onclick });

  const settle = (widget) => {
    const isHeld = holdsFocus(widget);
    if (!widget.works) widget.bell?.resolve();
    widget.works = true;
    tell(widget);
    become(widget, "ready");
    arrange(widget);
    enter(widget, isHeld);
  };

  // What the server says in words of its own is English.
  const CODES = {
    rate_limited: "limited",
    unauthenticated: "signIn",
    upstream_timeout: "busy",
    upstream_unavailable: "busy",
  };
  const textOf = ({ words, config }, { reason, told, code }) => {
    const key = CODES[code] ?? reason;
    const isKnown = CODES[code] || reason === "ended";
    const isOurs = !told || (isKnown && (words.language !== "en" || config.strings?.[key]));
    return isOurs ? (words.widget[key] ?? words.widget.failed) : told;
  };

  // What is probably the matter, for who develops the site; and the check of `flask chatkit doctor`
  // that says the same, in the same words.
  const causeOf = ({ config }, { reason, told, code }) => {
    const { origin } = new URL(config.script, location);
    for (const [uri, directive] of blocked) {
      if (!uri.startsWith(origin)) continue;
      return [`The page's Content-Security-Policy blocks ${uri}: see ${directive}.`, "csp"];
    }
    if (!isSecureContext) return ["ChatKit needs a secure context: https, or localhost.", "https"];
    if (reason === "script") return [`${config.script} did not load: is it blocked, or offline?`];
    if (reason === "silent" && globalThis.crossOriginIsolated) {
      return ["The page's Cross-Origin-Embedder-Policy keeps OpenAI's frame out.", "coep"];
    }
    if (reason === "silent") {
      const cause = `ChatKit's frame did not call back: is ${location.hostname} in OpenAI's domain allow-list,
        in the organisation of the key?`;
      return [cause, "allow-list"];
    }
    if (reason === "ended") {
      const cause = `OpenAI has ended hosted workflows: set CHATKIT_SERVER in place of CHATKIT_WORKFLOW_ID.`;
      return [cause, "workflow"];
    }
    const check = code === "misconfigured" || code === "upstream_rejected" ? "api-key" : undefined;
    return [told ?? "The site's log and the browser's network panel tell more.", check];
  };

  const contactOf = ({ config, words }) => {
    if (!leads(config.contact?.href)) return [];
    const { href, label = words.widget.contact } = config.contact;
    return [make("a", { href, textContent: label })];
  };
  const waysOut = (widget) => {
    const { config, words } = widget;
    const link = make("a", { href: config.page, textContent: words.widget.page });
    const isHere = new URL(link.href).pathname === location.pathname;
    return [...(isHere ? [] : [link]), ...contactOf(widget)];
  };

  const fail = (widget, error) => {
    const { words, config } = widget;
    clearTimeout(widget.watchdog);
    const text = textOf(widget, error);
    if (widget.works) {
      // A conversation is on the screen: it stays, and the element asks again when it must.
      const dismiss = button(words.widget.dismiss, () => {
        tell(widget);
        widget.enters = true;
        enter(widget, true);
      });
      tell(widget, say(text), make("p", { className: "chatkit-actions" }, dismiss));
      return;
    }
    const [cause, check] = causeOf(widget, error);
    // A visitor can do nothing with the cause; a developer looks here.
    const more = `See ${check ? `the check ${check} of ` : ""}flask chatkit doctor.`;
    const told = `the chat ${config.chat} did not start. ${cause}`.replace(/\s+/g, " ");
    console.warn(`flask_chatkit: ${told}${config.debug ? ` ${more}` : ""}`);
    const retry = button(words.widget.retry, () => {
      widget.enters = true;
      begin(widget);
    });
    // A chat that has ended comes back neither by trying again nor on its own page.
    const ways = error.reason === "ended" ? contactOf(widget) : [retry, ...waysOut(widget)];
    tell(
      widget,
      say(text),
      ...(config.debug ? [say(cause, "chatkit-cause")] : []),
      ...(ways.length ? [make("p", { className: "chatkit-actions" }, ...ways)] : []),
    );
    widget.bell?.reject(new Error(text));
    widget.bell = null;
    become(widget, "failed", { reason: error.code ?? error.reason });
  };

  // A policy that forbids what the chat needs says so itself, before there is a widget perhaps.
  const blocked = new Map();
  document.addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective }) => {
    blocked.set(blockedURI, effectiveDirective);
  });
  window.addEventListener("online", () => {
    for (const widget of widgets.values()) {
      if (widget.root.dataset.state === "failed") begin(widget);
    }
  });

  // --- consent -----------------------------------------------------------------------------------

  // Where one widget of a page waits for it all do, so that none is a way around it.
  const ASKING = '[data-chatkit*=\'"load":"consent"\']';
  const wantsConsent = ({ load }) => load === "consent" || document.querySelector(ASKING) !== null;

  const agreed = ({ config }) => !wantsConsent(config) || (api.agreed ?? browser.get("consent"));

  // Nothing is asked of anybody before the visitor says so, here or in a way of the site's.
  const askFirst = (widget) => {
    const { words, config } = widget;
    const wants = wantsConsent(config);
    const start = button(words.widget.agree, () => {
      if (wants) browser.set("consent", "1");
      widget.started = widget.enters = true;
      if (wants) api.consent();
      else begin(widget);
    });
    tell(
      widget,
      say(wants ? words.widget.consent : config.options.frameTitle),
      make("p", { className: "chatkit-actions" }, start, ...(wants ? contactOf(widget) : [])),
    );
    if (wants) become(widget, "consent");
  };

  api.agree = () => {
    if (!api.agreed) browser.set("consent", null);
    for (const widget of widgets.values()) {
      if (!wantsConsent(widget.config)) continue;
      if (!api.agreed) {
        stop(widget);
        widget.element = null;
        askFirst(widget);
      } else if (widget.root.dataset.state === "consent") {
        // A panel that is closed starts when it is opened.
        if (widget.panel?.open === false) become(widget, "idle");
        else begin(widget);
      }
    }
  };

  // --- the element -------------------------------------------------------------------------------

  // The elements' own events do not bubble. These do, from the widget, with details that tell nothing
  // of what was said.
  const EVENTS = {
    deeplink: ["name", "data"],
    effect: ["name", "data"],
    "history.close": [],
    "history.open": [],
    "response.end": [],
    "response.start": [],
    "thread.change": ["threadId"],
    "thread.load.end": ["threadId"],
    "thread.load.start": ["threadId"],
    "tool.change": ["toolId"],
  };

  const listen = (widget) => {
    const { element, config, root } = widget;
    const hear = (type, handle) =>
      element.addEventListener(`chatkit.${type}`, ({ detail }) => {
        if (widget.element === element) handle(detail ?? {});
      });
    for (const [type, names] of Object.entries(EVENTS)) {
      hear(type, (detail) => {
        const clean = Object.fromEntries(names.map((name) => [name, detail[name]]));
        emit(widget, type, clean);
      });
    }
    hear("error", ({ error }) => emit(widget, "error", { message: error?.message }));
    // It may hold what was said, so only for sites that ask for it.
    if (config.messageEvents) hear("log", ({ name, data }) => emit(widget, "log", { name, data }));
    hear("thread.change", ({ threadId }) => {
      if (threadId) root.dataset.thread = threadId;
      else delete root.dataset.thread;
      keepThread(config, threadId ?? null);
      arrange(widget);
    });
    hear("response.end", () => {
      if (widget.panel?.open === false) count(widget, widget.unread + 1);
    });
    for (const [type, isOpen] of [
      ["history.open", true],
      ["history.close", false],
    ]) {
      hear(type, () => widget.past?.setAttribute("aria-expanded", isOpen));
    }
    // It proves nothing, and the widget tells when it is ready.
    element.addEventListener("chatkit.ready", (event) => event.stopPropagation());
  };

  const create = (widget, name) => {
    widget.theme = themeOf(widget);
    widget.element = document.createElement(name);
    listen(widget);
    dress(widget);
    widget.element.setOptions(optionsOf(widget));
    return widget.element;
  };

  // The element brings its style in its shadow root. Where style-src forbids inline styles the
  // browser refuses it, and the frame is 300 by 150 pixels. Constructed stylesheets are allowed: so
  // the style moves into one before the element is connected, and its layout is repeated after.
  const LAYOUT =
    ":host{display:block;width:100%;height:100%}iframe{border:0;width:100%;height:100%}";
  const restyle = ({ shadowRoot }) => {
    if (!shadowRoot) return;
    const styles = [...shadowRoot.querySelectorAll("style")];
    const sheet = new CSSStyleSheet();
    sheet.replaceSync([...styles.map((style) => style.textContent), LAYOUT].join("\n"));
    for (const style of styles) style.remove();
    shadowRoot.adoptedStyleSheets = [...shadowRoot.adoptedStyleSheets, sheet];
  };

  // Without a key of OpenAI's list, or on an insecure page, a served chat would only be blank there.
  const usesOpenAI = ({ served, domainKey }) => !served || (domainKey && isSecureContext);
  const useOpenAI = async (widget, turn) => {
    const { body, config } = widget;
    const patience = config.served ? HURRY : PATIENCE;
    await timeout(
      api.script(config.script).then(() => customElements.whenDefined("openai-chatkit")),
      patience,
      "script",
    );
    if (widget.element !== turn) return;
    const element = create(widget, "openai-chatkit");
    widget.watchdog = setTimeout(() => {
      if (config.served) useBuiltin(widget);
      else fail(widget, failure("silent"));
    }, patience);
    if (config.served && config.options.history?.enabled === false) {
      // It has nothing to ask for before the first message.
      element.addEventListener("chatkit.ready", () => {
        clearTimeout(widget.watchdog);
        settle(widget);
      });
    }
    restyle(element);
    body.append(element);
    restyle(element);
  };

  // The chat of our own, which a served chat goes on in when OpenAI's does not come.
  const useBuiltin = async (widget) => {
    const { body, config, root, words } = widget;
    stop(widget);
    const turn = {};
    widget.element = turn;
    try {
      const at = `${config.page}config`;
      const { builtin } = await ask(config, at, "GET");
      // Its libraries bring globals, which a site may have of its own, in another version.
      const { marked, DOMPurify } = window;
      for (const file of builtin) await api.script(new URL(file, at).href);
      Object.assign(window, { marked, DOMPurify });
      if (widget.element !== turn) return;
      root.dataset.builtin = "";
      const element = create(widget, "flask-chatkit-chat");
      element.setStrings(words.chat, words.language);
      body.append(element);
      settle(widget);
    } catch (error) {
      if (widget.element === turn) giveUp(widget, error);
    }
  };

  const giveUp = (widget, error) => {
    widget.element = null;
    fail(widget, error.reason ? error : failure("script"));
  };

  // An element that failed can't be reset. One that works is never moved or removed.
  const stop = (widget) => {
    clearTimeout(widget.watchdog);
    widget.element?.remove?.();
    widget.works = false;
    arrange(widget);
    delete widget.root.dataset.builtin;
  };

  const skeleton = () => {
    const bars = [1, 2, 3].map(() => make("span", {}));
    return make("div", { className: "chatkit-skeleton" }, ...bars);
  };

  const begin = async (widget) => {
    const { config, words } = widget;
    if (!agreed(widget)) return askFirst(widget);
    stop(widget);
    const turn = {};
    widget.element = turn; // of two starts at once the later goes on
    widget.bell ??= bell();
    // Nothing would come, and the browser knows: it says so when that changes.
    if (navigator.onLine === false) return fail(widget, failure("offline"));
    tell(widget, skeleton(), say(words.widget.loading));
    become(widget, "loading");
    await resume(widget, config.served ? null : askEarly(widget));
    if (widget.element !== turn) return;
    if (!usesOpenAI(config)) return useBuiltin(widget);
    try {
      await useOpenAI(widget, turn);
    } catch (error) {
      if (widget.element !== turn) return;
      if (config.served) await useBuiltin(widget);
      else giveUp(widget, error);
    }
  };

  // Somebody waits for the chat to work.
  const bell = () => {
    const rung = {};
    rung.promise = new Promise((resolve, reject) => Object.assign(rung, { resolve, reject }));
    rung.promise.catch(() => {});
    return rung;
  };

  // The thread of the page before, if it is still the same visitor's.
  const resume = async (widget, secret) => {
    const { config } = widget;
    const { history, initialThread } = config.options;
    if (initialThread !== undefined || history?.enabled === false) return;
    if (!keptThread(config)) return;
    await (secret ?? getClientSecret(config, null).catch(() => {}));
    widget.thread ??= keptThread(config) ?? undefined;
  };

  // --- the panel ---------------------------------------------------------------------------------

  const widgets = new Map();
  const building = new Map();

  const styles = {};
  const style = (href) => {
    styles[href] ??= new Promise((resolve) => {
      const link = make("link", { rel: "stylesheet", href, onload: resolve, onerror: resolve });
      if (api.nonce) link.nonce = api.nonce;
      document.head.append(link);
    });
    return styles[href];
  };

  // A button that does something, or a link to an address.
  const tool = (label, name, does) => {
    const alike = ALIKE.find(([pattern]) => pattern.test(name))?.[1] ?? "dots";
    const node =
      typeof does === "string"
        ? make("a", { href: does })
        : make("button", { type: "button", onclick: does });
    Object.assign(node, { className: "chatkit-tool", title: label });
    node.setAttribute("aria-label", label);
    node.append(icon(ICONS[name] ? name : alike));
    return node;
  };

  // A button of the site's in our own header.
  const siteTool = (widget, side) => {
    const given = widget.config.options.header?.[side];
    if (!given || (given.href && !leads(given.href))) return [];
    const label = given.label ?? given.action ?? given.icon.replaceAll("-", " ");
    return [tool(label, given.icon, given.href ?? (() => press(widget, given)))];
  };

  const lived = (node) => {
    node.dataset.chatkitLife = "";
    return node;
  };

  const build = async (root, config) => {
    for (const old of widgets.keys()) if (!old.isConnected) widgets.delete(old);
    watch(); // a page cache may have put another body in the former's place
    const words = await timeout(
      Promise.all([wordsOf(config), style(config.styles)]).then(([found]) => found),
      DRESSING,
    ).catch(() => spell(config, "en"));
    root.querySelector(".chatkit-fallback")?.remove();
    const notice = make("div", { className: "chatkit-notice", tabIndex: -1 });
    notice.setAttribute("role", "status");
    const body = lived(make("div", { className: "chatkit-body" }, notice));
    const widget = { root, config, words, body, notice, unread: 0 };
    const panel = root.querySelector(":scope > .chatkit-panel");
    const place = panel ?? body;
    const locale = localeOf(config);
    if (locale)
      Object.assign(place, { lang: locale, dir: /^(ar|ur)/.test(locale) ? "rtl" : "ltr" });
    if (panel) buildPanel(widget, panel);
    else root.append(lived(make("h2", { className: "chatkit-hidden" }, root.ariaLabel)), body);
    // Colours of its own from the first moment.
    dress({ ...widget, theme: themeOf(widget) });
    widgets.set(root, widget);
    return widget;
  };

  const buildPanel = (widget, panel) => {
    const { root, config, words, body } = widget;
    const { header, history } = config.options;
    const t = words.widget;
    panel.removeAttribute("open"); // as a page cache put it back
    Object.assign(widget, {
      panel,
      launcher: root.querySelector(":scope > .chatkit-launcher"),
      // Its own header has a close button too, unless the site's buttons take all the room.
      bare: config.panelHeader === false && !(header?.leftAction && header?.rightAction),
      status: lived(make("p", { className: "chatkit-hidden chatkit-status" })),
    });
    widget.status.setAttribute("role", "status");
    const title = header?.title?.text ?? panel.getAttribute("aria-label");
    const heading = make("h2", { tabIndex: -1 }, title);
    if (header?.title?.enabled === false) heading.className = "chatkit-hidden";
    const close = tool(t.close, "close", () => hide(widget));
    close.classList.add("chatkit-close");
    const tools = [];
    if (header?.enabled !== false) {
      widget.fresh = tool(t.newChat, "compose", async () => {
        const { element } = widget;
        await element.setThreadId(null).catch(() => {});
        if (HOVER.matches) element.focusComposer().catch(() => {});
      });
      tools.push(widget.fresh);
      if (history?.enabled !== false) {
        widget.past = tool(t.history, "history", () => {
          const isOpen = widget.past.getAttribute("aria-expanded") === "true";
          widget.element[isOpen ? "hideHistory" : "showHistory"]().catch(() => {});
        });
        widget.past.setAttribute("aria-expanded", "false");
        tools.push(widget.past);
      }
    }
    const right = siteTool(widget, "rightAction");
    const left = siteTool(widget, "leftAction");
    // The close button is the first to be reached, and the last to be seen.
    widget.bar = lived(
      make(
        "div",
        { className: "chatkit-bar" },
        close,
        ...right,
        ...tools.reverse(),
        heading,
        ...left,
      ),
    );
    panel.append(widget.bar, body);
    root.append(widget.status);
    arrange(widget);
    // It comes a moment after the closing; by then the panel may be open again.
    panel.addEventListener("close", () => {
      if (!panel.open && widgets.get(root) === widget) closed(widget);
    });
  };

  // The buttons are there while they can do something, and as long as ChatKit's header has none.
  const arrange = ({ works, fresh, past, bar, bare, root }) => {
    if (!bar) return;
    const { activeElement } = document;
    const isHidden = Boolean(bare && works);
    bar.classList.toggle("chatkit-hidden", isHidden);
    if (fresh) fresh.hidden = !works || !root.dataset.thread;
    if (past) past.hidden = !works;
    // A button that goes leaves the focus in the panel.
    if (bar.contains(activeElement) && !activeElement.getClientRects().length) {
      bar.querySelector(isHidden ? "h2" : ".chatkit-close").focus();
    }
  };

  const count = (widget, unread) => {
    const { root, launcher, status, words } = widget;
    if (widget.unread === unread) return;
    widget.unread = unread;
    launcher.querySelector(".chatkit-badge")?.remove();
    if (unread) {
      root.dataset.unread = unread;
      // Not as text, which would be taken for the button's name.
      const badge = lived(make("span", { className: "chatkit-badge" }));
      badge.dataset.count = unread;
      badge.setAttribute("aria-hidden", "true");
      launcher.append(badge);
      // Once: a screen reader says it when there is a pause.
      if (!status.textContent) status.textContent = words.widget.unread;
    } else {
      delete root.dataset.unread;
      status.textContent = "";
    }
    emit(widget, "unread", { count: unread });
  };

  // A phone's keyboard covers the page, and only visualViewport tells. Who zooms in with two fingers
  // sees less of the page too, and wants nothing to move.
  const fit = () => {
    const { height, offsetTop, scale } = visualViewport;
    for (const { panel } of widgets.values()) {
      if (!panel?.matches(":modal")) continue;
      panel.style.setProperty("--_seen", `${height * scale}px`);
      panel.style.setProperty("--_above", `${scale > 1 ? 0 : offsetTop}px`);
    }
  };
  for (const type of ["resize", "scroll"]) window.visualViewport?.addEventListener(type, fit);

  // Over the whole of a small screen, beside the page on others.
  const present = ({ panel, root }, quiet) => {
    const { matches } = SMALL;
    root.toggleAttribute("data-modal", matches);
    if (matches) panel.showModal();
    // The attribute opens it without taking the focus.
    else if (quiet) panel.setAttribute("open", "");
    else panel.show();
    if (matches) fit();
  };

  SMALL.addEventListener("change", () => {
    for (const widget of widgets.values()) {
      const { panel, element } = widget;
      if (!panel?.open) continue;
      const { activeElement } = document;
      // A tablet's keyboard may make the page lower: who writes with it would lose it.
      if (TOUCH.matches && activeElement === element) continue;
      panel.close();
      present(widget);
      // Who writes goes on writing; the frame itself can't be given the focus from here.
      if (activeElement === element) element.focusComposer().catch(() => {});
      else activeElement?.focus?.({ preventScroll: true });
    }
  });

  const show = (widget, { opener, quiet } = {}) => {
    const { root, panel, launcher } = widget;
    if (panel && !panel.open) {
      const { activeElement } = document;
      const from = activeElement === document.body ? launcher : activeElement;
      widget.opener = opener ?? from ?? launcher;
      dismissTeaser(widget);
      root.dataset.open = "";
      launcher.setAttribute("aria-expanded", "true");
      present(widget, quiet);
      count(widget, 0);
      keepOpen(widget);
      emit(widget, "open");
      // It takes the focus when the chat works; a visitor who has gone elsewhere stays there.
      widget.enters = !quiet;
    }
    const { state } = root.dataset;
    if (state === "idle" || state === "failed") {
      if (!panel && widget.config.load === "click" && !widget.started) askFirst(widget);
      else begin(widget);
    } else if (widget.works) {
      enter(widget);
    }
  };

  // For the next page, which opens one chat; on a small screen it would cover the page.
  const keepOpen = (last = [...widgets.values()].find(({ panel }) => panel?.open)) =>
    tab.set("open", (!SMALL.matches && last?.config.chat) || null);

  const HOVER = matchMedia("(hover: hover)");
  const holdsFocus = ({ panel, body }) => (panel ?? body).contains(document.activeElement);
  const enter = (widget, isHeld = holdsFocus(widget)) => {
    const { panel, element } = widget;
    if (!widget.enters || panel?.open === false) return;
    widget.enters = false;
    // Elsewhere it would bring up the keyboard.
    if (HOVER.matches && isHeld) element.focusComposer().catch(() => {});
  };

  const hide = (widget) => {
    if (!widget.panel?.open) return;
    widget.panel.close();
    // The dialog's own close event comes a moment later; what is told now is true now.
    closed(widget);
  };

  const closed = (widget) => {
    const { root, launcher, opener } = widget;
    if (root.dataset.open === undefined) return;
    delete root.dataset.open;
    delete root.dataset.modal;
    launcher.setAttribute("aria-expanded", "false");
    keepOpen();
    if (/^#chat(-|$)/.test(location.hash)) {
      // So that the same link opens it again.
      history.replaceState(history.state, "", location.pathname + location.search);
    }
    const { activeElement } = document;
    if (!activeElement || activeElement === document.body || root.contains(activeElement)) {
      (opener?.isConnected && opener.checkVisibility?.() !== false ? opener : launcher).focus();
    }
    emit(widget, "close");
  };

  // What a browser closes at Esc before anything else, wherever the focus is.
  const OVER = ":is(:modal, :popover-open:not([popover=manual])):not(.chatkit-panel)";

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
    const open = [...widgets.values()].filter(({ panel }) => panel?.open);
    const here = open.find(({ root }) => root.contains(event.target)) ?? open.pop();
    // What the page itself has opened is closed by the page, or by the browser.
    const layer = event.target.closest?.("dialog, [popover], [aria-modal]");
    if (!here || layer?.matches(":not(.chatkit-panel)") || document.querySelector(OVER)) return;
    event.preventDefault();
    hide(here);
  });

  // --- the teaser --------------------------------------------------------------------------------

  const teased = ({ chat }) => `teaser:${chat}`;

  const tease = (widget) => {
    const { config, root, panel, launcher, words, status } = widget;
    const { text } = config.teaser;
    if (panel.open || root.dataset.state !== "idle" || widget.teaser) return;
    if (browser.get(teased(config)) === text) return;
    const open = button(text, () => show(widget, { opener: launcher }));
    open.dir = "auto";
    const dismiss = tool(words.widget.dismiss, "close", () => {
      const { activeElement } = document;
      if (dismissTeaser(widget) && activeElement === dismiss) launcher.focus();
    });
    widget.teaser = lived(make("div", { className: "chatkit-teaser" }, open, dismiss));
    launcher.after(widget.teaser);
    // What is in a live region from the beginning is not read out.
    setTimeout(() => {
      if (widget.teaser) status.textContent = text;
    }, 200);
  };

  // Who has answered it in either way, or has come before it, is left alone.
  const dismissTeaser = (widget) => {
    if (widget.config.teaser) browser.set(teased(widget.config), widget.config.teaser.text);
    if (!widget.teaser) return false;
    widget.teaser.remove();
    widget.teaser = null;
    widget.status.textContent = "";
    return true;
  };

  // --- what the loader calls ---------------------------------------------------------------------

  // A chat in the page can't be opened, but be seen.
  const come = (widget, opener) => {
    show(widget, { opener });
    if (!widget.panel) widget.root.scrollIntoView({ block: "nearest" });
  };

  // The element, when it works.
  const ready = async (widget, opener) => {
    come(widget, opener);
    if (!widget.works) {
      widget.bell ??= bell();
      await widget.bell.promise;
    }
    return widget.element;
  };
  const spoken = (value) => (typeof value === "string" ? { text: value } : value);

  const ACTS = {
    open: (widget, _, opener) => come(widget, opener),
    close: hide,
    toggle: (widget, _, opener) => (widget.panel?.open ? hide(widget) : come(widget, opener)),
    show,
    restore: (widget) => SMALL.matches || show(widget, { quiet: true }),
    tease,
    warm: () => {},
    send: async (widget, value, opener) => {
      const element = await ready(widget, opener);
      try {
        await element.sendUserMessage(spoken(value));
      } catch (error) {
        // It is answering: who has clicked finds the words in the field.
        if (!opener) throw error;
        await element.setComposerValue(spoken(value));
      }
    },
    compose: async (widget, value, opener) => {
      widget.enters = false;
      const element = await ready(widget, opener);
      await element.setComposerValue(spoken(value));
      if (HOVER.matches) await element.focusComposer();
    },
    thread: async (widget, id = null) => {
      if (widget.works) await widget.element.setThreadId(id);
      else widget.thread = id;
    },
    setTheme: (widget, theme) => {
      const isOptions = typeof theme === "object" && !Array.isArray(theme);
      const name = isOptions ? theme?.colorScheme : theme;
      if (![undefined, null, "light", "dark", "auto"].includes(name)) {
        throw new TypeError('setTheme: give "light", "dark", "auto", theme options, or null');
      }
      widget.override = theme ?? undefined;
      follow();
    },
  };

  // Beside the stylesheet, when the visitor is about to open the chat.
  const warm = (config) => {
    const waits = config.load === "click" || !agreed({ config });
    if (!waits && usesOpenAI(config)) api.script(config.script).catch(() => {});
  };

  api.act = async (root, config, act, value, opener) => {
    if (opener || act === "warm") warm(config);
    let widget = widgets.get(root);
    if (widget && !root.contains(widget.body)) {
      // Morphed back to what the server sends; it starts anew.
      stop(widget);
      widget.element = null;
      widget = null;
    }
    // Before there is anything to close, a second click is an impatient first one.
    const done = widget || act !== "toggle" ? act : "open";
    if (!widget) {
      if (!building.has(root)) {
        building.set(
          root,
          build(root, config).finally(() => building.delete(root)),
        );
      }
      widget = await building.get(root);
    }
    try {
      await ACTS[done](widget, value, opener);
    } catch (error) {
      // Who clicked sees it in the chat.
      if (!opener) throw error;
    }
  };

  // A theme switch sets the full options again, on the same element.
  const follow = () => {
    for (const [root, widget] of widgets) {
      if (!root.isConnected) {
        widgets.delete(root);
        continue;
      }
      const theme = themeOf(widget);
      if (JSON.stringify(theme) === JSON.stringify(widget.theme)) continue;
      widget.theme = theme;
      dress(widget);
      widget.element?.setOptions?.(optionsOf(widget));
    }
  };
  night.addEventListener("change", follow);
  // A switch that is animated has its colours when it is over.
  document.addEventListener("transitionend", ({ target }) => {
    for (const root of widgets.keys()) if (target.contains(root)) return follow();
  });
  const watcher = new MutationObserver(follow);
  const attributeFilter = ["class", "style", "data-theme", "data-bs-theme"];
  const watch = () => {
    for (const node of [document.documentElement, document.body]) {
      watcher.observe(node, { attributes: true, attributeFilter });
    }
  };
})();
