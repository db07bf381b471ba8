/* The network in a worker: it keeps the picture, and answers each drawing with a mask. */

import * as ort from "./runtime/ort.wasm.bundle.min.mjs";
import { boxOf, rasterize, refine } from "./looks.js";
import { cutout, outline } from "./results.js";

ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // threads need headers that a plain web server does not send

const MAX_SHOWN = 4e6; // pixels, as in Python

const note = (text, level = "info") => postMessage({ type: "note", text, level });
const numbers = fetch("network.json").then((answer) => answer.json());
const session = fetch("network.onnx").then((answer) => answer.arrayBuffer())
  .then((bytes) => ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] }));

let picture = null; // { key, width, height, pixels }
const NOTHING = { strokes: [], mask: null, steps: [], sure: null, unsure: null };
let shown = NOTHING; // the last drawing that was answered; and how many strokes there were at each mask on its way
let known = new Map(); // drawing → its answer: undo brings back the very same one
let newest = null;

/** The network as a function of 1×6×h×w numbers. */
async function run(values, height, width) {
  const input = new ort.Tensor("float32", values, [1, 6, height, width]);
  const { logits } = await (await session).run({ input });
  return logits.data;
}

/** The mask of a drawing (a byte per pixel), what there is to say about it, its steps, how sure the
    network is of it (null where it was not asked), and where it is not, as nseg_lib/arrays.py has it. */
async function maskOf(strokes) {
  const { width, height, pixels } = picture, size = width * height;
  const { object, background } = rasterize(strokes, height, width), box = boxOf(strokes, height, width);
  // The last mask is corrected where strokes were only added.
  const before = shown.strokes, goes = before.length && before.length < strokes.length
    && JSON.stringify(strokes.slice(0, before.length)) === JSON.stringify(before) && shown.mask.some(Boolean);
  const steps = [...(goes ? shown.steps : []), strokes.length];
  if (object.every((value, i) => value || background[i])) return [object, "", steps]; // as with an outline
  const inside = new Uint8Array(size).fill(box ? 0 : 1);
  if (box) for (let y = box[1]; y < box[3]; y++) inside.fill(1, y * width + box[0], y * width + box[2]);
  let brushed = 0;
  for (let i = 0; i < size; i++) brushed |= (object[i] &= inside[i]);
  if (!brushed && !box) {
    return [new Uint8Array(size), background.some(Boolean) ? "Background alone gives no mask: brush over the object too." : "", steps];
  }
  const last = goes ? shown.mask : new Uint8Array(size);
  const asked = await numbers;
  const { mask, logits } = await refine(run, asked, { pixels, width, height }, {
    object, background, last, inside, box, extent: strokes.findLast((s) => s.extent)?.extent,
  });
  const added = rasterize(strokes.filter((s) => s.kind !== "object" || s.correction), height, width).object;
  const unsure = new Uint8Array(size), [low, high] = asked.unsure;
  let within = 0, beyond = 0, count = 0; // sums of probabilities; pixels
  for (let i = 0; i < size; i++) {
    mask[i] = (mask[i] | added[i]) & ~background[i] & inside[i] & 1;
    // A stroke, the box and what was not looked at leave nothing open.
    const away = background[i] || !inside[i] || (logits[i] <= asked.outside && !added[i]);
    const probability = away ? 0 : added[i] ? 1 : 1 / (1 + Math.exp(-logits[i] / asked.temperature));
    unsure[i] = probability > low && probability < high ? 1 : 0;
    if (mask[i]) { within += probability; count++; } else beyond += probability;
  }
  const text = brushed ? "" : "The box alone says little: a line or a click on the object makes the mask better.";
  return [mask, text, steps, count ? within / (count + beyond) : 0, unsure];
}

/** A picture's file of RGBA pixels. */
async function png(rgba, width = picture.width, height = picture.height) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(rgba, width), 0, 0);
  return (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer();
}

/** The mask as the canvas shows it: opaque where it is, of at most MAX_SHOWN pixels. */
function cover(mask) {
  const { width, height } = picture, scale = Math.min(1, Math.sqrt(MAX_SHOWN / mask.length));
  const w = Math.max(1, Math.round(width * scale)), h = Math.max(1, Math.round(height * scale));
  const words = new Uint32Array(w * h);
  for (let y = 0; y < h; y++) {
    const row = Math.min(height - 1, Math.floor((y + 0.5) / scale)) * width;
    for (let x = 0; x < w; x++) {
      if (mask[row + Math.min(width - 1, Math.floor((x + 0.5) / scale))]) words[y * w + x] = 0xffffffff;
    }
  }
  return png(new Uint8ClampedArray(words.buffer), w, h);
}

/** Show a drawing's mask, which is made if it is not known; what there is to say about it. */
async function ask(strokes) {
  const key = JSON.stringify(strokes);
  if (!known.has(key)) known.set(key, await maskOf(strokes));
  const [mask, text, steps, sure = null, unsure = null] = known.get(key);
  shown = { strokes, mask, steps, sure, unsure };
  return text;
}

async function answer(drawing) {
  newest = drawing;
  await 0; // another drawing may have come already
  if (drawing !== newest || drawing.picture !== picture?.key) return;
  const started = performance.now(), text = await ask(drawing.strokes), { mask } = shown;
  let count = 0;
  for (let i = 0; i < mask.length; i++) count += mask[i];
  const data = count ? await cover(mask) : null;
  postMessage({ type: "answer", answer: { picture: drawing.picture, revision: drawing.revision, png: data,
    share: count / mask.length, sure: shown.sure, seconds: (performance.now() - started) / 1000 } });
  note(text);
}

async function save({ what, name, drawing }) {
  await answer(drawing);
  const { mask, strokes, steps } = shown;
  if (what === "strokes") return postMessage({ type: "strokes", strokes, steps });
  if (!mask?.some(Boolean)) return note("The mask is empty: brush over the object first.", "error");
  const words = Uint32Array.from(mask, (inside) => inside ? 0xffffffff : 0xff000000); // white on black
  const data = what === "mask" ? png(new Uint8ClampedArray(words.buffer)) : cutout(picture, mask);
  postMessage({ type: "file", file: { name: `${name}_${what}.png`, data: await data } });
}

/** The outline of a drawing's mask, whose points the canvas lets people drag. */
async function sendOutline({ drawing }) {
  await answer(drawing);
  if (shown.strokes !== drawing.strokes) return; // another drawing came
  const rings = outline(shown.mask, picture.width, picture.height);
  if (rings.reduce((sum, ring) => sum + ring.length, 0) > (await numbers).outlinePoints) {
    return note("This outline has too many points to be put right by hand.", "error");
  }
  postMessage({ type: "outline", outline: { revision: drawing.revision, rings } });
}

/** Where the network is not sure of a drawing's mask, for the canvas to hatch. */
async function sendUnsure({ revision, strokes }) {
  if (JSON.stringify(shown.strokes) !== JSON.stringify(strokes)) return; // it asks again after its answer
  const { unsure } = shown, png = unsure?.some(Boolean) ? await cover(unsure) : new ArrayBuffer(0);
  postMessage({ type: "unsure", unsure: { revision, known: !!unsure }, png });
}

let line = Promise.resolve(); // one after the other
onmessage = ({ data }) => {
  if (data.type === "draw") newest = data.drawing;
  line = line.then(async () => {
    if (data.type === "open") {
      picture = data;
      known = new Map();
      shown = NOTHING;
    } else if (data.type === "draw") {
      if (data.drawing === newest) await answer(data.drawing);
    } else if (data.type === "replay") { // as it was drawn: each mask corrects the last one
      for (const count of [0, ...data.steps.slice(0, -1)]) await ask(data.strokes.slice(0, count));
    } else if (data.type === "outline") await sendOutline(data);
    else if (data.type === "unsure") await sendUnsure(data.drawing);
    else await save(data);
  }).catch((error) => note(`The network failed: ${error.message}`, "error"));
};
