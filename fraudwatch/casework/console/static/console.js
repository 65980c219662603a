// Comfort only: every page does all of its work without this file.

const inField = (target) => target.closest("input, textarea, select, dialog[open]") !== null;

const rows = () => [...document.querySelectorAll("[data-row] a[href]")];

function step(by) {
  const links = rows();
  const at = links.indexOf(document.activeElement?.closest("[data-row]")?.querySelector("a[href]"));
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by;
  links[Math.min(Math.max(next, 0), links.length - 1)]?.focus();
}

const KEYS = {
  j: ["Next row", () => step(1)],
  k: ["Row before", () => step(-1)],
  o: ["Open the row", () => document.activeElement?.closest("[data-row]")?.querySelector("a")?.click()],
  n: ["Take the next case", () => press("n")],
  c: ["Claim this case", () => press("c")],
  u: ["Up to the queue", () => press("u")],
  "?": ["Show these keys", () => help.showModal()],
};

function press(key) {
  document.querySelector(`[data-key="${key}"]`)?.click();
}

function element(name, text, ...children) {
  const made = document.createElement(name);
  made.append(...(text ? [text] : []), ...children);
  return made;
}

function helpDialog() {
  const keys = Object.entries(KEYS).flatMap(([key, [text]]) => [
    element("dt", "", element("kbd", key)),
    element("dd", text),
  ]);
  const close = element("button", "Close");
  const form = element("form", "", close);
  form.method = "dialog";
  const title = element("h2", "Keys");
  title.id = "keys";
  const dialog = element("dialog", "", title, element("dl", "", ...keys), form);
  dialog.setAttribute("aria-labelledby", "keys");
  document.body.append(dialog);
  return dialog;
}

const help = helpDialog();

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || inField(event.target)) return;
  const known = KEYS[event.key];
  if (!known) return;
  event.preventDefault();
  known[1]();
});

// The time left of a claim. Said aloud by nothing until it is short.
for (const lease of document.querySelectorAll("[data-lease]")) {
  const end = Date.parse(lease.dateTime);
  const show = () => {
    const left = Math.max(0, Math.floor((end - Date.now()) / 1000));
    lease.textContent = left >= 60 ? `${Math.floor(left / 60)} min` : `${left} s`;
    if (left === 0) {
      lease.textContent = "nothing";
      clearInterval(timer);
    }
  };
  const timer = setInterval(show, 1000);
}

// What was before the person when they acted: since when, and which parts, in order of looks. It
// goes along with their acts, for studies of how people rely on the machine.
const opened = performance.now();
const looks = [];
let since = opened;

function look(part) {
  const now = performance.now();
  const last = looks.at(-1);
  if (last) last.tenths += Math.round((now - since) / 100);
  since = now;
  if (part && last?.part !== part) looks.push({ part, tenths: 0 });
}

const seen = new Map();
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) seen.set(entry.target.dataset.look, entry.intersectionRatio);
  const [part, ratio] = [...seen].reduce((best, each) => (each[1] > best[1] ? each : best));
  if (ratio > 0) look(part);
}, { threshold: [0, 0.25, 0.5, 0.75, 1] });
for (const part of document.querySelectorAll("[data-look]")) watcher.observe(part);

document.addEventListener("submit", ({ target }) => {
  look();
  const fill = (name, text) => {
    const field = target.querySelector(`[data-${name}]`);
    if (field) field.value = text;
  };
  fill("dwell", String(Math.round((performance.now() - opened) / 100)));
  fill("looks", looks.slice(-200).map(({ part, tenths }) => `${part}:${tenths}`).join(" "));
});

document.querySelector("[data-focus]")?.focus();
