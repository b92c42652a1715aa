// A chart of one or two curves over steps, as SVG.

const [HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [240, 48, 24, 10, 12];

function node(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// Round numbers that cut [low, high] into about five.
function ticks(low, high) {
  const raw = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(raw));
  const size = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw);
  const first = Math.ceil(low / size);
  return Array.from({ length: Math.floor(high / size) - first + 1 }, (_, i) => Number(((first + i) * size).toPrecision(6)));
}

// line, dots: [[x, y], …]
export function chart(name, line, dots = []) {
  const width = Math.min(400, innerWidth - 40);  // on a phone: as it will stand there, so that its words are not made small
  const all = [...line, ...dots], xs = all.map(([x]) => x), ys = all.map(([, y]) => y);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs, Math.min(...xs) + 1)];
  const low = Math.min(...ys), high = Math.max(...ys, low + 1e-9), pad = (high - low) * 0.04;
  const x = (value) => LEFT + ((value - x0) / (x1 - x0)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + ((high + pad - value) / (high - low + 2 * pad)) * (HEIGHT - TOP - BOTTOM);
  const svg = node("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": name });
  for (const tick of ticks(low, high)) {
    svg.append(node("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    svg.append(node("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, tick));
  }
  for (const tick of ticks(x0, x1)) svg.append(node("text", { x: x(tick), y: HEIGHT - 6, "text-anchor": "middle" }, tick));
  svg.append(node("polyline", { class: "line", points: line.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ") }));
  for (const [a, b] of dots) {
    const dot = node("circle", { class: "dot", cx: x(a), cy: y(b), r: 3 });
    dot.append(node("title", {}, `${a}: ${b.toFixed(4)}`));
    svg.append(dot);
  }
  return svg;
}
