// What was started in this tab: inputs on their way to the service, and the job that they became.
import * as api from "./api.js";
import { CHOICES, stepsOf } from "./choices.js";
import { Source } from "./lib.js";
import { TEXTS } from "./texts.js";

const KEPT = "offload.jobs";
const MOST_KEPT = 20;
const SENT_AT_ONCE = 3;
const FEW_ITEMS = 100;
const LOOK_AFTER_MS = 500;

// crypto.randomUUID is there on secure origins only.
const random = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");

export class Batch extends Source {
  job = null;
  items = new Map(); // by index, as the service tells them
  trouble = null;
  connected = true;
  #stop = new AbortController();
  #looking = 0;

  constructor({ choice, options, inputs, jobId = null }) {
    super();
    Object.assign(this, { choice, options, inputs, jobId });
    this.key = jobId ?? random();
  }

  get over() {
    return Boolean(this.trouble || this.job?.done || this.nothing);
  }

  // Inputs that never became items: they could not be sent.
  get refused() {
    return this.inputs.filter((one) => one.trouble);
  }

  get shown() {
    return [...this.items.values()].sort((a, b) => a.index - b.index);
  }

  // The input that an item came of, as long as the tab remembers.
  inputOf(item) {
    return this.inputs.filter((one) => !one.trouble)[item.index];
  }

  async run() {
    try {
      if (!this.jobId) await this.#submit();
      if (this.jobId) await this.#watch();
    } catch (error) {
      if (!this.#stop.signal.aborted) this.trouble = error;
    }
    this.changed();
  }

  async #submit() {
    const waiting = this.inputs.filter((one) => one.file && !one.fileId && !one.trouble);
    const senders = Array.from({ length: SENT_AT_ONCE }, async () => {
      while (waiting.length && !this.#stop.signal.aborted) await this.#send(waiting.shift());
    });
    await Promise.all(senders);
    this.sent = true;
    const good = this.inputs.filter((one) => !one.trouble);
    this.nothing = !good.length;
    if (this.nothing || this.#stop.signal.aborted) return;
    const items = good.map((one) => (one.url ? { url: one.url } : { file_id: one.fileId }));
    const document = { items, steps: stepsOf(this.choice, this.options) };
    const headers = { "Idempotency-Key": this.key }; // asked twice, it is one job
    const job = await api.again(() => api.post("v1/jobs", document, headers));
    this.jobId = job.id;
    this.#take(job);
    batches.keep();
  }

  async #send(input) {
    try {
      const { signal } = this.#stop;
      const progress = (share) => {
        input.progress = share;
        this.changed();
      };
      const stored = await api.again(() => api.upload(input.file, input.name, progress, signal));
      input.fileId = stored.id;
    } catch (error) {
      input.trouble = error;
    }
    this.changed();
  }

  async #watch() {
    this.#take(await api.again(() => api.get(`v1/jobs/${encodeURIComponent(this.jobId)}`)));
    if (this.job.done && this.job.items) return;
    await api.watch(
      this.jobId,
      {
        item: (item) => {
          this.items.set(item.index, item);
          this.ended?.(item);
          this.changed();
        },
        job: (job) => this.#heard(job),
        connection: (connected) => {
          this.connected = connected;
          this.changed();
        },
      },
      this.#stop.signal,
    );
  }

  // Events tell how many items run; which, and how far they are, is looked up now and then.
  #heard(job) {
    this.#take(job);
    if (job.done || job.counts.total > FEW_ITEMS || this.#looking) return;
    this.#looking = setTimeout(async () => {
      this.#looking = 0;
      try {
        const found = await api.get(`v1/jobs/${encodeURIComponent(job.id)}`);
        if (!this.job.done) this.#take(found);
      } catch {
        // The stream says so if the service is away.
      }
    }, LOOK_AFTER_MS);
  }

  #take(job) {
    this.job = job;
    for (const item of job.items ?? []) this.items.set(item.index, item);
    this.changed();
  }

  async cancel() {
    if (this.jobId) this.#take(await api.post(`v1/jobs/${encodeURIComponent(this.jobId)}/cancel`));
    else {
      this.leave();
      this.nothing = true;
      this.changed();
    }
  }

  async retry() {
    this.#take(await api.post(`v1/jobs/${encodeURIComponent(this.jobId)}/retry`));
    this.run();
  }

  leave() {
    this.#stop.abort();
  }

  // All results in one archive; gives its file.
  async packed() {
    const files = this.shown.flatMap((item) => item.results).map((file) => file.id);
    const document = { file_ids: files, format: "zip", name: `offload-${this.choice}` };
    let job = await api.post("v1/archive?wait=30", document);
    while (!job.done) job = await api.get(`v1/jobs/${encodeURIComponent(job.id)}?wait=30`);
    const made = job.items?.find((item) => item.joins) ?? job.items?.[0];
    if (made?.results.length) return made.results[0];
    const error = made?.error ?? {};
    throw new api.Trouble(error.detail ?? TEXTS.errors.title, { code: error.code });
  }
}

// All batches of this tab, the newest first.
class Batches extends Source {
  all = [];

  start(values) {
    const batch = new Batch(values);
    this.all.unshift(batch);
    this.changed();
    batch.run();
    return batch;
  }

  remove(batch) {
    batch.leave();
    this.all = this.all.filter((one) => one !== batch);
    this.keep();
    this.changed();
  }

  // Their jobs' ids and what was chosen outlive a reload, and no more than the tab.
  keep() {
    const kept = this.all.filter((one) => one.jobId).slice(0, MOST_KEPT);
    const told = kept.map(({ jobId, choice, options, inputs }) => ({
      jobId, choice, options,
      inputs: inputs.filter((one) => !one.trouble).slice(0, FEW_ITEMS)
        .map(({ id, name, url }) => ({ id, name, url })),
    }));
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(told));
    } catch {
      // Full or forbidden: then a reload starts with an empty list.
    }
  }

  bring() {
    let kept = [];
    try {
      kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    } catch {
      // Somebody else's.
    }
    for (const values of kept.reverse()) if (CHOICES[values.choice]) this.start(values);
  }
}

export const batches = new Batches();
