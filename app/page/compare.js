// Two pictures, one over the other, and a slider that says how much of the upper one is seen.
import { bytes, change } from "./format.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./lib.js";
import { Icon, usePicture } from "./parts.js";
import { TEXTS } from "./texts.js";

const T = TEXTS.compare;

export function Compare({ name, before, after, sizes, close }) {
  const dialog = useRef(null);
  useEffect(() => dialog.current.showModal(), []);
  return html`
    <dialog ref=${dialog} class="compare" aria-label=${T.title(name)} onClose=${close}>
      <header>
        <h2><bdi title=${name}>${name}</bdi></h2>
        <p class="quiet">${bytes(sizes[0])} → ${bytes(sizes[1])} (${change(...sizes)})</p>
        <button class="icon" aria-label=${T.close} onClick=${() => dialog.current.close()}>
          <${Icon} name="close" />
        </button>
      </header>
      <${Both} before=${before} after=${after} />
    </dialog>
  `;
}

// Both, or the result alone: there are pictures that browsers do not show, such as TIFF and HEIC.
function Both({ before, after }) {
  const [[was, noWas], [is, noIs]] = [usePicture(before), usePicture(after)];
  const [failed, setFailed] = useState({});
  const fail = (which) => () => setFailed((already) => ({ ...already, [which]: true }));
  if (noIs || failed.is) return html`<p class="empty" role="alert">${T.failed}</p>`;
  if (noWas || failed.was) {
    return html`
      <div class="frame alone"><img class="upper" src=${is} alt=${T.after} onError=${fail("is")} /></div>
      <p class="quiet" role="status">${T.onlyAfter}</p>
    `;
  }
  if (!was || !is) return html`<p class="empty" role="status">${TEXTS.status.loading}</p>`;
  return html`<${Slider} was=${was} is=${is} fail=${fail} />`;
}

function Slider({ was, is, fail }) {
  const frame = useRef(null);
  const range = useRef(null);
  const [at, setAt] = useState(50);
  useEffect(() => range.current.focus(), []);
  // The policy forbids styles in the markup, and not this.
  useLayoutEffect(() => frame.current.style.setProperty("--at", `${at}%`), [at]);
  const move = (event) => {
    if (event.type === "pointerdown") event.currentTarget.setPointerCapture(event.pointerId);
    if (!event.buttons) return;
    const box = frame.current.getBoundingClientRect();
    setAt(Math.round(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width))));
  };
  return html`
    <div class="frame" ref=${frame} onPointerDown=${move} onPointerMove=${move}>
      <img src=${is} alt=${T.after} draggable="false" onError=${fail("is")} />
      <img class="upper" src=${was} alt=${T.before} draggable="false" onError=${fail("was")} />
      <span class="line" aria-hidden="true"></span>
      <span class="tag left" aria-hidden="true">${T.before}</span>
      <span class="tag right" aria-hidden="true">${T.after}</span>
    </div>
    <input type="range" min="0" max="100" value=${at} ref=${range}
      aria-label=${T.slider} aria-valuetext=${`${100 - at} %`}
      onInput=${(event) => setAt(event.target.valueAsNumber)} />
    <p class="quiet">${T.hint}</p>
  `;
}
