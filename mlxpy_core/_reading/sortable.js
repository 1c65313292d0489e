/* Tables of a notebook are sorted by a click on a heading, or by Enter or Space where it has the focus.

One listener serves all tables of the page, also those that are made later. Where a notebook is not trusted, none of
this runs, and tables are only read. */
"use strict";

(() => {
  const headings = (root) => root.querySelectorAll(".mlxpy thead th");
  for (const heading of headings(document)) heading.tabIndex = 0;
  if (window.mlxpySortable) return;
  window.mlxpySortable = true;

  /* Numbers come first, then texts, then what is missing, whichever way a column is sorted. */
  function compare(a, b, direction) {
    const rank = (text) => (text === "" ? 2 : Number.isNaN(Number(text)) ? 1 : 0);
    if (rank(a) !== rank(b)) return rank(a) - rank(b);
    return direction * (rank(a) ? a.localeCompare(b) : Number(a) - Number(b));
  }

  function sort(heading) {
    const direction = heading.ariaSort === "ascending" ? -1 : 1;
    const body = heading.closest("table").tBodies[0];
    const text = (row) => row.cells[heading.cellIndex].textContent;
    for (const other of heading.parentNode.cells) other.ariaSort = null;
    heading.ariaSort = direction > 0 ? "ascending" : "descending";
    body.append(...[...body.rows].sort((a, b) => compare(text(a), text(b), direction)));
  }

  function react(event) {
    // Some notebooks keep an output in a shadow root, outside of which it is not the target.
    const heading = event.composedPath().find((one) => one.matches?.(".mlxpy thead th"));
    if (!heading || (event.key && event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    sort(heading);
  }

  document.addEventListener("click", react);
  document.addEventListener("keydown", react);
})();
