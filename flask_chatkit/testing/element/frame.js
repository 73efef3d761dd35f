/**
 * The inside of the <openai-chatkit> stand-in (see chatkit.js): a modest chat. Not OpenAI's code.
 *
 * It talks to the page that embeds it by postMessage. Who that is, it learns from the first answer
 * to its "hello", which carries nothing; from then on window and origin must be the same.
 *  - hosted: the page hands over a client secret, the frame talks to the API stand-in itself, at
 *    ../../v1/chatkit/_frame/ next to this file.
 *  - own server: the page makes the calls, the frame asks it to ("json", "stream").
 * Whatever comes from outside is shown as text (textContent); links are checked.
 */
(() => {
  // biome-ignore lint/suspicious/noRedundantUseStrict: a classic script, not a module
  "use strict";

  const $ = (id) => document.getElementById(id);
  const make = (tag, props = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), props);
    element.append(...children);
    return element;
  };

  let options = null;
  let mode = null;
  let parentOrigin = null;
  let started = null; // the promise of the first call to the server
  let thread = null; // {id, title, …}, null in a new chat
  let loading = false;
  let stream = null; // {abort} while an answer comes
  let quote = null;
  let canStop = true;
  let tool = null;
  const items = new Map(); // id → {item, row}

  // ------------------------------------------------------------------------------ page ↔ frame

  let lastId = 0;
  const asked = new Map();

  const tell = (message) =>
    window.parent.postMessage({ chatkitStandin: 1, ...message }, parentOrigin);
  const emit = (name, detail) => tell({ kind: "event", name, detail });
  const log = (name, data = {}) => emit("log", { name, data });

  /** Ask the page for something; `onChunk` gets the events of a stream. */
  const request = (name, args, onChunk) => {
    lastId += 1;
    const id = lastId;
    const answer = new Promise((resolve, reject) => asked.set(id, { resolve, reject, onChunk }));
    tell({ kind: "ask", id, name, args });
    return { answer, abort: () => tell({ kind: "abort", id }) };
  };
  const ask = (name, ...args) => request(name, args).answer;

  window.addEventListener("message", (event) => {
    const message = event.data;
    if (event.source !== window.parent || message?.chatkitStandin !== 1) return;
    if (parentOrigin === null) parentOrigin = event.origin;
    if (event.origin !== parentOrigin) return;
    const waiter = asked.get(message.id);
    if (message.kind === "options") applyOptions(message.mode, message.options);
    else if (message.kind === "call") answerCall(message);
    else if (message.kind === "chunk") waiter?.onChunk(message.event);
    else if (message.kind === "reply") {
      asked.delete(message.id);
      if (message.error === undefined) waiter?.resolve(message.value);
      else waiter?.reject(Object.assign(new Error(message.error), { aborted: message.aborted }));
    }
  });

  const answerCall = async ({ id, name, args }) => {
    let reply = {};
    try {
      if (loading || stream) throw new Error(`${name}() while the chat is busy`);
      await METHODS[name](...args);
    } catch (error) {
      reply = { error: error.message };
    }
    tell({ kind: "reply", id, ...reply });
  };

  // -------------------------------------------------------------------------------- the servers

  /** An error with words for the visitor; its message is for the developer. */
  const readable = (shown, message = shown) => Object.assign(new Error(message), { shown });
  const FAILED = "Something went wrong. Please try again.";

  let secret = null;
  const newSecret = async (current) => {
    log("secret.request", { refresh: current !== null });
    try {
      secret = await ask("secret", current);
    } catch (error) {
      throw readable("The chat can’t connect. Please try again later.", error.message);
    }
  };

  const hosted = {
    async call(method, path, body) {
      const once = () =>
        fetch(new URL(`../../v1/chatkit/_frame/${path}`, window.location.href), {
          method,
          headers: { Authorization: `Bearer ${secret}`, "Content-Type": "application/json" },
          body: body && JSON.stringify(body),
        });
      if (secret === null) await newSecret(null);
      let response = await once();
      if (response.status === 401) {
        await newSecret(secret);
        response = await once();
      }
      if (response.ok) return response.json();
      const answer = await response.json().catch(() => null);
      const message = answer?.error?.message || `The API answered ${response.status}`;
      if (response.status === 401) {
        throw readable("This chat session has expired. Please reload the page.", message);
      }
      if (response.status === 429) {
        throw readable("Too many messages. Please wait a moment and try again.", message);
      }
      if (response.status === 404) throw readable("This chat was not found.", message);
      throw readable(FAILED, message);
    },
    start: () => hosted.threads(),
    threads: async () => (await hosted.call("GET", "threads?limit=100")).data,
    open: async (id) => {
      const path = `threads/${encodeURIComponent(id)}/items?limit=100&order=asc`;
      const { data } = await hosted.call("GET", path);
      const known = (await hosted.threads()).find((each) => each.id === id);
      return { thread: known || { id, title: null }, items: data };
    },
    remove: (id) => hosted.call("DELETE", `threads/${encodeURIComponent(id)}`),
    send: (input) => ({
      abort: null,
      answer: (async () => {
        const content = input.content.map((part) => part.text).join("");
        const body = { thread_id: thread?.id ?? null, text: content };
        const answer = await hosted.call("POST", "messages", body);
        if (!thread) handleEvent({ type: "thread.created", thread: answer.thread });
        else handleEvent({ type: "thread.updated", thread: answer.thread });
        for (const item of answer.items) handleEvent({ type: "thread.item.done", item });
      })(),
    }),
  };

  const json = (type, params) =>
    ask("json", { type, params }).catch((error) => {
      throw readable(error.message);
    });
  const own = {
    start: () => (historyOn() ? own.threads() : null),
    threads: async () => (await json("threads.list", { limit: 50, order: "desc" })).data,
    open: async (id) => {
      const { items: page, ...found } = await json("threads.get_by_id", { thread_id: id });
      const all = [...page.data];
      let { has_more: more, after } = page;
      while (more) {
        const params = { thread_id: id, limit: 50, order: "asc", after };
        const next = await json("items.list", params);
        all.push(...next.data);
        ({ has_more: more, after } = next);
      }
      return { thread: found, items: all };
    },
    remove: (id) => json("threads.delete", { thread_id: id }),
    stream: (type, params) => request("stream", [{ type, params }], handleEvent),
    send: (input) =>
      thread
        ? own.stream("threads.add_user_message", { thread_id: thread.id, input })
        : own.stream("threads.create", { input }),
  };

  const server = () => (mode === "own" ? own : hosted);

  // --------------------------------------------------------------------------------- the thread

  /** Report an error by the name that ChatKit has for what failed. */
  const fail = (error, retry, name = "StreamError") => {
    emit("error", { name, message: error.message });
    notice(error.shown || FAILED, "danger", retry);
  };

  const clear = (next) => {
    items.clear();
    $("log").replaceChildren();
    thread = next;
    quote = null;
    renderHeader();
  };

  const setThread = (next) => {
    const changed = thread?.id !== next?.id;
    thread = next;
    if (changed) emit("thread.change", { threadId: next ? next.id : null });
    renderHeader();
  };

  const openThread = async (id) => {
    closeHistory();
    if (id === null) {
      const was = thread;
      clear(null);
      if (was) emit("thread.change", { threadId: null });
      render();
      return;
    }
    loading = true;
    emit("thread.load.start", { threadId: id });
    clear(null);
    render();
    try {
      await started;
      const found = await server().open(id);
      setThread(found.thread);
      for (const item of found.items) put(item);
      emit("thread.load.end", { threadId: id });
    } catch (error) {
      fail(
        error,
        null,
        id === options.initialThread ? "InitialThreadLoadError" : "HistoryViewError",
      );
      throw error;
    } finally {
      loading = false;
      render();
    }
  };

  /** Run one streaming call to its end, the client tools it calls for included. */
  const respond = async (open) => {
    stream = {};
    canStop = mode === "own";
    emit("response.start");
    render();
    try {
      for (let next = open; next; ) {
        pendingTool = null;
        Object.assign(stream, next());
        await stream.answer;
        next = pendingTool && (await runTool(pendingTool));
      }
    } catch (error) {
      if (!error.aborted) fail(error);
    } finally {
      stream = null;
      $("progress").textContent = "";
      $("log").querySelector("[data-sent]")?.removeAttribute("data-sent");
      render();
      emit("response.end");
    }
  };

  let pendingTool = null;
  const runTool = async (call) => {
    const result = await ask("tool", { name: call.name, params: call.arguments });
    const params = { thread_id: thread.id, result };
    return () => own.stream("threads.add_client_tool_output", params);
  };

  const send = (content, extra = {}) => {
    const typed = content.map((part) => part.text).join("");
    if (!typed.trim()) throw new Error("A message needs text");
    const sent = bubble("user_message", typed);
    sent.dataset.sent = "";
    $("log").append(sent);
    const input = {
      content: content.map((part) => (part.type === "input_tag" ? { data: {}, ...part } : part)),
      attachments: extra.attachments || [],
      quoted_text: extra.quote || null,
      inference_options: {
        tool_choice: extra.tool ? { id: extra.tool } : null,
        model: extra.model || null,
      },
    };
    closeHistory();
    log("message.send", { length: typed.length });
    respond(() => server().send(input));
  };

  const handleEvent = (event) => {
    if (event.type === "thread.created") setThread(event.thread);
    else if (event.type === "thread.updated") setThread(event.thread);
    else if (event.type === "thread.item.removed") {
      items.get(event.item_id)?.row.remove();
      items.delete(event.item_id);
    } else if (event.type === "thread.item.updated") update(event.item_id, event.update);
    else if (/^thread\.item\.(added|done|replaced)$/.test(event.type)) {
      put(event.item);
      const { type, status } = event.item;
      const call = event.type === "thread.item.done" && type === "client_tool_call";
      if (call && status === "pending") pendingTool = event.item;
    } else if (event.type === "error") {
      const message = event.message || FAILED;
      emit("error", { name: "StreamError", message: event.message || event.code });
      notice(message, "danger", event.allow_retry && mode === "own" ? retryLast : null);
    } else if (event.type === "notice") {
      notice(event.title ? `${event.title}\n${event.message}` : event.message, event.level);
    } else if (event.type === "progress_update") $("progress").textContent = event.text;
    else if (event.type === "client_effect") emit("effect", { name: event.name, data: event.data });
    else if (event.type === "stream_options") canStop = event.stream_options.allow_cancel;
    render();
  };

  const update = (id, change) => {
    const known = items.get(id);
    if (!known) return;
    const { item } = known;
    const index = change.content_index;
    if (change.type === "assistant_message.content_part.text_delta") {
      const text = (item.content[index]?.text || "") + change.delta;
      item.content[index] = { type: "output_text", text, annotations: [] };
    } else if (/^assistant_message\.content_part\.(added|done)$/.test(change.type)) {
      item.content[index] = change.content;
    } else if (change.type === "widget.root.updated") item.widget = change.widget;
    else if (/^workflow\.task\.(added|updated)$/.test(change.type)) {
      item.workflow.tasks[change.task_index] = change.task;
    }
    put(item);
  };

  const lastUserItem = () =>
    [...items.values()]
      .map((each) => each.item)
      .filter((each) => kindOf(each) === "user_message")
      .pop();
  const retryLast = () => {
    const item = lastUserItem();
    if (!item || stream) return;
    const params = { thread_id: thread.id, item_id: item.id };
    respond(() => own.stream("threads.retry_after_item", params));
  };

  // ------------------------------------------------------------------------- items as elements

  const kindOf = (item) => item.type.replace("chatkit.", "");

  /** Text with **bold** and [links](https://…), as nodes. */
  const rich = (text) => {
    const nodes = [];
    let at = 0;
    for (const match of text.matchAll(/\*\*(.+?)\*\*|\[([^\]]+)\]\(([^()\s]+)\)/g)) {
      nodes.push(text.slice(at, match.index));
      at = match.index + match[0].length;
      if (match[1]) nodes.push(make("strong", { textContent: match[1] }));
      else nodes.push(link(match[2], match[3]) || match[0]);
    }
    return [...nodes, text.slice(at)];
  };

  const link = (textContent, address) => {
    let url;
    try {
      url = new URL(address);
    } catch {
      return null;
    }
    if (/^(https?|mailto):$/.test(url.protocol)) {
      return make("a", { textContent, href: url.href, target: "_blank", rel: "noopener" });
    }
    if (url.protocol !== "chatkit-link:") return null;
    const name = address.replace(/^chatkit-link:\/*/, "").split(/[?#]/)[0];
    const data = Object.fromEntries(url.searchParams);
    const onclick = () => emit("deeplink", { name, data });
    return make("button", { type: "button", className: "link", textContent, onclick });
  };

  const bubble = (kind, text) => {
    const who = kind === "user_message" ? "You said:" : "The assistant said:";
    const row = make("article", { className: kind });
    const body = make("div", { className: "text", dir: "auto" }, ...rich(text));
    row.append(make("span", { className: "unseen", textContent: who }), body);
    return row;
  };

  const put = (item) => {
    const kind = kindOf(item);
    if (/hidden_context|end_of_turn|client_tool_call/.test(kind)) return;
    const known = items.get(item.id);
    const row = drawItem(item, kind);
    const sent = kind === "user_message" && $("log").querySelector("[data-sent]");
    if (known) known.row.replaceWith(row);
    else if (sent) sent.replaceWith(row);
    else $("log").append(row);
    items.set(item.id, { item, row });
  };

  const drawItem = (item, kind) => {
    if (kind === "user_message" || kind === "assistant_message") {
      const row = bubble(kind, item.content.map((part) => part?.text ?? "").join(""));
      if (item.quoted_text) {
        row.prepend(make("blockquote", { textContent: item.quoted_text }));
      }
      if (kind === "assistant_message") row.append(...actionsOf(item));
      return row;
    }
    const row = make("article", { className: "card" });
    if (kind === "widget") {
      const widget = typeof item.widget === "string" ? JSON.parse(item.widget) : item.widget;
      row.append(...drawWidget(widget, { id: item.id, widget }));
    } else {
      const tasks = item.workflow?.tasks || item.tasks || [item.task || {}];
      for (const task of tasks) {
        row.append(make("p", { textContent: task?.title || task?.content || kind }));
      }
    }
    return row;
  };

  const drawWidget = (node, item) => {
    if (!node || typeof node !== "object") return [];
    if (node.type === "Button") {
      const act = node.onClickAction;
      const onclick = () => act && widgetAction(act, item);
      return [make("button", { type: "button", textContent: node.label || "Button", onclick })];
    }
    const words = [node.value, node.title, node.label].find((each) => typeof each === "string");
    const inner = [node.children || []].flat().flatMap((child) => drawWidget(child, item));
    return words ? [make("p", { textContent: words }), ...inner] : inner;
  };

  const widgetAction = (action, item) => {
    const { type, payload, handler } = action;
    if (handler === "client") return ask("widget", { type, payload }, item).catch(fail);
    return METHODS.sendCustomAction({ type, payload }, item.id);
  };

  const actionsOf = (item) => {
    const { feedback, retry } = options.threadItemActions || {};
    const row = make("div", { className: "actions" });
    const add = (label, name, onclick) => {
      const button = make("button", { type: "button", className: "icon", title: label, onclick });
      button.setAttribute("aria-label", label);
      drawIcon(button, name);
      row.append(button);
    };
    const rate = (kind) => (event) => {
      for (const each of row.children) each.removeAttribute("aria-pressed");
      event.currentTarget.setAttribute("aria-pressed", "true");
      const params = { thread_id: thread.id, item_ids: [item.id], kind };
      if (mode === "own") json("items.feedback", params).catch(fail);
    };
    if (feedback) {
      add("Good answer", "thumb-up", rate("positive"));
      add("Bad answer", "thumb-down", rate("negative"));
    }
    if (retry && mode === "own") add("Try again", "reload", retryLast);
    return row.childElementCount ? [row] : [];
  };

  const notice = (text, level = "info", retry = null) => {
    const row = make("div", { className: `notice ${level}` });
    row.setAttribute("role", level === "danger" ? "alert" : "note");
    row.append(make("p", {}, ...rich(text)));
    const onclick = () => {
      row.remove();
      retry();
    };
    if (retry) row.append(make("button", { type: "button", textContent: "Try again", onclick }));
    $("log").append(row);
    render();
  };

  // ------------------------------------------------------------------------------------ history

  const historyOn = () => options.history?.enabled !== false;

  const openHistory = async () => {
    if (!historyOn()) throw new Error("The history is disabled");
    $("history").hidden = false;
    render();
    emit("history.open");
    try {
      const found = await server().threads();
      $("threads").replaceChildren(...found.map(drawThread));
      if (!found.length) $("threads").append(make("li", { textContent: "No chats yet" }));
    } catch (error) {
      closeHistory();
      fail(error, null, "HistoryViewError");
    }
  };

  const closeHistory = () => {
    if ($("history").hidden) return;
    $("history").hidden = true;
    render();
    emit("history.close");
  };

  const drawThread = (found) => {
    const title = found.title || "Untitled chat";
    const onclick = () => openThread(found.id).catch(() => {});
    const row = make("li", {}, make("button", { type: "button", textContent: title, onclick }));
    const { showRename = true, showDelete = true } = options.history || {};
    const add = (label, name, act) => {
      const button = make("button", { type: "button", className: "icon", onclick: act });
      button.setAttribute("aria-label", `${label} ${title}`);
      drawIcon(button, name);
      row.append(button);
    };
    if (mode === "own" && showRename) add("Rename", "compose", () => renameThread(row, found));
    if (showDelete) add("Delete", "trash", () => deleteThread(row, found));
    return row;
  };

  const renameThread = (row, found) => {
    const field = make("input", { value: found.title || "" });
    field.setAttribute("aria-label", "Title");
    field.onkeydown = async (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      const renamed = { ...found, title: field.value };
      try {
        await json("threads.update", { thread_id: found.id, title: field.value });
        row.replaceWith(drawThread(renamed));
        if (thread?.id === found.id) setThread({ ...thread, title: field.value });
      } catch (error) {
        fail(error, null, "HistoryViewError");
      }
    };
    row.replaceChildren(field);
    field.focus();
  };

  const deleteThread = async (row, found) => {
    try {
      await server().remove(found.id);
      row.remove();
      if (thread?.id === found.id) openThread(null);
    } catch (error) {
      fail(error, null, "HistoryViewError");
    }
  };

  // ------------------------------------------------------------------------------------- methods

  const toContent = ({ text, content }) => content || [{ type: "input_text", text: text ?? "" }];
  const idsOf = (attachments) => (attachments || []).map((each) => each.id);

  const METHODS = {
    focusComposer: () => $("input").focus(),
    setThreadId: (id) => openThread(id),
    async sendUserMessage(params) {
      await started;
      if (loading || stream) throw new Error("sendUserMessage() while the chat is busy");
      if (params.newThread) await openThread(null);
      const { reply, toolChoice, model } = params;
      const attachments = idsOf(params.attachments);
      send(toContent(params), { quote: reply, tool: toolChoice?.id, model, attachments });
    },
    setComposerValue(params) {
      $("input").value = toContent(params)
        .map((part) => part.text)
        .join("");
      quote = params.reply || null;
      if (params.selectedToolId !== undefined) selectTool(params.selectedToolId);
      if (params.selectedModelId !== undefined) $("model").value = params.selectedModelId;
      render();
    },
    sendCustomAction(action, itemId = null) {
      if (!thread) throw new Error("sendCustomAction() without an active thread");
      if (mode === "hosted") return log("action.ignored", { type: action.type });
      const params = { thread_id: thread.id, item_id: itemId, action };
      respond(() => own.stream("threads.custom_action", params));
      return undefined;
    },
    fetchUpdates: async () => {
      if (!thread) return;
      const found = await server().open(thread.id);
      clear(found.thread);
      for (const item of found.items) put(item);
      render();
    },
    showHistory: openHistory,
    hideHistory: closeHistory,
  };

  // ------------------------------------------------------------------------------- look and frame

  const ICONS = {
    "thumb-up": "M7 11l4-8a2 2 0 0 1 2 2v5h6l-1.5 9H7zM7 11H3v9h4",
    "thumb-down": "M7 13l4 8a2 2 0 0 0 2-2v-5h6l-1.5-9H7zM7 13H3V4h4",
    trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
    send: "M12 19V5M6 11l6-6 6 6",
    stop: "M8 8h8v8H8z",
    history: "M3.5 9a9 9 0 1 1-.5 4M3 4v5h5M12 8v4l3 2",
    compose: "M12 20h8M16.5 4.5l3 3L8 19l-4 1 1-4z",
    write: "M12 20h8M16.5 4.5l3 3L8 19l-4 1 1-4z",
    close: "M6 6l12 12M18 6L6 18",
    menu: "M4 7h16M4 12h16M4 17h16",
    hamburger: "M4 7h16M4 12h16M4 17h16",
    home: "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
    star: "M12 3l2.8 5.9 6.4.8-4.7 4.4 1.2 6.4-5.7-3.2-5.7 3.2 1.2-6.4L2.8 9.7l6.4-.8z",
    back: "M15 5l-7 7 7 7",
    "chevron-left": "M15 5l-7 7 7 7",
    "chevron-right": "M9 5l7 7-7 7",
    expand: "M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7",
    sidebar: "M4 5h16v14H4zM9 5v14",
    collapse: "M20 4l-7 7M13 5v6h6M4 20l7-7M11 19v-6H5",
    "dots-vertical": "M12 5h.01M12 12h.01M12 19h.01",
    dots: "M5 12h.01M12 12h.01M19 12h.01",
    settings: "M4 8h8M16 8h4M14 6v4M4 16h4M12 16h8M10 14v4",
    "light-mode":
      "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5",
    "dark-mode": "M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z",
    grid: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z",
    share: "M12 15V4M8 8l4-4 4 4M5 13v7h14v-7",
    book: "M12 6c-2-1.5-5-2-8-2v14c3 0 6 .5 8 2 2-1.5 5-2 8-2V4c-3 0-6 .5-8 2zM12 6v14",
    question:
      "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 17h.01",
    info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 11v6M12 7.5h.01",
    search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14M16 16l5 5",
    bolt: "M13 3L5 14h6l-1 7 8-11h-6z",
    mail: "M4 6h16v12H4zM4 7l8 6 8-6",
    user: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8M4 21c1-4 4-6 8-6s7 2 8 6",
    cube: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12L4 7.5M12 12v9",
    calendar: "M4 6h16v14H4zM4 10h16M8 3v4M16 3v4",
    clock: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 7v5l3 2",
    document: "M7 3h7l4 4v14H7zM14 3v4h4",
    globe: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M3 12h18M12 3c4 4 4 14 0 18M12 3c-4 4-4 14 0 18",
    map: "M12 21c-4-5-6-8-6-11a6 6 0 0 1 12 0c0 3-2 6-6 11zM12 8a2 2 0 1 0 0 4 2 2 0 0 0 0-4",
    check: "M5 12l5 5L20 7",
    suitcase: "M4 8h16v12H4zM9 8V5h6v3",
    phone: "M7 3h10v18H7zM11 18h2",
    reload: "M20 11a8 8 0 1 0-1.5 6M20 5v6h-6",
    plus: "M12 5v14M5 12h14",
    sparkle: "M11 4l2 5.5L18.5 11 13 13l-2 5.5L9 13l-5.5-2L9 9.5zM19 16v4M17 18h4",
  };

  const drawIcon = (element, name) => {
    const key = Object.keys(ICONS).find((each) => name.includes(each)) || "sparkle";
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const path = document.createElementNS(space, "path");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", ICONS[key]);
    svg.append(path);
    element.replaceChildren(svg);
  };

  const HUMAN = { close: "Close", home: "Home", menu: "Menu", back: "Back", share: "Share" };

  const renderAction = (id) => {
    const action = options.header?.[id];
    $(id).hidden = !action;
    if (!action) return;
    drawIcon($(id), action.icon);
    const label = HUMAN[action.icon.split("-")[0]] || action.icon.replace(/-/g, " ");
    $(id).setAttribute("aria-label", label);
  };

  const renderHeader = () => {
    const { enabled = true, title } = options.header || {};
    $("header").hidden = !enabled;
    $("title").textContent = title?.text || thread?.title || options.frameTitle || "Chat";
    $("title").classList.toggle("unseen", title?.enabled === false);
    $("historyButton").hidden = !historyOn();
    $("newButton").hidden = !historyOn();
    renderAction("leftAction");
    renderAction("rightAction");
  };

  /** What depends on the state of the conversation. */
  const render = () => {
    const history = !$("history").hidden;
    const empty = !loading && !stream && !$("log").childElementCount;
    $("historyButton").setAttribute("aria-expanded", String(history));
    $("start").hidden = history || !empty;
    $("scroller").hidden = history || empty;
    $("scroller").setAttribute("aria-busy", String(loading || Boolean(stream)));
    $("log").classList.toggle("busy", loading || Boolean(stream));
    const stoppable = Boolean(stream?.abort) && canStop;
    drawIcon($("send"), stoppable ? "stop" : "send");
    $("send").setAttribute("aria-label", stoppable ? "Stop" : "Send");
    $("send").disabled = !stoppable && (loading || Boolean(stream) || !$("input").value.trim());
    $("quote").hidden = !quote;
    $("quote").textContent = quote || "";
    $("input").style.height = "auto";
    $("input").style.height = `${Math.min($("input").scrollHeight, 160)}px`;
    if (!stream || options.thread?.autoScroll !== false) {
      $("scroller").scrollTop = $("scroller").scrollHeight;
    }
  };

  const selectTool = (id) => {
    if (id === tool) return;
    tool = id;
    $("tool").value = id || "";
    const chosen = options.composer?.tools?.find((each) => each.id === id);
    const placeholder = options.composer?.placeholder || "Message the AI";
    $("input").placeholder = chosen?.placeholderOverride || placeholder;
    emit("tool.change", { toolId: id });
  };

  const fillSelect = (id, entries, first) => {
    $(id).hidden = mode !== "own" || !entries?.length;
    const drawn = (entries || []).map(({ id: value, label, disabled = false }) =>
      make("option", { value, textContent: label, disabled }),
    );
    const chosen = $(id).value;
    $(id).replaceChildren(...first, ...drawn);
    if ((entries || []).some((each) => each.id === chosen)) $(id).value = chosen;
  };

  const usable = (color) => (color && CSS.supports("color", color) ? color : null);

  /** Black or white, whichever reads better on a colour. */
  const inkOn = (color) => {
    const canvas = make("canvas", { width: 1, height: 1 }).getContext("2d");
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const linear = [...canvas.getImageData(0, 0, 1, 1).data]
      .map((byte) => byte / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    return light > 0.179 ? "#000" : "#fff";
  };

  const fonts = new Set();
  const renderTheme = () => {
    const theme =
      typeof options.theme === "string" ? { colorScheme: options.theme } : options.theme;
    const { colorScheme = "light", typography = {}, radius, density, color = {} } = theme || {};
    const dark = colorScheme === "dark";
    const { hue = 0, tint = 0, shade = 0 } = color.grayscale || {};
    const gray = (light) => `hsl(${hue} ${tint * 3}% ${light + shade}%)`;
    const background = usable(color.surface?.background) || gray(dark ? 13 : 100);
    const foreground = usable(color.surface?.foreground) || gray(dark ? 94 : 10);
    const accent = usable(color.accent?.primary) || foreground;
    const root = document.documentElement;
    root.dataset.colorScheme = colorScheme;
    const set = {
      "color-scheme": colorScheme,
      "--bg": background,
      "--fg": foreground,
      "--accent": accent,
      "--on-accent": inkOn(accent),
      "--tone": `${color.accent ? 8 + 5 * color.accent.level : 0}%`,
      "--size": `${typography.baseSize || 16}px`,
      "--font": CSS.supports("font-family", typography.fontFamily) ? typography.fontFamily : "",
      "--radius": { pill: "1.5rem", round: "1rem", soft: "0.5rem", sharp: "0" }[radius || "pill"],
      "--gap": { compact: "0.7rem", normal: "1rem", spacious: "1.35rem" }[density || "normal"],
    };
    for (const name of Object.keys(set)) root.style.setProperty(name, set[name]);
    for (const { family, src, ...rest } of typography.fontSources || []) {
      if (fonts.has(family + src)) continue;
      fonts.add(family + src);
      const face = { ...rest, weight: rest.weight && String(rest.weight) };
      for (const key of Object.keys(face)) if (face[key] === undefined) delete face[key];
      document.fonts.add(new FontFace(family, `url(${JSON.stringify(src)})`, face));
    }
  };

  let drawnActions;
  const renderOptions = () => {
    const { locale = navigator.language, startScreen = {}, composer = {}, disclaimer } = options;
    document.documentElement.lang = locale;
    document.documentElement.dir = /^(ar|ur|he|fa)\b/.test(locale) ? "rtl" : "ltr";
    document.title = options.frameTitle || "Chat";
    renderTheme();
    renderHeader();
    if (!historyOn()) closeHistory();
    $("greeting").textContent = startScreen.greeting || "What can I help with today?";
    $("prompts").replaceChildren(
      ...(startScreen.prompts || []).map(({ label, prompt, icon = "sparkle" }) => {
        const glyph = make("span", { className: "glyph" });
        drawIcon(glyph, icon);
        const content =
          typeof prompt === "string" ? [{ type: "input_text", text: prompt }] : prompt;
        const onclick = () => {
          if (loading || stream) return;
          $("input").focus(); // the button goes away
          send(content);
        };
        return make("li", {}, make("button", { type: "button", onclick }, glyph, label));
      }),
    );
    $("input").placeholder = composer.placeholder || "Message the AI";
    fillSelect("tool", composer.tools, [make("option", { value: "", textContent: "No tool" })]);
    const fresh = !$("model").value;
    fillSelect("model", composer.models, []);
    const preset = composer.models?.find((each) => each.default);
    if (fresh && preset) $("model").value = preset.id;
    $("tool").value = tool || "";
    $("disclaimer").hidden = !disclaimer;
    $("disclaimer").replaceChildren(...rich(disclaimer?.text || ""));
    $("disclaimer").classList.toggle("contrast", disclaimer?.highContrast === true);
    const actions = JSON.stringify(options.threadItemActions);
    if (actions !== drawnActions) for (const { item } of [...items.values()]) put(item);
    drawnActions = actions;
    render();
  };

  const applyOptions = (newMode, newOptions) => {
    const first = mode !== newMode;
    options = newOptions;
    mode = newMode;
    if (first) {
      secret = null;
      clear(null);
    }
    $("chat").hidden = false;
    renderOptions();
    if (!first) return;
    log("app.init");
    if (options.initialThread) {
      started = null;
      openThread(options.initialThread).catch(() => {});
    } else {
      started = Promise.resolve(server().start()).catch((error) =>
        fail(error, null, "HistoryViewError"),
      );
    }
  };

  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("input").value;
    if (stream?.abort && canStop) stream.abort();
    else if (!loading && !stream && text.trim()) {
      const model = $("model").value;
      const extra = { quote, tool, model };
      $("input").value = "";
      $("input").focus();
      quote = null;
      send([{ type: "input_text", text }], extra);
      const kept = options.composer?.tools?.find((each) => each.id === tool)?.persistent;
      if (!kept) selectTool(null);
    }
  });
  $("input").addEventListener("input", render);
  window.addEventListener("resize", () => options && render()); // made in a hidden parent, say
  $("input").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!stream) $("composer").requestSubmit();
  });
  $("tool").addEventListener("change", () => selectTool($("tool").value || null));
  $("historyButton").addEventListener("click", () => {
    if ($("history").hidden) openHistory();
    else closeHistory();
  });
  $("newButton").addEventListener("click", () => loading || stream || openThread(null));
  for (const id of ["leftAction", "rightAction"]) {
    $(id).addEventListener("click", () => ask("click", id).catch((error) => fail(error)));
  }
  drawIcon($("historyButton"), "history");
  $("historyButton").setAttribute("aria-label", "Chat history");
  drawIcon($("newButton"), "compose");
  $("newButton").setAttribute("aria-label", "New chat");

  // The only message to anybody: it says no more than that somebody listens here.
  if (window.parent !== window)
    window.parent.postMessage({ chatkitStandin: 1, kind: "hello" }, "*");
})();
