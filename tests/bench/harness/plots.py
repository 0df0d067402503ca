# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots as PNG, by gnuplot."""

import shutil
import subprocess

COLOURS = {'ours': '#1f6fb4', 'stock': '#d1493f', 'bare': '#4d4d4d',
           'vhost-user-dpdk': '#e0952b', 'user': '#7a4fa3'}
POINTS = {'ours': 7, 'stock': 5, 'bare': 9, 'vhost-user-dpdk': 13, 'user': 11}
LABELS = {'ours': 'vhost-dp', 'stock': 'stock QEMU, main loop',
          'bare': 'bare loop', 'vhost-user-dpdk': 'DPDK testpmd, vhost-user'}


def _gnuplot(path, script):
    head = (f"set terminal pngcairo size 900,560 noenhanced font 'Sans,11'\n"
            f"set output '{path}'\n"
            "set grid lt 1 lw 0.5 lc rgb '#cccccc'\nset border 3\nset tics nomirror\n")
    result = subprocess.run(['gnuplot'], input=head + script, text=True,
                            capture_output=True, check=False)
    if result.returncode:
        path.unlink(missing_ok=True)
        return result.stderr.strip().splitlines()[-1]
    return None


def _block(name, points):
    lines = ''.join(f'{x} {y}\n' for x, y in points)
    return f'${name} << EOD\n{lines}EOD\n'


def _plot(path, title, axes, curves):
    """@curves: [(subject, label, points)]."""
    script = ''
    parts = []
    for i, (subject, label, points) in enumerate(curves):
        script += _block(f'd{i}', points)
        parts.append(
            f"$d{i} using 1:2 with linespoints lw 2 ps 1.2 "
            f"pt {POINTS.get(subject, 1)} "
            f"lc rgb '{COLOURS.get(subject, '#000000')}' title '{label}'")
    return _gnuplot(path, script + f"set title '{title}'\n" + axes
                    + 'plot ' + ', \\\n     '.join(parts) + '\n')


def rate_by_size(directory, entries, driver, direction):
    """Rate against frame size for split rings; returns the file or None."""
    curves = {}
    for e in entries:
        name, ring, way, size = e['case'].split('/')
        if (name, ring, way) != (driver, 'split', direction):
            continue
        curves.setdefault('ours', {})[int(size)] = e['ours_median']
        curves.setdefault(e['peer'], {})[int(size)] = e['peer_median']
    if len(curves.get('ours', {})) < 2:
        return None
    sizes = sorted(curves['ours'])
    top = max(max(points.values()) for points in curves.values())
    low = min(min(points.values()) for points in curves.values())
    axes = ('set logscale x\nset logscale y\n'
            "set xlabel 'frame size, bytes (64000: GSO)'\n"
            "set ylabel 'million packets per CPU-second of the data path'\n"
            f'set xrange [{sizes[0] * 0.8}:{sizes[-1] * 1.25}]\n'
            f'set yrange [{low / 2:.6g}:{top * 2.5:.6g}]\n'
            'set xtics (' + ', '.join(f"'{s}' {s}" for s in sizes) + ')\n'
            'set ytics ('
            + ', '.join(f"'{t:g}' {t}" for t in (
                0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
                if low / 2 <= t <= top * 2.5) + ')\n'
            'set key top right\n')
    path = directory / f'rate-{driver}-{direction}.png'
    order = sorted(curves, key=lambda s: (s != 'ours', s))
    error = _plot(path, f'{driver}, split ring, {direction}', axes,
                  [(s, LABELS.get(s, s), sorted(curves[s].items()))
                   for s in order])
    return error or path


def latency(directory, case, runs):
    """The distribution of one latency case; each curve from all rounds."""
    curves = []
    for subject, results in runs.items():
        if not results:
            continue
        # the round whose median is in the middle stands for all
        ordered = sorted(results, key=lambda r: r['latency_us']['median'])
        points = [(us, 1 - q) for q, us in
                  ordered[len(ordered) // 2]['latency_us']['curve']]
        curves.append((subject, LABELS.get(subject, subject), points))
    if not curves:
        return None
    _, _, direction, size = case.name.split('/')
    tics = ', '.join(f"'{label}' {value}" for label, value in (
        ('0 %%', 1), ('50 %%', 0.5), ('90 %%', 0.1), ('99 %%', 0.01),
        ('99.9 %%', 0.001), ('99.99 %%', 0.0001)))
    axes = ("set logscale x\nset logscale y\nset yrange [1:0.0003] reverse\n"
            "set xlabel 'us'\nset ylabel 'frames that were faster'\n"
            f'set ytics ({tics})\nset key bottom right\n'
            "set xtics (1,2,5,10,20,50,100,200,500,1000,2000,5000,10000)\n")
    path = directory / f'{direction}.png'
    error = _plot(path, f'{case.name}: time of one frame', axes, curves)
    return error or path


def make(directory, entries, runs_by_case):
    """All plots; returns (paths, problems)."""
    if not shutil.which('gnuplot'):
        return [], ['gnuplot is not installed (Debian package gnuplot-nox)']
    made = [rate_by_size(directory, entries, driver, direction)
            for driver in ('null', 'tap') for direction in ('tx', 'rx')]
    made += [latency(directory, case, runs) for case, runs in runs_by_case
             if '/latency-' in case.name]
    made = [item for item in made if item is not None]
    return ([item for item in made if not isinstance(item, str)],
            [item for item in made if isinstance(item, str)])
