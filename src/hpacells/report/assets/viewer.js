"use strict";
/* The picture of a field with its cells: stains to switch, brightness, outlines, zoom.

   Used by the report (pictures inside the page) and by the review page (pictures by address). No
   imports; defines `hpacellsViewer`; viewer.css goes with it. From Python:
   importlib.resources.files("hpacells.report") / "assets" / "viewer.js".

     const { newLook, changeLook, loadPicture, paint, openTools, openView } = hpacellsViewer;

     const look = newLook();                       // how everything is shown; views may share it
     changeLook(look, { gain: 2 });                // shown (Set of stain keys), gain, palette, outlines, names
     const picture = await loadPicture({ src, width, height });
        // src: address (http:, data:, blob:) of previews/stains/<fov_id>.jpg of a run folder: grey
        // planes of width x height below each other, red, green, blue, yellow, each on its own
        // multiple of 8 rows. width, height: of one plane, in pixels.
     paint(canvas, picture, look, box, { cell });  // box {x, y, width, height} of the picture fills the
        // canvas at canvas.width x canvas.height; cell (optional, as below) is outlined
     host.append(openTools(look, { names: true }));  // checkboxes, brightness; follow the look

     const view = openView({ width, height, cells, look, picture, label, onShow, onPin });
        // cells: [{ id, d, x, y, color, nameColor, lineWidth, dashed, name, title }], d the outline as
        // an SVG path and (x, y) the middle of its name, in pixels of the picture; picture may be null
        // onShow(id | null): the cell pointed at, reached by key or pinned; onPin(id | null): by click, Enter
     host.append(view.element);
     view.setPicture(picture); view.pin(id | null); view.zoomTo(box | null); view.zoomBy(factor); view.repaint(); view.close();

   Keys in a view: arrows, Home, End go from cell to cell; Enter pins, Escape lets go; + - 0 zoom. */
const hpacellsViewer = (() => {
  const STAINS = [
    { key: "red", name: "Microtubules", atlas: "#ff0000", safe: "#e000c0" },
    { key: "green", name: "Protein", atlas: "#00ff00", safe: "#20f030" },
    { key: "blue", name: "Nucleus", atlas: "#0000ff", safe: "#1070ff" },
    { key: "yellow", name: "ER", atlas: "#404000", safe: "#402800" },
  ];
  const ROW_STEP = 8;
  const LARGEST_ZOOM = 12;
  const SVG = "http://www.w3.org/2000/svg";

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function makeSvg(tag, attributes = {}) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  function newLook() {
    return {
      shown: new Set(STAINS.map((stain) => stain.key)),
      gain: 1,
      palette: "atlas",
      outlines: true,
      names: true,
      listeners: new Set(),
    };
  }

  function changeLook(look, change) {
    Object.assign(look, change);
    for (const listener of [...look.listeners]) listener(look);
  }

  async function loadPicture({ src, width, height }) {
    const image = new Image();
    image.src = src;
    await image.decode();
    return { image, width, height, step: Math.ceil(height / ROW_STEP) * ROW_STEP };
  }

  /* Painting: each stain is brightened, tinted and added. One stain alone is shown in grey. */
  const scratch = document.createElement("canvas");

  function drawPlane(context, picture, index, box) {
    const { image, width, height, step } = picture;
    const x0 = Math.max(0, box.x), y0 = Math.max(0, box.y);
    const x1 = Math.min(width, box.x + box.width), y1 = Math.min(height, box.y + box.height);
    if (x1 <= x0 || y1 <= y0) return;
    const sx = context.canvas.width / box.width, sy = context.canvas.height / box.height;
    context.drawImage(
      image, x0, index * step + y0, x1 - x0, y1 - y0,
      (x0 - box.x) * sx, (y0 - box.y) * sy, (x1 - x0) * sx, (y1 - y0) * sy,
    );
  }

  function paint(canvas, picture, look, box, { cell } = {}) {
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    context.globalCompositeOperation = "source-over";
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (picture) {
      if (scratch.width !== width || scratch.height !== height) Object.assign(scratch, { width, height });
      const tinted = scratch.getContext("2d");
      STAINS.forEach((stain, index) => {
        if (!look.shown.has(stain.key)) return;
        tinted.globalCompositeOperation = "source-over";
        tinted.fillStyle = "#000";
        tinted.fillRect(0, 0, width, height);
        tinted.globalCompositeOperation = "lighter";
        for (let rest = look.gain; rest > 0.001; rest -= 1) {
          tinted.globalAlpha = Math.min(1, rest);
          drawPlane(tinted, picture, index, box);
        }
        tinted.globalAlpha = 1;
        if (look.shown.size > 1) {
          tinted.globalCompositeOperation = "multiply";
          tinted.fillStyle = stain[look.palette];
          tinted.fillRect(0, 0, width, height);
        }
        context.globalCompositeOperation = "lighter";
        context.drawImage(scratch, 0, 0);
      });
      context.globalCompositeOperation = "source-over";
    }
    if (cell && look.outlines) drawOutline(context, cell, box);
  }

  function drawOutline(context, cell, box) {
    const { width, height } = context.canvas;
    const path = new Path2D();
    path.addPath(
      new Path2D(cell.d),
      new DOMMatrix([width / box.width, 0, 0, height / box.height, -box.x * width / box.width, -box.y * height / box.height]),
    );
    context.setLineDash(cell.dashed ? [6, 5] : []);
    for (const [style, lineWidth] of [["#000", 3.5], [cell.color, 1.8]]) {
      Object.assign(context, { strokeStyle: style, lineWidth, lineJoin: "round" });
      context.stroke(path);
    }
    context.setLineDash([]);
  }

  /* Tools: they change the look and follow it, so several sets of tools may share one. */
  function openTools(look, { names = true } = {}) {
    const element = make("div", { class: "viewer-tools", role: "group", "aria-label": "How the pictures are shown" });
    const followers = [];
    const checkbox = (text, read, change, dot) => {
      const input = make("input", { type: "checkbox" });
      input.addEventListener("change", () => changeLook(look, change(input.checked)));
      followers.push(() => { input.checked = read(); });
      const mark = dot ? [make("i", { style: `background:${dot}` })] : [];
      element.append(make("label", {}, input, ...mark, ` ${text}`));
      return input;
    };
    for (const stain of STAINS) {
      const input = checkbox(
        stain.name,
        () => look.shown.has(stain.key),
        (on) => {
          const shown = new Set(look.shown);
          if (on) shown.add(stain.key);
          else shown.delete(stain.key);
          return { shown };
        },
        stain.key === "yellow" ? "#e0c000" : stain.atlas,
      );
      input.dataset.stain = stain.key;
    }
    const gain = make("input", { type: "range", min: "0.5", max: "4", step: "0.1", "data-tool": "gain" });
    gain.addEventListener("input", () => changeLook(look, { gain: Number(gain.value) }));
    followers.push(() => { gain.value = look.gain; });
    element.append(make("label", { class: "viewer-slider" }, "Brightness ", gain));
    for (const [key, text] of [["outlines", "Outlines"], ...(names ? [["names", "Names"]] : [])]) {
      checkbox(text, () => look[key], (on) => ({ [key]: on })).dataset.tool = key;
    }
    checkbox(
      "Colour-blind colours",
      () => look.palette === "safe",
      (on) => ({ palette: on ? "safe" : "atlas" }),
    ).dataset.tool = "palette";
    const follow = () => followers.forEach((update) => update());
    look.listeners.add(follow);
    follow();
    return element;
  }

  /* The outlines of a view: one stop for Tab; arrow keys do the rest. */
  function drawCells(svg, cells) {
    const outlines = makeSvg("g", { class: "viewer-outlines" });
    const names = makeSvg("g", { class: "viewer-names", "aria-hidden": "true" });
    const paths = cells.map((cell, index) => {
      const path = makeSvg("path", {
        role: "option",
        "aria-selected": "false",
        "aria-label": cell.title,
        tabindex: index ? "-1" : "0",
        d: cell.d,
        stroke: cell.color,
        "stroke-width": cell.lineWidth,
        ...(cell.dashed ? { "stroke-dasharray": "5 4" } : {}),
      });
      path.dataset.cell = cell.id;
      outlines.append(path);
      if (cell.name) {
        const text = makeSvg("text", { x: cell.x, y: cell.y, fill: cell.nameColor });
        text.textContent = cell.name;
        names.append(text);
      }
      return path;
    });
    svg.replaceChildren(outlines, names);
    return paths;
  }

  function openView({ width, height, cells, look, picture = null, label, onShow = () => {}, onPin = () => {} }) {
    const whole = { x: 0, y: 0, width, height };
    let box = { ...whole };
    let pinned = null;
    const canvas = make("canvas", { "aria-hidden": "true" });
    const svg = makeSvg("svg", { preserveAspectRatio: "none", class: cells.length > 40 ? "dense" : "" });
    if (cells.length) {
      svg.setAttribute("role", "listbox");
      svg.setAttribute("aria-label", `${label}: cells; arrow keys go from one to the next`);
    } else {
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", `${label}: no cells`);
    }
    const stage = make("div", { class: "viewer-stage", style: `aspect-ratio:${width}/${height};--tall:${width / height}` }, canvas, svg);
    const paths = drawCells(svg, cells);
    const byId = new Map(paths.map((path) => [path.dataset.cell, path]));

    function repaint() {
      const side = stage.clientWidth;
      if (!side) return;
      svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
      stage.style.setProperty("--unit", box.width / side);
      stage.classList.toggle("no-outlines", !look.outlines);
      stage.classList.toggle("no-names", !look.names);
      const sharp = Math.round(side * Math.min(2, devicePixelRatio || 1));
      const tall = Math.round((sharp * height) / width);
      if (canvas.width !== sharp || canvas.height !== tall) Object.assign(canvas, { width: sharp, height: tall });
      paint(canvas, picture, look, box);
    }
    let waiting = 0;
    const later = () => {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(repaint);
    };
    look.listeners.add(later);
    const observer = new ResizeObserver(later);
    observer.observe(stage);

    function mark(id) {
      for (const [key, path] of byId) {
        path.classList.toggle("current", key === id);
        path.setAttribute("aria-selected", String(key === id));
      }
    }
    function show(id) {
      mark(id);
      onShow(id === null ? null : Number(id));
    }
    function pin(id) {
      pinned = id === null ? null : String(id);
      show(pinned);
    }
    function pinByHand(id) {
      pin(id);
      onPin(id === null ? null : Number(id));
    }
    function focusOn(path) {
      for (const other of paths) other.tabIndex = other === path ? 0 : -1;
      path.focus();
      show(path.dataset.cell);
    }

    function zoomTo(wanted) {
      const target = wanted ?? whole;
      const scale = Math.min(1, Math.max(1 / LARGEST_ZOOM, target.width / width, target.height / height));
      const next = { width: width * scale, height: height * scale };
      next.x = Math.min(Math.max(0, target.x + (target.width - next.width) / 2), width - next.width);
      next.y = Math.min(Math.max(0, target.y + (target.height - next.height) / 2), height - next.height);
      box = next;
      stage.classList.toggle("zoomed", scale < 1);
      later();
    }
    function zoomBy(factor) {
      const w = box.width / factor, h = box.height / factor;
      zoomTo({ x: box.x + (box.width - w) / 2, y: box.y + (box.height - h) / 2, width: w, height: h });
    }
    const zooms = { "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => zoomTo(null) };

    const pathOf = (event) => event.target.closest("path");
    stage.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "touch") show(pathOf(event)?.dataset.cell ?? pinned);
    });
    stage.addEventListener("pointerleave", () => show(pinned));
    let drag = null;
    stage.addEventListener("pointerdown", (event) => {
      drag = { x: event.clientX, y: event.clientY, box, moved: false };
    });
    stage.addEventListener("pointermove", (event) => {
      if (!drag || !event.buttons || box.width === width) return;
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
      drag.moved ||= Math.hypot(dx, dy) > 5;
      const unit = box.width / stage.clientWidth;
      if (drag.moved) zoomTo({ ...drag.box, x: drag.box.x - dx * unit, y: drag.box.y - dy * unit });
    });
    stage.addEventListener("click", (event) => {
      if (drag?.moved) return;
      const id = pathOf(event)?.dataset.cell ?? null;
      pinByHand(id === pinned ? null : id);
    });
    stage.addEventListener("focusin", (event) => {
      if (pathOf(event)) show(pathOf(event).dataset.cell);
    });
    stage.addEventListener("focusout", () => show(pinned));
    stage.addEventListener("keydown", (event) => {
      const at = paths.indexOf(document.activeElement);
      if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
      const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: paths.length - 1 };
      if (event.key in steps) focusOn(paths[(steps[event.key] + paths.length) % paths.length]);
      else if (event.key === "Enter" || event.key === " ") pinByHand(paths[at].dataset.cell);
      else if (event.key === "Escape") pinByHand(null);
      else if (event.key in zooms) zooms[event.key]();
      else return;
      event.preventDefault();
    });

    const zoomTools = make("div", { class: "viewer-zoom", role: "group", "aria-label": "Zoom" });
    for (const [key, name, sign] of [["+", "Zoom in", "+"], ["-", "Zoom out", "−"], ["0", "Show the whole field", "⤢"]]) {
      const button = make("button", { type: "button", "aria-label": name, title: name }, sign);
      button.addEventListener("click", zooms[key]);
      zoomTools.append(button);
    }
    return {
      element: make("div", { class: "viewer" }, stage, zoomTools),
      pin,
      zoomTo,
      zoomBy,
      repaint,
      setPicture(next) {
        picture = next;
        later();
      },
      close() {
        look.listeners.delete(later);
        observer.disconnect();
      },
    };
  }

  return { STAINS, newLook, changeLook, loadPicture, paint, openTools, openView };
})();
