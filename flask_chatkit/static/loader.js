// The loader: what every page with a widget pays for. It waits for a visitor who wants to chat, and
// fetches the rest (widget.js) then. Starting it twice is harmless.
(() => {
  const own = document.currentScript;
  const started = typeof window.FlaskChatKit?.script === "function";
  if (!started) window.FlaskChatKit = { kits: {} };
  const api = window.FlaskChatKit;

  // Which scripts run is told by this tag, and by nothing that somebody may write into the page.
  const absolute = (url) => new URL(url, location).href;
  const kit = JSON.parse(own.dataset.kit ?? "null");
  if (kit) api.kits[absolute(kit.base)] = kit;
  if (started) return;

  // What a page's own code does in a chat: FlaskChatKit.get("support").tool("show_order", (params) => …)
  const chats = {};
  api.get = (name = "default") => {
    const chat = { tools: {}, actions: {} };
    chat.tool = (tool, run) => {
      chat.tools[tool] = run;
      return chat;
    };
    chat.action = (type, run) => {
      chat.actions[type] = run;
      return chat;
    };
    chats[name] ??= chat;
    return chats[name];
  };

  const scripts = {};
  // Adds a classic script, once; one that did not come may be tried again.
  api.script = (src) => {
    scripts[src] ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = src;
      if (own.nonce) script.nonce = own.nonce;
      script.onload = resolve;
      script.onerror = () => {
        delete scripts[src];
        script.remove();
        reject(new Error(`${src} did not load`));
      };
      document.head.append(script);
    });
    return scripts[src];
  };

  // A widget's addresses lie below those of a kit; the longest that fits is its own.
  api.config = (root) => {
    const config = JSON.parse(root.dataset.chatkit);
    const urls = [config.page, config.secret, config.session].map(absolute);
    const bases = Object.keys(api.kits).filter((base) => urls.every((url) => url.startsWith(base)));
    if (!bases.length) throw new Error("flask_chatkit: a widget of no kit on this page");
    return { ...config, ...api.kits[bases.sort().pop()] };
  };

  const call = (root, method) => {
    const { page, widget } = api.config(root);
    api.script(widget).then(
      () => api[method](root),
      () => {
        if (method === "warm") return;
        root.dataset.state = "failed";
        if (root.querySelector(".chatkit-fallback")) return;
        const link = document.createElement("a");
        link.className = "chatkit-fallback";
        link.href = page;
        link.textContent = root.querySelector("[aria-label]")?.ariaLabel ?? root.ariaLabel;
        root.append(link);
      },
    );
  };

  const launched = (event) =>
    event.target.closest?.(".chatkit-launcher")?.closest("[data-chatkit]");
  const on = (types, handle) => {
    for (const type of types) document.addEventListener(type, handle, { passive: true });
  };
  on(["click"], (event) => {
    const root = launched(event);
    // Before there is anything to close, a second click is an impatient first one.
    if (root) call(root, api.toggle ? "toggle" : "show");
  });
  // A visitor who points at the launcher will probably click it.
  on(["pointerover", "focusin"], (event) => {
    const root = launched(event);
    if (root && root.dataset.state === "idle") call(root, "warm");
  });

  const sight = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) {
        sight.unobserve(target);
        call(target, "show");
      }
    }
  });
  const known = new WeakSet();
  const adopt = (root) => {
    // What a page cache put back is the markup of a chat, without its life.
    const life = ".chatkit-bar, .chatkit-body, .chatkit-fallback";
    for (const part of root.querySelectorAll(life)) part.remove();
    root.querySelector(".chatkit-panel")?.removeAttribute("open");
    root.querySelector(".chatkit-launcher")?.setAttribute("aria-expanded", "false");
    delete root.dataset.open;
    root.dataset.state = "idle";
    const { height, width, accent = [] } = api.config(root);
    const given = { height, width, accent: accent[0], "on-accent": accent[1] };
    // Through CSSOM, which a Content-Security-Policy without inline styles allows.
    for (const name in given) {
      if (given[name]) root.style.setProperty(`--chatkit-${name}`, given[name]);
    }
    if (!root.classList.contains("chatkit-floating")) sight.observe(root);
  };
  const scan = () => {
    for (const root of document.querySelectorAll("[data-chatkit]")) {
      if (known.has(root)) continue;
      known.add(root);
      try {
        adopt(root);
      } catch (error) {
        console.error(error);
      }
    }
  };
  scan();
  on(["DOMContentLoaded", "turbo:load", "htmx:load"], scan);
})();
