// Small helpers: elements, and the server.

export const $ = (id) => document.getElementById(id);

// Texts become text nodes, never markup.
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name in node && name !== "style") node[name] = value;
    else node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

export function notify(message) {
  $("notice").textContent = message;
  $("notice").hidden = !message;
}

export async function get(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Error(body?.error?.message ?? `${response.status} ${response.statusText}`);
}
