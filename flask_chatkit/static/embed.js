// The chat on a page of another origin, as the server renders it for this tag's data- attributes.
(() => {
  // Where a page allows only trusted types.
  let policy;
  const trusted = (kind, text) => {
    const same = (given) => given;
    try {
      policy ??= window.trustedTypes?.createPolicy("flask-chatkit", {
        createHTML: same,
        createScriptURL: same,
      });
    } catch {
      // The page does not, or says so in its console.
    }
    return policy ? policy[kind](text) : text;
  };

  const MARKS =
    /^(src|type|category|service|noptimize|(cf|cookie|nitro|pagespeed|rocket|turbo|usercentrics)\w*|(no|wp)[A-Z]\w*)$/;

  const start = async (own) => {
    if (!own?.src) throw "the tag of embed.js is gone: do not combine it with others";
    const { variant = "floating", target, options = "{}", ...rest } = own.dataset;
    const given = JSON.parse(options);
    for (const [name, text] of Object.entries(rest)) {
      // Page optimisers, consent banners and Turbo mark each script on the way.
      if (MARKS.test(name)) continue;
      let value = text;
      try {
        if (/^([[{]|(true|false|-?[\d.]+)$)/.test(text)) value = JSON.parse(text);
      } catch {}
      given[name.replace(/[A-Z]/g, "_$&").toLowerCase()] = value;
    }
    const url = new URL("embed.json", own.src);
    url.search = new URLSearchParams({ variant, options: JSON.stringify(bare(given)) });
    // To another origin a fetch takes no cookies along.
    const ask = (mode) => fetch(url, { mode }).catch(() => {});
    const answer = await ask("cors");
    if (!answer) {
      const why = (await ask("no-cors"))
        ? "answers, but not to this page"
        : "can't be reached (is it up, and in this page's connect-src?)";
      throw `${url.origin} ${why}: its CHATKIT_TRUSTED_ORIGINS must list ${location.origin}`;
    }
    const { html, styles, loader, kit, message } = await answer.json();
    if (message) throw message;
    // On a static page of the site's own the cookie tells who the visitor is, as on its others.
    kit.embedded = url.origin !== location.origin;

    const add = (tag, name, value, more) => {
      const node = document.querySelector(`${tag}[${name}="${value}"]`);
      if (node) return node;
      const made = document.createElement(tag);
      const address = tag === "script" ? trusted("createScriptURL", value) : value;
      document.head.append(Object.assign(made, { [name]: address, nonce: own.nonce }, more));
      return made;
    };
    const link = add("link", "href", styles, { rel: "stylesheet" });
    await new Promise((done) => {
      if (link.sheet) done();
      for (const type of ["load", "error"]) link.addEventListener(type, done);
      setTimeout(done, 3000);
    });
    if (document.readyState === "loading") {
      await new Promise((done) => document.addEventListener("DOMContentLoaded", done));
    }
    const insert = () => {
      const widget = document.createRange().createContextualFragment(trusted("createHTML", html));
      const place = target ? document.querySelector(target) : document.body;
      // What a page cache put back is there already.
      if (place && !document.getElementById(widget.firstChild.id)) {
        if (!target && own.nodeType && place.contains(own)) own.before(widget);
        else place.append(widget);
      }
      return place;
    };
    // A tag in the head runs once, and Turbo or htmx put another body under it.
    for (const type of ["turbo:load", "htmx:load", "htmx:after:process"]) {
      document.addEventListener(type, () => own.isConnected !== false && insert());
    }
    if (!insert()) throw `nothing matches data-target: ${target}`;
    if (window.FlaskChatKit?.kits?.[kit.base]) window.FlaskChatKit.scan();
    else add("script", "src", loader).dataset.kit = JSON.stringify(bare(kit));
  };

  // Without what a page's scripts have given all lists and objects: a toJSON, say.
  const bare = (value) =>
    Array.isArray(value)
      ? Object.setPrototypeOf(value.map(bare), null)
      : value && typeof value === "object"
        ? Object.assign(
            Object.create(null),
            ...Object.entries(value).map(([name, each]) => ({ [name]: bare(each) })),
          )
        : value;

  // The tag that runs this, whatever is named so in the page. A module has none: its address is in
  // the trace of an error. What has no address is a copy that an optimiser has put into the page, or
  // jQuery, by the nonce that only who may run scripts knows.
  const ran = Reflect.get(Document.prototype, "currentScript", document);
  const [src] = (!ran && /https?:\S+?\/embed\.js(\?[^\s:)]*)?/.exec(new Error().stack)) || [];
  const isOwn = (tag) =>
    src
      ? tag.src === src && tag.type === "module"
      : /\/embed\.js(\?|$)/.test(tag.src) && tag.nonce === (ran?.nonce ?? "");
  const found = ran?.src ? [ran] : [...document.querySelectorAll("script[src]")].filter(isOwn);
  // A page may import it without a tag, too.
  if (!found[0]) found.push(src ? { src, dataset: {} } : ran);
  for (const tag of found) {
    start(tag).catch((error) => console.error("flask_chatkit:", error));
  }
})();
