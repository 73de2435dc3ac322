// The playground: each column asked on its own, its answer written as it comes; columns and messages
// come and go in place. Without this the form is sent, and the page comes with the whole answers.
"use strict";
(() => {
  const form = document.getElementById("play");
  if (!form || !window.fetch || !window.AbortController) return;
  const $ = (selector, from = form) => from.querySelector(selector);
  const $$ = (selector, from = form) => [...from.querySelectorAll(selector)];
  const OWN = ["model", "temperature", "max_tokens", "params"];
  const MOST_COLUMNS = 3;
  const MOST_MESSAGES = 200;
  const columns = () => $$("[data-column]");
  const messages = () => $$("[data-message]");
  const running = new Map();
  let made = 1000;

  // -- asking ---------------------------------------------------------------------------------
  function bodyOf(column) {
    const body = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (!OWN.includes(name) && !["act", "answer"].includes(name)) body.append(name, value);
    OWN.forEach((name) => body.append(name, $(`[name=${name}]`, column).value));
    return body;
  }
  function show(column, html) {
    const part = document.createElement("template");
    part.innerHTML = html;
    $("[data-outcome]", column).replaceChildren(part.content);
    const more = $("[data-continue]", column);
    if (more) more.hidden = !$("[data-continues]", column);
    const wrong = $("[data-wrong]", column);
    if (!wrong) return;
    // What is wrong with a field is told under it.
    const field = $(`[name=${wrong.dataset.wrong}]`, column);
    wrong.id = `${field.id}-error`;
    field.after(wrong);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", wrong.id);
    const folded = field.closest("details");
    if (folded) folded.open = true;
    field.focus();
  }
  function forgive(column) {
    $$("[data-wrong]", column).forEach((one) => one.remove());
    $$("[aria-invalid]", column).forEach((one) => ["aria-invalid", "aria-describedby"].forEach((name) => one.removeAttribute(name)));
  }
  function fail(column, text, call) {
    const note = document.createElement("p");
    note.className = call ? "note dot dot-off" : "form-error dot dot-bad";
    if (!call) note.setAttribute("role", "alert");
    const words = document.createElement("span");
    words.textContent = text;
    note.append(words);
    if (call) {
      const link = document.createElement("a");
      link.href = `/calls/${call}`;
      link.textContent = "The call";
      words.append(" ", link);
    }
    $("[data-outcome]", column).replaceChildren(note);
  }
  // The form is sent with the answers that are shown: a change of mode brings them back.
  function keep(column) {
    $("[name=answer]", column).value = $("[data-answer]", column).textContent;
  }
  // What is done with an answer waits for one.
  function hideActs(column) {
    $$("[data-copy-answer], [data-continue]", column).forEach((button) => (button.hidden = true));
  }
  async function* eventsOf(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        const found = /^event: (.*)\ndata: (.*)$/.exec(frame);
        if (found) yield [found[1], JSON.parse(found[2])];
      }
    }
  }
  async function run(column) {
    running.get(column)?.abort();
    const stop = new AbortController();
    running.set(column, stop);
    const answer = $("[data-answer]", column);
    forgive(column);
    answer.replaceChildren();
    keep(column);
    answer.setAttribute("aria-busy", "true");
    column.dataset.running = "";
    $("[data-outcome]", column).replaceChildren();
    hideActs(column);
    state();
    let call = "";
    let isOver = false;
    try {
      const response = await fetch("/playground/stream", { method: "POST", body: bodyOf(column), signal: stop.signal, headers: { Accept: "text/html" } });
      const kind = response.headers.get("content-type") ?? "";
      if (response.redirected) fail(column, "You are signed out: load the page again.");
      else if (response.status === 422 && kind.startsWith("text/html")) show(column, await response.text());
      else if (!kind.startsWith("text/event-stream")) fail(column, `The server answered ${response.status}. Try again.`);
      else {
        for await (const [name, data] of eventsOf(response)) {
          if (name === "begin") call = data;
          else if (name === "text") answer.append(data);
          else if (name === "end") {
            isOver = true;
            show(column, data);
          }
        }
        if (!isOver) fail(column, "The connection broke off.", call);
      }
    } catch (error) {
      if (stop.signal.aborted) fail(column, "Stopped: what came until then is paid.", call);
      else if (call) fail(column, "The connection broke off.", call);
      else fail(column, "The server cannot be reached. Try again in a moment.");
    } finally {
      if (running.get(column) === stop) {
        running.delete(column);
        delete column.dataset.running;
        answer.setAttribute("aria-busy", "false");
        keep(column);
        $("[data-copy-answer]", column).hidden = !answer.textContent;
      }
      state();
    }
  }
  function runAll(some = columns()) {
    if (!form.reportValidity()) return;
    remember();
    const empty = $$("[name^='value.']").filter((field) => !field.value.trim()).map((field) => field.name.slice("value.".length));
    $("[data-empty]").textContent = empty.length ? `Asked with nothing for ${empty.join(", ")}.` : "";
    some.forEach(run);
  }
  function stopAll() {
    running.forEach((stop) => stop.abort());
  }

  // -- columns and messages ---------------------------------------------------------------------
  function state() {
    const all = columns();
    form.dataset.columns = all.length;
    $("[data-run] span").textContent = all.length === 1 ? "Run" : "Run all";
    $("[data-stop]").hidden = running.size === 0;
    $("[data-add]").hidden = all.length >= MOST_COLUMNS;
    const said = messages();
    [[all, "column"], [said, "message"]].forEach(([rows]) => rows.forEach((row, at) => {
      $$("[data-indexed]", row).forEach((button) => {
        button.value = `${button.dataset.indexed}:${at}`;
        if (button.dataset.indexed.startsWith("remove")) button.disabled = rows.length === 1;
      });
    }));
    all.forEach((column, at) => {
      column.setAttribute("aria-label", `Column ${at + 1}`);
      $("[data-answer]", column).setAttribute("aria-label", `Answer ${at + 1}`);
      const [temperature, most] = ["temperature", "max_tokens"].map((name) => $(`[name=${name}]`, column).value.trim());
      $("[data-said]", column).textContent = [temperature && `temperature ${temperature}`, most && `${most} tokens`].filter(Boolean).join(", ");
    });
    said.forEach((row, at) => {
      $("select", row).setAttribute("aria-label", `Role of message ${at + 1}`);
      $("textarea", row).setAttribute("aria-label", `Message ${at + 1}`);
      $("button", row).setAttribute("aria-label", `Take message ${at + 1} out`);
    });
  }
  function addColumn() {
    const last = columns().at(-1);
    const copy = last.cloneNode(true);
    made += 1;
    $$("[id]", copy).forEach((part) => (part.id = part.id.replace(/\d+$/, made)));
    $$("label[for]", copy).forEach((label) => (label.htmlFor = label.htmlFor.replace(/\d+$/, made)));
    // A copy has what was typed only where it is in the markup.
    OWN.forEach((name) => ($(`[name=${name}]`, copy).value = $(`[name=${name}]`, last).value));
    delete copy.dataset.running;
    forgive(copy);
    $("[data-answer]", copy).replaceChildren();
    keep(copy);
    $("[data-outcome]", copy).replaceChildren();
    hideActs(copy);
    last.after(copy);
    state();
    $("[name=model]", copy).select();
  }
  function removeColumn(column) {
    running.get(column)?.abort();
    running.delete(column);
    column.remove();
    state();
    $("[data-run]").focus();
  }
  function addMessage() {
    if (messages().length >= MOST_MESSAGES) return;
    append($("select", messages().at(-1)).value === "user" ? "assistant" : "user", "");
    $("textarea", messages().at(-1)).focus();
  }
  function append(role, text) {
    const row = $("#message-template").content.cloneNode(true);
    $("select", row).value = role;
    $("textarea", row).value = text;
    $("[data-messages]").append(row);
    state();
  }
  // The answer becomes a message, and the next one is the person's.
  function goOn(column) {
    if (messages().length > MOST_MESSAGES - 2) return;
    append("assistant", $("[data-answer]", column).textContent);
    append("user", "");
    $("textarea", messages().at(-1)).focus();
  }

  // Models and where it began fit into the address; texts do not belong there.
  function remember() {
    const query = new URLSearchParams(location.search);
    query.delete("model");
    const models = columns().map((column) => $("[name=model]", column).value.trim());
    models.forEach((model) => query.append("model", model));
    if (location.pathname === "/playground") history.replaceState(history.state, "", `/playground?${query}`);
  }

  form.addEventListener("submit", (event) => {
    const button = event.submitter;
    const act = button?.name === "act" ? button.value : "run";
    if (button?.hasAttribute("formaction") || act.startsWith("mode:")) return;
    event.preventDefault();
    if (act === "run") runAll();
    else if (act.startsWith("run:")) runAll([button.closest("[data-column]")]);
    else if (act.startsWith("continue:")) goOn(button.closest("[data-column]"));
    else if (act === "add") addColumn();
    else if (act === "add-message") addMessage();
    else if (act.startsWith("remove-message")) {
      button.closest("[data-message]").remove();
      state();
      $("textarea", messages().at(-1)).focus();
    } else removeColumn(button.closest("[data-column]"));
  });
  form.addEventListener("click", (event) => {
    if (event.target.closest("[data-stop]")) stopAll();
    const copy = event.target.closest("[data-copy-answer]");
    if (copy) {
      const text = $("[data-answer]", copy.closest("[data-column]")).textContent;
      navigator.clipboard.writeText(text).then(
        () => window.aieye.toast("Copied."),
        () => window.aieye.toast("The browser does not allow copying here: mark the text and copy it.", "bad"),
      );
    }
  });
  form.addEventListener("input", (event) => {
    if (event.target.closest("[data-column]")) state();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      runAll();
    }
  });
  addEventListener("pagehide", stopAll);
  state();
})();
