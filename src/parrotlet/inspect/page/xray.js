// Draws the x-ray from the JSON in #data. Texts reach the page through textContent only.
const data = JSON.parse(document.getElementById("data").textContent);
const ROLES = { s: t("special token"), t: t("document"), u: t("user"), a: t("assistant"), c: t("assistant: tool call"),
  o: t("tool output") };
const CUTS = { before: t("its beginning is in another row"), after: t("it goes on in another row"),
  both: t("it begins and goes on in other rows") };
const $ = (id) => document.getElementById(id);
const main = document.querySelector("main");
const segments = [];  // every drawn segment, in order: {piece, box, spans}
let here = null;      // the span that the keys walk from
let held = false;     // whether the panel stays on it while the mouse moves

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

const text = (id) => data.texts[id];
/** In quotes, so that a blank is seen; a special token as it is. */
const quoted = (id) => (data.special.includes(id) ? text(id) : JSON.stringify(text(id)));
/** What stands in the row: a character that several tokens share stands whole at the first of them. */
const shown = (piece, i) => piece.shown[i] ?? text(piece.ids[i]);
const isTaught = (piece, i) => (i === 0 ? piece.taught === 1 : piece.targets[i - 1] >= 0);

/** The id that position i predicts, supervised or not; null where nothing follows in its segment. */
function predicts(piece, i) {
  if (piece.targets[i] >= 0) return piece.targets[i];
  return i + 1 < piece.ids.length ? piece.ids[i + 1] : null;
}

function drawTokens(piece) {
  const box = element("p", "tokens");
  piece.ids.forEach((_, i) => {
    const role = piece.roles[i];
    const span = element("span", `t ${role}${isTaught(piece, i) ? " on" : ""}`, shown(piece, i).replaceAll("\n", "⏎\n"));
    span.piece = piece;
    span.i = i;
    span.tabIndex = -1;
    box.append(span);
  });
  return box;
}

function title(piece, lead) {
  const supervised = piece.targets.filter((target) => target >= 0).length;
  const head = element("h3", "", `${lead} ${piece.name} `);
  head.append(element("small", "", `${piece.where} · ${t("{n} tokens, {m} supervised", { n: piece.ids.length, m: supervised })}` +
    (piece.cut ? ` · ${CUTS[piece.cut]}` : "")));
  return head;
}

function drawSegment(piece) {
  const box = element("section", "segment");
  box.id = `row-${piece.row}-segment-${piece.segment}`;
  const other = data.others[piece.where];
  if (data.beside) {
    const pair = element("div", "pair");
    const left = element("div");
    left.append(title(piece, `${piece.stage}:`), drawTokens(piece));
    const right = element("div");
    if (other) right.append(title(other, t("{stage}, step {step}, row {row}:", other)), drawTokens(other));
    else right.append(element("p", "padding", t("{stage} does not hold this conversation.", { stage: data.beside })));
    pair.append(left, right);
    box.append(pair);
  } else box.append(title(piece, `${piece.segment} ·`), drawTokens(piece));
  segments.push({ piece, box, spans: [...box.querySelectorAll(".t")] });
  return box;
}

function drawRow(row) {
  const box = element("section", "row");
  const used = row.segments.reduce((sum, piece) => sum + piece.ids.length, 0);
  const head = element("h2", "", `${t("Row")} ${row.row} `);
  head.append(element("small", "", t("{n} segments, {used} of {all} positions used", { n: row.segments.length, used, all: data.length })));
  box.append(head, ...row.segments.map(drawSegment));
  if (used < data.length) box.append(element("p", "padding", t("{n} positions of padding: nothing is predicted there", { n: data.length - used })));
  box.row = row.row;
  return box;
}

function drawHeader() {
  document.querySelector("h1").textContent = data.title;
  $("phrase").textContent = t(data.phrase) + (data.beside ? ` · ${t("beside {stage}", { stage: data.beside })}` : "");
  for (const [value, name] of data.facts) {
    const fact = element("div");
    fact.append(element("dt", "", t(name)), element("dd", "", value));
    $("facts").append(fact);
  }
  const all = data.sources.reduce((sum, source) => sum + source[3], 0);
  for (const [name, items, tokens, supervised] of data.sources) {
    const line = element("tr");
    const share = all ? (100 * supervised) / all : 0;
    for (const value of [name, items, tokens, supervised]) line.append(element("td", "", value.toLocaleString("en")));
    const cell = element("td", "", `${share.toFixed(1)} %`);
    const bar = element("span", "share");
    bar.append(element("i"));
    bar.firstChild.style.width = `${share}%`;
    cell.append(bar);
    line.append(cell);
    document.querySelector("#by-source tbody").append(line);
    $("task").append(new Option(name, name));
  }
  $("dropped").textContent = data.dropped
    .map(([name, split, out]) => t("{name}, in the whole stage: {split} conversations split, {out} exchanges left out.", { name, split, out })).join(" ");
  for (const row of data.rows) $("row").append(new Option(row.row, row.row));
}

/** All that is known of a token, as pairs. */
function facts(piece, i) {
  const target = predicts(piece, i);
  const supervised = piece.targets[i] >= 0;
  const guess = target === null ? t("nothing: the last of its segment") : `${quoted(target)}  (id ${target})`;
  return [
    ["token", quoted(piece.ids[i])],
    ["id", piece.ids[i]],
    ["written by", ROLES[piece.roles[i]]],
    ["a target", isTaught(piece, i) ? t("yes: trained to be produced") : t("no: only read")],
    ["predicts", guess],
    ["supervised", supervised ? t("yes: this prediction is in the loss") : t("no: this prediction is not in the loss")],
    ["position", piece.position + i],
    ["stage, row", t("{stage}, row {row}, column {column}", { ...piece, column: piece.start + i })],
    ["segment", piece.segment],
    ["task", piece.task ?? "–"],
    ["dataset", piece.dataset],
    ["index", piece.index],
    ["from", piece.where],
    ["cut", piece.cut ? CUTS[piece.cut] : t("no: it is here whole")],
  ];
}

function describe(span) {
  const list = document.querySelector("#token dl");
  list.replaceChildren(...facts(span.piece, span.i).flatMap(([name, value], k) =>
    [element("dt", "", t(name)), element("dd", k === 0 ? "big" : "", value)]));
  document.querySelector("#token .hint").hidden = true;
}

function select(span) {
  letGo();
  here = span;
  held = true;
  span.classList.add("here");
  span.tabIndex = 0;
  span.closest(".segment").classList.add("here");
  span.focus({ preventScroll: true });
  span.scrollIntoView({ block: "nearest" });
  $("token").classList.add("open");
  describe(span);
}

function letGo() {
  held = false;
  $("token").classList.remove("open");
  if (!here) return;
  here.classList.remove("here");
  here.closest(".segment").classList.remove("here");
}

const visible = () => segments.filter(({ box }) => !box.hidden && !box.parentNode.hidden);

function place() {
  const open = visible();
  const at = here ? open.findIndex(({ box }) => box.contains(here)) : -1;
  return { open, at, i: at < 0 ? -1 : open[at].spans.indexOf(here) };
}

function moveSegment(by) {
  const { open, at } = place();
  const to = open[at < 0 ? (by > 0 ? 0 : open.length - 1) : Math.min(open.length - 1, Math.max(0, at + by))];
  if (!to) return;
  select(to.spans[0]);
  to.box.scrollIntoView({ block: "start" });
}

function moveToken(by) {
  const { open, at, i } = place();
  if (at < 0) return moveSegment(1);
  const spans = open[at].spans;
  if (spans[i + by]) select(spans[i + by]);
  else if (open[at + by]) select(by > 0 ? open[at + 1].spans[0] : open[at - 1].spans.at(-1));
}

function moveTarget() {
  const { open, at, i } = place();
  const spans = open.slice(Math.max(0, at)).flatMap((segment) => segment.spans);
  const start = at < 0 ? 0 : i + 1;
  const on = (k) => spans[k]?.classList.contains("on");
  for (let k = start; k < spans.length; k++) if (on(k) && (spans[k].i === 0 || !on(k - 1))) return select(spans[k]);
}

function filter() {
  const task = $("task").value;
  const row = $("row").value;
  for (const { piece, box } of segments) box.hidden = task !== "" && task !== (piece.task ?? piece.dataset);
  for (const box of main.children) {
    const other = row !== "" && Number(row) !== box.row;
    box.hidden = other || (task !== "" && ![...box.querySelectorAll(".segment")].some((segment) => !segment.hidden));
  }
  $("count").textContent = t("{n} of {all} segments", { n: visible().length, all: segments.length });
}

const KEYS = {
  ArrowRight: () => moveToken(1), ArrowLeft: () => moveToken(-1),
  ArrowDown: () => moveSegment(1), ArrowUp: () => moveSegment(-1), n: () => moveSegment(1), p: () => moveSegment(-1),
  t: moveTarget, Home: () => here && select(here.parentNode.firstChild), End: () => here && select(here.parentNode.lastChild),
  f: () => $("task").focus(), "?": () => $("keys").showModal(), Escape: letGo,
};

function listen() {
  main.addEventListener("mouseover", (event) => {
    const span = event.target.closest(".t");
    if (span && !held) describe(span);
  });
  main.addEventListener("click", (event) => {
    const span = event.target.closest(".t");
    if (span) select(span);
    else letGo();
  });
  main.addEventListener("focusin", (event) => event.target.piece && event.target !== here && select(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, dialog")) return;
    const act = KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  $("task").addEventListener("change", filter);
  $("row").addEventListener("change", filter);
  $("back").addEventListener("click", () => moveSegment(-1));
  $("next").addEventListener("click", () => moveSegment(1));
  $("help").addEventListener("click", () => $("keys").showModal());
  $("close").addEventListener("click", letGo);
}

drawHeader();
main.append(...data.rows.map(drawRow));
if (segments.length) segments[0].spans[0].tabIndex = 0;
filter();
listen();
