"use strict";
/* One cell as a card; many as a gallery and as a map. They share pictures and look with the views.

   A cell here is { index, field, id, status, note, box, area, nucleus, protein, doubt, top, scores, place },
   field one of { index, id, anchor, width, height, outlines (Map of cell id to what viewer.js calls a
   cell), picture() -> promise of a picture or null }. */
const hpacellsCells = (() => {
  const { STAINS, paint } = hpacellsViewer;
  const CROP_MARGIN = 1.15;
  const SHAPES = ["circle", "square", "triangle", "diamond"];
  const AT_A_TIME = 24;

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  /* A square around a cell, in pixels of its field's picture. */
  function cropBox(cell) {
    const [x0, y0, x1, y1] = cell.box;
    const side = Math.max(x1 - x0, y1 - y0, 8) * CROP_MARGIN;
    return { x: (x0 + x1 - side) / 2, y: (y0 + y1 - side) / 2, width: side, height: side };
  }

  function makeCanvas(side) {
    const pixels = Math.round(side * Math.min(2, devicePixelRatio || 1));
    return make("canvas", { width: pixels, height: pixels, style: `--side:${side}px`, "aria-hidden": "true" });
  }

  /* Crops that follow the look: canvas -> cell. */
  const followers = new WeakMap();

  function follow(canvas, cell, look) {
    followers.set(canvas, cell);
    canvas.classList.add("follows");
    paintCrop(canvas, cell, look);
  }

  function repaintCrops(look) {
    for (const canvas of document.querySelectorAll("canvas.follows")) paintCrop(canvas, followers.get(canvas), look);
  }

  async function paintCrop(canvas, cell, look, withOutline = true) {
    const picture = await cell.field.picture();
    const outline = withOutline ? cell.field.outlines.get(cell.id) : undefined;
    paint(canvas, picture, look, cropBox(cell), { cell: outline });
  }

  function scoreLine(location, score) {
    const line = make("div", { class: "score" }, make("span", {}, location.title), make("b", {}, score.toFixed(2)));
    const bar = make("i", { style: `width:${100 * score}%;background:${location.color}` });
    return [line, make("div", { class: "meter" }, bar)];
  }

  function makeCard(cell, { look, locations, onField }) {
    const crop = makeCanvas(300);
    const stains = STAINS.map((stain) => [make("figure", {}), makeCanvas(72), stain]);
    for (const [figure, canvas, stain] of stains) figure.append(canvas, make("figcaption", {}, stain.name));
    const facts = make("table");
    const rows = [
      ["Status", cell.status],
      ["Quality", cell.note || "nothing noticed"],
      ["Area", `${cell.area.toFixed(0)} µm²`],
      ["Nucleus", cell.nucleus > 0 ? `${cell.nucleus.toFixed(0)} µm²` : "none"],
      ["Protein, mean", cell.protein.toFixed(1)],
      ["Doubt", cell.doubt.toFixed(2)],
      ...(cell.outlier ? [["Outlier", cell.outlier]] : []),
    ];
    for (const [name, value] of rows) facts.append(make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value)));
    const ranked = locations.map((_, i) => i).sort((a, b) => cell.scores[b] - cell.scores[a] || a - b);
    const lines = (from, to) => ranked.slice(from, to).flatMap((i) => scoreLine(locations[i], cell.scores[i]));
    const others = make("details", {}, make("summary", {}, `The other ${ranked.length - 4} locations`), ...lines(4));
    const title = make("h4", {}, `Cell ${cell.id}`, ...(onField ? [" of ", make("span", { class: "of" }, cell.field.id)] : []));
    const card = make("div", { class: "card" }, title, crop, make("div", { class: "stains" }, ...stains.map((stain) => stain[0])), facts, ...lines(0, 4), others);
    if (onField) {
      const button = make("button", { type: "button" }, "Show in its field");
      button.addEventListener("click", () => onField(cell));
      card.append(button);
    }
    follow(crop, cell, look);
    for (const [, canvas, stain] of stains) paintCrop(canvas, cell, { ...look, shown: new Set([stain.key]) }, false);
    return card;
  }

  /* Crops of the cells that score highest for one location. */
  function openGallery(host, { cells, locations, look, onOpen }) {
    const usable = cells.filter((cell) => cell.status !== "rejected");
    const choice = make("select", { "data-tool": "gallery-location" });
    locations.forEach((location, i) => {
      const n = usable.filter((cell) => cell.top === i).length;
      choice.append(make("option", { value: i }, `${location.title} (highest in ${n})`));
    });
    const grid = make("div", { class: "gallery" });
    const more = make("button", { type: "button", class: "more" }, "Show more");
    host.append(make("div", { class: "toolbar" }, make("label", {}, "Location ", choice)), hpacellsViewer.openTools(look, { names: false }), grid, more);
    let ranked = [];

    function extend() {
      const from = grid.childElementCount;
      for (const cell of ranked.slice(from, from + AT_A_TIME)) {
        const score = cell.scores[choice.value];
        const canvas = makeCanvas(112);
        const label = `Cell ${cell.id} of ${cell.field.id}, ${locations[choice.value].title} ${score.toFixed(2)}`;
        const button = make("button", { type: "button", "aria-label": label, title: label }, canvas, make("span", {}, score.toFixed(2)));
        button.addEventListener("click", () => onOpen(cell));
        grid.append(button);
        follow(canvas, cell, look);
      }
      more.hidden = grid.childElementCount >= ranked.length;
    }
    function choose() {
      ranked = usable.toSorted((a, b) => b.scores[choice.value] - a.scores[choice.value] || a.index - b.index);
      grid.replaceChildren();
      extend();
    }
    choice.addEventListener("change", choose);
    more.addEventListener("click", extend);
    const counts = locations.map((_, i) => usable.filter((cell) => cell.top === i).length);
    choice.value = counts.indexOf(Math.max(...counts));
    choose();
  }

  const shapeOf = (location) => SHAPES[(location + Math.floor(location / SHAPES.length)) % SHAPES.length];

  function drawMark(context, shape, x, y, r) {
    context.beginPath();
    if (shape === "circle") context.arc(x, y, r, 0, 7);
    else if (shape === "square") context.rect(x - r * 0.9, y - r * 0.9, 1.8 * r, 1.8 * r);
    else {
      const corners = shape === "triangle" ? [[0, -1.2], [1.1, 0.9], [-1.1, 0.9]] : [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]];
      corners.forEach(([dx, dy], i) => context[i ? "lineTo" : "moveTo"](x + dx * r, y + dy * r));
      context.closePath();
    }
    context.fill();
    context.stroke();
  }

  /* Points in a plane; the arrow keys go to the next cell in their direction. */
  function openMap(host, { cells, locations, onShow, onOpen }) {
    const shown = cells.filter((cell) => cell.place);
    const present = locations.map((_, i) => i).filter((i) => shown.some((cell) => cell.top === i));
    const canvas = make("canvas", { tabindex: "0", role: "application", "aria-label": `Map of ${shown.length} cells: arrow keys go to the next cell, Enter opens it. The table below lists the same cells.` });
    const legend = make("div", { class: "legend", role: "group", "aria-label": "Show one location alone" });
    const tall = Math.max(300, ...shown.map((cell) => cell.place[1]));
    let alone = null;
    let current = null;

    const at = (cell) => {
      const margin = 14, scale = (canvas.clientWidth - 2 * margin) / 1000;
      return [margin + cell.place[0] * scale, margin + (tall - cell.place[1]) * scale];
    };
    function draw() {
      const ratio = Math.min(2, devicePixelRatio || 1), width = canvas.clientWidth;
      if (!width) return;
      const height = Math.round(((width - 28) * tall) / 1000 + 28);
      canvas.style.height = `${height}px`;
      Object.assign(canvas, { width: width * ratio, height: height * ratio });
      const context = canvas.getContext("2d");
      context.scale(ratio, ratio);
      context.lineWidth = 0.7;
      context.strokeStyle = "#000";
      const last = (cell) => (alone === null || cell.top === alone ? 1 : 0);
      for (const cell of shown.toSorted((a, b) => last(a) - last(b))) {
        context.globalAlpha = last(cell) ? 0.95 : 0.12;
        context.fillStyle = locations[cell.top].color;
        drawMark(context, shapeOf(cell.top), ...at(cell), shown.length > 1500 ? 3 : 4.5);
      }
      context.globalAlpha = 1;
      if (current) {
        context.strokeStyle = "#fff";
        context.lineWidth = 2.5;
        context.beginPath();
        context.arc(...at(current), 9, 0, 7);
        context.stroke();
      }
    }
    function show(cell) {
      if (cell === current) return;
      current = cell;
      draw();
      onShow(cell);
    }
    function nearest(event) {
      const frame = canvas.getBoundingClientRect();
      const x = event.clientX - frame.left, y = event.clientY - frame.top;
      let best = null, least = 20;
      for (const cell of shown) {
        const [cx, cy] = at(cell), distance = Math.hypot(cx - x, cy - y) + (alone === null || cell.top === alone ? 0 : 10);
        if (distance < least) [best, least] = [cell, distance];
      }
      return best;
    }
    function step(dx, dy) {
      if (!current) return shown[0];
      const [x, y] = at(current);
      let best = current, least = Infinity;
      for (const cell of shown) {
        const [cx, cy] = at(cell), along = (cx - x) * dx + (cy - y) * dy, across = Math.abs((cx - x) * dy) + Math.abs((cy - y) * dx);
        if (cell !== current && along > 0.5 && along + 2 * across < least) [best, least] = [cell, along + 2 * across];
      }
      return best;
    }
    canvas.addEventListener("pointermove", (event) => {
      const cell = nearest(event);
      if (cell) show(cell);
    });
    canvas.addEventListener("click", (event) => {
      const cell = nearest(event);
      if (cell) onOpen(cell);
    });
    const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (event.key in directions) show(step(...directions[event.key]));
      else if (event.key === "Enter" && current) onOpen(current);
      else return;
      event.preventDefault();
    });
    for (const i of present) {
      const mark = make("canvas", { width: 28, height: 28, "aria-hidden": "true" });
      const context = mark.getContext("2d");
      context.fillStyle = locations[i].color;
      drawMark(context, shapeOf(i), 14, 14, 9);
      const button = make("button", { type: "button", "aria-pressed": "false" }, mark, locations[i].title);
      button.addEventListener("click", () => {
        alone = alone === i ? null : i;
        for (const other of legend.children) other.setAttribute("aria-pressed", String(other === button && alone !== null));
        draw();
      });
      legend.append(button);
    }
    host.append(legend, canvas);
    new ResizeObserver(() => requestAnimationFrame(draw)).observe(host);
  }

  return { make, makeCard, openGallery, openMap, repaintCrops };
})();
