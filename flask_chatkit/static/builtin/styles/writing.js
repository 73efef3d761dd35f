// The styles of what comes when it is needed: menus, lists, marks, dictation, previews, quoting.

import { ownUnits } from "../style.js";

/** @import { Chat } from "../element.js" */

const sheet = new CSSStyleSheet();
sheet.replaceSync(
  ownUnits(`
  .menu { position: absolute; inset-block-end: calc(100% + 0.4rem); inset-inline-start: 0; z-index: 2; min-inline-size: min(16rem, 100%);
    max-inline-size: min(24rem, 100%); max-block-size: min(32rem, 100cqb - 6.5rem, var(--room)); overflow-y: auto; overscroll-behavior: contain; padding: 0.35rem;
    background: var(--paper); border: 1px solid var(--line); border-radius: min(var(--box), 1rem); box-shadow: 0 6px 24px rgb(0 0 0 / 16%); scrollbar-width: thin; }
  .menu.end { inset-inline: auto 0; }
  .menu.below { inset-block: calc(100% + 0.4rem) auto; }
  .menu[role="listbox"] { inline-size: min(24rem, 100%); }
  .menu > [role="group"] + [role="group"] { margin-block-start: 0.3rem; padding-block-start: 0.3rem; border-block-start: 1px solid var(--line); }
  .menu .caption { padding: 0.25rem 0.6rem; }
  .option { display: flex; align-items: center; gap: 0.6rem; inline-size: 100%; min-block-size: 2.25rem; padding: 0.3rem 0.6rem; text-align: start; line-height: 1.3;
    background: none; border: 0; border-radius: min(var(--control), 0.6rem); cursor: pointer; overflow-wrap: anywhere; }
  .option > span { flex: 1; min-inline-size: 0; text-align: left; }
  .option:dir(rtl) > span { text-align: right; }
  .menu:has(.option > svg:first-child) .option:not(:has(> svg:first-child)) { padding-inline-start: calc(1.2rem + 1.25em); }
  .option small { display: block; font-size: 0.85em; color: var(--muted); }
  .option > svg { color: var(--muted); }
  .option:is(:hover, :focus, [aria-selected="true"]) { background: var(--bubble); }
  .option:focus-visible { outline-offset: -2px; }
  .option[aria-disabled="true"] { opacity: 0.55; cursor: default; }

  .mirror { position: absolute; z-index: -1; padding: 0.4rem 0.75rem; line-height: 1.45; overflow: hidden; white-space: pre-wrap; overflow-wrap: break-word;
    color: transparent; pointer-events: none; }
  .mirror mark { color: transparent; background: color-mix(in srgb, var(--accent) 16%, transparent); border-radius: 0.25em;
    box-shadow: 0 0 0 2px color-mix(in srgb, var(--accent) 16%, transparent); }

  .dictation { min-block-size: 2.25rem; gap: 0.6rem; padding-inline-start: 0.75rem; color: var(--muted); }
  .live { inline-size: 0.65rem; block-size: 0.65rem; flex: none; border-radius: 50%; background: var(--danger); animation: beat 1.2s infinite; }

  .preview, .quoter { position: fixed; inset: auto; margin: 0; box-shadow: 0 6px 24px rgb(0 0 0 / 16%); }
  .preview { inline-size: max-content; max-inline-size: min(22rem, 100vw - 1rem); padding: 0; overflow: visible; background: none; border: 0; border-radius: min(var(--box), 1.1rem);
    color: var(--ink); font: var(--size) / 1.55 var(--font); white-space: normal; pointer-events: none; }
  .quoter { color: var(--ink); }

  @container chat (max-width: 30rem) {
    .menu { max-inline-size: 100%; }
  }
  @media (pointer: coarse) { .option { min-block-size: 2.75rem; } }
  @media (forced-colors: active) {
    .menu, .preview { border: 1px solid currentcolor; }
    .preview .card { border: 0; }
    .option:is(:focus, [aria-selected="true"]) { outline: 2px solid Highlight; outline-offset: -2px; }
    .mirror { display: none; }
    .live { background: CanvasText; }
  }
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
