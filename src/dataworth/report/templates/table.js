"use strict";
// Search, filter and sort a table that is already there: reads and moves rows, writes no markup.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows], controls = document.createElement("p");
  const search = document.createElement("input"), kind = document.createElement("select");
  const count = document.createElement("span");
  search.type = "search";
  search.placeholder = "search";
  for (const name of ["all", "kept", "missed", "dropped", "top", "bottom", "random"])
    kind.append(new Option(name, name));
  const show = () => {
    const words = search.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = kind.value === "all" || row.dataset.kind.split(" ").includes(kind.value);
      row.hidden = !(fits && row.textContent.toLowerCase().includes(words));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  const key = (row, i) => {
    const { value } = row.cells[i].dataset;
    if (value === undefined) return row.cells[i].textContent;
    return value === "None" || value === "" ? -Infinity : Number(value);
  };
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    head.tabIndex = 0;
    const sort = () => {
      const down = head.ariaSort !== "descending" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.ariaSort = null;
      head.ariaSort = down < 0 ? "descending" : "ascending";
      rows.sort((a, b) => down * (key(a, i) < key(b, i) ? -1 : key(a, i) > key(b, i) ? 1 : 0));
      body.append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
  });
  search.addEventListener("input", show);
  kind.addEventListener("change", show);
  controls.className = "controls";
  controls.append(search, kind, count);
  table.parentElement.before(controls);
  show();
}
