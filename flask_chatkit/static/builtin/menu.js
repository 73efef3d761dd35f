// A menu over the button that opens it: arrows, first letters, Escape, and the focus goes back.

import { h } from "../shared/dom.js";
import { asList, icon } from "./controls.js";
import { dress } from "./styles/writing.js";

/** @import { Chat } from "./element.js" */

/**
 * @typedef {object} MenuItem
 * @property {string} label
 * @property {string} [icon]
 * @property {string} [hint] what it is
 * @property {boolean} [checked] of one that can be chosen
 * @property {boolean} [disabled]
 * @property {() => unknown} run
 */
/** @typedef {{label?: string, items: MenuItem[]}} MenuGroup */

/**
 * @param {MenuItem} item
 * @param {(item: MenuItem) => void} choose
 */
const drawItem = (item, choose) =>
  h(
    "button",
    {
      type: "button",
      className: "option",
      role: item.checked === undefined ? "menuitem" : "menuitemradio",
      "aria-checked": item.checked === undefined ? null : String(item.checked),
      "aria-disabled": item.disabled && "true",
      tabIndex: -1,
      onclick: () => item.disabled || choose(item),
    },
    icon(item.icon),
    h("span", { dir: "auto" }, item.label, item.hint && h("small", {}, item.hint)),
    item.checked && icon("check"),
  );

/**
 * @param {HTMLElement[]} items
 * @param {Element | null} focused
 * @param {string} key
 */
const nextOf = (items, focused, key) => {
  const at = items.indexOf(/** @type {HTMLElement} */ (focused));
  if (key === "ArrowDown") return items[(at + 1) % items.length];
  if (key === "ArrowUp") return items.at(at > 0 ? at - 1 : -1);
  if (key === "Home") return items[0];
  if (key === "End") return items.at(-1);
  if (key.length !== 1 || key === " ") return undefined;
  const starts = (/** @type {HTMLElement} */ item) =>
    item.textContent?.trim().toLowerCase().startsWith(key.toLowerCase());
  return [...items.slice(at + 1), ...items.slice(0, at + 1)].find(starts);
};

const GAP = 12; // pixels between a menu and the chat's edge

/**
 * Keep a menu within the chat: over what it stands in, or below that where there is more room, at the
 * end where its opener is.
 * @param {HTMLElement} menu
 * @param {HTMLElement} [opener]
 */
export const fit = (menu, opener) => {
  const { host } = /** @type {ShadowRoot} */ (menu.getRootNode());
  const chat = host.getBoundingClientRect();
  const box = /** @type {HTMLElement} */ (menu.parentElement).getBoundingClientRect();
  const [above, below] = [box.top - chat.top, chat.bottom - box.bottom];
  menu.classList.toggle("below", below > above);
  if (opener) {
    const { left, width } = opener.getBoundingClientRect();
    const isRight = left + width / 2 > box.left + box.width / 2;
    menu.classList.toggle("end", isRight !== menu.matches(":dir(rtl)"));
  }
  // A page that is zoomed has other pixels.
  const scale = chat.height / /** @type {HTMLElement} */ (host).offsetHeight || 1;
  menu.style.setProperty("--room", `${Math.max(above, below) / scale - GAP}px`);
};

/**
 * Open a menu in a node, and focus what is chosen or comes first; or close the one that is open.
 * @param {HTMLElement} opener
 * @param {HTMLElement} around what it stands in
 * @param {MenuGroup[]} groups
 */
const openMenu = (opener, around, groups) => {
  const root = /** @type {ShadowRoot} */ (around.getRootNode());
  const open = around.querySelector(":scope > [role=menu]");
  const isOwn = opener.ariaExpanded === "true";
  open?.dispatchEvent(new CustomEvent("close"));
  if (isOwn) return;
  const close = (/** @type {boolean} */ goesBack) => {
    around.removeEventListener("focusout", left);
    document.removeEventListener("pointerdown", pressed, true);
    opener.ariaExpanded = "false";
    if (goesBack) opener.focus();
    menu.remove();
  };
  const left = (/** @type {FocusEvent} */ { relatedTarget: to }) => {
    if (to && to !== opener && !menu.contains(/** @type {Node} */ (to))) close(false);
  };
  const pressed = (/** @type {Event} */ event) => {
    const path = event.composedPath();
    if (!path.includes(menu) && !path.includes(opener)) close(menu.contains(root.activeElement));
  };
  const choose = (/** @type {MenuItem} */ item) => {
    close(true);
    item.run();
  };
  const onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Tab") return close(true);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isEscape = event.key === "Escape";
    const next = nextOf(items, root.activeElement, event.key);
    if (!isEscape && !next) return;
    event.preventDefault();
    event.stopPropagation(); // not the panel around the chat
    if (isEscape) close(true);
    else next?.focus();
  };
  const shown = groups.map(({ label, items }) =>
    h(
      "div",
      { role: "group", "aria-label": label ?? null },
      label && h("div", { className: "caption", "aria-hidden": "true" }, label),
      items.map((item) => drawItem(item, choose)),
    ),
  );
  const menu = h(
    "div",
    { className: "menu", role: "menu", "aria-label": opener.ariaLabel, onkeydown },
    shown,
  );
  menu.addEventListener("close", () => close(false));
  /** @type {HTMLElement[]} */
  const items = [...menu.querySelectorAll("button")];
  around.append(menu);
  fit(menu, opener);
  around.addEventListener("focusout", left);
  document.addEventListener("pointerdown", pressed, true);
  opener.ariaExpanded = "true";
  /** @type {HTMLElement | null} */
  const chosen = shown[0].querySelector('[aria-checked="true"]');
  (chosen ?? items[0]).focus();
};

/**
 * What begins a search with a sign.
 * @param {Chat} chat
 */
const searchesOf = ({ composer, store }) => {
  const { entities, commands } = store.options;
  const { text } = store;
  /** @type {MenuItem[]} */
  const items = [];
  const write = (/** @type {string} */ sign) => () => {
    const { value, selectionEnd: at } = composer.nodes.input;
    composer.insert(/\S$/.test(value.slice(0, at)) ? ` ${sign}` : sign);
  };
  if (entities?.onTagSearch && entities.showComposerMenu)
    items.push({ label: text.mention, icon: "at", run: write("@") });
  if (commands?.enabled) items.push({ label: text.commands, icon: "slash", run: write("/") });
  return items;
};

/**
 * @param {Chat} chat
 * @param {"tool" | "model"} kind
 * @returns {MenuItem[]}
 */
const choicesOf = ({ composer, store }, kind) => {
  const { models, tools } = store.options.composer ?? {};
  /** @type {any[]} */
  const all = kind === "model" ? asList(models) : asList(tools).filter(({ pinned }) => !pinned);
  if (kind === "tool" && all.length > 0) all.push({ id: "", label: store.text.noTool });
  return all.map(({ id, label, icon: name, description: hint, disabled }) => {
    const run = () => {
      composer.choose(kind, id);
      composer.focus();
    };
    return { label, icon: name, hint, disabled, checked: id === composer.chosen[kind], run };
  });
};

/**
 * @param {Chat} chat
 * @returns {MenuItem[]}
 */
const filesOf = ({ composer, store }) =>
  composer.attach ? [{ label: store.text.attach, icon: "clip", run: composer.attach }] : [];

/**
 * What the menu has and a command can do.
 * @param {Chat} chat
 */
export const actionsOf = (chat) =>
  [...filesOf(chat), ...choicesOf(chat, "tool")].filter(({ icon: name }) => name);

/**
 * Open the menu of all that goes with a message.
 * @param {Chat} chat
 * @param {HTMLElement} opener
 * @param {"model"} [only]
 */
export const openChoices = (chat, opener, only) => {
  const { composer, store } = chat;
  const { text } = store;
  dress(chat);
  const models = { label: text.model, items: choicesOf(chat, "model") };
  const groups = [
    { items: [...filesOf(chat), ...searchesOf(chat)] },
    { label: text.tool, items: choicesOf(chat, "tool") },
    models,
  ].filter(({ items }) => items.length > 0);
  openMenu(opener, composer.nodes.form, only ? [models] : groups);
};
