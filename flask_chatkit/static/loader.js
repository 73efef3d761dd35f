// The loader: what every page with a widget pays for. The rest, widget/index.js, comes when a visitor
// wants to chat. Starting it twice is harmless.
(() => {
  // Later: at load, touching the page's elements costs more than all the rest.
  const idle = (work) => (window.requestIdleCallback ?? setTimeout)(work, { timeout: 1000 });
  const scanSoon = () => idle(api.scan);
  // Those that import the others: as many as a browser requests at once over HTTP/1.1.
  const MODULES = ["index", "element", "notices", "panel", "secrets", "theme"];
  let api = window.FlaskChatKit;
  // Not what an <a id="FlaskChatKit"> of a visitor's says.
  const started = typeof api?.scan === "function";
  if (!started) window.FlaskChatKit = api = { kits: {}, tags: [] };
  // Which scripts run is up to the tags that have run this, and to nothing that somebody may write
  // into the page, as an <img name="currentScript">.
  api.tags.push(Reflect.get(Document.prototype, "currentScript", document));
  if (started) return scanSoon();
  for (const name of ["get", "consent", "scan"]) {
    api[name] = (...given) => {
      main();
      return api[name](...given);
    };
  }
  // Before those of the page's own scripts, which may keep a click to themselves.
  let click, widgets;
  document.addEventListener("click", (event) => {
    main();
    click(event);
  });
  scanSoon();

  function main() {
    if (widgets) return;
    api.nonce = api.tags[0]?.nonce;
    // root → its configuration
    widgets = new WeakMap();
    const chats = Object.create(null);
    api.heard = [];
    const roots = () => [...document.querySelectorAll("[data-chatkit]:not(form)")];
    // Nothing is relative to the srcdoc of a frame.
    const here = /^http/.test(location) ? location : document.baseURI;
    const absolute = (url) => new URL(url, here).href;
    const find = (name) => {
      api.scan();
      const found = roots().filter((root) => {
        const config = widgets.get(root);
        return config && (!name || root.id === name || config.chat === name);
      });
      return found.find((root) => root.matches(".chatkit-floating")) ?? found[0];
    };

    class Chat extends EventTarget {
      tools = Object.create(null);
      actions = Object.create(null);
      given = Object.create(null);
      #name;
      constructor(name) {
        super();
        this.#name = name;
        for (const act of [
          "open",
          "close",
          "toggle",
          "send",
          "compose",
          "thread",
          "setTheme",
          "showHistory",
          "hideHistory",
          "focusComposer",
          "sendCustomAction",
          "fetchUpdates",
          "configure",
        ]) {
          this[act] = async (...given) => {
            const root = find(name);
            if (!root) throw new Error(`No widget of the chat ${name} is here`);
            return perform(root, act, ...given);
          };
        }
        // What is kept for whoever asks; a chat that works learns of a change.
        for (const kind of ["entities", "commands", "context", "headers"]) {
          this[kind] = (value) => {
            this.given[kind] = value;
            api.changed?.(name, kind);
            return this;
          };
        }
      }
      on(...given) {
        api.heard.push(given[0]);
        this.addEventListener(...given);
        return this;
      }
      off(...given) {
        this.removeEventListener(...given);
        return this;
      }
      tool(name, run) {
        this.tools[name] = run;
        return this;
      }
      action(name, run) {
        this.actions[name] = run;
        return this;
      }
      get state() {
        const { state = "idle", open, unread = 0, thread } = find(this.#name)?.dataset ?? {};
        return { status: state, [state]: true, open: open === "", unread: +unread, thread };
      }
    }
    api.get = (name = "default") => (chats[name] ??= new Chat(name));

    // A widget is of the kit that its page lies in, whatever else its markup says.
    const read = (root) => {
      const config = JSON.parse(root.dataset.chatkit);
      const page = absolute(config.page);
      // The page of the default chat is the kit's, that of another one is one folder below.
      const kit = api.kits[page] ?? api.kits[page.replace(/[\w-]+\/$/, "")];
      if (!kit) throw new Error("flask_chatkit: a widget of no kit");
      return { chat: "default", ...config, page, ...kit };
    };

    // A promise, until everything is there.
    let load;
    const perform = async (root, act, ...given) => {
      const config = widgets.get(root);
      try {
        // One promise for all who wait, so that what is asked for first is done first.
        load ??= Promise.race([
          Promise.all(
            MODULES.map((name) => import(absolute(config.widget.replace("index", name)))),
          ),
          new Promise((_, reject) => setTimeout(reject, 8000, "slow")),
        ]);
        // Later not even that: a panel is to open within the click's own task.
        if (load.then) await load;
        load = api;
      } catch (error) {
        load = null;
        if (!/warm|tease/.test(act)) {
          root.dataset.state = "failed";
          root.querySelector(".chatkit-fallback")?.remove();
          const link = document.createElement("a");
          link.className = "chatkit-fallback";
          link.href = config.page;
          link.append(config.options.frameTitle);
          root.append(link);
          if (act === "click") link.focus();
        }
        throw error;
      }
      await api.act(root, config, act, ...given);
    };
    const call = (...given) => perform(...given).catch(console.warn);

    api.consent = (given = true) => {
      api.agreed = given;
      try {
        if (!given) localStorage.removeItem("chatkit:consent");
      } catch {}
      api.agree?.();
    };

    const on = (types, handle) => {
      for (const type of types.split(" "))
        document.addEventListener(type, handle, { passive: true });
    };
    click = (event) => {
      const at = event.target.closest?.(
        ".chatkit-launcher,[data-chatkit-open],[data-chatkit-consent]",
      );
      if (!at || event.defaultPrevented || event.metaKey || event.ctrlKey || event.shiftKey) return;
      const name = at.dataset.chatkitOpen;
      if (at.matches("[data-chatkit-consent]")) api.consent();
      api.scan();
      const root = name === undefined ? at.parentNode : find(name);
      if (!widgets.has(root)) return name && console.warn(`No widget of the chat ${name} is here`);
      event.preventDefault();
      call(root, "click", at);
    };
    // A visitor who points at the launcher will probably click it.
    on("pointerover focusin touchstart", ({ target }) => {
      const root = target.closest?.(".chatkit-launcher")?.parentNode;
      if (root) api.scan();
      if (root?.dataset.state === "idle") call(root, "warm");
    });

    const sight = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) {
          sight.unobserve(target);
          call(target, "show");
        }
      }
    });
    const adopt = (root) => {
      // What a page cache put back is the markup of a chat, without its life.
      for (const part of root.querySelectorAll("[data-chatkit-life],.chatkit-fallback"))
        part.remove();
      root.querySelector(".chatkit-launcher")?.setAttribute("aria-expanded", "false");
      for (const name of ["open", "unread", "modal", "builtin", "thread"])
        delete root.dataset[name];
      const config = read(root);
      widgets.set(root, config);
      root.dataset.state = "idle";
      // Through CSSOM, which a Content-Security-Policy without inline styles allows.
      for (const name in config.style) {
        root.style.setProperty(`--chatkit-${name}`, config.style[name]);
      }
      if (!root.matches(".chatkit-floating")) sight.observe(root);
      return root;
    };

    const follow = () => {
      const match = /^#chat(-(.+))?$/.exec(location.hash);
      const root = match && find(match[2]);
      if (root) call(root, "open");
    };
    const scan = (isQuiet) => {
      for (const ran of api.tags.splice(0)) {
        // jQuery and page optimisers run this without its tag, which is still in the page. Only who
        // may run scripts knows the nonce of what has run.
        const tags = ran?.dataset.kit ? [ran] : document.querySelectorAll("script[data-kit]");
        for (const { dataset, nonce } of tags) {
          if (nonce !== (ran?.nonce ?? "")) continue;
          const kit = JSON.parse(dataset.kit);
          api.kits[absolute(kit.base)] = kit;
        }
      }
      const fresh = [];
      for (const root of roots()) {
        try {
          // A morph, as htmx and Turbo know it, takes away all that the server did not send.
          if (!widgets.has(root) || !root.dataset.state) fresh.push(adopt(root));
        } catch (error) {
          // The tag of its kit may be on its way.
          if (!isQuiet) console.error(error);
        }
      }
      if (fresh[0]) idle(() => start(fresh));
    };
    api.scan = () => scan();
    const start = (fresh) => {
      follow();
      let open;
      try {
        open = sessionStorage.getItem("chatkit:open");
      } catch {}
      for (const root of fresh) {
        const { teaser } = widgets.get(root);
        // By its chat: on another page the widget may have another number.
        if (open && root === find(open)) call(root, "restore");
        else if (teaser) setTimeout(call, teaser.delay * 1000, root, "tease");
      }
    };
    // What the page's scripts put in, or make anew, is found without being told; Turbo's preview of
    // a page is about to go.
    let due;
    const look = () => {
      due = null;
      if (!document.querySelector("[data-turbo-preview]")) scan(true);
    };
    const watch = { childList: true, subtree: true };
    new MutationObserver(() => (due ??= idle(look))).observe(document, watch);
    on("turbo:load htmx:load htmx:after:process", scanSoon);
    addEventListener("hashchange", follow);
  }
})();
