"use strict";
/* The report page: its data, and which part is made when it comes into view. */
addEventListener("error", (event) => {
  document.documentElement.dataset.error = event.message;
});
addEventListener("unhandledrejection", (event) => {
  document.documentElement.dataset.error = String(event.reason);
});

const { make } = hpacellsCells;
const PAGE = JSON.parse(document.getElementById("page-data").textContent);
const PICTURES_KEPT = 16;
const NEAR = "600px";
const look = hpacellsViewer.newLook();
look.listeners.add(hpacellsCells.repaintCrops);

/* Pictures are decoded when they are needed, and few are kept. */
const pictures = new Map();
function keepPicture(field) {
  const known = pictures.get(field.index) ?? openPicture(field);
  pictures.delete(field.index);
  pictures.set(field.index, known);
  if (pictures.size > PICTURES_KEPT) pictures.delete(pictures.keys().next().value);
  return known;
}

async function openPicture(field) {
  const { strip } = field.content();
  const src = `data:image/jpeg;base64,${strip}`;
  return strip ? hpacellsViewer.loadPicture({ src, width: field.width, height: field.height }) : null;
}

const fields = PAGE.fields.map((data, index) => {
  const field = { ...data, index, anchor: `field-${PAGE.first + index}` };
  field.content = () => JSON.parse(document.getElementById(`picture-${index}`).textContent);
  field.picture = () => keepPicture(field);
  let outlines = null;
  Object.defineProperty(field, "outlines", {
    get: () => (outlines ??= new Map(field.content().cells.map((cell) => [cell.id, cell]))),
  });
  return field;
});

function readCells() {
  const columns = PAGE.cells;
  return columns.cell_id.map((id, index) => {
    const scores = columns.p.map((column) => column[index] / 1000);
    return {
      index,
      id,
      field: fields[columns.field[index]],
      status: columns.status[index],
      note: columns.note[index],
      box: columns.box[index],
      area: columns.area_um2[index],
      nucleus: columns.nucleus_area_um2[index],
      protein: columns.protein_mean[index],
      protein_total: columns.protein_total[index],
      dna: columns.dna_total[index],
      doubt: columns.doubt[index],
      outlier: columns.outlier[index],
      place: columns.place[index],
      scores,
      top: scores.indexOf(Math.max(...scores)),
    };
  });
}
const cells = readCells();
const cellsOf = new Map(fields.map((field) => [field.index, new Map()]));
for (const cell of cells) cellsOf.get(cell.field.index).set(cell.id, cell);

/* A dialog for one cell, opened from the gallery, the map and the table. */
const dialog = document.getElementById("cell-dialog");
function openCell(cell) {
  const close = make("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => dialog.close());
  dialog.setAttribute("aria-label", `Cell ${cell.id} of ${cell.field.id}`);
  dialog.replaceChildren(close, hpacellsCells.makeCard(cell, { look, locations: PAGE.locations, onField: goToField }));
  dialog.showModal();
}
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

function goToField(cell) {
  dialog.close();
  const section = document.getElementById(cell.field.anchor);
  section.scrollIntoView();
  startField(section);
  pinned.set(section, cell.id);
  open.get(section).pin(cell.id);
}

/* A field's view is there while the field is near the window. */
const open = new Map();
const pinned = new Map();

function startField(section) {
  if (open.has(section)) return;
  const field = fields[section.dataset.field];
  const panel = section.querySelector(".panel");
  const tools = section.querySelector(".tools");
  const hints = [field.outlines.size ? "Point at a cell to see its scores here." : "No cell was outlined in this field."];
  if (!field.content().strip) hints.push("The run folder has no picture of this field: outlines only.");
  const hint = hints.map((text) => make("p", { class: "hint" }, text));
  let shown;
  const view = hpacellsViewer.openView({
    width: field.width,
    height: field.height,
    cells: [...field.outlines.values()],
    look,
    label: field.id,
    onShow(id) {
      if (id === shown) return;
      shown = id;
      const cell = cellsOf.get(field.index).get(id);
      panel.replaceChildren(...(cell ? [hpacellsCells.makeCard(cell, { look, locations: PAGE.locations })] : hint));
    },
    onPin: (id) => pinned.set(section, id),
  });
  open.set(section, view);
  if (!tools.firstChild) tools.append(hpacellsViewer.openTools(look));
  section.querySelector(".place").replaceChildren(view.element);
  view.pin(pinned.get(section) ?? null);
  view.repaint();
  field.picture().then((picture) => view.setPicture(picture));
}

function stopField(section) {
  const view = open.get(section);
  if (!view || section.contains(document.activeElement)) return;
  view.close();
  section.querySelector(".place").replaceChildren();
  open.delete(section);
}

const nearness = new IntersectionObserver(
  (entries) => entries.forEach(({ isIntersecting, target }) => (isIntersecting ? startField : stopField)(target)),
  { rootMargin: NEAR },
);
for (const section of document.querySelectorAll(".field")) nearness.observe(section);

/* The parts that are made once, when they come near. */
function whenNear(host, start) {
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      start(host);
    },
    { rootMargin: NEAR },
  );
  observer.observe(host);
}

whenNear(document.getElementById("gallery-host"), (host) => {
  if (cells.some((cell) => cell.status !== "rejected")) hpacellsCells.openGallery(host, { cells, locations: PAGE.locations, look, onOpen: openCell });
  else host.append(make("p", {}, "There is no usable cell."));
});

whenNear(document.getElementById("map-host"), (host) => {
  host.hidden = !cells.some((cell) => cell.place);
  if (host.hidden) return;
  const panel = make("div", { class: "panel", "aria-live": "polite" }, make("p", { class: "hint" }, "Point at a mark to see its cell here; a click opens it."));
  const plane = make("div", { class: "plane" });
  host.append(make("div", { class: "look" }, plane, panel));
  hpacellsCells.openMap(plane, {
    cells,
    locations: PAGE.locations,
    onShow: (cell) => panel.replaceChildren(hpacellsCells.makeCard(cell, { look, locations: PAGE.locations, onField: goToField })),
    onOpen: openCell,
  });
});

function makeFilter(name, label, options, matches) {
  const select = make("select", { "aria-label": label, "data-tool": name }, make("option", { value: "" }, label));
  for (const [value, text] of options) select.append(make("option", { value }, text));
  select.matches = (cell) => select.value === "" || matches(cell, select.value);
  return select;
}

whenNear(document.getElementById("cells-host"), (host) => {
  const column = (title, value, digits) => ({
    title,
    numeric: digits !== undefined,
    value,
    text: digits === undefined ? value : (cell) => value(cell).toFixed(digits),
  });
  hpacellsTables.open(host, {
    label: "Cells of this page",
    file: "cells.csv",
    rows: cells,
    onOpen: openCell,
    filters: [
      makeFilter("filter-location", "Any location", PAGE.locations.map((l, i) => [i, l.title]), (cell, value) => cell.top === Number(value)),
      makeFilter("filter-status", "Any status", ["ok", "border", "rejected"].map((s) => [s, s]), (cell, value) => cell.status === value),
    ],
    columns: [
      column("Cell", (cell) => cell.id, 0),
      column("Field", (cell) => cell.field.id),
      column("Status", (cell) => cell.status),
      column("Location", (cell) => PAGE.locations[cell.top].title),
      column("Score", (cell) => cell.scores[cell.top], 2),
      column("Doubt", (cell) => cell.doubt, 2),
      column("Area µm²", (cell) => cell.area, 0),
      column("Nucleus µm²", (cell) => cell.nucleus, 0),
      column("Protein mean", (cell) => cell.protein, 1),
      column("Quality", (cell) => cell.note),
      ...(cells.some((cell) => cell.outlier) ? [column("Outlier", (cell) => cell.outlier)] : []),
      { title: "protein_total", hidden: true, value: (cell) => cell.protein_total },
      { title: "dna_total", hidden: true, value: (cell) => cell.dna },
      ...PAGE.locations.map((location, i) => ({ title: `p_${location.key}`, hidden: true, value: (cell) => cell.scores[i] })),
    ],
  });
});

for (const table of document.querySelectorAll(".table[data-file]")) hpacellsTables.start(table);
document.documentElement.dataset.ready = "true";
