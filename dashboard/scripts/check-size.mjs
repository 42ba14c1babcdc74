// Fails if the scripts that the first page needs are larger than the budget. Run by `npm run build`.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGET_KIB = 300;
const folder = new URL("../dist/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL(".vite/manifest.json", folder), "utf8"));

/** The files that the browser loads before the first screen: the entry and everything that it imports statically. */
function initialFiles(name, found = new Set()) {
  const chunk = manifest[name];
  if (found.has(chunk.file)) return found;
  found.add(chunk.file);
  for (const imported of chunk.imports ?? []) initialFiles(imported, found);
  return found;
}

const gzipped = (file) => gzipSync(readFileSync(new URL(file, folder))).length / 1024;
const entry = Object.keys(manifest).find((name) => manifest[name].isEntry);
// Each screen is loaded on demand, so the largest one counts too.
const initial = [...initialFiles(entry)].reduce((sum, file) => sum + gzipped(file), 0);
const screens = Object.keys(manifest).filter((name) => manifest[name].isDynamicEntry);
const already = initialFiles(entry);
const extra = (name) =>
  [...initialFiles(name)].filter((file) => !already.has(file)).reduce((sum, file) => sum + gzipped(file), 0);
const largest = screens.reduce((most, name) => Math.max(most, extra(name)), 0);
const total = initial + largest;
const figures = `${total.toFixed(1)} KiB gzipped (${initial.toFixed(1)} shared, ${largest.toFixed(1)} for the largest screen)`;
if (total > BUDGET_KIB) {
  process.stderr.write(`The initial JavaScript is ${figures}; the budget is ${BUDGET_KIB} KiB.\n`);
  process.exit(1);
}
process.stdout.write(`Initial JavaScript: ${figures}; the budget is ${BUDGET_KIB} KiB.\n`);
