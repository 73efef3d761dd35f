// The open thread as a file of Markdown, made of all its items.

import { h } from "../shared/dom.js";
import { asList, textsOf } from "./controls.js";
import { timesOf } from "./times.js";

/** @import { Chat } from "./element.js" */
/** @import { Item, Strings, Thread } from "./types.js" */

const PAGE = 100; // items asked for at once
const LONGEST_NAME = 80; // characters

/**
 * A source as a line of a list.
 * @param {any} source
 */
const sourceLine = ({ title, label, filename, url }) => {
  const name = title || label || filename || url;
  return url && /^https?:/.test(url) ? `- [${name}](<${url}>)` : `- ${name}`;
};

/**
 * What an item says, in Markdown; an empty string for nothing.
 * @param {Item} item
 * @param {Strings} text
 */
const contentOf = (item, text) => {
  const { type, quoted_text: quote, copy_text: copied } = item;
  if (type === "widget") return copied ?? "";
  if (type !== "user_message" && type !== "assistant_message") return "";
  const between = type === "user_message" ? "" : "\n\n";
  const parts = [textsOf(item).join(between)];
  if (quote) parts.unshift(quote.replace(/^/gm, "> "));
  const files = asList(item.attachments).map(({ name }) => `- ${name}`);
  const sources = new Map();
  for (const { annotations } of asList(item.content))
    for (const { source } of asList(annotations))
      if (source) sources.set(source.url ?? source.title ?? source.filename, sourceLine(source));
  if (files.length > 0) parts.push(files.join("\n"));
  if (sources.size > 0) parts.push(`${text.sources}:\n\n${[...sources.values()].join("\n")}`);
  return parts.filter(Boolean).join("\n\n");
};

/**
 * A thread in Markdown.
 * @param {Thread} thread
 * @param {Item[]} items oldest first
 * @param {{text: Strings, language?: string}} words
 */
export const writeTranscript = (thread, items, { text, language }) => {
  const lines = [`# ${thread.title || text.untitled}`];
  let speaker = "";
  for (const item of items) {
    const content = contentOf(item, text);
    if (!content) continue;
    const who = item.type === "user_message" ? text.you : text.assistant;
    const at = timesOf(item.created_at, language)?.full;
    // One turn may have several items.
    if (who !== speaker || who === text.you) lines.push(at ? `## ${who}\n\n*${at}*` : `## ${who}`);
    speaker = who;
    lines.push(content);
  }
  return `${lines.join("\n\n")}\n`;
};

/**
 * All items of a thread, oldest first.
 * @param {Chat} chat
 * @param {string} id
 */
const loadAll = async ({ client }, id) => {
  /** @type {Item[]} */
  const found = [];
  let after;
  do {
    const params = { thread_id: id, limit: PAGE, order: "asc", ...(after && { after }) };
    const page = await client.json("items.list", params);
    found.push(...page.data);
    after = page.has_more ? (page.after ?? page.data.at(-1)?.id) : null;
  } while (after);
  return found;
};

/**
 * A name that every system takes for a file.
 * @param {string} title
 */
export const fileName = (title) => {
  const plain = title.replace(/[^\p{L}\p{M}\p{N}]+/gu, " ").trim();
  return `${[...plain].slice(0, LONGEST_NAME).join("").trim() || "chat"}.md`;
};

/**
 * Have the browser save the open thread.
 * @param {Chat} chat
 */
export const download = async (chat) => {
  const { notices, store } = chat;
  const { thread, text, language } = store;
  if (!thread) return;
  try {
    const items = await loadAll(chat, thread.id);
    const markdown = writeTranscript(thread, items, { text, language });
    const href = URL.createObjectURL(new Blob([markdown], { type: "text/markdown;charset=utf-8" }));
    h("a", { href, download: fileName(thread.title || text.untitled) }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  } catch (error) {
    notices.fail(error);
  }
};
