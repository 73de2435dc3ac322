// A text area as an editor, where there are scripts. The text area stays: forms send what it holds.
// It stands in a shadow tree, whose style sheets are made without a <style> that the policy would refuse.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { standardKeymap, history, historyKeymap } from "@codemirror/commands";
import { EditorState } from "@codemirror/state";
import { EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { checker, post } from "./checking.js";
import { bracketByHabit, completer } from "./completing.js";
import { colours } from "./language.js";
import { theme } from "./theme.js";

const FORMAT_KEY = "Shift-Alt-f";
const FIX_KEY = "Mod-.";

async function format(view, address) {
  try {
    const said = await post(address, { source: view.state.doc.toString() });
    if (said.source === undefined) return;
    const { head } = view.state.selection.main;
    view.dispatch({
      changes: { from: 0, to: view.state.doc.length, insert: said.source },
      selection: { anchor: Math.min(head, said.source.length) },
      userEvent: "input.format",
    });
  } catch (error) {
    window.aieye.toast(error.message, "bad");
  }
}

// Where a browser itself types over several lines, it leaves styles in elements that the policy refuses.
const typesOver = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { from, to } = view.state.selection.main;
    if (event.inputType !== "insertText" || event.data === null || view.state.doc.lineAt(from).to >= to) return false;
    event.preventDefault();
    view.dispatch(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
    return true;
  },
});

const onClick = (selector, act) =>
  document.querySelectorAll(selector).forEach((button) => {
    button.onclick = (event) => {
      event.preventDefault();
      act(button);
    };
  });

// The parts of the page beside the text, as the server makes them.
const show = (view) => (said, apply) => {
  for (const [name, html] of Object.entries(said.parts)) {
    const place = document.querySelector(`[data-part="${name}"]`);
    if (place && place.innerHTML !== html) place.innerHTML = html;
  }
  // Why it could not be saved is over with the last error.
  if (!said.diagnostics.some(({ severity }) => severity === "error")) document.querySelector("[data-until-valid]")?.remove();
  onClick("[data-fix]", ({ dataset }) => apply({ from: Number(dataset.from), to: Number(dataset.to), insert: dataset.fix }));
  onClick("[data-goto]", ({ dataset }) => {
    view().dispatch({ selection: { anchor: Number(dataset.goto) }, scrollIntoView: true });
    view().focus();
  });
};

// A form that was refused comes anew: the caret is where it was.
let before = null;

function mount(area) {
  const { form } = area;
  const { check, names, formatted } = area.dataset;
  const host = document.createElement("div");
  host.className = "editor cm-editor";
  area.after(host);
  area.hidden = true;
  const label = document.querySelector(`label[for="${area.id}"]`);
  const root = host.attachShadow({ mode: "open" });
  const checking = checker(check, show(() => view), () => ({ name: form.elements.name?.value ?? "" }));
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: area.value,
      extensions: [
        lineNumbers(), highlightActiveLine(), history(), bracketByHabit, closeBrackets(), colours, theme,
        autocompletion({ override: [completer(names)], icons: false }), checking.extension, EditorView.lineWrapping, typesOver,
        keymap.of([
          { key: FORMAT_KEY, run: (at) => (format(at, formatted), true) },
          { key: FIX_KEY, run: checking.fix },
          ...closeBracketsKeymap, ...completionKeymap, ...standardKeymap, ...historyKeymap,
        ]),
        EditorView.contentAttributes.of({
          "aria-label": label?.textContent ?? "Text", spellcheck: "false", autocorrect: "off", autocapitalize: "off",
        }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) area.value = update.state.doc.toString();
          before = { anchor: update.state.selection.main.head, hadFocus: update.view.hasFocus };
        }),
      ],
    }),
  });
  if (before) {
    view.dispatch({ selection: { anchor: Math.min(before.anchor, view.state.doc.length) } });
    if (before.hadFocus) view.focus();
  }
  label?.addEventListener("click", () => view.focus());
  form.elements.name?.addEventListener("change", () => checking.check(view));
  onClick("[data-format]", () => format(view, formatted));
}

const mountAll = () => document.querySelectorAll("textarea[data-editor]:not([hidden])").forEach(mount);
mountAll();
document.addEventListener("htmx:after:swap", mountAll);
