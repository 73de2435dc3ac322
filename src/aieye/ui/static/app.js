// What pages do with scripts. Without them everything can still be read and sent.
"use strict";
(() => {
  const root = document.documentElement;
  root.dataset.scripts = "";
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
  const YEAR = 31536000;
  const keep = (name, value) => {
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `${name}=${value}; path=/; samesite=lax; max-age=${value ? YEAR : 0}${secure}`;
  };
  const isPhone = () => matchMedia("(max-width: 767px)").matches;
  const isTyping = (element) => element.closest("input, textarea, select, [contenteditable=true], .cm-editor");

  // The server writes times in the browser's zone from the next page on.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.split("; ").includes(`tz=${zone}`)) keep("tz", zone);

  // -- toasts ---------------------------------------------------------------------------------
  const SHOWN_MS = { good: 5000, bad: 12000 };
  function toast(text, kind = "good") {
    const note = document.createElement("p");
    note.className = `toast toast-${kind}`;
    note.textContent = text;
    $("#toasts").append(note);
    expire(note, kind);
  }
  const expire = (note, kind) => setTimeout(() => note.remove(), SHOWN_MS[kind] ?? SHOWN_MS.good);
  // What can be undone stays until it is clicked away.
  $$("#toasts .toast").forEach((note) => $("form", note) || expire(note, note.classList.contains("toast-bad") ? "bad" : "good"));
  document.addEventListener("toast", (event) => toast(event.detail.text, event.detail.kind));
  document.addEventListener("htmx:error", (event) => {
    if (event.detail.error?.name === "TypeError") toast("The server cannot be reached. Try again in a moment.", "bad");
  });

  // -- theme, menu, rail ----------------------------------------------------------------------
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-theme-switch]");
    if (!form || !event.submitter) return;
    event.preventDefault();
    const theme = event.submitter.value;
    keep("theme", theme === "system" ? "" : theme);
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    $("meta[name=color-scheme]").content = theme === "system" ? "light dark" : theme;
    $$("button", form).forEach((button) => button.setAttribute("aria-pressed", String(button === event.submitter)));
  });
  const closeMenus = (except) => $$("details.menu[open]").forEach((menu) => menu !== except && (menu.open = false));
  const rail = (isOpen) => {
    $("#rail")?.toggleAttribute("data-open", isOpen);
    if (isOpen) $("#rail a")?.focus();
    else if (location.hash === "#rail") history.replaceState(history.state, "", location.pathname + location.search);
  };

  // -- copy, and clicks that belong to nobody else ----------------------------------------------
  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.dataset.copied = "";
      toast("Copied.");
      setTimeout(() => delete button.dataset.copied, 1500);
    } catch {
      toast("The browser does not allow copying here: mark the text and copy it.", "bad");
    }
  }
  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    closeMenus(at("details.menu"));
    if (at(".toast") && !at("button")) return at(".toast").remove();
    if (at("[data-copy]")) return copy(at("[data-copy]"));
    const leaving = at("[data-whole-page]");
    if (leaving) {
      // Sent by the browser itself: htmx would take the form's own address and swap a part.
      event.preventDefault();
      leaving.form.action = leaving.formAction;
      sent = leaving.form;
      return leaving.form.submit();
    }
    if (at("[data-keys]")) { closeMenus(); return $("#keys").showModal(); }
    if (at("[data-rail-toggle]")) {
      const isNarrow = root.dataset.rail !== "narrow";
      if (isNarrow) root.dataset.rail = "narrow";
      else delete root.dataset.rail;
      return keep("rail", isNarrow ? "narrow" : "");
    }
    if (at(".bar-menu")) { event.preventDefault(); return rail(true); }
    if (at(".rail-close") || ($("#rail[data-open]") && !at("#rail a"))) {
      if (at(".rail-close")) event.preventDefault();
      return rail(false);
    }
    if (at("[data-close]") && at("dialog[open], #drawer")) {
      event.preventDefault();
      return at("dialog[open]") ? closeDialog() : closeDrawer();
    }
    if (event.target === $("#dialog")) return closeDialog();
    // A click anywhere in a row opens it, unless it marks text or meets something of its own.
    const row = at("tbody tr");
    if (row && !at("a, button, input, select, label, summary") && !String(getSelection())) {
      const link = $("[data-row-link]", row);
      if (link) { focusRow(row); link.click(); }
    }
  });

  // -- what was written and not saved ---------------------------------------------------------------
  // A form that was refused comes back as another one, and holds what was typed as if it were stored.
  const work = () => $("form[data-unsaved]");
  const first = work();
  let sent = null;
  function differs(one) {
    if (one.type === "checkbox" || one.type === "radio") return one.checked !== one.defaultChecked;
    if (one.tagName === "SELECT") return one.selectedIndex !== Math.max(0, [...one.options].findIndex((option) => option.defaultSelected));
    return one.type !== "hidden" && "defaultValue" in one && one.value !== one.defaultValue;
  }
  if (first) {
    addEventListener("beforeunload", (event) => {
      const form = work();
      if (form && form !== sent && (form !== first || [...form.elements].some(differs))) event.preventDefault();
    });
    document.addEventListener("submit", ({ target: form }) => { if (form === work()) sent = form; });
    document.addEventListener("htmx:error", () => { sent = null; });
  }

  // -- the focus stays where the person was -----------------------------------------------------
  const FOCUSABLE = "a[href], button:not(:disabled, [tabindex='-1']), input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  // Buttons of one form share a name, and differ in their value.
  const sign = (one) => `${one.tagName} ${one.id || (one.name && one.name + (one.tagName === "BUTTON" ? one.value : "")) || one.getAttribute("aria-label") || one.textContent.trim()}`;
  // What puts the focus back once `into`, in which it is, was replaced: to what is called alike there,
  // of a form to what is wrong, and behind "Load more" to the first that came.
  function keepFocus(into) {
    const at = document.activeElement;
    // An event of a stream names its target by a selector, and what it brings takes no focus away.
    if (!(into instanceof Element && into.contains(at))) return () => {};
    const [said, isMore, before, parent] = [sign(at), at.closest(".more"), into.previousElementSibling, into.parentElement];
    return () => {
      if (document.activeElement !== document.body) return;
      const place = into.isConnected ? into : before ? before.nextElementSibling : parent.firstElementChild;
      if (!place) return;
      const all = $$(FOCUSABLE, place);
      const wrong = isMore ? null : $("[aria-invalid=true]", place);
      const alike = isMore ? $("[data-row-link]", place) : (wrong ?? all.find((one) => sign(one) === said));
      (alike ?? all[0])?.focus({ preventScroll: true });
      // What is wrong is shown, wherever in a long form it is; of the form as a whole that stands above.
      if (wrong) wrong.scrollIntoView({ block: "nearest" });
      else $(".form-error", place)?.scrollIntoView({ block: "center" });
    };
  }
  const refocus = new WeakMap();
  document.addEventListener("htmx:before:swap", ({ detail: { ctx } }) => ctx && refocus.set(ctx, keepFocus(ctx.target)));

  // -- drawer and dialog ------------------------------------------------------------------------
  let cameFrom = null;
  const drawer = () => $("#drawer");
  const isOpen = () => drawer() && !drawer().hidden;
  function closeDrawer() {
    if (!isOpen()) return;
    coming?.request.abort();
    drawer().hidden = true;
    drawer().replaceChildren();
    if (cameFrom) {
      if (location.href !== cameFrom.url) history.pushState({ htmx: true }, "", cameFrom.url);
      document.title = cameFrom.title;
      (cameFrom.element?.isConnected ? cameFrom.element : $("tr[data-focused] [data-row-link]"))?.focus();
    }
    cameFrom = null;
  }
  function closeDialog() {
    $("#dialog").close();
    $("#dialog").replaceChildren();
  }
  const target = (event) => event.detail.ctx?.target;
  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.target?.id !== "drawer") return;
    if (isPhone()) {
      event.preventDefault();
      location.href = ctx.request.action;
    } else if (!isOpen()) {
      cameFrom = { url: location.href, title: document.title, element: ctx.sourceElement };
    } else if (cameFrom) {
      cameFrom.element = ctx.sourceElement;
    }
  });
  // What takes longer than a moment shows the shape of what comes; of two, the later one comes.
  const SKELETON_AFTER_MS = 300;
  let coming = null;
  function showSkeleton(into) {
    const wasOpen = isOpen();
    const focusAgain = keepFocus(into);
    into.replaceChildren($("#drawer-waits").content.cloneNode(true));
    into.hidden = false;
    if (wasOpen) focusAgain();
    else $(".drawer-close", into).focus({ preventScroll: true });
  }
  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.target?.id !== "drawer") return;
    if (coming !== ctx) coming?.request.abort();
    coming = ctx;
    setTimeout(() => coming === ctx && ctx.status === "issuing" && showSkeleton(ctx.target), SKELETON_AFTER_MS);
  });
  document.addEventListener("htmx:error", (event) => {
    if (event.detail.ctx && event.detail.ctx === coming) closeDrawer();
  });
  // Any other part is covered where it stands. What asks for itself now and then is nobody's wait.
  const waits = (into, is) => { into.toggleAttribute("data-waits", is); into.ariaBusy = is ? "true" : null; };
  // By then an answer may have named another target, as a text.
  const covered = new WeakMap();
  document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
    const into = ctx.target;
    if (!into?.checkVisibility() || into.id === "drawer" || into === ctx.sourceElement || ctx.request.method !== "GET") return;
    covered.set(ctx, into);
    setTimeout(() => ctx.status === "issuing" && waits(into, true), SKELETON_AFTER_MS);
  });
  document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => covered.has(ctx) && waits(covered.get(ctx), false));
  // The form of a run stays where it is: what was wrong with what it sent before is over.
  document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
    const form = ctx.sourceElement?.closest?.("#run-form");
    if (!form) return;
    $$("[role=alert]", form).forEach((one) => one.remove());
    $$("[aria-invalid]", form).forEach((one) => { one.ariaInvalid = null; one.removeAttribute("aria-describedby"); });
  });
  document.addEventListener("htmx:after:swap", (event) => {
    const into = target(event);
    if (into?.id === "drawer") {
      const wasOpen = isOpen();
      into.hidden = false;
      into.scrollTop = 0;
      coming = null;
      const name = $(".drawer-head h2", into)?.textContent;
      if (name) document.title = `${name} · AI-Eye`;
      const row = cameFrom?.element?.closest?.("tr");
      if (row) focusRow(row);
      if (!wasOpen) ($("[autofocus], .drawer-close", into) ?? into).focus?.({ preventScroll: true });
    }
    if (into?.id === "dialog" && !into.open) into.showModal();
    refocus.get(event.detail.ctx)?.();
    ready(document);
  });

  // -- rows by key ------------------------------------------------------------------------------
  const rows = () => $$("main tbody tr").filter((row) => $("[data-row-link]", row) && !row.closest("[hidden]"));
  function focusRow(row) {
    $$("tr[data-focused]").forEach((other) => delete other.dataset.focused);
    row.dataset.focused = "";
    row.scrollIntoView({ block: "nearest" });
  }
  function step(by) {
    const all = rows();
    if (!all.length) return;
    const now = all.findIndex((row) => "focused" in row.dataset);
    const next = all[Math.min(all.length - 1, Math.max(0, now < 0 ? 0 : now + by))];
    focusRow(next);
    const link = $("[data-row-link]", next);
    if (isOpen()) link.click();
    else link.focus({ preventScroll: true });
  }
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if ($("dialog[open]")) { if ($("#dialog[open]")) { event.preventDefault(); closeDialog(); } return; }
      if ($("details.menu[open]")) {
        const menu = $("details.menu[open]");
        closeMenus();
        return $("summary", menu).focus();
      }
      if ($("#rail[data-open]")) return rail(false);
      if (!isTyping(event.target) || drawer()?.contains(event.target)) return closeDrawer();
      return event.target.blur();
    }
    if (event.ctrlKey || event.metaKey || event.altKey) {
      if (event.key.toLowerCase() === "k" && window.aieye.search) { event.preventDefault(); window.aieye.search(); }
      return;
    }
    if (isTyping(event.target) || $("dialog[open]")) return;
    const second = going && Date.now() - going < 1200;
    going = 0;
    if (second && event.key === "o") return void (location.href = "/");
    if (second && event.key === "c") return void (location.href = "/calls");
    if (event.key === "g") going = Date.now();
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "Enter" && event.target === document.body) $("tr[data-focused] [data-row-link]")?.click();
    else if (event.key === "?") $("#keys")?.showModal();
    else if (event.key === "/" && window.aieye.search) { event.preventDefault(); window.aieye.search(); }
  });

  // -- charts: a cross-hair with all values at that moment ----------------------------------------
  function readout(plot, points, x) {
    const count = points.labels.length;
    const i = Math.min(count - 1, Math.max(0, Math.floor(x * count)));
    const tip = $(".chart-tip", plot);
    const line = $(".cross", plot);
    const at = ((i + 0.5) / count) * 960;
    line.setAttribute("x1", at);
    line.setAttribute("x2", at);
    const head = document.createElement("strong");
    head.textContent = points.labels[i];
    const parts = points.series.filter((one) => one.text[i] !== "0" && one.text[i] !== "$0.00").map((one) => [one.name, one.c, one.text[i]]);
    if (points.total && parts.length > 1) parts.push(["Total", null, points.total[i]]);
    const entries = (parts.length ? parts : [["Nothing", null, ""]]).map(([name, c, text]) => {
      const entry = document.createElement("span");
      const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      swatch.setAttribute("class", c === null ? "swatch" : `swatch c${c}`);
      swatch.setAttribute("viewBox", "0 0 8 8");
      if (c !== null) swatch.append(document.createElementNS("http://www.w3.org/2000/svg", "rect"));
      swatch.firstChild?.setAttribute("width", 8);
      swatch.firstChild?.setAttribute("height", 8);
      const [word, value] = [document.createElement("span"), document.createElement("b")];
      word.textContent = name;
      value.textContent = text;
      entry.append(swatch, word, value);
      return entry;
    });
    tip.replaceChildren(head, ...entries);
    tip.hidden = false;
    const width = plot.clientWidth;
    const left = (at / 960) * width;
    tip.style.left = left > width / 2 ? "" : `${left + 12}px`;
    tip.style.right = left > width / 2 ? `${width - left + 12}px` : "";
  }
  function points(svg) {
    const found = JSON.parse(svg.dataset.points);
    found.labels = found.labels.split("|");
    found.series.forEach((one) => (one.text = one.text.split("|")));
    found.total = found.total?.split("|");
    return found;
  }
  document.addEventListener("pointermove", (event) => {
    const plot = event.target.closest?.(".chart-plot");
    $$(".chart-tip:not([hidden])").forEach((tip) => {
      if (tip.parentElement === plot) return;
      tip.hidden = true;
      $(".cross", tip.parentElement).setAttribute("x1", -9);
      $(".cross", tip.parentElement).setAttribute("x2", -9);
    });
    const svg = plot && $("svg[data-points]", plot);
    if (!svg) return;
    svg.points ??= points(svg);
    const box = svg.getBoundingClientRect();
    readout(plot, svg.points, (event.clientX - box.left) / box.width);
  });

  // -- what is made ready in each page and fragment -----------------------------------------------
  function ready(part) {
    // An act that asks for a word waits for it.
    $$("[data-confirm]", part).forEach((input) => {
      const button = $("button", input.form);
      const check = () => (button.disabled = input.value !== input.dataset.confirm);
      if (!input.watched) input.addEventListener("input", check);
      input.watched = true;
      check();
    });
  }
  ready(document);
  // htmx takes the page in a timer of its own, after which keys could have been pressed for a while.
  document.addEventListener("DOMContentLoaded", () => window.htmx?.process(document.body));

  window.aieye = { toast, closeDrawer };
})();
