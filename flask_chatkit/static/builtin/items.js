// The items of a thread: messages, widgets, images, questions, tasks and workflows.

import { h } from "../shared/dom.js";
import {
  asList,
  fillIn,
  icon,
  link,
  picture,
  safeUrl,
  spinner,
  textsOf,
  zoomable,
} from "./controls.js";
import { drawQuestions } from "./forms.js";
import { componentsOf } from "./protocol.js";
import { formatSeconds } from "./times.js";
import { drawWidget } from "./widgets.js";

/** @import { Note } from "./textview.js" */
/** @import { Attachment, DrawContext, Item, Strings } from "./types.js" */

const UNREAD = "[data-copy], details:not([open]) > :not(summary)";
const BLOCKS = /^(P|LI|DIV|TR|H[456]|SUMMARY|D[TD]|LABEL|LEGEND|BUTTON)$/;

/**
 * What a screen reader announces of a row: its words, with a pause between blocks.
 * @param {Element} node
 * @param {number} [longest] after how many characters the rest is left out
 */
export const readableText = (node, longest = Number.POSITIVE_INFINITY) => {
  let text = "";
  /** @param {Node} part */
  const read = (part) => {
    if (text.length > longest) return;
    if (part instanceof Text) text += part.data;
    else if (!(part instanceof Element && part.matches(UNREAD))) {
      for (const child of part.childNodes) read(child);
      if (BLOCKS.test(part.nodeName)) text += "\n";
    }
  };
  read(node);
  return text.replace(/\s*\n\s*/g, "\n");
};

/**
 * An attachment, with its picture if it has one.
 * @param {Attachment} attachment
 * @param {...any} more
 */
export const drawAttachment = (attachment, ...more) => {
  const { type, name, preview_url: preview } = attachment;
  const plain = [
    icon(type === "image" ? "image" : "file"),
    h("span", { className: "name", dir: "auto" }, name),
  ];
  const url = type === "image" && preview && safeUrl(preview, /^(https?|data):$/);
  if (!url) return h("li", { className: "file" }, plain, ...more);
  return h("li", { className: "file picture" }, picture(url.href, name, ...plain), ...more);
};

/**
 * An attachment of a message, which opens.
 * @param {Attachment} attachment
 * @param {DrawContext} context
 */
const drawSent = (attachment, { text, opensFiles }) => {
  const node = drawAttachment(attachment);
  if (node.matches(".picture")) {
    const { src, alt } = /** @type {HTMLImageElement} */ (node.firstElementChild);
    node.replaceChildren(
      zoomable(text, src, alt, ...drawAttachment({ ...attachment, type: "file" }).childNodes),
    );
  } else if (opensFiles) {
    const label = fillIn(text.download, attachment.name);
    const given = { type: "button", className: "open", "aria-label": label, title: label };
    node.replaceChildren(h("button", { ...given, "data-file": attachment.id }, ...node.childNodes));
  }
  return node;
};

// --- sources -------------------------------------------------------------------------------------

const drawSource = (/** @type {any} */ source) => {
  const { title, label, filename, url, id } = source;
  const name = title || label || filename || url || id || "";
  const more = source.attribution ?? source.description;
  return h(
    "li",
    { dir: "auto" },
    url ? link(url, name) : h("span", {}, name),
    (source.attribution || source.description) && h("span", { className: "caption" }, ` ${more}`),
  );
};

/**
 * The sources of a message, each once, by what is unique of them.
 * @param {Item} item
 * @returns {Map<any, any>}
 */
const sourcesOf = (item) => {
  const found = new Map();
  for (const part of asList(item.content))
    for (const { source } of asList(part?.annotations))
      if (source) found.set(keyOf(source), source);
  return found;
};

/** @param {any} source */
const keyOf = (source) => source.url ?? source.id ?? source.filename ?? source.title;

/**
 * The sources of a message; an empty string for none.
 * @param {Item} item
 * @param {Strings} text
 */
export const drawSources = (item, text) => {
  const found = sourcesOf(item);
  if (found.size === 0) return "";
  return h(
    "details",
    { className: "sources" },
    h("summary", {}, icon("chevron"), `${text.sources} (${found.size})`),
    h("ol", {}, [...found.values()].map(drawSource)),
  );
};

/**
 * Lead to a source in the list below its message.
 * @param {Element} node
 * @param {number} place in the list
 */
const showSource = (node, place) => {
  const list = node.closest("article")?.querySelector("details.sources");
  const [items] = list?.getElementsByTagName("ol") ?? [];
  const item = /** @type {HTMLElement | undefined} */ (items?.children[place]);
  if (!list || !item) return;
  /** @type {HTMLDetailsElement} */ (list).open = true;
  item.tabIndex = -1;
  item.focus();
};

/**
 * The marks of a part of a message that lead to its sources.
 * @param {Item} item
 * @param {number} part
 * @returns {Note[]}
 */
export const citesOf = (item, part) => {
  const keys = [...sourcesOf(item).keys()];
  return asList(item.content?.[part]?.annotations)
    .filter(({ source, index }) => source && Number.isInteger(index))
    .map(({ source, index }) => {
      const place = keys.indexOf(keyOf(source));
      const number = String(place + 1);
      const name = source.title || source.label || source.filename || source.url || "";
      const more = { title: name, "aria-label": `${number}: ${name}` };
      const draw = () => {
        const node = link(source.url, number);
        if (node.nodeName !== "A") {
          const go = h("button", { type: "button", ...more }, number);
          go.addEventListener("click", () => showSource(go, place));
          return go;
        }
        for (const [key, value] of Object.entries(more)) node.setAttribute(key, value);
        return node;
      };
      return { index, draw };
    });
};

// --- tasks and workflows -------------------------------------------------------------------------

/** @type {Record<string, string>} */
const TASK_ICONS = { web_search: "globe", thought: "bulb", file: "file", image: "image" };

/**
 * @param {any} task
 * @param {Strings} text
 * @returns {string}
 */
const taskTitle = (task, text) => {
  const named = task.title || task.title_query || asList(task.queries).join(", ");
  if (named) return named;
  if (task.type === "thought") return text.thinking;
  return task.type === "image" ? text.image : "";
};

/** @param {any} task */
const taskIcon = ({ status_indicator: status, icon: own, type }) => {
  if (status === "loading") return spinner();
  if (status === "complete") return icon("check");
  return icon(own ?? TASK_ICONS[type], "spark");
};

/**
 * @param {any} task
 * @param {DrawContext} context
 */
const drawTask = (task, context) => {
  const title = taskTitle(task, context.text);
  const body = h("div", {}, title && h("p", { dir: "auto" }, title));
  if (task.content) {
    const node = h("div", { className: "md", dir: "auto" });
    context.markdown(node, task.content);
    body.append(node);
  }
  if (asList(task.sources).length > 0) body.append(h("ul", {}, task.sources.map(drawSource)));
  return h("li", { className: "task" }, taskIcon(task), body);
};

/**
 * @param {any} summary
 * @param {DrawContext} context
 * @returns {string | undefined}
 */
const summaryOf = (summary, { text, language }) =>
  Number.isFinite(summary?.duration)
    ? fillIn(text.thought, formatSeconds(summary.duration, language))
    : summary?.title;

/**
 * @param {Item} item
 * @param {DrawContext} context
 */
const drawWorkflow = ({ workflow }, context) => {
  const { text, streaming, shown } = context;
  const tasks = asList(workflow.tasks);
  const summary = summaryOf(workflow.summary, context);
  const busy = streaming && !summary;
  const idle = workflow.type === "reasoning" ? text.thinking : text.working;
  const now = busy && (taskTitle(tasks.at(-1) ?? {}, text) || idle);
  return h(
    "details",
    { className: "workflow", open: shown?.open ?? workflow.expanded },
    h("summary", {}, busy ? spinner() : icon("chevron"), summary || now || text.steps),
    h(
      "ul",
      { role: "list" },
      tasks.map((task) => drawTask(task, context)),
    ),
  );
};

// --- the other kinds -----------------------------------------------------------------------------

/**
 * @param {Item} item
 * @param {DrawContext} context
 */
const drawUserMessage = (item, context) => {
  const { quoted_text: quote, attachments } = item;
  const files = asList(attachments).map((each) => drawSent(each, context));
  const parts = asList(item.content).map((part) =>
    part.type === "input_tag" ? context.tag(part) : part.text,
  );
  return [
    quote && h("blockquote", { dir: "auto" }, quote),
    files.length > 0 && h("ul", { className: "files", role: "list" }, files),
    textsOf(item).join("") && h("div", { className: "bubble", dir: "auto" }, parts),
  ];
};

/**
 * @param {Item} item
 * @param {DrawContext} context
 */
const drawWidgetItem = (item, context) => {
  const root = typeof item.widget === "string" ? JSON.parse(item.widget) : item.widget;
  const labels = componentsOf(root).filter(({ type }) => type === "Label");
  context.labels = new Map(labels.map(({ fieldName, value }) => [fieldName, value]));
  return [drawWidget(root, context)];
};

/**
 * @param {Item} item
 * @param {DrawContext} context
 */
const drawGeneratedImage = ({ image, progress }, { text }) => {
  const url = image?.url && safeUrl(image.url, /^(https?|data|blob):$/);
  const label = text.generated;
  return [
    url
      ? h("div", { className: "generated" }, zoomable(text, url.href, label, link(url.href, label)))
      : h("p", { className: "progress" }, spinner(), text.working),
    progress > 0 && progress < 1 && h("progress", { value: progress, "aria-label": label }),
  ];
};

/** @type {Record<string, (item: Item, context: DrawContext) => any[]>} */
const ITEMS = {
  user_message: drawUserMessage,
  widget: drawWidgetItem,
  generated_image: drawGeneratedImage,
  structured_input: (item, context) => [drawQuestions(item, context)],
  task: ({ task }, context) => [
    h("ul", { className: "workflow", role: "list" }, drawTask(task, context)),
  ],
  workflow: (item, context) => [drawWorkflow(item, context)],
};

/**
 * Draw an item of any kind but an assistant's message; what is unknown is drawn as a widget.
 * @param {Item} item
 * @param {DrawContext} context
 */
export const drawItem = (item, context) =>
  (ITEMS[item.type] ?? (() => [drawWidget(item, context)]))(item, context);
