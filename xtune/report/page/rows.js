"use strict";
// Filters the cards and tells of the token under the pointer; all text comes from the page itself and goes back as text.
const get = (id) => document.getElementById(id);
const cards = [...document.querySelectorAll("article")];
const fold = (text) => text.normalize("NFKC").toLowerCase();
const textOf = (card, only) =>
  [...card.querySelectorAll(only ? "pre [data-t]:not(.w0)" : "pre [data-t]")].map((token) => token.textContent).join("");
const known = new Map(cards.map((card) => [card, {}]));
const searchable = (card, only) => {
  const texts = known.get(card);
  return (texts[only] ??= fold(textOf(card, only)));
};

function filter() {
  const wanted = fold(get("search").value), source = get("source").value, only = get("trained").checked;
  let shown = 0;
  for (const card of cards) {
    const fits = (!source || card.dataset.source === source) && searchable(card, only).includes(wanted);
    card.hidden = !fits;
    shown += fits;
  }
  document.body.classList.toggle("only", only);
  document.body.classList.toggle("spaces", get("spaces").checked);
  get("count").textContent = shown === cards.length ? `${shown} rows` : `${shown} of ${cards.length} rows`;
  get("none").hidden = shown > 0;
  point(null);
  highlight(get("search").value.trim());
}

// The hits on the cards in view, painted without touching the page's elements.
function highlight(wanted) {
  if (!("highlights" in CSS)) return;
  CSS.highlights.delete("found");
  if (!wanted) return;
  const ranges = [];
  for (const card of cards.filter((one) => !one.hidden).slice(0, 50)) {
    const walk = document.createTreeWalker(card.querySelector("pre"), NodeFilter.SHOW_TEXT);
    const nodes = [], starts = [];
    let text = "";
    while (walk.nextNode()) {
      nodes.push(walk.currentNode);
      starts.push(text.length);
      text += walk.currentNode.data;
    }
    const lowered = text.toLowerCase(), needle = wanted.toLowerCase();
    if (lowered.length !== text.length) continue;
    const spot = (offset) => {
      let index = starts.findIndex((start, at) => offset >= start && (at + 1 === starts.length || offset < starts[at + 1]));
      return [nodes[index], offset - starts[index]];
    };
    for (let at = lowered.indexOf(needle); at >= 0 && ranges.length < 500; at = lowered.indexOf(needle, at + needle.length)) {
      const range = new Range();
      range.setStart(...spot(at));
      const [node, offset] = spot(at + needle.length - 1);
      range.setEnd(node, offset + 1);
      ranges.push(range);
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}

let pointed = null;
function point(token) {
  pointed?.classList.remove("here");
  pointed = token;
  const tip = get("tip");
  tip.hidden = !token;
  if (!token) return;
  token.classList.add("here");
  const ids = token.dataset.t.split(","), at = Number(token.dataset.p);
  const weight = token.dataset.w ?? (token.classList.contains("w0") ? "0" : "1");
  const name = ids.length > 1 ? `ids ${ids.join(" ")}, tokens ${at} to ${at + ids.length - 1}` : `id ${ids[0]}, token ${at}`;
  tip.textContent = `${name}, ${weight === "0" ? "not trained on" : `trained on with weight ${weight}`}`;
  const box = token.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - tip.offsetWidth - 4))}px`;
  const above = box.top - tip.offsetHeight - 6;
  tip.style.top = `${above > 0 ? above : box.bottom + 6}px`;
}

const tokenOf = (event) => event.target.closest?.("[data-t]");
document.addEventListener("pointerover", (event) => event.pointerType === "mouse" && point(tokenOf(event)));
document.addEventListener("click", (event) => point(tokenOf(event)));
document.addEventListener("scroll", () => point(null), { passive: true });
get("controls").addEventListener("input", filter);
get("controls").addEventListener("submit", (event) => event.preventDefault());

function go(step) {
  const shown = cards.filter((card) => !card.hidden);
  const here = shown.indexOf(document.activeElement.closest("article"));
  const next = shown[Math.max(0, Math.min(shown.length - 1, here + step))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function step(card, by) {
  const tokens = [...card.querySelectorAll("pre [data-t]")].filter((token) => token.offsetParent !== null);
  const here = tokens.indexOf(pointed);
  const next = tokens[here < 0 ? (by > 0 ? 0 : tokens.length - 1) : Math.max(0, Math.min(tokens.length - 1, here + by))];
  next?.scrollIntoView({ block: "nearest" });
  point(next ?? null);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input[type=search], select");
  const card = document.activeElement.closest("article");
  if (event.key === "Escape") {
    if (typing) { get("search").value = ""; filter(); document.activeElement.blur(); }
    point(null);
  } else if (typing) return;
  else if (event.key === "/") { event.preventDefault(); get("search").focus(); }
  else if (event.key === "j") go(1);
  else if (event.key === "k") go(-1);
  else if (card && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
    event.preventDefault();
    step(card, event.key === "ArrowRight" ? 1 : -1);
  }
});
filter();
