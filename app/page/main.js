// The page's frame: which view is shown, and the key if one is needed.
import { get, session } from "./api.js";
import { batches } from "./batches.js";
import { isGiven } from "./inputs.js";
import { html, render, useEffect, useId, useLayoutEffect, useRef, useSource, useState } from "./lib.js";
import { Broken, Guarded, Icon } from "./parts.js";
import { Results } from "./results.js";
import { Start } from "./start.js";
import { TEXTS } from "./texts.js";

const VIEWS = {
  status: () => import("./status.js").then((view) => view.StatusPage),
  job: () => import("./job.js").then((view) => view.JobPage),
};

function routeOf(hash) {
  const [view, id] = hash.replace(/^#\/?/, "").split("/");
  return Object.hasOwn(VIEWS, view) ? { view, id } : { view: "work" };
}

function Page() {
  useSource(session);
  const [route, setRoute] = useState(() => routeOf(location.hash));
  const [service, setService] = useState({});
  const { key } = session;
  useEffect(() => {
    const go = () => setRoute(routeOf(location.hash));
    addEventListener("hashchange", go);
    return () => removeEventListener("hashchange", go);
  }, []);
  useEffect(() => {
    document.title = [TEXTS.titles[route.view], "Offload"].filter(Boolean).join(" · ");
  }, [route.view]);
  useEffect(() => {
    get("v1/operations").then(({ operations }) => setService((s) => ({ ...s, operations })), () => {});
    get("v1/limits").then((limits) => setService((s) => ({ ...s, limits })), () => {});
    // Whether a key is needed, before somebody has sent half a gigabyte.
    get("v1/jobs?limit=1").catch(() => {});
  }, [key]);
  return html`
    <a class="skip" href="#content" onClick=${(event) => {
      event.preventDefault();
      document.getElementById("title")?.focus();
    }}>${TEXTS.skip}</a>
    <${Top} view=${route.view} />
    <main id="content">
      <${Guarded} key=${route.view + (route.id ?? "")}>
        ${route.view === "work"
          ? html`<${Start} ...${service} /><${Results} />`
          : html`<${Later} route=${route} key=${`${route.view} ${route.id} ${key}`} />`}
      <//>
    </main>
    <p id="said" class="aside" role="status"></p>
    ${session.asked && html`<${KeyDialog} />`}
  `;
}

// A view that is loaded when somebody wants it.
function Later({ route }) {
  const [View, setView] = useState(null);
  const [trouble, setTrouble] = useState(null);
  useEffect(() => {
    VIEWS[route.view]().then((view) => setView(() => view), setTrouble);
  }, [route.view]);
  useLayoutEffect(() => {
    document.getElementById("title")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [View]);
  if (trouble) return html`<${Broken} text=${TEXTS.errors.unreachable} />`;
  return View && html`<${View} id=${route.id} />`;
}

function Top({ view }) {
  const link = (name, href) => html`
    <a href=${href} aria-current=${view === name ? "page" : undefined}>${TEXTS.nav[name]}</a>
  `;
  return html`
    <header class="top">
      <a class="brand" href="#/"><img src="page/icon.svg" alt="" width="28" height="28" />Offload</a>
      <nav aria-label=${TEXTS.nav.label}>
        ${link("work", "#/")} ${link("status", "#/status")}
        <a href="docs">${TEXTS.nav.api}</a>
      </nav>
      ${session.key && html`
        <button class="plain" onClick=${() => session.ask()}><${Icon} name="key" /><span>${TEXTS.key.open}</span></button>`}
    </header>
  `;
}

function KeyDialog() {
  const dialog = useRef(null);
  const [typed, setTyped] = useState("");
  const id = useId();
  useEffect(() => dialog.current.showModal(), []);
  const close = () => {
    session.asked = false;
    session.changed();
  };
  return html`
    <dialog ref=${dialog} class="key" aria-labelledby=${`${id}t`} onClose=${close}>
      <form onSubmit=${(event) => {
        event.preventDefault();
        session.key = typed.trim();
      }}>
        <h2 id=${`${id}t`}>${TEXTS.key.title}</h2>
        ${session.refused && html`<p class="trouble" role="alert">${TEXTS.key.refused}</p>`}
        <p>${TEXTS.key.why}</p>
        <label for=${id}>${TEXTS.key.label}</label>
        <input id=${id} type="password" autocomplete="off" value=${typed} autofocus required
          pattern="\\s*[!-~]+\\s*" title=${TEXTS.key.characters}
          onInput=${(event) => setTyped(event.target.value)} />
        <footer>
          <button class="primary" type="submit">${TEXTS.key.use}</button>
          ${session.key && html`<button type="button" onClick=${() => {
            session.key = "";
          }}>${TEXTS.key.forget}</button>`}
          <button type="button" class="plain" onClick=${() => dialog.current.close()}>${TEXTS.key.cancel}</button>
        </footer>
      </form>
    </dialog>
  `;
}

// What is dropped where nobody takes it would be opened in place of the page.
for (const name of ["dragover", "drop"])
  addEventListener(name, (event) => isGiven(event.dataTransfer) && event.preventDefault());
batches.bring();
render(html`<${Page} />`, document.getElementById("app"));
