// Small things that several views are made of.
import { pictureOf, session, shownOf } from "./api.js";
import { Component, html, useEffect, useRef, useState } from "./lib.js";
import { TEXTS } from "./texts.js";

// Icons of 24 by 24, drawn in strokes.
const ICONS = {
  drop: "M12 3v11m-4.5-4.5L12 14l4.5-4.5M4 15v4a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-4",
  close: "M6 6l12 12M18 6L6 18",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 5M15.5 9.5h.01",
  optimize: "M12 3l2.5 6 6.5.5-5 4.2 1.6 6.3L12 16.6 6.4 20 8 13.7 3 9.5 9.500 9z",
  compress: "M8 4v5H3M16 4v5h5M8 20v-5H3m13 5v-5h5",
  archive: "M4 4h16v5H4zM5 9v11h14V9M10 13h4",
  extract: "M4 9h16M5 9v11h14V9M12 16V3m-3.500 3.500L12 3l3.500 3.500",
  decompress: "M3 8V3h5M21 8V3h-5M3 16v5h5m13-5v5h-5",
  fetch: "M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 6 6l1-1",
  key: "M11 12a3.500 3.500 0 1 1-7 0 3.500 3.500 0 0 1 7 0zm0 0h9.500m-3 0v3.500",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  alert: "M12 9v5m0 3v.01M12 3.500L21.500 20h-19z",
};

export function Icon({ name }) {
  return html`
    <svg class="drawn" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d=${ICONS[name]} />
    </svg>
  `;
}

// Say something to those who do not see the page, also what was said just before.
export function say(text) {
  const line = document.getElementById("said");
  if (!line) return;
  line.textContent = "";
  setTimeout(() => {
    line.textContent = text;
  }, 50);
}

export function Bar({ share, label, kind = "" }) {
  return html`<progress class=${kind} max="1" value=${share ?? undefined} aria-label=${label} />`;
}

// A button that does something which may take a while, or fail: then it says so beside itself.
export function Action({ run, children, busy: busyText, kind = "", label }) {
  const [state, setState] = useState({});
  const busy = useRef(false); // a second click may come before the button is drawn anew
  const click = async () => {
    if (busy.current) return;
    busy.current = true;
    setState({ busy: true });
    try {
      await run();
      setState({});
    } catch (error) {
      setState({ trouble: error.message });
    } finally {
      busy.current = false;
    }
  };
  return html`
    <button type="button" class=${kind} aria-label=${label} aria-disabled=${state.busy} onClick=${click}>${(state.busy && busyText) || children}</button>
    ${state.trouble && html`<span class="trouble" role="alert">${state.trouble}</span>`}
  `;
}

// Where a stored picture is, for an <img>: nothing in it can run there, whatever it is. Gives
// [where, whether there is none].
export function usePicture(source) {
  const [found, setFound] = useState([null, false]);
  useEffect(() => {
    let made = null;
    let gone = false;
    const have = (blob) => {
      if (!gone) setFound([(made = URL.createObjectURL(blob)), false]);
    };
    const none = () => {
      if (!gone) setFound([null, true]);
    };
    if (source instanceof Blob) have(source);
    else if (source && session.key) pictureOf(source, () => gone).then(have, none);
    else setFound([source ? shownOf(source) : null, false]);
    return () => {
      gone = true;
      if (made) URL.revokeObjectURL(made);
    };
  }, [source]);
  return found;
}

// Whether something has come into view.
export function useSeen(place) {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const watcher = new IntersectionObserver(([entry]) => {
      if (entry.isIntersecting) setSeen(true);
    }, { rootMargin: "200px" });
    watcher.observe(place.current);
    return () => watcher.disconnect();
  }, []);
  return seen;
}

const SHOWN = /^image\/(jpeg|png|webp|avif|gif|bmp|svg\+xml)$/;
export const isShown = (mediaType) => SHOWN.test(mediaType ?? "");

export function Status({ status }) {
  return html`<span class="badge ${status}">${TEXTS.item.status[status] ?? status}</span>`;
}

// What a view throws ends that view, and says so.
export class Guarded extends Component {
  state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  componentDidCatch(error) {
    console.error(error);
  }

  render({ children }, { failed }) {
    return failed ? html`<${Broken} text=${TEXTS.errors.broken} />` : children;
  }
}

// What is shown in place of a view.
export function Broken({ text }) {
  return html`
    <section class="notice" role="alert">
      <h1 id="title" tabindex="-1">${TEXTS.errors.title}</h1>
      <p>${text}</p>
      <button onClick=${() => location.reload()}>${TEXTS.errors.reload}</button>
    </section>
  `;
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text); // on secure origins only
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "aside";
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  say(TEXTS.jobs.copied);
}
