/* The page of `nseg draw`: it stands between canvas.js and the server, where a notebook's kernel
   would. A request carries all messages since the last one; its answer streams back what the widget
   sends. A request that fails is sent again until it is answered: the server knows its number, and
   does nothing twice. */

import widget from "./canvas.js";
import { Model } from "./model.js";

const key = crypto.randomUUID();
const state = document.getElementById("state"), element = document.getElementById("canvas");
const utf8 = new TextEncoder(), text = new TextDecoder();
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** A message as bytes: the length of its header (4 bytes, little-endian), header and buffers. */
function packed(content, buffers = []) {
  const header = utf8.encode(JSON.stringify({ ...content, sizes: buffers.map((b) => b.byteLength) }));
  return new Blob([new Uint32Array([header.length]), header, ...buffers]);
}

/** Call `act(content, buffers)` for each whole message of a stream, as soon as it has come. */
async function unpack(stream, act) {
  let bytes = new Uint8Array(0);
  for (const reader = stream.getReader(); ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(bytes.length + value.length);
    joined.set(bytes);
    joined.set(value, bytes.length);
    bytes = joined;
    while (bytes.length >= 4) {
      const start = 4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
      if (bytes.length < start) break;
      const content = JSON.parse(text.decode(bytes.subarray(4, start)));
      let end = start;
      const buffers = content.sizes.map((size) => bytes.slice(end, end += size));
      if (bytes.length < end) break;
      bytes = bytes.slice(end);
      act(content, buffers);
    }
  }
}

/** Messages to the server and what it answers, as canvas.js expects them of a notebook's model. */
class Served extends Model {
  changed = {};
  queue = [];
  number = 0;

  set(name, value) {
    if (this.values[name] !== value) this.changed[name] = value;
    super.set(name, value);
  }
  save_changes() {
    // While an answer is awaited, what changes again takes the place of what waits.
    const last = this.queue.at(-1);
    if (last?.content.method === "update") Object.assign(last.content.state, this.changed);
    else this.queue.push({ content: { method: "update", state: this.changed, buffer_paths: [] } });
    this.changed = {};
    this.talk();
  }
  send(content, _, buffers) {
    this.queue.push({ content: { method: "custom", content }, buffers });
    this.talk();
  }
  /** What the widget sends. */
  take({ method, state: values, buffer_paths: paths, content, text: failure }, buffers) {
    if (method === "failed") throw new Error(failure);
    if (method === "custom") this.emit("msg:custom", content, buffers);
    if (method !== "update") return;
    paths.forEach((path, index) => {
      const place = path.slice(0, -1).reduce((inside, name) => inside[name], values);
      place[path.at(-1)] = buffers[index];
    });
    Object.assign(this.values, values);
    for (const name of Object.keys(values)) this.emit(`change:${name}`);
  }

  /** Send what waits, one request after the other. */
  async talk() {
    if (this.talking) return;
    this.talking = true;
    while (this.queue.length && !this.ended) {
      const body = new Blob(this.queue.splice(0).map(({ content, buffers }) => packed(content, buffers)));
      await this.ask(body, this.number++);
    }
    this.talking = false;
  }

  async ask(body, number) {
    for (let pause = 200; ; pause = Math.min(2 * pause, 3000)) {
      try {
        const answer = await fetch(`canvas/${key}?number=${number}`, { method: "POST", body });
        if (answer.status >= 400 && answer.status < 500) return this.end((await answer.text()).replace(/^\d+: /, ""));
        if (!answer.ok) throw new Error(answer.statusText);
        let failure;
        await unpack(answer.body, (content, buffers) => {
          try { this.take(content, buffers); } catch (error) { failure = error; }
        });
        if (failure) this.end(failure.message);
        return;
      } catch { // the server is gone, or the line broke
        if (pause > 1000) this.say("No answer from nseg: is it still running? What you draw is kept here.");
        await wait(pause);
      }
    }
  }

  /** Nothing more can be done: say why, and leave in sight what is drawn. */
  end(message) {
    this.ended = true;
    this.say(message);
  }

  say(message) {
    if (!this.values._note) state.textContent = message;
    else {
      this.values._note = { text: message, level: "error" };
      this.emit("change:_note");
    }
  }
}

const model = new Served();
await model.ask(new Blob([]), model.number++);
if (model.values._drawing) {
  state.textContent = "";
  widget.render({ model, el: element });
}
addEventListener("pagehide", (event) => {
  if (!event.persisted) fetch(`canvas/${key}`, { method: "DELETE", keepalive: true });
});
