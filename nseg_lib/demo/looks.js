/* How the refiner looks at a picture, step by step as nseg_lib/networks/looks.py and crops.py do it.
   The numbers come from Python, in network.json. Planes are bytes, 0 or 1, row by row. */

import { paintCapsule } from "./canvas.js";

/** Object and background of a drawing, as nseg_lib.strokes.drawing.rasterize paints them. */
export function rasterize(strokes, height, width) {
  const labels = new Uint8Array(width * height), kinds = { erase: 0, object: 1, background: 2 };
  for (const { kind, points } of strokes) {
    if (kind === "box") continue;
    for (let i = Math.min(1, points.length - 1); i < points.length; i++) {
      paintCapsule(labels, width, height, points[Math.max(0, i - 1)], points[i], kinds[kind]);
    }
  }
  return { object: labels.map((v) => v === 1), background: labels.map((v) => v === 2) };
}

/** The last box of a drawing as [left, top, right, bottom] in whole pixels, or null. */
export function boxOf(strokes, height, width) {
  const last = strokes.findLast((stroke) => stroke.kind === "box");
  if (!last) return null;
  const [[x0, y0], [x1, y1]] = last.points;
  const left = Math.max(0, Math.floor(Math.min(x0, x1))), right = Math.min(width, Math.ceil(Math.max(x0, x1)));
  const top = Math.max(0, Math.floor(Math.min(y0, y1))), bottom = Math.min(height, Math.ceil(Math.max(y0, y1)));
  const empty = Math.abs(x1 - x0) < 1 || Math.abs(y1 - y0) < 1 || left >= right || top >= bottom;
  return empty ? null : [left, top, right, bottom];
}

/** As Python rounds: halves to the even number. */
function round(value) {
  const low = Math.floor(value), part = value - low;
  return part > 0.5 || (part === 0.5 && low % 2) ? low + 1 : low;
}

// --- crops: { top, bottom, left, right } ---

function boundingBox(plane, width, { top, bottom, left, right }) {
  const found = { top: bottom, bottom: top, left: right, right: left };
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      if (!plane[y * width + x]) continue;
      found.top = Math.min(found.top, y);
      found.bottom = y + 1;
      found.left = Math.min(found.left, x);
      found.right = Math.max(found.right, x + 1);
    }
  }
  return found.bottom > found.top ? found : null;
}

const longer = (crop) => Math.max(crop.bottom - crop.top, crop.right - crop.left);

function around(box, halfRows, halfColumns, { height, width }) {
  const y = (box.top + box.bottom) / 2, x = (box.left + box.right) / 2;
  const top = round(y - halfRows), left = round(x - halfColumns);
  return { top: Math.max(0, top), bottom: Math.min(height, Math.max(round(y + halfRows), top + 1)),
    left: Math.max(0, left), right: Math.min(width, Math.max(round(x + halfColumns), left + 1)) };
}

function look(stroke, background, size, numbers) {
  const all = { top: 0, left: 0, bottom: size.height, right: size.width };
  const box = boundingBox(stroke, size.width, all);
  const reach = Math.max(numbers.reach * longer(box), numbers.minReach * Math.max(size.height, size.width), numbers.minMargin);
  const crop = around(box, reach, reach, size), beside = numbers.beside * longer(box);
  const marked = beside && boundingBox(background, size.width, around(box, beside, beside, size));
  if (!marked) return crop;
  return { top: Math.min(crop.top, marked.top), bottom: Math.max(crop.bottom, marked.bottom),
    left: Math.min(crop.left, marked.left), right: Math.max(crop.right, marked.right) };
}

function zoom(found, margin, size, numbers) {
  const box = boundingBox(found, size.width, { top: 0, left: 0, bottom: size.height, right: size.width });
  const more = Math.max(margin * longer(box), numbers.minMargin);
  return around(box, (box.bottom - box.top) / 2 + more, (box.right - box.left) / 2 + more, size);
}

function overlap(a, b) {
  const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const both = Math.max(0, height) * Math.max(0, width);
  const area = (crop) => (crop.bottom - crop.top) * (crop.right - crop.left);
  return both / (area(a) + area(b) - both);
}

// --- sizes ---

/** For each of `to` places, the places of `from` that it is made of and their weights: averages over
    areas where a picture shrinks, linear between the two nearest where it grows. */
function weightsOf(from, to, shrinks) {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    if (shrinks) {
      const begin = i * scale, end = Math.min(from, begin + scale), parts = [];
      for (let j = Math.floor(begin); j < end - 1e-9; j++) {
        parts.push([j, (Math.min(end, j + 1) - Math.max(begin, j)) / (end - begin)]);
      }
      return parts;
    }
    const at = Math.min(Math.max((i + 0.5) * scale - 0.5, 0), from - 1), low = Math.floor(at);
    return at === low ? [[low, 1]] : [[low, 1 - (at - low)], [low + 1, at - low]];
  });
}

/** `at(row, column)` of height×width values, at another size. */
function resize(at, height, width, newHeight, newWidth, shrinks) {
  const rows = weightsOf(height, newHeight, shrinks), columns = weightsOf(width, newWidth, shrinks);
  const narrow = new Float32Array(height * newWidth), out = new Float32Array(newHeight * newWidth);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < newWidth; x++) {
      let sum = 0;
      for (const [j, weight] of columns[x]) sum += weight * at(y, j);
      narrow[y * newWidth + x] = sum;
    }
  }
  for (let y = 0; y < newHeight; y++) {
    for (const [j, weight] of rows[y]) {
      for (let x = 0; x < newWidth; x++) out[y * newWidth + x] += weight * narrow[j * newWidth + x];
    }
  }
  return out;
}

/** The network's logits for a crop whose longer side it sees at `longest` pixels, over all of the picture. */
async function lookAt(run, numbers, image, planes, crop, longest) {
  const rows = crop.bottom - crop.top, columns = crop.right - crop.left, { width } = image;
  const scale = longest / Math.max(rows, columns);
  const h = Math.max(1, round(rows * scale)), w = Math.max(1, round(columns * scale));
  const full = [h, w].map((side) => Math.ceil(side / numbers.stride) * numbers.stride), area = full[0] * full[1];
  const values = new Float32Array(6 * area), shrinks = h * w < rows * columns;
  values.fill(numbers.grey, 0, 3 * area);
  for (let channel = 0; channel < 6; channel++) {
    const plane = planes[channel - 3];
    const at = channel < 3
      ? (y, x) => image.pixels[4 * ((crop.top + y) * width + crop.left + x) + channel]
      : (y, x) => 255 * plane[(crop.top + y) * width + crop.left + x];
    const small = resize(at, rows, columns, h, w, shrinks);
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++) values[channel * area + y * full[1] + x] = round(small[y * w + x]) / 255;
    }
  }
  const answer = await run(values, full[0], full[1]);
  const large = resize((y, x) => answer[y * full[1] + x], h, w, rows, columns, false);
  const logits = new Float32Array(image.width * image.height).fill(numbers.outside);
  for (let y = 0; y < rows; y++) {
    logits.set(large.subarray(y * columns, (y + 1) * columns), (crop.top + y) * width + crop.left);
  }
  return logits;
}

/** How far each place is from a marked one, as OpenCV's distance transform with a mask of 3 has it. */
function distances(marks, height, width) {
  const straight = 0.955, slant = 1.3693, out = Float32Array.from(marks, (value) => (value ? 0 : 1e9));
  const near = (i, x, y, dx, dy, step) => {
    if (x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height) out[i] = Math.min(out[i], out[i + dy * width + dx] + step);
  };
  for (const sign of [-1, 1]) {
    for (let n = 0; n < height * width; n++) {
      const i = sign < 0 ? n : height * width - 1 - n, x = i % width, y = (i - x) / width;
      near(i, x, y, sign, 0, straight);
      for (const [dx, step] of [[-1, slant], [0, straight], [1, slant]]) near(i, x, y, dx, sign, step);
    }
  }
  return out;
}

/** Take out of `changed` every connected part that holds no place of `near`. */
function connectedTo(changed, near, height, width) {
  const kept = new Uint8Array(changed.length), stack = [];
  for (let i = 0; i < changed.length; i++) if (changed[i] && near[i]) { kept[i] = 1; stack.push(i); }
  while (stack.length) {
    const i = stack.pop(), x = i % width, y = (i - x) / width;
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        const j = i + dy * width + dx;
        if (x + dx < 0 || x + dx >= width || y + dy < 0 || y + dy >= height || !changed[j] || kept[j]) continue;
        kept[j] = 1;
        stack.push(j);
      }
    }
  }
  return kept;
}

/** Let a correction change what its marks touch, and leave the rest of the mask as it was. */
function correctNearMarks(logits, stroke, outside, last, numbers, { height, width }) {
  const marks = stroke.map((value, i) => (value & (1 - last[i])) | (outside[i] & last[i]));
  if (!marks.some(Boolean)) return logits;
  const box = boundingBox(last.map((value, i) => value | stroke[i]), width, { top: 0, left: 0, bottom: height, right: width });
  const radius = Math.max(3, round(numbers.correctionReach * longer(box)));
  const near = Uint8Array.from(distances(marks, height, width), (value) => value <= radius);
  const found = Uint8Array.from(logits, (value) => value > 0);
  for (const sign of [-1, 1]) { // what is added, and what is taken away
    const changed = found.map((value, i) => (sign < 0 ? value & (1 - last[i]) : last[i] & (1 - value)));
    const kept = connectedTo(changed, near, height, width);
    for (let i = 0; i < changed.length; i++) if (changed[i] && !kept[i]) logits[i] = sign * numbers.unchanged;
  }
  for (let i = 0; i < logits.length; i++) if (stroke[i] && !last[i] && logits[i] <= 0) logits[i] = numbers.unchanged;
  return logits;
}

/** The refiner's mask of a prompt, a byte per pixel: its looks, without the edge network. */
export async function refine(run, numbers, image, { object, background, last, inside, box }) {
  const any = object.some(Boolean), outside = background.map((value, i) => value | (1 - inside[i]));
  const stroke = any ? object : outside.map((value) => 1 - value); // a box alone is painted full
  const union = (a, b) => a.map((value, i) => value | b[i]), corrects = last.some(Boolean);
  let crop;
  if (corrects) crop = zoom(union(stroke, last), numbers.correctionMargin, image, numbers);
  else if (box) crop = zoom(inside, numbers.correctionMargin, image, numbers);
  else crop = look(stroke, outside, image, numbers);
  let logits = await lookAt(run, numbers, image, [stroke, outside, last], crop, numbers.look);
  for (let number = 1; number < (corrects ? Math.min(numbers.looks, 2) : numbers.looks); number++) {
    const found = Uint8Array.from(logits, (value) => value > 0);
    const close = zoom(union(found, stroke), numbers.zoomMargin, image, numbers);
    if (number === 1 && overlap(close, crop) > numbers.same && numbers.zoom <= numbers.look) break;
    logits = await lookAt(run, numbers, image, [stroke, outside, found], close, numbers.zoom);
  }
  logits = logits.map((value, i) => (outside[i] ? numbers.outside : value));
  if (corrects && numbers.local) logits = correctNearMarks(logits, stroke, outside, last, numbers, image);
  return Uint8Array.from(logits, (value) => value > 0);
}
