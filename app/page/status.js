// The service for its operator, as `GET /v1/service` tells it.
import { get, post } from "./api.js";
import { bytes, clock, count, dated, duration, plural } from "./format.js";
import { focusOn, html, useEffect, useState } from "./lib.js";
import { Action, Bar, say } from "./parts.js";
import { Plot } from "./plots.js";
import { TEXTS } from "./texts.js";

const LOOK_EVERY_MS = 4000;
const CODES = 5;
const T = TEXTS.status;
const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);
const ago = (now, moment) => (moment ? duration(Math.max(0, new Date(now) - new Date(moment))) : "");

// Look at the service every few seconds, while somebody looks at the page.
function useService() {
  const [seen, setSeen] = useState({});
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let timer = 0;
    let gone = false;
    const look = async () => {
      try {
        const service = await get("v1/service");
        if (!gone) setSeen({ service });
      } catch (error) {
        if (!gone) setSeen((before) => ({ ...before, error }));
        if (error.status === 401 || error.status === 403) return;
      }
      clearTimeout(timer);
      if (!gone && !document.hidden) timer = setTimeout(look, LOOK_EVERY_MS);
    };
    const back = () => {
      clearTimeout(timer);
      if (!document.hidden) look();
    };
    look();
    document.addEventListener("visibilitychange", back);
    return () => {
      gone = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", back);
    };
  }, [turn]);
  return [seen, () => setTurn((n) => n + 1)];
}

export function StatusPage() {
  const [{ service, error }, again] = useService();
  if (!service) {
    const said = error ? (error.status === 403 ? T.forbidden : error.message) : T.loading;
    return html`
      <section class="notice">
        <h1 id="title" tabindex="-1">${T.title}</h1>
        <p role=${error ? "alert" : "status"}>${said}</p>
      </section>
    `;
  }
  const s = service;
  return html`
    <div class="status">
      <header>
        <h1 id="title" tabindex="-1">${T.title}</h1>
        <p class="quiet">${T.lead(s.nodes.length, clock(s.at))}</p>
        ${error && html`<p class="warning" role="status">${T.stale(error.message)}</p>`}
      </header>
      <${Tiles} s=${s} />
      <${Throughput} s=${s} />
      <${Failures} s=${s} />
      <div class="two">
        <${Queue} s=${s} />
        <${Work} s=${s} />
      </div>
      <${Slowest} s=${s} />
      <${Deliveries} s=${s} again=${again} />
      <${Nodes} s=${s} />
    </div>
  `;
}

function Tiles({ s }) {
  const ended = sum(s.throughput.succeeded) + sum(s.throughput.failed);
  const failed = sum(s.throughput.failed);
  const last = s.throughput.succeeded.at(-2) + s.throughput.failed.at(-2);
  const oldest = Math.max(...s.lanes.map((lane) => lane.oldest_s));
  const [busy, workers] = ["workers_busy", "workers"].map((name) => sum(s.nodes.map((n) => n[name] ?? 0)));
  const least = (name) =>
    s.nodes.filter((n) => n[name] != null).sort((a, b) => a[name] - b[name])[0];
  const [disk, memory] = [least("disk_free_bytes"), least("memory_available_bytes")];
  const several = s.nodes.length > 1;
  const tiles = [
    [T.tiles.waiting, count(sum(s.lanes.map((lane) => lane.items))), oldest ? T.oldest(duration(oldest * 1000)) : T.nothing],
    [T.tiles.working, `${busy} / ${workers}`, plural(s.unfinished_items, "unfinished item")],
    [T.tiles.rate, count(ended), T.last(last)],
    [T.tiles.failed, count(failed), T.ofAll(`${ended ? ((100 * failed) / ended).toFixed(failed && failed * 20 < ended ? 1 : 0) : 0} %`), failed > 0],
    [T.tiles.deliveries, count(s.deliveries.pending + s.deliveries.sending), T.due(s.deliveries.dead), s.deliveries.dead > 0],
    disk && [T.tiles.disk, bytes(disk.disk_free_bytes), several ? T.least(disk.id.slice(0, 6)) : share(disk.disk_free_bytes, disk.disk_total_bytes), disk.disk_free_bytes < 2 * disk.disk_floor_bytes],
    memory && [T.tiles.memory, bytes(memory.memory_available_bytes), several ? T.least(memory.id.slice(0, 6)) : share(memory.memory_available_bytes, memory.memory_total_bytes)],
  ];
  return html`
    <dl class="tiles">
      ${tiles.filter(Boolean).map(
        ([title, value, more, bad]) => html`
          <div key=${title} class=${bad ? "bad" : ""}>
            <dt>${title}</dt>
            <dd><strong>${value}</strong> <span class="quiet">${more}</span></dd>
          </div>
        `,
      )}
    </dl>
  `;
}

const share = (part, whole) => T.ofAll(`${Math.round((100 * part) / whole)} %`);

function Panel({ title, more, children, id = title.toLowerCase().replaceAll(" ", "-") }) {
  return html`
    <section class="panel" aria-labelledby=${id}>
      <h2 id=${id} tabindex="-1">${title} ${more && html`<span class="quiet">${more}</span>`}</h2>
      ${children}
    </section>
  `;
}

function Throughput({ s }) {
  const { since, step_s, succeeded, failed } = s.throughput;
  const ended = sum(succeeded) + sum(failed);
  return html`
    <${Panel} title=${T.throughput} more=${T.perMinute}>
      ${ended
        ? html`<${Plot} since=${since} stepS=${step_s} label=${T.summary(sum(succeeded), sum(failed))}
            series=${[
              { label: T.succeeded, values: succeeded, colour: "accent" },
              { label: T.failedItems, values: failed, colour: "bad" },
            ]} />`
        : html`<p class="empty">${T.idle}</p>`}
    <//>
  `;
}

function Failures({ s }) {
  const [first, rest] = [s.failures.slice(0, CODES), s.failures.slice(CODES)];
  const series = first.map((one, n) => ({ label: one.code, values: one.series, colour: `code-${n}` }));
  if (rest.length) {
    const values = rest[0].series.map((_, step) => sum(rest.map((one) => one.series[step])));
    series.push({ label: "…", values, colour: "edge" });
  }
  return html`
    <${Panel} title=${T.failures} more=${T.perMinute}>
      ${!s.failures.length && html`<p class="empty">${T.noFailures}</p>`}
      ${s.failures.length > 0 && html`<div class="halves">
        <${Plot} since=${s.throughput.since} stepS=${s.throughput.step_s} series=${series}
          label=${first.map((one) => `${one.code}: ${one.items}`).join(", ")} />
        <${Table} label=${T.failures} head=${[T.code, T.items, T.example]} rows=${s.failures.map((one) => [
          html`<code>${one.code}</code>`,
          count(one.items),
          one.job_id && html`<a href="#/job/${one.job_id}" aria-label=${`${T.example_link}: ${one.code}`}>${T.example_link}</a>`,
        ])} /></div>`}
    <//>
  `;
}

function Queue({ s }) {
  return html`
    <${Panel} title=${T.queue}>
      ${s.waiting.length
        ? html`<${Table} label=${T.queue} head=${[T.client, T.lane, T.waits, T.chunks]} rows=${s.waiting.map((one) => [
            one.client, `${one.lane}, ${T.lanes[one.lane]}`, count(one.items), count(one.chunks),
          ])} />`
        : html`<p class="empty">${T.emptyQueue}</p>`}
    <//>
  `;
}

// What a node has in hand of a job is one line, however it was cut.
function grouped(work) {
  const found = new Map();
  for (const one of work) {
    const key = `${one.node} ${one.job_id}`;
    const had = found.get(key) ?? { ...one, items: 0 };
    const started_at = [had.started_at, one.started_at].filter(Boolean).sort()[0] ?? null;
    found.set(key, { ...had, items: had.items + one.items, started_at });
  }
  return [...found.values()];
}

function Work({ s }) {
  const work = grouped(s.work);
  return html`
    <${Panel} title=${T.work}>
      ${work.length
        ? html`<${Table} label=${T.work} head=${[T.job, T.operations, T.items, T.client, T.node, T.since]} rows=${work.map((one) => [
            jobLink(one.job_id), one.ops.join(", ") || "fetch", count(one.items), one.client,
            html`<code>${one.node.slice(0, 6)}</code>`, ago(s.at, one.started_at),
          ])} />`
        : html`<p class="empty">${T.emptyWork}</p>`}
    <//>
  `;
}

function Slowest({ s }) {
  return html`
    <${Panel} title=${T.slowest} more=${T.lastHour.toLowerCase()}>
      ${s.slowest.length
        ? html`<${Table} label=${T.slowest} head=${[T.name, T.took, T.operations, T.client, T.code, T.ended, T.job]} rows=${s.slowest.map((one) => [
            html`<bdi class="name">${one.name || TEXTS.item.all}</bdi>`, duration(one.worked_ms), one.ops.join(", ") || "fetch",
            one.client, one.code && html`<code>${one.code}</code>`, one.finished_at && clock(one.finished_at),
            jobLink(one.job_id),
          ])} />`
        : html`<p class="empty">${T.emptySlowest}</p>`}
    <//>
  `;
}

function Deliveries({ s, again }) {
  const d = s.deliveries;
  const replay = (id) => async () => {
    await post(`v1/webhooks/deliveries/${encodeURIComponent(id)}/replay`);
    say(T.replayed);
    again();
    focusOn(() => document.getElementById("deliveries-given-up")); // its row goes
  };
  return html`
    <${Panel} title=${T.deliveries} more=${T.pending(d.pending, d.sending)}>
      ${d.latest_dead.length
        ? html`<${Table} label=${T.deliveries} head=${[T.event, T.why, T.client, T.ended, T.job, T.replay]} keys=${d.latest_dead.map((one) => one.id)} rows=${d.latest_dead.map((one) => [
            html`<span class="why"><code>${one.event}</code> <span class="quiet">${one.url ?? T.endpoint}</span></span>`,
            html`<span class="why">${one.error?.detail} <code>${one.error?.code}</code></span>`, one.client,
            one.ended_at && dated(one.ended_at), one.job_id && jobLink(one.job_id),
            html`<${Action} run=${replay(one.id)} label=${`${T.replay}: ${one.event}`}>${T.replay}<//>`,
          ])} />`
        : html`<p class="empty">${T.emptyDeliveries}</p>`}
    <//>
  `;
}

function Nodes({ s }) {
  return html`
    <${Panel} title=${T.nodes}>
      <ul class="nodes">
        ${s.nodes.map((node) => html`
          <li key=${node.id}>
            <p><code>${node.id}</code> <span class="quiet">${node.roles.join(" + ")}, ${T.version.toLowerCase()} ${node.version ?? "?"},
              ${` ${T.up.toLowerCase()} ${ago(s.at, node.started_at)}`}</span></p>
            <${Gauge} title=${T.workers} part=${node.workers_busy} whole=${node.workers}
              said=${T.workersBusy(node.workers_busy, node.workers)} />
            <${Gauge} title=${T.disk} part=${node.disk_total_bytes - node.disk_free_bytes} whole=${node.disk_total_bytes}
              said=${T.free(node.disk_free_bytes, node.disk_total_bytes)} />
            <${Gauge} title=${T.memory} part=${node.memory_total_bytes - node.memory_available_bytes} whole=${node.memory_total_bytes}
              said=${T.free(node.memory_available_bytes, node.memory_total_bytes)} />
          </li>`)}
      </ul>
    <//>
  `;
}

function Gauge({ title, part, whole, said }) {
  if (!whole) return null;
  return html`
    <div class="gauge">
      <span>${title}</span>
      <${Bar} share=${part / whole} label=${`${title}: ${said}`} kind=${part > 0.9 * whole && title !== T.workers ? "bad" : ""} />
      <span class="quiet">${said}</span>
    </div>
  `;
}

const jobLink = (id) => html`<a href="#/job/${id}"><code>${id.replace(/^job_/, "").slice(0, 8)}</code></a>`;

// A table that scrolls by itself where there is no room, and can be scrolled by keys.
export function Table({ label, head, rows, keys = [] }) {
  return html`
    <div class="scrolled" role="region" tabindex="0" aria-label=${label}>
      <table>
        <thead><tr>${head.map((title) => html`<th scope="col">${title}</th>`)}</tr></thead>
        <tbody>${rows.map((row, n) => html`<tr key=${keys[n] ?? n}>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody>
      </table>
    </div>
  `;
}
