"use strict";
/* Words on their way to the server: kept in the browser until the server has confirmed them, so
   that neither a killed server nor a reload loses one. They are sent in order, one at a time; each
   carries a key of its own, so sent twice it counts once.

     const outbox = openOutbox(reviewId, { onChange, onConfirmed, onRefused });
     outbox.add("words" | "undo", body); outbox.size(); */
const openOutbox = (() => {
  const FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 4000, ANSWER_MS = 15000;

  return function openOutbox(reviewId, { onChange, onConfirmed, onRefused }) {
    const prefix = `hpacells-review/${reviewId}/`;
    const items = new Map();  // name -> { kind, body }, in the order of their names
    let count = 0, busy = false, wait = FIRST_WAIT_MS;

    for (const name of Object.keys(localStorage).filter((key) => key.startsWith(prefix)).sort()) {
      items.set(name, JSON.parse(localStorage.getItem(name)));
    }

    function add(kind, body) {
      const order = `${String(Date.now()).padStart(15, "0")}-${String(count++).padStart(6, "0")}`;
      const name = `${prefix}${order}-${body.key}-${kind}`;
      items.set(name, { kind, body });
      try {
        localStorage.setItem(name, JSON.stringify({ kind, body }));
      } catch (error) {
        if (error.name !== "QuotaExceededError") throw error;  // it is still sent, from memory
      }
      onChange(items.size, wait > FIRST_WAIT_MS);
      send();
    }

    async function send() {
      if (busy || !items.size) return;
      busy = true;
      const [name, { kind, body }] = items.entries().next().value;
      let answer = null;
      try {
        answer = await fetch(`api/${kind}`, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(ANSWER_MS),
        });
      } catch (error) {
        if (!(error instanceof TypeError) && error.name !== "TimeoutError") throw error;  // no server
      }
      // a server that is away, full or asks for its token may take it later; no other answer changes
      const isOver = answer && (answer.ok || [404, 422].includes(answer.status));
      if (isOver) {
        items.delete(name);
        localStorage.removeItem(name);
        wait = FIRST_WAIT_MS;
        const content = await answer.json().catch(() => ({}));
        if (answer.ok) onConfirmed(kind, body, content);
        else onRefused(body, typeof content.detail === "string" ? content.detail : "not understood");
      } else {
        wait = Math.min(wait * 2, LONGEST_WAIT_MS);
      }
      busy = false;
      onChange(items.size, !isOver);
      if (items.size) setTimeout(send, isOver ? 0 : wait);
    }

    onChange(items.size, false);
    send();
    return { add, size: () => items.size };
  };
})();
