// Notices at the end of the conversation: what went wrong, and what the server wants known.

import { h } from "../shared/dom.js";
import { button, iconButton } from "./controls.js";
import { icon } from "./icons.js";
import { showMarkdown } from "./markdown.js";

/** @import { Chat } from "./chat.js" */
/** @import { Failure } from "./helpers.js" */
/** @import { Item, Run } from "./types.js" */

export class Notices {
  /** @type {Chat} */
  #chat;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /**
   * Show a notice until the visitor dismisses it.
   * @param {string} message Markdown
   * @param {object} how
   * @param {string} [how.level] "info", "warning" or "danger"
   * @param {string} [how.title]
   * @param {() => unknown} [how.again] tries once more
   */
  show(message, { level = "info", title, again }) {
    const { composer, store } = this.#chat;
    const { text } = store;
    const body = h("div", { className: "md", dir: "auto" });
    showMarkdown(body, message ?? "", { text });
    const role = level === "danger" ? "alert" : "status";
    const node = h(
      "div",
      { className: `notice ${level}`, role },
      icon(level === "info" ? "info" : "warning"),
      h("div", {}, title && h("p", { dir: "auto" }, h("strong", {}, title)), body),
    );
    const remove = () => {
      node.remove();
      composer.focus();
    };
    const retry = () => {
      if (store.run) return;
      remove();
      again?.();
    };
    if (again) node.append(button(text.retry, retry));
    node.append(iconButton(text.dismiss, "close", remove));
    this.#append(node);
  }

  /**
   * Show what went wrong, with a button to try again if there is a way.
   * @param {unknown} thrown
   * @param {Run} [run] the answer that failed
   */
  fail(thrown, run) {
    const { store, rows } = this.#chat;
    const error = /** @type {Error & Failure} */ (thrown);
    store.dispatch("error", { error });
    const unsent = store.items.get(run?.request?.sent ?? "");
    const again = (error.retry && run && this.#retryOf(run)) || error.again;
    if (unsent) rows.markUnsent(unsent);
    this.show(error.message, { level: "danger", again });
  }

  /**
   * What tries once more to have an answer.
   * @param {Run} run
   */
  #retryOf({ got, request }) {
    const { actions, responses, store } = this.#chat;
    if (!request) return undefined;
    const unsent = store.items.get(request.sent ?? "");
    return () => {
      if (got && !unsent) return actions.retry();
      const { thread } = store;
      if (request.type !== "threads.create" || !thread) return responses.run(request);
      // The thread may be there already, without the message.
      const params = { ...request.params, thread_id: thread.id };
      return responses.run({ ...request, type: "threads.add_user_message", params });
    };
  }

  /**
   * Offer to go on with a client tool that was not answered: the page was left meanwhile.
   * @param {Item} call
   */
  offerTool(call) {
    const { responses, store } = this.#chat;
    const { text } = store;
    const node = h(
      "div",
      { className: "notice info", role: "status" },
      icon("info"),
      h("p", {}, text.waiting),
    );
    const go = async () => {
      if (store.run) return;
      node.remove();
      responses.run(await responses.callTool(call));
    };
    node.append(button(text.continue, go));
    this.#append(node);
  }

  /** Remove those of errors: what is tried now makes them untrue. */
  removeErrors() {
    const { thread } = this.#chat.view.nodes;
    for (const old of thread.querySelectorAll(":scope > .notice.danger")) old.remove();
  }

  /** @param {HTMLElement} node */
  #append(node) {
    const { view } = this.#chat;
    view.nodes.thread.append(node);
    view.scrollToEnd();
  }
}
