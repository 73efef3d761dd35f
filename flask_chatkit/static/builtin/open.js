// Pictures that are shown larger, and files that are opened; loaded when one is asked for.

import { h } from "../shared/dom.js";
import { iconButton } from "./controls.js";
import { ownUnits } from "./style.js";

/** @import { Chat } from "./element.js" */

const sheet = new CSSStyleSheet();
sheet.replaceSync(
  ownUnits(`
  .lightbox { position: fixed; inset: 0; inline-size: 100%; block-size: 100%; max-inline-size: none; max-block-size: none; margin: 0;
    padding: 1rem; border: 0; background: rgb(0 0 0 / 88%); color: #fff; }
  .lightbox[open] { display: grid; grid-template-rows: auto minmax(0, 1fr); gap: 0.75rem; }
  .lightbox::backdrop { background: none; }
  .lightbox img { place-self: center; max-inline-size: 100%; max-block-size: 100%; object-fit: contain; border-radius: 0.5rem; background: #fff; }
  .lightbox .plain { justify-self: end; inline-size: 2.75rem; block-size: 2.75rem; color: #fff; background: rgb(0 0 0 / 55%); border-color: rgb(255 255 255 / 45%); border-radius: 50%; }
  .lightbox .plain:hover { background: #000; color: #fff; }
  .lightbox :focus-visible { outline-color: #fff; }
`),
);

/**
 * Show a picture as large as fits.
 * @param {Chat} chat
 * @param {Element} node that it is in
 */
const showPicture = ({ store, view }, node) => {
  const [small] = node.getElementsByTagName("img");
  if (!small) return;
  const root = /** @type {ShadowRoot} */ (node.getRootNode());
  if (!root.adoptedStyleSheets.includes(sheet))
    root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
  const { src, alt } = small;
  const image = h("img", { alt, referrerPolicy: "no-referrer", src });
  const close = iconButton(store.text.close, "close", () => dialog.close());
  const dialog = h("dialog", { className: "lightbox", "aria-label": alt }, close, image);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", ({ target }) => {
    if (target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "Escape") event.stopPropagation(); // it is not for the panel
  });
  view.nodes.chat.append(dialog);
  dialog.showModal();
};

/**
 * Download a file that the visitor has sent.
 * @param {Chat} chat
 * @param {string} url
 * @param {string} name
 */
const download = async ({ client, notices }, url, name) => {
  try {
    // As the chat's other calls: a link would not have the visitor's token.
    const response = await client.fetch(url, {});
    await client.check(response);
    const href = URL.createObjectURL(await response.blob());
    h("a", { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  } catch (error) {
    notices.fail(error);
  }
};

/**
 * Open what was clicked.
 * @param {Chat} chat
 * @param {Element} node
 */
export const open = (chat, node) => {
  const id = node.getAttribute("data-file");
  const { uploadStrategy: strategy } = chat.store.options.api;
  if (id === null) showPicture(chat, node);
  else if (strategy?.type === "direct") {
    const url = new URL(strategy.uploadUrl, document.baseURI);
    url.pathname += `/${encodeURIComponent(id)}`;
    download(chat, url.href, node.querySelector(".name")?.textContent ?? "");
  }
};
