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

  changed() {
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
  useEffect(() => {
    let frame = 0;
    const stop = source.listen(() => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        set((n) => n + 1);
      });
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [source]);
  return source;
}
