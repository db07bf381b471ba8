/* The outline of a mask and the cut-out of its object, as nseg_lib/widget/results.py and
   nseg_lib/data/formats.py make them. A mask has a byte per pixel, row by row. */

/** The outline along the edges of a mask's pixels, for a hand to put right: closed lines of points
    [x, y, radius], one for each part and each hole. Those of radius 1 can be dragged, the others are
    steps between them. All lines together enclose this very mask. */
export function outline(mask, width, height) {
  const off = Math.max(1.5, Math.max(width, height) / 400); // pixels that an edge may run beside the line
  return rings(mask, width, height).map((ring) => {
    let corners = simplified(ring, off);
    if (corners.size < 3) {
      const step = Math.max(1, Math.floor(ring.length / 4));
      corners = new Set(ring.map((_, i) => i - (i % step)));
    }
    return ring.map(([x, y], i) => [x, y, corners.has(i) ? 1 : 0.5]);
  });
}

/** The corners of all lines between mask and background. The mask lies to the right of each line. */
function rings(mask, width, height) {
  const line = width + 1, ways = new Uint8Array(line * (height + 1)); // a bit for each way out of a corner
  const [right, down, left, up] = [1, 2, 4, 8], moves = { 1: 1, 2: line, 4: -1, 8: -line };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x, at = y * line + x;
      if (!mask[i]) continue;
      if (!y || !mask[i - width]) ways[at] |= right;
      if (x === width - 1 || !mask[i + 1]) ways[at + 1] |= down;
      if (y === height - 1 || !mask[i + width]) ways[at + line + 1] |= left;
      if (!x || !mask[i - 1]) ways[at + line] |= up;
    }
  }
  const found = [];
  for (let start = 0; start < ways.length; start++) {
    while (ways[start]) { // where two pixels touch at a corner, it has two lines
      const ring = [];
      let at = start, way = 0;
      do {
        // Left before right: pixels that touch at a corner hang together.
        const turns = [way === right ? up : way >> 1, way, way === up ? right : way << 1];
        const next = turns.find((turn) => ways[at] & turn) ?? (ways[at] & -ways[at]);
        if (next !== way) ring.push([at % line, Math.floor(at / line)]);
        ways[at] &= ~next;
        way = next;
        at += moves[way];
      } while (at !== start);
      found.push(ring);
    }
  }
  return found;
}

/** Which points stay if no point that goes is farther than `off` from the line (Douglas and Peucker). */
function simplified(ring, off) {
  const far = ([x, y], [ax, ay], [bx, by]) => {
    const length = Math.hypot(bx - ax, by - ay);
    return length ? Math.abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / length : Math.hypot(x - ax, y - ay);
  };
  const farthest = (first, last) => {
    let most = -1, which = first;
    for (let i = first + 1; i < last; i++) {
      const distance = far(ring[i], ring[first], ring[last % ring.length]);
      if (distance > most) [most, which] = [distance, i];
    }
    return [which, most];
  };
  const [opposite] = farthest(0, ring.length), kept = new Set([0, opposite]);
  const parts = [[0, opposite], [opposite, ring.length]];
  while (parts.length) {
    const [first, last] = parts.pop(), [middle, distance] = farthest(first, last);
    if (distance <= off) continue;
    kept.add(middle);
    parts.push([first, middle], [middle, last]);
  }
  return kept;
}

const SOFT = [2, 53, 146, 53, 2]; // a Gaussian with σ = 0.7, in 256ths as OpenCV has it

/** The file of the object alone: cropped to the mask, its edge softened by a pixel. */
export function cutout({ pixels, width, height }, mask) {
  let [top, left, bottom, right] = [height, width, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!mask[y * width + x]) continue;
      [top, left] = [Math.min(top, y), Math.min(left, x)];
      [bottom, right] = [Math.max(bottom, y + 1), Math.max(right, x + 1)];
    }
  }
  const w = right - left, h = bottom - top, out = new Uint8Array(4 * w * h);
  const mirror = (at, size) => size < 2 ? 0 : at < 0 ? -at : at >= size ? 2 * size - 2 - at : at;
  const columns = new Int32Array(w * (h + 4)); // blurred along rows
  for (let y = 0; y < h + 4; y++) {
    const row = mirror(top + y - 2, height) * width;
    for (let x = 0; x < w; x++) {
      for (let k = 0; k < 5; k++) if (mask[row + mirror(left + x + k - 2, width)]) columns[y * w + x] += SOFT[k];
    }
  }
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      let sum = 0;
      for (let k = 0; k < 5; k++) sum += SOFT[k] * columns[(y + k) * w + x];
      const alpha = (255 * sum + 32768) >> 16, to = 4 * (y * w + x), from = 4 * ((top + y) * width + left + x);
      if (!alpha) continue; // where it is clear, nothing of the picture is left
      for (let channel = 0; channel < 3; channel++) out[to + channel] = pixels[from + channel];
      out[to + 3] = alpha;
    }
  }
  return png(out, w, h);
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** RGBA pixels as a PNG. A browser's own canvas would change the colours where they are half clear:
    it keeps them multiplied by their alpha. */
async function png(rgba, width, height) {
  const line = 4 * width, rows = new Uint8Array((line + 1) * height);
  for (let y = 0; y < height; y++) {
    const from = y * line, to = y * (line + 1) + 1;
    rows[to - 1] = 1; // each byte less that of the pixel to the left
    for (let x = 0; x < line; x++) rows[to + x] = rgba[from + x] - (x < 4 ? 0 : rgba[from + x - 4]);
  }
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width);
  head.setUint32(4, height);
  head.setUint16(8, 0x0806); // eight bits a channel, RGB and alpha
  const chunk = (name, data) => {
    const bytes = new Uint8Array(data.byteLength + 12), view = new DataView(bytes.buffer);
    view.setUint32(0, data.byteLength);
    bytes.set(new TextEncoder().encode(name), 4);
    bytes.set(new Uint8Array(data), 8);
    let sum = 0xffffffff;
    for (let i = 4; i < bytes.length - 4; i++) sum = CRC[(sum ^ bytes[i]) & 255] ^ (sum >>> 8);
    view.setUint32(bytes.length - 4, ~sum);
    return bytes;
  };
  const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
  const data = await new Response(packed).arrayBuffer();
  return new Blob([signature, chunk("IHDR", head.buffer), chunk("IDAT", data), chunk("IEND", new ArrayBuffer(0))]).arrayBuffer();
}
