// What the page is drawn with: Preact, and htm in place of a compiler.
import { Component, h, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { Component, h, render };
export {
  useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState,
} from "./vendor/preact-hooks.js";
import { useEffect, useState } from "./vendor/preact-hooks.js";

export const html = htm.bind(h);

// Something that changes, and tells those who show it.
export class Source {
  #listeners = new Set();
  version = 0;

  changed() {
    this.version += 1;
    for (const listener of [...this.#listeners]) listener();
  }

  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

// Draw anew whenever a source has changed; at most once a frame.
export function useSource(source) {
  const [, set] = useState(0);
  const drawn = source.version;
  useEffect(() => {
    let frame = 0;
    const draw = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        set((n) => n + 1);
      });
    };
    const stop = source.listen(draw);
    if (source.version !== drawn) draw(); // between the drawing and here
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [source]);
  return source;
}

// Lets so many through at a time; the others wait, first come first served.
export class Gate {
  #waiting = [];

  constructor(room) {
    this.room = room;
  }

  async through(work) {
    if (this.room > 0) this.room -= 1;
    else await new Promise((enter) => this.#waiting.push(enter));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.room += 1;
    }
  }
}

// What the tab keeps until it is closed; where the browser forbids that, until it is loaded again.
const instead = new Map();

export function kept(name) {
  try {
    return sessionStorage.getItem(name) ?? "";
  } catch {
    return instead.get(name) ?? "";
  }
}

export function keep(name, text) {
  try {
    if (text) sessionStorage.setItem(name, text);
    else sessionStorage.removeItem(name);
  } catch {
    instead.set(name, text);
  }
}

// Have the focus go on somewhere, once what has changed is drawn: what had it is no more.
export function focusOn(find) {
  requestAnimationFrame(() => setTimeout(() => find()?.focus()));
}
