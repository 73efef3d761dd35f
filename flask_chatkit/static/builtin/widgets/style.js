// The styles of widgets; those of the chat that they share are in ../style.js.

export const STYLE = `
  .widget .body { max-inline-size: none; }
  .widget .body > :is(.flex, .chart, .listing) { max-inline-size: 544px; }
  .card { max-inline-size: 544px; padding: var(--pad, 16px); }
  .card.size-sm { max-inline-size: 352px; }
  .card.size-lg { max-inline-size: 736px; }
  .card.size-full { max-inline-size: none; }
  .card.padded { padding: 0; }
  .padded > .foot, .padded > details > .foot { padding: 0 16px 16px; }
  .card .card { max-inline-size: none; }
  .card:has(> .flex > .flush:first-child) { overflow: clip; }
  .card > .status { padding-block-end: 10px; }
  .padded > .status, .padded > details > summary { padding: 12px 16px; }
  .status { display: flex; align-items: center; gap: 6px; }
  .listing > .status { padding: 0 4px 6px; }
  .card > details > summary { display: flex; align-items: center; gap: 6px; cursor: pointer; font-weight: 500; list-style: none; color: inherit; }
  .card > details[open] > summary { padding-block-end: 10px; }
  .card.list { padding: 6px; }
  .list > li > .flex { padding: 9px 10px; }
  .list .flex.col { gap: 2px; }
  .list .flex > .plain:last-child { margin-inline-start: auto; }
  .list > li > .button { margin: 6px 10px; }
  .item.flex { inline-size: 100%; background: none; border: 0; color: inherit; text-align: start; border-radius: 11px; }
  .item.flex:hover { background: var(--bubble); }

  .flex.row:has(> :is(.flex, .text, .title, .caption, .md, img, .chart, .transition)) { flex-wrap: nowrap; }
  .flex > :is(.badge, .button, .glyph, .clear) { flex: none; }
  .flex.col > .button:not(.block) { align-self: auto; inline-size: fit-content; }
  .flex.col > img { inline-size: fit-content; flex: none; }
  .flex.row > img[style*="inline-size"] { flex-shrink: 0; }
  .flex.row > .spacer { min-inline-size: var(--least, 0); }
  .flex.col > .spacer { min-block-size: var(--least, 0); }
  :is(.flex, .card) > hr { flex: none; align-self: stretch; inline-size: auto; border: 0; border-block-start: var(--thick, 1px) solid var(--shade, var(--line)); margin-block: var(--apart, 0); }
  .flex.row > hr { block-size: auto; border-block: 0; border-inline-start: var(--thick, 1px) solid var(--shade, var(--line)); margin: 0 var(--apart, 0); }
  .card > .flex > .flush, .card > details > .flex > .flush { margin-inline: calc(-1 * var(--pad-x, var(--pad, 16px))); }
  .card > .flex > img.flush, .card > details > .flex > img.flush { inline-size: auto; max-inline-size: none; align-self: stretch; border-radius: 0; }
  .card > .flex > img.flush:first-child { margin-block-start: calc(-1 * var(--pad-y, var(--pad, 16px))); }
  .transition { animation: appear 0.25s ease-out; }
  @keyframes appear { from { opacity: 0; transform: translateY(4px); } }

  .body :is(.text, .title, .caption) { white-space: pre-line; }
  .title { font-size: 1.125em; font-weight: 600; line-height: 1.3; overflow-wrap: anywhere; }
  .s-xs { font-size: 0.75em; } .s-sm { font-size: 0.875em; } .s-md { font-size: 1em; } .s-lg { font-size: 1.125em; } .s-xl { font-size: 1.25em; }
  .title.s-sm { font-size: 1em; } .title.s-md { font-size: 1.125em; } .title.s-lg { font-size: 1.25em; } .title.s-xl { font-size: 1.4em; }
  .title.s-2xl { font-size: 1.6em; } .title.s-3xl { font-size: 1.9em; } .title.s-4xl { font-size: 2.25em; } .title.s-5xl { font-size: 2.75em; line-height: 1.15; }
  .caption.s-sm { font-size: 0.75em; } .caption.s-lg { font-size: 0.9375em; }
  .w-normal { font-weight: 400; } .w-medium { font-weight: 500; } .w-semibold { font-weight: 600; } .w-bold { font-weight: 700; }
  .italic { font-style: italic; }
  .struck { text-decoration: line-through; }
  .clamp { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: var(--lines); overflow: hidden; }
  .body .cut { max-inline-size: 100%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .glyph { display: inline-flex; line-height: 0; }
  .g-xs { --g: 14px; } .g-sm { --g: 16px; } .g-md { --g: 20px; } .g-lg { --g: 24px; } .g-xl { --g: 30px; } .g-2xl { --g: 38px; } .g-3xl { --g: 50px; }
  .glyph svg, .button svg { inline-size: var(--g, 1.25em); block-size: var(--g, 1.25em); }
  .widget img { display: block; max-inline-size: 100%; border-radius: 10px; object-fit: cover; }
  .widget img.favicon { inline-size: 16px; block-size: 16px; border-radius: 4px; }
  img.frame { border: 1px solid var(--line); }
  img.favicon.frame { inline-size: 20px; block-size: 20px; padding: 1px; background: #fff; }

  .tone-primary { --tone: var(--accent); --on-tone: var(--on-accent); --say: var(--link); }
  .tone-secondary { --tone: var(--ink); --say: var(--ink); }
  .tone-info { --tone: var(--info); --say: var(--info); }
  .tone-discovery { --tone: var(--discovery); --say: var(--discovery); }
  .tone-success { --tone: var(--success); --say: var(--success); }
  .tone-warning, .tone-caution { --tone: var(--warning); --say: var(--warning); }
  .tone-danger { --tone: var(--danger); --say: var(--danger); }
  :is(.button, .badge).solid { background: var(--tone); border-color: transparent; color: var(--on-tone, var(--paper)); }
  .button.solid:hover { background: color-mix(in srgb, var(--tone) 92%, var(--on-tone, var(--paper))); }
  :is(.button, .badge).soft { background: color-mix(in srgb, var(--tone) 10%, var(--paper)); border-color: transparent; color: color-mix(in srgb, var(--say) 72%, var(--ink)); }
  .button.soft:hover { background: color-mix(in srgb, var(--tone) 16%, var(--paper)); }
  :is(.button, .badge).outline { background: none; border-color: color-mix(in srgb, var(--tone) 45%, transparent); color: var(--say); }
  .button.outline.tone-secondary, .badge.outline.tone-secondary { border-color: var(--line); }
  .button.ghost { background: none; border-color: transparent; color: var(--say); }
  .button:is(.outline, .ghost):hover { background: var(--bubble); }
  .badge.b-sm { font-size: 0.6875em; } .badge.b-lg { font-size: 0.9375em; padding-block: 0.15em; }
  .badge.squared { border-radius: 0.45em; }

  .c-3xs { --h: 24px; --f: 0.75em; --gap-x: 6px; } .c-2xs { --h: 24px; --f: 0.8125em; --gap-x: 7px; } .c-xs { --h: 26px; --f: 0.8125em; --gap-x: 8px; }
  .c-sm { --h: 28px; --f: 0.875em; --gap-x: 10px; } .c-md { --h: 32px; --f: 0.875em; --gap-x: 12px; } .c-lg { --h: 36px; --f: 0.9375em; --gap-x: 15px; }
  .c-xl { --h: 40px; --f: 1em; --gap-x: 16px; } .c-2xl { --h: 44px; --f: 1em; --gap-x: 18px; } .c-3xl { --h: 48px; --f: 1.0625em; --gap-x: 20px; }
  .gut-2xs { --gap-x: 4px; } .gut-xs { --gap-x: 6px; } .gut-sm { --gap-x: 8px; } .gut-md { --gap-x: 12px; } .gut-lg { --gap-x: 16px; } .gut-xl { --gap-x: 20px; }
  :is(.button, input, select)[class*="c-"] { min-block-size: var(--h); padding-block: 2px; }
  :is(.button, input, select, textarea)[class*="c-"] { font-size: var(--f); }
  :is(.button, input, select, textarea):is([class*="c-"], [class*="gut-"]) { padding-inline: var(--gap-x); }
  .body .pill { border-radius: 999px; }
  .body textarea.pill { border-radius: 18px; }
  .body .block { inline-size: 100%; }
  .button.uniform { min-inline-size: var(--h, 36px); padding: 2px; }
  .button.uniform:not([class*="c-"]) { min-inline-size: 36px; }
  .body .v-soft, .body .v-solid { background: var(--bubble); border-color: transparent transparent var(--edge); }
  .body .v-ghost { background: none; border-color: transparent transparent var(--line); }
  .field { position: relative; display: inline-flex; align-items: center; gap: 2px; min-inline-size: 0; max-inline-size: 100%; }
  .field > :is(input, select) { flex: 1; min-inline-size: 0; }
  .flex.col > .field { inline-size: 100%; }
  .field .clear { min-inline-size: 24px; min-block-size: 24px; }
  .hint { display: none; position: absolute; inset-inline-start: 12px; pointer-events: none; color: var(--muted); }
  .hint:dir(rtl) { inset-inline-start: 44px; }
  .field:not(:focus-within) > .empty { color: transparent; }
  .field:not(:focus-within) > .empty::-webkit-datetime-edit { opacity: 0; }
  .field:not(:focus-within) > .empty + .hint { display: block; }
  .body textarea { min-block-size: calc(var(--rows, 1) * 1lh + 14px); }
  .body .grows { field-sizing: content; max-block-size: calc(var(--most) * 1lh + 14px); resize: none; }
  .body .editable { inline-size: 100%; padding: 2px 6px; min-block-size: calc(var(--rows, 1) * 1lh + 6px); background: none; border-color: transparent transparent var(--edge); border-radius: 6px 6px 0 0; white-space: pre-wrap; overflow: hidden; }
  .body .editable:hover { background: var(--bubble); }
  .body [aria-invalid] { border-color: var(--danger); }
  .body .problem { padding: 0; }
  .body :is(input, select, textarea):disabled { opacity: 0.6; }
  .label { overflow-wrap: anywhere; }
  .button[aria-busy="true"]::before, [aria-busy="true"] :is(.button.primary, .button[type="submit"])::before { content: ""; inline-size: 1em; block-size: 1em;
    border: 2px solid currentcolor; border-block-start-color: transparent; border-radius: 50%; animation: turn 0.8s linear infinite; }

  .chart { display: flex; flex-direction: column; gap: 8px; position: relative; min-inline-size: 0; inline-size: 100%; }
  .plot { position: relative; inline-size: 100%; max-inline-size: 100%; min-block-size: 120px; }
  .plot:not([style*="aspect-ratio"], [style*="block-size"]) { aspect-ratio: 2; max-block-size: 320px; }
  .uplot { position: absolute; inset: 0; }
  .u-wrap { position: relative; user-select: none; }
  .u-over, .u-under, .u-axis, .u-select, .u-cursor-x, .u-cursor-y, .u-cursor-pt { position: absolute; }
  .u-under, .u-over { overflow: hidden; }
  .uplot canvas { display: block; position: relative; inline-size: 100%; block-size: 100%; }
  .u-cursor-x { inset: 0 auto auto 0; block-size: 100%; border-inline-end: 1px solid var(--edge); pointer-events: none; }
  .u-cursor-pt { inset: 0 auto auto 0; border: 2px solid; border-radius: 50%; background-clip: padding-box !important; pointer-events: none; }
  .u-off { display: none; }
  .tip { position: absolute; z-index: 1; inset-block-start: 4px; max-inline-size: 60%; padding: 6px 10px; pointer-events: none; font-size: 0.8125em; line-height: 1.4;
    background: var(--paper); border: 1px solid var(--line); border-radius: 8px; box-shadow: 0 4px 16px #0002; }
  .legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 0.8125em; color: var(--muted); }
  .legend li, .tip div { display: flex; align-items: center; gap: 6px; }
  .tip b { margin-inline-start: auto; padding-inline-start: 10px; }
  .mark { inline-size: 10px; block-size: 10px; flex: none; border-radius: 3px; background: currentcolor; forced-color-adjust: none; }
  .mark.thin { block-size: 3px; }

  @media (pointer: coarse) {
    .body :is(.button, input, select)[class], .field .clear { min-block-size: 44px; }
    .button.uniform, .field .clear { min-inline-size: 44px; }
    .item.flex, .body summary { min-block-size: 44px; }
    .body .choice input { min-block-size: 0; }
  }
  @media (forced-colors: active) {
    .button.ghost { border-color: transparent; }
    .body .v-soft, .body .v-solid, .body .editable { border-color: FieldText; }
  }
`;
