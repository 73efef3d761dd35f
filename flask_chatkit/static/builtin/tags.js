// The @-mentions in a message: found in what was written, and written from what was sent.

/** @import { Entity } from "./types.js" */

/** The most characters behind an @ that are still a search. */
const LONGEST = 40;
const MENTION = new RegExp(`(?:^|[\\s(])@([^@\\n]{0,${LONGEST}})$`);
const COMMAND = /^\/(\S*)$/;

/**
 * What a text asks for at its end.
 * @param {string} before the caret
 * @returns {{kind: "entity" | "command", query: string} | null}
 */
export const wantedAt = (before) => {
  const command = COMMAND.exec(before);
  if (command) return { kind: "command", query: command[1] };
  const mention = MENTION.exec(before);
  return mention && { kind: "entity", query: mention[1] };
};

/** What can't follow a mention, which would be another word then. */
const WORD = /[\p{L}\p{N}_]/u;

/**
 * Where the mentions stand in a text, in their order; the longest where several fit.
 * @param {string} text
 * @param {Entity[]} tags
 */
export const findTags = (text, tags) => {
  const known = [...tags].sort((a, b) => b.title.length - a.title.length);
  const found = [];
  for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) {
    const tag = known.find(
      ({ title }) =>
        text.startsWith(title, at + 1) && !WORD.test(text[at + 1 + title.length] ?? ""),
    );
    if (!tag) continue;
    const end = at + 1 + tag.title.length;
    found.push({ tag, start: at, end });
    at = end - 1;
  }
  return found;
};

/**
 * A text as the parts of a message.
 * @param {string} text
 * @param {Entity[]} tags
 */
export const contentOf = (text, tags) => {
  /** @type {any[]} */
  const parts = [];
  const put = (/** @type {string} */ plain) => {
    if (plain) parts.push({ type: "input_text", text: plain });
  };
  let done = 0;
  for (const { tag, start, end } of findTags(text, tags)) {
    const { id, title, data = {}, group, interactive = false } = tag;
    put(text.slice(done, start));
    parts.push({ type: "input_tag", id, text: title, data, group: group ?? null, interactive });
    done = end;
  }
  put(text.slice(done));
  return parts;
};

/**
 * The entity that a part of a message stands for.
 * @param {any} part
 * @returns {Entity}
 */
export const entityOf = ({ id, text, data, group, interactive }) => ({
  id,
  title: text,
  data,
  interactive,
  ...(group && { group }),
});
