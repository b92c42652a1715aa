// The chat: turns, each with the answers of one stage or of several, side by side.

import { $, get, make, notify } from "./dom.js";
import { events } from "./sse.js";
import { tokenView } from "./tokens.js";
import { t } from "./words.js";

const ALTERNATIVES = 5;
const NUMBERS = ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens", "seed"];

let turns = [];  // { user, answers: { stage: { parts, finish, leftOut, tokens, fault, showsTokens } } }
let editing = null;  // the turn whose message is being edited
let stopping = null;  // ends what is being written
let questions = [];  // { task, language, text }: what the latest stage answered right when it was scored

export const chosenStages = () => [...document.querySelectorAll("#stages input:checked")].map((box) => box.value);

export function suggest(answered) {
  questions = answered;
  draw();
}

export function startChat() {
  $("composer").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("message").addEventListener("keydown", typed);
  $("stop").addEventListener("click", stop);
  $("new").addEventListener("click", () => { stop(); turns = []; editing = null; draw(); $("message").focus(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") stop(); });
  draw();
}

function typed(event) {
  if (event.isComposing) return;  // Enter chooses a character of an input method
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    send();
  } else if (event.key === "ArrowUp" && !$("message").value && turns.length && !stopping) {
    event.preventDefault();
    edit(turns.length - 1);
  }
}

function send() {
  const text = $("message").value.trim();
  if (!text || stopping) return;
  if (!chosenStages().length) return notify(t("choose"));
  $("message").value = "";
  turns.push({ user: text, answers: {} });
  ask(turns.length - 1, chosenStages());
}

function stop() {
  stopping?.abort();
}

function edit(i) {
  editing = i;
  draw();
  document.querySelector(".user textarea").focus();
}

function resend(i, text) {
  editing = null;
  turns = [...turns.slice(0, i), { user: text, answers: {} }];
  ask(i, chosenStages());
}

async function ask(i, stages) {
  notify("");
  stopping = new AbortController();
  for (const stage of stages) turns[i].answers[stage] = { parts: [], writing: true };
  draw();
  $("talk").scrollTop = $("talk").scrollHeight;
  await Promise.all(stages.map((stage) => answer(i, stage, stopping.signal)));
  stopping = null;
  draw();
}

async function answer(i, stage, signal) {
  const answer = turns[i].answers[stage];
  try {
    const response = await get("/v1/chat/completions", {
      method: "POST", signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(request(i, stage)),
    });
    for await (const data of events(response.body)) {
      if (data === "[DONE]") break;
      take(answer, JSON.parse(data));
      redraw(i, stage);
    }
    if (!answer.finish && !answer.fault) answer.fault = t("lost");
  } catch (error) {
    if (signal.aborted) answer.finish = "stopped";
    else answer.fault = error instanceof TypeError ? t("lost") : error.message;
  }
  answer.writing = false;
  redraw(i, stage);
}

function request(i, stage) {
  const fields = { model: stage, messages: messagesFor(i, stage), stream: true, slide: true, logprobs: true,
    top_logprobs: ALTERNATIVES, calculator: $("calculator").checked };
  for (const name of NUMBERS) if ($(name).value !== "") fields[name] = Number($(name).value);
  return fields;
}

// What a stage has been told and has said itself; turns that it was not asked are not its own.
function messagesFor(i, stage) {
  const system = $("system").value.trim();
  const before = turns.slice(0, i).filter((turn) => turn.answers[stage]?.finish);
  return [
    ...(system ? [{ role: "system", content: system }] : []),
    ...before.flatMap((turn) => [{ role: "user", content: turn.user }, { role: "assistant", parts: turn.answers[stage].parts }]),
    { role: "user", content: turns[i].user },
  ];
}

function take(answer, piece) {
  if (piece.error) {
    answer.fault = piece.error.message;
    return;
  }
  const [choice] = piece.choices;
  const { content, parts } = choice.delta;
  const last = answer.parts.at(-1);
  if (content && last?.type === "text") last.text += content;
  else if (content) answer.parts.push({ type: "text", text: content });
  if (parts) answer.parts.push(...parts);
  answer.finish = choice.finish_reason ?? answer.finish;
  answer.tokens = choice.logprobs?.content ?? answer.tokens;
  answer.leftOut = choice.left_out ?? answer.leftOut;
}

export function draw() {
  $("send").hidden = Boolean(stopping);
  $("stop").hidden = !stopping;
  const follow = follower($("talk"));
  $("talk").replaceChildren(...(turns.length ? turns.map(turnNode) : [welcome()]));
  follow($("talk"));
}

function welcome() {
  const stages = [...document.querySelectorAll("#stages input")].map(({ value }) =>
    make("li", { className: value }, make("b", {}, value), ` ${t(value)}`));
  const tries = [...byTask().values()].map((text) => {
    const button = make("button", { type: "button", title: text }, text);
    button.addEventListener("click", () => { $("message").value = text; send(); });
    return button;
  });
  return make("div", { className: "welcome" }, make("img", { src: "icon.svg", alt: "" }), make("h2", {}, t("greeting")),
    make("ol", {}, ...stages), make("p", {}, t("side_by_side")),
    ...(tries.length ? [make("p", {}, t("tries")), make("div", { className: "tries" }, ...tries)] : []),
    make("p", { className: "keys" }, t("keys")));
}

// A question of every task, in the language of the page where there is one.
function byTask() {
  const inOurs = ({ language }) => document.documentElement.lang.startsWith(language);
  return new Map([...questions].sort((a, b) => inOurs(a) - inOurs(b)).map(({ task, text }) => [task, text]));
}

// Whoever reads at the end stays there; whoever has scrolled up is not moved.
function redraw(i, stage) {
  const old = document.getElementById(`answer-${i}-${stage}`);
  if (!old) return;
  const node = answerNode(i, stage), follow = [$("talk"), body(old)].map(follower);
  old.replaceWith(node);
  follow[0]($("talk"));
  follow[1](body(node));
}

const body = (node) => node.querySelector(".body");

function follower({ scrollTop, scrollHeight, clientHeight }) {
  const atEnd = scrollHeight - scrollTop - clientHeight < 60;
  return (node) => { node.scrollTop = atEnd ? node.scrollHeight : scrollTop; };
}

function turnNode(turn, i) {
  const stages = Object.keys(turn.answers);
  const answers = make("div", { className: stages.length > 1 ? "answers several" : "answers" }, ...stages.map((stage) => answerNode(i, stage)));
  answers.style.setProperty("--columns", stages.length);
  return make("div", { className: "turn" }, editing === i ? editor(turn, i) : userNode(turn, i), answers);
}

function userNode(turn, i) {
  const node = make("div", { className: "user" }, make("div", { className: "said" }, turn.user));
  if (!stopping) node.append(make("div", { className: "tools" }, action("edit", () => edit(i))));
  return node;
}

function editor(turn, i) {
  const box = make("textarea", { rows: 3, value: turn.user, ariaLabel: t("edit") });
  const close = () => { editing = null; draw(); $("message").focus(); };
  const again = () => { if (box.value.trim()) resend(i, box.value.trim()); };
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); again(); }
  });
  return make("div", { className: "user" }, box, make("div", { className: "tools" }, action("resend", again), action("cancel", close)));
}

function answerNode(i, stage) {
  const answer = turns[i].answers[stage];
  const content = answer.showsTokens ? tokenView(answer.tokens) : make("div", { className: "said" }, ...partNodes(answer.parts));
  const scrolls = Object.keys(turns[i].answers).length > 1 ? { role: "group", ariaLabel: stage, tabIndex: 0 } : {};
  const node = make("article", { id: `answer-${i}-${stage}`, className: `answer ${stage}${answer.writing ? " writing" : ""}` },
    make("h3", {}, stage), make("div", { className: "body", ...scrolls }, content));
  if (answer.fault) node.append(make("p", { className: "fault" }, answer.fault));
  if (!answer.writing) node.append(toolsOf(answer, i, stage));
  return node;
}

function toolsOf(answer, i, stage) {
  const tools = make("div", { className: "tools" });
  if (answer.tokens?.length)
    tools.append(action(answer.showsTokens ? "text" : "tokens", () => { answer.showsTokens = !answer.showsTokens; redraw(i, stage); }));
  if (i === turns.length - 1) tools.append(action("regenerate", () => { if (!stopping) ask(i, [stage]); }));
  if (answer.finish === "length" || answer.finish === "stopped") tools.append(make("span", {}, t(answer.finish)));
  if (answer.leftOut) tools.append(make("span", {}, `${t("left_out")} ${answer.leftOut}`));
  return tools;
}

function partNodes(parts) {
  return parts.flatMap((part, i) => {
    if (part.type === "text") return [part.text];
    if (part.type === "python_output") return [];
    return [make("span", { className: "call" }, make("span", { className: "expression" }, part.text),
      make("span", { className: "result" }, parts[i + 1].text))];
  });
}

function action(key, run) {
  const button = make("button", { type: "button" }, t(key));
  button.addEventListener("click", run);
  return button;
}
