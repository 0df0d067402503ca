#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The measurements of docs/devel/vhost-dp-performance.rst: table and picture.

usage: figures.py [RESULTS.json] [--check]

With RESULTS.json, which `make bench' writes to build/bench, the table is written
anew from it: the cases that are in NAMES, as they come.  Then the picture,
docs/devel/vhost-dp-figures.svg, is drawn from the table.  The cover letter of
`make series' takes the table from the same place.  With --check nothing is
written, and the exit status tells whether the picture is that of the table.
"""

import argparse
import json
import math
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'devel' / 'vhost-dp-performance.rst'
PICTURE = ROOT / 'docs' / 'devel' / 'vhost-dp-figures.svg'
TABLE = re.compile(r'(?<=^\.\. vhost-dp-figures\n\n)(?:.+\n)+', re.MULTILINE)
ROW = re.compile(r'(\S.*?) {2,}([\d.]+) {2,}(\S.*?) {2,}([\d.]+) {2,}([\d.]+)')
RULE = '  '.join('=' * n for n in (28, 6, 25, 6)) + '\n'

# How a peer is called on the page, by its name in the results.
NAMES = {'vhost-user-dpdk': 'DPDK vhost', 'dpdk': 'DPDK virtio-user',
         'stock': 'stock', 'bare': 'bare loop',
         'user': '-netdev user', 'af-xdp': '-netdev af-xdp',
         'vhost-net': 'vhost-net', 'passt': 'passt'}
COLOURS = {'DPDK': '#c77f1f', 'stock': '#b9443b', 'bare': '#4d4d4d'}
OTHER = '#6a5a93'
LEFT, RIGHT, WIDTH, LINE, TOP = 330, 60, 760, 20, 62
LOW, HIGH = 0.25, 8.0


def number(value):
    return f'{value:.2f}' if value < 10 else f'{value:.1f}'


def table_of(entries):
    lines = [RULE, f'{"case":<28}  {"ours":<6}  {"peer":<25}  ratio\n', RULE]
    for entry in entries:
        if entry['unit'] != 'million packets per CPU-second' \
           or entry['peer'] not in NAMES or entry['peer_median'] is None:
            continue
        peer = f'{NAMES[entry["peer"]]:<19}{number(entry["peer_median"])}'
        lines.append(f'{entry["case"]:<28}  {number(entry["ours_median"]):<6}'
                     f'  {peer:<25}  {entry["ratio"]:.2f}\n')
    if len(lines) == 3:
        raise SystemExit('the results have no case for the table')
    return ''.join(lines + [RULE])


def rows_of(page):
    found = TABLE.search(page)
    if not found:
        raise SystemExit(f'{PAGE} has no table behind ".. vhost-dp-figures"')
    rows = [ROW.fullmatch(line) for line in found[0].splitlines()[3:-1]]
    if not rows or not all(rows):
        raise SystemExit(f'{PAGE}: the table has a row of another form')
    return [row.groups() for row in rows]


def place(ratio):
    """Where on the logarithmic axis."""
    ratio = min(max(ratio, LOW), HIGH)
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log(ratio / LOW) / math.log(
        HIGH / LOW)


def picture_of(rows):
    height = TOP + LINE * len(rows) + 20
    out = [f'<svg xmlns="http:' + f'//www.w3.org/2000/svg" width="{WIDTH}" '
           f'height="{height}" font-family="sans-serif" font-size="12">',
           '<!--', 'SPDX-License-Identifier: GPL-2.0-or-later', '-->',
           '<!-- made by tests/bench/figures.py -->',
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="10" y="20" font-size="14">Packets per CPU-second, '
           'vhost-dp relative to its peers (more is better)</text>']
    tick = LOW
    while tick <= HIGH:
        x = place(tick)
        out.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" '
                   f'y2="{height - 16}" stroke="'
                   + ('#000000' if tick == 1 else '#cccccc') + '"/>')
        out.append(f'<text x="{x:.1f}" y="{TOP - 10}" '
                   f'text-anchor="middle">{tick:g}</text>')
        tick *= 2
    for index, (case, _, peer, _, ratio) in enumerate(rows):
        y = TOP + LINE * index
        colour = COLOURS.get(peer.split()[0], OTHER)
        start, end = sorted((place(1), place(float(ratio))))
        out += [f'<text x="{LEFT - 10}" y="{y + 13}" text-anchor="end">{case}'
                f'<tspan fill="{colour}"> / {peer}</tspan></text>',
                f'<rect x="{start:.1f}" y="{y + 3}" width="{end - start:.1f}" '
                f'height="{LINE - 7}" fill="{colour}"/>',
                f'<text x="{WIDTH - RIGHT + 8}" y="{y + 13}">{ratio}</text>']
    return '\n'.join(out + ['</svg>']) + '\n'


def main():
    parser = argparse.ArgumentParser(description='Put measurements on a page.')
    parser.add_argument('results', nargs='?', type=Path)
    parser.add_argument('--check', action='store_true')
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding='utf-8')
    if arguments.results:
        entries = json.loads(arguments.results.read_text(encoding='utf-8'))
        page = TABLE.sub(lambda _: table_of(entries), page, count=1)
        PAGE.write_text(page, encoding='utf-8')
    picture = picture_of(rows_of(page))
    if arguments.check:
        return 0 if PICTURE.read_text(encoding='utf-8') == picture else 1
    PICTURE.write_text(picture, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
