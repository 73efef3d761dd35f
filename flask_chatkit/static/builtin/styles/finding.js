// The styles of the search, and of the list of threads beside the conversation.

import { ownUnits } from "../style.js";

/** @import { Chat } from "../element.js" */

const sheet = new CSSStyleSheet();
sheet.replaceSync(
  ownUnits(`
  .search { position: relative; flex: none; inline-size: 100%; max-inline-size: 48rem; margin-inline: auto; padding: 0.75rem 1rem 0; }
  .search > svg { position: absolute; inset-block-start: 1.4rem; inset-inline-start: 1.7rem; inline-size: 1.1em; block-size: 1.1em; color: var(--muted); pointer-events: none; }
  .search input[type="search"] { inline-size: 100%; padding-inline: 2.4rem; min-block-size: 2.5rem; }
  .search input:placeholder-shown { direction: inherit; }
  .search ::-webkit-search-cancel-button { display: none; }
  .past mark { background: color-mix(in srgb, var(--accent) 22%, transparent); color: var(--ink); border-radius: 0.2em; font-weight: 600; }
  .history.docked { inset-inline-end: auto; inline-size: 18rem; border-inline-end: 1px solid var(--line); background: color-mix(in srgb, var(--bubble) 45%, var(--paper)); }
  .docked .back { display: none; }
  .docked .log { padding: 0.75rem 0.5rem 0.5rem; }
  .docked .search { padding: 0.5rem 0.5rem 0; }
  .docked .search > svg { inset-block-start: 1.15rem; inset-inline-start: 1.15rem; }
  .docked .center { text-align: start; padding-inline: 0.8rem; }
  .docked .past:has([aria-current]) { background: color-mix(in srgb, var(--ink) 10%, transparent); }
  .docked .pasts li + li { margin-block-start: 2px; }
  .docked .edit > input { flex-basis: 100%; }
  .docked time { display: none; }
  .docked .past .item { min-block-size: 2.5rem; padding-block: 0.3rem; justify-content: center; }
  .docked .past:not(:hover, :focus-within, :has(.edit)) > .plain { inline-size: 1px; min-inline-size: 0; padding: 0; margin: 0; overflow: hidden; opacity: 0; }
  .main:has(+ .docked:not([hidden])) { inset-inline-start: 18rem; }
  @media (hover: none) { .docked .past > .plain { inline-size: auto !important; opacity: 1 !important; } }
  @media (pointer: coarse) { .search input[type="search"] { min-block-size: 2.75rem; } }
  @media (forced-colors: active) {
    .past mark { background: Mark; color: MarkText; }
    .docked .past:has([aria-current]) { background: Highlight; }
  }
  @media print { .main:has(+ .docked) { inset: 0; } }
`),
);

/**
 * Have these styles in a chat.
 * @param {Chat} chat
 */
export const dress = ({ view }) => {
  const root = /** @type {ShadowRoot} */ (view.nodes.chat.getRootNode());
  if (!root.adoptedStyleSheets.includes(sheet))
    root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
};
