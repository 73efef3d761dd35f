// Speech in the place of typing: recorded, turned into text by the server, and put into the field.

import { h } from "../shared/dom.js";
import { formatSeconds, icon, iconButton, spinner } from "./controls.js";

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
const buildBar = ({ composer, store }, finish, cancel) => {
  const { text } = store;
  const { form } = composer.nodes;
  const tools = /** @type {HTMLElement} */ (form.querySelector(".tools"));
  const label = h("span", {});
  const mark = h("span", { className: "live" });
  const stop = iconButton(text.cancel, "close", cancel);
  const done = h("button", { type: "button", className: "send", title: text.finish, onclick: finish });
  done.ariaLabel = text.finish;
  done.append(icon("check"));
  const onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation(); // not the panel around the chat
    cancel();
  };
  const bar = h("div", { className: "tools dictation", role: "group", "aria-label": text.dictate, onkeydown });
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

/**
 * Take a dictation.
 * @param {Chat} chat
 */
export const dictate = async (chat) => {
  const { client, composer, store, view } = chat;
  const { text } = store;
  composer.showProblem("");
  const finishing = new AbortController();
  const cancelling = new AbortController();
  /** @type {MediaStream | undefined} */
  let stream;
  /** @type {ReturnType<typeof buildBar> | undefined} */
  let shown;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let timer;
  const finish = () => finishing.abort();
  const cancel = () => {
    cancelling.abort();
    finish();
  };
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const bar = buildBar(chat, finish, cancel);
    shown = bar;
    const start = performance.now();
    const tick = () => {
      const seconds = Math.floor((performance.now() - start) / 1000);
      bar.label.textContent = `${text.recording} ${formatSeconds(seconds)}`;
      // Nobody is recorded who does not see it.
      if (!bar.bar.isConnected) cancel();
      else if (seconds >= LONGEST || bar.bar.checkVisibility?.() === false) finish();
    };
    tick();
    timer = setInterval(tick, 500);
    view.announce(text.recording);
    const blob = await record(stream, finishing.signal);
    clearInterval(timer);
    for (const track of stream.getTracks()) track.stop();
    if (cancelling.signal.aborted) return;
    bar.wait();
    view.announce(text.transcribing);
    const params = { audio_base64: await base64Of(blob), mime_type: blob.type };
    const request = { type: "input.transcribe", params };
    const answer = await (await client.post(request, cancelling.signal)).json();
    const heard = String(answer?.text ?? "").trim();
    bar.remove();
    if (heard) write(chat, heard);
    else composer.showProblem(text.nothingHeard);
  } catch (error) {
    if (cancelling.signal.aborted) return;
    composer.showProblem(reasonOf(error, text));
    store.dispatch("error", { error });
  } finally {
    clearInterval(timer);
    for (const track of stream?.getTracks() ?? []) track.stop();
    const had = shown?.bar.contains(view.focused) || !view.focused;
    shown?.remove();
    if (had) composer.focus();
  }
};

/**
 * Put what was heard to what is written.
 * @param {Chat} chat
 * @param {string} heard
 */
const write = ({ composer, view }, heard) => {
  const { selectionStart: at, value } = composer.nodes.input;
  composer.insert(/\S$/.test(value.slice(0, at)) ? ` ${heard}` : heard);
  view.announce(heard);
};
