"use strict";
// Texts are shown as text: no markup is ever made of them.
function make(tag, name, ...inner) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...inner);
  return node;
}
function directed(tag, name, text) {
  const node = make(tag, name, text);
  node.dir = "auto";
  return node;
}

// Rows, drawn as the page was: see macros.html.j2.

function textOf(text) {
  if (text.length <= 420) return directed("div", "text", text);
  const start = text.slice(0, 380).replace(/[\ud800-\udbff]$/, "");
  return make("details", "clip", directed("summary", "text", `${start}…`), directed("div", "text", text));
}
function partOf([note, text, folded]) {
  if (folded) return make("details", "part", make("summary", "", note), textOf(text));
  return make("div", "part", ...(note ? [directed("div", "soft", note)] : []), textOf(text));
}
function cellOf(column, value) {
  const node = make("td", column.kind);
  node.dataset.name = column.name;
  if (column.kind === "texts") node.append(...value.map(partOf));
  else if (column.kind === "chip") node.append(make("bdi", `label ${column.tones[value] ?? ""}`, value));
  else if (column.kind === "link" && value) node.append(Object.assign(make("a", "", column.name), { href: value }));
  else node.append(value);
  return node;
}

// Searching and sorting ------------------------------------------------------------------------

const { compare } = new Intl.Collator(undefined, { numeric: true });
const wordsOf = (value) => (Array.isArray(value) ? value.map(([, text]) => text).join("\n") : String(value));

function sorted(rows, place, kind, isDown) {
  const isNumber = kind === "number", sign = isDown ? -1 : 1;
  const keyOf = (value) => (isNumber ? Number.parseFloat(String(value).replaceAll(",", "")) : wordsOf(value).slice(0, 100));
  const keyed = rows.map((row) => [keyOf(row[place]), row]);
  keyed.sort(([a], [b]) => {
    if (!isNumber) return sign * compare(a, b);
    return Number.isNaN(a) || Number.isNaN(b) ? Number.isNaN(a) - Number.isNaN(b) : sign * (a - b);
  });
  return keyed.map(([, row]) => row);
}

function enliven(box) {
  const form = box.querySelector("form"), table = box.querySelector("table");
  const [previous, next] = box.querySelectorAll(".turn button"), status = box.querySelector(".turn span");
  let facts = null, haystacks = null, shown = [], page = 0, place = null, isDown = false;

  // The rows are read when they are first needed, so that a page of many opens fast.
  function read() {
    if (facts) return;
    facts = JSON.parse(box.querySelector("script").textContent);
    shown = facts.rows;
  }
  function find() {
    read();
    const words = form ? form.elements.words.value.trim().toLowerCase() : "";
    const chosen = form ? [...form.querySelectorAll("select")].filter((each) => each.value) : [];
    if (words) haystacks ??= facts.rows.map((row) => row.map(wordsOf).join("\n").toLowerCase());
    shown = facts.rows.filter((row, i) =>
      (!words || haystacks[i].includes(words)) && chosen.every((each) => String(row[each.name]) === each.value));
    if (place !== null) shown = sorted(shown, place, facts.columns[place].kind, isDown);
    page = 0;
    draw();
  }
  function draw() {
    const first = page * facts.page, rows = shown.slice(first, first + facts.page);
    table.tBodies[0].replaceChildren(...rows.map((row) => {
      const cells = row.map((value, i) => cellOf(facts.columns[i], value));
      return make("tr", facts.marked && row[0] === facts.marked ? "kept" : "", ...cells);
    }));
    if (!status) return;
    const counts = [first + 1, first + rows.length, shown.length].map((each) => each.toLocaleString("en"));
    status.textContent = rows.length ? `${counts[0]}–${counts[1]} of ${counts[2]}` : "no row is like that";
    previous.disabled = !page;
    next.disabled = first + facts.page >= shown.length;
  }
  function turn(step) {
    read();
    page += step;
    draw();
    box.scrollIntoView();
  }
  function sort(at) {
    isDown = place === at && !isDown;
    place = at;
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      head.ariaSort = i !== at ? "none" : isDown ? "descending" : "ascending";
    });
    find();
  }

  [...table.tHead.rows[0].cells].forEach((head, at) => {
    if (head.className === "link") return;
    const button = make("button", "", ...head.childNodes);
    button.type = "button";
    button.addEventListener("click", () => sort(at));
    head.replaceChildren(button);
  });
  if (!form) return;
  let waiting = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(find, 120);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); find(); });
  form.hidden = false;
  [previous, next].forEach((button, i) => {
    button.hidden = false;
    button.addEventListener("click", () => turn(i ? 1 : -1));
  });
}
document.querySelectorAll(".rows").forEach(enliven);
