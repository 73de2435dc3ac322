// Names that a pipeline may call, and the arguments of what is called: asked of the server, kept while the page is open.
import { EditorView } from "@codemirror/view";

const NAME = /[A-Za-z_]\w*/;
const kept = new Map();

async function ask(address, query) {
  const url = `${address}?${new URLSearchParams(query)}`;
  if (!kept.has(url)) {
    const asked = fetch(url, { headers: { Accept: "application/json" } })
      .then((answer) => (answer.ok ? answer.json() : []))
      .catch(() => []);
    kept.set(url, asked);
  }
  return kept.get(url);
}

// The callee whose arguments the place stands in, strings and comments passed over.
export function calleeAt(text) {
  const open = [];
  const parts = /#[^\n]*|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|([A-Za-z_]\w*)\s*\(|[([{]|[)\]}]/g;
  for (const found of text.matchAll(parts)) {
    if (found[1]) open.push(found[1]);
    else if ("([{".includes(found[0])) open.push(null);
    else if (")]}".includes(found[0])) open.pop();
  }
  return open.at(-1) ?? null;
}

const isInText = (text) => /(^|\n)[^\n"'#]*(?:"(?:[^"\\\n]|\\.)*"[^\n"'#]*|'(?:[^'\\\n]|\\.)*'[^\n"'#]*)*(?:#|"(?:[^"\\\n]|\\.)*|'(?:[^'\\\n]|\\.)*)$/.test(text.slice(text.lastIndexOf("\n") + 1));

// The bracket that a completion brought, until something else is done: it is often typed by habit too.
let brought = null;
export const bracketByHabit = EditorView.inputHandler.of((view, from, to, text) => {
  const isThere = text === "(" && from === to && brought?.doc === view.state.doc && brought.caret === from;
  brought = null;
  return isThere;
});

const callable = (one, boost) => ({
  label: one.name,
  detail: one.signature.slice(one.name.length),
  info: one.about || undefined,
  type: one.kind,
  boost,
  apply: (view, _completion, from, to) => {
    const isCalled = view.state.sliceDoc(to, to + 1) === "(";
    const insert = isCalled ? one.name : `${one.name}()`;
    const caret = from + one.name.length + (one.parameters.length || isCalled ? 1 : 2);
    view.dispatch({ changes: { from, to, insert }, selection: { anchor: caret }, userEvent: "input.complete" });
    brought = { doc: view.state.doc, caret };
  },
});

const argument = (one) => ({
  label: `${one.name}=`,
  detail: [one.type, one.required ? "" : "may be left out"].filter(Boolean).join(", "),
  type: "property",
  boost: 90,
});

export const completer = (address) => async (context) => {
  const before = context.state.sliceDoc(0, context.pos);
  if (isInText(before)) return null;
  const word = context.matchBefore(NAME) ?? { from: context.pos, text: "" };
  if (!word.text && !context.explicit && !/[(,]\s*$/.test(before)) return null;
  const callee = calleeAt(before.slice(0, before.length - word.text.length));
  const [named, called] = await Promise.all([
    word.text || context.explicit ? ask(address, { q: word.text.slice(0, 2) }) : [],
    callee ? ask(address, { name: callee }) : [],
  ]);
  const options = called.flatMap((one) => one.parameters.map(argument)).concat(named.map((one) => callable(one, 0)));
  return options.length ? { from: word.from, options, validFor: /^\w*$/ } : null;
};
