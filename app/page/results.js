// What became of what was started: a card for each batch, a row for each input.
import { save } from "./api.js";
import { batches } from "./batches.js";
import { recipes } from "./choices.js";
import { Compare } from "./compare.js";
import { bytes, change, duration } from "./format.js";
import { nameOf } from "./inputs.js";
import { focusOn, html, useEffect, useId, useRef, useSource, useState } from "./lib.js";
import { Action, Bar, copy, Icon, isShown, Status, usePicture, useSeen } from "./parts.js";
import { TEXTS } from "./texts.js";

const ROWS = 200;
const FILES = 5;
const THUMB_BYTES = 8_000_000; // a larger one is not loaded to be shown as small as that
const T = TEXTS.jobs;

export function Results() {
  const { all } = useSource(batches);
  const [compared, setCompared] = useState(null);
  return html`
    <section class="results" aria-labelledby="results">
      <h2 id="results" tabindex="-1">${T.title}</h2>
      ${!all.length && html`<p class="empty">${T.empty}</p>`}
      ${all.map(
        (batch) => html`<${Card} key=${batch.key} batch=${batch} compare=${setCompared} />`,
      )}
      ${compared && html`<${Compare} ...${compared} close=${() => setCompared(null)} />`}
    </section>
  `;
}

function Card({ batch, compare }) {
  useSource(batch);
  const title = useId();
  const heading = useRef(null);
  const { job } = batch;
  // The button that started it is gone, and with it the focus.
  useEffect(() => {
    if (batch.isNew) heading.current.focus();
    batch.isNew = false;
  }, [batch]);
  const remove = () => {
    batches.remove(batch);
    focusOn(() => document.getElementById("results"));
  };
  const joined = batch.shown.filter((item) => item.joins);
  const results = (joined.length ? joined : batch.shown).flatMap((item) => item.results);
  const gone = batch.trouble?.status === 404;
  const unsent = batch.items.size || gone ? [] : batch.inputs.filter((one) => !one.trouble);
  return html`
    <article class="card" aria-labelledby=${title} data-job=${job?.id}>
      <header>
        <h3 id=${title} ref=${heading} tabindex="-1">${TEXTS.choice[batch.choice][0]}</h3>
        <p class="quiet">${told(batch, job)}</p>
        ${job && html`<a class="story" href="#/job/${job.id}">${T.story}</a>`}
        ${batch.over && html`<button class="plain" onClick=${remove}>${T.remove}</button>`}
      </header>
      ${!batch.over && html`<${Bar} share=${shareOf(batch)} label=${T.progress} />`}
      ${!batch.over && batch.waits && html`<p class="warning" role="status">${batch.waits}</p>`}
      ${batch.trouble && html`<p class="trouble" role="alert">${gone ? T.gone : batch.trouble.message}</p>`}
      <ul class="rows">
        ${batch.refused.slice(0, ROWS).map((one) => html`<${Refused} key=${`r${one.id}`} input=${one} />`)}
        ${unsent.slice(0, ROWS).map((one) => html`
          <${Unsent} key=${`u${one.id}`} input=${one} stopped=${batch.stopped} />`)}
        ${[...joined, ...batch.shown.filter((item) => !item.joins)].slice(0, ROWS).map(
          (item) => html`<${Row} key=${item.index} batch=${batch} item=${item} compare=${compare} />`,
        )}
      </ul>
      <${More} n=${Math.max(unsent.length, job?.counts.total ?? 0) - ROWS} job=${job} />
      <footer>
        ${batch.over && results.length > 1 &&
        html`<${Action} kind="primary" busy=${T.packing} run=${async () => {
          const made = await batch.packed();
          await save(made.id, made.name);
        }}>${T.saveAll}<//>`}
        ${!batch.over && html`<${Action} run=${() => batch.cancel()}>${T.cancel}<//>`}
        ${batch.trouble && !gone &&
        html`<${Action} run=${() => batch.run()}>${T.again}<//>`}
        ${job?.done && batch.shown.some((item) => item.error?.retryable) &&
        html`<${Action} run=${() => batch.retry()}>${T.retry}<//>`}
      </footer>
      <${Recipe} batch=${batch} />
    </article>
  `;
}

const More = ({ n, job }) =>
  n > 0 && html`<p class="quiet">${job ? T.more(n) : TEXTS.drop.more(n)}</p>`;

function told(batch, job) {
  if (batch.trouble) return "";
  if (batch.stopped) return T.stopped;
  if (!job) return batch.nothing ? "" : T.sending;
  const sizes = batch.shown.map((item) => sizesOf(batch, item)).filter(Boolean);
  const [was, is] = [0, 1].map((which) => sizes.reduce((sum, one) => sum + one[which], 0));
  return [
    T.counts(...batch.counts) || T.notBegun,
    job.done && was > 0 && `${bytes(was)} → ${bytes(is)} (${change(was, is)})`,
  ].filter(Boolean).join(" · ");
}

// Sending is the first tenth of the way.
function shareOf(batch) {
  if (batch.job) return 0.1 + 0.9 * batch.job.progress;
  const files = batch.inputs.filter((one) => one.file);
  const sent = files.reduce((sum, one) => sum + (one.progress ?? 0), 0);
  return files.length ? (0.1 * sent) / files.length : 0;
}

// Of a link that was fetched, what came.
const before = (item) => item.size_bytes ?? item.facts.fetch?.size_bytes ?? null;
const after = (item) =>
  item.results.length ? item.results.reduce((sum, file) => sum + file.size_bytes, 0) : null;

// How large it was and is, [bytes, bytes], of what has become something else: what is fetched as it
// is has not, nor what waits to be packed.
function sizesOf(batch, item) {
  if (batch.choice === "fetch" || after(item) == null) return null;
  if (batch.choice !== "archive") return before(item) == null ? null : [before(item), after(item)];
  const parts = batch.shown.filter((one) => !one.joins && one.status === "succeeded");
  return item.joins ? [parts.reduce((sum, one) => sum + before(one), 0), after(item)] : null;
}

function Refused({ input }) {
  return html`
    <li class="row failed">
      <${Thumb} icon="alert" />
      <div class="what">
        <${Name} name=${input.name} />
        <p class="trouble">${input.trouble.message}</p>
      </div>
      <${Status} status="failed" />
    </li>
  `;
}

function Unsent({ input, stopped }) {
  const status = stopped ? "canceled" : input.fileId || input.url ? "queued" : "sending";
  return html`
    <li class="row">
      <${Thumb} icon=${input.url ? "fetch" : "file"} />
      <div class="what">
        <${Name} name=${input.name} />
        ${input.file && status === "sending" && html`<${Bar} share=${input.progress ?? 0} label=${T.sending} />`}
      </div>
      <${Status} status=${status} />
    </li>
  `;
}

function Row({ batch, item, compare }) {
  const [all, setAll] = useState(false);
  const picture = item.results.find((file) => isShown(file.media_type));
  const thumb = picture && picture.size_bytes <= THUMB_BYTES ? picture.id : null;
  const source = batch.inputOf(item)?.file ?? item.file_id;
  const comparable = picture && !item.joins && item.results.length === 1
    && ["image", "optimize"].includes(batch.choice) && source;
  const name = item.joins ? (item.results[0]?.name ?? nameOf(item)) : nameOf(item);
  const sizes = sizesOf(batch, item);
  const files = all ? item.results : item.results.slice(0, FILES);
  return html`
    <li class="row ${item.status}">
      <${Thumb} source=${thumb} icon=${item.error ? "alert" : batch.choice} />
      <div class="what">
        <${Name} name=${name} />
        ${item.error && html`
          <p class="trouble">${item.error.detail} <code>${item.error.code}</code></p>`}
        ${item.status === "running" && item.progress &&
        html`<${Bar} share=${item.progress.done / item.progress.total} label=${T.progress} />`}
        ${sizes && html`<${Sizes} was=${sizes[0]} is=${sizes[1]} item=${item} />`}
        ${!sizes && after(item) != null && html`<p class="sizes">${bytes(after(item))}</p>`}
        ${item.results.length > 1 && html`
          <ul class="files">
            ${files.map((file) => html`
              <li key=${file.id}>
                <${Action} kind="plain" label=${TEXTS.item.saveNamed(file.name)}
                  run=${() => save(file.id, file.name)}><bdi>${file.name}</bdi><//>
                <span class="quiet">${bytes(file.size_bytes)}</span>
              </li>`)}
            ${item.results.length > files.length && html`
              <li><button class="plain" onClick=${() => setAll(true)}>
                ${TEXTS.item.resultsMore(item.results.length - files.length)}
              </button></li>`}
          </ul>`}
      </div>
      <${Status} status=${item.status} />
      <div class="does">
        ${comparable && html`
          <button aria-label=${TEXTS.item.compareNamed(name)} onClick=${() =>
            compare({ name, before: source, after: picture.id, sizes: [before(item), after(item)] })
          }>${TEXTS.item.compare}</button>`}
        ${item.results.length === 1 && (item.joins || batch.choice !== "archive") && html`
          <${Action} label=${TEXTS.item.saveNamed(item.results[0].name)}
            run=${() => save(item.results[0].id, item.results[0].name)}>${TEXTS.item.save}<//>`}
      </div>
    </li>
  `;
}

const Name = ({ name }) => html`<bdi class="name" title=${name}>${name}</bdi>`;

function Thumb({ source, icon = "file" }) {
  const place = useRef(null);
  const seen = useSeen(place);
  const [href] = usePicture(seen ? source : null);
  const [broken, setBroken] = useState(null);
  return html`<span class="thumb" aria-hidden="true" ref=${place}>
    ${href && href !== broken
      ? html`<img src=${href} alt="" decoding="async" onError=${() => setBroken(href)} />`
      : html`<${Icon} name=${icon} />`}
  </span>`;
}

function Sizes({ was, is, item }) {
  const percent = change(was, is);
  return html`
    <p class="sizes">
      <meter min="0" max=${Math.max(was, is, 1)} value=${is}
        aria-label=${TEXTS.item.sizes(was, is, percent)}></meter>
      <span aria-hidden="true">${bytes(was)} → <strong>${bytes(is)}</strong> ${percent}</span>
      ${item.elapsed_ms != null && html`<span class="quiet">${duration(item.elapsed_ms)}</span>`}
    </p>
  `;
}

function Recipe({ batch }) {
  const [kind, setKind] = useState("curl");
  const group = useId();
  const texts = recipes(batch.choice, batch.options, batch.inputs);
  const names = { curl: "curl", python: "Python", cli: "CLI" };
  return html`
    <details class="recipe">
      <summary>${T.recipe} <span class="quiet">${T.recipeTitle}</span></summary>
      <fieldset class="tabs">
        <legend class="aside">${T.recipeTitle}</legend>
        ${Object.entries(names).map(([one, title]) => html`
          <label key=${one}>
            <input type="radio" name=${group} checked=${one === kind}
              onChange=${() => setKind(one)} />${title}
          </label>`)}
        <button type="button" onClick=${() => copy(texts[kind])}>${T.copy}</button>
      </fieldset>
      <pre tabindex="0"><code>${texts[kind]}</code></pre>
    </details>
  `;
}
