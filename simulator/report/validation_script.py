"""Style and script of the page that ``report.validation_page`` writes.

A row is chosen by a click on its point, or near it; by a click on its line among the worst rows; or
with the arrow keys there. One listener on each container finds the row, from ``data-row`` or from
the place of the click, so it does not matter which of many overlapping points was hit. The chosen
table and row stand in the address, so that a link leads back to them.
"""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --quiet: #44546a; --page: #fff; --panel: #f3f6fa;
  --line: #d5dce5; --grid: #e3e9f0; --accent: #e08e0b; --chosen: #fdeedd; --link: #1a5fb4; }
#plot .p { fill-opacity: .45; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e9f0; --quiet: #a9b7c6; --page: #14191f;
  --panel: #1f2730; --line: #3a4654; --grid: #2a343f; --chosen: #4a3312; --link: #8ab4f8; }
  #plot .p { fill-opacity: .8; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1320px;
  padding: 0 1rem; color: var(--ink); background: var(--page); }
a { color: var(--link); } .legend { color: var(--quiet); font-size: 13px; max-width: 90ch; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 1.2rem 0 .4rem; }
#controls { margin: .8rem 0; } #summary { margin-left: 1rem; color: var(--quiet); }
select { font: inherit; padding: .2rem; max-width: 100%; }
#view { display: grid; grid-template-columns: minmax(0, 11fr) minmax(0, 10fr); gap: 1.2rem;
  align-items: start; }
@media (max-width: 900px) { #view { grid-template-columns: minmax(0, 1fr); } }
#plot { width: 100%; border: 1px solid var(--line); cursor: pointer; }
#side h2:first-child { margin-top: 0; }
#chosen { border: 1px solid var(--line); border-left: 4px solid var(--accent);
  background: var(--panel); padding: .5rem .7rem; min-height: 6.5rem; }
#chosen .off { font-weight: 600; } #chosen code { overflow-wrap: anywhere; }
#worst { max-height: 360px; overflow: auto; border: 1px solid var(--line); }
#worst td { white-space: nowrap; }
table { border-collapse: collapse; font-size: 13px; width: 100%; }
th, td { text-align: left; padding: .2rem .5rem; border-bottom: 1px solid var(--grid); }
th { position: sticky; top: 0; background: var(--panel); }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.whole td { font-weight: 600; }
tr[data-row], tr[data-plot] { cursor: pointer; }
tr[data-row]:hover, tr[data-plot]:hover { background: var(--panel); }
tr.on, tr.on:hover { background: var(--chosen); outline: 2px solid var(--accent);
  outline-offset: -2px; }
#mark { fill: none; stroke: var(--ink); stroke-width: 2; pointer-events: none; }
#plot .frame { fill: none; stroke: var(--quiet); }
#plot .grid { stroke: var(--grid); } #plot .rule { stroke: var(--quiet); }
text { font-size: 12px; fill: var(--quiet); }
"""

SCRIPT = """
'use strict';
const find = id => document.getElementById(id);
const plots = JSON.parse(find('data').textContent).plots;
const colours = {launch: '#9467bd', memory: '#2f7ed8', transitional: '#e08e0b', compute: '#c0392b'};
const svg = find('plot'), choice = find('choice'), worst = find('worst'), chosen = find('chosen');
const box = {left: 66, right: 622, top: 34, bottom: 506};
const NEAR = 24;
let places = [], row = -1;
function make(name, attributes, text) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  svg.appendChild(node);
  return node;
}
function time(s) {
  for (const [unit, size] of [['s', 1], ['ms', 1e-3], ['us', 1e-6], ['ns', 1e-9]])
    if (s >= size) return (s / size).toPrecision(4).replace(/\\.?0+$/, '') + ' ' + unit;
  return s + ' s';
}
function percent(p, i) {
  const off = 100 * (p.predicted[i] / p.measured[i] - 1);
  return (off > 0 ? '+' : '') + off.toFixed(1) + ' %';
}
function element(parent, name, text, kind) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  parent.appendChild(node);
  return node;
}
function command(p, i) {
  const row = {};
  p.names.forEach((name, k) => row[name] = p.inputs[i][k]);
  const copies = row.buffers ? ' --rotating-buffers ' + row.buffers : '';
  const sets = p.settings.map(one => ' --set ' + one).join('');
  const chip = ' --chip ' + p.machine + sets;
  const system = p.chip + ':';
  const other = (p.machine === p.chip ? '' : ' --set system.chip=' + p.machine) + sets;
  const tail = chip + ' --dtype ' + p.dtype;
  if (p.operator === 'matmul')
    return 'chipsim op matmul ' + row.m + 'x' + row.k + 'x' + row.n + tail + copies +
      (row.quantize ? ' --quantize' : '') + (row.replay ? ' --replay' : '') +
      (row.blocks ? ' --blocks' : '');
  if (p.operator.startsWith('attention-') && !row.latent)
    return 'chipsim op attention --phase ' + p.operator.slice(10) + ' --batch ' + row.batch +
      ' --heads ' + row.heads + ' --kv-heads ' + row.kv_heads + ' --head-dim ' + row.head_dim +
      ' --context ' + row.context + (row.window ? ' --window ' + row.window : '') + copies +
      ' --kv-dtype ' + p.dtype + chip;
  if (p.operator === 'copy') return 'chipsim op copy ' + row.bytes + chip;
  if (p.operator === 'collective')
    return 'chipsim collective ' + row.op + ' ' + row.bytes + ' --system ' + system +
      row.ranks + (row.engine ? ' --algorithm engine' : '') + other;
  if (p.operator === 'server')  // its decode step; prompts come between
    return 'chipsim step ' + system + row.tp + ' ' + row.model +
      ' --phase decode --batch ' + row.batch + ' --context ' +
      (row.prompt_tokens + Math.floor(row.output_tokens / 2)) + ' --dtype ' + p.dtype +
      ' --kv-dtype ' + row.kv_dtype + (row.engine ? ' --engine ' + row.engine : '') + other;
  return null;
}
function describe(p, i) {
  chosen.textContent = '';
  element(chosen, 'div', p.names.map((name, k) => name + ' ' + p.inputs[i][k]).join(', '));
  element(chosen, 'div', 'measured ' + time(p.measured[i]) + ', price ' + time(p.predicted[i]) +
    ', off by ' + percent(p, i), 'off');
  element(chosen, 'div', 'regime ' + p.regime[i] +
    (i < p.worst ? '; number ' + (i + 1) + ' of the worst rows' : ''));
  const how = command(p, i);
  if (how) element(element(chosen, 'div'), 'code', how);
}
function choose(i) {
  const p = plots[choice.value];
  row = i;
  describe(p, i);
  for (const line of worst.querySelectorAll('tr[data-row]')) {
    const on = Number(line.dataset.row) === i;
    line.classList.toggle('on', on);
    line.setAttribute('aria-selected', on);
    if (on) line.scrollIntoView({block: 'nearest'});
  }
  const mark = find('mark') || make('circle', {id: 'mark', r: 7});
  mark.setAttribute('cx', places[i][0]);
  mark.setAttribute('cy', places[i][1]);
  svg.appendChild(mark);
  try {
    history.replaceState(null, '', '#' + choice.value + ',' + i);
  } catch (error) { /* a page without an address of its own, such as a preview */ }
}
function nearest(event) {
  const point = new DOMPoint(event.clientX, event.clientY)
    .matrixTransform(svg.getScreenCTM().inverse());
  let best = -1, least = NEAR;
  places.forEach(([x, y], i) => {
    const away = Math.hypot(x - point.x, y - point.y);
    if (away < least) { least = away; best = i; }
  });
  return best;
}
function frame(x, y, low, high) {
  const scale = v => (Math.log10(v) - low) / (high - low);
  make('rect', {x: box.left, y: box.top, width: box.right - box.left,
    height: box.bottom - box.top, class: 'frame'});
  const decades = Math.ceil(high) - Math.floor(low);
  for (let d = Math.floor(low); d <= high; d++) for (const f of decades > 3 ? [1] : [1, 2, 5]) {
    const v = f * 10 ** d;
    if (scale(v) < 0 || scale(v) > 1) continue;
    make('line', {x1: x(v), x2: x(v), y1: box.top, y2: box.bottom, class: 'grid'});
    make('line', {x1: box.left, x2: box.right, y1: y(v), y2: y(v), class: 'grid'});
    make('text', {x: x(v), y: box.bottom + 17, 'text-anchor': 'middle'}, time(v * 1.0000001));
    make('text', {x: box.left - 6, y: y(v) + 4, 'text-anchor': 'end'}, time(v * 1.0000001));
  }
  const a = 10 ** low, b = 10 ** high;
  const clip = make('clipPath', {id: 'frame'});
  clip.appendChild(make('rect', {x: box.left, y: box.top, width: box.right - box.left,
    height: box.bottom - box.top}));
  for (const [factor, dash] of [[1, ''], [1.2, '5 4'], [0.8, '5 4']])
    make('line', {x1: x(a), y1: y(a * factor), x2: x(b), y2: y(b * factor), class: 'rule',
      'stroke-dasharray': dash, 'clip-path': 'url(#frame)'});
  make('text', {x: (box.left + box.right) / 2, y: 546, 'text-anchor': 'middle'}, 'measured');
  make('text', {x: 14, y: 270, transform: 'rotate(-90 14 270)', 'text-anchor': 'middle'},
    'predicted');
}
function scatter(p) {
  svg.textContent = '';
  const all = p.measured.concat(p.predicted).map(Math.log10);
  const low = Math.min(...all) - 0.1, high = Math.max(...all) + 0.1;
  const scale = v => (Math.log10(v) - low) / (high - low);
  const x = v => box.left + scale(v) * (box.right - box.left);
  const y = v => box.bottom - scale(v) * (box.bottom - box.top);
  frame(x, y, low, high);
  Object.keys(colours).filter(name => p.regime.includes(name)).forEach((name, k) => {
    make('circle', {cx: box.left + 8 + 110 * k, cy: 18, r: 5, fill: colours[name]});
    make('text', {x: box.left + 18 + 110 * k, y: 22}, name);
  });
  places = p.measured.map((value, i) => [x(value), y(p.predicted[i])]);
  places.forEach(([cx, cy], i) => make('circle', {cx: cx.toFixed(1), cy: cy.toFixed(1), r: 3.2,
    fill: colours[p.regime[i]], class: 'p', 'data-row': i}));
}
function list(p) {
  worst.textContent = '';
  const table = element(worst, 'table'), head = element(element(table, 'thead'), 'tr');
  const kinds = p.inputs[0].map(value => typeof value === 'number' ? 'n' : '');
  for (const name of ['off', 'measured', 'price']) element(head, 'th', name, 'n');
  p.names.forEach((name, k) => element(head, 'th', name, kinds[k]));
  const body = element(table, 'tbody');
  for (let i = 0; i < p.worst; i++) {
    const line = element(body, 'tr');
    line.dataset.row = i;
    line.tabIndex = 0;
    for (const text of [percent(p, i), time(p.measured[i]), time(p.predicted[i])])
      element(line, 'td', text, 'n');
    p.inputs[i].forEach((value, k) => element(line, 'td', value, kinds[k]));
  }
}
function draw() {
  const p = plots[choice.value];
  find('summary').textContent = p.count.toLocaleString('en') +
    (p.count === 1 ? ' row' : ' rows') + ', mean error ' +
    p.mape.toFixed(1) + ' %' +
    (p.measured.length < p.count ? '; ' + p.measured.length + ' of them drawn' : '');
  scatter(p);
  list(p);
  choose(0);
}
plots.forEach((p, i) => { element(choice, 'option', p.name).value = i; });
choice.addEventListener('change', draw);
svg.addEventListener('click', event => {
  const i = nearest(event);
  if (i >= 0) choose(i);
});
worst.addEventListener('click', event => {
  const line = event.target.closest('tr[data-row]');
  if (line) choose(Number(line.dataset.row));
});
worst.addEventListener('keydown', event => {
  const line = event.target.closest('tr[data-row]');
  if (!line) return;
  const step = {ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling'}[event.key];
  const next = step ? line[step] : event.key === 'Enter' || event.key === ' ' ? line : null;
  if (!next) return;
  event.preventDefault();
  next.focus();
  choose(Number(next.dataset.row));
});
function show(event) {
  const line = event.target.closest('tr[data-plot]');
  if (!line) return;
  event.preventDefault();
  choice.value = line.dataset.plot;
  draw();
  svg.scrollIntoView({block: 'center'});
}
find('errors').addEventListener('click', show);
find('errors').addEventListener('keydown', event => {
  if (event.key === 'Enter' || event.key === ' ') show(event);
});
const [table, start] = location.hash.slice(1).split(',').map(Number);
if (plots[table]) choice.value = table;
draw();
if (plots[table] && start < plots[table].measured.length) choose(start);
"""
