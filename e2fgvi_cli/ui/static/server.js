// What the page asks of the program. Addresses are relative: the token is part of the page's own.
export class Refused extends Error {}
export class Gone extends Error {} // nobody answers

const reach = (path, options) => fetch(path, options).catch(() => { throw new Gone(); });

async function ask(path, options = {}) {
  const answer = await reach(path, options);
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Refused(body.error), { conflict: answer.status === 409 });
  return body;
}

const at = (clip) => `api/clip/${encodeURIComponent(clip)}`;

export const clips = () => ask("api/clips");
export const state = (clip) => ask(at(clip));
export const start = (clip, kind, frame) => ask(`${at(clip)}/start/${kind}?frame=${frame}`, { method: "POST" });
export const cancel = () => ask("api/cancel", { method: "POST" });
export const batch = () => ask("api/batch", { method: "POST" });

export function mark(clip, object, frame, revision, { box, points, png }) {
  const headers = { "X-Revision": revision }, path = `${at(clip)}/mark/${frame}?object=${object}`;
  if (!box && !points && !png) return ask(path, { method: "DELETE", headers });
  headers["Content-Type"] = png ? "image/png" : "application/json";
  return ask(path, { method: "PUT", headers, body: png ?? JSON.stringify(box ? { box } : { points }) });
}

const kept = new Map(); // pictures last shown, so that scrubbing back costs nothing

// A picture of a frame: "before", "after", "test" or "mask". `version` changes when the picture may have changed.
export function picture(clip, what, frame, version = 0) {
  const address = `${at(clip)}/${what}/${frame}?v=${version}`;
  if (!kept.has(address)) {
    if (kept.size > 120) kept.delete(kept.keys().next().value);
    kept.set(address, reach(address).then(async (answer) => {
      if (!answer.ok) throw new Refused((await answer.json()).error);
      return createImageBitmap(await answer.blob());
    }));
    kept.get(address).catch(() => kept.delete(address));
  }
  return kept.get(address);
}
