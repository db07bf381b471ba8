/* The drawing canvas: brush over an object, get its mask.

   One ES module for anywidget, with no dependency; nothing is fetched. The strokes are vectors in
   pixels of the picture, [x, y, radius] a point; a box is two of them. The browser owns them while someone draws: it
   paints at once and sends the whole drawing on release of the pen, under a rising revision. The
   kernel answers with a mask for a revision; an answer to any but the newest is dropped. */

const COLOURS = {
  object: [38, 139, 255], background: [255, 92, 51], mask: [183, 240, 26],
};
const MAX_LAYER = 4e6; // pixels of a layer; larger pictures are shown scaled
const CLEAR = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="; // a pixel
const CHUNK = 1 << 20; // bytes of a file per message: servers close the line on very long ones
const PATIENCE = 4000; // milliseconds without an answer before the user is told
const PAUSE = 3000, LONGEST = 60000; // milliseconds without previews after two slow ones: at first, at most
const DOUBTFUL = 0.8; // the expected IoU below which a hint names the hatching
const QUICK = 0.1; // seconds: a network that answers so fast is asked while a stroke is drawn,
const REST = 80, SELDOM = 800; // milliseconds: once the pen has rested so long, or after so long a way

// --- geometry: the rule of nseg_lib.strokes.rasterize, in the same floating-point steps -----------

/** The two outer tangents of discs a and b as [px, py, qx, qy]; none if one disc holds the other. */
function tangents([ax, ay, ar], [bx, by, br]) {
  const dx = bx - ax, dy = by - ay;
  const length = Math.sqrt(dx * dx + dy * dy);
  if (length <= Math.abs(br - ar)) return [];
  const along = -(br - ar) / length;
  const across = Math.sqrt(1 - along * along);
  return [-1, 1].map((side) => {
    const nx = (dx * along - side * dy * across) / length;
    const ny = (dy * along + side * dx * across) / length;
    return [ax + ar * nx, ay + ar * ny, bx + br * nx, by + br * ny];
  });
}

/** Set every pixel whose centre lies in the convex hull of discs a and b; the row-wise spans. */
export function paintCapsule(pixels, width, height, a, b, value) {
  const top = Math.max(0, Math.ceil(Math.min(a[1] - a[2], b[1] - b[2]) - 0.5));
  const bottom = Math.min(height - 1, Math.floor(Math.max(a[1] + a[2], b[1] + b[2]) - 0.5));
  const lines = tangents(a, b);
  for (let row = top; row <= bottom; row++) {
    const y = row + 0.5;
    let low = Infinity, high = -Infinity;
    for (const [cx, cy, r] of [a, b]) {
      const squared = r * r - (y - cy) * (y - cy);
      if (squared < 0) continue;
      const half = Math.sqrt(squared);
      low = Math.min(low, cx - half);
      high = Math.max(high, cx + half);
    }
    for (const [px, py, qx, qy] of lines) {
      if (py === qy || (y - py) * (y - qy) > 0) continue;
      const x = px + ((y - py) * (qx - px)) / (qy - py);
      low = Math.min(low, x);
      high = Math.max(high, x);
    }
    const first = Math.max(0, Math.ceil(low - 0.5));
    const last = Math.min(width - 1, Math.floor(high - 0.5));
    if (first <= last) pixels.fill(value, row * width + first, row * width + last + 1);
  }
}

/** A colour as one little-endian RGBA word of ImageData. */
const word = ([r, g, b], alpha = 255) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;

// --- layers: picture, mask and strokes as canvases, one above the other ---------------------------

class Layer {
  constructor(name) {
    this.canvas = Object.assign(document.createElement("canvas"), { className: `nseg-${name}` });
    this.context = this.canvas.getContext("2d");
  }
  resize(width, height) {
    Object.assign(this.canvas, { width, height });
    this.image = null;
  }
  /** Pixels as RGBA words, kept beside the canvas: painting never reads the canvas back. */
  get pixels() {
    const { width, height } = this.canvas;
    this.image ??= new ImageData(width, height);
    return new Uint32Array(this.image.data.buffer);
  }
  show(x = 0, y = 0, width = this.canvas.width, height = this.canvas.height) {
    this.context.putImageData(this.image, 0, 0, x, y, width, height);
  }
}

class Paper {
  constructor(element) {
    this.element = element;
    [this.picture, this.mask, this.strokes] = ["picture", "mask", "strokes"].map((n) => new Layer(n));
    element.append(this.picture.canvas, this.mask.canvas, this.strokes.canvas);
    this.width = this.height = 0;
    this.fitted = this.zoomed = 1; // the zoom at which all of the picture is seen, and that in use
  }
  load(bitmap, width, height) {
    const crisp = window.devicePixelRatio > 1 ? 2 : 1; // small pictures on a fine screen
    this.scale = Math.min(crisp, Math.sqrt(MAX_LAYER / (width * height)));
    Object.assign(this, { bitmap, width, height });
    const w = Math.max(1, Math.round(width * this.scale)), h = Math.max(1, Math.round(height * this.scale));
    for (const layer of [this.picture, this.mask, this.strokes]) layer.resize(w, h);
    this.showPicture(false);
  }
  /** Draw the picture, or only what the mask covers of it. */
  showPicture(cutOut) {
    const { context, canvas } = this.picture;
    context.globalCompositeOperation = "copy";
    if (this.bitmap) context.drawImage(this.bitmap, 0, 0, canvas.width, canvas.height);
    if (!cutOut || !this.cover) return;
    context.globalCompositeOperation = "destination-in";
    context.drawImage(this.cover, 0, 0, canvas.width, canvas.height);
  }
  paint(kind, points, from = 0) {
    const pixels = this.strokes.pixels, { width, height } = this.strokes.canvas;
    const value = kind === "erase" ? 0 : word(COLOURS[kind]);
    const at = (i) => points[Math.max(0, i)].map((v) => v * this.scale);
    for (let i = Math.max(from, points.length > 1 ? 1 : 0); i < points.length; i++) {
      paintCapsule(pixels, width, height, at(i - 1), at(i), value);
    }
    const near = points.slice(Math.max(0, from - 1));
    const bound = (axis, sign) =>
      sign * Math.max(...near.map((p) => sign * p[axis] + p[2])) * this.scale;
    const x = Math.floor(bound(0, -1)) - 1, y = Math.floor(bound(1, -1)) - 1;
    this.strokes.show(x, y, Math.ceil(bound(0, 1)) + 2 - x, Math.ceil(bound(1, 1)) + 2 - y);
  }
  /** Whether any of the points' discs (as squares) holds a set pixel of `pixels`, a strokes layer. */
  touches(pixels, points) {
    const { width, height } = this.strokes.canvas;
    return points.some((point) => {
      const [x, y, r] = point.map((v) => v * this.scale);
      const left = Math.max(0, Math.floor(x - r)), right = Math.min(width, Math.ceil(x + r));
      for (let row = Math.max(0, Math.floor(y - r)); row < Math.min(height, y + r); row++) {
        if (pixels.subarray(row * width + left, row * width + right).some(Boolean)) return true;
      }
      return false;
    });
  }
  repaint(strokes) {
    this.strokes.pixels.fill(0);
    const last = strokes.findLastIndex(({ kind }) => kind === "outline"); // it is painted over all before
    for (const { kind, points } of strokes.slice(last + 1)) {
      if (kind === "box") continue; // shown beside the layers
      // In parts: spreading a very long stroke's points over Math.max would overflow the stack.
      for (let i = 0; i < points.length; i += 1000) this.paint(kind, points.slice(Math.max(0, i - 1), i + 1000));
    }
    this.strokes.show();
  }
  /** Whether a point of the picture lies in one of its other objects. */
  isOthers([x, y]) {
    const { width, height } = this.mask.canvas, column = Math.floor(x * this.scale), row = Math.floor(y * this.scale);
    if (!this.others || column < 0 || row < 0 || column >= width || row >= height) return false;
    return !!this.theirs?.[row * width + column];
  }
  /** A bitmap (such as `cover`, opaque where the mask is) at the layers' size, a word a pixel, and
      where it is opaque, a byte a pixel. */
  inside(bitmap) {
    const { canvas, context } = this.mask, { width, height } = canvas;
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    context.drawImage(bitmap, 0, 0, width, height);
    const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
    const inside = new Uint8Array(pixels.length);
    for (let i = 0; i < pixels.length; i++) inside[i] = pixels[i] >>> 31;
    return [inside, pixels];
  }
  /** Tint the mask and the other objects' masks, and draw their outlines. */
  showMask(opacity) {
    const { pixels } = this.mask, { width } = this.mask.canvas;
    const line = Math.max(1, Math.round(this.scale / this.fitted)), row = line * width; // about a pixel of the screen
    pixels.fill(0);
    this.theirs = null;
    for (const [name, most, bitmap] of [["others", 80, this.others], ["mask", 160, this.cover]]) {
      if (!bitmap) continue;
      const [inside, colours] = this.inside(bitmap), own = name === "mask" ? word(COLOURS.mask) : 0;
      if (name === "others") this.theirs = inside;
      // A bright line within the mask and a dark one around it can be seen on any picture.
      const alpha = Math.round(opacity * most) << 24, shade = word([0, 0, 0], 150);
      for (let i = 0; i < pixels.length; i++) {
        const x = i % width; // beyond the left and the right border is not the row above or below
        const near = (x >= line ? inside[i - line] : NaN) + (x + line < width ? inside[i + line] : NaN)
          + inside[i - row] + inside[i + row];
        const edge = own || colours[i]; // others have the colours of their labels
        if (inside[i]) pixels[i] = near === 4 ? ((edge & 0xffffff) | alpha) >>> 0 : edge;
        else if (near > 0) pixels[i] = shade;
      }
    }
    if (this.unsure) this.hatch(pixels, width);
    this.mask.show();
  }
  /** Slanted black and white stripes where the network is not sure: they can be told from any picture,
      by everyone. They are about as wide on the screen at any zoom. */
  hatch(pixels, width) {
    const stripe = Math.max(1, Math.round((2 * this.scale) / this.zoomed)), black = word([0, 0, 0]), white = word([255, 255, 255]);
    for (let i = 0; i < pixels.length; i++) {
      if (!this.unsure[i]) continue;
      const at = ((i % width) + Math.floor(i / width)) % (5 * stripe);
      if (at < 2 * stripe) pixels[i] = at < stripe ? black : white;
    }
    this.hatchedAt = this.zoomed;
  }
}

// --- the parts of the page ------------------------------------------------------------------------

const ICONS = {
  undo: "M9 14 4 9l5-5M4 9h10a5.5 5.5 0 0 1 0 11h-3",
  redo: "m15 14 5-5-5-5M20 9H10a5.5 5.5 0 0 0 0 11h3",
  clear: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  out: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5M8 11h6",
  in: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5M8 11h6M11 8v6",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  open: "M3 19V6h6l2 2h10v11zM12 16v-5M9.5 13.5 12 11l2.5 2.5",
  save: "M12 4v11M7 11l5 5 5-5M4 20h16",
  help: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M12 17h.01",
  opacity: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 3v18M12 8h7.5M12 12h9M12 16h7.5",
  close: "M6 6l12 12M18 6 6 18",
  previous: "m15 5-7 7 7 7",
  next: "m9 5 7 7-7 7",
  add: "M12 5v14M5 12h14",
  more: "M4 7h16M4 12h16M4 17h16",
  box: "M4 9V6h3M10 6h4M17 6h3v3M20 11v2M20 15v3h-3M14 18h-4M7 18H4v-3M4 13v-2",
  outline: "M5 9 13 5l6 6-4 8-8-2zM3.5 7.5h3v3h-3zM11.5 3.5h3v3h-3zM17.5 9.5h3v3h-3zM13.5 17.5h3v3h-3zM5.5 15.5h3v3h-3z",
  unsure: "M4 4h16v16H4zM4 12 12 4M4 20 20 4M12 20l8-8",
  extent: "M9 9h6v6H9zM4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4",
  extreme: "M12 3v4M12 17v4M3 12h4M17 12h4",
};
const BRUSHES = [
  ["object", "Object", "1"], ["background", "Background", "2"], ["erase", "Erase", "3"],
  ["box", "Box: the object is only in here", "4", true],
];
const TOOLS = [ // on a narrow screen behind a button
  ["extreme", "Extreme points: its left, top, right and bottom", "5", true],
  ["outline", "Outline: put its points right", "6", true],
];
const VIEWS = [["stroke", "Strokes"], ["mask", "Mask"], ["both", "Both"], ["cut-out", "Cut-out"]];
const EXPORTS = [
  ["mask", "Mask, PNG"], ["cutout", "Cut-out, PNG with a transparent background"], ["rle", "COCO annotation, RLE"],
  ["polygon", "COCO annotation, polygons"], ["strokes", "Strokes, JSON (opens again)"],
];
const EXTENTS = [["object", ""], ["whole", "more was asked for"], ["part", "less was asked for"]];
const KEYS = [
  ["1 2 3", "object, background, erase; X goes between the first two"], ["4 5", "box, four extreme points"],
  ["6", "outline: drag a point, or the line for a new one; the right button, or another tap on a chosen one, takes it away"],
  [", .", "with it: previous, next point; arrows move it, Enter adds one after it, Delete takes it away"],
  ["Shift", "hold and drag a box: the object is only in here"], ["Alt", "hold for background; also the right button"],
  ["Arrows", "move the brush; Enter sets it down as a click"],
  ["[ ]", "smaller, larger brush"],
  ["Z", "undo; Shift+Z redo (also with Ctrl)"], ["Delete", "clear (can be undone)"],
  ["E", "another answer: more of what was brushed (the person, not the shirt), then less, then the first again"],
  ["V", "next view"], ["U", "hatch where the network is not sure: a stroke there helps it most"], ["+ − 0", "zoom in, out, fit; also the wheel or two fingers"],
  ["Space", "hold and drag to pan; also the middle button"], ["Ctrl+S", "save"], ["Ctrl+V", "paste a picture"],
  ["N P L", "next, previous picture of a folder; the list of all"], ["Shift+1…9", "label of the object"], ["A", "another object; O next, Shift+O previous; or click a finished one"],
  ["?", "this list; Escape closes it"],
];
const TOUCH = [ // what there is to do without keys
  ["Blue", "one finger draws on the object; a tap counts as a click"],
  ["Red", "draws on what is not the object"], ["Dashed", "takes away what is seen under the finger"],
  ["Frame", "drag a box: the object is only in here"],
  ["Menu", "extreme points, outline, clear, views, another answer (more or less), where the network is not sure (hatched), open, save"],
  ["Tap", "on a finished object takes it up again"], ["Two_fingers", "move and zoom the picture"],
];

/** An element with properties, attributes (where the name has a dash) and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

const button = (name, title, onclick, ...children) =>
  make("button", { type: "button", title, onclick, "aria-label": title, "data-do": name },
    ...(children.length ? children : [icon(name)]));

const group = (label, ...children) =>
  make("div", { className: "nseg-group", role: "group", "aria-label": label }, ...children);

/** One button of several that exclude each other; `pressed(value)` marks the chosen one. */
function choice(label, options, choose) {
  const buttons = options.map(([value, text, key, drawn]) => {
    const title = key ? `${text} (${key})` : text;
    if (drawn) return [value, button(value, title, () => choose(value))]; // as an icon
    const dot = make("i", { className: `nseg-dot nseg-dot-${value}` });
    return [value, button(value, title, () => choose(value), ...(key ? [dot] : []), make("span", {}, text))];
  });
  const element = group(label, ...buttons.map(([, b]) => b));
  element.classList.add("nseg-choice");
  const press = (chosen) => buttons.forEach(([v, b]) => b.setAttribute("aria-pressed", v === chosen));
  return [element, press];
}

function slider(label, min, max, step, oninput) {
  const input = make("input", { type: "range", min, max, step, "aria-label": label, title: label });
  input.oninput = () => oninput(Number(input.value));
  return input;
}

const decode = (data, type) => data?.byteLength ? createImageBitmap(new Blob([data], { type })) : null;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const round = (value) => Math.round(value * 100) / 100;

/** Whether the page, or a part of it around the element, can be scrolled up or down. */
function scrolls(element) {
  for (let each = element.parentElement; each; each = each.parentElement) {
    const free = each === document.scrollingElement || /auto|scroll/.test(getComputedStyle(each).overflowY);
    if (free && each.scrollHeight > each.clientHeight + 1) return true;
  }
  return false;
}

// --- the widget -----------------------------------------------------------------------------------

class Drawing {
  constructor(model, element) {
    Object.assign(this, { model, root: element, strokes: [], past: [], future: [], extremes: [], pointers: new Map(), histories: {} });
    Object.assign(this, { zoom: { k: 1, x: 0, y: 0, fitted: true }, live: null, answered: -1, dropped: 0, late: false, saving: 0, pause: 0, slow: [] });
    element.classList.add("nseg");
    this.build();
    // Jupyter's own shortcuts (D D deletes a cell) must not act on what is typed here.
    for (const each of element.querySelectorAll("button, input, .nseg-stage")) {
      each.setAttribute("data-lm-suppress-shortcuts", "true");
    }
    this.listen();
  }

  get revision() { return this.model.get("_drawing").revision; }
  get key() { return this.model.get("_picture").key; }
  get waiting() { return this.paper.width > 0 && this.answered !== this.revision; }
  get radius() { return this.model.get("radius"); }
  get touch() { return matchMedia("(pointer: coarse)").matches; } // a screen for fingers
  get own() { return this.root.id === "canvas"; } // the page of nseg draw, or the one without Python

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  build() {
    const [brushes, pressBrush] = choice("Brush", BRUSHES, (v) => this.set("brush", v));
    const [tools, pressTool] = choice("Tools", TOOLS, (v) => { this.set("brush", v); this.showMore(false); });
    const [views, pressView] = choice("View", VIEWS, (v) => this.set("view", v));
    Object.assign(this, { pressView, pressBrush: (name) => { pressBrush(name); pressTool(name); } });
    this.size = slider("Brush radius ([ and ])", 0, 1000, 1, (v) => { this.setRadius(this.fromSlider(v)); this.showSize(); });
    this.sizeText = make("output", { className: "nseg-value" });
    this.opacity = slider("Opacity", 0, 1, 0.05, (v) => this.set("opacity", v));
    this.undoButton = button("undo", "Undo (Z)", () => this.undo());
    this.redoButton = button("redo", "Redo (Shift+Z)", () => this.redo());
    this.clearButton = button("clear", "Clear (Delete)", () => this.clear());
    this.unsureButton = button("unsure", "Where the network is not sure (U)", () => this.toggleUnsure());
    this.extentButton = button("extent", "Another answer: more, then less of what was brushed (E)", () => this.nextExtent());
    this.chosen = make("input", { type: "file", accept: "image/*,.json", hidden: true });
    this.chosen.onchange = () => { this.openFile(this.chosen.files[0]); this.chosen.value = ""; };
    this.menu = make("div", { className: "nseg-panel nseg-menu", hidden: true, role: "menu" },
      ...EXPORTS.map(([what, text]) => make("button",
        { type: "button", role: "menuitem", "data-export": what, onclick: () => this.save(what) }, text)));
    this.help = make("div", { className: "nseg-panel nseg-help", hidden: true, tabIndex: 0, role: "dialog", "aria-label": "Help" },
      this.panelHead("Help and keys"),
      ...[...(this.touch ? TOUCH : []), ...KEYS].flatMap(([keys, text]) =>
        [make("span", {}, ...keys.split(" ").map((k) => make("kbd", {}, k.replace("_", " ")))), make("span", {}, text)]));
    this.ring = make("div", { className: "nseg-ring", hidden: true });
    this.boxFrame = make("div", { className: "nseg-box", hidden: true });
    this.space = make("div", { className: "nseg-space" });
    this.emptyText = make("span");
    this.openButton = button("choose", "Open a file", () => this.chosen.click(), make("span", {}, "Open a file"));
    this.empty = make("div", { className: "nseg-empty" }, this.emptyText, this.openButton);
    this.stage = make("div", { className: "nseg-stage", tabIndex: 0, role: "application",
      "aria-label": "Picture to draw on; press ? for keys" }, this.space, this.ring, this.empty, this.menu, this.help);
    this.paper = new Paper(this.space);
    this.sketch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.sketch.setAttribute("class", "nseg-sketch");
    this.sketch.setAttribute("aria-hidden", "true");
    this.space.append(make("div", { className: "nseg-frame" }, this.boxFrame), this.sketch);
    this.status = make("span", { className: "nseg-status" });
    this.note = make("span", { className: "nseg-note", role: "status" });
    this.spoken = make("span", { className: "nseg-spoken", role: "status" }); // for screen readers alone
    this.buildSession();
    this.stage.append(this.list);
    // On a narrow screen the tools are one row, and a button opens the others.
    this.more = make("div", { className: "nseg-more" }, tools, group("Clear", this.clearButton),
      views, group("Answer", this.extentButton, this.unsureButton), group("Opacity", icon("opacity"), this.opacity),
      group("Files", button("open", "Open a picture or a strokes file (or drop or paste one)", () => this.chosen.click()),
        button("save", "Save the result", () => this.toggle(this.menu), icon("save"), make("span", {}, "Save")),
        button("help", "Help and keys (?)", () => this.toggle(this.help))));
    this.moreButton = button("more", "More tools", () => {
      const open = !this.more.classList.contains("nseg-open");
      this.toggle(null);
      this.showMore(open);
    });
    this.toolbar = make("div", { className: "nseg-toolbar", role: "toolbar", "aria-label": "Drawing" },
      brushes,
      group("Radius", make("i", { className: "nseg-dot nseg-small" }), this.size, this.sizeText),
      group("History", this.undoButton, this.redoButton), this.more, this.moreButton, this.chosen);
    const zoom = group("Zoom", button("out", "Zoom out (−)", () => this.zoomBy(0.8)),
      button("in", "Zoom in (+)", () => this.zoomBy(1.25)), button("fit", "Fit (0)", () => this.fit()));
    this.root.replaceChildren(this.toolbar, this.session, this.stage, make("div", { className: "nseg-foot" },
      this.status, make("i", { className: "nseg-spinner" }), this.note, this.spoken, zoom));
  }

  /** A folder's pictures and their objects: a row that only a session shows. */
  buildSession() {
    const text = (name) => this[name] = make("span", { className: "nseg-place" });
    this.place = button("list", "All pictures (L)", () => this.showList(), make("span"));
    this.place.classList.add("nseg-place");
    this.labels = group("Labels");
    this.buildList();
    this.category = make("input", { type: "text", className: "nseg-category", title: "What the object is",
      placeholder: "label", "aria-label": "Label of the object" });
    this.category.onchange = () => this.model.send({ type: "category", name: this.category.value, drawing: this.drawing });
    this.categories = make("datalist", { id: `nseg-${Math.random().toString(36).slice(2)}` });
    this.category.setAttribute("list", this.categories.id);
    this.previousObject = button("previous-object", "Previous object (Shift+O)", () => this.goObject(-1), icon("previous"));
    this.nextObject = button("next-object", "Next object (O)", () => this.goObject(1), icon("next"));
    this.addObject = button("new-object", "Another object in this picture (A)", () => this.goObject(0), icon("add"), make("span", {}, "Object"));
    this.session = make("div", { className: "nseg-toolbar nseg-session", role: "toolbar", "aria-label": "Folder", hidden: true },
      group("Pictures", button("previous", "Previous picture (P)", () => this.go(-1)), this.place,
        button("next", "Next picture (N)", () => this.go(1))),
      text("file"), this.labels, group("Objects", make("span", { className: "nseg-place nseg-wide", "aria-hidden": "true" }, "Label"), this.category, this.categories, this.previousObject, text("objects"), this.nextObject, this.addObject));
  }

  /** The first line of a panel, with a button that closes it: without keys there is no Escape. */
  panelHead(content) {
    const close = () => { this.toggle(null); this.stage.focus({ preventScroll: true }); };
    return make("div", { className: "nseg-head" }, content, button("close", "Close (Escape)", close));
  }

  /** All pictures of a folder, with thumbnails that are fetched as they come into sight. */
  buildList() {
    this.todo = make("input", { type: "checkbox", onchange: () => this.filterList() });
    this.items = make("div", { className: "nseg-items" });
    this.list = make("div", { className: "nseg-panel nseg-list", hidden: true, role: "dialog", "aria-label": "Pictures" },
      this.panelHead(make("label", {}, this.todo, " To do only")), this.items);
    this.thumbnails = new Map(); // index → address of the picture
    this.sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting || this.thumbnails.has(target.index)) continue;
        this.thumbnails.set(target.index, "");
        this.model.send({ type: "thumbnail", index: target.index });
      }
    }, { root: this.list, rootMargin: "200px" });
  }

  showList() {
    if (!this.model.get("_session").total) return;
    this.toggle(this.list);
    if (!this.list.hidden) this.model.send({ type: "list" });
  }

  fillList({ names, objects, done }) {
    const { index: current } = this.model.get("_session");
    this.sight.disconnect();
    this.items.replaceChildren(...names.map((name, index) => {
      const state = done[index] ? "done" : objects[index] ? "begun elsewhere" : "to do";
      const picture = make("img", { alt: "", src: this.thumbnails.get(index) || CLEAR });
      const item = make("button", { type: "button", title: `${name}: ${state}`, "data-state": state,
        "aria-current": index === current, onclick: () => { this.toggle(null); this.stage.focus({ preventScroll: true }); this.go(index - this.model.get("_session").index); } },
      picture, make("span", {}, name), make("small", {}, done[index] ? `✓ ${objects[index]}` : state));
      item.index = index;
      this.sight.observe(item);
      return item;
    }));
    this.filterList();
    this.items.children[current]?.scrollIntoView({ block: "nearest" });
  }

  showThumbnail(item, data) {
    if (!data.byteLength) return item.lastChild.replaceChildren("cannot be read");
    const address = URL.createObjectURL(new Blob([data], { type: "image/jpeg" }));
    this.thumbnails.set(item.index, address);
    item.firstChild.src = address;
  }

  filterList() {
    for (const item of this.items.children) item.hidden = this.todo.checked && item.dataset.state === "done";
  }

  setLabel(name) {
    if (name) this.model.send({ type: "category", name, drawing: this.drawing });
  }

  listen() {
    const on = (target, type, act, options) => target.addEventListener(type, act.bind(this), options);
    on(this.stage, "pointerdown", this.down);
    on(this.stage, "pointermove", this.move);
    on(this.stage, "pointerup", this.up);
    on(this.stage, "pointercancel", this.up);
    on(this.stage, "pointerleave", () => { this.ring.hidden = true; });
    on(this.stage, "contextmenu", (event) => { event.preventDefault(); event.stopPropagation(); }); // JupyterLab has one too
    on(this.stage, "wheel", this.wheel, { passive: false });
    on(this.own ? document : this.root, "keydown", this.keydown); // nothing else is on a page of its own
    on(this.root, "keyup", (event) => { if (event.key === " ") this.stage.classList.remove("nseg-pan"); });
    on(this.root, "focusout", () => this.stage.classList.remove("nseg-pan"));
    on(this.root, "paste", (event) => this.take(event, event.clipboardData));
    on(this.root, "dragover", (event) => { event.preventDefault(); this.stage.classList.add("nseg-drop"); });
    on(this.root, "dragleave", () => this.stage.classList.remove("nseg-drop"));
    on(this.root, "drop", (event) => { this.stage.classList.remove("nseg-drop"); this.take(event, event.dataTransfer); });
    this.events = {
      "change:_picture": () => this.showPicture(), "change:_drawing": () => this.adopt(),
      "change:_answer": () => this.showAnswer(), "change:_note": () => { this.picked = false; this.refresh(); }, "change:_session": () => this.showSession(),
      "change:view change:opacity": () => this.showView(), "change:brush": () => { this.picked = !!this.toolHint; this.showOutline(); }, "change:brush change:radius": () => this.refresh(),
      "msg:custom": (message, buffers) => this.receive(message, buffers),
    };
    for (const [names, act] of Object.entries(this.events)) this.model.on(names, act);
    // A message that makes the canvas higher must not move the picture: only widths count here.
    this.resizer = new ResizeObserver(() => { if (this.laidOut !== this.root.clientWidth) this.layout(); });
    this.resizer.observe(this.root);
    this.resized = () => this.layout();
    window.addEventListener("resize", this.resized);
    this.showPicture();
  }

  remove() {
    for (const [names, act] of Object.entries(this.events)) this.model.off(names, act);
    this.resizer.disconnect();
    this.sight.disconnect();
    for (const address of this.thumbnails.values()) URL.revokeObjectURL(address);
    window.removeEventListener("resize", this.resized);
    clearTimeout(this.timer);
    clearTimeout(this.sizeTimer);
    clearTimeout(this.resting);
  }

  // --- what the kernel says ---

  async showPicture() {
    const { key, width, height, others } = this.model.get("_picture"), jpeg = this.model.get("_jpeg");
    this.leaving = true; // until it is decoded, what is on the screen is not what the key says
    const another = jpeg !== this.jpeg; // else another object of the same picture
    const [bitmap, taken] = await Promise.all([another ? decode(jpeg, "image/jpeg") : this.paper.bitmap, decode(others, "image/png")]);
    if (key !== this.key) return; // another picture came while this one was decoded
    this.stay();
    this.keepHistory();
    this.strokes = this.model.get("_drawing").strokes;
    this.name = this.model.get("_session").name; // of a folder's picture
    Object.assign(this, { live: null, extremes: [], rings: null, spot: null, answered: -1, jpeg, ...this.recallHistory() });
    Object.assign(this.paper, { cover: null, others: taken, unsure: null });
    if (another) this.paper.load(bitmap, bitmap ? width : 0, bitmap ? height : 0);
    if (bitmap) this.paper.repaint(this.strokes);
    if (!this.strokes.length && this.model.get("brush") === "outline") this.set("brush", "object"); // nothing to put right
    this.showSession();
    if (another) this.layout(true);
    this.showAnswer();
  }

  /** Keep what can be undone and redone, for when the user comes back to this object. */
  keepHistory() {
    if (!this.name || !(this.past.length || this.future.length)) return;
    const { past, future } = this, drawn = JSON.stringify(this.strokes);
    const others = (this.histories[this.name] ?? []).filter((each) => each.drawn !== drawn);
    this.histories[this.name] = [...others, { drawn, past, future }];
  }

  /** What was kept of the object of this picture that has these very strokes. */
  recallHistory() {
    const drawn = JSON.stringify(this.strokes);
    const { past, future } = this.histories[this.name]?.find((each) => each.drawn === drawn) ?? {};
    return { past: [...(past ?? [])], future: [...(future ?? [])] };
  }

  showSession() {
    const { total, index, done, name, object, objects, category, categories = [], colours = [] } = this.model.get("_session");
    this.session.hidden = !total;
    this.openButton.hidden = total;
    const title = `${total ? "Delete this object" : "Clear"} (Delete)`;
    this.clearButton.title = title;
    this.clearButton.setAttribute("aria-label", title);
    if (total) {
      this.place.setAttribute("aria-label", `${index + 1} of ${total} · ${done} done: all pictures (L)`);
      this.place.replaceChildren(`${index + 1} of ${total}`, make("span", { className: "nseg-wide" }, ` · ${done} done`));
      this.file.textContent = this.file.title = name;
      this.objects.textContent = object < objects ? `${object + 1} of ${objects}` : "new";
      for (const each of [this.previousObject, this.objects, this.nextObject]) each.hidden = objects - (object < objects) < 1;
      this.previousObject.disabled = object === 0;
      this.nextObject.disabled = object >= objects - 1;
      this.addObject.disabled = object >= objects;
      if (document.activeElement !== this.category) this.category.value = category;
      this.categories.replaceChildren(...categories.map((value) => make("option", { value })));
      this.labels.hidden = categories.length < 2;
      this.labels.replaceChildren(...categories.slice(0, 9).map((name, i) => {
        const chip = button(`label-${i + 1}`, `${name} (Shift+${i + 1})`, () => this.setLabel(name),
          make("i", { className: "nseg-dot", style: `background: ${colours[i]}` }), make("span", {}, name));
        chip.setAttribute("aria-pressed", name === category);
        return chip;
      }));
    }
    this.refresh();
  }

  /** Take a drawing that Python set; our own come back as the very object that was sent. */
  adopt() {
    const { picture, strokes } = this.model.get("_drawing");
    if (strokes === this.strokes || picture !== this.key || !this.paper.width || this.leaving) return;
    this.past.push(this.strokes);
    this.future = [];
    this.strokes = strokes;
    this.repaint();
  }

  async showAnswer() {
    const answer = this.model.get("_answer");
    const fresh = () => answer.picture === this.key && answer.revision === this.revision && this.paper.width;
    if (!fresh()) {
      this.dropped += answer.picture === this.key;
      return this.refresh();
    }
    const cover = await decode(answer.png, "image/png");
    if (!fresh()) return;
    this.paper.cover = cover;
    this.answered = answer.revision;
    if (this.strokes.length && !this.future.length) this.quick = answer.seconds < QUICK;
    this.beQuiet();
    this.showView();
    this.showOutline();
    if (this.strokes.length) this.spoken.textContent = this.ready;
    this.askUnsure();
    this.root.dispatchEvent(new CustomEvent("nseg-mask", { detail: answer.revision }));
  }

  // --- more or less than the network takes at first ---

  extentOf(strokes) { return strokes.findLast((stroke) => stroke.extent)?.extent ?? "object"; }

  /** Ask for the next answer to the same drawing. The last stroke says which, so undo goes back. */
  nextExtent() {
    this.showMore(false);
    const last = this.strokes.at(-1), before = this.strokes.slice(0, -1);
    if (!last || last.kind === "outline" || this.live || this.leaving) return;
    const at = EXTENTS.findIndex(([name]) => name === this.extentOf(this.strokes)), [next] = EXTENTS[(at + 1) % 3];
    const { extent, ...plain } = last;
    this.commit([...before, next === this.extentOf(before) ? plain : { ...plain, extent: next }]);
  }

  // --- how sure the network is ---

  /** What it expects to be the IoU of its mask, in [0, 1]; null if it gave none for what is seen. */
  get sureOf() {
    const { sure, revision, picture } = this.model.get("_answer");
    return revision === this.revision && picture === this.key && this.strokes.length ? sure ?? null : null;
  }
  get sureText() { return this.sureOf === null ? "" : `${Math.round(100 * this.sureOf)} % sure`; }

  /** What a screen reader says of the mask. */
  get ready() {
    const share = (100 * this.model.get("_answer").share).toFixed(1);
    return ["Mask ready", `${share} % of the picture`, this.sureText].filter(Boolean).join(", ");
  }

  /** Hatch what the network is not sure of, or no more. */
  toggleUnsure() {
    this.hatching = this.picked = !this.hatching;
    if (this.hatching && ["stroke", "cut-out"].includes(this.model.get("view"))) this.set("view", "both"); // where it is seen
    this.knowsHatch = true;
    this.showMore(false);
    this.askUnsure();
  }

  /** Ask where the network is not sure of the mask that is seen. */
  askUnsure() {
    if (this.hatching && this.strokes.length && !this.waiting) this.model.send({ type: "unsure", drawing: this.drawing });
    else if (!this.hatching || !this.strokes.length) this.showUnsure({});
    this.refresh();
  }

  async showUnsure({ known = false }, png) {
    const asked = this.revision, bitmap = this.hatching ? await decode(png, "image/png") : null;
    if (asked !== this.revision) return;
    this.unsure = { known, spot: bitmap && this.thickest(bitmap) };
    const before = this.paper.unsure;
    this.paper.unsure = bitmap && this.paper.inside(bitmap)[0];
    if (before || bitmap) this.showView();
    if (bitmap) this.spoken.textContent = `${this.ready}. Least sure around ${this.unsure.spot.map(Math.round).join(", ")}`;
    this.refresh();
  }

  /** Where a bitmap is covered most, in pixels of the picture: looked for in a grid of cells. */
  thickest(bitmap) {
    const { width, height } = this.paper, k = 32 / Math.max(width, height);
    const w = Math.max(1, Math.round(width * k)), h = Math.max(1, Math.round(height * k));
    const { context, canvas } = new Layer("cells");
    Object.assign(canvas, { width: w, height: h });
    context.imageSmoothingQuality = "high"; // averages over the cells
    context.drawImage(bitmap, 0, 0, w, h);
    const { data } = context.getImageData(0, 0, w, h);
    let most = 0;
    for (let i = 0; i < w * h; i++) if (data[4 * i + 3] > data[4 * most + 3]) most = i;
    return [((most % w) + 0.5) * width / w, (Math.floor(most / w) + 0.5) * height / h];
  }

  /** What the hatching says. */
  get unsureHint() {
    if (!this.hatching || !this.strokes.length) return "";
    if (!this.unsure?.known) return this.strokes.at(-1).kind === "outline" ? "This outline is by hand: the network was not asked." : "How sure the network is of each pixel is known once it has answered a new stroke.";
    if (!this.unsure.spot) return "The network is sure of every pixel.";
    return `Not sure where hatched: draw there, ${this.touch ? "in red" : "with the right button"} if it is not the object.`;
  }

  /** The kernel was heard: no need to tell anybody that it is late. */
  beQuiet() {
    clearTimeout(this.timer);
    Object.assign(this, { timer: null, late: false });
  }

  stay() {
    this.leaving = false;
    this.beQuiet();
  }

  receive(message, buffers) {
    if (message.type === "stay") this.stay();
    if (message.type === "preview") this.showPreview(buffers[0]);
    if (message.type === "outline" && message.revision === this.revision) {
      this.rings = message.rings;
      this.showOutline();
    }
    if (message.type === "unsure" && message.revision === this.revision) this.showUnsure(message, buffers[0]);
    if (message.type === "list") this.fillList(message);
    if (message.type === "thumbnail") this.showThumbnail(this.items.children[message.index], buffers[0]);
    if (message.type === "file" && this.saving) { // asked for here, and not in another view
      this.saving--;
      const url = URL.createObjectURL(new Blob([buffers[0]], { type: message.mime }));
      make("a", { href: url, download: message.name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10000);
    }
    this.refresh();
  }

  /** Plan to ask for the mask of a stroke while it is drawn. Asking and showing cost a frame or two
      in which the line lags behind the pen: so it is asked when the pen rests, else seldom. */
  planPreview() {
    clearTimeout(this.resting);
    if (!this.pause && performance.now() - (this.previewed ?? 0) > SELDOM) this.preview();
    this.resting = setTimeout(() => this.preview(), REST);
  }

  preview() {
    if (!this.quick || this.previewing || !this.live || !this.model.send || this.waiting) return;
    if (performance.now() - (this.previewed ?? 0) < this.pause) return;
    this.previewing = this.previewed = performance.now();
    this.foreseen = this.live.points.length;
    this.model.send({ type: "preview", strokes: [...this.strokes, { ...this.live, points: [...this.live.points] }] });
  }

  async showPreview(png) {
    const stroke = this.live, cover = await decode(png, "image/png"), shown = stroke && stroke === this.live;
    if (shown) { // else it has ended: its mask follows
      this.paper.cover = cover;
      this.showView();
    }
    this.measure(performance.now() - this.previewing); // with what painting takes on a large picture
    this.previewing = 0;
    if (shown && stroke.points.length > this.foreseen) this.planPreview();
  }

  /** Pause previews if two of the last three were slow. After the pause one is tried, once the pen
      rests; if that is slow too, the next pause is twice as long, and else there is none. */
  measure(milliseconds) {
    const slow = milliseconds >= 1000 * QUICK;
    this.slow = [...this.slow.slice(-2), slow];
    if (slow && this.pause) this.pause = Math.min(2 * this.pause, LONGEST);
    else if (slow && this.slow.filter(Boolean).length > 1) this.pause = PAUSE;
    else if (!slow && this.pause) Object.assign(this, { pause: 0, slow: [] });
  }

  // --- what the kernel hears ---

  get drawing() { return { picture: this.key, revision: this.revision, strokes: this.strokes }; }

  commit(strokes) {
    this.past.push(this.strokes);
    this.future = [];
    this.change(strokes);
  }

  change(strokes) {
    this.strokes = strokes;
    this.spoken.textContent = "";
    this.set("_drawing", { ...this.drawing, revision: this.revision + 1 });
    this.expect();
    if (strokes.length) return this.refresh();
    this.paper.cover = null; // nothing is drawn: no need to wait for an empty mask
    this.askUnsure();
    this.showView();
  }

  /** Tell the user if nothing is heard for long. */
  expect() { this.timer ??= setTimeout(() => { this.late = true; this.refresh(); }, PATIENCE); }

  /** Whether undo shows the picture again that was left for this one: nothing was done here yet. */
  get snaps() {
    return !!this.model.get("_session").back && !this.strokes.length && !this.past.length && !this.future.length;
  }

  undo() { this.travel(this.past, this.future); }
  redo() { this.travel(this.future, this.past); }
  travel(from, to) {
    if (from === this.past && this.extremes.length) { // a point that is not sent yet
      this.extremes = this.extremes.slice(0, -1);
      return this.repaint();
    }
    if (from === this.past && this.snaps) return this.leave({ type: "back" });
    if (!from.length || this.live || this.leaving) return;
    to.push(this.strokes);
    this.change(from.pop());
    this.repaint();
  }

  clear() {
    if (this.live || this.leaving) return;
    if (!this.strokes.length) return this.deleteTheirs();
    this.commit([]);
    this.repaint();
  }

  /** An object that another program drew has no strokes to clear: it goes, after a second press. */
  deleteTheirs() {
    const { object, objects } = this.model.get("_session");
    if (!(object < objects)) return;
    const asked = this.key;
    if (this.sure === asked) return this.leave({ type: "delete" });
    this.sure = asked;
    this.note.textContent = "Another program drew this object. Delete once more takes it away for good.";
  }

  save(what) {
    this.menu.hidden = true;
    this.stage.focus({ preventScroll: true }); // or the keys would go nowhere
    if (this.leaving) return;
    this.saving++;
    this.kept = what === "strokes" ? this.kept : this.revision;
    this.model.send({ type: "export", what, drawing: this.drawing });
  }

  go(step) { this.leave({ type: "go", step }); }
  goObject(step) { this.leave({ type: "object", step }); }
  leave(message) {
    const { total, back } = this.model.get("_session");
    if (!(total || back) || this.leaving) return;
    this.drop();
    this.leaving = true;
    this.expect();
    this.model.send({ ...message, drawing: this.drawing });
    this.refresh();
  }

  take(event, data) {
    const file = data?.files?.[0];
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    this.openFile(file);
  }

  async openFile(file) {
    if (!file) return;
    const bytes = await file.arrayBuffer(), parts = Math.max(1, Math.ceil(bytes.byteLength / CHUNK));
    for (let part = 0; part < parts; part++) {
      this.model.send({ type: "open", name: file.name, part, parts }, undefined,
        [bytes.slice(part * CHUNK, (part + 1) * CHUNK)]);
    }
  }

  // --- pen, mouse and fingers ---

  /** [x, y, radius] in pixels of the picture. A pen's pressure takes the radius down to a fifth. */
  point(event) {
    const { k, x, y } = this.zoom, { left, top } = this.box;
    const force = event.pointerType === "pen" && event.pressure > 0 ? 0.2 + 0.8 * event.pressure : 1;
    return [(event.clientX - left - x) / k, (event.clientY - top - y) / k, this.radius * force].map(round);
  }

  down(event) {
    if (!this.paper.width || this.leaving || event.target.closest(".nseg-panel")) return;
    event.preventDefault();
    this.stage.classList.add("nseg-pointed"); // its frame is for those who use keys
    this.stage.focus({ preventScroll: true });
    this.toggle(null);
    this.stage.setPointerCapture(event.pointerId);
    this.box = this.stage.getBoundingClientRect();
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size > 1) return this.drop(); // two fingers: pan and zoom
    if (event.button === 1 || this.stage.classList.contains("nseg-pan")) this.panning = true;
    else if (event.button === 0 || event.button === 2 || event.buttons & 32) this.begin(event);
  }

  begin(event) {
    const points = [this.point(event)], view = this.model.get("view"), tool = this.model.get("brush");
    if (event.button === 0 && !event.altKey && (event.shiftKey || tool === "box")) {
      this.live = { kind: "box", points: [points[0], points[0]] };
      this.ring.hidden = true;
      return this.showBox();
    }
    if (event.button === 0 && !event.altKey && tool === "extreme") return this.addExtreme(points[0]);
    if (tool === "outline") return this.grab(event);
    this.extremes = [];
    const sight = this.paper.cover && view !== "stroke"; // a mask is in sight
    let kind = ["box", "extreme"].includes(tool) ? "object" : tool;
    if (event.button === 2 || event.altKey) kind = "background";
    if (event.buttons & 32) kind = "erase"; // a pen's rubber end
    // Erase takes away what is seen. What is seen of a mask is taken away by a background stroke.
    this.bare = null;
    if (kind === "erase" && sight) {
      kind = "background";
      // Strokes are seen too: until the eraser meets one, it takes away from the mask.
      if (view === "both") this.bare = this.paper.strokes.pixels.slice();
    }
    this.live = { kind, points };
    if (sight) this.live.correction = true; // drawn in sight of a mask, a stroke corrects it
    this.root.classList.add("nseg-painting");
    this.paper.paint(kind, points);
    this.meet(points);
    this.placeRing(event);
  }

  /** Let an eraser that meets strokes erase them, and leave the mask. */
  meet(points) {
    if (!this.bare || !this.paper.touches(this.bare, points)) return;
    this.bare = null;
    this.live.kind = "erase";
    this.repaint();
  }

  move(event) {
    this.spot = null; // the pointer has the brush again
    this.placeRing(event);
    if (this.pointers.has(event.pointerId)) {
      if (this.pointers.size > 1 || this.panning) this.gesture(event);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    }
    if (this.dragging && this.pointers.size === 1) return this.dragCorner(event);
    if (!this.live) return;
    if (this.live.kind === "box") {
      this.live.points[1] = this.point(event);
      return this.showBox();
    }
    const coalesced = event.getCoalescedEvents?.() ?? [];
    const { kind, points } = this.live, from = points.length;
    for (const each of coalesced.length ? coalesced : [event]) {
      const point = this.point(each), last = points[points.length - 1];
      if (point.some((value, axis) => Math.abs(value - last[axis]) * this.zoom.k > 0.4)) points.push(point);
    }
    if (points.length === from) return;
    this.paper.paint(kind, points, from);
    this.meet(points.slice(from - 1));
    if (points.length > 2) this.planPreview();
  }

  up(event) {
    if (event.type === "pointercancel") this.drop();
    this.pointers.delete(event.pointerId);
    this.panning = false;
    if (this.dragging) {
      this.dragging = false;
      if (this.moved) this.commitOutline();
      else if (this.again && event.pointerType === "touch") this.removeCorner();
    }
    if (!this.live || this.pointers.size) return;
    const stroke = this.live, { kind, points: [first, ...rest] } = stroke;
    // Nothing of a finished object is given to another one, so a click on it can mean itself.
    const click = rest.every(([x, y]) => Math.hypot(x - first[0], y - first[1]) * this.zoom.k < 4);
    if (click && kind === "object" && this.paper.isOthers(first)) {
      this.drop();
      return this.leave({ type: "pick", x: first[0], y: first[1] });
    }
    this.live = null;
    this.root.classList.remove("nseg-painting");
    // A click with the box takes the last one away; without one there is nothing to do.
    if (kind === "box" && click) {
      stroke.points[1] = stroke.points[0];
      if (!this.drawnBox) return this.showBox();
    }
    this.commit([...this.strokes, stroke]);
  }

  /** Four clicks, on what reaches farthest to each side, make four discs and their box. */
  addExtreme(point) {
    this.extremes = [...this.extremes, point];
    if (this.extremes.length < 4) return this.repaint();
    const points = this.extremes, before = [this.strokes];
    this.extremes = [];
    // A step of undo for each: the points but the last are strokes of their own.
    const discs = points.map((each) => ({ kind: "object", points: [each] }));
    for (let i = 1; i < 4; i++) before.push([...this.strokes, ...discs.slice(0, i)]);
    const reach = (axis, sign) => sign * Math.max(...points.map((p) => sign * p[axis])) + sign;
    const box = { kind: "box", points: [[reach(0, -1), reach(1, -1), 1], [reach(0, 1), reach(1, 1), 1]] };
    this.past.push(...before);
    this.future = [];
    this.change([...this.strokes, ...discs, box]);
    this.repaint();
  }

  // --- the outline, put right by hand ---

  /** Show the points of the mask's outline while its tool is chosen. A ring is a closed line of
      points [x, y, radius]: those of radius 1 can be dragged, and the others are steps between. */
  showOutline() {
    const chosen = this.model.get("brush") === "outline" && this.paper.cover && !this.leaving;
    const known = this.rings && this.ringsOf === this.revision;
    if (!chosen || (this.waiting && !known)) this.rings = null;
    else if (!known) {
      const from = this.strokes.findLastIndex(({ kind }) => kind !== "outline") + 1;
      this.rings = this.strokes.slice(from).map(({ points }) => points); // drawn by hand already
      this.ringsOf = this.revision;
      if (!this.rings.length) this.model.send({ type: "outline", drawing: this.drawing });
    }
    const { width, height } = this.paper, r = (this.touch ? 5 : 4) / this.zoom.k, marks = [];
    this.sketch.setAttribute("viewBox", `0 0 ${width || 1} ${height || 1}`);
    for (const ring of this.rings ?? []) {
      for (const point of ring) {
        if (point[2] !== 1) continue;
        const [x, y] = point, size = point === this.corner ? 1.7 * r : r;
        marks.push(`<rect x="${x - size}" y="${y - size}" width="${2 * size}" height="${2 * size}" ${point === this.corner ? 'class="nseg-chosen"' : ""}/>`);
      }
    }
    const spots = this.extremes.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="${1.6 * r}"/>`).join("");
    const line = (this.rings ?? []).map((ring) => `M${ring.map(([x, y]) => `${x},${y}`).join(" ")}z`).join("");
    this.sketch.innerHTML = this.rings?.length ? `<path d="${line}"/>${marks.join("")}` : spots;
  }

  /** Take the point nearest to the pointer, or make one where the line is near: within 22 pixels of
      a finger. A finger hides what is under it, so the point keeps its distance from the finger. */
  grab(event) {
    const [x, y] = this.point(event), reach = (event.pointerType === "touch" ? 22 : 9) / this.zoom.k;
    const remove = event.button === 2 || event.altKey;
    let nearest = reach, found = null, between = null;
    for (const ring of this.rings ?? []) {
      ring.forEach((point, i) => {
        const far = Math.hypot(point[0] - x, point[1] - y);
        if (point[2] === 1 && far < nearest) [nearest, found] = [far, point];
      });
    }
    for (const ring of found || remove ? [] : this.rings ?? []) {
      ring.forEach(([ax, ay], i) => {
        const [bx, by] = ring[(i + 1) % ring.length], dx = bx - ax, dy = by - ay;
        const share = clamp(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1), 0, 1);
        const far = Math.hypot(ax + share * dx - x, ay + share * dy - y);
        if (far < nearest) [nearest, between] = [far, [ring, i, [round(ax + share * dx), round(ay + share * dy), 1]]];
      });
    }
    if (between) {
      const [ring, i, point] = between;
      this.rings = this.rings.map((each) => each === ring ? [...ring.slice(0, i + 1), point, ...ring.slice(i + 1)] : each);
      found = point;
    }
    this.again = !!found && found === this.corner; // it was chosen before
    this.corner = found;
    if (found && remove) this.removeCorner();
    else if (found) Object.assign(this, { dragging: true, moved: false, hold: [x, y, found[0] - x, found[1] - y] });
    this.showOutline();
  }

  /** The ring of the chosen point, as its corners alone around that point, which is put last. */
  aroundCorner() {
    const ring = this.rings?.find((each) => each.includes(this.corner));
    if (!ring) return null;
    const at = ring.indexOf(this.corner), turned = [...ring.slice(at + 1), ...ring.slice(0, at)];
    const corner = ([, , radius]) => radius === 1;
    return { ring, rest: turned.slice(turned.findIndex(corner), turned.findLastIndex(corner) + 1) };
  }

  replaceRing(ring, other) {
    this.rings = this.rings.map((each) => each === ring ? other : each).filter((each) => each.length > 2);
  }

  dragCorner(event) {
    const [x, y] = this.point(event), [fromX, fromY, dx, dy] = this.hold;
    const far = Math.hypot(x - fromX, y - fromY) * this.zoom.k;
    if (!this.moved && event.pointerType === "touch" && far < 6) return; // a tap is never quite still
    this.moveCorner([round(x + dx), round(y + dy)]);
  }

  moveCorner([x, y]) {
    const found = this.aroundCorner();
    if (!found || (x === this.corner[0] && y === this.corner[1])) return;
    this.corner = [x, y, 1];
    this.moved = true;
    this.replaceRing(found.ring, [...found.rest, this.corner]);
    this.showOutline();
  }

  /** Take the chosen point away; with the last three of a part, the part. */
  removeCorner() {
    const found = this.aroundCorner();
    if (!found || (this.rings.length === 1 && found.rest.length < 3)) return;
    this.replaceRing(found.ring, found.rest);
    this.corner = null;
    this.commitOutline();
  }

  /** Choose the next point of all, or the previous one. */
  chooseCorner(step) {
    const corners = (this.rings ?? []).flat().filter(([, , radius]) => radius === 1);
    const at = corners.indexOf(this.corner);
    this.corner = corners.at(at < 0 ? (step < 0 ? -1 : 0) : (at + step) % corners.length);
    if (this.corner) this.spoken.textContent = `Point at ${this.corner[0]}, ${this.corner[1]}`;
    this.showOutline();
  }

  nudge(dx, dy) {
    if (!this.corner || !this.rings) return;
    this.moveCorner([this.corner[0] + dx, this.corner[1] + dy]);
    this.commitOutline();
  }

  /** A point halfway to the one that follows the chosen one. */
  addCorner() {
    const ring = this.rings?.find((each) => each.includes(this.corner));
    if (!ring) return;
    const at = ring.indexOf(this.corner), next = ring[(at + 1) % ring.length];
    const point = [round((this.corner[0] + next[0]) / 2), round((this.corner[1] + next[1]) / 2), 1];
    this.replaceRing(ring, [...ring.slice(0, at + 1), point, ...ring.slice(at + 1)]);
    this.corner = point;
    this.showOutline();
  }

  commitOutline() {
    const from = this.strokes.findLastIndex(({ kind }) => kind !== "outline") + 1, { rings, corner } = this;
    this.commit([...this.strokes.slice(0, from), ...rings.map((points) => ({ kind: "outline", points }))]);
    Object.assign(this, { rings, corner, ringsOf: this.revision });
    this.repaint();
  }

  /** The last box of the drawing, as [left, top, right, bottom]; null without one, or an empty one. */
  get drawnBox() {
    const last = [...this.strokes, this.live].findLast((stroke) => stroke?.kind === "box");
    if (!last) return null;
    const [[x0, y0], [x1, y1]] = last.points, { width, height } = this.paper;
    if (Math.abs(x1 - x0) < 1 || Math.abs(y1 - y0) < 1) return null;
    return [Math.max(0, Math.min(x0, x1)), Math.max(0, Math.min(y0, y1)), Math.min(width, Math.max(x0, x1)), Math.min(height, Math.max(y0, y1))];
  }

  showBox() {
    const box = this.drawnBox, { width, height } = this.paper;
    this.boxFrame.hidden = !box;
    if (!box) return;
    const [left, top, right, bottom] = box, share = (value, all) => `${(100 * value) / all}%`;
    Object.assign(this.boxFrame.style, { left: share(left, width), top: share(top, height),
      width: share(right - left, width), height: share(bottom - top, height) });
  }

  /** Forget the stroke that is being drawn. */
  drop() {
    this.extremes = [];
    if (this.dragging) {
      Object.assign(this, { dragging: false, rings: null });
      this.showOutline();
    }
    if (!this.live) return;
    this.live = null;
    this.root.classList.remove("nseg-painting");
    this.repaint();
    if (this.quick) this.showAnswer(); // and not what was seen in between
  }

  gesture(event) {
    const before = [...this.pointers.values()];
    const after = [...this.pointers].map(([id, at]) => id === event.pointerId ? [event.clientX, event.clientY] : at);
    const middle = (p) => [0, 1].map((axis) => p.reduce((sum, each) => sum + each[axis], 0) / p.length);
    const spread = (p) => p.length < 2 ? 1 : Math.hypot(p[0][0] - p[1][0], p[0][1] - p[1][1]) || 1;
    const [x0, y0] = middle(before), [x1, y1] = middle(after);
    Object.assign(this.zoom, { x: this.zoom.x + x1 - x0, y: this.zoom.y + y1 - y0, fitted: false });
    this.zoomBy(spread(after) / spread(before), x1, y1);
  }

  wheel(event) {
    // In a page that scrolls, the wheel is the page's until the canvas is in use.
    const inUse = event.ctrlKey || event.metaKey || this.root.contains(document.activeElement);
    if (event.target.closest(".nseg-panel") || (!inUse && scrolls(this.root))) return;
    event.preventDefault();
    this.zoomBy(Math.exp(-clamp(event.deltaY, -100, 100) / 400), event.clientX, event.clientY);
    this.placeRing(event);
  }

  keydown(event) {
    this.stage.classList.remove("nseg-pointed");
    if (event.target === this.category) {
      if (["Enter", "Escape"].includes(event.key)) this.stage.focus({ preventScroll: true });
      return event.stopPropagation();
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const command = event.ctrlKey || event.metaKey;
    if (key === "Escape") {
      this.toggle(null);
      this.stage.focus({ preventScroll: true });
      return this.drop();
    }
    if (this.menu.contains(event.target) && ["ArrowDown", "ArrowUp"].includes(key)) {
      const items = [...this.menu.children], at = items.indexOf(event.target) + (key === "ArrowDown" ? 1 : -1);
      event.preventDefault();
      return items.at(at % items.length).focus();
    }
    if (command && key === "v") return; // paste
    if (command && key === "s") { // the browser's own would save the page
      event.preventDefault();
      event.stopPropagation();
      return this.paper.width ? this.toggle(this.menu) : undefined;
    }
    const digit = event.shiftKey && /^Digit[1-9]$/.test(event.code) && Number(event.code[5]);
    if (digit && this.model.get("_session").total) {
      event.preventDefault();
      event.stopPropagation();
      return this.setLabel(this.model.get("_session").categories[digit - 1]);
    }
    if (event.target !== this.stage && ["Enter", " "].includes(key)) return; // buttons keep theirs
    const acts = {
      z: () => event.shiftKey ? this.redo() : this.undo(), y: () => this.redo(),
    };
    if (!command && event.target === this.stage && this.paper.width) {
      const step = event.shiftKey ? 1 : 12 / this.zoom.k;
      Object.assign(acts, {
        ArrowLeft: () => this.steer(-step, 0), ArrowRight: () => this.steer(step, 0),
        ArrowUp: () => this.steer(0, -step), ArrowDown: () => this.steer(0, step), Enter: () => this.setDown(),
      });
    }
    if (!command && this.rings?.length) {
      Object.assign(acts, {
        ",": () => this.chooseCorner(-1), ".": () => this.chooseCorner(1), Enter: () => this.addCorner(),
        ArrowLeft: () => this.nudge(-1, 0), ArrowRight: () => this.nudge(1, 0), ArrowUp: () => this.nudge(0, -1), ArrowDown: () => this.nudge(0, 1),
      });
    }
    if (!command) Object.assign(acts, {
      ...Object.fromEntries([...BRUSHES, ...TOOLS].map(([name, , number]) => [number, () => this.set("brush", name)])),
      "[": () => this.setRadius(this.radius / 1.15), "]": () => this.setRadius(this.radius * 1.15),
      v: () => this.nextView(), "+": () => this.zoomBy(1.25), "=": () => this.zoomBy(1.25), "-": () => this.zoomBy(0.8),
      0: () => this.fit(), " ": () => this.stage.classList.add("nseg-pan"), Delete: () => this.corner ? this.removeCorner() : this.clear(), Backspace: () => this.corner ? this.removeCorner() : this.clear(),
      x: () => this.set("brush", this.model.get("brush") === "object" ? "background" : "object"), e: () => this.nextExtent(), u: () => this.toggleUnsure(), n: () => this.go(1), l: () => this.showList(), p: () => this.go(-1), a: () => this.goObject(0), o: () => this.goObject(event.shiftKey ? -1 : 1), "?": () => this.toggle(this.help),
    });
    if (!acts[key]) return;
    event.preventDefault();
    event.stopPropagation();
    acts[key]();
  }

  nextView() {
    const at = VIEWS.findIndex(([name]) => name === this.model.get("view"));
    this.set("view", VIEWS[(at + 1) % VIEWS.length][0]);
  }

  // --- the brush without a pointer: arrows move it, Enter sets it down ---

  get spotEvent() {
    this.box = this.stage.getBoundingClientRect();
    const [x, y] = this.spot, { k } = this.zoom;
    return { clientX: this.box.left + this.zoom.x + x * k, clientY: this.box.top + this.zoom.y + y * k,
      type: "key", button: 0, buttons: 0, pointerType: "key", target: this.stage };
  }

  steer(dx, dy) {
    const { width, height } = this.paper, [x, y] = this.spot ?? [width / 2, height / 2];
    this.spot = [clamp(x + dx, 0, width), clamp(y + dy, 0, height)];
    this.placeRing(this.spotEvent);
    this.spoken.textContent = `Brush at ${this.spot.map(Math.round).join(", ")}`;
  }

  setDown() {
    if (!this.spot || this.leaving || this.live || this.model.get("brush") === "box") return;
    const event = this.spotEvent;
    this.begin(event);
    this.up(event);
  }

  // --- radius, zoom, and what is to be seen ---

  get largest() { return Math.max(8, Math.max(this.paper.width, this.paper.height) / 5); }
  fromSlider(value) { return this.largest ** (value / 1000); } // even steps of the ratio
  setRadius(value) {
    this.set("radius", round(clamp(value, 1, this.largest)));
    this.spoken.textContent = `Radius ${this.radiusText} pixels`;
  }
  get radiusText() { return this.radius < 10 ? Math.round(this.radius * 10) / 10 : Math.round(this.radius); }

  placeRing(event) {
    if (event.pointerType === "touch") return;
    this.box ??= this.stage.getBoundingClientRect();
    if (!this.pointers.size) this.box = this.stage.getBoundingClientRect();
    const [x, y] = [event.clientX - this.box.left, event.clientY - this.box.top];
    const r = this.radius * this.zoom.k;
    this.ring.hidden = !this.paper.width || !!event.target.closest?.(".nseg-panel");
    Object.assign(this.ring.style, { width: `${2 * r}px`, height: `${2 * r}px`, transform: `translate(${x - r}px, ${y - r}px)` });
    this.ring.dataset.brush = this.live?.kind ?? (event.altKey ? "background" : this.model.get("brush"));
    if (event.shiftKey || ["box", "outline"].includes(this.ring.dataset.brush)) this.ring.hidden = true; // a cross is enough
    const picks = !this.live && this.ring.dataset.brush === "object" && this.paper.isOthers(this.point(event));
    this.stage.classList.toggle("nseg-pick", picks); // a click takes up the object under it
  }

  /** Show the brush's size in the middle of the stage for a moment, while the slider is moved. */
  showSize() {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    this.placeRing({ clientX: left + width / 2, clientY: top + height / 2, target: this.stage });
    clearTimeout(this.sizeTimer);
    this.sizeTimer = setTimeout(() => { this.ring.hidden = true; }, 1200);
  }

  layout(fresh = false) {
    const { width, height } = this.paper, room = this.root.clientWidth - 2;
    if (room <= 0) return;
    this.root.closest(".jp-OutputArea-child")?.classList.add("nseg-live"); // hides the still picture
    this.laidOut = this.root.clientWidth;
    // The picture fills the window (in JupyterLab: the part that scrolls), but for the tools, what
    // is above the canvas and, in a notebook, 40 pixels of the page around it.
    const pane = this.root.closest(".jp-WindowedPanel-outer")?.clientHeight ?? window.innerHeight;
    const most = Math.max(260, pane - (this.root.offsetHeight - this.stage.offsetHeight)
      - (this.own ? this.root.getBoundingClientRect().top + window.scrollY + 8 : 40));
    const k = width ? Math.min(room / width, most / height, width * height < 1e4 ? 16 : 4) : 1;
    let tall = width ? Math.max(120, Math.ceil(height * k)) : 220;
    // One height where the page is the canvas's own, and in a folder: no button moves from picture to picture.
    if (this.own || this.model.get("_session").total) tall = most;
    this.stage.style.height = `${tall}px`;
    if (fresh || this.zoom.fitted) this.fit();
  }

  fit() {
    const { width, height } = this.paper, { clientWidth: w, clientHeight: h } = this.stage;
    if (width && w) {
      const k = Math.min(w / width, h / height);
      this.zoom = { k, x: (w - width * k) / 2, y: (h - height * k) / 2, fitted: true };
      this.paper.fitted = k;
    }
    this.arrange();
  }

  zoomBy(factor, clientX, clientY) {
    const box = this.stage.getBoundingClientRect(), { k, x, y } = this.zoom;
    const px = (clientX ?? box.left + box.width / 2) - box.left, py = (clientY ?? box.top + box.height / 2) - box.top;
    const next = clamp(k * factor, 0.02, 64), by = next / k;
    if (factor < 1 && next <= this.paper.fitted) return this.fit(); // smaller serves nobody
    this.zoom = { k: next, x: px - (px - x) * by, y: py - (py - y) * by, fitted: false };
    this.arrange();
  }

  /** Put the layers where the zoom says. */
  arrange() {
    const { k, x, y } = this.zoom, { width, height, scale } = this.paper;
    Object.assign(this.space.style, { width: `${width * k}px`, height: `${height * k}px`, transform: `translate(${x}px, ${y}px)` });
    this.space.classList.toggle("nseg-pixels", k > 3 * scale);
    if (this.rings || this.extremes.length) this.showOutline();
    this.paper.zoomed = k;
    if (this.paper.unsure && Math.abs(Math.log2(k / this.paper.hatchedAt)) > 0.6) this.showView();
    this.refresh();
  }

  repaint() {
    const discs = this.extremes.map((point) => ({ kind: "object", points: [point] }));
    this.paper.repaint([...this.strokes, ...discs, ...(this.live ? [this.live] : [])]);
    this.showOutline();
    this.refresh();
  }

  showView() {
    const view = this.model.get("view"), opacity = this.model.get("opacity");
    if (this.paper.width) {
      this.paper.showPicture(view === "cut-out");
      this.paper.showMask(view === "both" ? opacity * 0.6 : opacity);
    }
    this.root.style.setProperty("--nseg-opacity", view === "both" ? opacity * 0.7 : opacity);
    this.refresh();
  }

  /** What to do with a tool other than a brush. */
  get toolHint() {
    const tool = this.model.get("brush"), brush = this.touch ? "the blue brush" : "Object (1)";
    if (tool === "outline") {
      const away = this.touch ? "another tap on a chosen point takes it away" : "the right button takes a point away";
      return this.paper.cover ? `Drag a point, or the line for a new one; ${away}.`
        : `Draw the object first, with ${brush}: then its outline has points to drag.`;
    }
    if (tool === "box" && !this.drawnBox) return "Drag a box around the object: the mask will not reach beyond it.";
    if (tool === "box") {
      const next = this.strokes.some(({ kind }) => kind === "object") ? "To correct the mask, draw" : "Now draw a line along the object,";
      return `${next} with ${brush}. A click with the box tool takes the box away.`;
    }
    if (tool !== "extreme") return "";
    if (!this.extremes.length && this.drawnBox) return `To correct the mask, draw with ${brush}.`;
    const left = 4 - this.extremes.length;
    return `${this.touch ? "Tap" : "Click"} the object's left, top, right and bottom ends: ${left} ${left > 1 ? "are" : "is"} left.`;
  }

  /** What to do, until it was done once: in place of a note. */
  get hint() {
    if (this.leaving && this.paper.width) return "Opening…"; // the old picture is still in sight
    if (!this.paper.width || this.waiting || this.live) return "";
    if (this.unsureHint) return this.unsureHint;
    if (this.toolHint) return this.toolHint;
    const corrected = this.strokes.some((stroke) => stroke.correction || stroke.kind === "background");
    this.learnt ||= corrected;
    if (this.learnt && this.sureOf < DOUBTFUL && this.sureOf !== null && !this.knowsHatch) {
      return `The network is only ${this.sureText}: ${this.touch ? "the hatched square in the menu" : "U"} shows where it is not.`;
    }
    if (this.learnt) return "";
    if (!this.strokes.length) return "Draw a line along the object: its mask follows.";
    if (!this.paper.cover) return "";
    const other = this.touch ? "" : " E tries a larger mask, then a smaller one.";
    return `Draw over what is missing; with ${this.touch ? "the red brush" : "the right button"} over what is too much.${other}`;
  }

  toggle(panel) {
    for (const each of [this.menu, this.help, this.list]) each.hidden = each !== panel || !each.hidden;
    if (panel === this.menu && !panel.hidden) panel.firstChild.focus();
    this.showMore(false);
  }

  showMore(open) {
    this.more.classList.toggle("nseg-open", open);
    this.moreButton.setAttribute("aria-expanded", open);
  }

  refresh() {
    const view = this.model.get("view"), note = this.model.get("_note");
    const { width, height } = this.paper, answer = this.model.get("_answer");
    Object.assign(this.root.dataset, { view, brush: this.model.get("brush") });
    this.ring.dataset.brush = this.live?.kind ?? this.model.get("brush");
    Object.assign(this.root.dataset, { strokes: this.strokes.length, revision: this.revision, answered: this.answered, dropped: this.dropped });
    this.root.classList.toggle("nseg-waiting", this.leaving || this.waiting);
    this.pressBrush(this.model.get("brush"));
    this.pressView(view);
    this.size.value = (Math.log(Math.max(1, this.radius)) / Math.log(this.largest)) * 1000;
    this.sizeText.textContent = `${this.radiusText} px`;
    this.size.setAttribute("aria-valuetext", `radius ${this.radiusText} pixels`);
    this.opacity.value = this.model.get("opacity");
    this.showBox();
    this.unsureButton.setAttribute("aria-pressed", !!this.hatching);
    this.extentButton.disabled = !this.strokes.length || this.strokes.at(-1).kind === "outline";
    this.undoButton.disabled = !this.past.length && !this.extremes.length && !this.snaps;
    this.redoButton.disabled = !this.future.length;
    const { object, objects, saved, total } = this.model.get("_session");
    this.clearButton.disabled = !this.strokes.length && !(object < objects); // one of another program
    this.empty.hidden = width > 0;
    const next = total > 1 ? `. ${this.touch ? "The arrow" : "N, or the arrow,"} leads to the next picture.` : "";
    this.emptyText.textContent = note.level === "error" ? note.text + next : this.touch ? "Open a photo to draw on it" : "Drop a picture here, or click here and paste one";
    const fresh = answer.revision === this.revision && answer.picture === this.key && this.strokes.length;
    const parts = width ? [`${width} × ${height}`, `zoom ${Math.round(this.zoom.k * 100)} %`] : [];
    if (fresh && saved && answer.share) parts.unshift(`saved in ${saved}`);
    else if (fresh && this.own && !total && answer.share) parts.unshift(this.kept === this.revision ? "saved" : "not saved yet");
    const asked = EXTENTS.find(([name]) => name === this.extentOf(this.strokes))[1];
    parts.unshift(fresh && this.sureText, asked);
    const count = this.strokes.filter(({ kind }) => kind !== "outline").length;
    if (this.strokes.length) parts.push(`${count} stroke${count === 1 ? "" : "s"}`, count < this.strokes.length && "outline by hand");
    const last = this.strokes.at(-1);
    if (this.extremes.length) parts.push(`extreme points: ${this.extremes.length} of 4`);
    else if (last?.points.length === 1) parts.push(`a click counts as a disc ${Math.round(20 * last.points[0][2]) / 10} px wide`);
    if (fresh) parts.push(`mask covers ${(answer.share * 100).toFixed(1)} %`, answer.seconds < 1 ? `${Math.round(answer.seconds * 1000)} ms` : `${answer.seconds.toFixed(1)} s`);
    this.status.textContent = parts.filter(Boolean).join("  ·  ");
    const silent = this.late && note.level !== "error" && (this.waiting || this.leaving) ? this.own ? "No answer yet: nseg is busy." : "No answer yet: the kernel is busy, or gone; then run the cell again." : "";
    // A tool that was just chosen says what it does, in place of what was said before.
    const tool = this.picked && note.level !== "error" && this.hint;
    this.note.textContent = silent || tool || (width || note.level !== "error" ? note.text : "") || this.hint;
    this.note.dataset.level = note.level;
  }
}

export default {
  render({ model, el }) {
    const drawing = new Drawing(model, el);
    return () => drawing.remove();
  },
};
