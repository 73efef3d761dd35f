// Calls to the server.

import { failure } from "./helpers.js";

/** @import { Store } from "./store.js" */

export class Client {
  /** @type {Store} */
  #store;

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
  }

  /**
   * Fetch a URL with the function of the page, if it is on the server's origin.
   * @param {string} url
   * @param {RequestInit} init
   */
  fetch(url, init) {
    const { fetch: given, url: api } = this.#store.options.api;
    const there = new URL(url, document.baseURI);
    const home = new URL(api, document.baseURI);
    // What a page's own fetch adds, a token say, is for its own server only.
    return given && there.origin === home.origin ? given(url, init) : fetch(url, init);
  }

  /**
   * Send a request of the protocol.
   * @param {{type: string, params: object}} request
   * @param {AbortSignal} [signal]
   */
  async post(request, signal) {
    let response;
    try {
      response = await this.fetch(this.#store.options.api.url, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          Accept: "text/event-stream, application/json",
        },
        body: JSON.stringify(request),
        signal,
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      // A browser's message is for developers, that of a page's own fetch for visitors.
      const { message } = /** @type {Error} */ (error);
      const isOwn = !(error instanceof TypeError);
      throw failure(isOwn ? message : this.#store.text.offline, { cause: error, retry: true });
    }
    await this.check(response);
    return response;
  }

  /**
   * @param {Response} response
   * @throws what the server said, if it has refused
   */
  async check(response) {
    if (response.ok) return;
    const body = await response.json().catch(() => null);
    const message = typeof body?.message === "string" && body.message;
    const { status } = response;
    const retry = status >= 500 || status === 429 || status === 408 || status === 401;
    throw failure(message || this.#store.text.failed, { status, retry });
  }

  /**
   * Send a request that is answered by JSON.
   * @param {string} type
   * @param {object} params
   * @returns {Promise<any>}
   */
  async json(type, params) {
    const response = await this.post({ type, params });
    const body = await response.json().catch(() => null);
    if (body === null) throw failure(this.#store.text.failed, { retry: true });
    return body;
  }
}
