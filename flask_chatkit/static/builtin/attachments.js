// The files in the composer: chosen, dropped or pasted, uploaded, and shown.

import { h } from "../shared/dom.js";
import { asList, fillIn, formatBytes, icon, iconButton, spinner } from "./controls.js";
import { drawAttachment } from "./items.js";
import { Part } from "./store.js";

/** @import { Failure } from "./controls.js" */
/** @import { Chat } from "./element.js" */
/** @import { Attachment, AttachmentOptions, HeldFile, Strings } from "./types.js" */

const MAX_SIZE = 100 * 1024 ** 2; // bytes
const MAX_COUNT = 10;
const UNKNOWN_TYPE = "application/octet-stream";

/**
 * @param {string} type a MIME type
 * @param {string} pattern
 */
const matches = (type, pattern) =>
  pattern === "*" ||
  pattern === "*/*" ||
  pattern === type ||
  (pattern.endsWith("/*") && type.startsWith(pattern.slice(0, -1)));

/**
 * The largest size for files of a type, in bytes.
 * @param {string} type
 * @param {AttachmentOptions["maxSize"]} limits
 */
const sizeLimit = (type, limits = MAX_SIZE) => {
  if (typeof limits !== "object") return limits;
  const own = Object.keys(limits).find(
    (pattern) => !/^\*?$/.test(pattern) && matches(type, pattern),
  );
  return limits[own ?? "*"] ?? limits["*"] ?? limits[""] ?? MAX_SIZE;
};

/**
 * Why a file can't be attached; null if it can.
 * @param {{name: string, type: string, size: number}} file
 * @param {number} count how many there are already
 * @param {AttachmentOptions} options
 * @param {Strings} text
 */
export const refusalOf = (file, count, { maxSize, maxCount = MAX_COUNT, accept }, text) => {
  if (count >= maxCount) return fillIn(text.tooMany, maxCount);
  const type = file.type || UNKNOWN_TYPE;
  const name = file.name.toLowerCase();
  const fits = (/** @type {[string, string[]]} */ [pattern, endings]) =>
    matches(type, pattern) || asList(endings).some((ending) => name.endsWith(ending.toLowerCase()));
  if (accept && !Object.entries(accept).some(fits)) return fillIn(text.wrongType, file.name);
  const limit = sizeLimit(type, maxSize);
  return file.size > limit ? fillIn(text.tooBig, file.name, formatBytes(limit)) : null;
};

/**
 * A finished attachment as a file in the composer.
 * @param {Attachment} attachment
 * @returns {HeldFile}
 */
export const heldOf = (attachment) => ({ name: attachment.name, attachment });

/** The files in the composer. */
export class Attachments extends Part {
  /** @type {Set<HeldFile>} */
  files = new Set();

  get #options() {
    return this.options.composer?.attachments ?? {};
  }

  /** What asks for files; its input has to be in the document. Nothing where none can be sent. */
  buildPicker() {
    const { enabled, accept: accepted = {} } = this.#options;
    if (!enabled) return { input: null, ask: undefined };
    const accept = Object.entries(accepted).flat(2).join(",");
    const given = { type: "file", multiple: true, hidden: true, accept, tabIndex: -1 };
    const picker = h("input", { ...given, "aria-hidden": "true" });
    picker.addEventListener("change", () => {
      this.attach([...(picker.files ?? [])]);
      picker.value = "";
    });
    return { input: picker, ask: () => picker.click() };
  }

  /** @param {ClipboardEvent} event */
  paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0 || !this.#options.enabled) return;
    event.preventDefault();
    this.attach(files);
  }

  /**
   * Take the files that are dropped on a node.
   * @param {HTMLElement} node
   */
  takeDropped(node) {
    node.dataset.drop = this.text.drop;
    const over = (/** @type {DragEvent} */ event) => {
      const { dataTransfer: data } = event;
      if (!this.#options.enabled || !data?.types.includes("Files")) return;
      event.preventDefault();
      node.classList.toggle("dropping", event.type === "dragover");
      if (event.type === "drop") this.attach([...data.files]);
    };
    node.addEventListener("dragover", over);
    node.addEventListener("dragleave", over);
    node.addEventListener("drop", over);
  }

  /**
   * Have attachments in the place of the files.
   * @param {Attachment[]} attachments
   */
  replace(attachments) {
    this.files = new Set(attachments.map(heldOf));
  }

  /**
   * Upload files, and show why others can't be.
   * @param {File[]} files
   */
  attach(files) {
    const { composer, store } = this.chat;
    /** @type {Set<string>} */
    const problems = new Set();
    for (const file of files) {
      const problem = refusalOf(file, this.files.size, this.#options, store.text);
      if (problem) problems.add(problem);
      else this.#hold(file);
    }
    composer.showProblem([...problems].join(" "));
    composer.update();
  }

  /** @param {File} file */
  #hold(file) {
    /** @type {HeldFile} */
    const held = { name: file.name, file, state: "busy" };
    this.files.add(held);
    this.#upload(held, file);
  }

  /**
   * @param {HeldFile} held
   * @param {File} file
   */
  async #upload(held, file) {
    const { composer, store } = this.chat;
    held.state = "busy";
    composer.update();
    held.abort = new AbortController();
    const { signal } = held.abort;
    try {
      const strategy = store.options.api.uploadStrategy;
      if (strategy?.type === "direct") {
        held.attachment = await this.#send(file, strategy.uploadUrl, signal);
      } else await this.#sendInTwo(held, file, signal);
      held.state = "done";
    } catch (error) {
      if (signal.aborted) return;
      held.state = "failed";
      const { status, message } = /** @type {Error & Failure} */ (error);
      const own = status && message !== store.text.failed;
      composer.showProblem(own ? message : fillIn(store.text.uploadFailed, held.name));
      store.report(error, "FileAttachmentError");
    }
    composer.update();
  }

  /**
   * @param {File} file
   * @param {string} url
   * @param {AbortSignal} signal
   */
  async #send(file, url, signal) {
    const { client } = this.chat;
    const body = new FormData();
    body.append("file", file, file.name);
    const response = await client.fetch(url, { method: "POST", body, signal });
    await client.check(response);
    return response.json();
  }

  /**
   * Upload a file in two phases: it is announced, then sent to where the server wants it.
   * @param {HeldFile} held
   * @param {File} file
   * @param {AbortSignal} signal
   */
  async #sendInTwo(held, file, signal) {
    const { client } = this.chat;
    const params = { name: file.name, size: file.size, mime_type: file.type || UNKNOWN_TYPE };
    const attachment = await client.json("attachments.create", params);
    held.attachment = attachment;
    const { upload_descriptor: to } = attachment;
    if (!to) return;
    const init = { method: to.method, headers: to.headers ?? {}, body: file, signal };
    await client.check(await client.fetch(to.url, init));
  }

  /** @param {HeldFile} held */
  #remove(held) {
    const { client, composer } = this.chat;
    held.abort?.abort();
    this.files.delete(held);
    composer.showProblem("");
    if (held.file && held.attachment) {
      const params = { attachment_id: held.attachment.id };
      client.json("attachments.delete", params).catch(() => {});
    }
    composer.update();
    composer.focus();
  }

  /** What shows the files. */
  chips() {
    return [...this.files].map((held) => this.#chip(held));
  }

  /** @param {HeldFile} held */
  #chip(held) {
    const { text } = this;
    const { name, file, state, attachment } = held;
    const remove = iconButton(fillIn(text.remove, name), "close", () => this.#remove(held));
    const label = h("span", { className: "name", dir: "auto" }, name);
    if (state === "busy") {
      const busy = h("span", { className: "caption" }, text.uploading);
      return h("li", { className: "file" }, spinner(), label, busy, remove);
    }
    if (attachment && state !== "failed") return drawAttachment(attachment, remove);
    const again = iconButton(text.retry, "retry", () => file && this.#upload(held, file));
    return h("li", { className: "file failed" }, icon("warning"), label, again, remove);
  }
}
