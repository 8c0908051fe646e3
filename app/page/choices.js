// What can be done with what was dropped: the steps of a job, and the same as text to copy.
import { address, session } from "./api.js";

const PICTURE = /\.(jpe?g|png|webp|avif|gif|tiff?|heic|heif|bmp|ico)$/i;
const ARCHIVE = /\.(zip|tar|tgz|tbz2?|txz|tar\.\w{1,4})$/i;
const PACKED = /\.(gz|zst|br|xz|bz2|lz4|zz)$/i;

// Of each: the operation's own options that are offered, and what they are to begin with; what is
// "" is left to the service. Their kinds and choices are the service's (`GET /v1/operations`).
export const CHOICES = {
  image: { door: "images", defaults: { width: 1600, format: "webp", quality: "" } },
  optimize: { door: "optimize", defaults: { mode: "lossy" } },
  compress: { door: "compress", defaults: { format: "gzip", level: "balanced" } },
  archive: { door: "archive", defaults: { format: "zip", name: "archive" } },
  extract: { door: "extract", defaults: {} },
  decompress: { door: "decompress", defaults: { format: "auto" } },
  fetch: { door: "fetch", defaults: { dedupe: false }, onlyLinks: true },
};

// Choose for somebody who does not want to: by what there is most of.
export function fitting(inputs) {
  if (!inputs.length) return "image";
  const share = (kind) => inputs.filter((one) => kind.test(one.name)).length / inputs.length;
  if (share(PICTURE) > 0.5) return "image";
  if (share(ARCHIVE) > 0.5) return "extract";
  if (share(PACKED) > 0.5) return "decompress";
  return inputs.every((one) => one.url) ? "fetch" : "compress";
}

// The options that say something: what is empty, or the service's own default, is left out.
export function told(choice, options, schema) {
  return Object.fromEntries(
    Object.entries(options).filter(
      ([name, value]) => value !== "" && value !== schema?.properties?.[name]?.default,
    ),
  );
}

export const stepsOf = (choice, options) =>
  choice === "fetch" && !Object.keys(options).length ? [] : [{ op: choice, ...options }];

// As a shell takes it. For curl's -F a name with one of its own signs is quoted once more, and what
// begins with a dash would be an option.
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const ofForm = (name) => (/[;,"]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name);
const asPath = (name) => (name.startsWith("-") ? `./${name}` : name);
const json = (value) => quoted(JSON.stringify(value));
const python = (value) =>
  typeof value === "boolean" ? (value ? "True" : "False") : JSON.stringify(value);

const FEW = 3;
const few = (list, more) => (list.length > FEW ? [...list.slice(0, FEW), more] : list);

// The same as three texts: {curl, python, cli}.
export function recipes(choice, options, inputs) {
  const files = inputs.filter((one) => !one.url).map((one) => one.name);
  const urls = inputs.filter((one) => one.url).map((one) => one.url);
  return {
    curl: curl(choice, options, files, urls),
    python: pythonText(choice, options, [...files, ...urls]),
    cli: cli(choice, options, [...files, ...urls]),
  };
}

function curl(choice, options, files, urls) {
  const lines = ["curl"];
  if (session.key) lines.push('-H "Authorization: Bearer $OFFLOAD_KEY"');
  if (files.length && urls.length) {
    const document = { items: urls.map((url) => ({ url })), steps: stepsOf(choice, options) };
    lines.push(`-F ${quoted(`job=${JSON.stringify(document)}`)}`);
  } else if (urls.length) {
    lines.push(`--json ${json({ urls })}`);
  }
  for (const name of few(files, "…")) lines.push(name === "…" ? "…" : `-F ${quoted(`file=@${ofForm(name)}`)}`);
  const mixed = files.length && urls.length;
  const query = new URLSearchParams(mixed ? {} : options);
  query.set("wait", "60");
  const path = mixed ? "v1/jobs" : `v1/${CHOICES[choice].door}`;
  lines.push(quoted(`${address(path)}?${query}`));
  return lines.join(" \\\n  ");
}

function pythonText(choice, options, inputs) {
  const named = Object.entries(options).map(([name, value]) => `${name}=${python(value)}`);
  const given = [...few(inputs.map(python), "..."), ...named].join(", ");
  return [
    "import offload",
    "",
    `with offload.Client(${python(address("").replace(/\/$/, ""))}) as client:`,
    `    job = client.${choice}(${given})`,
    "    for file in job.results():",
    '        file.save(".")',
  ].join("\n");
}

function cli(choice, options, inputs) {
  const named = Object.entries(options).map(([name, value]) => {
    const flag = name.replaceAll("_", "-");
    if (typeof value === "boolean") return value ? `--${flag}` : `--no-${flag}`;
    return `--${flag} ${quoted(String(value))}`;
  });
  const server = `--server ${address("").replace(/\/$/, "")}`;
  return ["offload", choice, ...few(inputs.map(asPath).map(quoted), "…"), ...named, server].join(" ");
}
