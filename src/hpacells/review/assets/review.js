"use strict";
/* The review page: shows one cell after the other, says what its keys say, asks for more cells.

   A key shows the next cell at once: cells and pictures are there before, words are sent after. */
(() => {
  const LOCATION_KEYS = [..."1234567890qwertyuio"];
  const NEGATIVE = LOCATION_KEYS.length - 1;
  const STAIN_KEYS = { d: "red", f: "green", g: "blue", h: "yellow" };
  const AHEAD = 8;            // pictures fetched before they are needed
  const PAGE = 20;            // cells asked for at once
  const BOX_SHARE = 0.75;     // of the stage's side that a cell's box fills

  const $ = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const ask = async (address, options) => {
    const answer = await fetch(address, options);
    const content = await answer.json();
    if (!answer.ok) throw new Error(typeof content.detail === "string" ? content.detail : "refused");
    return content;
  };
  const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

  const look = hpacellsViewer.newLook();
  let run, outbox, pictures, who = "";
  let queue = [], seen = [], cell = null, view = null;
  let left = 0, asking = null, isEnd = false, round = 0;
  let said = [];              // own words that can be undone: { key, row, cell, before }
  const settled = new Set();  // rows judged here, which the server may not know yet

  /* What comes next. */
  function question() {
    const asked = new URLSearchParams({ who, order: $("order").value, skip: $("skip").value, n: PAGE });
    const location = $("location").value;
    if (location !== "" && $("order").value !== "disagreement") asked.set("location", location);
    return asked;
  }

  function refill() {
    if (asking || isEnd || queue.length >= PAGE / 2) return asking;
    const asked = question();
    const last = queue.at(-1) ?? (cell?.inOrder ? cell : seen.findLast((old) => old.inOrder));
    if (last) asked.set("after", last.row);
    const mine = round;
    asking = ask(`api/cells?${asked}`).then(
      (page) => {
        if (mine !== round) return;
        asking = null;
        isEnd = page.cells.length < PAGE;
        left = page.left;
        const skips = $("skip").value !== "nobodys" && $("order").value !== "disagreement";
        const fresh = page.cells.filter((found) => !(skips && settled.has(found.row)));
        queue.push(...fresh.map((found) => ({ ...found, inOrder: true })));
        showCounts();
        prefetch();
        return refill();
      },
      (error) => {
        if (mine !== round) return;
        asking = null;
        tell(`No more cells could be fetched: ${error.message}. Trying again.`, true);
        return new Promise((resolve) => setTimeout(resolve, 1500)).then(() => (mine === round ? refill() : null));
      },
    );
    return asking;
  }

  const prefetch = () => pictures.want([cell, ...queue].filter(Boolean).slice(0, AHEAD + 1).map((c) => c.row));

  async function restart() {
    round += 1;
    [queue, seen, cell, asking, isEnd] = [[], [], null, null, false];
    showOrder();
    await refill();
    if (!cell) forward();
  }

  async function forward() {
    const mine = round;
    if (cell) seen.push(cell);
    if (!queue.length && !isEnd) {
      hideCell();
      await refill();
      if (mine !== round || cell) return;
    }
    const next = queue.shift();
    if (next) show(next);
    else showNothing();
    refill();
  }

  function back() {
    const before = seen.pop();
    if (!before) return tell("This is the first cell of this round.");
    if (cell) queue.unshift(cell);
    show(before);
  }

  /* Showing. */
  async function show(next) {
    cell = next;
    $("nothing").hidden = true;
    for (const part of document.querySelectorAll(".look, .words")) part.hidden = false;
    showWords();
    const shown = cell;
    clearStage();
    let loaded;
    try {
      loaded = await pictures.get(cell.row);
    } catch (error) {
      if (cell !== shown) return;
      $("stage").replaceChildren(make("p", { class: "loading bad" }, `No picture: ${error.message}`));
      document.body.dataset.shown = shown.row;
      return prefetch();
    }
    if (cell !== shown) return;
    const { meta, picture } = loaded;
    view = hpacellsViewer.openView({
      width: meta.width, height: meta.height, cells: meta.cells, look, picture,
      label: `Cell ${shown.cell_id} of ${shown.fov_id}`,
    });
    $("stage").replaceChildren(view.element);
    zoomToCell(meta.box);
    view.repaint();
    showScale(meta);
    document.body.dataset.shown = shown.row;
    setTimeout(prefetch, 50);  // when it is painted: cutting takes the processor from the browser
  }

  function zoomToCell(box) {
    const side = Math.max(box.width, box.height) / BOX_SHARE;
    view?.zoomTo({ x: box.x + (box.width - side) / 2, y: box.y + (box.height - side) / 2, width: side, height: side });
  }

  function showScale(meta) {
    const across = meta.um_per_px ? `The whole square is ${(meta.width * meta.um_per_px).toFixed(0)} µm wide.` : "";
    const note = { image: "", preview: " A small preview: ", none: " No picture: " }[meta.source];
    $("scale").textContent = `${across}${note}${note ? meta.note : ""}`;
    $("scale").classList.toggle("bad", Boolean(note));
  }

  const wordText = (word) => {
    const places = (word.locations ?? []).map((k) => run.locations[k].title).join(", ");
    const what = { accept: `accepted: ${places}`, correct: `corrected: ${places}`, reject: "rejected", comment: "commented" };
    return what[word.action] + (word.comment ? ` – “${word.comment}”` : "");
  };

  function showWords() {
    const { mine } = cell;
    $("cell-name").textContent = `Cell ${cell.cell_id} of ${cell.fov_id}`;
    const known = Object.entries(cell.known).map(([name, value]) => `${name.replace("_", " ")} ${value}`);
    $("facts").textContent = [`doubt ${cell.doubt.toFixed(2)}`, `${cell.area_um2} µm²`, ...known, ...cell.flags].join(" · ");
    $("mine").hidden = !mine;
    $("mine").textContent = mine ? `You ${wordText(mine)}` : "";
    $("others").hidden = !cell.others.length;
    $("others").replaceChildren(...cell.others.map((word) => make("li", {}, `${word.who} ${wordText(word)}`)));
    $("comment").value = mine?.comment ?? "";
    const ticked = new Set(mine?.locations ?? cell.proposed);
    boxes().forEach((box, k) => {
      box.checked = ticked.has(k);
      const score = cell.scores[k];
      const row = box.closest("label");
      row.style.setProperty("--score", score);
      row.querySelector(".score").textContent = score.toFixed(2);
      row.classList.toggle("proposed", cell.proposed.includes(k));
    });
    showSave();
  }

  const boxes = () => [...$("locations").querySelectorAll("input")];
  const ticked = () => boxes().flatMap((box, k) => (box.checked ? [k] : []));
  const isProposal = () => String(ticked()) === String(cell.proposed);

  function showSave() {
    const n = ticked().length;
    $("save-name").textContent = isProposal() ? "Accept" : "Correct";
    $("save").disabled = !n;
    $("ticked").textContent = ticked().map((k) => run.locations[k].title).join(", ");
  }

  function hideCell() {
    cell = null;
    clearStage();
  }

  function clearStage() {
    view?.close();
    view = null;
    delete document.body.dataset.shown;
    $("stage").replaceChildren(make("p", { class: "loading" }, "…"));
  }

  function showNothing() {
    hideCell();
    for (const part of document.querySelectorAll(".look, .words")) part.hidden = true;
    const isNone = $("order").value === "disagreement";
    $("nothing").hidden = false;
    $("nothing").querySelector("h2").textContent = isNone ? "No disagreement left here" : "No cell left in this order";
    $("nothing").querySelector("p").textContent = isNone
      ? "Two people's words differ on no further cell. Cells that only one has judged are not listed."
      : "Cells that were skipped come again from the start; or choose another order.";
    $("nothing").querySelector("h2").focus();
  }

  function showCounts() {
    $("left").textContent = `${left.toLocaleString("en")} left of ${plural(run.n_cells, "cell")}`;
    $("judged").textContent = `· ${run.people[who] ?? 0} judged by you`;
  }

  function tell(text, isBad = false) {
    $("status").textContent = text;
    $("status").classList.toggle("bad", isBad);
  }

  /* Saying. */
  function say(action, comment = $("comment").value.trim() || null) {
    if (!cell || !("shown" in document.body.dataset)) return false;  // nobody has seen it yet
    const locations = action === "accept" || action === "correct" ? ticked() : null;
    if (locations && !locations.length) {
      tell("Tick at least one location, or reject the cell.", true);
      return false;
    }
    const word = { key: crypto.randomUUID?.() ?? makeKey(), who, fov_id: cell.fov_id, cell_id: cell.cell_id, action, locations, comment };
    const counts = action !== "comment" && !settled.has(cell.row) && $("order").value !== "disagreement";
    if (counts) left = Math.max(0, left - 1);
    if (action !== "comment") settled.add(cell.row);
    said.push({ key: word.key, row: cell.row, cell, before: cell.mine, counts });
    cell.mine = { action, locations, comment, who };
    outbox.add("words", word);
    showCounts();
    tell(`Cell ${cell.cell_id} of ${cell.fov_id}: ${wordText(cell.mine)}.`);
    return true;
  }

  function makeKey() {  // randomUUID is for secure addresses alone, and other machines ask by http
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  const save = () => cell && say(isProposal() ? "accept" : "correct") && forward();
  const reject = () => say("reject") && forward();

  function comment() {
    const text = $("comment").value.trim();
    $("comment").blur();
    if (!cell || text === (cell.mine?.comment ?? "")) return;
    const judged = cell.mine && cell.mine.action !== "comment" ? cell.mine : null;
    if (!text && !judged) return undo();
    const kept = ticked();
    if (judged?.locations) boxes().forEach((box, k) => { box.checked = judged.locations.includes(k); });
    say(judged?.action ?? "comment", text || null);
    showWords();
    boxes().forEach((box, k) => { box.checked = kept.includes(k); });
    showSave();
  }

  async function undo() {
    const last = said.pop();
    if (!last) return tell("Nothing to undo.");
    outbox.add("undo", { key: last.key, who });
    settled.delete(last.row);
    try {
      const known = last.cell ?? (await ask(`api/cells/${last.row}?${new URLSearchParams({ who })}`));
      known.mine = last.cell ? last.before : null;
      if (cell && cell.row !== last.row) queue.unshift(cell);
      seen = seen.filter((old) => old.row !== last.row);
      queue = queue.filter((next) => next.row !== last.row);
      if (last.counts) left += 1;
      show(known);
      tell(`Undone: cell ${known.cell_id} of ${known.fov_id}.`);
    } catch (error) {
      tell(`The word is taken back, but its cell cannot be shown: ${error.message}`, true);
    }
    showCounts();
  }

  /* The rest of the page. */
  function showOrder() {
    $("location-choice").hidden = $("order").value === "disagreement";
    $("skip-choice").hidden = $("order").value === "disagreement";
    const first = $("location").options[0];
    first.disabled = $("order").value === "location";
    if (first.disabled && $("location").value === "") $("location").value = "0";
  }

  function fillPage() {
    document.title = `${run.name} – hpacells review`;
    $("run-name").textContent = run.name;
    $("location").append(make("option", { value: "" }, "all"));
    run.locations.forEach(({ title, color }, k) => {
      $("location").append(make("option", { value: k }, title));
      const box = make("input", { type: "checkbox", "aria-keyshortcuts": LOCATION_KEYS[k] });
      box.addEventListener("change", () => tick(k, box.checked));
      const dot = make("i");
      dot.style.background = color;
      const bar = make("span", { class: "bar", "aria-hidden": "true" }, make("b"));
      $("locations").append(
        make("label", {}, box, make("kbd", { "aria-hidden": "true" }, LOCATION_KEYS[k]), dot, make("span", { class: "title" }, title), bar, make("span", { class: "score" })),
      );
    });
    $("tools").append(hpacellsViewer.openTools(look));
  }

  function tick(k, on) {
    boxes().forEach((box, i) => {
      if (i === k) box.checked = on;
      else if (on && (k === NEGATIVE || i === NEGATIVE)) box.checked = false;
    });
    showSave();
  }

  async function signIn(mustAsk) {
    const known = localStorage.getItem("hpacells-review-who");
    if (mustAsk || !known) {
      $("name").value = known ?? "";
      $("people").replaceChildren(
        ...Object.keys(run.people).map((name) => {
          const button = make("button", { type: "button" }, name);
          button.addEventListener("click", () => { $("name").value = name; });
          return button;
        }),
      );
      $("sign-in").showModal();
      await new Promise((resolve) => $("sign-in").addEventListener("close", resolve, { once: true }));
    }
    const given = $("name").value.trim().replace(/\s+/g, " ") || known;
    if (!given) return signIn(true);
    who = given;
    localStorage.setItem("hpacells-review-who", who);
    $("who").textContent = who;
    run.people[who] ??= 0;
    settled.clear();
    const recent = await ask(`api/recent?${new URLSearchParams({ who })}`);
    said = recent.reverse().map(({ key, row }) => ({ key, row, cell: null, before: null, counts: true }));
    return restart();
  }

  async function showAgreement() {
    const number = (value) => (value === null ? "–" : value.toFixed(2));
    $("pairs").replaceChildren(make("p", {}, "…"));
    $("agreement").showModal();
    let pairs = [];
    try {
      pairs = await ask("api/agreement");
    } catch (error) {
      return $("pairs").replaceChildren(make("p", { class: "bad" }, error.message));
    }
    $("pairs").replaceChildren(
      ...pairs.map((pair) => {
        const body = make("tbody");
        for (const { title, key } of run.locations) {
          if (!pair.n_named[key]) continue;
          body.append(make("tr", {}, make("th", { scope: "row" }, title), make("td", {}, number(pair.kappas[key])), make("td", {}, String(pair.n_named[key]))));
        }
        const head = make("tr");
        for (const text of ["Location", "Kappa", "Cells named so"]) head.append(make("th", { scope: "col" }, text));
        return make(
          "section", {},
          make("h3", {}, pair.who.join(" and ")),
          make("p", {}, `${plural(pair.n_cells, "cell")} judged by both, ${pair.n_same} alike. Kappa, mean over locations: ${number(pair.mean_kappa)}; on rejecting: ${number(pair.reject_kappa)}.`),
          body.children.length ? make("table", {}, make("thead", {}, head), body) : "",
        );
      }),
    );
    if (!pairs.length) $("pairs").append(make("p", {}, "No cell was judged by two people yet."));
  }

  async function writeCorrections() {
    if (outbox.size()) return tell("Some words are not saved yet: wait a moment.", true);
    try {
      const done = await ask("api/export", { method: "POST" });
      tell(`corrections.parquet is up to date: ${plural(done.words, "word")}, ${done.changed} changed.`);
    } catch (error) {
      tell(error.message, true);
    }
  }

  const ACTIONS = {
    Enter: save, a: save, x: reject, z: undo, ArrowRight: forward, ArrowLeft: back,
    c: () => $("comment").focus(),
    "?": () => $("keys").showModal(),
    "+": () => view?.zoomBy(1.3), "=": () => view?.zoomBy(1.3), "-": () => view?.zoomBy(1 / 1.3),
    ".": async () => cell && zoomToCell((await pictures.get(cell.row)).meta.box),
    "[": () => hpacellsViewer.changeLook(look, { gain: Math.max(0.5, look.gain - 0.25) }),
    "]": () => hpacellsViewer.changeLook(look, { gain: Math.min(4, look.gain + 0.25) }),
    v: () => hpacellsViewer.changeLook(look, { outlines: !look.outlines }),
    s: () => hpacellsViewer.changeLook(look, { shown: new Set(Object.values(STAIN_KEYS)) }),
  };

  function onKey(event) {
    const { key, target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (target.id === "comment") {
      if (key === "Enter" && !event.shiftKey) comment();
      else if (key === "Escape") $("comment").blur();
      else return;
      return event.preventDefault();
    }
    if (target.closest("select, input:not([type=checkbox])")) return;
    if (key === "Enter" && target.closest("button, a")) return;  // it presses that button
    const name = key.length === 1 ? key.toLowerCase() : key;
    const location = LOCATION_KEYS.indexOf(/^Digit\d$/.test(event.code) ? event.code.at(-1) : name);
    if (location >= 0 && cell) tick(location, !boxes()[location].checked);
    else if (name in STAIN_KEYS) {
      const shown = new Set(look.shown);
      if (!shown.delete(STAIN_KEYS[name])) shown.add(STAIN_KEYS[name]);
      hpacellsViewer.changeLook(look, { shown });
    } else if (name in ACTIONS && !(event.repeat && ["Enter", "a", "x", "z"].includes(name))) ACTIONS[name]();
    else return;
    event.preventDefault();
  }

  function listen() {
    document.addEventListener("keydown", onKey);
    const clicks = {
      save, reject, next: forward, previous: back, undo, again: restart, who: () => signIn(true),
      export: writeCorrections, "show-agreement": showAgreement, "show-keys": () => $("keys").showModal(),
    };
    for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
    for (const id of ["order", "location", "skip"]) {
      $(id).addEventListener("change", () => {
        $(id).blur();
        restart();
      });
    }
  }

  async function begin() {
    run = await ask("api/run");
    pictures = openPictures(run.digest);
    fillPage();
    outbox = openOutbox(run.review, {
      onChange(size, isStuck) {
        $("unsaved").hidden = !size || !isStuck;
        $("unsaved").textContent = `${plural(size, "word")} not saved yet: the server does not answer`;
      },
      onConfirmed(kind, body, answer) {
        run.people[body.who] = answer.judged;
        showCounts();
      },
      onRefused: (body, why) => tell(`A word was refused: ${why}`, true),
    });
    listen();
    await signIn(false);
  }

  begin().catch((error) => {
    tell(`The review cannot be opened: ${error.message}`, true);
    throw error;
  });
})();
