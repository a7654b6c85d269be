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

// A corner of a table that heads nothing is no heading.
for (const corner of document.querySelectorAll("th:empty")) {
  corner.replaceWith(document.createElement("td"));
}

// The theme adds these later: the buttons on code, and what scrolls wide tables.
new MutationObserver(() => {
  document
    .querySelectorAll(".md-code__nav")
    .forEach((nav, i) => nav.ariaLabel || name(nav, `Code ${i + 1}`));
  for (const wide of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) {
    wide.tabIndex = 0;
  }
}).observe(document.body, { childList: true, subtree: true });
