"use strict";
// Sorts and filters the tables that are there without it.
(() => {
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const first = head.classList.contains("number") ? "descending" : "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        const order = head.getAttribute("aria-sort") === first ? other : first;
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
        const numeric = head.classList.contains("number");
        const compare = (a, b) => numeric ? Number(a[0]) - Number(b[0]) : a[0].localeCompare(b[0], "en", { numeric: true });
        const rows = [...table.querySelectorAll("tbody > tr")].map((row) => [key(row), row]);
        rows.sort(order === "ascending" ? compare : (a, b) => compare(b, a));
        table.tBodies[0].append(...rows.map((pair) => pair[1]));
      });
    });
  }
  for (const input of document.querySelectorAll("input[data-filter]")) {
    const rows = document.querySelectorAll(`#${input.dataset.filter} > tbody > tr`);
    input.closest("[hidden]").hidden = false;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
})();
