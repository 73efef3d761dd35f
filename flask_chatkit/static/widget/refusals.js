// What a visitor needs after a refusal: the way to the site's login and back, and the message that
// was not taken. Fetched when there is one.

import { sleep, tabStore } from "../shared/dom.js";
import { callElement } from "./api.js";
import { unsentKey } from "./secrets.js";

/** @typedef {import("./api.js").Config} Config */
/** @typedef {import("./api.js").Widget} Widget */

const AGAIN_MS = 500; // between two attempts to put a message back, while the element is busy
const ATTEMPTS = 80;
const BETWEEN = "\n\n"; // two messages that were not taken
const SENDS = /^threads\.(create|add_user_message)$/;

/**
 * The address of the site's login, which leads back to this page where it knew the way back to the
 * call that it stood before.
 * @param {string} login the target of its redirect
 * @param {string} call the address that was called
 * @param {string} back where the visitor is
 */
export const leadBack = (login, call, back) => {
  const url = new URL(login, call);
  for (const [name, value] of url.searchParams) {
    let target;
    try {
      target = new URL(value, call);
    } catch {
      continue;
    }
    if (target.href !== call) continue;
    const { pathname, search, hash, href } = new URL(back);
    url.searchParams.set(name, value.startsWith("/") ? pathname + search + hash : href);
  }
  return url.href;
};

/**
 * The text of the message that a request sends; undefined for another call.
 * @param {Request} request
 * @returns {Promise<string | undefined>}
 */
const textOf = async (request) => {
  if (!/json/.test(request.headers.get("Content-Type") ?? "")) return undefined;
  const { type, params } = await request.clone().json();
  if (!SENDS.test(type)) return undefined;
  return params.input.content.map((/** @type {any} */ { text }) => text ?? "").join("");
};

/**
 * Keep the message of a request that was refused, for when this or the next page can send it.
 * @param {Config} config
 * @param {Request} request
 */
export const keepUnsent = async (config, request) => {
  const text = await textOf(request).catch(() => {});
  const kept = tabStore.get(unsentKey(config));
  if (!text || kept?.split(BETWEEN).includes(text)) return;
  tabStore.set(unsentKey(config), kept ? kept + BETWEEN + text : text);
};

/**
 * Forget the message that was kept, since one was taken.
 * @param {Config} config
 * @param {Request} request
 */
export const forgetUnsent = async (config, request) => {
  if (tabStore.get(unsentKey(config)) === null) return;
  const text = await textOf(request).catch(() => {});
  if (text !== undefined) tabStore.set(unsentKey(config), null);
};

/**
 * Give the message of a request back if its answer begins with an error, or there is none; else
 * forget what was kept.
 * @param {Widget} widget
 * @param {Request} request
 * @param {Response} [response]
 */
export const followUnsent = async (widget, request, response) => {
  const { config } = widget;
  if ((await textOf(request)) === undefined) return;
  if (response?.ok && !/^data: {"type":\s?"error"/m.test(await startOf(response))) {
    await forgetUnsent(config, request);
    return;
  }
  await keepUnsent(config, request);
  await restoreUnsent(widget);
};

/**
 * The first event of a stream, and what came before it.
 * @param {Response} response
 */
const startOf = async ({ body }) => {
  let text = "";
  if (!body) return text;
  const decoder = new TextDecoder();
  const reader = body.getReader();
  while (!/^data: .{16}/m.test(text)) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  reader.cancel().catch(() => {});
  return text;
};

/**
 * Put the message that was kept into the composer, unless something is there.
 * @param {Widget} widget
 */
export const restoreUnsent = async (widget) => {
  const { config, element } = widget;
  for (let attempt = 0; attempt < ATTEMPTS && widget.element === element; attempt += 1) {
    const text = tabStore.get(unsentKey(config));
    // What is in the closed frame of OpenAI's element, nobody can see.
    if (!text || !element?.isConnected || element.shadowRoot?.querySelector("textarea")?.value)
      return;
    try {
      await callElement(widget, "setComposerValue", { text });
      tabStore.set(unsentKey(config), null);
      return;
    } catch {
      await sleep(AGAIN_MS);
    }
  }
};
