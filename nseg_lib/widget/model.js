/* What canvas.js knows of a notebook's model: values with changes that are told, and messages. */

export class Model {
  values = {};
  listeners = new Map();

  get(name) { return this.values[name]; }
  set(name, value) {
    if (this.values[name] === value) return;
    this.values[name] = value;
    this.emit(`change:${name}`);
  }
  on(names, act) {
    for (const name of names.split(" ")) this.listeners.set(name, [...(this.listeners.get(name) ?? []), act]);
  }
  off(names, act) {
    for (const name of names.split(" ")) {
      this.listeners.set(name, (this.listeners.get(name) ?? []).filter((each) => each !== act));
    }
  }
  emit(name, ...values) {
    for (const act of this.listeners.get(name) ?? []) act(...values);
  }
}
