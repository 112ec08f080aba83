import * as server from "./server.js";
import * as stage from "./stage.js";
import { choose, chosen, t, translate } from "./strings.js";

const $ = (id) => document.getElementById(id);
const now = { clip: "", state: null, frame: 0, object: 1, view: "edit", tool: "box", undo: [], before: null, finding: false, playing: 0, polling: 0, batch: "" };
let drawn = 0; // of the frame being loaded: an older one that arrives later is not shown

function say(text, bad = false) {
  $("said").hidden = !text;
  $("said").textContent = text || "";
  $("said").classList.toggle("bad", bad);
}

async function trying(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof server.Refused || error instanceof server.Gone)) throw error;
    say(error instanceof server.Refused ? error.message : t("gone"), true);
    if (error.conflict) { take(await server.state(now.clip)); await show(); }
  }
}

function take(state) {
  const was = now.state?.job;
  now.state = state;
  const job = state.job;
  if (job && was?.state === "running" && job.state !== "running" && job.clip === now.clip) finished(job);
  if (job?.state === "running" && !now.polling) now.polling = setInterval(poll, 500);
  if (job?.state !== "running" && now.polling) { clearInterval(now.polling); now.polling = 0; }
  refresh();
}

const poll = () => trying(async () => take(await server.state(now.clip)));

function finished(job) {
  if (job.state === "done") {
    say(t("done")[job.kind]);
    if (job.kind === "test") { now.view = "test"; now.frame = job.frame; }
    if (job.kind === "fill") now.view = "after";
    if (job.kind === "track") now.view = "edit";
  } else say(job.state === "cancelled" ? t("cancelled") : job.message, job.state === "failed");
  show();
}

const marksOf = (state, object) => state.marks[object] ?? {};
const isMarked = (state, frame) => Object.values(state.marks).some((frames) => String(frame) in frames);
const hasMask = (state, frame) => state.tracked || isMarked(state, frame);

async function show() {
  const { state, clip, frame, view } = now, mine = ++drawn;
  refresh();
  await trying(async () => {
    const wanted = view === "test" && !state.tested.includes(frame) ? null : view;
    const [before, mask, after] = await Promise.all([
      server.picture(clip, "before", frame),
      view === "edit" && hasMask(state, frame) ? server.picture(clip, "mask", frame, state.revision) : null,
      wanted === "test" || wanted === "after" ? server.picture(clip, wanted, frame, state.revision) : null,
    ]);
    if (mine !== drawn) return;
    stage.resize(state.width, state.height);
    stage.setMask(mask, now.object);
    stage.set({ before, after, showMask: view === "edit", wipe: after ? $("wipe").value / 100 : null });
    stage.element.dataset.frame = frame;
  });
}

// --- what is drawn --------------------------------------------------------

let turn = Promise.resolve(); // one change after the other: each needs the revision that the last one made
const inTurn = (work) => (turn = turn.then(work));

async function remembered() {
  const { state, frame, object } = now, of = String(frame);
  const before = state.given[object]?.[of] ?? (of in marksOf(state, object) ? { png: await stage.maskPng() } : {});
  return { clip: now.clip, frame, object, before };
}

async function send(frame, mark) {
  const finds = Boolean(mark.box || mark.points);
  await trying(async () => {
    say("");
    now.finding = finds; // the first time the program loads what finds objects
    refresh();
    take(await server.mark(now.clip, now.object, frame, now.state.revision, mark));
    if (finds && !now.state.tracked) say(t("found"));
  });
  now.finding = false;
  await show();
}

async function marked(what, box) {
  if (what === "click") {
    const { state, frame, object } = now, before = state.given[object]?.[String(frame)]?.points ?? [];
    now.undo.push(await remembered());
    return send(frame, { points: [...before, box] });
  }
  if (what === "begin") { now.before = remembered(); return; }
  now.undo.push(await (what === "box" ? remembered() : now.before));
  await send(now.frame, what === "box" ? { box } : { png: await stage.maskPng() });
}

async function undo() {
  const last = now.undo.pop();
  if (!last) return;
  if (last.clip !== now.clip) await open(last.clip);
  [now.frame, now.object] = [last.frame, last.object];
  now.view = "edit";
  await send(last.frame, last.before);
}

async function clear() {
  if (!(String(now.frame) in marksOf(now.state, now.object))) return;
  now.undo.push(await remembered());
  await send(now.frame, {});
}

// --- objects --------------------------------------------------------------

const MOST = 9; // those that a key chooses
const numbered = () => [...new Set([...now.state.objects, now.object])].sort((a, b) => a - b);
const free = () => Array.from({ length: MOST }, (_, at) => at + 1).find((number) => !numbered().includes(number));

function chooseObject(number) {
  now.object = number;
  now.view = "edit";
  return show();
}

function objects() {
  const pills = numbered().map((number) => {
    const pill = document.createElement("button");
    pill.id = `object-${number}`;
    pill.textContent = number;
    pill.title = `${t("object")} ${number} (${number})`;
    pill.setAttribute("aria-label", `${t("object")} ${number}`);
    pill.setAttribute("aria-pressed", number === now.object);
    pill.style.setProperty("--of", `rgb(${stage.colourOf(number)})`);
    pill.onclick = () => chooseObject(number);
    return pill;
  });
  const more = document.createElement("button");
  [more.id, more.textContent, more.title] = ["object-new", "+", t("another")];
  more.setAttribute("aria-label", t("another"));
  more.disabled = !Object.keys(marksOf(now.state, now.object)).length || !free();
  more.onclick = () => chooseObject(free());
  const label = document.createElement("span");
  label.className = "quiet";
  label.textContent = t("object");
  $("objects").replaceChildren(label, ...pills, more);
}

// --- what is shown --------------------------------------------------------

function views() {
  const { state } = now;
  const names = { edit: "edit", before: "before" };
  if (state.tested.length) names.test = "compareTest";
  if (state.filled) names.after = "compareAfter";
  if (!(now.view in names)) now.view = "edit";
  $("views").replaceChildren(...Object.entries(names).map(([view, word]) => {
    const tab = document.createElement("button");
    tab.role = "tab";
    tab.id = `view-${view}`;
    tab.textContent = t(word);
    tab.setAttribute("aria-selected", view === now.view);
    tab.onclick = () => {
      now.view = view;
      if (view === "test" && !state.tested.includes(now.frame)) now.frame = state.tested[0];
      show();
    };
    return tab;
  }));
}

function strip() {
  const pen = $("strip").getContext("2d"), { width, height } = $("strip"), { state } = now;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  pen.clearRect(0, 0, width, height);
  const step = width / state.frames;
  state.confidence.forEach((sure, frame) => {
    pen.fillStyle = colour(sure > 0.8 ? "--good" : sure > 0.5 ? "--fair" : "--bad");
    const tall = Math.max(sure, 0.2) * height;
    pen.fillRect(frame * step, height - tall, Math.max(step - 0.5, 1), tall);
  });
  Object.entries(state.marks).forEach(([object, frames], at, { length }) => {
    pen.fillStyle = `rgb(${stage.colourOf(Number(object))})`;
    for (const frame of Object.keys(frames)) pen.fillRect(frame * step, (at * height) / length, Math.max(step, 4), height / length);
  });
}

const clock = (seconds) => `${Math.floor(Math.ceil(seconds) / 60)}:${String(Math.ceil(seconds) % 60).padStart(2, "0")}`;

function showJob(job) {
  const running = job?.state === "running";
  $("job").hidden = !running;
  document.title = `${running && job.clip === now.clip ? `${Math.floor(job.share * 100)} % · ` : ""}${now.clip} · e2fgvi`;
  if (!running) return;
  $("job-what").textContent = `${t("running")[job.kind]}${job.clip === now.clip ? "" : ` · ${job.clip}`} ${job.total ? `${job.done}/${job.total}` : ""}`;
  $("job-eta").textContent = job.eta === null ? t("soFar") + clock(job.seconds) : `${clock(job.eta)} ${t("left")}`;
  if (job.share > 0) $("job-bar").value = job.share;
  else $("job-bar").removeAttribute("value"); // it moves to and fro
  $("job-cancel").disabled = job.ending;
  $("job-cancel").textContent = t(job.ending ? "ending" : "cancel");
}

function looks(state) {
  const frames = state.look_at;
  const parts = [state.stale ? t("stale") : "", frames.length ? t("lost") : ""];
  $("look").replaceChildren(...parts, ...frames.slice(0, 8).flatMap(([frame, object]) => {
    const link = document.createElement("a"), look = () => { now.object = object; return go(frame); };
    link.textContent = state.objects.length > 1 ? `${frame} (${object})` : frame;
    link.tabIndex = 0;
    link.onclick = look;
    link.onkeydown = (event) => event.key === "Enter" && look();
    return [link, " "];
  }), frames.length > 8 ? "…" : "");
}

const isHeld = (state, frame, object) => String(frame) in marksOf(state, object) || (state.tracked && state.followed.includes(object));

function refresh() {
  const { state, frame } = now;
  if (!state) return;
  views();
  strip();
  objects();
  $("scrub").max = state.frames - 1;
  $("scrub").value = frame;
  $("number").textContent = `${frame} / ${state.frames - 1}`;
  $("facts").textContent = `${state.width}×${state.height} · ${state.frames} ${t("frames")}`;
  $("wipe").hidden = !["test", "after"].includes(now.view);
  const busy = state.job?.state === "running", has = Object.keys(state.marks).length > 0, several = state.objects.length > 1;
  const done = { mark: has, track: state.tracked && !state.stale, test: state.tested.length > 0, fill: state.filled };
  const next = state.filled ? "" : Object.keys(done).find((name) => !done[name]);
  for (const name of Object.keys(done)) {
    $(`step-${name}`).className = done[name] ? "done" : name === next ? "next" : "";
  }
  $("do-track").disabled = busy || !has;
  $("do-test").disabled = $("do-fill").disabled = busy || !state.tracked;
  const listed = Object.entries(state.marks).map(([object, frames]) => (several ? `${object}: ` : "") + Object.keys(frames).join(", "));
  $("marks").textContent = has ? t("marked") + listed.join("; ") : "";
  $("where").textContent = state.filled ? t("output") + state.output : "";
  looks(state);
  showJob(state.job);
  $("hint").textContent = now.finding ? t("finding") : now.view === "edit" && !isHeld(state, frame, now.object) ? t({ box: "hintBox", brush: "hintBrush", erase: "hintErase", click: "hintClick" }[now.tool]) : "";
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === now.tool);
  const kind = busy ? state.job.kind : { test: "test", after: "fill" }[now.view] ?? (state.tracked && !state.stale ? "fill" : has ? "track" : "open");
  $("command-of").textContent = t("command");
  $("command").textContent = now.batch || state.commands[kind] + (kind === "test" ? ` --preview-frame ${busy ? state.job.frame : frame}` : "");
}

function go(frame) {
  now.frame = Math.min(Math.max(frame, 0), now.state.frames - 1);
  if (now.view === "test") now.view = now.state.tested.includes(now.frame) ? "test" : "edit";
  localStorage.setItem(`frame of ${now.clip}`, now.frame);
  return show();
}

function play() {
  $("play").textContent = now.playing ? "▶" : "❚❚";
  if (now.playing) { clearTimeout(now.playing); now.playing = 0; return; }
  const step = async () => {
    const began = performance.now();
    await go((now.frame + 1) % now.state.frames);
    if (now.playing) now.playing = setTimeout(step, Math.max(1000 / now.state.rate - (performance.now() - began), 0));
  };
  now.playing = setTimeout(step, 0);
}

const start = (kind) => trying(async () => {
  say("");
  now.batch = "";
  take(await server.start(now.clip, kind, now.frame));
});

async function open(clip) {
  await trying(async () => {
    now.clip = clip;
    now.batch = "";
    const state = await server.state(clip);
    now.state = null;
    now.object = state.objects[0] ?? 1;
    now.frame = Math.min(Number(localStorage.getItem(`frame of ${clip}`) ?? 0), state.frames - 1);
    now.view = state.filled ? "after" : "edit";
    $("clips").value = clip;
    localStorage.setItem("clip", clip);
    take(state);
    await show();
  });
}

// --- keys and buttons -----------------------------------------------------

const tool = (name) => { now.tool = name; now.view = "edit"; stage.set({ tool: name }); show(); };
const resize = (by) => { $("size").value = Number($("size").value) + by; stage.set({ size: Number($("size").value) }); };
const press = (id) => { if (!$(id).disabled) $(id).click(); };
const chosenBy = (number) => { if (numbered().includes(number)) chooseObject(number); else if (number === free()) press("object-new"); };
const keys = {
  ...Object.fromEntries(Array.from({ length: MOST }, (_, at) => [at + 1, () => chosenBy(at + 1)])),
  b: () => tool("box"), c: () => tool("click"), p: () => tool("brush"), e: () => tool("erase"), z: () => inTurn(undo), x: () => inTurn(clear),
  t: () => press("do-track"), f: () => press("do-test"), r: () => press("do-fill"), " ": play,
  "[": () => resize(-4), "]": () => resize(4), Escape: () => { if (!$("job").hidden) press("job-cancel"); },
  ArrowLeft: (event) => go(now.frame - (event.shiftKey ? 10 : 1)), ArrowRight: (event) => go(now.frame + (event.shiftKey ? 10 : 1)),
  Home: () => go(0), End: () => go(now.state.frames - 1),
};

document.addEventListener("keydown", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const inField = event.target.matches("select, input, a") && key !== "z";
  const ofButton = event.target.matches("button") && key === " ";
  if (!now.state || !keys[key] || inField || ofButton || event.altKey || ((event.ctrlKey || event.metaKey) && key !== "z")) return;
  event.preventDefault();
  keys[key](event);
});
for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => tool(button.dataset.tool);
$("undo").onclick = () => inTurn(undo);
$("clear").onclick = () => inTurn(clear);
$("play").onclick = play;
$("size").oninput = () => resize(0);
$("scrub").oninput = () => go(Number($("scrub").value));
$("strip").onclick = (event) => go(Math.floor((event.offsetX / $("strip").clientWidth) * now.state.frames));
$("wipe").oninput = () => stage.set({ wipe: $("wipe").value / 100 });
$("clips").onchange = () => open($("clips").value);
$("do-track").onclick = () => start("track");
$("do-test").onclick = () => start("test");
$("do-fill").onclick = () => start("fill");
$("do-batch").onclick = () => trying(async () => {
  const { command, clips } = await server.batch();
  now.batch = command;
  say(`${clips} ${t("queued")} ${command}`);
  refresh();
});
$("job-cancel").onclick = () => trying(async () => { await server.cancel(); await poll(); });
$("copy").onclick = async () => { await navigator.clipboard.writeText($("command").textContent); $("copy").textContent = t("copied"); };
$("language").onclick = () => { choose(chosen() === "en" ? "zh" : "en"); translate(); refresh(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => now.state && show());
stage.listen((what, where) => (what === "begin" ? marked(what) : inTurn(() => marked(what, where))), (share) => { $("wipe").value = share * 100; stage.set({ wipe: share }); });

translate();
await trying(async () => {
  const { clips } = await server.clips();
  $("clips").replaceChildren(...clips.map(({ name }) => new Option(name, name)));
  $("step-batch").hidden = clips.length < 2;
  const last = localStorage.getItem("clip");
  await open(clips.some(({ name }) => name === last) ? last : clips[0].name);
});
