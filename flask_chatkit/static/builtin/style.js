// The styles within the element's shadow; the custom properties come from theme.js.

/**
 * A style sheet of the chat's. A rem in it is the chat's own, by the size that the visitor's browser
 * has for text: the page's root may have any.
 * @param {string} css
 */
export const ownUnits = (css) =>
  css.replace(/(@[^{]*)|(-?[\d.]+)rem\b/g, (_, rule, length) =>
    // The condition of a rule knows no custom property.
    rule ? rule.replaceAll("rem", "em") : `calc(${length} * var(--rem))`,
  );

export const STYLE = ownUnits(`
  :host { all: initial; display: block; block-size: 100%; inline-size: 100%; min-block-size: 12rem; }
  *, ::before, ::after { box-sizing: border-box; }
  [hidden] { display: none !important; }
  .hidden { position: absolute; inline-size: 1px; block-size: 1px; margin: 0; overflow: hidden;
    clip-path: inset(50%); white-space: nowrap; }
  .chat { position: relative; block-size: 100%; overflow: hidden; background: var(--paper);
    color: var(--ink); font: var(--size) / 1.55 var(--font); container: chat / size; user-select: text;
    -webkit-text-size-adjust: 100%; }
  .main, .history { position: absolute; inset: 0; display: flex; flex-direction: column; }
  .history { background: var(--paper); }
  h2, h3, h4, p, ul, ol, dl, dd, figure, blockquote, fieldset { margin: 0; padding: 0; }
  ul[role], .edit { list-style: none; }
  svg { inline-size: 1.25em; block-size: 1.25em; flex: none; fill: none; stroke: currentcolor;
    stroke-linecap: round; stroke-linejoin: round; stroke-width: 1.75; }
  .i-thumb-down { transform: rotate(180deg); }
  .i-stop { fill: currentcolor; }
  .filled { fill: currentcolor; fill-rule: evenodd; stroke: none; }
  .i-dots { stroke-width: 3; }
  a { color: var(--link); text-underline-offset: 0.15em; }
  :focus-visible { outline: 2px solid var(--ring); outline-offset: 2px; }
  button, input, select, textarea { font: inherit; color: inherit; }
  button { cursor: pointer; }
  button:disabled { cursor: default; opacity: 0.55; }
  .spacer { flex: 1; }
  .center { text-align: center; padding-block: 0.5rem; }
  .caption { color: var(--muted); font-size: 0.875em; }
  .problem { color: var(--danger); font-size: 0.9em; padding: 0 1.2rem 0.4rem; }
  .problem:empty { display: none; }
  .problem, .header h2 { text-align: left; }
  .header:dir(rtl) h2, :dir(rtl) > .problem { text-align: right; }
  .wait { padding: 0 1.2rem 0.4rem; }

  .plain { display: inline-flex; align-items: center; justify-content: center; gap: 0.35rem;
    min-inline-size: 2.25rem; min-block-size: 2.25rem; padding: 0.25rem; flex: none;
    background: none; border: 1px solid transparent; border-radius: var(--control); color: var(--muted); }
  .plain:hover { background: var(--bubble); color: var(--ink); }
  .plain[aria-pressed="true"] { color: var(--ink); }
  .plain[aria-pressed="true"] svg { fill: currentcolor; }
  .button { display: inline-flex; align-items: center; justify-content: center; gap: 0.4rem;
    min-block-size: 2.25rem; padding: 0.3rem 0.95rem; font-size: 0.9375em; font-weight: 500;
    background: var(--paper); border: 1px solid var(--line); border-radius: var(--control); }
  .button:hover { background: var(--bubble); }
  .button.primary, .send { background: var(--accent); border-color: transparent; color: var(--on-accent); }
  .button.primary:hover { background: var(--accent); filter: brightness(1.1); }
  .button.danger { color: var(--danger); border-color: currentcolor; }
  .button.block { inline-size: 100%; }

  .header { display: flex; align-items: center; gap: 0.15rem; flex: none; min-block-size: 3.25rem;
    border-block-end: 1px solid var(--line); padding-inline: 1rem 0.5rem; }
  .header .plain:first-child { margin-inline-start: -0.5rem; }
  h2 { flex: 1; min-inline-size: 0; font-size: 1em; font-weight: 600; overflow: hidden;
    text-overflow: ellipsis; white-space: nowrap; }

  .log { flex: 1; min-block-size: 0; overflow: hidden auto; overscroll-behavior: contain;
    padding: 1rem 1rem 1.25rem; scrollbar-width: thin; scrollbar-color: var(--line) transparent; }
  .log:focus-visible { outline-offset: -2px; }
  .column { display: flex; flex-direction: column; min-block-size: 100%; max-inline-size: 46rem; margin-inline: auto; }
  .thread, .group { display: flex; flex-direction: column; gap: var(--gap); }
  .group > .bar { margin-block-start: calc(0.35rem - var(--gap)); }

  .start { flex: 1; display: flex; flex-direction: column; justify-content: center; gap: 1.5rem;
    padding-block: 1rem; }
  .greeting { font-size: 1.5em; line-height: 1.25; font-weight: 600; letter-spacing: -0.015em;
    text-align: center; text-wrap: balance; }
  .prompts { display: flex; flex-wrap: wrap; justify-content: center; gap: 0.5rem; }
  .prompt { display: flex; align-items: center; gap: 0.5rem; min-block-size: 2.5rem; padding: 0.45rem 1rem;
    text-align: start; background: none; border: 1px solid var(--line); border-radius: var(--corner); }
  .prompt:hover { background: var(--bubble); }
  .prompt svg { color: var(--muted); }

  article { min-inline-size: 0; overflow-wrap: anywhere; position: relative; }
  .user_message { align-self: flex-end; max-inline-size: min(85%, 36rem); }
  .user_message .files { justify-content: flex-end; }
  .user_message .body { display: flex; flex-direction: column; align-items: flex-end; gap: 0.35rem; }
  .bubble { padding: 0.55rem 1rem; background: var(--bubble); border: 1px solid transparent;
    border-radius: var(--corner); white-space: pre-wrap; max-inline-size: 100%; }
  .user_message > .bar { position: absolute; inset-block-end: 0; inset-inline-end: 100%; margin: 0; }
  .user_message > .bar .plain { min-block-size: calc(1.55em + 1.1rem + 2px); }
  .editing .bubble { border: 1px dashed var(--ring); }
  .replaced { opacity: 0.5; }
  blockquote { padding-inline-start: 0.75rem; border-inline-start: 3px solid var(--line); color: var(--muted); }
  .bar { display: flex; margin-inline-start: -0.5rem; }
  .bar .plain { min-inline-size: 2rem; min-block-size: 2rem; }
  .bar svg { inline-size: 1.1em; block-size: 1.1em; }
  .bar:empty, .group:empty { display: none; }
  @media (hover: hover) {
    .group > .bar:not(.last) { opacity: 0; transition: opacity 0.15s; }
    article:hover + .bar, article:hover + article + .bar, .bar:is(:hover, :focus-within) { opacity: 1 !important; }
  }
  .group { contain-intrinsic-block-size: auto 64rem; overflow-clip-margin: 1.5rem; }
  .group:nth-last-child(n + 3) { content-visibility: auto; }

  .raw { white-space: pre-wrap; }
  .md > * + * { margin-block-start: 0.75em; }
  .md > .part { margin-block-start: 0; content-visibility: auto; contain-intrinsic-block-size: auto 40rem; overflow-clip-margin: 0.5rem; }
  .part > * { margin-block-start: 0.75em; }
  .md + .md { margin-block-start: 0.75em; }
  .md :is(h4, h5, h6) { font-size: 1em; font-weight: 650; line-height: 1.3; margin-block: 1.2em 0.4em; text-wrap: pretty; }
  .md h4 { font-size: 1.35em; letter-spacing: -0.01em; }
  .md h5 { font-size: 1.15em; }
  .md > :first-child { margin-block-start: 0; }
  .md :is(ul, ol) { padding-inline-start: 1.5em; }
  .md ol { padding-inline-start: 2em; }
  .md li + li, .md li > :is(ul, ol, p) { margin-block-start: 0.25em; }
  .md blockquote > * + * { margin-block-start: 0.5em; }
  .md li::marker { color: var(--muted); }
  .md .task-item { list-style: none; }
  .box { display: inline-grid; place-items: center; inline-size: 1.05em; block-size: 1.05em; margin-inline: -1.45em 0.4em; vertical-align: -0.15em;
    border: 1.5px solid var(--edge); border-radius: 0.25em; }
  .box[aria-checked="true"] { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
  .box svg { inline-size: 0.9em; block-size: 0.9em; stroke-width: 3.5; }
  .md hr, .card hr { border: 0; border-block-start: 1px solid var(--line); margin-block: 0.75em; inline-size: 100%; }
  .card hr { margin-block: 0; }
  .md img { max-inline-size: 100%; block-size: auto; border-radius: 0.5rem; }
  code, kbd { direction: ltr; unicode-bidi: isolate; font: 0.875em / 1.5 var(--mono); padding: 0.1em 0.35em; background: var(--bubble); border-radius: 0.3em; }
  .code { border: 1px solid var(--line); border-radius: min(var(--corner), 0.75rem); overflow: hidden; }
  .code > div { display: flex; align-items: center; justify-content: space-between; padding-inline: 0.9rem 0.25rem;
    font-size: 0.8125em; color: var(--muted); background: var(--bubble); }
  .code pre { margin: 0; padding: 0.75rem 0.9rem; overflow-x: auto; text-align: left; }
  .code code { display: block; inline-size: max-content; min-inline-size: 100%; padding: 0; background: none; }
  .lines { display: block; }
  .zoom, .open { display: inline-flex; align-items: center; gap: inherit; max-inline-size: 100%; min-inline-size: 0; padding: 0; background: none; border: 0; border-radius: 0.5rem; text-align: start; }
  .zoom { cursor: zoom-in; }
  .open { min-block-size: inherit; }
  .open:hover .name { text-decoration: underline; }
  .code .plain { padding-inline: 0.6rem; font-size: 1em; min-block-size: 2rem; }
  pre:focus-visible, .table:focus-visible { outline-offset: -2px; }
  .table { overflow-x: auto; border: 1px solid var(--line); border-radius: min(var(--corner), 0.75rem); }
  table { border-collapse: collapse; min-inline-size: 100%; font-size: 0.9375em; overflow-wrap: normal; }
  .table > table { inline-size: max-content; }
  .table > table :is(th, td) { min-inline-size: 4rem; max-inline-size: 22rem; }
  th, td { padding: 0.45rem 0.8rem; text-align: start; vertical-align: top; border-block-end: 1px solid var(--line); }
  thead th, th[scope="col"] { font-weight: 600; background: var(--bubble); }
  tr:last-child > :is(th, td) { border-block-end: 0; }
  [align="right"] { text-align: end; }
  [align="center"] { text-align: center; }

  details { border-radius: var(--control); }
  summary { display: flex; align-items: center; gap: 0.45rem; min-block-size: 2rem; inline-size: fit-content;
    color: var(--muted); font-size: 0.9375em; cursor: pointer; list-style: none; border-radius: 0.4rem; }
  summary::-webkit-details-marker { display: none; }
  summary:hover { color: var(--ink); }
  summary .i-chevron { inline-size: 1em; block-size: 1em; transition: rotate 0.15s; }
  details[open] > summary .i-chevron, :dir(rtl) > summary .i-chevron { rotate: 90deg; }
  :dir(rtl):not([open]) > summary .i-chevron { rotate: 180deg; }
  .sources ol { padding-inline-start: 2rem; font-size: 0.9375em; }
  .workflow > ul, ul.workflow { display: flex; flex-direction: column; gap: 0.6rem; padding-block: 0.4rem;
    border-inline-start: 2px solid var(--line); padding-inline-start: 0.9rem; margin-inline-start: 0.4rem; }
  .task { display: flex; gap: 0.55rem; color: var(--muted); font-size: 0.9375em; }
  .task > svg, .task > .spinner { margin-block-start: 0.15em; }
  .task > div { min-inline-size: 0; }
  .task ul { padding-inline-start: 1.2em; }
  .generated img { display: block; max-inline-size: min(100%, 28rem); border-radius: min(var(--corner), 1rem); }
  .progress { display: flex; align-items: center; gap: 0.6rem; min-block-size: 1.75rem; color: var(--muted); margin-block-start: var(--gap); }
  .center .progress { justify-content: center; }
  .spinner { flex: none; inline-size: 1.05em; block-size: 1.05em; border: 2px solid var(--line); border-block-start-color: var(--muted);
    border-radius: 50%; animation: turn 0.9s linear infinite; }
  .typing { display: flex; gap: 0.3rem; }
  .typing i { inline-size: 0.5rem; block-size: 0.5rem; border-radius: 50%; background: var(--muted); animation: beat 1.2s infinite; }
  .typing i + i { animation-delay: 0.15s; }
  .typing i + i + i { animation-delay: 0.3s; }
  @keyframes turn { to { rotate: 360deg; } }
  @keyframes beat { 0%, 60%, 100% { opacity: 0.3; } 30% { opacity: 1; } }

  .notice { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; align-items: center; gap: 0.5rem 0.6rem; padding-block: 0.5rem; padding-inline: 0.9rem 0.5rem;
    border: 1px solid var(--line); border-inline-start: 3px solid var(--info); border-radius: min(var(--corner), 0.75rem); font-size: 0.9375em; }
  .notice > div { overflow-wrap: anywhere; }
  .notice > .plain { grid-area: 1 / 3; }
  .notice > .button { grid-column: 2; justify-self: start; }
  .notice > svg { color: var(--info); }
  .notice.danger { border-inline-start-color: var(--danger); }
  .notice.danger > svg { color: var(--danger); }
  .notice.warning { border-inline-start-color: var(--warning); }
  .notice.warning > svg { color: var(--warning); }

  .ask { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; padding: 0.6rem 0.9rem; border: 1px solid var(--line);
    border-radius: min(var(--corner), 0.75rem); font-size: 0.9375em; }
  .ask p { flex: 1 1 14rem; }

  .foot-area { position: relative; flex: none; inline-size: 100%; max-inline-size: 48rem; margin-inline: auto;
    padding: 0 1rem max(0.75rem, env(safe-area-inset-bottom)); }
  .foot-area::before { content: ""; position: absolute; inset: -1.25rem 0.75rem 100%; pointer-events: none;
    background: linear-gradient(transparent, var(--paper)); }
  .main.starts > .foot-area::before { content: none; }
  .latest { position: absolute; inset-block-end: calc(100% + 0.5rem); inset-inline-start: calc(50% - 1.125rem); visibility: hidden;
    background: var(--paper); border-color: var(--line); border-radius: 50%; box-shadow: 0 2px 8px rgb(0 0 0 / 15%); }
  .latest.shown { visibility: visible; }
  .composer { display: flex; flex-direction: column; padding: 0.4rem; background: var(--paper);
    border: 1px solid var(--edge); border-radius: var(--box); box-shadow: 0 2px 12px rgb(0 0 0 / 6%); }
  .composer { position: relative; isolation: isolate; }
  .composer:focus-within { border-color: var(--ring); box-shadow: 0 0 0 1px var(--ring); }
  .composer textarea { field-sizing: content; resize: none; inline-size: 100%; min-block-size: 2.25rem; max-block-size: 10rem;
    padding: 0.4rem 0.75rem; background: none; border: 0; outline: 0; line-height: 1.45; overflow-y: auto; scrollbar-width: thin; }
  ::placeholder { color: var(--muted); opacity: 1; }
  textarea:placeholder-shown { direction: inherit; }
  .composer ::placeholder { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
  .tools { display: flex; align-items: center; gap: 0.25rem; min-inline-size: 0; }
  .chips { display: flex; align-items: center; gap: 0.25rem; min-inline-size: 0; overflow: hidden; }
  .chips:empty { display: none; }
  .chip { gap: 0.3rem; flex: 0 1 auto; padding-inline: 0.6rem; font-size: 0.9375em; }
  .chip > span, .model > span { min-inline-size: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .chip:not([aria-pressed="false"]) { background: var(--bubble); color: var(--ink); }
  .chip[aria-pressed] > svg { fill: none !important; }
  .chip > .i-close { inline-size: 0.95em; block-size: 0.95em; }
  .model { flex: 0 9 auto; max-inline-size: 10rem; padding-inline: 0.6rem; font-size: 0.9375em; }
  .model > svg { inline-size: 0.9em; block-size: 0.9em; rotate: 90deg; }
  .tag { padding: 0 0.3em; font-weight: 500; background: color-mix(in srgb, var(--accent) 16%, transparent); color: var(--ink); border: 0; border-radius: 0.35em; }
  button.tag:hover { text-decoration: underline; }
  .suggestions { margin-block-start: var(--gap); justify-content: flex-start; }
  .send { display: grid; place-items: center; inline-size: 2.25rem; block-size: 2.25rem; flex: none; padding: 0; border: 1px solid transparent;
    border-radius: max(50% - (999px - var(--control)) * 999, min(var(--control), 50%)); }
  .next { display: grid; place-items: center; inline-size: 2.25rem; block-size: 2.25rem; flex: none; padding: 0; background: none;
    border: 1px solid var(--edge); border-radius: max(50% - (999px - var(--control)) * 999, min(var(--control), 50%)); }
  .next:hover { background: var(--bubble); }
  .queued, .banner { display: flex; flex-basis: 100%; align-items: center; gap: 0.5rem; min-inline-size: 0; padding-block-end: 0.25rem; padding-inline-start: 0.75rem; font-size: 0.9375em; }
  .queued { border-block-end: 1px solid var(--line); margin-block-end: 0.25rem; }
  .queued > svg { color: var(--muted); }
  .queued p { flex: 1; display: flex; flex-direction: column; min-inline-size: 0; line-height: 1.35; }
  .queued [dir] { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .banner span { flex: 1; color: var(--muted); }
  .send[aria-disabled="true"] { background: var(--bubble); color: var(--muted); cursor: default; }
  .composer:not(:has(.tools .plain)) { flex-flow: row wrap; align-items: flex-end; }
  .composer:not(:has(.tools .plain)) textarea { flex: 1; inline-size: auto; }
  .composer:not(:has(.tools .plain)) > :is(.quote, .files) { flex-basis: 100%; }
  .quote:not(:empty) { display: flex; align-items: start; justify-content: space-between; gap: 0.5rem; padding-block: 0.3rem; padding-inline: 0.75rem 0.3rem; }
  .quote .plain { margin-block: -0.35rem; }
  .quote blockquote { max-block-size: 4.5em; overflow: hidden; }
  .files { display: flex; flex-wrap: wrap; gap: 0.4rem; }
  .composer .files:not(:empty) { padding: 0.25rem 0.25rem 0.4rem; max-block-size: 8rem; overflow-y: auto; }
  .file { display: flex; align-items: center; gap: 0.45rem; position: relative; min-block-size: 2.75rem; max-inline-size: 16rem; padding-inline: 0.7rem;
    background: var(--paper); border: 1px solid var(--line); border-radius: min(var(--corner), 0.75rem); font-size: 0.875em; }
  .file .name { min-inline-size: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .file .plain { min-inline-size: 1.75rem; min-block-size: 1.75rem; margin-inline-end: -0.35rem; }
  .file.failed { border-color: var(--danger); }
  .picture:has(img) { padding: 0; overflow: hidden; }
  .picture img { display: block; block-size: 4.5rem; min-inline-size: 3rem; max-inline-size: 9rem; object-fit: cover; }
  .user_message .picture img { block-size: 9rem; max-inline-size: 15rem; }
  .picture .plain { position: absolute; inset-block-start: 0.2rem; inset-inline-end: 0.2rem; margin: 0; background: var(--paper); border-color: var(--line); color: var(--ink); }
  .closed { display: flex; flex-direction: column; align-items: center; gap: 0.6rem; padding: 0.75rem; text-align: center; color: var(--muted); }
  .disclaimer { padding-block-start: 0.5rem; text-align: center; font-size: 0.78em; line-height: 1.4; color: var(--muted); }
  .disclaimer:empty { display: none; }
  .strong { color: var(--ink); }
  .dropping::after { content: attr(data-drop); position: absolute; inset: 0.5rem; z-index: 3; display: grid; place-items: center; padding: 1rem; pointer-events: none;
    font-size: 1.15em; font-weight: 600; text-align: center; border: 2px dashed var(--ring); border-radius: var(--box);
    background: color-mix(in srgb, color-mix(in srgb, var(--accent) 10%, var(--paper)) 92%, transparent); }

  .past { display: flex; align-items: center; gap: 0.15rem; border-radius: min(var(--corner), 0.9rem); }
  .past:hover, .past:has([aria-current]) { background: var(--bubble); }
  .past .item { flex: 1; display: flex; flex-direction: column; align-items: flex-start; min-inline-size: 0; min-block-size: 3rem; padding: 0.4rem 0.8rem;
    background: none; border: 0; text-align: start; border-radius: inherit; line-height: 1.35; }
  .pasts > section + section { margin-block-start: 0.9rem; }
  .pasts h3 { padding: 0.2rem 0.8rem; font-weight: 600; }
  article > time, .bar > time { opacity: 0; transition: opacity 0.15s; font-size: 0.75em; pointer-events: none; }
  article > time { position: absolute; inset-block-start: 100%; inset-inline-end: 0.25rem; white-space: nowrap; }
  .bar > time { align-self: center; padding-inline-start: 0.4rem; }
  :is(article, .bar):is(:hover, :focus-within) > time, article:hover + .bar > time { opacity: 1; }
  .past .item > span { max-inline-size: 100%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .edit { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; flex: 1; padding: 0.5rem 0.8rem; }
  .edit > :is(p, input) { flex: 1 1 10rem; min-inline-size: 0; overflow-wrap: anywhere; }
  .edit > p { flex-basis: 100%; }

  .widget .body, .structured_input .body { max-inline-size: 34rem; }
  .card { padding: 1rem; background: var(--paper); border: 1px solid var(--line); border-radius: min(var(--box), 1.1rem); }
  .flex { display: flex; gap: 0.6rem; min-inline-size: 0; max-inline-size: 100%; }
  .flex > * { min-inline-size: 0; }
  .flex.row { align-items: center; flex-wrap: wrap; }
  .flex.col { flex-direction: column; }
  .flex.col > .button:not(.block) { align-self: flex-start; }
  .foot { display: flex; flex-wrap: wrap; justify-content: flex-end; gap: 0.5rem; padding-block-start: 0.9rem; }
  .badge { display: inline-block; inline-size: fit-content; padding: 0.05em 0.6em; font-size: 0.8125em; font-weight: 500; background: var(--bubble); border: 1px solid var(--line); border-radius: 999px; }
  .label, legend { font-weight: 500; font-size: 0.9375em; padding: 0; }
  fieldset { border: 0; min-inline-size: 0; }
  input:not([type="radio"], [type="checkbox"]), select, .widget textarea, .structured_input textarea { min-block-size: 2.25rem; max-inline-size: 100%; padding: 0.35rem 0.7rem; background: var(--paper);
    border: 1px solid var(--edge); border-radius: min(var(--control), 0.6rem); }
  .flex.col > :is(input, textarea, select), fieldset > input { inline-size: 100%; }
  .choice { display: flex; align-items: center; gap: 0.55rem; min-block-size: 2rem; cursor: pointer; }
  .choice input { inline-size: 1.15rem; block-size: 1.15rem; margin: 0; accent-color: var(--link); flex: none; }
  dt { font-weight: 500; font-size: 0.9375em; } dd { color: var(--muted); } dd + dt { margin-block-start: 0.6rem; }
  [aria-busy="true"]:is(button, article) { opacity: 0.6; pointer-events: none; }

  @container chat (max-width: 30rem) {
    .log { padding-inline: 0.85rem; }
    .foot-area { padding-inline: 0.6rem; }
    .greeting { font-size: 1.35em; }
    .chip[aria-pressed="false"]:has(svg) > span { display: none; }
    .model { max-inline-size: 7rem; }
  }
  @container chat (min-width: 40rem) and (min-height: 32rem) {
    .main.starts {
      > .log { flex: 0 1 auto; margin-block-start: auto; }
      > .foot-area { margin-block-end: auto; padding-block-end: 4rem; }
      .start { padding-block: 1rem 0.5rem; }
    }
  }
  @container chat (max-height: 26rem) {
    .header { min-block-size: 2.5rem; }
    .disclaimer { display: none; }
    .composer { flex-flow: row wrap; align-items: flex-end; }
    .composer textarea { flex: 1 1 6rem; inline-size: auto; max-block-size: 4.5rem; }
    .composer > :is(.quote, .files) { flex-basis: 100%; }
    .start { gap: 0.75rem; justify-content: flex-start; padding-block: 0; }
    .greeting { font-size: 1.1em; }
    .foot-area { padding-block-end: 0.4rem; }
  }
  @media (pointer: coarse) {
    .plain, .send, .next, .button, .prompt, .bar .plain, .file .plain, summary, .choice, .code .plain, .zoom, .open { min-inline-size: 2.75rem; min-block-size: 2.75rem; }
    .bar .plain { margin-inline-end: 0.15rem; }
    .user_message > .bar .plain { min-block-size: max(2.75rem, 1.55em + 1.1rem + 2px); }
    .send, .next { inline-size: 2.75rem; block-size: 2.75rem; }
    .composer textarea { min-block-size: 2.75rem; padding-block: calc((2.75rem - 1.45em) / 2); }
    textarea, input, select { font-size: max(16px, 1em) !important; }
  }
  @media (prefers-contrast: more) { :host { --muted: var(--ink) !important; --line: var(--edge) !important; } }
  @media (prefers-reduced-motion: reduce) { *, ::before, ::after { animation: none !important; transition: none !important; } .typing i { opacity: 0.7; } }
  @media (forced-colors: active) {
    .bubble, .send, .next, .plain, .badge, .button, .tag { border-color: currentcolor; }
    .plain[aria-pressed="true"], .past:has([aria-current]), .past:has([aria-current]) :is(button, span, time) { forced-color-adjust: none; background: Highlight; color: HighlightText; }
    .past:has([aria-current]) :is(button, span, time) { background: none; }
    .tag { border: 1px solid; }
    .bar { gap: 0.25rem; margin-inline-start: 0; }
    .user_message > .bar { padding-inline-end: 0.25rem; }
    .past { gap: 0.25rem; padding-inline-end: 0.25rem; }
    .send[aria-disabled="true"] { color: GrayText; border-color: GrayText; }
    .typing i { background: CanvasText; }
    .composer:focus-within { outline: 2px solid Highlight; outline-offset: 1px; }
    .foot-area::before { content: none; }
    .dropping::after { background: Canvas; }
  }
  @media print {
    :host { color-scheme: light !important; --paper: #fff !important; --ink: #000 !important; --muted: #444 !important; --bubble: #f0f0f0 !important; --link: #000 !important; }
    .group, .part { content-visibility: visible !important; }
    .chat, .main, .log { position: static; block-size: auto; overflow: visible; container: none; }
    .foot-area, .bar, .plain, .history { display: none; }
  }
`);
