// Builds what browsers are given: the style sheet, the icons, and the libraries copied from their
// packages with where they are from. Run by `make assets`.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const here = new URL(".", import.meta.url).pathname;
const to = `${here}../static/`;
const packages = `${here}node_modules/`;
const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");
const about = (name) => JSON.parse(readFileSync(`${packages}${name}/package.json`, "utf8"));

const copied = [
  ["htmx.org", "dist/htmx.min.js", "htmx.min.js"],
  ["htmx.org", "dist/ext/hx-sse.min.js", "hx-sse.min.js"],
];
const vendored = copied.map(([name, from, file]) => {
  // Without the note that leads to a map which is not there.
  const text = readFileSync(`${packages}${name}/${from}`, "utf8").replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n");
  writeFileSync(`${to}${file}`, text);
  return { file, package: name, version: about(name).version, licence: about(name).license, sha256: sha256(`${to}${file}`) };
});

// The editor, of which the packages that are in it each have their line.
const bundle = await build({
  absWorkingDir: here, entryPoints: ["editor/index.js"], outfile: "../static/editor.js", bundle: true, minify: true, format: "iife",
  target: "es2022", legalComments: "none", metafile: true, logLevel: "warning",
  alias: { "@codemirror/language": "./editor/no_trees.js" },
});
const taken = Object.keys(bundle.metafile.inputs).map((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]).filter(Boolean);
for (const name of [...new Set(taken)].sort()) {
  vendored.push({ file: "editor.js", package: name, version: about(name).version, licence: about(name).license, sha256: sha256(`${to}editor.js`) });
}

const names = readFileSync(`${here}icons.txt`, "utf8").split("\n").filter(Boolean).sort();
const symbols = names.map((name) => {
  const svg = readFileSync(`${packages}lucide-static/icons/${name}.svg`, "utf8");
  const inner = svg.replace(/<!--.*?-->/gs, "").replace(/<svg[^>]*>|<\/svg>/g, "").replace(/\s+/g, " ").replace(/> </g, "><").trim();
  return `<symbol id="${name}" viewBox="0 0 24 24">${inner}</symbol>`;
});
writeFileSync(`${to}icons.svg`, `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`);
vendored.push({ file: "icons.svg", package: "lucide-static", version: about("lucide-static").version, licence: about("lucide-static").license, sha256: sha256(`${to}icons.svg`) });

execFileSync(`${packages}.bin/tailwindcss`, ["--input", `${here}input.css`, "--output", `${to}app.css`], { stdio: "inherit" });
const made = ["tailwindcss", "daisyui"].map((name) => ({ package: name, version: about(name).version, licence: about(name).license, in: "app.css" }));
writeFileSync(`${to}vendored.json`, JSON.stringify({ files: vendored, compiled: made }, null, 2) + "\n");

const notices = [...new Set([...vendored, ...made].map((one) => one.package))].map(
  (name) => `${name} ${about(name).version} (${about(name).license})\n\n${readFileSync(`${packages}${name}/LICENSE`, "utf8").trim()}\n`,
);
writeFileSync(`${to}LICENSES.txt`, notices.join(`\n${"-".repeat(80)}\n\n`));
