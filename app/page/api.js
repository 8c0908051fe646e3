// The service, by its public API. Every address is relative: the page works below any path.
import { Source } from "./lib.js";
import { TEXTS } from "./texts.js";

const KEY = "offload.key";
const BASE = new URL(".", document.baseURI);

export const address = (path) => new URL(path.replace(/^\//, ""), BASE).href;
export const contentOf = (fileId) => address(`v1/files/${encodeURIComponent(fileId)}/content`);

// What went wrong, in words for a person; `code` is the service's own.
export class Trouble extends Error {
  constructor(said, { code = "", status = 0, retryable = false } = {}) {
    super(said);
    this.code = code;
    this.status = status;
    this.retryable = retryable;
  }
}

// The key, for as long as the tab is open, and nowhere else.
class Session extends Source {
  asked = false;

  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  set key(key) {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
    this.asked = false;
    this.changed();
  }

  ask() {
    this.asked = true;
    this.changed();
  }
}

export const session = new Session();

function withKey(headers = {}) {
  return session.key ? { ...headers, Authorization: `Bearer ${session.key}` } : headers;
}

export async function troubleOf(response) {
  let said = {};
  try {
    said = await response.json();
  } catch {
    // A proxy's page, or nothing.
  }
  if (response.status === 401) session.ask();
  return new Trouble(said.detail ?? TEXTS.errors.status(response.status), {
    code: said.code,
    status: response.status,
    retryable: said.retryable ?? response.status >= 502,
  });
}

const lost = () => new Trouble(TEXTS.errors.unreachable, { code: "unreachable", retryable: true });

async function send(path, options = {}) {
  let response;
  try {
    response = await fetch(address(path), { ...options, headers: withKey(options.headers) });
  } catch (error) {
    throw error.name === "AbortError" ? error : lost();
  }
  if (!response.ok) throw await troubleOf(response);
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
  return (await send(`v1/files/${encodeURIComponent(fileId)}/content`)).blob();
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Try again what may succeed later: a service that is busy, away or starting.
export async function again(attempt, tries = 6) {
  for (let pause = 500; ; pause *= 2) {
    try {
      return await attempt();
    } catch (error) {
      tries -= 1;
      if (!error.retryable || tries <= 0) throw error;
      await sleep(pause);
    }
  }
}

// Store a file; `progress` is told the share that has gone.
export function upload(file, name, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how far an upload is
    request.open("PUT", address(`v1/files/${encodeURIComponent(name)}`));
    for (const [header, value] of Object.entries(withKey())) request.setRequestHeader(header, value);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => progress(event.total ? event.loaded / event.total : 1);
    request.onerror = () => {
      // It says the same of a service that is away and of a file that has changed or gone.
      const unreadable = () => reject(new Trouble(TEXTS.errors.unreadable));
      file.slice(0, 1).arrayBuffer().then(() => reject(lost()), unreadable);
    };
    request.onabort = () => reject(new Trouble(TEXTS.errors.stopped));
    request.onload = () => {
      const answer = new Response(request.responseText, { status: request.status });
      if (answer.ok) resolve(JSON.parse(request.responseText));
      else troubleOf(answer).then(reject);
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

// Tell of a job's events until it is over, over as many connections as it takes. EventSource cannot
// send a key, so the stream is read by hand: `on.item`, `on.job`, `on.connection` (true or false).
export async function watch(jobId, on, signal) {
  let last = "";
  for (let pause = 500; !signal.aborted; pause = Math.min(2 * pause, 3000)) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const path = `v1/jobs/${encodeURIComponent(jobId)}/events`;
      const response = await send(path, { headers, signal });
      on.connection(true);
      if (response.status === 204) return;
      for await (const { event, data, id } of eventsOf(response.body)) {
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
    }
    await sleep(pause);
  }
}

async function* eventsOf(body) {
  let text = "";
  for await (const piece of pieces(body.pipeThrough(new TextDecoderStream()))) {
    text += piece;
    const blocks = text.split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) {
      const found = { event: "message", data: "", id: "" };
      for (const line of block.split(/\r?\n/)) {
        const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
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
  const link = document.createElement("a");
  if (session.key) {
    link.href = URL.createObjectURL(await blobOf(fileId));
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } else {
    link.href = contentOf(fileId);
  }
  link.download = name.split("/").pop();
  document.body.append(link);
  link.click();
  link.remove();
}
