// The service, by its public API. Every address is relative: the page works below any path.
import { Gate, keep, kept, Source } from "./lib.js";
import { TEXTS } from "./texts.js";

const KEY = "offload.key";
const BASE = new URL(".", document.baseURI);

export const address = (path) => new URL(path.replace(/^\//, ""), BASE).href;
const content = (fileId) => `v1/files/${encodeURIComponent(fileId)}/content`;
// To be shown: from here, also where downloads are redirected to a bucket, whom the page may not ask.
const FROM_HERE = "?redirect=false";
export const shownOf = (fileId) => address(content(fileId) + FROM_HERE);

// What went wrong, in words for a person; `code` is the service's own.
export class Trouble extends Error {
  constructor(said, { code = "", status = 0, retryable = false, afterMs = 0 } = {}) {
    super(said);
    this.afterMs = afterMs; // not again before then
    this.code = code;
    this.status = status;
    this.retryable = retryable;
  }
}

// The key, for as long as the tab is open, and nowhere else.
class Session extends Source {
  asked = false;
  refused = false; // whether the service did not know the one that it was given

  get key() {
    return kept(KEY);
  }

  set key(key) {
    keep(KEY, key);
    this.asked = this.refused = false;
    this.changed();
  }

  // A request with `key` was refused; it may have been under way while another one was typed.
  ask(key = this.key, refused = false) {
    if (key !== this.key) return;
    this.asked = true;
    this.refused = refused && Boolean(key);
    this.changed();
  }
}

export const session = new Session();

const withKey = (key, headers = {}) => (key ? { ...headers, Authorization: `Bearer ${key}` } : headers);

async function troubleOf(response, key) {
  let said = null;
  try {
    said = await response.json();
  } catch {
    // A proxy's page, or nothing.
  }
  if (response.status === 401) session.ask(key, true);
  return new Trouble(said?.detail ?? TEXTS.errors.status(response.status), {
    code: said?.code,
    status: response.status,
    retryable: said?.retryable ?? response.status >= 502,
    afterMs: 1000 * Math.min(Number.parseInt(response.headers.get("Retry-After"), 10) || 0, 60),
  });
}

const lost = () => new Trouble(TEXTS.errors.unreachable, { code: "unreachable", retryable: true });

async function send(path, options = {}) {
  const { key } = session;
  let response;
  try {
    response = await fetch(address(path), { ...options, headers: withKey(key, options.headers) });
  } catch (error) {
    throw error.name === "AbortError" ? error : lost();
  }
  if (!response.ok) throw await troubleOf(response, key);
  return response;
}

export async function get(path, options) {
  return (await send(path, options)).json();
}

export async function post(path, document, headers = {}) {
  const body = document === undefined ? undefined : JSON.stringify(document);
  if (body) headers = { ...headers, "Content-Type": "application/json" };
  return (await send(path, { method: "POST", body, headers })).json();
}

export async function blobOf(fileId) {
  return (await send(content(fileId) + FROM_HERE)).blob();
}

// Wait, or until nobody wants to.
function sleep(ms, signal) {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

const stopped = () => new Trouble(TEXTS.errors.stopped);

// Try again what may succeed later, a service that is busy, away or starting, until it does, or
// nobody wants it any more. `waits` is told what it waits for, and null when it does not.
export async function again(attempt, { signal, waits = () => {} } = {}) {
  for (let pause = 500; ; pause = Math.min(2 * pause, 8000)) {
    if (signal?.aborted) throw stopped();
    try {
      const found = await attempt();
      waits(null);
      return found;
    } catch (error) {
      if (!error.retryable) throw error;
      waits(error);
      await sleep(Math.max(pause, error.afterMs), signal);
    }
  }
}

// A browser has six connections to a service, for all of the tab: uploads, pictures and streams
// leave some to all else.
const uploads = new Gate(2);
const pictures = new Gate(1);
const STREAMS = 2;

export const pictureOf = (fileId, isGone) =>
  pictures.through(() => (isGone() ? null : blobOf(fileId)));

// Store a file, two at a time; `progress` is told the share that has gone. A name may have folders.
export const upload = (file, name, progress, signal) =>
  uploads.through(() => uploaded(file, name, progress, signal));

function uploaded(file, name, progress, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(stopped());
    const { key } = session;
    const request = new XMLHttpRequest(); // fetch does not tell how far an upload is
    const folders = name.includes("/") ? "?paths=keep" : "";
    request.open("PUT", address(`v1/files/${encodeURIComponent(name)}${folders}`));
    const type = { "Content-Type": "application/octet-stream" };
    for (const [header, value] of Object.entries(withKey(key, type)))
      request.setRequestHeader(header, value);
    request.upload.onprogress = (event) => progress(event.total ? event.loaded / event.total : 1);
    request.onerror = () => {
      // It says the same of a service that is away and of a file that has changed or gone.
      const unreadable = () => reject(new Trouble(TEXTS.errors.unreadable));
      file.slice(0, 1).arrayBuffer().then(() => reject(lost()), unreadable);
    };
    request.onabort = () => reject(stopped());
    request.onload = () => {
      const headers = { "Retry-After": request.getResponseHeader("Retry-After") ?? "" };
      const answer = new Response(request.responseText, { status: request.status, headers });
      if (answer.ok) resolve(JSON.parse(request.responseText));
      else troubleOf(answer, key).then(reject);
    };
    const stop = () => request.abort();
    request.onloadend = () => signal.removeEventListener("abort", stop);
    signal.addEventListener("abort", stop);
    request.send(file);
  });
}

const LOOK_EVERY_MS = 2000;
const SILENT_MS = 45_000; // the service says something every 15 s
let streams = 0;

// Tell of a job's events until it is over: `on.item`, `on.job`, `on.connection` (true or false). As
// a stream, if not too many are open; until then by looking now and then.
export async function watch(jobId, on, signal) {
  const path = `v1/jobs/${encodeURIComponent(jobId)}`;
  const waits = (error) => on.connection(!error);
  while (streams >= STREAMS) {
    const job = await again(() => get(path, { signal }), { signal, waits });
    on.job(job);
    if (job.done && job.items) return;
    await sleep(LOOK_EVERY_MS, signal);
  }
  if (signal.aborted) return;
  streams += 1;
  try {
    await stream(`${path}/events`, on, signal);
  } finally {
    streams -= 1;
  }
}

// Over as many connections as it takes. EventSource cannot send a key, so it is read by hand.
async function stream(path, on, signal) {
  let last = "";
  for (let pause = 500; !signal.aborted; pause = Math.min(2 * pause, 3000)) {
    const silence = new Silence(SILENT_MS);
    try {
      const either = AbortSignal.any([signal, silence.signal]);
      const headers = last ? { "Last-Event-ID": last } : {};
      const response = await send(path, { headers, signal: either });
      on.connection(true);
      if (response.status === 204) return;
      for await (const { event, data, id } of eventsOf(response.body, silence)) {
        last = id || last;
        pause = 500;
        if (!data) continue;
        const document = JSON.parse(data);
        on[event]?.(document);
        if (event === "job" && document.done) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Trouble && !error.retryable) throw error;
      on.connection(false);
    } finally {
      silence.over();
    }
    await sleep(pause, signal);
  }
}

// Ends a connection on which nothing has come for a while: nobody says so when a machine has slept.
class Silence {
  #end = new AbortController();
  #timer = 0;

  constructor(ms) {
    this.ms = ms;
    this.signal = this.#end.signal;
    this.broken();
  }

  broken() {
    this.over();
    this.#timer = setTimeout(() => this.#end.abort(), this.ms);
  }

  over() {
    clearTimeout(this.#timer);
  }
}

async function* eventsOf(body, silence) {
  let text = "";
  for await (const piece of pieces(body.pipeThrough(new TextDecoderStream()))) {
    silence.broken();
    text += piece;
    const blocks = text.split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) {
      const found = { event: "message", data: "", id: "" };
      for (const line of block.split(/\r?\n/)) {
        // `s`: a name may have U+2028 in it, which ends a line in no stream of events.
        const [, name, value] = /^(\w+): ?(.*)$/s.exec(line) ?? [];
        if (name === "data") found.data += (found.data && "\n") + value;
        else if (name in found) found[name] = value;
      }
      yield found;
    }
  }
}

// Not every browser lets a stream be iterated.
async function* pieces(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// Save a file under its name. Where a key is needed the browser cannot ask for it by itself.
export async function save(fileId, name) {
  await get(`v1/files/${encodeURIComponent(fileId)}`); // one that is gone is told of here
  const link = document.createElement("a");
  if (session.key) {
    link.href = URL.createObjectURL(await blobOf(fileId));
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } else {
    link.href = address(content(fileId));
  }
  link.download = name.split("/").pop();
  document.body.append(link);
  link.click();
  link.remove();
}
