"""Style and script of the page that ``report.validation_page`` writes."""

from __future__ import annotations

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1180px;
  padding: 0 1rem; color: #1c2733; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 1.2rem 0 .4rem; }
#controls { margin: .8rem 0; } #summary { margin-left: 1rem; color: #44546a; }
select { font: inherit; padding: .2rem; max-width: 100%; }
#view { display: flex; gap: 1.2rem; flex-wrap: wrap; align-items: flex-start; }
#plot { flex: 1 1 560px; min-width: 320px; max-width: 720px; border: 1px solid #d5dce5; }
#side { flex: 1 1 340px; } #side h2:first-child { margin-top: 0; }
#worst { max-height: 330px; overflow: auto; border: 1px solid #d5dce5; }
table { border-collapse: collapse; font-size: 13px; width: 100%; }
th, td { text-align: left; padding: .2rem .5rem; border-bottom: 1px solid #e6ebf1; }
th { position: sticky; top: 0; background: #f3f6fa; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
tr.whole td { font-weight: 600; }
#worst tr { cursor: pointer; } #worst tr:hover, #worst tr.on { background: #fdeedd; }
#chosen code { background: #f3f6fa; padding: .1rem .3rem; overflow-wrap: anywhere; }
circle.p { fill-opacity: .45; cursor: pointer; }
circle.on { stroke: #000; stroke-width: 2; fill-opacity: 1; }
text { font-size: 12px; fill: #44546a; }
"""

SCRIPT = """
'use strict';
const plots = JSON.parse(document.getElementById('data').textContent).plots;
const colours = {launch: '#7a5195', memory: '#2f7ed8', transitional: '#e08e0b', compute: '#c0392b'};
const svg = document.getElementById('plot'), choice = document.getElementById('choice');
const box = {left: 66, right: 622, top: 34, bottom: 506};
let dots = [], lines = [];
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
function element(parent, name, text) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}
function command(p, i) {
  const row = {};
  p.names.forEach((name, k) => row[name] = p.inputs[i][k]);
  const copies = row.buffers ? ' --rotating-buffers ' + row.buffers : '';
  const tail = ' --chip ' + p.chip + ' --dtype ' + p.dtype;
  if (p.operator === 'matmul')
    return 'chipsim op matmul ' + row.m + 'x' + row.k + 'x' + row.n + tail + copies +
      (row.quantize ? ' --quantize' : '');
  if (p.operator.startsWith('attention-') && !row.latent)
    return 'chipsim op attention --phase ' + p.operator.slice(10) + ' --batch ' + row.batch +
      ' --heads ' + row.heads + ' --kv-heads ' + row.kv_heads + ' --head-dim ' + row.head_dim +
      ' --context ' + row.context + (row.window ? ' --window ' + row.window : '') + copies +
      ' --kv-dtype ' + p.dtype + ' --chip ' + p.chip;
  if (p.operator === 'copy') return 'chipsim op copy ' + row.bytes + ' --chip ' + p.chip;
  if (p.operator === 'collective')
    return 'chipsim collective ' + row.op + ' ' + row.bytes + ' --system ' + p.chip + ':' +
      row.ranks + (row.engine ? ' --algorithm engine' : '');
  return null;
}
function choose(p, i) {
  dots.forEach((dot, k) => dot.classList.toggle('on', k === i));
  lines.forEach((line, k) => line.classList.toggle('on', k === i));
  svg.appendChild(dots[i]);
  const place = document.getElementById('chosen');
  place.textContent = '';
  const inputs = p.names.map((name, k) => name + ' ' + p.inputs[i][k]).join(', ');
  element(place, 'div', inputs);
  element(place, 'div', 'measured ' + time(p.measured[i]) + ', price ' + time(p.predicted[i]) +
    ' (' + percent(p, i) + '), regime ' + p.regime[i]);
  const how = command(p, i);
  if (how) element(element(place, 'div'), 'code', how);
}
function draw() {
  const p = plots[choice.value];
  svg.textContent = '';
  dots = []; lines = [];
  document.getElementById('chosen').textContent = 'none';
  document.getElementById('summary').textContent = p.count.toLocaleString('en') +
    ' rows, mean error ' + p.mape.toFixed(1) + ' %' +
    (p.measured.length < p.count ? '; ' + p.measured.length + ' of them drawn' : '');
  const all = p.measured.concat(p.predicted).map(Math.log10);
  const low = Math.min(...all) - 0.1, high = Math.max(...all) + 0.1;
  const scale = v => (Math.log10(v) - low) / (high - low);
  const x = v => box.left + scale(v) * (box.right - box.left);
  const y = v => box.bottom - scale(v) * (box.bottom - box.top);
  make('rect', {x: box.left, y: box.top, width: box.right - box.left,
    height: box.bottom - box.top, fill: '#fbfcfe', stroke: '#aab6c4'});
  const decades = Math.ceil(high) - Math.floor(low);
  for (let d = Math.floor(low); d <= high; d++) for (const f of decades > 3 ? [1] : [1, 2, 5]) {
    const v = f * 10 ** d;
    if (scale(v) < 0 || scale(v) > 1) continue;
    make('line', {x1: x(v), x2: x(v), y1: box.top, y2: box.bottom, stroke: '#e3e9f0'});
    make('line', {x1: box.left, x2: box.right, y1: y(v), y2: y(v), stroke: '#e3e9f0'});
    make('text', {x: x(v), y: box.bottom + 17, 'text-anchor': 'middle'}, time(v * 1.0000001));
    make('text', {x: box.left - 6, y: y(v) + 4, 'text-anchor': 'end'}, time(v * 1.0000001));
  }
  const a = 10 ** low, b = 10 ** high;
  const clip = make('clipPath', {id: 'frame'});
  clip.appendChild(make('rect', {x: box.left, y: box.top, width: box.right - box.left,
    height: box.bottom - box.top}));
  for (const [factor, dash] of [[1, ''], [1.2, '5 4'], [0.8, '5 4']])
    make('line', {x1: x(a), y1: y(a * factor), x2: x(b), y2: y(b * factor), stroke: '#4a5a6d',
      'stroke-dasharray': dash, 'clip-path': 'url(#frame)'});
  make('text', {x: (box.left + box.right) / 2, y: 546, 'text-anchor': 'middle'}, 'measured');
  make('text', {x: 14, y: 270, transform: 'rotate(-90 14 270)', 'text-anchor': 'middle'},
    'predicted');
  Object.keys(colours).forEach((name, k) => {
    make('circle', {cx: box.left + 8 + 110 * k, cy: 18, r: 5, fill: colours[name]});
    make('text', {x: box.left + 18 + 110 * k, y: 22}, name);
  });
  p.measured.forEach((value, i) => {
    const dot = make('circle', {cx: x(value).toFixed(1), cy: y(p.predicted[i]).toFixed(1), r: 3.2,
      fill: colours[p.regime[i]], class: 'p'});
    dot.addEventListener('click', () => choose(p, i));
    dots.push(dot);
  });
  const worst = document.getElementById('worst');
  worst.textContent = '';
  const table = element(worst, 'table'), head = element(element(table, 'thead'), 'tr');
  p.names.concat(['measured', 'price', 'off']).forEach(name => element(head, 'th', name));
  const body = element(table, 'tbody');
  for (let i = 0; i < p.worst; i++) {
    const line = element(body, 'tr');
    p.inputs[i].concat([time(p.measured[i]), time(p.predicted[i]), percent(p, i)])
      .forEach(cell => element(line, 'td', cell).className = 'n');
    line.addEventListener('click', () => choose(p, i));
    lines.push(line);
  }
}
plots.forEach((p, i) => {
  const option = element(choice, 'option', p.name);
  option.value = i;
});
choice.addEventListener('change', draw);
draw();
"""
