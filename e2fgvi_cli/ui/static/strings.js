// Every word of the page, a row a language.
const words = {
  en: {
    clip: "Clip", tools: "Tools", size: "Brush size", wipe: "Wipe between before and after", scrub: "Frame",
    box: "Box around the object", click: "Click the object (Shift: not the object)", brush: "Brush: paint", erase: "Eraser", undo: "Undo", clear: "Clear this frame", play: "Play",
    mark: "Mark the object", markHelp: "Go to a frame that shows it well. Draw a box around it, or click on it. Mend what is coloured: brush and eraser; click: more, Shift-click: less.",
    objects: "Objects", object: "Object", another: "Mark another object, which is followed apart",
    track: "Follow it", trackHelp: "Forwards and backwards through the clip. Mend a frame and follow again where it slips.",
    test: "Test this frame", testHelp: "Fills only the frame you see, as the whole run will.",
    fill: "Fill the clip", fillHelp: "Every frame, with sound. You may close this page: the run goes on.",
    batch: "All clips", batchHelp: "Write a list of all clips that are marked, for one run overnight.",
    "do-track": "Follow both ways", "do-test": "Fill this frame", "do-fill": "Fill all frames", "do-batch": "Write the list",
    cancel: "Cancel", copy: "Copy", copied: "Copied", command: "The same on the command line",
    edit: "Mask", before: "Before", compareTest: "Wipe: test", compareAfter: "Wipe: result",
    hintBox: "Draw a box around what should go", hintClick: "Click the object, Shift-click what is not it", hintBrush: "Paint over the object", hintErase: "Take away what is too much",
    finding: "Finding the object …", found: "What is coloured goes. Too much or too little? Mend it. Then follow it.",
    marked: "Marked frames: ", lost: "Look at frames: ", stale: "Marks changed since: follow again. ", output: "Result: ",
    running: { track: "Following", test: "Testing the frame", fill: "Filling" },
    done: { track: "Followed. Scrub through it, then test a frame.", test: "This is how the frame will look. Drag the wipe to compare.", fill: "Done. Drag the wipe to compare." },
    cancelled: "Cancelled.", ending: "Ending …", soFar: "so far ", left: "left", frames: "frames", gone: "The program has ended: start `e2fgvi ui` again.", queued: "clips in the list.",
  },
  zh: {
    clip: "片段", tools: "工具", size: "画笔大小", wipe: "前后对比", scrub: "帧",
    box: "框选物体", click: "点选物体（Shift：排除）", brush: "画笔", erase: "橡皮", undo: "撤销", clear: "清除本帧", play: "播放",
    mark: "标记物体", markHelp: "找到物体清晰的一帧，在它周围画框，或点选它。再修整着色部分：画笔和橡皮；点击增加，按住 Shift 点击减少。",
    objects: "物体", object: "物体", another: "标记另一个物体，单独跟踪",
    track: "跟踪", trackHelp: "向前和向后跟踪整个片段。哪里不准，修好那一帧再跟踪一次。",
    test: "试填本帧", testHelp: "只填充当前这一帧，结果与完整运行相同。",
    fill: "填充整个片段", fillHelp: "处理全部帧并保留声音。可以关闭此页面，任务会继续。",
    batch: "全部片段", batchHelp: "把所有已标记的片段写入清单，一次运行。",
    "do-track": "双向跟踪", "do-test": "填充本帧", "do-fill": "填充全部帧", "do-batch": "写入清单",
    cancel: "取消", copy: "复制", copied: "已复制", command: "等效命令",
    edit: "蒙版", before: "原片", compareTest: "对比：试填", compareAfter: "对比：结果",
    hintBox: "在要去除的物体周围画框", hintClick: "点击物体，按住 Shift 点击排除", hintBrush: "涂抹物体", hintErase: "擦去多余部分",
    finding: "正在查找物体……", found: "着色部分将被去除。多了或少了？修整后再跟踪。",
    marked: "已标记的帧：", lost: "请检查这些帧：", stale: "标记已更改，请重新跟踪。", output: "结果：",
    running: { track: "正在跟踪", test: "正在试填", fill: "正在填充" },
    done: { track: "跟踪完成。浏览一遍，再试填一帧。", test: "这一帧填充后的样子。拖动分界线进行对比。", fill: "完成。拖动分界线进行对比。" },
    cancelled: "已取消。", ending: "正在结束……", soFar: "已用 ", left: "剩余", frames: "帧", gone: "程序已结束：请重新运行 `e2fgvi ui`。", queued: "个片段已写入清单。",
  },
};

let language = localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en");

export const t = (name) => words[language][name];
export const chosen = () => language;

export function choose(other) {
  language = other;
  localStorage.setItem("language", other);
}

export function translate() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t(node.dataset.label));
  for (const node of document.querySelectorAll("[data-tool], #undo, #clear, #play")) {
    const word = t(node.dataset.tool || node.id);
    node.title = `${word} (${node.dataset.key})`;
    node.setAttribute("aria-label", word);
  }
  for (const id of ["do-track", "do-test", "do-fill", "do-batch"]) document.getElementById(id).textContent = t(id);
  document.getElementById("copy").textContent = t("copy");
  document.getElementById("language").textContent = language === "en" ? "中文" : "English";
}
