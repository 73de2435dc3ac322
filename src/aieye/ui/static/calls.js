// The list of calls as they come in: rows are put on top, or counted while it is paused.
"use strict";
(() => {
  const box = document.querySelector("[data-live]");
  if (!box || !window.EventSource) return;
  const $ = (selector) => document.querySelector(selector);
  const [state, pause, news, show] = ["[data-live-state]", "[data-live-pause]", "[data-live-new]", "[data-live-show]"].map($);
  const MOST_ROWS = 300;
  const waiting = new Map();
  let isPaused = false;
  const say = (kind, word) => {
    if (state.textContent === word) return;
    state.className = `dot dot-${kind}`;
    state.textContent = word;
  };
  const body = () => $("#calls tbody");
  const linkOf = (id) => body().querySelector(`a[data-row-link][href="/calls/${id}"]`);
  const rowOf = (html) => {
    const made = document.createElement("template");
    made.innerHTML = html;
    return made.content.querySelector("tr");
  };
  function put(id, html, isNew) {
    const row = rowOf(html);
    const old = linkOf(id)?.closest("tr");
    if (old) {
      if ("focused" in old.dataset) row.dataset.focused = "";
      const hadFocus = old.contains(document.activeElement);
      old.replaceWith(row);
      if (hadFocus) row.querySelector("[data-row-link]").focus({ preventScroll: true });
    } else {
      if (isNew) row.dataset.new = "";
      body().prepend(row);
      $("[data-live-empty]")?.remove();
    }
    htmx.process(row);
  }
  function flush() {
    [...waiting].sort().forEach(([id, html]) => put(id, html, true));
    waiting.clear();
    const rows = body().querySelectorAll("tr:not(#more)");
    [...rows].slice(MOST_ROWS).forEach((row) => row.remove());
    count();
  }
  // Rows do not jump under the eyes or the keys of whoever is reading.
  const isReading = () => isPaused || document.hidden || $("#calls").parentElement.scrollTop > 40 || scrollY > 200 || !$("#drawer").hidden || body().contains(document.activeElement);
  function count() {
    news.hidden = waiting.size === 0;
    const word = `${waiting.size} new`;
    if (show.textContent !== word) show.textContent = word;
  }
  const source = new EventSource(box.dataset.live);
  source.addEventListener("open", () => say(isPaused ? "off" : "good", isPaused ? "Paused" : "Live"));
  source.addEventListener("error", () => say("warn", source.readyState === EventSource.CLOSED ? "Not connected" : "Connecting"));
  source.addEventListener("over", () => { source.close(); say("off", "Signed out"); });
  source.addEventListener("rows", (event) => {
    const { rows, missed } = JSON.parse(event.data);
    for (const [id, html] of Object.entries(rows)) {
      if (linkOf(id)) put(id, html, false);
      else waiting.set(id, html);
    }
    if (missed) window.aieye.toast("More calls came in than are shown here: load the page again to see all.", "bad");
    if (isReading()) count();
    else flush();
  });
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.lastElementChild.textContent = isPaused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", String(isPaused));
    say(isPaused ? "off" : "good", isPaused ? "Paused" : "Live");
    if (!isPaused) flush();
  });
  show.addEventListener("click", () => {
    flush();
    $("#calls").parentElement.scrollTop = 0;
    scrollTo({ top: 0 });
  });
  addEventListener("pagehide", () => source.close());
})();
