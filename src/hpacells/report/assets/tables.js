"use strict";
/* Tables: a heading sorts by its column, a box filters, a button downloads what is shown as CSV.

     hpacellsTables.start(element);          // <div class="table" data-file="name.csv"> around a table
     hpacellsTables.open(host, { label, file, columns, rows, filters, onOpen });
        // a table made as far as it is looked at. columns: [{ title, numeric, value(row), text(row) }],
        // those with hidden: true stand in the CSV only; rows: anything; filters: elements beside the
        // box, each with matches(row) -> boolean; onOpen(row): a row's button or the row is clicked */
const hpacellsTables = (() => {
  const ROWS_AT_A_TIME = 100;

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function readText(text) {
    const trimmed = text.trim();
    if (trimmed === "" || trimmed === "–") return null;
    const number = Number(trimmed.replaceAll(",", ""));
    return Number.isNaN(number) ? trimmed : number;
  }

  /* What is unknown stays last; numbers as numbers. */
  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
  }

  function nextOrder(heading) {
    const isNumeric = heading.classList.contains("n");
    const now = heading.getAttribute("aria-sort");
    const next = now === "descending" || (now === null && !isNumeric) ? "ascending" : "descending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", next);
    return next === "ascending" ? 1 : -1;
  }

  function saveCsv(file, lines) {
    const quote = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const content = lines.map((line) => line.map(quote).join(",")).join("\r\n") + "\r\n";
    const link = make("a", { download: file, href: URL.createObjectURL(new Blob([content], { type: "text/csv" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function makeToolbar(label, filters, { onFilter, onSave }) {
    const box = make("input", { type: "search", "aria-label": `Filter: ${label}`, placeholder: "Filter", "data-tool": "filter" });
    const count = make("span", { class: "count", role: "status" });
    const save = make("button", { type: "button", "data-tool": "save" }, "Download CSV");
    let waiting = 0;
    box.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(onFilter, 120);
    });
    save.addEventListener("click", onSave);
    const element = make("div", { class: "toolbar" }, box, ...filters, count, save);
    const words = () => box.value.toLowerCase().split(/\s+/).filter(Boolean);
    return { element, count, matches: (text) => words().every((word) => text.includes(word)) };
  }

  const countRows = (shown, all) => `${shown === all ? "" : `${shown} of `}${all} ${all === 1 ? "row" : "rows"}`;

  function start(element) {
    const table = element.querySelector("table");
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[0].cells];
    const texts = new Map([...body.rows].map((row) => [row, row.textContent.toLowerCase()]));
    const toolbar = makeToolbar(table.caption.textContent.split(";")[0], [], {
      onFilter() {
        let shown = 0;
        for (const [row, text] of texts) shown += !(row.hidden = !toolbar.matches(text));
        toolbar.count.textContent = countRows(shown, texts.size);
      },
      onSave() {
        const plain = (cell) => cell.textContent.trim().replace(/^–$/, "");
        const rows = [...body.rows].filter((row) => !row.hidden);
        saveCsv(element.dataset.file, [headings, ...rows.map((row) => [...row.cells])].map((line) => line.map(plain)));
      },
    });
    toolbar.count.textContent = countRows(texts.size, texts.size);
    element.prepend(toolbar.element);
    table.tHead.addEventListener("click", (event) => {
      const heading = event.target.closest("button")?.closest("th");
      if (!heading) return;
      const sign = nextOrder(heading);
      const rows = [...body.rows].map((row) => [readText(row.cells[heading.cellIndex].textContent), row]);
      rows.sort((a, b) => compare(a[0], b[0], sign));
      body.append(...rows.map((pair) => pair[1]));
    });
  }

  function open(host, { label, file, columns, rows, filters = [], onOpen }) {
    const visible = columns.filter((column) => !column.hidden);
    const texts = new Map(rows.map((row) => [row, visible.map((column) => column.text(row)).join(" ").toLowerCase()]));
    let matching = rows;
    let order = null;
    const head = make("tr");
    visible.forEach((column, index) => {
      const button = make("button", { type: "button" }, column.title);
      const heading = make("th", { scope: "col", ...(column.numeric ? { class: "n" } : {}) }, button);
      button.addEventListener("click", () => {
        const sign = nextOrder(heading);
        order = (a, b) => compare(visible[index].value(a), visible[index].value(b), sign);
        update();
      });
      head.append(heading);
    });
    const body = make("tbody");
    const more = make("button", { type: "button", class: "more" }, "Show more");
    more.addEventListener("click", extend);

    function extend() {
      const from = body.rows.length;
      for (const row of matching.slice(from, from + ROWS_AT_A_TIME)) {
        const line = body.insertRow();
        visible.forEach((column, index) => {
          const cell = line.insertCell();
          if (column.numeric) cell.className = "n";
          if (index === 0) {
            const button = make("button", { type: "button", class: "link" }, column.text(row));
            cell.append(button);
          } else cell.textContent = column.text(row);
        });
        line.addEventListener("click", () => onOpen(row));
      }
      more.hidden = body.rows.length >= matching.length;
    }

    function update() {
      matching = rows.filter((row) => toolbar.matches(texts.get(row)) && filters.every((filter) => filter.matches(row)));
      if (order) matching = matching.toSorted(order);
      toolbar.count.textContent = countRows(matching.length, rows.length);
      body.replaceChildren();
      extend();
    }

    const toolbar = makeToolbar(label, filters, {
      onFilter: update,
      onSave() {
        saveCsv(file, [columns.map((column) => column.title), ...matching.map((row) => columns.map((column) => column.value(row)))]);
      },
    });
    for (const filter of filters) filter.addEventListener("change", update);
    const table = make("table", {}, make("caption", { class: "hidden" }, `${label}; a heading sorts by its column`), make("thead", {}, head), body);
    const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);
    host.append(make("div", { class: "table" }, toolbar.element, scroll, more));
    update();
  }

  return { start, open };
})();
