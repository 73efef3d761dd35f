// Speech in the place of typing: recorded, turned into text by the server, and put into the field.

import { h } from "../shared/dom.js";
import { icon, iconButton, spinner } from "./controls.js";
import { dress } from "./styles/writing.js";
import { formatSeconds } from "./times.js";

/** @import { Chat } from "./element.js" */

const LONGEST = 300; // seconds
/** What a browser records, best first: the server gets it as it is. */
const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

/**
 * The bytes of a recording, in base64.
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
const base64Of = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",")[1] ?? "");
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });

/**
 * Record until the visitor has finished.
 * @param {MediaStream} stream
 * @param {AbortSignal} finish
 * @returns {Promise<Blob>}
 */
const record = (stream, finish) =>
  new Promise((resolve, reject) => {
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    const recorder = new MediaRecorder(stream, { mimeType });
    /** @type {Blob[]} */
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onerror = () => reject(new Error("The recording failed"));
    recorder.onstop = () => resolve(new Blob(parts, { type: recorder.mimeType }));
    finish.addEventListener("abort", () => recorder.stop());
    recorder.start();
  });

/**
 * Why nothing can be recorded, in words.
 * @param {any} error
 * @param {import("./types.js").Strings} text
 */
const reasonOf = ({ name, message }, text) => {
  if (name === "NotAllowedError" || name === "SecurityError") return text.microphoneRefused;
  if (/^(NotFound|NotReadable|Overconstrained)Error$/.test(name)) return text.noMicrophone;
  return message || text.failed;
};

/**
 * Show in the place of the composer's buttons what goes on.
 * @param {Chat} chat
 * @param {() => void} finish
 * @param {() => void} cancel
 */
const buildBar = (chat, finish, cancel) => {
  const { composer, store } = chat;
  dress(chat);
  const { text } = store;
  const { form } = composer.nodes;
  const tools = /** @type {HTMLElement} */ (form.querySelector(".tools"));
  const label = h("span", {});
  const mark = h("span", { className: "live" });
  const stop = iconButton(text.cancel, "close", cancel);
  const done = h("button", {
    type: "button",
    className: "send",
    title: text.finish,
    onclick: finish,
  });
  done.ariaLabel = text.finish;
  done.append(icon("check"));
  const onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation(); // not the panel around the chat
    cancel();
  };
  const bar = h("div", {
    className: "tools dictation",
    role: "group",
    "aria-label": text.dictate,
    onkeydown,
  });
  bar.append(mark, label, h("span", { className: "spacer" }), stop, done);
  tools.hidden = true;
  tools.after(bar);
  done.focus();
  return {
    bar,
    label,
    /** Show that the server is at work. */
    wait: () => {
      mark.replaceWith(spinner());
      label.textContent = text.transcribing;
      stop.focus();
      done.remove();
    },
    remove: () => {
      bar.remove();
      tools.hidden = false;
    },
  };
};

/** @type {WeakSet<Chat>} those that listen */
const listening = new WeakSet();

/** One dictation: what is recorded and shown, until its text stands in the field. */
class Dictation {
  #chat;
  #finishing = new AbortController();
  #cancelling = new AbortController();
  /** @type {MediaStream | undefined} */
  #stream;
  /** @type {ReturnType<typeof buildBar> | undefined} */
  #bar;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  #finish = () => this.#finishing.abort();
  #cancel = () => {
    this.#cancelling.abort();
    this.#finish();
  };

  async run() {
    const { composer, store, view } = this.#chat;
    const { text } = store;
    try {
      const blob = await this.#record();
      if (this.#cancelling.signal.aborted) return;
      this.#bar?.wait();
      view.announce(text.transcribing);
      const heard = await this.#transcribe(blob);
      this.#bar?.remove();
      if (heard) this.#write(heard);
      else composer.showProblem(text.nothingHeard);
    } catch (error) {
      if (this.#cancelling.signal.aborted) return;
      composer.showProblem(reasonOf(error, text));
      store.report(error, "IntegrationError");
    } finally {
      this.#release();
      const hadFocus = this.#bar?.bar.contains(view.focused) || !view.focused;
      this.#bar?.remove();
      if (hadFocus) composer.focus();
    }
  }

  async #record() {
    const { store, view } = this.#chat;
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    this.#bar = buildBar(this.#chat, this.#finish, this.#cancel);
    const { bar, label } = this.#bar;
    const start = performance.now();
    const tick = () => {
      const seconds = Math.floor((performance.now() - start) / 1000);
      const length = formatSeconds(seconds, store.language);
      label.textContent = `${store.text.recording} ${length}`;
      // Nobody is recorded who does not see it.
      if (!bar.isConnected) this.#cancel();
      else if (seconds >= LONGEST || bar.checkVisibility?.() === false) this.#finish();
    };
    tick();
    const timer = setInterval(tick, 500);
    view.announce(store.text.recording);
    try {
      return await record(this.#stream, this.#finishing.signal);
    } finally {
      clearInterval(timer);
      this.#release();
    }
  }

  /** Let go of the microphone. */
  #release() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
  }

  /** @param {Blob} blob */
  async #transcribe(blob) {
    const params = { audio_base64: await base64Of(blob), mime_type: blob.type };
    const { signal } = this.#cancelling;
    const response = await this.#chat.client.post({ type: "input.transcribe", params }, signal);
    return String((await response.json())?.text ?? "").trim();
  }

  /**
   * Put what was heard to what is written.
   * @param {string} heard
   */
  #write(heard) {
    const { composer, view } = this.#chat;
    const { selectionStart: at, value } = composer.nodes.input;
    composer.insert(/\S$/.test(value.slice(0, at)) ? ` ${heard}` : heard);
    view.announce(heard);
  }
}

/**
 * Take a dictation, unless one is under way.
 * @param {Chat} chat
 */
export const dictate = async (chat) => {
  if (listening.has(chat)) return;
  listening.add(chat);
  chat.composer.showProblem("");
  await new Dictation(chat).run().finally(() => listening.delete(chat));
};
