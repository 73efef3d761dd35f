// The loader: what every page with a widget pays for. It waits for a visitor who wants to chat, and
// fetches the rest (widget.js) then. Starting it twice is harmless.
(() => {
  const api = window.FlaskChatKit ?? {};
  window.FlaskChatKit = api;
  if (api.script) return;
  const nonce = document.currentScript?.nonce;
  const scripts = {};

  // Adds a classic script, once; one that did not come may be tried again.
  api.script = (src) => {
    scripts[src] ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = src;
      if (nonce) script.nonce = nonce;
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

  api.config = (root) => JSON.parse(root.dataset.chatkit);

  const call = (root, method) =>
    api.script(api.config(root).widget).then(
      () => api[method](root),
      () => {
        root.dataset.state = "failed";
      },
    );

  const launched = (event) =>
    event.target.closest?.(".chatkit-launcher")?.closest("[data-chatkit]");
  const on = (types, handle) => {
    for (const type of types) document.addEventListener(type, handle, { passive: true });
  };
  on(["click"], (event) => {
    const root = launched(event);
    if (root) call(root, "toggle");
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
  const scan = () => {
    for (const root of document.querySelectorAll("[data-chatkit]:not([data-state])")) {
      root.dataset.state = "idle";
      const { height, width, accent = [] } = api.config(root);
      const given = { height, width, accent: accent[0], "on-accent": accent[1] };
      // Through CSSOM, which a Content-Security-Policy without inline styles allows.
      for (const name in given) {
        if (given[name]) root.style.setProperty(`--chatkit-${name}`, given[name]);
      }
      if (!root.classList.contains("chatkit-floating")) sight.observe(root);
    }
  };
  scan();
  on(["DOMContentLoaded", "turbo:load", "htmx:load"], scan);
})();
