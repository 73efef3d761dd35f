// The light/dark switch, the menu of small screens, and what the chat can do on a page. Without this
// script the page is whole, too.
const root = document.documentElement;
const night = matchMedia("(prefers-color-scheme: dark)");
const theme = document.querySelector(".theme-button");
const menu = document.querySelector(".menu-button");

const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : night.matches);
const show = () => theme.setAttribute("aria-pressed", String(isDark()));

theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // Storage is blocked: it holds for this page.
  }
  show();
});
night.addEventListener("change", show);
show();
theme.hidden = false;

menu.addEventListener("click", () => {
  const open = menu.getAttribute("aria-expanded") !== "true";
  menu.setAttribute("aria-expanded", String(open));
});
menu.hidden = false;

// The chat's tool "show_product": brings a product that is on this page into view. What it returns goes
// to the assistant, which goes on with its answer.
const showProduct = ({ slug }) => {
  const found = document.querySelector(`[data-product="${CSS.escape(slug)}"]`);
  // On a small screen the chat covers the page.
  const isHidden = matchMedia("(max-width: 30rem), (max-height: 30rem)").matches;
  if (!found || isHidden) return { shown: false };
  found.scrollIntoView({ block: "center" });
  found.classList.remove("pointed-at");
  requestAnimationFrame(() => found.classList.add("pointed-at"));
  return { shown: true };
};

// The chat's button "share": what a phone offers for that, elsewhere the address is copied.
const share = async () => {
  const { title } = document;
  const url = location.href.split("#")[0];
  if (navigator.share && matchMedia("(pointer: coarse)").matches) {
    // Whoever changes their mind has not failed.
    return navigator.share({ title, url }).catch(() => {});
  }
  try {
    await navigator.clipboard.writeText(url);
    tell("The page’s address is copied.");
  } catch {
    tell(`The page’s address: ${url}`);
  }
};

// Says something for a while, above all else, also above a chat that fills the screen.
const tell = (text) => {
  let toast = document.querySelector(".toast");
  if (!toast) {
    toast = Object.assign(document.createElement("p"), { className: "toast", popover: "manual" });
    toast.setAttribute("role", "status");
    document.body.append(toast);
  }
  toast.hidePopover?.();
  toast.showPopover?.();
  toast.textContent = text;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => toast.remove(), 5000);
};

document.addEventListener("DOMContentLoaded", () => {
  for (const chat of ["default", "help", "stylist"]) {
    window.FlaskChatKit?.get(chat).tool("show_product", showProduct).action("share", share);
  }
});
