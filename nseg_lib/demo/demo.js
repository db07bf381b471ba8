/* The page without Python: it stands where a notebook's kernel would. Pictures are opened here, and a
   worker turns drawings into masks. */

import widget from "./canvas.js";
import { Model } from "./model.js";

const STROKES_FORMAT = "nseg strokes 1";

class Demo extends Model {
  values = {
    _drawing: { picture: 0, revision: 0, strokes: [] },
    _picture: { key: 0, width: 0, height: 0, others: new Uint8Array(0) },
    _jpeg: new Uint8Array(0), _answer: {}, _note: { text: "", level: "info" }, _session: {},
    brush: "object", view: "both", radius: 3, opacity: 0.6,
  };
  name = "picture";
  parts = [];

  constructor() {
    super();
    this.worker = new Worker("worker.js", { type: "module" });
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = (event) => {
      this.broken = `The network cannot run here: ${event.message ?? "its files are missing or broken"}`;
      this.say(this.broken, "error");
    };
  }

  say(text, level = "info") { this.set("_note", { text, level }); }

  save_changes() {
    const drawing = this.get("_drawing");
    if (drawing === this.asked || !drawing.picture) return;
    this.asked = drawing;
    if (!this.heard && !this.broken && drawing.strokes.length) this.say("The network is being loaded; the mask will follow.");
    this.worker.postMessage({ type: "draw", drawing });
  }

  send(content, _, buffers = []) {
    if (content.type === "open") this.receive(content, buffers[0]).catch((error) => this.say(error.message, "error"));
    if (content.type === "export") this.export(content);
    if (["outline", "unsure"].includes(content.type)) this.worker.postMessage(content);
  }

  hear({ type, answer, text, level, file, outline, unsure, png, strokes, steps }) {
    if (type === "answer") {
      this.heard = true;
      this.set("_answer", answer);
    }
    if (type === "note") this.say(text, level);
    if (type === "outline") this.emit("msg:custom", { type, ...outline }, []);
    if (type === "unsure") this.emit("msg:custom", { type, ...unsure }, [png]);
    if (type === "strokes") this.saveStrokes(strokes, steps);
    if (type === "file") this.deliver(file.name, file.data, "image/png");
  }

  /** Collect the parts of a file, and open it when the last has come. */
  async receive({ name, part, parts }, data) {
    if (part === 0) this.parts = [];
    this.parts.push(data);
    if (this.parts.length < parts) return;
    const blob = new Blob(this.parts);
    if (name.toLowerCase().endsWith(".json")) return this.openStrokes(JSON.parse(await blob.text()), name);
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob);
    } catch {
      throw new Error(`${name}: this browser cannot read it as a picture`);
    }
    const { width, height } = bitmap, key = this.get("_picture").key + 1;
    const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
    context.fillStyle = "#fff"; // what is clear is laid on white, as in Python
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    const { data: pixels } = context.getImageData(0, 0, width, height);
    this.worker.postMessage({ type: "open", key, width, height, pixels }, [pixels.buffer]);
    this.name = name.replace(/\.[^.]*$/, "");
    Object.assign(this.values, {
      _picture: { key, width, height, others: new Uint8Array(0) },
      _drawing: { picture: key, revision: 1, strokes: [] },
      _answer: { picture: key, revision: 1, png: null, share: 0, seconds: 0 },
      radius: Math.round(100 * Math.max(1, (Math.max(width, height) * 3) / 640)) / 100,
      _jpeg: new Uint8Array(await blob.arrayBuffer()), _note: { text: "", level: "info" },
    });
    if (this.broken) this.say(this.broken, "error");
    this.emit("change:_picture");
  }

  openStrokes({ format, width, height, strokes, steps = [] }, name) {
    const picture = this.get("_picture"), drawing = this.get("_drawing");
    if (format !== STROKES_FORMAT) throw new Error(`${name}: not a file of strokes`);
    if (width !== picture.width || height !== picture.height) {
      throw new Error(`${name}: drawn on ${width} × ${height} pixels, not on this picture`);
    }
    if (steps.length > 1) this.worker.postMessage({ type: "replay", strokes, steps });
    this.set("_drawing", { ...drawing, revision: drawing.revision + 1, strokes });
    this.save_changes();
  }

  export({ what, drawing }) {
    if (what === "strokes" && this.broken) return this.saveStrokes(drawing.strokes, []); // they are not lost
    this.worker.postMessage({ type: "export", what, name: this.name, drawing });
  }

  saveStrokes(strokes, steps) {
    const { width, height } = this.get("_picture");
    const content = { format: STROKES_FORMAT, width, height, strokes, ...(steps.length > 1 ? { steps } : {}) };
    this.deliver(`${this.name}_strokes.json`, new TextEncoder().encode(JSON.stringify(content)).buffer, "application/json");
  }

  deliver(name, data, mime) {
    this.emit("msg:custom", { type: "file", name, mime }, [data]);
    this.say(`Saved as ${name}`);
  }
}

widget.render({ model: new Demo(), el: document.getElementById("canvas") });
