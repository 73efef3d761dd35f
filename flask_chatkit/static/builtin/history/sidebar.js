// The list of threads beside the conversation, on a page of the chat's own that is wide enough.

import { dress } from "../styles/finding.js";

/** @import { Chat } from "../element.js" */

const WIDE = 56; // times the size of the text

/**
 * Put the list beside the conversation while there is room for both.
 * @param {Chat} chat
 */
export const watchWidth = (chat) => {
  const { history, view } = chat;
  const { chat: node } = view.nodes;
  dress(chat);
  const observer = new ResizeObserver(([{ contentRect }]) => {
    // The chat may have been built anew meanwhile.
    if (!node.isConnected) observer.disconnect();
    else
      history.dock(contentRect.width >= WIDE * Number.parseFloat(getComputedStyle(node).fontSize));
  });
  observer.observe(node);
};
