// The list of the visitor's threads: over the conversation, or beside it on a wide page of its own.

import { browserStore, h } from "../shared/dom.js";
import { button, failure, iconButton, spinner } from "./controls.js";
import { PAGE_SIZE } from "./conversation.js";
import { Part } from "./store.js";

/** @import { Chat } from "./element.js" */
/** @import { ThreadRow } from "./history/row.js" */
/** @import { Search } from "./history/search.js" */
/** @import { Thread } from "./types.js" */

const MOST = 100; // threads that a search may find
const CLOSED = "sidebar-closed"; // in storage

/**
 * What draws the list, which most visitors never open.
 * @param {string} problem what a visitor reads if it does not come
 */
const loadParts = (problem) =>
  Promise.all([
    import("./history/row.js"),
    import("./history/days.js"),
    import("./history/search.js"),
  ]).catch((cause) => {
    throw failure(problem, { cause });
  });

/** The list, which covers the conversation while it is open, unless it stands beside it. */
export class History extends Part {
  #panel = h("div");
  #list = h("div");
  #end = h("div");
  #back = h("button");
  /** @type {ThreadRow[]} */
  #rows = [];
  /** @type {Search | null} once the server has said that it can search */
  #search = null;
  /** @type {symbol | null} the list that is awaited */
  #turn = null;
  #shown = "";
  /** Whether it stands beside the conversation. */
  isDocked = false;

  /** @param {Chat} chat */
  constructor(chat) {
    super(chat);
    chat.store.on("changed", () => this.#sync());
  }

  /** Make its panel anew, hidden. */
  build() {
    this.#panel = h("div", { className: "history", hidden: true });
    this.#panel.classList.toggle("docked", this.isDocked);
    if (this.isEnabled)
      this.chat.view.whenFull(async () => {
        const { watchWidth } = await import("./history/sidebar.js");
        watchWidth(this.chat);
      });
    return this.#panel;
  }

  get isOpen() {
    return !this.#panel.hidden;
  }

  get isEnabled() {
    return this.options.history?.enabled !== false;
  }

  /**
   * Put it beside the conversation, or over it again.
   * @param {boolean} docks
   */
  dock(docks) {
    if (docks === this.isDocked) return;
    if (!docks) this.hide();
    this.isDocked = docks;
    this.#panel.classList.toggle("docked", docks);
    this.chat.view.nodes.main.inert = false;
    if (docks && !this.isOpen && !browserStore.get(CLOSED)) this.show();
  }

  /** Show or hide it, as the visitor asks. */
  toggle() {
    const isOpen = this.isDocked && this.isOpen;
    if (this.isDocked) browserStore.set(CLOSED, isOpen ? "1" : null);
    if (isOpen) this.hide();
    else this.show();
  }

  /** Show the list, and load it. */
  async show() {
    const { store, view } = this.chat;
    const { text } = store;
    const wasOpen = this.isOpen;
    const hasHeader = store.options.header?.enabled !== false;
    this.#search = null;
    this.#list = h("div", { className: "pasts" });
    this.#end = h("div", { className: "center" });
    this.#back = iconButton(text.hideHistory, "back", () => this.hide(), {
      className: "plain back",
    });
    this.#panel.replaceChildren(
      h(
        "div",
        { className: "header" },
        this.#back,
        h("h2", {}, text.history),
        !hasHeader && store.thread && view.downloadButton(),
      ),
      h("div", { className: "log" }, h("div", { className: "column" }, this.#list, this.#end)),
    );
    this.#panel.hidden = false;
    view.nodes.past.ariaExpanded = "true";
    if (!this.isDocked) {
      view.nodes.main.inert = true;
      this.#back.focus();
    }
    if (!wasOpen) store.dispatch("history.open");
    await this.load();
  }

  hide() {
    if (!this.isOpen) return;
    const { composer, store, view } = this.chat;
    const { main, past } = view.nodes;
    const hadFocus = this.#panel.contains(view.focused);
    main.inert = false;
    this.#panel.hidden = true;
    past.ariaExpanded = "false";
    if (hadFocus) (past.checkVisibility?.() === false ? composer.nodes.input : past).focus();
    store.dispatch("history.close");
  }

  /** Give way to the conversation. */
  leave() {
    if (!this.isDocked) this.hide();
  }

  /**
   * Load the list, or more of it.
   * @param {string} [after] the last thread that is shown
   * @param {number} [limit]
   */
  async load(after, limit = PAGE_SIZE) {
    const { client, store } = this.chat;
    const { text } = store;
    const query = this.#search?.query ?? "";
    const turn = Symbol(query);
    this.#turn = turn;
    const end = this.#end;
    if (!this.isDocked || this.#rows.length === 0 || after)
      end.replaceChildren(
        h("p", { className: "progress", role: "status" }, spinner(), text.loading),
      );
    try {
      const params = { limit, order: "desc", ...(after && { after }) };
      const [page, [{ ThreadRow }, { groupOf }, { Search }]] = await Promise.all([
        client.list(params, query),
        loadParts(text.offline),
      ]);
      if (this.#turn !== turn) return;
      const mark = this.#search?.mark;
      const rows = page.data.map(
        (/** @type {any} */ each) => new ThreadRow(this.chat, each, page.found?.[each.id], mark),
      );
      if (page.search && !this.#search) {
        // Before the list, which would move away under the pointer.
        this.#search = new Search(this.chat, () => this.load());
        this.#panel.firstElementChild?.after(this.#search.node);
      }
      const next = !query && (page.after ?? page.data.at(-1)?.id);
      if (!after) this.#clear();
      this.#append(rows, query ? undefined : groupOf);
      end.replaceChildren();
      if (page.has_more && rows.length > 0 && limit < MOST)
        end.append(button(text.more, () => (query ? this.load("", MOST) : this.load(next))));
      if (this.#rows.length === 0)
        end.append(h("p", { className: "caption" }, query ? text.noResults : text.noChats));
      if (after) rows[0]?.node.querySelector("button")?.focus();
      if (query) this.#search?.announce(rows.length);
    } catch (error) {
      if (this.#turn !== turn) return;
      store.report(error, "HistoryViewError");
      const { message } = /** @type {Error} */ (error);
      const again = button(text.retry, () => this.load(after, limit));
      end.replaceChildren(h("p", { role: "alert" }, message), again);
    }
  }

  #clear() {
    this.#rows = [];
    this.#list.replaceChildren();
  }

  /**
   * @param {ThreadRow[]} rows
   * @param {typeof import("./history/days.js").groupOf} [groupOf] for a list by days
   */
  #append(rows, groupOf) {
    const { store } = this;
    const words = { language: store.language, week: store.text.lastWeek };
    for (const row of rows) {
      const date = new Date(row.thread.created_at ?? "");
      const name = (!Number.isNaN(+date) && groupOf?.(date, new Date(), words)) || "";
      let group = this.#list.lastElementChild;
      if (!group || group.getAttribute("aria-label") !== name) {
        const heading = name && h("h3", { className: "caption" }, name);
        group = h("section", { "aria-label": name }, heading, h("ul", { role: "list" }));
        this.#list.append(group);
      }
      group.lastElementChild?.append(row.node);
    }
    this.#rows.push(...rows);
  }

  /** Show which thread is open, and one that is new. */
  #sync() {
    const { thread } = this.store;
    const shown = `${thread?.id}|${thread?.title}`;
    if (!this.isOpen || shown === this.#shown) return;
    this.#shown = shown;
    for (const row of this.#rows) row.update(thread);
    const isNew = thread && !this.#rows.some((row) => row.thread.id === thread.id);
    if (this.isDocked && isNew && !this.#search?.query) this.load();
  }

  /**
   * Take a deleted thread from the list; the list stays open, though the thread may have been.
   * @param {ThreadRow} row
   */
  remove(row) {
    const { conversation, store, view } = this.chat;
    const at = this.#rows.indexOf(row);
    this.#rows.splice(at, 1);
    const neighbour = this.#rows[at] ?? this.#rows[at - 1];
    const group = row.node.closest("section");
    row.node.remove();
    if (!group?.querySelector("li")) group?.remove();
    if (store.thread?.id === row.thread.id) {
      const { isDocked } = this;
      this.isDocked = true; // so that it stays
      conversation.show(null);
      this.isDocked = isDocked;
    }
    const next = neighbour?.node.querySelector("button");
    (next ?? (this.isDocked ? view.nodes.past : this.#back)).focus();
    if (this.#rows.length === 0) this.load();
  }
}
