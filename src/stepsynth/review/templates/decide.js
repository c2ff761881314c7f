"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const list = document.getElementById("list"), filters = document.getElementById("filters");
const help = document.getElementById("help"), said = document.getElementById("said");
const place = { view: "errors", error: "", from: 0, before: [], next: null };
let cards = [];  // what j and k go through, in order: {item, node}
let at = 0, loads = 0;

// Texts are shown as text: no markup is ever made of them.
function make(tag, name, ...inner) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...inner.filter((each) => each !== null && each !== undefined));
  return node;
}
function button(name, key, act) {
  const node = make("button", "", name, key ? make("kbd", "", key) : null);
  node.type = "button";
  node.addEventListener("click", (event) => { event.stopPropagation(); attempt(act); });
  return node;
}
function say(message, isBad = false) {
  said.textContent = message;
  said.className = isBad ? "bad" : "";
}
async function attempt(act) {
  try { await act(); } catch (error) { say(error.message, true); }
}

// Asking the server ---------------------------------------------------------------------------

async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const answer = await fetch(path, options).catch(() => { throw new Error("no answer: is the command still running?"); });
  const found = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(found.error), { status: answer.status });
  return found;
}

// A decision waits in the browser until it is on disk. It is sent again with the same id: the
// server takes it once. Whoever opens the page next at this address sends what was left.
const PREFIX = `stepsynth review ${JSON.stringify(facts.run)} `;  // "run" begins "run 2", too
const waiting = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)).sort();
// Ids of this page's decisions: what another reviewer decides meanwhile is not ours to undo.
const own = [];
let isSending = false;

function enqueue(path, body) {
  const id = `${Date.now().toString(36)}-${crypto.randomUUID()}`;
  const key = `${PREFIX}${id}`;
  try { localStorage.setItem(key, JSON.stringify([path, { ...body, id }])); }
  catch { throw new Error("not taken: the browser has no room for more that waits to be saved"); }
  waiting.push(key);
  if (path === "decide") own.push(id);
  send();
}
function undo() {
  const undoes = own.at(-1);
  enqueue("undo", undoes ? { undoes } : {});
  own.pop();
}
async function send() {
  if (isSending) return;
  isSending = true;
  while (waiting.length) {
    const kept = localStorage.getItem(waiting[0]);
    if (kept === null) { waiting.shift(); continue; }  // another tab has sent it
    const [path, body] = JSON.parse(kept);
    try {
      const found = await ask(path, body);
      update(found, path === "undo");
      say(path === "undo" ? "undone" : "saved");
    } catch (error) {
      if (![400, 409, 413].includes(error.status)) {
        say(`${waiting.length} not saved yet: ${error.message}`, true);
        setTimeout(() => { isSending = false; send(); }, 1500);
        return;
      }
      say(error.message, true);
      if (own.includes(body.id)) own.splice(own.indexOf(body.id), 1);
      for (const node of document.querySelectorAll(".saving")) node.classList.remove("saving");
    }
    localStorage.removeItem(waiting.shift());
  }
  isSending = false;
}

// Drawing --------------------------------------------------------------------------------------

function textOf(item, shown) {
  const node = make("div", "text", shown.text);
  node.dir = "auto";
  if (!shown.more) return node;
  const more = button(`… more (${shown.more.toLocaleString("en")} characters)`, "", async () => {
    node.replaceChildren((await ask(`text?${new URLSearchParams({ data: item.data, row: item.row })}`)).text);
  });
  more.className = "link";
  node.append(more);
  return node;
}
function plain(shown, name = "text") {
  const node = make("div", name, shown.text + (shown.more ? ` … (${shown.more.toLocaleString("en")} characters)` : ""));
  node.dir = "auto";
  return node;
}
function actions(item) {
  const node = make("div", "actions");
  const isGold = item.data === "gold";
  if (facts.labels.length <= 9) {
    facts.labels.forEach((label, i) => {
      const each = button(label, String(i + 1), () => decide("relabel", { label }));
      if (label === item.label) each.className = "on";
      node.append(each);
    });
  } else {
    const chosen = make("select", "", ...facts.labels.map((label, i) => new Option(i < 9 ? `${label}  ${i + 1}` : label, label, false, label === item.label)));
    chosen.setAttribute("aria-label", "label");
    chosen.addEventListener("change", () => { chosen.blur(); attempt(() => decide("relabel", { label: chosen.value })); });
    node.append(chosen);
  }
  node.append(button(isGold ? "label is right" : "keep", "a", () => decide("keep")));
  node.append(button(isGold ? "leave out" : "reject", "r", () => decide("reject")));
  if (!isGold) node.append(button("edit", "e", edit));
  if (!isGold && item.errors.length) node.append(button("same for this error", "s", same));
  return node;
}
function card(item) {
  const isGold = item.data === "gold";
  const node = make("article", `item ${item.state}`);
  node.tabIndex = -1;
  const meta = make("div", "meta", make("span", "label", item.label));
  if (isGold) {
    meta.append(" taken for ", make("span", "label wrong", item.predicted), ` in round ${item.round} `);
    if (item.is_fixed !== null) {
      meta.append(make("span", `label ${item.is_fixed ? "right" : "wrong"}`, `${item.is_fixed ? "right in" : "still wrong in"} round ${item.round + 1}`));
    }
  } else {
    meta.append(` ${item.kind}, round ${item.round}${item.copies > 1 ? `, ${item.copies} times` : ""}`);
  }
  if (item.state !== "undecided") meta.append(" · ", make("b", "", item.state));
  if (item.why) meta.append(`: ${item.why}`);
  node.append(meta, textOf(item, item));
  if (item.context) node.append(make("div", "was", "for: ", plain(item.context)));
  if (item.was) node.append(make("div", "was", "was ", make("span", "label", item.was.label), item.state === "edited" ? plain(item.was) : null));
  node.append(actions(item));
  node.addEventListener("click", () => { const i = cards.findIndex((each) => each.node === node); if (i >= 0) go(i, false); });
  return node;
}
function add(item, into) {
  const node = card(item);
  cards.push({ item, node });
  into.append(node);
}
function draw(found) {
  cards = [];
  const nodes = found.items.map((item) => {
    if (item.data === "synthetic") { const one = make("div"); add(item, one); return one; }
    const group = make("section", "error"), left = make("div"), right = make("div");
    add(item, left);
    for (const row of item.rows) add(row, right);
    for (const each of item.unused) right.append(make("div", "unused", make("div", "meta", `not used: ${each.reason}`), plain(each)));
    if (item.more_rows) {
      const more = button(`${item.more_rows} more rows of this error`, "", () => { show({ view: "rows", error: item.row }); });
      more.className = "link";
      right.append(more);
    }
    if (!right.childNodes.length) right.append(make("div", "soft", "nothing was written for it"));
    group.append(left, right);
    return group;
  });
  list.replaceChildren(...(nodes.length ? nodes : [make("p", "empty soft", "Nothing here that these filters let through.")]));
}
function count(counts) {
  const named = ["undecided", "edited", "relabelled", "rejected", "approved"].map((name) => `${counts[name].toLocaleString("en")} ${name}`);
  if (counts.gold) named.push(`${counts.gold.toLocaleString("en")} gold rows decided`);
  document.getElementById("counts").textContent = named.join(" · ");
}
function update(found, isUndo) {
  count(found.counts);
  let first = null;
  for (const item of found.items) {
    cards.forEach((each, i) => {
      if (each.item.data !== item.data || each.item.row !== item.row) return;
      if (item.data === "gold" && each.item.round !== item.round) return;
      const node = card(item);
      const editor = each.node.querySelector(".editor"), written = document.activeElement;
      const isWritten = editor !== null && editor.contains(written);
      each.node.replaceWith(node);
      if (editor) node.append(editor);  // somebody is at it, and the next keys are meant for it
      if (isWritten) written.focus();
      cards[i] = { item, node };
      if (first === null) first = i;
    });
  }
  if (isUndo && first !== null) go(first);
  else mark();
}

// Moving ---------------------------------------------------------------------------------------

function mark() {
  cards.forEach(({ node }, i) => node.classList.toggle("at", i === at));
}
async function go(to, scrolls = true) {
  if (to < 0) return turn(-1, true);
  if (to >= cards.length) { if (place.next === null) say("this is the last row"); return turn(1); }
  at = to;
  mark();
  if (!scrolls) return;
  cards[at].node.focus({ preventScroll: true });
  cards[at].node.scrollIntoView({ block: "nearest" });
}
async function load(isAtEnd = false) {
  const given = new FormData(filters);
  const query = new URLSearchParams({ view: place.view, from: place.from, error: place.error });
  for (const name of ["label", "round", "state", "text"]) if (given.get(name)) query.set(name, given.get(name));
  const load = ++loads;
  let found;
  try { found = await ask(`rows?${query}`); } catch (error) { say(error.message, true); return; }
  if (load !== loads) return;  // another page was asked for meanwhile
  place.next = found.next;
  draw(found);
  count(found.counts);
  const last = found.before + found.items.length;
  document.getElementById("place").textContent = found.total ? `${(found.before + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ${found.total.toLocaleString("en")} ${place.view}${place.error ? " of one error" : ""}` : "";
  document.getElementById("previous").disabled = !place.before.length;
  document.getElementById("next").disabled = place.next === null;
  for (const tab of document.querySelectorAll("[data-view]")) tab.setAttribute("aria-selected", tab.dataset.view === place.view);
  window.scrollTo(0, 0);
  at = 0;
  if (cards.length) await go(isAtEnd ? cards.length - 1 : 0, isAtEnd);
}
async function show(changes) {
  Object.assign(place, { error: "", from: 0, before: [] }, changes);
  await load();
}
async function turn(step, isAtEnd = false) {
  if (step > 0 && place.next !== null) { place.before.push(place.from); place.from = place.next; await load(); }
  if (step < 0 && place.before.length) { place.from = place.before.pop(); await load(isAtEnd); }
}

// Deciding -------------------------------------------------------------------------------------

async function decide(what, more = {}) {
  const found = cards[at];
  if (!found) return;
  const { item, node } = found, why = filters.elements.why.value.trim();
  enqueue("decide", { data: item.data, row: item.row, what, ...more, ...(why ? { why } : {}) });
  item.last = { what, ...more };
  node.classList.add("saving");
  if (at + 1 < cards.length || place.next !== null) await go(at + 1);
}
function same() {
  const found = cards[at];
  if (!found || found.item.data === "gold") return;
  const { item } = found;
  const whats = { rejected: { what: "reject" }, relabelled: { what: "relabel", label: item.label }, approved: { what: "keep" } };
  const last = item.last || whats[item.state];
  if (!last || last.what === "edit") { say("decide on this row first: keep, reject or a label", true); return; }
  if (!item.errors.length) { say("this row was not written for an error", true); return; }
  enqueue("decide", { data: item.data, row: item.row, ...last, same: true });
}
async function edit() {
  const found = cards[at];
  if (!found || found.item.data === "gold" || found.node.querySelector("textarea")) return;
  const { item, node } = found;
  const { raw } = await ask(`text?${new URLSearchParams({ data: item.data, row: item.row })}`);
  const box = make("textarea", "");
  box.value = raw;
  box.setAttribute("aria-label", "text");
  const written = box.value;  // as the browser ends lines
  const done = () => { const card = editor.parentNode; editor.remove(); card.focus({ preventScroll: true }); };
  const keep = async () => {
    go(cards.findIndex((each) => each.node.contains(box)), false);  // it may be another by now
    if (box.value === written) { done(); return; }
    await decide("edit", { text: box.value });  // where the browser has no room it stays open
    editor.remove();
  };
  const bar = make("div", "bar", button("keep this text", "Ctrl Enter", keep), button("leave", "Esc", done));
  box.addEventListener("keydown", (event) => {
    if (event.isComposing) return;  // of a Japanese word, say: the key is meant for it
    if (event.key === "Escape") done();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) attempt(keep);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const editor = make("div", "editor", box, bar);
  node.append(editor);
  box.focus();
}
function write(name) {
  filters.elements[name].focus();
  filters.elements[name].select();
}

const KEYS = {
  j: () => go(at + 1), ArrowDown: () => go(at + 1), k: () => go(at - 1), ArrowUp: () => go(at - 1),
  a: () => decide("keep"), r: () => decide("reject"), e: edit, s: same, u: undo,
  n: () => turn(1), p: () => turn(-1), v: () => show({ view: place.view === "errors" ? "rows" : "errors" }),
  w: () => write("why"), "/": () => write("text"), "?": () => help.showModal(),
};
const isWriting = (node) => node.matches("input, textarea, select");
let pressed = Promise.resolve();
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || help.open) return;
  if (isWriting(event.target)) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.name === "why")) { event.target.blur(); event.preventDefault(); }
    return;
  }
  const label = /^[1-9]$/.test(event.key) ? facts.labels[event.key - 1] : null;
  const act = label ? () => decide("relabel", { label }) : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  // A key that turns the page holds up the next ones: they are meant for what is on it.
  pressed = pressed.then(() => isWriting(document.activeElement) ? null : attempt(act));
});
filters.addEventListener("submit", (event) => { event.preventDefault(); document.activeElement.blur(); show({}); });
filters.addEventListener("change", (event) => { if (event.target.name !== "why") { event.target.blur(); show({}); } });
for (const tab of document.querySelectorAll("[data-view]")) tab.addEventListener("click", () => show({ view: tab.dataset.view }));
document.getElementById("asked").addEventListener("click", () => help.showModal());
document.getElementById("next").addEventListener("click", () => turn(1));
document.getElementById("previous").addEventListener("click", () => turn(-1));
load().then(send);
