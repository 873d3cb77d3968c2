import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import './chart.css';
import { language, theme } from '../preferences.ts';
import { locale } from '../text.ts';

export interface Line {
  readonly label: string;
  readonly values: readonly (number | null)[];
  /** By its name among the tokens. */
  readonly tone: 'accent' | 'bad' | 'ink-soft' | 'series-2' | 'series-3' | 'series-4';
  /** A faint dashed line, as for the period before. */
  readonly isFaint?: boolean;
}

interface ChartProps {
  /** What the chart shows, for those who do not see it: with its last values, not only its name. */
  readonly label: string;
  /** Seconds since 1970, rising. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly shown: (value: number) => string;
  readonly height?: number;
  readonly kind?: 'lines' | 'bars';
}

/** Lines or bars over time. Its colours are those of the theme. */
export function Chart(given: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const latest = useRef(given);
  latest.current = given;
  const form = JSON.stringify(given.lines.map(({ label, tone, isFaint }) => [label, tone, isFaint]));

  useEffect(() => {
    const { current } = place;
    if (!current) return;
    const draw = (): void => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf(latest.current, current), dataOf(latest.current), current);
    };
    draw();
    const resized = new ResizeObserver(() => {
      plot.current?.setSize({ width: current.clientWidth, height: latest.current.height ?? 180 });
    });
    resized.observe(current);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', draw);
    return () => {
      resized.disconnect();
      dark.removeEventListener('change', draw);
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [form, theme.value, language.value, given.kind, given.height]);

  useEffect(() => {
    plot.current?.setData(dataOf(given));
  }, [given.times, given.lines]);

  return <div ref={place} class="chart" role="img" aria-label={given.label} />;
}

function dataOf({ times, lines }: ChartProps): uPlot.AlignedData {
  return [[...times], ...lines.map(({ values }) => [...values])];
}

function optionsOf(given: ChartProps, place: HTMLElement): uPlot.Options {
  const font = `11px ${getComputedStyle(place).fontFamily}`;
  const grid = { stroke: colourOf(place, 'line'), width: 1 };
  const bars = uPlot.paths.bars?.({ size: [0.7, 24], radius: 0.15 });
  const curve = uPlot.paths.spline?.();
  const time = new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'short' });
  return {
    width: place.clientWidth,
    height: given.height ?? 180,
    padding: [10, 26, 0, 0],
    cursor: { points: { size: 6 }, drag: { x: false, y: false } },
    legend: {
      live: true,
      markers: { width: 0, fill: (_plot, at) => colourOf(place, given.lines[at - 1]?.tone ?? 'ink-soft') },
    },
    scales: {
      ...(given.kind === 'bars' ? { x: { range: withHalfBars } } : {}),
      y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.08 : 1] },
    },
    axes: [
      {
        stroke: colourOf(place, 'ink-soft'),
        grid: { show: false },
        ticks: { show: false },
        font,
        gap: 6,
        size: 26,
        values: timesShown,
        ...(isByDay(given.times) ? { incrs: daySteps } : {}),
      },
      {
        stroke: colourOf(place, 'ink-soft'),
        grid,
        ticks: { show: false },
        font,
        gap: 6,
        size: (_plot, values) => 16 + 7 * Math.max(2, ...(values ?? []).map((value) => value.length)),
        values: (_plot, splits) => splits.map(given.shown),
      },
    ],
    series: [
      { value: (_plot, seconds) => (seconds === null ? '' : time.format(seconds * 1_000)), label: '' },
      ...given.lines.map(({ label, tone, isFaint }): uPlot.Series => {
        const stroke = colourOf(place, tone);
        const path = given.kind === 'bars' && !isFaint ? bars : curve;
        return {
          label,
          stroke,
          // With a line around them, bars of nothing would be seen.
          width: isFaint ? 1 : given.kind === 'bars' ? 0 : 1.75,
          ...(isFaint ? { dash: [4, 4] } : given.kind === 'bars' ? { fill: stroke } : {}),
          ...(path ? { paths: path } : {}),
          points: { show: false },
          value: (_plot, value, _series, at) => (at === null ? '' : value == null ? '–' : given.shown(value)),
        };
      }),
    ],
  };
}

/** Marks of days stand at days. */
const daySteps = [1, 2, 7, 14, 28, 91, 182, 364].map((days) => days * 86_400);
function isByDay(times: readonly number[]): boolean {
  return times.length > 1 && (times[1] ?? 0) - (times[0] ?? 0) > 80_000;
}

/** The first and the last bar are whole. */
function withHalfBars({ data: [times] }: uPlot, least: number, most: number): [number, number] {
  const half = ((times[1] ?? 0) - (times[0] ?? 0)) / 2;
  return half > 0 ? [least - half, most + half] : [least - 1_800, most + 1_800];
}

function timesShown(_plot: uPlot, splits: number[], _axis: number, _space: number, step: number): string[] {
  const format = new Intl.DateTimeFormat(
    locale(),
    step >= 86_400 ? { day: 'numeric', month: 'short' } : { hour: '2-digit', minute: '2-digit' },
  );
  return splits.map((seconds) => format.format(seconds * 1_000));
}

/** A colour of the theme: a canvas knows no properties of a style sheet. */
function colourOf(place: HTMLElement, name: string): string {
  const probe = document.createElement('i');
  probe.style.color = `var(--${name})`;
  place.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
