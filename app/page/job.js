// A job with its whole story: steps, times, items with what was found out, and whom it told.
import { again as untilItWorks, get, post, save, watch } from "./api.js";
import { bytes, change, count, dated, duration } from "./format.js";
import { nameOf } from "./inputs.js";
import { html, useEffect, useId, useRef, useState } from "./lib.js";
import { Action, Bar, say, Status } from "./parts.js";
import { TEXTS } from "./texts.js";

const PAGE = 50;
const MOST_LOOKED_AT = 1000;
const LOOK_EVERY_MS = 2000;
const STATES = ["queued", "running", "succeeded", "failed", "canceled"];
const UNDER_WAY = ["pending", "sending"]; // of deliveries
const T = TEXTS.job;

export function JobPage({ id }) {
  const [job, setJob] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const [turn, setTurn] = useState(0);
  const path = `v1/jobs/${encodeURIComponent(id ?? "")}`;
  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    const show = (error) => signal.aborted || setTrouble(error);
    const waits = (error) => show(error && new Error(TEXTS.jobs.waits(error.message)));
    const on = { job: setJob, connection: (up) => show(up ? null : new Error(TEXTS.jobs.lost)) };
    untilItWorks(() => get(path, { signal }), { signal, waits })
      .then((found) => {
        setJob(found);
        if (!found.done) return watch(found.id, on, signal);
      })
      .catch(show);
    return () => stop.abort();
  }, [path, turn]);
  if (!job) {
    return html`
      <section class="notice">
        <h1 id="title" tabindex="-1">${T.title}</h1>
        <p role=${trouble ? "alert" : "status"}>
          ${trouble ? (trouble.status === 404 ? T.none : trouble.message) : TEXTS.status.loading}
        </p>
      </section>
    `;
  }
  const again = (what) => async () => {
    setJob(await post(`${path}/${what}`));
    setTurn((n) => n + 1);
  };
  return html`
    <div class="story-of">
      <header>
        <h1 id="title" tabindex="-1">${T.title}</h1>
        <p><code>${job.id}</code> <${Status} status=${job.status} /></p>
        ${!job.done && html`<${Bar} share=${job.progress} label=${TEXTS.jobs.progress} />`}
        ${trouble && html`<p class="warning" role="status">${trouble.message}</p>`}
        <div class="does">
          ${!job.done && html`<${Action} run=${again("cancel")}>${TEXTS.jobs.cancel}<//>`}
          ${job.done && job.counts.failed > 0 && html`<${Action} run=${again("retry")}>${TEXTS.jobs.retry}<//>`}
        </div>
      </header>
      <${Facts} job=${job} />
      <${Steps} steps=${job.steps} />
      <${Items} path=${path} job=${job} key=${`i${turn}`} />
      <${Deliveries} job=${job} key=${`d${job.done}${turn}`} />
    </div>
  `;
}

function Facts({ job }) {
  const times = [
    [T.created, job.created_at], [T.started, job.started_at],
    [T.finished, job.finished_at], [T.expires, job.expires_at],
  ];
  const labels = { ...(job.tag ? { tag: job.tag } : {}), ...job.metadata };
  return html`
    <dl class="tiles">
      ${times.filter(([, at]) => at).map(([title, at]) => html`
        <div key=${title}><dt>${title}</dt><dd>${dated(at)}</dd></div>`)}
      ${STATES.filter((state) => job.counts[state]).map((state) => html`
        <div key=${state}><dt>${TEXTS.item.status[state]}</dt><dd><strong>${count(job.counts[state])}</strong></dd></div>`)}
      ${Object.entries(labels).map(([name, value]) => html`
        <div key=${`l${name}`}><dt>${name}</dt><dd>${typeof value === "string" ? value : JSON.stringify(value)}</dd></div>`)}
    </dl>
  `;
}

// Without what is left to the service.
const said = (params) => Object.entries(params)
  .filter(([, value]) => value != null && value !== false && !(Array.isArray(value) && !value.length))
  .map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join(", ");

function Steps({ steps }) {
  return html`
    <section class="panel" aria-labelledby="steps">
      <h2 id="steps">${T.steps}</h2>
      ${!steps.length && html`<p class="quiet">${T.asIs}</p>`}
      <ol class="steps">
        ${steps.map((step) => html`<li><strong>${step.op}</strong> <code>${said(step.params)}</code></li>`)}
      </ol>
    </section>
  `;
}

function Items({ path, job }) {
  const [status, setStatus] = useState("");
  const [page, setPage] = useState({ items: [], next_cursor: null });
  const [trouble, setTrouble] = useState("");
  const id = useId();
  const asked = useRef(0);
  const load = async (cursor, limit = PAGE) => {
    const query = new URLSearchParams({ limit });
    if (status) query.set("status", status);
    if (cursor) query.set("cursor", cursor);
    const turn = (asked.current += 1);
    const more = await get(`${path}/items?${query}`);
    if (turn !== asked.current) return; // something else is shown by now
    setPage((before) => ({ ...more, items: [...(cursor ? before.items : []), ...more.items] }));
  };
  const shown = useRef(0);
  shown.current = page.items.length;
  useEffect(() => {
    let timer = 0;
    let gone = false;
    // All that is shown is looked at again, unless that is a lot.
    const look = async (limit) => {
      try {
        if (!document.hidden && limit <= MOST_LOOKED_AT) await load("", limit);
        if (!gone) setTrouble("");
      } catch (error) {
        if (!gone) setTrouble(error.message);
      }
      if (!gone && !job.done)
        timer = setTimeout(() => look(Math.max(PAGE, shown.current)), LOOK_EVERY_MS);
    };
    look(PAGE);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [status, job.done]);
  return html`
    <section class="panel" aria-labelledby="items">
      <h2 id="items">${T.items}</h2>
      <p class="filter"><label for=${id}>${T.filter}</label>
        <select id=${id} onChange=${(event) => setStatus(event.target.value)}>
          <option value="">${T.any}</option>
          ${STATES.map((state) => html`<option value=${state}>${TEXTS.item.status[state]}</option>`)}
        </select>
      </p>
      ${trouble && html`<p class="trouble" role="alert">${trouble}</p>`}
      <ul class="rows">${page.items.map((item) => html`<${Item} key=${item.index} item=${item} />`)}</ul>
      ${page.next_cursor && html`<${Action} run=${() => load(page.next_cursor)}>${T.showMore}<//>`}
    </section>
  `;
}

function Item({ item }) {
  const after = item.results.reduce((sum, file) => sum + file.size_bytes, 0);
  const told = [
    item.elapsed_ms != null && `${T.took.toLowerCase()} ${duration(item.elapsed_ms)}`,
    item.attempt > 1 && `${T.attempt.toLowerCase()}: ${item.attempt}`,
    item.size_bytes != null && item.results.length > 0 && `${bytes(item.size_bytes)} → ${bytes(after)}${item.size_bytes ? ` (${change(item.size_bytes, after)})` : ""}`,
  ].filter(Boolean);
  return html`
    <li class="told">
      <p><span class="quiet">#${item.index}</span> <bdi class="name">${nameOf(item)}</bdi>
        <${Status} status=${item.status} /> <span class="quiet">${told.join(" · ")}</span></p>
      ${item.url && html`<p class="quiet wrapped">${item.url}</p>`}
      ${item.error && html`<p class="trouble">${item.error.detail} <code>${item.error.code}</code></p>`}
      ${item.refused.map((part) => html`<p class="trouble">${part.name}: ${part.detail} <code>${part.code}</code></p>`)}
      ${item.results.length > 0 && html`
        <ul class="files">${item.results.slice(0, PAGE).map((file) => html`
          <li key=${file.id}><${Action} kind="plain" label=${TEXTS.item.saveNamed(file.name)}
            run=${() => save(file.id, file.name)}><bdi>${file.name}</bdi><//>
            <span class="quiet">${file.media_type}, ${bytes(file.size_bytes)}</span></li>`)}</ul>`}
      ${Object.keys(item.facts).length > 0 && html`
        <details><summary>${T.facts}</summary><pre tabindex="0">${JSON.stringify(item.facts, null, 2)}</pre></details>`}
    </li>
  `;
}

function Deliveries({ job }) {
  const [found, setFound] = useState(null);
  const [trouble, setTrouble] = useState("");
  const [turn, setTurn] = useState(0);
  const look = async () => {
    const { deliveries } = await get(`v1/webhooks/deliveries?job=${encodeURIComponent(job.id)}`);
    setFound(deliveries);
    return deliveries.some((one) => UNDER_WAY.includes(one.status));
  };
  useEffect(() => {
    let timer = 0;
    let gone = false;
    const again = () => look().then((more) => {
      if (more && !gone) timer = setTimeout(again, LOOK_EVERY_MS);
    }, (error) => gone || setTrouble(error.message));
    again();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [turn]);
  const replay = (id) => async () => {
    await post(`v1/webhooks/deliveries/${encodeURIComponent(id)}/replay`);
    say(TEXTS.status.replayed);
    setTurn((n) => n + 1);
  };
  return html`
    <section class="panel" aria-labelledby="deliveries">
      <h2 id="deliveries">${T.deliveries}</h2>
      ${trouble && html`<p class="trouble" role="alert">${trouble}</p>`}
      ${found && !found.length && html`<p class="quiet">${T.noDeliveries}</p>`}
      <ul class="rows">
        ${found?.map((one) => html`
          <li class="told" key=${one.id}>
            <p><code>${one.event}</code> <${Status} status=${one.status} />
              <span class="quiet wrapped">${one.url ?? TEXTS.status.endpoint}</span></p>
            ${one.attempts.map((attempt) => html`
              <p class="quiet">${dated(attempt.at)}: ${attempt.status ?? attempt.error} ${attempt.detail}, ${duration(attempt.elapsed_ms)}</p>`)}
            ${!UNDER_WAY.includes(one.status) && html`<${Action} run=${replay(one.id)} label=${`${TEXTS.status.replay}: ${one.event}`}>${TEXTS.status.replay}<//>`}
          </li>`)}
      </ul>
    </section>
  `;
}
