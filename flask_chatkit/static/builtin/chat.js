// One chat: its state, and the parts that show and change it.

import { Actions } from "./actions.js";
import { Attachments } from "./attachments.js";
import { Client } from "./client.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { History } from "./history.js";
import { Notices } from "./notices.js";
import { Responses } from "./responses.js";
import { Rows } from "./rows.js";
import { Store } from "./store.js";
import { Appearance } from "./theme.js";
import { Turns } from "./turns.js";
import { View } from "./view.js";

/** @import { Dispatch } from "./store.js" */
/** @import { Strings } from "./types.js" */

export class Chat {
  /**
   * @param {ShadowRoot} root
   * @param {Strings} text
   * @param {Dispatch} dispatch
   */
  constructor(root, text, dispatch) {
    this.store = new Store(text, dispatch);
    this.client = new Client(this.store);
    this.actions = new Actions(this);
    this.appearance = new Appearance(this, root);
    this.attachments = new Attachments(this);
    this.composer = new Composer(this);
    this.conversation = new Conversation(this);
    this.history = new History(this);
    this.notices = new Notices(this);
    this.responses = new Responses(this);
    this.rows = new Rows(this);
    this.turns = new Turns(this);
    this.view = new View(this, root);
  }
}
