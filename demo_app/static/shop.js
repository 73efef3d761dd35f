// The light/dark switch and the menu of small screens. Without this script the page is whole, too.
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
