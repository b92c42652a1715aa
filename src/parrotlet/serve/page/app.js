// Begins: settings, language, colours, tabs.

import { chosenStages, draw, startChat, suggest } from "./chat.js";
import { $, get, make, notify } from "./dom.js";
import { open, startXrays } from "./views.js";
import { speak } from "./words.js";

const TABS = ["chat", "curves", "results", "ledger", "xrays"];
const KEPT = { system: "", temperature: "0.6", top_k: "50", top_p: "", min_p: "", repetition_penalty: "1", max_tokens: "256", seed: "" };
let current = "chat";

function startSettings() {
  for (const [id, value] of Object.entries(KEPT)) {
    $(id).value = localStorage.getItem(id) ?? value;
    $(id).addEventListener("change", () => localStorage.setItem(id, $(id).value));
  }
  $("calculator").checked = localStorage.getItem("calculator") !== "off";
  $("calculator").addEventListener("change", () => localStorage.setItem("calculator", $("calculator").checked ? "on" : "off"));
  $("key").addEventListener("change", () => { sessionStorage.setItem("key", $("key").value); about(); });
  $("settings").addEventListener("submit", (event) => event.preventDefault());
  $("settings-button").addEventListener("click", () => showSettings($("settings").hidden));
}

function showSettings(shown) {
  $("settings").hidden = !shown;
  $("settings-button").setAttribute("aria-expanded", String(shown));
}

function startLooks() {
  const own = navigator.language.startsWith("zh") ? "zh" : "en";
  $("language").value = localStorage.getItem("language") ?? own;
  $("theme").value = localStorage.getItem("theme") ?? "auto";
  const apply = () => {
    localStorage.setItem("language", $("language").value);
    localStorage.setItem("theme", $("theme").value);
    document.documentElement.dataset.theme = $("theme").value;
    speak($("language").value);
    draw();
    open(current);
  };
  $("language").addEventListener("change", apply);
  $("theme").addEventListener("change", apply);
  apply();
}

function startTabs() {
  for (const [i, name] of TABS.entries()) {
    $(`tab-${name}`).addEventListener("click", () => show(name));
    $(`tab-${name}`).addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = TABS[(i + step + TABS.length) % TABS.length];
      show(next);
      $(`tab-${next}`).focus();
    });
  }
  show("chat");
}

function show(name) {
  current = name;
  notify("");
  for (const tab of TABS) {
    $(tab).hidden = tab !== name;
    $(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
    $(`tab-${tab}`).tabIndex = tab === name ? 0 : -1;
  }
  open(name);
}

async function about() {
  notify("");
  try {
    const run = await (await get("/api/run")).json();
    $("run").textContent = run.folder;
    document.title = `Parrotlet · ${run.folder}`;
    const before = chosenStages();
    $("stages").querySelectorAll("label").forEach((label) => label.remove());
    for (const stage of run.stages.filter(({ name }) => run.trained.includes(name))) {
      const checked = before.length ? before.includes(stage.name) : stage.name === run.trained[0];
      $("stages").append(make("label", { className: stage.name }, make("input", { type: "checkbox", value: stage.name, checked }), stage.name));
    }
    suggest(run.questions);
    startXrays(run.stages, run.trained[0]);
    if (current === "xrays") open(current);
    $("message").focus();
  } catch (error) {
    notify(error.message);
    showSettings(true);
    $("key-row").hidden = false;
    $("key").focus();
  }
}

$("key").value = sessionStorage.getItem("key") ?? "";
startSettings();
startTabs();
startChat();
startLooks();
about();
