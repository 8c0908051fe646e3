// Two pictures, one over the other, and a slider that says how much of the upper one is seen.
import { bytes, change } from "./format.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./lib.js";
import { Icon, usePicture } from "./parts.js";
import { TEXTS } from "./texts.js";

const T = TEXTS.compare;

export function Compare({ name, before, after, sizes, close }) {
  const dialog = useRef(null);
  const frame = useRef(null);
  const [at, setAt] = useState(50);
  const [failed, setFailed] = useState(false);
  const [was, is] = [usePicture(before), usePicture(after)];
  useEffect(() => dialog.current.showModal(), []);
  // The policy forbids styles in the markup, and not this.
  useLayoutEffect(() => frame.current?.style.setProperty("--at", `${at}%`), [at, failed]);
  const move = (event) => {
    if (event.type === "pointerdown") event.currentTarget.setPointerCapture(event.pointerId);
    if (!event.buttons) return;
    const box = frame.current.getBoundingClientRect();
    setAt(Math.round(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width))));
  };
  return html`
    <dialog ref=${dialog} class="compare" aria-label=${T.title(name)} onClose=${close}>
      <header>
        <h2>${name}</h2>
        <p class="quiet">${bytes(sizes[0])} → ${bytes(sizes[1])} (${change(...sizes)})</p>
        <button class="icon" aria-label=${T.close} onClick=${() => dialog.current.close()}>
          <${Icon} name="close" />
        </button>
      </header>
      ${failed
        ? html`<p class="empty">${T.failed}</p>`
        : html`
            <div class="frame" ref=${frame} onPointerDown=${move} onPointerMove=${move}>
              ${is && html`<img src=${is} alt=${T.after} draggable="false" />`}
              ${was && html`<img class="upper" src=${was} alt=${T.before} draggable="false"
                onError=${() => setFailed(true)} />`}
              <span class="line" aria-hidden="true"></span>
              <span class="tag left" aria-hidden="true">${T.before}</span>
              <span class="tag right" aria-hidden="true">${T.after}</span>
            </div>
            <input type="range" min="0" max="100" value=${at} autofocus
              aria-label=${T.slider} aria-valuetext=${`${100 - at} %`}
              onInput=${(event) => setAt(event.target.valueAsNumber)} />
            <p class="quiet">${T.hint}</p>
          `}
    </dialog>
  `;
}
