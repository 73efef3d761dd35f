// What a visitor does with items: actions of widgets, answers to questions, feedback, another try.

import { valuesOf } from "./fields.js";

/** @import { Chat } from "./chat.js" */
/** @import { Action, Entry, Item } from "./types.js" */

/**
 * An action as it is sent, with the values of its form in the payload.
 * @param {Action} action
 * @param {Record<string, any>} values
 */
const filledIn = ({ type, payload }, values) => {
  const merged = Object.keys(values).length > 0 ? { ...payload, ...values } : payload;
  return { type, ...(merged !== undefined && { payload: merged }) };
};

export class Actions {
  /** @type {Chat} */
  #chat;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  get #threadId() {
    return this.#chat.store.thread?.id;
  }

  /**
   * Do what a control of a widget asks for.
   * @param {Entry} entry
   * @param {Action} action
   * @param {any} control
   * @param {Record<string, any>} values of the control
   * @param {any} form whose values are sent, too
   */
  async act(entry, action, control, values = {}, form = control.closest?.("form")) {
    const { store, notices, view } = this.#chat;
    const { handler, loadingBehavior = "auto", streaming } = action;
    if (handler !== "client" && streaming !== false && store.run) {
      view.announce(store.text.answering);
      return;
    }
    const whole = loadingBehavior === "container" || (loadingBehavior === "auto" && form);
    const waits = loadingBehavior === "none" ? null : whole ? entry.row : control;
    waits?.setAttribute("aria-busy", "true");
    try {
      await this.#perform(entry, action, { ...valuesOf(form), ...values });
    } catch (error) {
      notices.fail(error);
    } finally {
      waits?.removeAttribute("aria-busy");
    }
  }

  /**
   * @param {Entry} entry
   * @param {Action} action
   * @param {Record<string, any>} values
   */
  async #perform({ item }, action, values) {
    const { store, client, responses } = this.#chat;
    const sent = filledIn(action, values);
    const params = { thread_id: this.#threadId, item_id: item.id, action: sent };
    if (action.handler === "client") {
      const { id, widget } = item;
      await store.options.widgets?.onAction?.(sent, { id, widget });
    } else if (action.streaming === false) {
      const answer = await client.json("threads.sync_custom_action", params);
      if (answer.updated_item) store.put(answer.updated_item);
    } else await responses.run({ type: "threads.custom_action", params });
  }

  /**
   * Answer the questions of an item.
   * @param {Item} item
   * @param {Record<string, any>} input
   */
  answer(item, input) {
    const { store, responses } = this.#chat;
    if (store.run) return;
    const params = { thread_id: this.#threadId, item_id: item.id, input };
    responses.run({ type: "threads.add_structured_input", params });
  }

  /**
   * Have a message of the visitor's answered anew.
   * @param {string} [id] of the message; the last one if none is named
   */
  retry(id) {
    const { store, responses, view } = this.#chat;
    if (store.run) return;
    const ids = [...store.items.keys()];
    const mine = store.entries.filter(({ item }) => item.type === "user_message");
    const from = id ?? mine.at(-1)?.item.id;
    if (!from || !store.thread) return;
    for (const later of ids.slice(ids.indexOf(from) + 1)) store.remove(later);
    view.scrollToEnd(true);
    const params = { thread_id: store.thread.id, item_id: from };
    responses.run({ type: "threads.retry_after_item", params });
  }

  /**
   * Say whether a turn of the assistant was good.
   * @param {Entry[]} turn
   * @param {"positive" | "negative"} kind
   * @returns whether the server has it
   */
  async rate(turn, kind) {
    const { client, notices, store, view } = this.#chat;
    const item_ids = turn.map(({ item }) => item.id);
    try {
      await client.json("items.feedback", { thread_id: this.#threadId, item_ids, kind });
    } catch (error) {
      notices.fail(error);
      return false;
    }
    view.announce(store.text.thanks);
    return true;
  }

  /** @param {string} text */
  async copy(text) {
    const { store, view } = this.#chat;
    try {
      await navigator.clipboard.writeText(text);
      view.announce(store.text.copied);
    } catch {
      view.announce(store.text.failed); // not allowed here
    }
  }
}
