"use strict";
addEventListener("error", (event) => {
  document.documentElement.dataset.error = event.message;
});

const LOCATIONS = JSON.parse(document.getElementById("locations").textContent);

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

/* Tables: a heading sorts by its column, numbers as numbers; what is unknown stays last. */
function cellValue(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = Number(text.replaceAll(",", ""));
  if (text === "" || text === "–") return null;
  return Number.isNaN(number) ? text : number;
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortTable(table, heading) {
  const column = heading.cellIndex;
  const isNumeric = heading.classList.contains("n");
  const now = heading.getAttribute("aria-sort");
  const next = now === "descending" || (now === null && !isNumeric) ? "ascending" : "descending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", next);
  const sign = next === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [cellValue(row, column), row]);
  rows.sort((a, b) => compare(a[0], b[0], sign));
  table.tBodies[0].append(...rows.map((pair) => pair[1]));
}

for (const table of document.querySelectorAll("table.sort")) {
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) sortTable(table, button.closest("th"));
  });
}

/* One field: the picture's tools, and the panel that tells of the cell pointed at. */
function fillPanel(panel, cell) {
  const [id, status, reason, area, nucleus, doubt, top] = cell;
  const children = [make("h3", `Cell ${id}`)];
  const facts = make("table");
  const rows = [
    ["Status", reason ? `${status} (${reason})` : status],
    ["Area", `${area.toFixed(0)} µm²`],
    ["Nucleus", nucleus > 0 ? `${nucleus.toFixed(0)} µm²` : "none"],
    ["Doubt", doubt.toFixed(2)],
  ];
  for (const [name, value] of rows) {
    const row = facts.insertRow();
    row.insertCell().textContent = name;
    row.insertCell().textContent = value;
  }
  for (const [location, score] of top) {
    const line = make("div", undefined, "score");
    line.append(make("span", LOCATIONS[location].title), make("b", score.toFixed(2)));
    const meter = make("div", undefined, "meter");
    const bar = make("i");
    bar.style.width = `${100 * score}%`;
    bar.style.background = LOCATIONS[location].color;
    meter.append(bar);
    children.push(line, meter);
  }
  children.splice(1, 0, facts);
  panel.replaceChildren(...children);
}

function startField(field) {
  const stage = field.querySelector(".stage");
  const panel = field.querySelector(".panel");
  const paths = [...stage.querySelectorAll("path")];
  const hint = [...panel.childNodes];
  const cells = new Map(
    JSON.parse(field.querySelector("script.data").textContent).map((cell) => [String(cell[0]), cell]),
  );
  let pinned = null;

  function show(id) {
    for (const path of paths) {
      const isCurrent = path.dataset.cell === id;
      path.classList.toggle("current", isCurrent);
      path.setAttribute("aria-selected", String(isCurrent));
    }
    for (const row of field.querySelectorAll("tr[data-cell]")) {
      row.classList.toggle("active", row.dataset.cell === id);
    }
    if (id !== null && cells.has(id)) fillPanel(panel, cells.get(id));
    else panel.replaceChildren(...hint);
  }

  function focusOn(path) {
    for (const other of paths) other.tabIndex = other === path ? 0 : -1;
    path.focus();
    show(path.dataset.cell);
  }

  const pathOf = (event) => event.target.closest("path");
  stage.addEventListener("pointerover", (event) => {
    const path = pathOf(event);
    if (event.pointerType !== "touch") show(path ? path.dataset.cell : pinned);
  });
  stage.addEventListener("pointerleave", () => show(pinned));
  stage.addEventListener("click", (event) => {
    const path = pathOf(event);
    pinned = path && path.dataset.cell !== pinned ? path.dataset.cell : null;
    show(pinned);
  });
  stage.addEventListener("focusin", (event) => {
    const path = pathOf(event);
    if (path) show(path.dataset.cell);
  });
  stage.addEventListener("focusout", () => show(pinned));
  stage.addEventListener("keydown", (event) => {
    const at = paths.indexOf(document.activeElement);
    if (at < 0) return;
    const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: paths.length - 1 };
    if (event.key in steps) focusOn(paths[(steps[event.key] + paths.length) % paths.length]);
    else if (event.key === "Enter" || event.key === " ") show((pinned = paths[at].dataset.cell));
    else if (event.key === "Escape") show((pinned = null));
    else return;
    event.preventDefault();
  });
  field.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-cell]");
    if (row) show((pinned = row.dataset.cell));
  });
  field.addEventListener("input", (event) => {
    const input = event.target;
    if (input.type === "radio") stage.classList.toggle("show-protein", input.value === "protein");
    if (input.dataset.tool === "brightness") stage.style.setProperty("--brightness", input.value);
    if (input.dataset.tool === "outlines") stage.classList.toggle("no-outlines", !input.checked);
    if (input.dataset.tool === "names") stage.classList.toggle("no-names", !input.checked);
  });
}

for (const field of document.querySelectorAll(".field")) startField(field);
document.documentElement.dataset.ready = "true";
