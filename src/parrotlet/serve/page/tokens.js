// The token view of an answer: every token with its probability, what else was likely, sampled or injected.

import { make } from "./dom.js";
import { t } from "./words.js";

const percent = (logprob) => logprob === null ? "–" : `${(100 * Math.exp(logprob)).toFixed(Math.exp(logprob) < 0.1 ? 2 : 1)} %`;

const quoted = (text) => `"${text.replaceAll("\n", "\\n")}"`;

// "\n" is shown as a mark, and breaks the line as well.
const shown = (text) => text.replaceAll("\n", "↵\n");

// Of a token that is not a text by itself, but a part of one.
const bytesOf = ({ token, shown, bytes }) => token === shown ? "" : ` · ${t("bytes")} ${bytes.map(hex).join(" ")}`;

const hex = (byte) => byte.toString(16).toUpperCase().padStart(2, "0");

export function tokenView(tokens) {
  const fact = make("div", { className: "fact" });
  const buttons = tokens.map((token, i) => {
    const button = make("span", { role: "button", className: token.injected ? "token injected" : "token" }, shown(token.shown));
    button.style.setProperty("--p", Math.exp(token.logprob).toFixed(4));
    button.setAttribute("aria-label", quoted(token.shown));
    button.setAttribute("aria-pressed", "false");
    button.tabIndex = i ? -1 : 0;
    button.addEventListener("click", () => button.focus());
    button.addEventListener("focus", () => select(i));
    button.addEventListener("keydown", (event) => walk(event, i));
    return button;
  });

  function select(chosen) {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-pressed", String(i === chosen));
      button.tabIndex = i === chosen ? 0 : -1;
    });
    fact.replaceChildren(...factsOf(tokens[chosen]));
  }

  function walk(event, i) {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (buttons[to]) {
      event.preventDefault();
      buttons[to].focus();
    }
  }

  return make("div", {}, make("p", { className: "tools" }, t("legend")), make("div", { className: "tokens" }, ...buttons), fact);
}

function factsOf(token) {
  const how = token.injected ? t("injected") : t("sampled");
  const said = make("p", {}, `${t("token")} `, make("code", {}, quoted(token.shown)), bytesOf(token),
    ` · ${t("id")} ${token.id} · ${t("probability")} ${percent(token.logprob)} · ${how}`);
  const rows = token.top_logprobs.map((other) => {
    const bar = make("i");
    bar.style.width = `${100 * Math.exp(other.logprob)}%`;
    return make("tr", {}, make("td", {}, make("code", {}, quoted(other.shown))), make("td", {}, String(other.id)),
      make("td", {}, percent(other.logprob)), make("td", {}, make("span", { className: "share" }, bar)));
  });
  const head = make("tr", {}, ...["instead", "id", "probability"].map((key) => make("th", { scope: "col" }, t(key))), make("td"));
  return [said, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows))];
}
