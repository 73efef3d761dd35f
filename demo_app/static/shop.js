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

document.addEventListener("DOMContentLoaded", () => {
  for (const chat of ["default", "help", "stylist"]) {
    window.FlaskChatKit?.get(chat).tool("show_product", showProduct);
  }
});
