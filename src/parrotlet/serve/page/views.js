// The run's tabs: curves, results, ledger, x-rays. Each is read anew when it is opened.

import { chart } from "./chart.js";
import { $, get, make, notify } from "./dom.js";
import { t } from "./words.js";

const DRAW = { curves, results, ledger };

export async function open(view) {
  if (view === "xrays" && $("xray").lang !== document.documentElement.lang && $("xray-stage").value) showXray();
  if (!DRAW[view]) return;
  $(view).replaceChildren(make("p", { role: "status" }, t("loading")));
  try {
    const data = await (await get(`/api/${view}`)).json();
    const drawn = DRAW[view](data);
    $(view).replaceChildren(...(drawn.length ? drawn : [make("p", {}, t("none"))]));
  } catch (error) {
    $(view).replaceChildren();
    notify(error.message);
  }
}

function points(columns, name) {
  return columns.step.map((step, i) => [step, columns[name][i]]).filter(([, value]) => value !== null);
}

function curves(stages) {
  return Object.entries(stages).flatMap(([stage, { training, validation }]) => {
    const drawn = [
      figure([`${t("loss")} · ${t("val_loss")} `, make("span", { className: "mark" }, "●")], points(training, "loss"), points(validation, "val_loss")),
      figure([t("val_bpb")], points(validation, "val_bpb"), points(validation, "val_bpb")),
      figure([t("lr")], points(training, "lr_mult")),
    ].filter(Boolean);
    return [make("h2", {}, stage), make("div", { className: `charts ${stage}` }, ...drawn)];
  });
}

function figure(caption, line, dots) {
  const name = caption.map((part) => part.textContent ?? part).join("");
  return line.length ? make("figure", {}, make("figcaption", {}, ...caption), chart(name, line, dots)) : null;
}

function results({ stages }) {
  const names = Object.keys(stages);
  if (!names.length) return [];
  const tasks = [...new Set(names.flatMap((stage) => Object.keys(stages[stage].tasks)))];
  const losses = ["val_bpb", "val_loss"].map((key) => [t(key), ...names.map((stage) => stages[stage][key]?.toFixed(3) ?? "–"), ""]);
  const rows = tasks.flatMap((task) => {
    const cells = names.map((stage) => stages[stage].tasks[task]);
    const { chance } = cells.find(Boolean);
    const row = [task, ...cells.map((cell, i) => score(cell, chance, names[i])), `${Math.round(100 * chance)}`];
    const without = cells.map((cell, i) => score(cell?.without_tool, chance, names[i]));
    return cells.some((cell) => cell?.without_tool) ? [row, [`\u2003${t("no_tool")}`, ...without, ""]] : [row];
  });
  const stageNames = names.map((stage) => make("span", { className: stage }, stage));
  return [make("p", {}, t("accuracy")), table([t("task"), ...stageNames, t("chance")], [...losses, ...rows])];
}

function score(cell, chance, stage) {
  if (!cell) return "–";
  const percent = (share) => `${Math.round(100 * share)}`;
  if (!("low" in cell)) return percent(cell.accuracy);
  return make("span", { className: stage }, percent(cell.accuracy),
    make("small", {}, ` [${percent(cell.low)}–${percent(cell.high)}]`), track(cell, chance));
}

// The interval on a line from 0 to 100 %, with the score in it and a stroke at what guessing reaches.
function track({ accuracy, low, high }, chance) {
  const mark = (className, from, to = from) => {
    const node = make("i", { className });
    node.style.insetInline = `${100 * from}% ${100 * (1 - to)}%`;
    return node;
  };
  return make("span", { className: "track", ariaHidden: "true" },
    mark("interval", low, high), mark("point", accuracy), ...(chance ? [mark("chance", chance)] : []));
}

function ledger(stages) {
  const keys = ["source", "planned", "trained", "supervised", "epochs", "split", "dropped"];
  const number = (value) => value.toLocaleString(document.documentElement.lang);
  return stages.flatMap((stage) => [
    make("h2", {}, stage.stage, make("small", {}, ` ${t("step")} ${number(stage.done)} ${t("of")} ${number(stage.steps)}`)),
    table(keys.map(t), stage.entries.map(({ source, planned, trained: [, tokens, supervised], epochs, split, left_out }) =>
      [source, ...[planned, tokens, supervised].map(number), epochs.toFixed(2), number(split), number(left_out)])),
    ...(stage.unlogged ? [make("p", {}, `${number(stage.unlogged)} ${t("unlogged")}`)] : []),
  ]);
}

// On a phone a row stands as a small table of its own; each cell then says what it is.
function table(head, rows) {
  const text = (value) => value.textContent ?? value;
  const cells = (values, tag) => make("tr", {}, ...values.map((value, i) => make(tag, tag === "th" ? { scope: "col" } : { "data-head": text(head[i]) }, value)));
  return make("div", { className: "scroll" },
    make("table", {}, make("thead", {}, cells(head, "th")), make("tbody", {}, ...rows.map((row) => cells(row, "td")))));
}

export function startXrays(stages, latest) {
  const choices = () => stages.map(({ name }) => make("option", { value: name }, name));
  $("xray-stage").replaceChildren(...choices());
  $("xray-stage").value = latest;
  $("xray-beside").replaceChildren(make("option", { value: "" }, "–"), ...choices());
  $("xray-form").onsubmit = (event) => { event.preventDefault(); showXray(); };
}

// The page goes into a frame of its own, as text: a frame can't send a key.
async function showXray() {
  const beside = $("xray-beside").value;
  notify("");
  $("xray-note").textContent = t("loading");
  try {
    const query = `step=${$("xray-step").value}&language=${document.documentElement.lang}${beside ? `&beside=${beside}` : ""}`;
    const page = await (await get(`/api/xray/${$("xray-stage").value}?${query}`)).text();
    $("xray").lang = document.documentElement.lang;
    $("xray").hidden = false;  // first: what a hidden frame is given may stay blank
    $("xray").srcdoc = page;
  } catch (error) {
    notify(error.message);
  }
  $("xray-note").textContent = "";
}
