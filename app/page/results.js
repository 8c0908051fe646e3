// What became of what was started: a card for each batch, a row for each input.
import { save } from "./api.js";
import { batches } from "./batches.js";
import { recipes } from "./choices.js";
import { Compare } from "./compare.js";
import { bytes, change, duration } from "./format.js";
import { nameOf } from "./inputs.js";
import { html, useEffect, useId, useSource, useState } from "./lib.js";
import { Action, Bar, copy, Icon, isShown, say, Status, usePicture } from "./parts.js";
import { TEXTS } from "./texts.js";

const ROWS = 200;
const FILES = 5;
const T = TEXTS.jobs;

export function Results() {
  const { all } = useSource(batches);
  const [compared, setCompared] = useState(null);
  return html`
    <section class="results" aria-labelledby="results">
      <h2 id="results">${T.title}</h2>
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
  const { job } = batch;
  useEffect(() => {
    batch.ended = (item) => say(T.finished(nameOf(item), TEXTS.item.status[item.status]));
  }, [batch]);
  const joined = batch.shown.filter((item) => item.joins);
  const results = (joined.length ? joined : batch.shown).flatMap((item) => item.results);
  const unsent = batch.inputs.filter((one) => !one.trouble && (!job || !batch.items.size));
  return html`
    <article class="card" aria-labelledby=${title} data-job=${job?.id}>
      <header>
        <h3 id=${title}>${TEXTS.choice[batch.choice][0]}</h3>
        <p class="quiet">${told(batch, job)}</p>
        ${job && html`<a class="story" href="#/job/${job.id}">${T.story}</a>`}
        ${batch.over &&
        html`<button class="plain" onClick=${() => batches.remove(batch)}>${T.remove}</button>`}
      </header>
      ${!batch.over && html`<${Bar} share=${shareOf(batch)} label=${T.progress} />`}
      ${!batch.connected && html`<p class="warning" role="status">${T.lost}</p>`}
      ${batch.trouble && html`<p class="trouble" role="alert">${batch.trouble.message}</p>`}
      <ul class="rows">
        ${batch.refused.map((one) => html`<${Refused} key=${`r${one.id}`} input=${one} />`)}
        ${unsent.slice(0, ROWS).map((one) => html`<${Unsent} key=${`u${one.id}`} input=${one} />`)}
        ${batch.shown.slice(0, ROWS).map(
          (item) => html`<${Row} key=${item.index} batch=${batch} item=${item} compare=${compare} />`,
        )}
      </ul>
      ${batch.shown.length > ROWS && html`<p class="quiet">${T.more(batch.shown.length - ROWS)}</p>`}
      <footer>
        ${batch.over && results.length > 1 &&
        html`<${Action} kind="primary" busy=${T.packing} run=${async () => {
          const made = await batch.packed();
          await save(made.id, made.name);
        }}>${T.saveAll}<//>`}
        ${!batch.over && html`<${Action} run=${() => batch.cancel()}>${T.cancel}<//>`}
        ${job?.done && job.counts.failed > 0 &&
        html`<${Action} run=${() => batch.retry()}>${T.retry}<//>`}
      </footer>
      <${Recipe} batch=${batch} />
    </article>
  `;
}

function told(batch, job) {
  if (batch.trouble) return "";
  if (!job) return batch.sent ? "" : T.sending;
  const sizes = batch.shown.filter((item) => item.status === "succeeded" && before(item));
  const was = sizes.reduce((sum, item) => sum + before(item), 0);
  const is = sizes.reduce((sum, item) => sum + after(item), 0);
  const counts = T.counts(job.counts.succeeded, job.counts.failed + batch.refused.length);
  return [counts, is && !job.counts.queued && `${bytes(was)} → ${bytes(is)} (${change(was, is)})`]
    .filter(Boolean).join(" · ");
}

// Sending is the first tenth of the way.
function shareOf(batch) {
  if (batch.job) return 0.1 + 0.9 * batch.job.progress;
  const files = batch.inputs.filter((one) => one.file);
  const sent = files.reduce((sum, one) => sum + (one.progress ?? 0), 0);
  return files.length ? (0.1 * sent) / files.length : 0;
}

const before = (item) => item.size_bytes ?? item.facts.fetch?.size_bytes ?? null;
const after = (item) =>
  item.results.length ? item.results.reduce((sum, file) => sum + file.size_bytes, 0) : null;

function Refused({ input }) {
  return html`
    <li class="row failed">
      <${Thumb} icon="alert" />
      <div class="what">
        <span class="name">${input.name}</span>
        <p class="trouble">${input.trouble.message}</p>
      </div>
      <${Status} status="failed" />
    </li>
  `;
}

function Unsent({ input }) {
  return html`
    <li class="row">
      <${Thumb} icon=${input.url ? "fetch" : "file"} />
      <div class="what">
        <span class="name">${input.name}</span>
        ${input.file && html`<${Bar} share=${input.progress ?? 0} label=${T.sending} />`}
      </div>
      <${Status} status=${input.fileId || input.url ? "queued" : "sending"} />
    </li>
  `;
}

function Row({ batch, item, compare }) {
  const [all, setAll] = useState(false);
  const picture = item.results.find((file) => isShown(file.media_type));
  const source = batch.inputOf(item)?.file ?? item.file_id;
  const comparable = picture && !item.joins && item.results.length === 1
    && ["image", "optimize"].includes(batch.choice) && source;
  const name = nameOf(item);
  const files = all ? item.results : item.results.slice(0, FILES);
  return html`
    <li class="row ${item.status}">
      <${Thumb} source=${picture?.id} icon=${item.error ? "alert" : batch.choice} />
      <div class="what">
        <span class="name">${name}</span>
        ${item.error && html`
          <p class="trouble">${item.error.detail} <code>${item.error.code}</code></p>`}
        ${item.status === "running" && item.progress &&
        html`<${Bar} share=${item.progress.done / item.progress.total} label=${T.progress} />`}
        ${!item.joins && after(item) != null && before(item) && html`<${Sizes} item=${item} />`}
        ${item.results.length > 1 && html`
          <ul class="files">
            ${files.map((file) => html`
              <li key=${file.id}>
                <${Action} kind="plain" label=${TEXTS.item.saveNamed(file.name)}
                  run=${() => save(file.id, file.name)}>${file.name}<//>
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
        ${item.results.length === 1 && html`
          <${Action} label=${TEXTS.item.saveNamed(item.results[0].name)}
            run=${() => save(item.results[0].id, item.results[0].name)}>${TEXTS.item.save}<//>`}
      </div>
    </li>
  `;
}

function Thumb({ source, icon = "file" }) {
  const href = usePicture(source);
  return html`<span class="thumb" aria-hidden="true">
    ${href
      ? html`<img src=${href} alt="" loading="lazy" decoding="async" />`
      : html`<${Icon} name=${icon} />`}
  </span>`;
}

function Sizes({ item }) {
  const [was, is] = [before(item), after(item)];
  const percent = change(was, is);
  return html`
    <p class="sizes">
      <meter min="0" max=${Math.max(was, is)} value=${is}
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
