// What the server has not taken: it is in the composer again, with the reason and how long to wait.

import { h } from "../shared/dom.js";
import { fillIn } from "./controls.js";
import { Part } from "./store.js";
import { formatSeconds } from "./times.js";

/** @import { Failure } from "./controls.js" */
/** @import { Run } from "./types.js" */

const LONGEST = 24 * 3600; // seconds that are counted down

/** Brings back what was refused, and counts a limit down. */
export class Refused extends Part {
  node = h("p", { className: "caption wait", role: "timer", hidden: true });
  #until = 0;
  #timer = 0;
  /** @type {Set<HTMLButtonElement>} those that can be used when the limit is over */
  #buttons = new Set();

  /** Seconds until something can be sent again. */
  get seconds() {
    return Math.max(0, Math.ceil((this.#until - performance.now()) / 1000));
  }

  get #words() {
    return fillIn(this.text.wait, formatSeconds(this.seconds, this.store.language));
  }

  /**
   * Bring a message back, and say why.
   * @param {Run} run that has sent it
   * @param {Error & Failure} error
   */
  take(run, error) {
    const { composer, editing, queue, store } = this.chat;
    const { message, sent = "" } = run;
    // What waits was written after it, and comes behind it.
    queue.takeBack();
    store.remove(sent);
    run.returned = true;
    editing.settle(run); // what it should have replaced can be edited again
    if (message) composer.give(message);
    composer.showProblem(error.told ? "" : error.message);
    this.hold(error.wait);
  }

  /**
   * Send nothing for so long.
   * @param {number} [seconds]
   */
  hold(seconds) {
    if (!seconds || seconds < 0) return;
    this.#until = performance.now() + Math.min(seconds, LONGEST) * 1000;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#tick(), 1000);
    this.#tick();
  }

  /** @returns whether nothing can be sent yet; it is announced then */
  check() {
    if (this.seconds > 0) this.chat.view.announce(this.#words);
    return this.seconds > 0;
  }

  /**
   * Have a button wait as well.
   * @param {HTMLButtonElement} button
   */
  bind(button) {
    this.#buttons.add(button);
    button.disabled = this.seconds > 0;
  }

  #tick() {
    const { composer, view } = this.chat;
    const waits = this.seconds > 0;
    this.node.hidden = !waits;
    this.node.textContent = waits ? this.#words : "";
    for (const button of this.#buttons) {
      button.disabled = waits;
      if (!waits || !button.isConnected) this.#buttons.delete(button);
    }
    if (!waits) {
      clearInterval(this.#timer);
      composer.showProblem("");
      view.announce(this.text.waitOver);
    }
    composer.update();
  }
}
