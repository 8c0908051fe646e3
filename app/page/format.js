// Numbers and moments as people read them.
const UNITS = ["B", "kB", "MB", "GB", "TB"];

export function bytes(n) {
  if (n == null) return "";
  let unit = 0;
  while (n >= 999.5 && unit < UNITS.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${unit && n < 9.95 ? n.toFixed(1) : Math.round(n)}\u00a0${UNITS[unit]}`;
}

export function count(n) {
  return n.toLocaleString("en");
}

export function duration(ms) {
  if (ms == null) return "";
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} days`;
}

export function clock(moment) {
  return new Date(moment).toLocaleTimeString("en-GB");
}

export function dated(moment) {
  const at = new Date(moment);
  const today = at.toDateString() === new Date().toDateString();
  return today ? clock(at) : `${at.toLocaleDateString("en-CA")} ${clock(at)}`;
}

// How much smaller: "−78 %", "+3 %"; never all of it where something is left.
export function change(before, after) {
  if (!before || after == null) return "";
  if (before === after) return "same size";
  const share = after / before;
  if (share >= 10) return `×\u00a0${count(Math.round(share))}`;
  const most = share < 1 && after ? 99.9 : Infinity;
  const percent = Math.min(Math.max(100 * Math.abs(share - 1), 0.1), most);
  const digits = percent < 1 || (percent > 99 && percent < 100) ? 1 : 0;
  return `${share < 1 ? "−" : "+"}${percent.toFixed(digits)}\u00a0%`;
}

export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}
