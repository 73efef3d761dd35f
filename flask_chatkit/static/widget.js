// The widget: fetched by the loader when a visitor wants to chat. It makes ChatKit's element, gets
// its secrets, follows the page's light or dark, and says so when something does not work.
(() => {
  const api = window.FlaskChatKit;
  if (api.toggle) return;

  const PATIENCE = 15_000; // milliseconds for OpenAI's script, and for the element's first call
  const HURRY = 8_000; // the same where the chat can go on without OpenAI's element
  const MARGIN = 30_000; // a secret that has less left is not handed out again
  const LONGEST_WAIT = 60; // seconds of Retry-After that a visitor is kept waiting
  const SMALL = "(max-width: 30rem), (max-height: 30rem)";
  const TEXT = {
    close: "Close chat",
    loading: "The chat is loading…",
    failed: "The chat could not be loaded.",
    silent: "The chat did not answer.",
    offline: "The chat can't be reached. Please check your connection.",
    retry: "Try again",
    dismiss: "Close this message",
    page: "Open the chat on its own page",
  };

  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const absolute = (url) => new URL(url, location).href;
  const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };

  // --- secrets -----------------------------------------------------------------------------------

  const dead = new Set(); // secrets that were reported as run out
  const pending = new Map(); // one request serves all who wait for the same chat

  const recall = (config) => {
    try {
      return JSON.parse(sessionStorage.getItem(`chatkit:${config.secret}`));
    } catch {
      return null;
    }
  };
  const remember = (config, entry) => {
    try {
      const key = `chatkit:${config.secret}`;
      if (entry) sessionStorage.setItem(key, JSON.stringify(entry));
      else sessionStorage.removeItem(key);
    } catch {
      // Storage is blocked: each page mints for itself.
    }
  };

  const csrfToken = () => {
    const token = document.querySelector('meta[name="csrf-token"], input[name="csrf_token"]');
    return token && (token.content ?? token.value);
  };

  const ask = async (url, method) => {
    const headers = { Accept: "application/json" };
    if (method === "POST") {
      headers["Content-Type"] = "application/json";
      const token = csrfToken();
      if (token) headers["X-CSRFToken"] = token;
    }
    let response;
    try {
      response = await fetch(url, {
        method,
        headers,
        body: method === "POST" ? "{}" : undefined,
        // Also to a kit on a subdomain; which origins may, the server says.
        credentials: "include",
        cache: "no-store",
        signal: AbortSignal.timeout?.(30_000),
      });
    } catch {
      throw new Error(TEXT.offline);
    }
    // What stands between may answer for the site, with a page of its own.
    const body = await response.json().catch(() => null);
    if (response.ok && body && typeof body === "object") return body;
    const message = typeof body?.message === "string" ? body.message : TEXT.failed;
    const wait = Number(response.headers.get("Retry-After"));
    throw Object.assign(new Error(message), { status: response.status, wait });
  };

  // One mint after the other, in all tabs: the first one's answer brings the cookie by which the
  // next ones are the same visitor's.
  const inTurn = (work) => navigator.locks?.request("chatkit", work) ?? work();

  // Waits once as long as the server says, if that is not too long, and asks again.
  const post = async (url) => {
    const once = () => inTurn(() => ask(url, "POST"));
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
    if (!entry?.secret || dead.has(entry.secret) || entry.until < Date.now()) return null;
    const url = `${config.session}${entry.session}/validate`;
    const answer = await ask(url, "GET").catch(() => null);
    return answer?.status === "active" ? entry.secret : null;
  };

  const mint = async (config, entry) => {
    let minted;
    if (entry) {
      minted = await post(`${config.session}${entry.session}/refresh`).catch((error) => {
        // Not this visitor's session, or not one any more.
        if (error.status !== 404) throw error;
      });
    }
    minted ??= await post(config.secret);
    const secret = minted.client_secret;
    if (typeof secret !== "string" || !secret || !(minted.expires_in > 0)) {
      throw new Error(TEXT.failed);
    }
    remember(config, {
      secret,
      session: minted.session_id,
      until: Date.now() + minted.expires_in * 1000 - Math.min(MARGIN, minted.expires_in * 250),
    });
    return secret;
  };

  const obtain = async (config) => {
    const entry = recall(config);
    return (await reuse(config, entry)) ?? mint(config, entry);
  };

  // --- served chats --------------------------------------------------------------------------------

  // What the element of a served chat calls in fetch's place. A token that is not good any more, or
  // not this visitor's, is told by a 401, and made anew once.
  const speak = async (widget, input, init) => {
    const { config, element } = widget;
    const request = new Request(input, { credentials: "include", ...init });
    const csrf = csrfToken();
    if (csrf) request.headers.set("X-CSRFToken", csrf);
    const send = (token) => {
      const copy = request.clone();
      copy.headers.set("Authorization", `Bearer ${token}`);
      return fetch(copy);
    };
    clearTimeout(widget.watchdog);
    try {
      const entry = recall(config);
      const isGood = entry?.secret && !dead.has(entry.secret) && entry.until > Date.now();
      const token = isGood ? entry.secret : await getClientSecret(config, null);
      const response = await send(token);
      const answer =
        response.status === 401 ? await send(await getClientSecret(config, token)) : response;
      if (widget.element === element) settle(widget);
      return answer;
    } catch (error) {
      // Stop is an abort, and a chat that has shown something tells of its own failures.
      if (error.name !== "AbortError" && widget.element === element && !widget.works) {
        fail(widget, error instanceof TypeError ? TEXT.offline : error.message);
      }
      throw error;
    }
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
      if (!pending.has(config.secret)) {
        const request = obtain(config).finally(() => pending.delete(config.secret));
        pending.set(config.secret, request);
      }
      const secret = await pending.get(config.secret);
      if (!dead.has(secret)) return secret;
    }
    throw new Error(TEXT.failed);
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

  const property = (style, ...names) =>
    names.map((name) => style.getPropertyValue(`--chatkit-${name}`).trim()).find(Boolean);

  // A colour as the browser understands it, whatever the stylesheet calls it.
  const resolved = (root, value) => {
    const probe = make("span", { hidden: true });
    root.append(probe);
    probe.style.color = value;
    const colour = probe.style.color && getComputedStyle(probe).color;
    probe.remove();
    return colour || undefined;
  };

  const backdrop = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/^(transparent|rgba\(.*, 0\))$/.test(colour)) return colour;
    }
    return undefined;
  };

  const siteTheme = (root) => {
    const style = getComputedStyle(root);
    const colour = (...names) => {
      const value = property(style, ...names);
      return value && resolved(root, value);
    };
    const theme = {};
    const primary = colour("primary", "accent");
    const background = colour("bg", "background") ?? backdrop(root);
    // The widget has a text colour of its own; the site's is that of what surrounds it.
    const around = getComputedStyle(root.parentElement ?? root);
    const foreground = colour("text", "foreground") ?? around.color;
    if (primary) theme.accent = { primary, level: 1 };
    if (background && foreground) theme.surface = { background, foreground };
    const radius = property(style, "radius");
    const family = property(style, "font", "font-family") ?? around.fontFamily;
    return {
      ...(Object.keys(theme).length && { color: theme }),
      ...(/^(pill|round|soft|sharp)$/.test(radius) && { radius }),
      ...(family && { typography: { fontFamily: family } }),
    };
  };

  const themeOf = ({ root, config }) => {
    const given = config.options.theme ?? {};
    const site = config.themed ? siteTheme(root) : {};
    const theme = { colorScheme: scheme(), ...site, ...given };
    for (const part of ["color", "typography"]) {
      if (site[part] && given[part]) theme[part] = { ...site[part], ...given[part] };
    }
    return theme;
  };

  // --- the widget --------------------------------------------------------------------------------

  const widgets = new Map();

  const hostedApi = (widget) => {
    const { element } = widget;
    return {
      getClientSecret: async (current) => {
        clearTimeout(widget.watchdog);
        try {
          const secret = await getClientSecret(widget.config, current);
          if (widget.element === element) settle(widget);
          return secret;
        } catch (error) {
          if (widget.element === element) fail(widget, error.message);
          throw error;
        }
      },
    };
  };

  const servedApi = (widget) => {
    const { api: url, domainKey, upload } = widget.config;
    return {
      url: absolute(url),
      domainKey,
      fetch: (input, init) => speak(widget, input, init),
      ...(upload && {
        uploadStrategy: upload.uploadUrl
          ? { ...upload, uploadUrl: absolute(upload.uploadUrl) }
          : upload,
      }),
    };
  };

  // The page's own functions, as they are when they are asked for.
  const handlersOf = ({ config }) => {
    const own = api.get(config.chat);
    return {
      onClientTool: async ({ name, params }) => {
        if (!own.tools[name]) throw new Error(`this page has no tool ${JSON.stringify(name)}`);
        return (await own.tools[name](params)) ?? {};
      },
      widgets: {
        onAction: async (action, item) => own.actions[action.type]?.(action.payload, item),
      },
    };
  };

  const optionsOf = (widget) => ({
    ...widget.config.options,
    ...handlersOf(widget),
    theme: widget.theme,
    api: widget.config.api ? servedApi(widget) : hostedApi(widget),
  });

  const settle = (widget) => {
    widget.works = true;
    widget.root.dataset.state = "ready";
    tell(widget);
  };

  const tell = ({ notice, works }, ...parts) => {
    notice.classList.toggle("chatkit-strip", Boolean(works));
    notice.replaceChildren(...parts);
  };

  const fail = (widget, message) => {
    clearTimeout(widget.watchdog);
    if (widget.works) {
      // A conversation is on the screen: it stays, and the element asks again when it must.
      const dismiss = make("button", { type: "button", textContent: TEXT.dismiss });
      dismiss.addEventListener("click", () => tell(widget));
      const actions = make("p", { className: "chatkit-actions" }, dismiss);
      tell(widget, make("p", { textContent: message }), actions);
      return;
    }
    widget.root.dataset.state = "failed";
    const retry = make("button", { type: "button", textContent: TEXT.retry });
    retry.addEventListener("click", () => start(widget));
    const link = make("a", { href: widget.config.page, textContent: TEXT.page });
    const isPage = new URL(link.href).pathname === location.pathname;
    tell(
      widget,
      make("p", { textContent: message }),
      make("p", { className: "chatkit-actions" }, retry, ...(isPage ? [] : [link])),
    );
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

  const timeout = (promise, ms) =>
    Promise.race([promise, sleep(ms).then(() => Promise.reject(new Error(TEXT.silent)))]);

  const create = (widget, name) => {
    widget.theme = themeOf(widget);
    widget.element = document.createElement(name);
    // The elements' own events do not bubble, and their names differ; the page listens on document.
    widget.element.addEventListener("chatkit.effect", ({ detail }) => {
      widget.root.dispatchEvent(new CustomEvent("chatkit.effect", { bubbles: true, detail }));
    });
    widget.element.setOptions(optionsOf(widget));
    return widget.element;
  };

  const useOpenAI = async (widget, turn) => {
    const { body, config } = widget;
    const patience = config.api ? HURRY : PATIENCE;
    await timeout(
      api.script(config.script).then(() => customElements.whenDefined("openai-chatkit")),
      patience,
    );
    if (widget.element !== turn) return;
    const element = create(widget, "openai-chatkit");
    widget.watchdog = setTimeout(() => {
      if (config.api) useBuiltin(widget);
      else fail(widget, TEXT.silent);
    }, patience);
    if (config.api && config.options.history?.enabled === false) {
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
    const { body, config, root } = widget;
    clearTimeout(widget.watchdog);
    widget.element?.remove?.();
    const turn = {};
    widget.element = turn;
    try {
      const { builtin } = await ask(config.config, "GET");
      // Its libraries bring globals, which a site may have of its own, in another version.
      const { marked, DOMPurify } = window;
      for (const file of builtin) await api.script(file);
      Object.assign(window, { marked, DOMPurify });
      if (widget.element !== turn) return;
      root.dataset.builtin = "";
      body.append(create(widget, "flask-chatkit-chat"));
      settle(widget);
    } catch (error) {
      if (widget.element === turn) giveUp(widget, error);
    }
  };

  const giveUp = (widget, error) => {
    widget.element = null;
    // A visitor can do nothing with the cause; a developer looks here.
    console.warn(`flask_chatkit: ${error.message} (blocked, offline, or not allowed here?)`);
    fail(widget, TEXT.failed);
  };

  const start = async (widget) => {
    const { root, config } = widget;
    root.dataset.state = "loading";
    // An element that failed can't be reset. One that works is never moved or removed.
    widget.element?.remove?.();
    const turn = {};
    widget.element = turn; // of two starts at once the later goes on
    widget.works = false;
    delete root.dataset.builtin;
    tell(widget, make("p", { textContent: TEXT.loading }));
    // Without a key of OpenAI's list, or on an insecure page, its element would only be blank.
    if (config.api && !(config.domainKey && isSecureContext)) return useBuiltin(widget);
    try {
      await useOpenAI(widget, turn);
    } catch (error) {
      if (widget.element !== turn) return;
      if (config.api) await useBuiltin(widget);
      else giveUp(widget, error);
    }
  };

  const build = (root) => {
    for (const old of widgets.keys()) if (!old.isConnected) widgets.delete(old);
    watch(); // a page cache may have put another body in the former's place
    root.querySelector(".chatkit-fallback")?.remove();
    const config = api.config(root);
    const notice = make("div", { className: "chatkit-notice", role: "status" });
    const body = make("div", { className: "chatkit-body" }, notice);
    const widget = { root, config, body, notice };
    const panel = root.querySelector(":scope > .chatkit-panel");
    if (panel) {
      widget.panel = panel;
      widget.launcher = root.querySelector(":scope > .chatkit-launcher");
      const close = make("button", { type: "button", className: "chatkit-close" });
      close.setAttribute("aria-label", TEXT.close);
      close.addEventListener("click", () => api.hide(root));
      const title = make("h2", { textContent: panel.getAttribute("aria-label") });
      panel.append(make("div", { className: "chatkit-bar" }, close, title), body);
      // It comes a moment after the closing; by then the panel may be open again.
      panel.addEventListener("close", () => {
        if (!panel.open) closed(widget);
      });
      root.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && panel.open) {
          event.preventDefault();
          api.hide(root);
        }
      });
    } else {
      root.append(body);
    }
    widgets.set(root, widget);
    return widget;
  };

  const closed = ({ root, launcher }) => {
    if (root.dataset.open === undefined) return;
    delete root.dataset.open;
    launcher.setAttribute("aria-expanded", "false");
    launcher.focus();
  };

  api.warm = (root) => api.script(api.config(root).script).catch(() => {});

  api.show = (root) => {
    const widget = widgets.get(root) ?? build(root);
    if (widget.panel && !widget.panel.open) {
      root.dataset.open = "";
      widget.launcher.setAttribute("aria-expanded", "true");
      if (matchMedia(SMALL).matches) widget.panel.showModal();
      else widget.panel.show();
    }
    if (root.dataset.state === "idle" || root.dataset.state === "failed") start(widget);
  };

  api.hide = (root) => {
    const widget = widgets.get(root);
    if (!widget?.panel?.open) return;
    widget.panel.close();
    // The dialog's own close event comes a moment later; what is told now is true now.
    closed(widget);
  };

  api.toggle = (root) => {
    if (widgets.get(root)?.panel.open) api.hide(root);
    else api.show(root);
  };

  // A theme switch sets the full options again, on the same element.
  const follow = () => {
    for (const [root, widget] of widgets) {
      if (!root.isConnected) {
        widgets.delete(root);
      } else if (widget.element?.setOptions) {
        const theme = themeOf(widget);
        if (JSON.stringify(theme) !== JSON.stringify(widget.theme)) {
          widget.theme = theme;
          widget.element.setOptions(optionsOf(widget));
        }
      }
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
