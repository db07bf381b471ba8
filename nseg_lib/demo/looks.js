/* How the refiner looks at a picture, step by step as nseg_lib/networks/looks.py and crops.py do it.
   The numbers come from Python, in network.json. Planes are bytes, 0 or 1, row by row. */

import { paintCapsule } from "./canvas.js";

/** Object and background of a drawing, as nseg_lib.strokes.drawing.rasterize paints them. */
export function rasterize(strokes, height, width) {
  const labels = new Uint8Array(width * height), kinds = { erase: 0, object: 1, background: 2 };
  for (let at = 0; at < strokes.length; at++) {
    const { kind, points } = strokes[at];
    if (kind === "box") continue;
    if (kind === "outline") { // and those that follow it at once
      const end = strokes.findIndex((each, i) => i > at && each.kind !== "outline");
      const rings = strokes.slice(at, end < 0 ? strokes.length : end);
      fill(rings.map((each) => each.points), height, width).forEach((odd, i) => { labels[i] = odd ? 1 : 2; });
      at += rings.length - 1;
      continue;
    }
    for (let i = Math.min(1, points.length - 1); i < points.length; i++) {
      paintCapsule(labels, width, height, points[Math.max(0, i - 1)], points[i], kinds[kind]);
    }
  }
  return { object: labels.map((v) => v === 1), background: labels.map((v) => v === 2) };
}

/** The pixels whose centres lie within an odd number of closed lines, a byte each. */
function fill(rings, height, width) {
  const odd = new Uint8Array(width * height);
  for (const ring of rings) {
    ring.forEach(([ax, ay], i) => {
      const [bx, by] = ring[(i + 1) % ring.length];
      const top = Math.max(0, Math.ceil(Math.min(ay, by) - 0.5)), bottom = Math.min(height, Math.ceil(Math.max(ay, by) - 0.5));
      for (let row = top; row < bottom; row++) {
        const x = ax + (row + 0.5 - ay) * ((bx - ax) / (by - ay));
        for (let column = Math.max(0, Math.ceil(x - 0.5)); column < width; column++) odd[row * width + column] ^= 1;
      }
    });
  }
  return odd;
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

// --- sizes: plain loops, since a photograph has millions of pixels ---

/** For each of `to` places: the lower of the two of `from` places that it lies between, and how far
    beyond that, as OpenCV's linear interpolation has it. */
function between(from, to) {
  const low = new Int32Array(to), part = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const at = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    low[i] = Math.min(Math.floor(at), Math.max(0, from - 2));
    part[i] = at - low[i];
  }
  return { low, part };
}

/** rows×columns values `source[start + y * line + x * step]` as h×w, by linear interpolation. */
function interpolate({ source, start, line, step }, rows, columns, h, w, out = new Float32Array(h * w), first = 0, outLine = w) {
  const down = between(rows, h), across = between(columns, w), row = new Float32Array(columns + 1);
  for (let y = 0; y < h; y++) {
    const upper = start + down.low[y] * line, lower = rows > 1 ? upper + line : upper, part = down.part[y];
    for (let x = 0; x < columns; x++) row[x] = source[upper + x * step] * (1 - part) + source[lower + x * step] * part;
    row[columns] = row[columns - 1]; // for a single column
    for (let x = 0, to = first + y * outLine; x < w; x++, to++) {
      const low = across.low[x];
      out[to] = row[low] + (row[low + 1] - row[low]) * across.part[x];
    }
  }
  return out;
}

/** The same by averages over areas, for a picture that shrinks. */
function average({ source, start, line, step }, rows, columns, h, w) {
  const wide = columns / w, tall = rows / h, out = new Float64Array((h + 1) * (w + 1)), row = new Float64Array(w + 1);
  // Of each column, the place that it begins in, and its share there; the rest is the next one's.
  const place = Int32Array.from({ length: columns }, (_, x) => Math.min(w - 1, Math.floor(x / wide + 1e-9)));
  const share = Float64Array.from(place, (at, x) => Math.min(1, (at + 1) * wide - x));
  for (let y = 0; y < rows; y++) {
    row.fill(0);
    for (let x = 0, from = start + y * line; x < columns; x++, from += step) {
      const value = source[from], own = value * share[x];
      row[place[x]] += own;
      row[place[x] + 1] += value - own;
    }
    const at = Math.min(h - 1, Math.floor(y / tall + 1e-9)), own = Math.min(1, (at + 1) * tall - y);
    for (let x = 0; x < w; x++) {
      out[at * (w + 1) + x] += row[x] * own;
      out[(at + 1) * (w + 1) + x] += row[x] * (1 - own);
    }
  }
  const small = new Float32Array(h * w);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) small[y * w + x] = out[y * (w + 1) + x] / (wide * tall);
  }
  return small;
}

/** The network's logits for a crop whose longer side it sees at `longest` pixels, over all of the picture. */
async function lookAt(run, numbers, image, planes, crop, longest) {
  const rows = crop.bottom - crop.top, columns = crop.right - crop.left, { width } = image;
  const scale = longest / Math.max(rows, columns);
  const h = Math.max(1, round(rows * scale)), w = Math.max(1, round(columns * scale));
  const full = [h, w].map((side) => Math.ceil(side / numbers.stride) * numbers.stride), area = full[0] * full[1];
  const values = new Float32Array(6 * area), resize = h * w < rows * columns ? average : interpolate;
  values.fill(numbers.grey, 0, 3 * area);
  const start = crop.top * width + crop.left;
  for (let channel = 0; channel < 6; channel++) {
    const from = channel < 3
      ? { source: image.pixels, start: 4 * start + channel, line: 4 * width, step: 4 }
      : { source: planes[channel - 3], start, line: width, step: 1 };
    const small = resize(from, rows, columns, h, w), white = channel < 3 ? 1 : 255;
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++) values[channel * area + y * full[1] + x] = round(white * small[y * w + x]) / 255;
    }
  }
  const answer = await run(values, full[0], full[1]);
  const logits = new Float32Array(image.width * image.height).fill(numbers.outside);
  interpolate({ source: answer, start: 0, line: full[1], step: 1 }, h, w, rows, columns, logits, start, width);
  return logits;
}

/** Which places are within `radius` of a marked one, by OpenCV's distance transform with a mask of 3. */
function within(marks, radius, height, width) {
  const box = boundingBox(marks, width, { top: 0, left: 0, bottom: height, right: width }), reach = Math.ceil(radius) + 1;
  const top = Math.max(0, box.top - reach), left = Math.max(0, box.left - reach);
  const rows = Math.min(height, box.bottom + reach) - top, columns = Math.min(width, box.right + reach) - left;
  const line = columns + 2, far = new Float32Array(line * (rows + 2)).fill(1e9); // with a rim
  const at = (y, x) => (y + 1) * line + x + 1;
  for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) if (marks[(top + y) * width + left + x]) far[at(y, x)] = 0;
  const straight = 0.955, slant = 1.3693;
  const pass = (i, one) => {
    far[i] = Math.min(far[i], far[i + one] + straight, far[i + one * line] + straight,
      far[i + one * line - 1] + slant, far[i + one * line + 1] + slant);
  };
  for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) pass(at(y, x), -1);
  for (let y = rows - 1; y >= 0; y--) for (let x = columns - 1; x >= 0; x--) pass(at(y, x), 1);
  const near = new Uint8Array(height * width);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) near[(top + y) * width + left + x] = far[at(y, x)] <= radius;
  }
  return near;
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

/** Let a correction change what its marks touch, in their direction, and leave the rest of the mask as it was. */
function correctNearMarks(logits, stroke, outside, last, numbers, { height, width }) {
  const added = stroke.map((value, i) => value & (1 - last[i])), removed = outside.map((value, i) => value & last[i]);
  if (!added.some(Boolean) && !removed.some(Boolean)) return logits;
  const box = boundingBox(last.map((value, i) => value | stroke[i]), width, { top: 0, left: 0, bottom: height, right: width });
  const radius = Math.max(3, round(numbers.correctionReach * longer(box))), found = above(logits);
  const grown = found.map((value, i) => value & (1 - last[i])), lost = last.map((value, i) => value & (1 - found[i]));
  for (const [changed, marks, sign] of [[grown, added, -1], [lost, removed, 1]]) {
    const near = marks.some(Boolean) ? within(marks, radius, height, width) : marks;
    const kept = connectedTo(changed, near, height, width);
    for (let i = 0; i < changed.length; i++) if (changed[i] && !kept[i]) logits[i] = sign * numbers.unchanged;
  }
  for (let i = 0; i < logits.length; i++) if (added[i] && logits[i] <= 0) logits[i] = numbers.unchanged;
  return logits;
}

/** Where logits are above `least`, a byte per pixel. */
function above(logits, least = 0) {
  const mask = new Uint8Array(logits.length);
  for (let i = 0; i < mask.length; i++) mask[i] = logits[i] > least ? 1 : 0;
  return mask;
}

/** The refiner's mask of a prompt, a byte per pixel, and the logits that gave it: its looks, without
    the edge network. */
export async function refine(run, numbers, image, { object, background, last, inside, box, extent = "object" }) {
  const any = object.some(Boolean), outside = background.map((value, i) => value | (1 - inside[i]));
  const stroke = any ? object : outside.map((value) => 1 - value); // a box alone is painted full
  const union = (a, b) => a.map((value, i) => value | b[i]), corrects = last.some(Boolean);
  let crop;
  if (corrects) crop = zoom(union(stroke, last), numbers.correctionMargin, image, numbers);
  else if (box) crop = zoom(inside, numbers.correctionMargin, image, numbers);
  else crop = look(stroke, outside, image, numbers);
  let logits = await lookAt(run, numbers, image, [stroke, outside, last], crop, numbers.look);
  for (let number = 1; number < (corrects ? Math.min(numbers.looks, 2) : numbers.looks); number++) {
    const found = above(logits, number === 1 && !corrects ? numbers.found[extent] : 0);
    const close = zoom(union(found, stroke), numbers.zoomMargin, image, numbers);
    if (number === 1 && overlap(close, crop) > numbers.same && numbers.zoom <= numbers.look) break;
    logits = await lookAt(run, numbers, image, [stroke, outside, found], close, numbers.zoom);
  }
  for (let i = 0; i < logits.length; i++) if (outside[i]) logits[i] = numbers.outside;
  if (corrects && numbers.local) logits = correctNearMarks(logits, stroke, outside, last, numbers, image);
  return { mask: above(logits), logits };
}
