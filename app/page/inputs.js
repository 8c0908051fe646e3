// What people give: files, folders and links, by drop, choice, paste or typing.
import { TEXTS } from "./texts.js";

const MOST_FILES = 1000;
let number = 0;

// An input: {id, name, file} or {id, name, url}.
export const ofFile = (file) => ({ id: (number += 1), name: file.name, file });

export function ofLink(line) {
  let url;
  try {
    url = new URL(line);
  } catch {
    url = null;
  }
  if (!url || !/^https?:$/.test(url.protocol)) throw new Error(TEXTS.errors.url(line.slice(0, 80)));
  return { id: (number += 1), name: nameIn(url), url: url.href };
}

const nameIn = (url) => decoded(url.pathname.split("/").filter(Boolean).pop() ?? "") || url.host;

// What an item is called; a link that nobody has named has its last part.
export function nameOf(item) {
  if (item.joins) return TEXTS.item.all;
  return item.name || (item.url ? nameIn(new URL(item.url)) : "");
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const linksIn = (text) => text.split(/\s+/).filter(Boolean).map(ofLink);

// Files of a drop or a paste, those of folders too.
export async function filesIn(transfer) {
  const entries = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) if (entry) await collect(entry, found);
  return found.map(ofFile);
}

async function collect(entry, found) {
  if (found.length >= MOST_FILES) return;
  if (entry instanceof File) found.push(entry);
  else if (entry.isFile) found.push(await new Promise((done, fail) => entry.file(done, fail)));
  else {
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return;
      for (const one of some) await collect(one, found);
    }
  }
}
