"use strict";
/* Pictures of cells, fetched before they are needed: two at a time, the most wanted first.

     const pictures = openPictures(digest);
     pictures.want([row, row, ...]);              // in the order in which they will be shown
     const { meta, picture } = await pictures.get(row);   // picture: as viewer.js draws it, or null */
const openPictures = (() => {
  const AT_A_TIME = 2, KEPT = 60;

  return function openPictures(digest) {
    const loaded = new Map();  // row -> promise, oldest first
    let waiting = [], busy = 0;

    async function load(row) {
      const answer = await fetch(`api/pictures/${row}?digest=${encodeURIComponent(digest)}`);
      const meta = await answer.json();
      if (!answer.ok) throw new Error(meta.detail);
      const { src, width, height } = meta;
      return { meta, picture: src && (await hpacellsViewer.loadPicture({ src, width, height })) };
    }

    function start(row) {
      busy += 1;
      const promise = load(row).finally(() => {
        busy -= 1;
        next();
      });
      promise.catch(() => loaded.delete(row));  // whoever shows it says why; asked again, it is tried again
      loaded.set(row, promise);
      for (const old of loaded.keys()) {
        if (loaded.size <= KEPT) break;
        loaded.delete(old);
      }
      return promise;
    }

    function next() {
      while (busy < AT_A_TIME && waiting.length) {
        const row = waiting.shift();
        if (!loaded.has(row)) start(row);
      }
    }

    return {
      want(rows) {
        waiting = rows.filter((row) => !loaded.has(row));
        next();
      },
      get: (row) => loaded.get(row) ?? start(row),
    };
  };
})();
