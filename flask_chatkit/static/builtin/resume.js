// What outlives a page of a tab: an answer that goes on, a draft, and the place where one was reading.

import { sleep, tabStore, toJson } from "../shared/dom.js";
import { Part } from "./store.js";

/** @import { Request, Run } from "./types.js" */

/** How the last answer of a thread stands; servers that let one end with its request say nothing. */
export const ANSWER = "X-ChatKit-Answer";
/** The id of an answer. */
export const ANSWER_ID = "X-ChatKit-Answer-Id";

const POLLS = 12;
const POLL_MS = 3_000;
const SETTLE_MS = 150; // after the last scroll
const NEAR = 60; // pixels from the end that count as the end

/** The answers that another page has begun, and those that this one leaves. */
export class Resume extends Part {
  /** @type {string | null} the thread whose answer was waited for in vain */
  #waited = null;

  /** @param {string} id */
  #key(id) {
    return `answer:${this.options.api.url}:${id}`;
  }

  /**
   * Note for the next page of this tab that an answer comes in, or that it has ended.
   * @param {string | null | undefined} id of the thread
   * @param {boolean} isRunning
   */
  note(id, isRunning) {
    if (id) tabStore.set(this.#key(id), isRunning ? "1" : null);
  }

  /**
   * Load a thread, and how its last answer stands.
   * @param {string} id
   * @returns {Promise<{thread: any, state: string | null}>}
   */
  async load(id) {
    const { client } = this.chat;
    const request = { type: "threads.get_by_id", params: { thread_id: id } };
    const response = await client.post({ ...request, metadata: { answer: true } });
    return { thread: await client.read(response), state: response.headers.get(ANSWER) };
  }

  /**
   * Go on with the last answer of a thread that was just loaded, or say that it was cut off.
   * @param {string} id
   * @param {string | null} state
   */
  follow(id, state) {
    const { actions, notices, responses, store } = this.chat;
    const isOwn = tabStore.get(this.#key(id)) !== null;
    const isElsewhere = state === "elsewhere" && isOwn && this.#waited !== id;
    if (store.run) return;
    if (state === "running" || isElsewhere) {
      this.#waited = isElsewhere ? id : null;
      const polls = isElsewhere;
      responses.run({ type: "resume", params: { thread_id: id }, resumes: { isOwn, polls } });
      return;
    }
    this.note(id, false);
    if (state === "interrupted" || (isOwn && state)) {
      notices.show(store.text.interrupted, { level: "warning cut", again: () => actions.retry() });
    }
  }

  /**
   * Read what another page has begun, from its start.
   * @param {Request} request
   * @param {Run} run
   * @returns {Promise<Response | null>} null once it has ended
   */
  async read({ params, resumes }, run) {
    const { client, store } = this.chat;
    if (!resumes?.polls) {
      const response = await client.call("resume", params, { signal: run.abort.signal });
      await client.check(response);
      return response.status === 204 ? null : response;
    }
    for (let count = 0; count < POLLS; count += 1) {
      await sleep(POLL_MS);
      if (store.run !== run) break;
      const { state } = await this.load(params.thread_id);
      if (state !== "elsewhere") break;
    }
    return null;
  }

  /**
   * @param {string} id of the thread
   * @param {string | undefined} answer
   */
  stop(id, answer) {
    this.note(id, false);
    // What can't be told there ends by itself.
    const body = { thread_id: id, answer };
    this.chat.client.call("stop", body, { keepalive: true }).catch(() => {});
  }
}

/** What a tab remembers of each thread: the text that is not sent yet, and where one was reading. */
export class Memory extends Part {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {string} kind */
  #key(kind) {
    return `${kind}:${this.options.api.url}:${this.store.thread?.id ?? ""}`;
  }

  /** The model that was chosen last, in whatever thread; an empty string for none. */
  get model() {
    return tabStore.get(`model:${this.options.api.url}`) ?? "";
  }

  set model(id) {
    tabStore.set(`model:${this.options.api.url}`, id || null);
  }

  get draft() {
    return tabStore.get(this.#key("draft")) ?? "";
  }

  /** Keep what is written, and what waits for the end of an answer. */
  keepDraft() {
    const { composer, queue } = this.chat;
    const written = [queue.written, composer.nodes.input.value].filter(Boolean);
    tabStore.set(this.#key("draft"), written.join("\n\n") || null);
  }

  /**
   * Keep what belongs to the thread that is left, and show the draft of the one that comes.
   * @param {() => void} change
   */
  switchThread(change) {
    const { composer, store } = this.chat;
    const before = store.thread?.id;
    if (this.#timer) this.#keepPlace();
    change();
    if (store.thread?.id === before) return;
    composer.nodes.input.value = this.draft;
    composer.update();
  }

  /** Take along what was written in a new chat, which has become a thread. */
  becomeThread() {
    tabStore.set(`draft:${this.options.api.url}:`, null);
    this.keepDraft();
  }

  /** The visitor has scrolled. */
  scrolled() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#keepPlace(), SETTLE_MS);
  }

  #keepPlace() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { store, view } = this.chat;
    const { log, thread } = view.nodes;
    if (!store.thread || store.opening) return;
    const { top } = log.getBoundingClientRect();
    const isEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    /** @param {Element | null | undefined} node */
    const isBelow = (node) => Boolean(node && node.getBoundingClientRect().bottom > top);
    // To ask for a row lays out all of its group, which may be far from what is shown.
    const groups = [...thread.children];
    const near = new Set(groups.slice(groups.findIndex(isBelow)));
    const first = store.entries.find(
      ({ row }) => row?.parentElement && near.has(row.parentElement) && isBelow(row),
    );
    const at = first?.row && Math.round(first.row.getBoundingClientRect().top - top);
    const place = first && !isEnd ? toJson([first.item.id, at]) : null;
    tabStore.set(this.#key("place"), place);
  }

  /** Go where one was reading; false if that was the end, or is not there. */
  restorePlace() {
    const { store, view } = this.chat;
    const [id, at] = JSON.parse(tabStore.get(this.#key("place")) ?? "[]");
    const row = store.items.get(id)?.row;
    if (row) view.showAt(row, at);
    return Boolean(row);
  }
}
