// The picture with the mask over it: drawing, and the wipe.
const canvas = document.getElementById("canvas");
const pen = canvas.getContext("2d");
const mask = document.createElement("canvas"); // opaque where the chosen object is
const ink = mask.getContext("2d", { willReadFrequently: true });
const others = document.createElement("canvas"); // the other objects in their colours
const scene = { before: null, after: null, showMask: true, wipe: null, tool: "box", size: 16, drag: null, object: 1 };
let onMark = () => {}, onWipe = () => {};

export const element = canvas;
export const set = (change) => { Object.assign(scene, change); paint(); };
export const listen = (marked, wiped) => { onMark = marked; onWipe = wiped; };

export function resize(width, height) {
  if (canvas.width === width && canvas.height === height) return;
  for (const one of [canvas, mask, others]) { one.width = width; one.height = height; }
  fit();
}

// As large as the stage allows.
function fit() {
  const { clientWidth, clientHeight } = canvas.parentElement;
  const scale = Math.min(clientWidth / canvas.width, clientHeight / canvas.height);
  canvas.style.width = `${Math.floor(canvas.width * scale)}px`;
  canvas.style.height = `${Math.floor(canvas.height * scale)}px`;
}
new ResizeObserver(fit).observe(canvas.parentElement);

const COLOURS = 6;

// The colour of an object: [red, green, blue].
export function colourOf(object) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(`--object-${((object - 1) % COLOURS) + 1}`).trim();
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}

// A picture of object numbers from the server, or nothing. The chosen object is what is drawn on.
export function setMask(bitmap, object) {
  scene.object = object;
  scene.waiting = null;
  canvas.classList.remove("waiting");
  const rest = others.getContext("2d");
  ink.clearRect(0, 0, mask.width, mask.height);
  rest.clearRect(0, 0, mask.width, mask.height);
  if (bitmap) {
    ink.drawImage(bitmap, 0, 0, mask.width, mask.height);
    const own = ink.getImageData(0, 0, mask.width, mask.height), other = rest.createImageData(mask.width, mask.height);
    const colours = {};
    for (let i = 0; i < own.data.length; i += 4) {
      const number = own.data[i];
      own.data[i + 3] = number === object ? 255 : 0;
      if (number && number !== object) other.data.set([...(colours[number] ??= colourOf(number)), 255], i);
    }
    ink.putImageData(own, 0, 0);
    rest.putImageData(other, 0, 0);
  }
  paint();
}

// The mask as a PNG: white on black.
export function maskPng() {
  const flat = document.createElement("canvas");
  [flat.width, flat.height] = [mask.width, mask.height];
  const on = flat.getContext("2d");
  on.drawImage(mask, 0, 0);
  on.globalCompositeOperation = "source-in";
  on.fillStyle = "#fff";
  on.fillRect(0, 0, flat.width, flat.height);
  on.globalCompositeOperation = "destination-over";
  on.fillStyle = "#000";
  on.fillRect(0, 0, flat.width, flat.height);
  return new Promise((done) => flat.toBlob(done, "image/png"));
}

function tinted() {
  const tint = document.createElement("canvas");
  [tint.width, tint.height] = [mask.width, mask.height];
  const on = tint.getContext("2d");
  on.drawImage(mask, 0, 0);
  on.globalCompositeOperation = "source-in";
  on.fillStyle = `rgb(${colourOf(scene.object)})`;
  on.fillRect(0, 0, tint.width, tint.height);
  on.globalCompositeOperation = "destination-over";
  on.drawImage(others, 0, 0);
  return tint;
}

export function paint() {
  const { width, height } = canvas;
  pen.clearRect(0, 0, width, height);
  if (scene.before) pen.drawImage(scene.before, 0, 0, width, height);
  if (scene.wipe !== null && scene.after) {
    const x = Math.round(width * scene.wipe);
    pen.save();
    pen.beginPath();
    pen.rect(x, 0, width - x, height);
    pen.clip();
    pen.drawImage(scene.after, 0, 0, width, height);
    pen.restore();
    pen.fillStyle = "#fff";
    pen.fillRect(x - width / 600, 0, width / 300, height);
    pen.beginPath();
    pen.arc(x, height / 2, width / 60, 0, 7);
    pen.fill();
  } else if (scene.showMask) {
    pen.globalAlpha = 0.5;
    pen.drawImage(tinted(), 0, 0);
    pen.globalAlpha = 1;
  }
  const box = scene.drag?.box ?? scene.waiting;
  if (box) {
    pen.setLineDash([6, 4]);
    pen.lineWidth = Math.max(width / 400, 1);
    pen.strokeStyle = "#fff";
    pen.strokeRect(...box);
    pen.setLineDash([]);
  }
}

function point(event) {
  const at = canvas.getBoundingClientRect();
  return [((event.clientX - at.left) / at.width) * canvas.width, ((event.clientY - at.top) / at.height) * canvas.height];
}

function stroke(from, to) {
  ink.globalCompositeOperation = scene.tool === "erase" ? "destination-out" : "source-over";
  ink.lineCap = "round";
  ink.lineWidth = (scene.size * canvas.width) / canvas.getBoundingClientRect().width;
  ink.strokeStyle = "#fff";
  ink.beginPath();
  ink.moveTo(...from);
  ink.lineTo(...to);
  ink.stroke();
  ink.globalCompositeOperation = "source-over";
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  scene.drag = { from: point(event), last: point(event) };
  if (scene.wipe !== null) return onWipe(point(event)[0] / canvas.width);
  if (!scene.showMask) { scene.drag = null; return; }
  if (scene.tool === "click") { onMark("click", [...point(event), !event.shiftKey]); scene.drag = null; return; }
  if (scene.tool !== "box") { onMark("begin"); stroke(scene.drag.from, scene.drag.from); paint(); }
});

canvas.addEventListener("pointermove", (event) => {
  if (!scene.drag) return;
  const [x, y] = point(event), { from } = scene.drag;
  if (scene.wipe !== null) return onWipe(Math.min(Math.max(x / canvas.width, 0), 1));
  if (scene.tool === "box") scene.drag.box = [Math.min(from[0], x), Math.min(from[1], y), Math.abs(x - from[0]), Math.abs(y - from[1])];
  else { stroke(scene.drag.last, [x, y]); scene.drag.last = [x, y]; }
  paint();
});

canvas.addEventListener("pointerup", () => {
  const drag = scene.drag;
  scene.drag = null;
  if (!drag || scene.wipe !== null) return;
  if (scene.tool !== "box") onMark("drawn");
  else if (drag.box && drag.box[2] > 3 && drag.box[3] > 3) {
    scene.waiting = drag.box; // shown until its mask is there
    canvas.classList.add("waiting");
    onMark("box", drag.box);
  }
  paint();
});
