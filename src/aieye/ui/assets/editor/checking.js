// What the server finds in a text, as it is typed: marks at their places, fixes, and the parts of the page beside it.
import { StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, ViewPlugin } from "@codemirror/view";

const DELAY_MS = 350;

export async function post(address, fields) {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  Object.assign(headers, JSON.parse(document.body.getAttribute("hx-headers:inherited") ?? "{}"));
  const answer = await fetch(address, { method: "POST", headers, body: JSON.stringify(fields) });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.detail ?? "The server cannot be reached.");
  return said;
}

const found = StateEffect.define();

// The marks move along with what is typed before the next check.
const findings = StateField.define({
  create: () => Decoration.none,
  update(marks, transaction) {
    for (const effect of transaction.effects) if (effect.is(found)) return effect.value;
    return marks.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

const markOf = (one) =>
  Decoration.mark({
    class: `finding finding-${one.severity}`,
    attributes: { title: [`${one.code}: ${one.message}`, one.hint].filter(Boolean).join("\n") },
    finding: one,
  });

const marks = (diagnostics, length) =>
  Decoration.set(
    diagnostics
      .filter((one) => one.from !== null && length > 0)
      .map((one) => {
        // What stands at the end, or is empty, is shown at the character before.
        const from = Math.min(one.from, length - 1);
        return markOf(one).range(from, Math.min(length, Math.max(one.to, from + 1)));
      }),
    true,
  );

// What has changed since the check may have moved a fix's place: then the check comes first.
function apply(view, fix, checked) {
  if (!view.state.doc.eq(checked)) return false;
  const { from, to, insert } = fix;
  view.dispatch({ changes: { from, to, insert }, selection: { anchor: from + insert.length }, userEvent: "input.fix" });
  view.focus();
  return true;
}

class Checker {
  constructor(view, { address, show, fields }) {
    Object.assign(this, { view, address, show, fields, timer: 0, checked: null, diagnostics: [] });
    this.check();
  }

  update(update) {
    if (!update.docChanged) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.check(), DELAY_MS);
  }

  destroy() {
    clearTimeout(this.timer);
  }

  async check() {
    const checked = this.view.state.doc;
    let said;
    try {
      said = await post(this.address, { source: checked.toString(), ...this.fields() });
    } catch {
      return;
    }
    if (!this.view.state.doc.eq(checked)) return;
    this.checked = checked;
    this.diagnostics = said.diagnostics;
    this.view.dispatch({ effects: found.of(marks(said.diagnostics, checked.length)) });
    this.show(said, (fix) => apply(this.view, fix, checked));
  }

  // The first fix of what stands at the caret, else of the first finding that has one.
  fix() {
    const { head } = this.view.state.selection.main;
    const fixable = this.diagnostics.filter((one) => one.fixes.length);
    const one = fixable.find(({ from, to }) => from <= head && head <= to) ?? fixable[0];
    return one ? apply(this.view, one.fixes[0], this.checked) : false;
  }
}

export function checker(address, show, fields) {
  const plugin = ViewPlugin.define((view) => new Checker(view, { address, show, fields }));
  const of = (view) => view.plugin(plugin);
  return { extension: [findings, plugin], check: (view) => of(view).check(), fix: (view) => of(view).fix() };
}
