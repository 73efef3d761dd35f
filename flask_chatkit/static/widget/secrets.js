// Client secrets: minted, kept for the next page of the tab, refreshed, never handed out dead, and
// sent along with what the element asks for.

import { browserStore, NativeRequest, sleep, tabStore, toJson } from "../shared/dom.js";
import { pageHeaders, withPage } from "./api.js";

/** @typedef {import("./api.js").Config} Config */
/** @typedef {import("./api.js").Widget} Widget */
/** @typedef {{secret?: string, session: string, until?: number}} Entry what a tab keeps of a secret */
/**
 * @typedef {Error & {
 *   reason: string,
 *   serverMessage?: string | null,
 *   code?: string,
 *   status?: number,
 *   retryAfter?: number,
 *   signIn?: string,
 * }} Failure an error that there is a sentence for, or that the server has one for
 */

const EARLY_SECRET_MS = 3_000; // how long a secret that was requested early is handed out
const EXPIRY_MARGIN_MS = 30_000; // a secret that has less left is not handed out again
const REQUEST_MS = 30_000;
const REACH_MS = 5_000; // how long the site takes at most to say that it is there
const MAX_RETRY_AFTER = 60; // seconds that a visitor is kept waiting
const REASON = "X-ChatKit-Reason";
/** @type {Record<string, string>} */
const REASONS = { csrf: "stale", session_ended: "stale", workflow_ended: "ended" };

/** @type {Set<string>} */
const dead = new Set(); // secrets that were reported as expired
/** @type {Map<string, Promise<string>>} */
const pending = new Map(); // one request serves all who wait for the same chat
/** @type {Map<string, string>} */
const csrfTokens = new Map(); // base of a kit → what took the place of the page's own
/** @type {Map<string, string>} */
const foreign = new Map(); // page of a chat → thread of who was signed in before

/**
 * @param {string} reason
 * @param {object} [more]
 * @returns {Failure}
 */
export const failure = (reason, more) => Object.assign(new Error(reason), { reason, ...more });

/** @param {Config} config */
export const loadEntry = (config) => {
  try {
    return /** @type {Entry | null} */ (JSON.parse(tabStore.get(config.page) ?? "null"));
  } catch {
    return null;
  }
};

/**
 * @param {Config} config
 * @param {Entry} entry
 */
const saveEntry = (config, entry) => tabStore.set(config.page, toJson(entry));

/**
 * The secret of an entry, if it can still be used.
 * @param {Entry | null} entry
 */
export const freshSecret = (entry) =>
  entry?.secret && !dead.has(entry.secret) && (entry.until ?? 0) > Date.now() ? entry.secret : null;

// The thread that a page of this tab was in, for the next one.
/** @param {Config} config */
export const loadThread = (config) => tabStore.get(`thread:${config.page}`);
/**
 * @param {Config} config
 * @param {string | null} id
 */
export const saveThread = (config, id) => tabStore.set(`thread:${config.page}`, id);

/**
 * Whether the visitor is known by a token: of another site's page, unless it may chat as whoever is
 * signed in on the kit's.
 * @param {Config} config
 */
const usesToken = ({ embedded, login }) => embedded && !login;

/**
 * Whether cookies go along, to a kit on a subdomain too; which origins may, the server decides.
 * @param {Config} config
 * @returns {"omit" | "include"}
 */
export const credentialsOf = (config) => (usesToken(config) ? "omit" : "include");

/**
 * The header of a served session's token. `Authorization` belongs to a proxy's HTTP Basic.
 * @param {string} token
 */
export const tokenHeader = (token) => ({ "X-ChatKit-Token": token });

/**
 * The header by which Flask-WTF knows the site's own pages.
 * @param {Config} config
 * @returns {Record<string, string>}
 */
const csrfHeader = ({ embedded, base }) => {
  // Another site's page keeps its token to itself.
  if (embedded) return {};
  /** @type {any} */
  const node = document.querySelector('meta[name="csrf-token"], input[name="csrf_token"]');
  const token = csrfTokens.get(base) ?? (node && (node.content ?? node.value));
  return token ? { "X-CSRFToken": token } : {};
};

/**
 * Set headers of ours, which count before what the page sends.
 * @param {Headers} headers
 * @param {Record<string, string>} own
 */
const addHeaders = (headers, own) => {
  for (const [name, value] of Object.entries(own)) headers.set(name, value);
  return headers;
};

/**
 * Take another CSRF token: that of the page may have run out.
 * @param {Config} config
 * @returns {Promise<boolean>} whether there is one
 */
const renewCsrfToken = async ({ embedded, base, page }) => {
  if (embedded) return false;
  // Few need it: it is none of the modules that each visitor waits for.
  const csrf = await import("./csrf.js").catch(() => null);
  const token = await csrf?.fetchToken(page);
  if (token) csrfTokens.set(base, token);
  return Boolean(token);
};

/**
 * Send a request that may need a CSRF token, and once more if the token has run out.
 * @param {Config} config
 * @param {(headers: Record<string, string>) => Promise<Response>} send
 */
const withCsrfToken = async (config, send) => {
  const response = await send(csrfHeader(config));
  const isRenewed = response.headers.get(REASON) === "csrf" && (await renewCsrfToken(config));
  return isRenewed ? send(csrfHeader(config)) : response;
};

/**
 * Whether the site answers at all: `navigator.onLine` knows a machine's networks, not its servers.
 * @param {Config} config
 */
export const isReachable = ({ page }) => {
  const signal = AbortSignal.timeout?.(REACH_MS);
  // Whatever it answers, and also to a page that may not read it.
  return fetch(`${page}config`, {
    method: "HEAD",
    mode: "no-cors",
    cache: "no-store",
    signal,
  }).then(
    () => true,
    () => false,
  );
};

/**
 * Send a request to the kit.
 * @param {Config} config
 * @param {string} url
 * @param {"GET" | "POST"} method
 * @returns {Promise<any>} the JSON of the answer
 */
const requestJson = async (config, url, method) => {
  const headers = await pageHeaders(config);
  headers.set("Accept", "application/json");
  if (method === "POST") headers.set("Content-Type", "application/json");
  // On another site's page a cookie would be a third party's: a signed token stands in its place.
  const visitorKey = `visitor:${config.base}`;
  if (usesToken(config)) {
    // What else is kept there would be no header, and fetch would not even try.
    const kept = browserStore.get(visitorKey) ?? "";
    headers.set("X-ChatKit-Visitor", /^[\w.-]*$/.test(kept) ? kept : "");
  }
  /** @param {Record<string, string>} [csrf] */
  const send = (csrf = {}) =>
    fetch(url, {
      method,
      headers: addHeaders(new Headers(headers), csrf),
      body: method === "POST" ? "{}" : undefined,
      credentials: credentialsOf(config),
      cache: "no-store",
      signal: AbortSignal.timeout?.(REQUEST_MS),
    });
  let response;
  try {
    response = await (method === "POST" ? withCsrfToken(config, send) : send());
  } catch {
    throw failure("offline");
  }
  // What stands between may answer for the site, with a page of its own.
  const body = await response.json().catch(() => null);
  if (!response.ok || !body || typeof body !== "object")
    throw await failureOf(config, response, body);
  // A visitor for this answer only does not replace the one whom the next one may know.
  if (usesToken(config) && typeof body.visitor === "string" && !body.temporary) {
    browserStore.set(visitorKey, body.visitor);
  }
  return body;
};

/**
 * The address of the site's login, and back.
 * @param {Config} config
 * @param {string} login
 * @param {string} call
 */
const signInLink = async ({ embedded, page }, login, call) => {
  try {
    // Few need it: it is none of the modules that each visitor waits for.
    const { leadBack } = await import("./refusals.js");
    return leadBack(login, call, embedded ? page : location.href);
  } catch {
    return new URL(login, call).href;
  }
};

/**
 * Where the message is kept that was refused, for the composer.
 * @param {Config} config
 */
export const unsentKey = ({ page }) => `unsent:${page}`;

/** @param {Config} config */
export const hasUnsent = (config) => tabStore.get(unsentKey(config)) !== null;

/**
 * Do something about a message that may have been refused; it is lost where not even a module comes.
 * @param {(refusals: typeof import("./refusals.js")) => Promise<void>} act
 */
const withRefusals = (act) => import("./refusals.js").then(act).catch(() => {});

/**
 * Give the message of a request back to OpenAI's element unless the server has taken it. The built-in
 * chat does that by itself.
 * @param {Widget} widget
 * @param {Request} request
 * @param {Response} [response] none if the server could not be reached
 */
const followUnsent = (widget, request, response) => {
  if ("builtin" in widget.root.dataset) {
    if (response && hasUnsent(widget.config))
      withRefusals(({ forgetUnsent }) => forgetUnsent(widget.config, request));
    return;
  }
  const copy = response?.clone(); // before the element reads it
  withRefusals((refusals) => refusals.followUnsent(widget, request, copy));
};

/**
 * @param {Config} config
 * @param {Response} response
 * @param {any} body
 */
const failureOf = async (config, { status, headers, url }, body) => {
  const reason = REASONS[headers.get(REASON) ?? ""] ?? "failed";
  const login = headers.get("X-ChatKit-Sign-In");
  return failure(reason, {
    // That one's words are for who develops the site.
    serverMessage: reason !== "stale" && typeof body?.message === "string" ? body.message : null,
    code: body?.error?.code,
    status,
    retryAfter: Number(headers.get("Retry-After")),
    signIn: login ? await signInLink(config, login, url) : undefined,
  });
};

/**
 * Send one request after the other, in all tabs: the first one's answer brings the cookie by which
 * the next ones are the same visitor's.
 * @param {() => Promise<any>} send
 */
const inTurn = (send) =>
  // A sandboxed frame, whose origin is none, has locks that it may not use.
  (window.origin !== "null" && navigator.locks?.request("chatkit", send)) || send();

/**
 * Post, and once more after the time that the server asks to wait, if that is not too long.
 * @param {Config} config
 * @param {string} url
 */
const post = async (config, url) => {
  const once = () => inTurn(() => requestJson(config, url, "POST"));
  try {
    return await once();
  } catch (error) {
    const { retryAfter = 0 } = /** @type {Failure} */ (error);
    if (!(retryAfter > 0 && retryAfter <= MAX_RETRY_AFTER)) throw error;
    await sleep(retryAfter * 1000);
    return once();
  }
};

/**
 * The secret of an earlier page of this tab, if it is still good and still this visitor's: after a
 * login, a logout or a lost cookie the server does not know the session any more.
 * @param {Config} config
 * @param {Entry | null} entry
 */
const reuseSecret = async (config, entry) => {
  const secret = freshSecret(entry);
  if (!entry || !secret) return null;
  const url = `${config.page}session/${entry.session}/validate`;
  const answer = await requestJson(config, url, "GET").catch(() => null);
  return answer?.status === "active" ? secret : null;
};

/**
 * Whether a thread of a served chat is that of the visitor whom a secret is for, as far as the
 * server can say.
 * @param {Config} config
 * @param {string} secret
 * @param {string} thread
 */
const ownsThread = async (config, secret, thread) => {
  const site = await pageHeaders(config);
  const own = { "Content-Type": "application/json", ...tokenHeader(secret) };
  const response = await withCsrfToken(config, (csrf) =>
    fetch(`${config.page}api`, {
      method: "POST",
      headers: addHeaders(new Headers(site), { ...own, ...csrf }),
      body: toJson({ type: "threads.get_by_id", params: { thread_id: thread } }),
      credentials: credentialsOf(config),
    }),
  ).catch(() => null);
  return !response || response.ok || response.status === 429 || response.status >= 500;
};

/**
 * @param {Config} config
 * @param {Entry | null} entry the session that is replaced
 * @returns {Promise<string>}
 */
const mintSecret = async (config, entry) => {
  let minted;
  if (entry) {
    const url = `${config.page}session/${entry.session}/refresh`;
    minted = await post(config, url).catch((error) => {
      // Not this visitor's session, or not one any more.
      if (error.status !== 404) throw error;
    });
  }
  const thread = minted ? null : loadThread(config);
  minted ??= await post(config, `${config.page}secret`);
  const { client_secret: secret, session_id: session, expires_in: seconds } = minted;
  if (typeof secret !== "string" || !secret || !(seconds > 0)) throw failure("failed");
  // Who has signed in since keeps the conversation: a served chat's threads come along. Somebody
  // else's is not this visitor's to go on with. A page that is left meanwhile has changed nothing.
  if (thread && !(config.served && (await ownsThread(config, secret, thread)))) {
    foreign.set(config.page, thread);
    saveThread(config, null);
  }
  const margin = Math.min(EXPIRY_MARGIN_MS, seconds * 250);
  saveEntry(config, { secret, session, until: Date.now() + seconds * 1000 - margin });
  return secret;
};

/** @param {Config} config */
const obtainSecret = async (config) => {
  const entry = loadEntry(config);
  return (await reuseSecret(config, entry)) ?? mintSecret(config, entry);
};

/**
 * What ChatKit's element calls.
 * @param {Config} config
 * @param {string | null} current the secret that is about to expire; null at first
 */
export const getClientSecret = async (config, current) => {
  if (current) {
    dead.add(current);
    const entry = loadEntry(config);
    // Only what refreshing needs stays, so that the next page can't hand the dead one out either.
    if (entry?.secret === current) saveEntry(config, { session: entry.session });
  }
  // Twice: the request that is under way may bring the very secret that is about to expire.
  for (let attempt = 0; attempt < 2; attempt += 1) {
    let request = pending.get(config.page);
    if (!request) {
      request = obtainSecret(config).finally(() => pending.delete(config.page));
      pending.set(config.page, request);
    }
    const secret = await request;
    if (!dead.has(secret)) return secret;
  }
  throw failure("failed");
};

/**
 * Request the first secret beside the script, since each takes a while. It is handed out once, and
 * soon: later the visitor may be another one, and what has failed may work.
 * @param {Widget} widget
 */
export const requestEarly = (widget) => {
  const secret = getClientSecret(widget.config, null);
  widget.early = { secret, until: Date.now() + EARLY_SECRET_MS };
  // Who hands it out sees the failure.
  return secret.catch(() => {});
};

/** @param {Widget} widget */
export const firstSecret = (widget) => {
  const { config, early } = widget;
  widget.early = null;
  return early && early.until > Date.now() ? early.secret : getClientSecret(config, null);
};

// --- the calls of the element ---------------------------------------------------------------------

/**
 * @typedef {object} Reports what the element's first calls tell of it; they come from the element
 *   that the options were made for, as long as it is the widget's
 * @property {(widget: Widget) => void} onReady
 * @property {(widget: Widget, error: any) => string} onFailure returns what the visitor reads
 */

/**
 * @param {Widget} widget
 * @param {Reports} reports
 */
export const hostedApi = (widget, { onReady, onFailure }) => {
  const { config, element } = widget;
  return {
    /** @param {string | null} current */
    getClientSecret: async (current) => {
      clearTimeout(widget.watchdog);
      try {
        const secret = await (current ? getClientSecret(config, current) : firstSecret(widget));
        if (widget.element !== element) return secret;
        onReady(widget);
        if (isForeign(widget)) onFailure(widget, failure("changed"));
        return secret;
      } catch (error) {
        if (widget.element !== element) throw error;
        throw new Error(onFailure(widget, error));
      }
    },
  };
};

/**
 * The text of a message that is sent, and whether its thread is there already.
 * @param {RequestInit} [init]
 */
const messageIn = ({ body } = {}) => {
  // Not what a large body holds besides, a recording for example.
  if (typeof body !== "string" || !/"threads\.(create|add_user_message)"/.test(body)) return null;
  const { type, params } = JSON.parse(body);
  if (!params?.input) return null;
  const { content, quoted_text: reply } = params.input;
  const text = content.map((/** @type {{text?: string}} */ part) => part.text ?? "").join("");
  return { message: { text, ...(reply && { reply }) }, hasThread: type !== "threads.create" };
};

/**
 * @param {Widget} widget
 * @param {Reports} reports
 */
export const servedApi = (widget, reports) => {
  const { config } = widget;
  const { page, domainKey, upload } = config;
  const credentials = credentialsOf(config);
  return {
    url: `${page}api`,
    domainKey,
    /**
     * @param {RequestInfo} input
     * @param {RequestInit} [init]
     */
    fetch: async (input, init) => {
      const request = new NativeRequest(input, { ...init, credentials });
      const sent = messageIn(init);
      widget.hasCalled = true;
      // Kept until it is in a thread that is known.
      if (sent) Object.assign(widget, { draft: null, sent: sent.message });
      const response = await fetchAsVisitor(widget, reports, request);
      if (sent?.hasThread && response.ok) widget.sent = null;
      if (!("builtin" in widget.root.dataset) && response.headers.has("X-ChatKit-Answer")) {
        outlive(widget, request, response);
      }
      return response;
    },
    ...(upload && {
      uploadStrategy: {
        type: upload,
        ...(upload === "direct" && { uploadUrl: `${page}attachments` }),
      },
    }),
  };
};

/**
 * Follow an answer that goes on when its request ends.
 * @param {Widget} widget
 * @param {Request} request
 * @param {Response} response
 */
const outlive = async (widget, request, response) => {
  const { config } = widget;
  /**
   * @param {string} name
   * @param {object} body
   */
  const call = (name, body) =>
    sendWithToken(
      config,
      new NativeRequest(`${config.page}api/${name}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: toJson(body),
        credentials: credentialsOf(config),
        keepalive: name === "stop",
      }),
    );
  try {
    const { follow } = await import("./outlive.js");
    await follow(widget, request, response, call);
  } catch {
    // The answer ends by itself, and is there when the thread is opened next.
  }
};

/**
 * Send a request of the element with the visitor's token. One that is not good any more, or not this
 * visitor's, is answered by 401, and made anew once.
 * @param {Config} config
 * @param {Request} plain
 */
const sendWithToken = async (config, plain) => {
  const request = await withPage(config, plain);
  /** @param {string} token */
  const send = (token) =>
    withCsrfToken(config, (csrf) => {
      const copy = request.clone();
      addHeaders(copy.headers, { ...csrf, ...tokenHeader(token) });
      return fetch(copy);
    });
  const token = freshSecret(loadEntry(config)) ?? (await getClientSecret(config, null));
  const response = await send(token);
  return response.status === 401 ? send(await getClientSecret(config, token)) : response;
};

/**
 * Whether the open thread is that of somebody who was signed in before.
 * @param {Widget} widget
 */
const isForeign = ({ config, root }) =>
  Boolean(root.dataset.thread) && foreign.get(config.page) === root.dataset.thread;

/**
 * Why a call was refused, if the visitor has to do something about it.
 * @param {Widget} widget
 * @param {Response} response
 * @returns {Promise<Failure | null>}
 */
const refusalOf = async (widget, response) => {
  const { status, headers } = response;
  if (status === 401 || REASONS[headers.get(REASON) ?? ""] === "stale") {
    const body = await response
      .clone()
      .json()
      .catch(() => null);
    return failureOf(widget.config, response, body);
  }
  return status === 404 && isForeign(widget) ? failure("changed", { status }) : null;
};

/**
 * Whether the visitor reads a message above the chat, which need not say it again.
 * @param {Widget} widget
 * @param {string} message
 */
const isShown = ({ notice }, message) => notice.textContent?.includes(message);

/**
 * What the element of a served chat calls in fetch's place. What it rejects with, or answers, has
 * words for the visitor.
 * @param {Widget} widget
 * @param {Reports} reports
 * @param {Request} request
 */
const fetchAsVisitor = async (widget, { onReady, onFailure }, request) => {
  const { config, element } = widget;
  clearTimeout(widget.watchdog);
  try {
    const response = await sendWithToken(config, request);
    if (widget.element !== element) return response;
    const refusal = await refusalOf(widget, response);
    if (!refusal) {
      onReady(widget);
      followUnsent(widget, request, response);
      return response;
    }
    await withRefusals(({ keepUnsent }) => keepUnsent(config, request));
    const message = onFailure(widget, refusal);
    const init = { status: response.status, headers: { "Content-Type": "application/json" } };
    return new Response(toJson({ message, told: isShown(widget, message) }), init);
  } catch (thrown) {
    const error = /** @type {Failure} */ (thrown);
    // Stop is an abort.
    if (error.name === "AbortError" || widget.element !== element) throw error;
    if (error instanceof TypeError || error.reason === "offline") {
      // A chat that has shown something reports this itself.
      if (!widget.isReady) onFailure(widget, failure("offline"));
      followUnsent(widget, request);
      throw new TypeError(error.message);
    }
    await withRefusals(({ keepUnsent }) => keepUnsent(config, request));
    const message = onFailure(widget, error);
    throw Object.assign(new Error(message), { told: isShown(widget, message) });
  }
};
