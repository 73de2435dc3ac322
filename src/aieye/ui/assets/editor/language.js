// The pipeline language's words as colours, a line at a time. What they mean is for the server to say.
import { Decoration, MatchDecorator, ViewPlugin } from "@codemirror/view";

const NAME = "[A-Za-z_]\\w*";
const WORDS = {
  comment: "#.*",
  string: `"(?:[^"\\\\]|\\\\.)*"?|'(?:[^'\\\\]|\\\\.)*'?`,
  keyword: `(?<=^\\s*|;\\s*)(?:param|let)(?=\\s+${NAME})|\\b(?:if|try|map|reduce)(?=\\s*\\()`,
  type: `(?<=\\bparam\\s+\\w+\\s*:[\\w\\s,[\\]?]*)\\b[a-z]+\\b`,
  callee: `\\b${NAME}(?=\\s*\\()`,
  argument: `\\b${NAME}(?=\\s*=)(?<!\\b(?:param|let)\\s+\\w*)`,
  value: "\\b(?:true|false|null)\\b|(?<![\\w.])-?\\d[\\w.]*",
  option: "@",
};
const PATTERN = new RegExp(Object.entries(WORDS).map(([word, pattern]) => `(?<${word}>${pattern})`).join("|"), "g");
const COLOURS = Object.fromEntries(Object.keys(WORDS).map((word) => [word, Decoration.mark({ class: `word-${word}` })]));

const decorator = new MatchDecorator({
  regexp: PATTERN,
  decoration: ({ groups }) => COLOURS[Object.keys(groups).find((word) => groups[word] !== undefined)],
});

export const colours = ViewPlugin.define(
  (view) => ({
    words: decorator.createDeco(view),
    update(update) {
      this.words = decorator.updateDeco(update, this.words);
    },
  }),
  { decorations: (plugin) => plugin.words },
);
