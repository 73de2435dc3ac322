// The search that opens over every page: keys alone suffice, and what is chosen is a link.
"use strict";
(() => {
  const dialog = document.querySelector("#palette");
  if (!dialog) return;
  const input = dialog.querySelector("input");
  const hits = () => [...dialog.querySelectorAll("[role=option]")];
  const active = () => dialog.querySelector("[role=option][aria-selected=true]");
  // What the list was asked for: while the next one is on its way, it is not yet what is typed.
  const asked = () => dialog.querySelector("#found").dataset.asked;

  function choose(hit) {
    active()?.setAttribute("aria-selected", "false");
    hit?.setAttribute("aria-selected", "true");
    hit?.scrollIntoView({ block: "nearest" });
    if (hit) input.setAttribute("aria-activedescendant", hit.id);
    else input.removeAttribute("aria-activedescendant");
  }
  function step(by) {
    const all = hits();
    if (!all.length) return;
    const now = all.indexOf(active());
    choose(all[(now + by + all.length) % all.length]);
  }
  function open() {
    if (dialog.open) return input.select();
    if (document.querySelector("dialog[open]")) return;
    dialog.showModal();
    input.select();
    input.dispatchEvent(new Event("open-search"));
  }

  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      step(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter" && active() && asked() === input.value) {
      // Before that, and where nothing is chosen, the form leads to the page of the search.
      event.preventDefault();
      location.href = active().href;
    } else if (event.key === "Escape") {
      // A field of this type would only be emptied by it.
      event.preventDefault();
      dialog.close();
    }
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("pointermove", (event) => {
    const hit = event.target.closest("[role=option]");
    if (hit && hit !== active()) choose(hit);
  });
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx?.target?.id === "found") choose(asked()?.trim() ? hits()[0] : undefined);
  });
  document.querySelector("#search")?.addEventListener("click", (event) => {
    event.preventDefault();
    open();
  });
  window.aieye.search = open;
})();
