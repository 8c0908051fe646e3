// Plots of the last hour, by uPlot; it is loaded with the page of the status alone.
import { html, useEffect, useRef } from "./lib.js";
import { clock } from "./format.js";
import uPlot from "./vendor/uplot.js";

const HEIGHT = 200;
const DARK = matchMedia("(prefers-color-scheme: dark)");

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Bars that stand on each other: each series is drawn with those before it added, the last first.
function stacked(series) {
  const sums = [];
  for (const one of series) {
    const below = sums.at(-1);
    sums.push(one.values.map((value, step) => value + (below ? below[step] : 0)));
  }
  return sums.reverse();
}

// `series`: [{label, values, colour}], of which `colour` names one of the page's; `label` says what
// is seen to those who do not see it.
export function Plot({ since, stepS, series, label }) {
  const box = useRef(null);
  useEffect(() => {
    const start = new Date(since).getTime() / 1000;
    const times = series[0].values.map((_, step) => start + step * stepS);
    const data = [times, ...stacked(series)];
    const place = box.current;
    let plot = null;
    const draw = () => {
      plot?.destroy();
      plot = new uPlot(options(place.clientWidth, series), data, place);
    };
    draw();
    const sized = new ResizeObserver(() =>
      plot.setSize({ width: place.clientWidth, height: HEIGHT }),
    );
    sized.observe(place);
    DARK.addEventListener("change", draw);
    return () => {
      sized.disconnect();
      DARK.removeEventListener("change", draw);
      plot.destroy();
    };
  }, [since, stepS, JSON.stringify(series)]);
  return html`
    <figure>
      <div class="plot" ref=${box} role="img" aria-label=${label}></div>
      <figcaption>
        ${series.map(
          (one) => html`
            <span class="key-of"><span class="dot ${one.colour}"></span>${one.label}</span>
          `,
        )}
      </figcaption>
    </figure>
  `;
}

function options(width, series) {
  const [quiet, line] = [colour("--quiet"), colour("--line")];
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: quiet, font, ticks: { show: false } };
  return {
    width,
    height: HEIGHT,
    cursor: { show: false },
    legend: { show: false },
    padding: [8, 8, 0, 0],
    scales: {
      x: { range: (_, first, last) => [first - 30, last + 30] },
      y: { range: (_, __, most) => [0, Math.max(4, 1.08 * most)] },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 30, space: 70, values: (_, at) => at.map(hour) },
      { ...axis, grid: { stroke: line, width: 1 }, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6] },
    ],
    series: [
      {},
      ...[...series].reverse().map((one) => ({
        label: one.label,
        fill: colour(`--${one.colour}`),
        stroke: colour(`--${one.colour}`),
        width: 0,
        paths: uPlot.paths.bars({ size: [0.8, 14] }),
        points: { show: false },
      })),
    ],
  };
}

const hour = (at) => clock(at * 1000).slice(0, 5);
