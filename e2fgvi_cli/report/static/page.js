"use strict";
// Viewers: two layers of one frame, the right one uncovered from the slider on. Keys are said in the page's head.
const root = document.documentElement;
const viewers = [...document.querySelectorAll(".viewer")].map(setUp);
let current = 0;

document.getElementById("theme").onclick = () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
};

function setUp(box, number) {
  const frames = JSON.parse(box.querySelector("script").textContent);
  const [left, right] = box.querySelectorAll("select");
  const stage = box.querySelector(".stage"), range = box.querySelector("input");
  const pictures = { left: stage.querySelector("img.left"), right: stage.querySelector("img.right") };
  const thumbs = [...box.querySelectorAll(".thumbs button")];
  let at = Number(box.dataset.start);
  const show = () => {
    const layers = frames[at].layers;
    for (const [name, chosen] of [["left", left], ["right", right]]) {
      if (!(chosen.value in layers)) chosen.value = Object.keys(layers)[0];
      pictures[name].src = layers[chosen.value];
      pictures[name].alt = `${frames[at].name}: ${chosen.value}`;
    }
    stage.querySelector("b.l").textContent = left.value;
    stage.querySelector("b.r").textContent = right.value;
    thumbs.forEach((one, index) => one.setAttribute("aria-pressed", index === at));
  };
  const wipe = value => {
    range.value = Math.min(100, Math.max(0, value));
    stage.style.setProperty("--at", `${range.value}%`);
  };
  const drag = event => {
    if (!event.buttons) return;
    const area = stage.getBoundingClientRect();
    wipe(100 * (event.clientX - area.left) / area.width);
  };
  stage.onpointerdown = event => { stage.setPointerCapture(event.pointerId); current = number; drag(event); };
  stage.onpointermove = drag;
  range.oninput = () => wipe(range.value);
  left.onchange = right.onchange = show;
  thumbs.forEach((one, index) => { one.onclick = () => viewer.go(index); });
  box.addEventListener("focusin", () => { current = number; });
  const viewer = {
    box, frames, wipe: step => wipe(Number(range.value) + step),
    go: index => { at = (index + frames.length) % frames.length; current = number; show(); },
    step: by => viewer.go(at + by),
    layer: index => { if (index < right.options.length) { right.selectedIndex = index; show(); } },
    find: name => frames.findIndex(frame => frame.index === name),
  };
  wipe(50);
  show();
  return viewer;
}

document.addEventListener("click", event => {
  const link = event.target.closest("[data-frame]");
  if (!link || !viewers.length) return;
  event.preventDefault();
  const card = link.closest(".card");
  const viewer = viewers.find(one => card && card.contains(one.box)) || viewers[0];
  const index = viewer.find(Number(link.dataset.frame));
  if (index < 0) return;
  viewer.go(index);
  viewer.box.scrollIntoView({ block: "nearest", behavior: "smooth" });
});

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT" || !viewers.length) return;
  const viewer = viewers[current], onRange = event.target.type === "range";
  if (event.key === "ArrowLeft" && !onRange) viewer.wipe(-4);
  else if (event.key === "ArrowRight" && !onRange) viewer.wipe(4);
  else if (event.key === ",") viewer.step(-1);
  else if (event.key === ".") viewer.step(1);
  else if (event.key === "j" || event.key === "k") {
    current = Math.min(viewers.length - 1, Math.max(0, current + (event.key === "j" ? 1 : -1)));
    const card = viewers[current].box.closest(".card");
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "start" });
  } else if (/^[1-9]$/.test(event.key)) viewer.layer(Number(event.key) - 1);
  else return;
  if (event.key.startsWith("Arrow")) event.preventDefault();
});
