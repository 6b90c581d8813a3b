"use strict";
// The table of trials: sorts by a heading, by click or key, and shows the trials that the brushes leave.
(() => {
  let order = null;  // {column, direction}, the reader's choice
  let kept = null;   // numbers of the trials to show; null: all

  const table = () => document.querySelector("table.trials");
  const rows = () => [...table().tBodies[0].rows];

  function key(row, column) {
    const {dataset} = row.cells[column];
    if (dataset.key === undefined) return null;
    return "text" in dataset ? dataset.key : Number(dataset.key);
  }

  function compare(a, b, direction) {
    if (a === null || b === null) return (a === null) - (b === null);  // last in both directions
    const isText = typeof a === "string" || typeof b === "string";
    const less = isText ? String(a).localeCompare(String(b), "en", {numeric: true}) : a - b;
    return direction === "ascending" ? less : -less;
  }

  function sort() {
    if (!order) return;
    const {column, direction} = order;
    const sorted = rows().map((row, i) => ({row, i, key: key(row, column)}));
    sorted.sort((a, b) => compare(a.key, b.key, direction) || a.i - b.i);
    table().tBodies[0].append(...sorted.map(one => one.row));
    [...table().tHead.rows[0].cells].forEach((cell, i) => {
      if (i === column) cell.setAttribute("aria-sort", direction);
      else cell.removeAttribute("aria-sort");
    });
  }

  function choose(cell) {
    const now = cell.getAttribute("aria-sort");
    const other = {ascending: "descending", descending: "ascending"};
    order = {column: cell.cellIndex, direction: now ? other[now] : cell.dataset.first};
    sort();
  }

  function filter() {
    let shown = 0;
    for (const row of rows()) {
      row.hidden = kept !== null && !kept.has(Number(row.dataset.trial));
      shown += !row.hidden;
    }
    const n = rows().length;
    document.getElementById("shown").textContent = `${shown.toLocaleString("en")} of ${n.toLocaleString("en")} trials`;
  }

  function mark(number) {
    for (const row of rows()) row.classList.toggle("marked", Number(row.dataset.trial) === number);
  }

  document.addEventListener("content", () => {
    if (!table()) return;
    for (const cell of table().tHead.rows[0].cells) {
      cell.querySelector("button").addEventListener("click", () => choose(cell));
    }
    for (const row of rows()) {
      row.addEventListener("pointerenter", () => document.dispatchEvent(new CustomEvent("point", {detail: Number(row.dataset.trial)})));
      row.addEventListener("pointerleave", () => document.dispatchEvent(new CustomEvent("point", {detail: null})));
    }
    sort();
    filter();
  });
  document.addEventListener("brush", event => { kept = event.detail; if (table()) filter(); });
  document.addEventListener("point", event => { if (table()) mark(event.detail); });
})();
