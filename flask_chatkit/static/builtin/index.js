/**
 * The built-in chat: <flask-chatkit-chat>, in which a served chat goes on when OpenAI's element does
 * not come. It takes the same options, methods and events, and speaks the same protocol to the same
 * endpoint.
 *
 * A page has other words with setStrings({send: "Senden"}, "de").
 */

const TAG = "flask-chatkit-chat";

// Begun here, so that they come while the modules that import them do.
for (const name of ["forms.js", "items.js", "textview.js", "blocks.js", "prose.js"])
  import(`./${name}`).catch(() => {});
for (const name of ["marked.mjs", "purify.mjs"]) import(`../vendor/${name}`).catch(() => {});

/** Define the element, when its modules have come. Where they have not, the next call tries again. */
export const define = async () => {
  const { BuiltinChat } = await import("./element.js");
  if (!customElements.get(TAG)) customElements.define(TAG, BuiltinChat);
};

define().catch(() => {});
