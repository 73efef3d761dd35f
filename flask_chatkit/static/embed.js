// The chat on a page of another origin, as the server renders it for this tag's data- attributes.
(async (own) => {
  try {
    const { variant = "floating", target, options = "{}", ...rest } = own.dataset;
    const given = JSON.parse(options);
    for (const [name, text] of Object.entries(rest)) {
      // Page optimisers and Turbo mark each script on the way.
      if (/^(cf|turbo)[A-Za-z]/.test(name)) continue;
      let value = text;
      try {
        if (/^([[{]|(true|false|-?[\d.]+)$)/.test(text)) value = JSON.parse(text);
      } catch {}
      given[name.replace(/[A-Z]/g, "_$&").toLowerCase()] = value;
    }
    const url = new URL("embed.json", own.src);
    url.search = new URLSearchParams({ variant, options: JSON.stringify(given) });
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
      document.head.append(Object.assign(made, { [name]: value, nonce: own.nonce }, more));
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
    const widget = document.createRange().createContextualFragment(html);
    const place = target ? document.querySelector(target) : document.body;
    if (!place) throw `nothing matches data-target: ${target}`;
    // What a page cache put back is there already.
    if (!document.getElementById(widget.firstChild.id)) {
      if (!target && place.contains(own)) own.before(widget);
      else place.append(widget);
    }
    if (window.FlaskChatKit?.kits?.[kit.base]) window.FlaskChatKit.scan();
    else add("script", "src", loader).dataset.kit = JSON.stringify(kit);
  } catch (error) {
    console.error("flask_chatkit:", error);
  }
})(document.currentScript);
