// What people give: files, folders and links, by drop, choice, paste or typing.
import { TEXTS } from "./texts.js";

let number = 0;

// An input: {id, name, file} or {id, name, url}.
// What is in a folder has its path for a name.
export const ofFile = (file, name = file.name) => ({ id: (number += 1), name, file });

const parsed = (text) => {
  try {
    return new URL(text);
  } catch {
    return null;
  }
};

const nameIn = (url) => decoded(url.pathname.split("/").filter(Boolean).pop() ?? "") || url.host;

// What an item is called; a link that nobody has named has its last part.
export function nameOf(item) {
  if (item.joins) return TEXTS.item.all;
  const url = parsed(item.url);
  return item.name || (url ? nameIn(url) : (item.url ?? ""));
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// The links of a text, and what in its lines is none.
export function linksIn(text) {
  const [links, wrong] = [[], []];
  for (const line of text.split("\n")) {
    const [good, bad] = [[], []];
    for (const word of line.split(/\s+/).filter(Boolean)) {
      const url = parsed(word);
      if (url && /^https?:$/.test(url.protocol)) good.push(url);
      else bad.push(word);
    }
    for (const url of good) links.push({ id: (number += 1), name: nameIn(url), url: url.href });
    if (bad.length) wrong.push(bad.join(" "));
  }
  return { links, wrong };
}

// Whether something that is dragged is for the page, and not a piece of its own text.
export const isGiven = (transfer) =>
  transfer.types.includes("Files") || transfer.types.includes("text/uri-list");

// Files of a drop or a paste, those of folders too; up to one more than `most`. What is given can
// be asked until its event is over, so that is done at once.
export function filesIn(transfer, most) {
  const entries = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile())
    .filter(Boolean);
  return entries.length ? collected(entries, most) : null;
}

async function collected(entries, most) {
  const found = [];
  for (const entry of entries) await collect(entry, found, most);
  if (!found.length) throw new Error(TEXTS.errors.nothing);
  return found;
}

async function collect(entry, found, most) {
  if (found.length > most) return;
  if (entry instanceof File) found.push(ofFile(entry));
  else if (entry.isFile) {
    const file = await new Promise((done, fail) => entry.file(done, fail));
    found.push(ofFile(file, entry.fullPath.replace(/^\//, "")));
  } else {
    const reader = entry.createReader();
    while (found.length <= most) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return;
      for (const one of some) await collect(one, found, most);
    }
  }
}
