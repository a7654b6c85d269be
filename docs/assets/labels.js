// Names for what the theme leaves without one, so that screen readers can tell it apart.
const name = (element, label) => element.setAttribute("aria-label", label);

name(document.querySelector(".md-search"), "Search");
for (const nav of document.querySelectorAll("nav.md-nav[aria-labelledby]")) {
  const link = nav.parentElement.querySelector("a");
  if (link) {
    nav.removeAttribute("aria-labelledby");
    name(nav, link.textContent.trim());
  }
}

// The buttons on code come later.
new MutationObserver(() =>
  document
    .querySelectorAll(".md-code__nav")
    .forEach((nav, i) => nav.ariaLabel || name(nav, `Code ${i + 1}`)),
).observe(document.body, { childList: true, subtree: true });
