// What was started in this tab: inputs on their way to the service, and the job that they became.
import * as api from "./api.js";
import { CHOICES, stepsOf } from "./choices.js";
import { keep, kept, Source } from "./lib.js";
import { say } from "./parts.js";
import { TEXTS } from "./texts.js";

const KEPT = "offload.jobs";
const MOST_KEPT = 20;
const MOST_INPUTS_KEPT = 100;
const LOOKED_AT = 200;
const LOOK_AFTER_MS = 500;

// crypto.randomUUID is there on secure origins only.
const random = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");

export class Batch extends Source {
  job = null;
  items = new Map(); // by index, as the service tells them
  trouble = null;
  waits = ""; // why it does not go on at the moment
  stopped = false; // before there was a job
  isNew = false; // and whoever started it looks for it
  #stop = new AbortController();
  #looking = 0;
  #sorted = null;
  #good;
  #keyless = null;

  constructor({ choice, options, inputs, jobId = null }) {
    super();
    Object.assign(this, { choice, options, inputs, jobId });
    this.key = jobId ?? random();
    this.#good = inputs.filter((one) => !one.trouble);
  }

  get over() {
    return Boolean(this.trouble || this.job?.done || this.nothing || this.stopped);
  }

  get sending() {
    return !this.jobId && !this.over;
  }

  // Inputs that never became items: they could not be sent.
  get refused() {
    return this.inputs.filter((one) => one.trouble);
  }

  // How many went well and did not; what joins the others is none of them.
  get counts() {
    const { succeeded = 0, failed = 0, canceled = 0 } = this.job?.counts ?? {};
    const joined = this.shown.at(-1)?.joins && this.shown.at(-1).status === "succeeded" ? 1 : 0;
    return [succeeded - joined, failed + this.refused.length, canceled];
  }

  get shown() {
    return (this.#sorted ??= [...this.items.values()].sort((a, b) => a.index - b.index));
  }

  // The input that an item came of, as long as the tab remembers.
  inputOf(item) {
    return this.#good[item.index];
  }

  async run() {
    this.trouble = null;
    let watched = true;
    try {
      if (!this.jobId) await this.#submit();
      if (this.jobId) watched = await this.#watch();
    } catch (error) {
      if (!this.#stop.signal.aborted) this.trouble = error;
    }
    this.changed();
    if (watched && this.over && !this.trouble) say(TEXTS.jobs.over(this));
  }

  // Try again what may go well later; meanwhile it shows why it waits.
  #again(attempt) {
    const waits = (error) => this.#wait(error ? TEXTS.jobs.waits(error.message) : "");
    return api.again(attempt, { signal: this.#stop.signal, waits });
  }

  #wait(why) {
    this.waits = why;
    this.changed();
  }

  async #submit() {
    const waiting = this.inputs.filter((one) => one.file && !one.fileId && !one.trouble);
    const senders = waiting.splice(0, 2).map(async (first) => {
      for (let one = first; one && !this.#keyless; one = waiting.shift()) await this.#send(one);
    });
    await Promise.all(senders);
    const keyless = this.#keyless;
    this.#keyless = null;
    if (keyless) throw keyless;
    this.#good = this.inputs.filter((one) => !one.trouble);
    this.nothing = !this.#good.length;
    if (this.nothing || this.#stop.signal.aborted) return;
    const items = this.#good.map((one) => (one.url ? { url: one.url } : { file_id: one.fileId }));
    const document = { items, steps: stepsOf(this.choice, this.options) };
    const headers = { "Idempotency-Key": this.key }; // asked twice, it is one job
    const job = await this.#again(() => api.post("v1/jobs", document, headers));
    this.jobId = job.id;
    if (this.#stop.signal.aborted) return void (await this.#tell("cancel")); // that was too late
    this.#take(job);
    batches.keep();
  }

  async #send(input) {
    try {
      const progress = (share) => {
        input.progress = share;
        this.changed();
      };
      const send = () => api.upload(input.file, input.name, progress, this.#stop.signal);
      input.fileId = (await this.#again(send)).id;
    } catch (error) {
      if (error.status === 401) this.#keyless = error;
      else if (!this.#stop.signal.aborted) input.trouble = error;
    }
    this.changed();
  }

  get #path() {
    return `v1/jobs/${encodeURIComponent(this.jobId)}`;
  }

  // Gives whether there was anything to wait for.
  async #watch() {
    this.#take(await this.#again(() => api.get(this.#path)));
    if (this.job.done && this.job.items) return false;
    const wasDone = this.job.done;
    if (!wasDone) this.#look();
    const on = {
      item: (item) => this.#have([item]),
      job: (job) => this.#heard(job),
      connection: (connected) => this.#wait(connected ? "" : TEXTS.jobs.lost),
    };
    await api.watch(this.jobId, on, this.#stop.signal);
    return !wasDone;
  }

  // Events tell how many items run; which, and how far they are, is looked up now and then.
  #heard(job) {
    this.#take(job);
    if (!job.done && !this.#looking) this.#looking = setTimeout(() => this.#look(), LOOK_AFTER_MS);
  }

  async #look() {
    if (this.job.counts.total <= LOOKED_AT) {
      try {
        const { items } = await api.get(`${this.#path}/items?limit=${LOOKED_AT}`);
        // What has ended meanwhile was told by the stream, and is newer.
        this.#have(items.filter(({ index }) => !this.items.get(index)?.finished_at));
      } catch {
        // The stream says so if the service is away.
      }
    }
    this.#looking = 0;
  }

  #take(job) {
    this.job = job;
    this.#have(job.items ?? []);
  }

  #have(items) {
    for (const item of items) this.items.set(item.index, item);
    this.#sorted = null;
    this.changed();
  }

  #tell(what) {
    return api.post(`${this.#path}/${what}`);
  }

  async cancel() {
    if (this.jobId) return this.#take(await this.#tell("cancel"));
    this.leave();
    this.stopped = true;
    this.changed();
  }

  async retry() {
    this.#take(await this.#tell("retry"));
    for (const [index, item] of this.items) if (item.error) this.items.delete(index);
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

  start(values, { isNew = false } = {}) {
    const batch = Object.assign(new Batch(values), { isNew });
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
    const told = this.all.filter((one) => one.jobId).slice(0, MOST_KEPT)
      .map(({ jobId, choice, options, inputs, refused }) => ({
        jobId, choice, options,
        inputs: inputs.filter((one) => !one.trouble).slice(0, MOST_INPUTS_KEPT)
          .map(({ id, name, url }) => ({ id, name, url })),
        refused: refused.slice(0, MOST_INPUTS_KEPT)
          .map(({ id, name, trouble }) => ({ id, name, said: trouble.message })),
      }));
    keep(KEPT, JSON.stringify(told));
  }

  bring() {
    let told = [];
    try {
      told = JSON.parse(kept(KEPT) || "[]");
    } catch {
      // Somebody else's.
    }
    for (const { refused = [], ...values } of told.reverse()) {
      const failed = refused.map(({ said, ...one }) => ({ ...one, trouble: new Error(said) }));
      if (CHOICES[values.choice]) this.start({ ...values, inputs: [...values.inputs, ...failed] });
    }
  }

  // What was refused for want of a key goes on with the next one.
  unlock() {
    for (const batch of this.all) if (batch.trouble?.status === 401) batch.run();
  }
}

export const batches = new Batches();

let { key } = api.session;
api.session.listen(() => {
  if (api.session.key === key) return;
  ({ key } = api.session);
  batches.unlock();
});

// Only what is on its way to the service would be lost.
addEventListener("beforeunload", (event) => {
  if (batches.all.some((batch) => batch.sending)) event.preventDefault();
});
