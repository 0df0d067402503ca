# SPDX-License-Identifier: GPL-2.0-or-later
"""From the figures of all rounds to results.json and results.md."""

import json
import statistics


def median(values):
    return statistics.median(values)


def spread(values):
    """(largest - smallest) / median."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def values(figure, results):
    """The figure in all runs that have it."""
    return [value for value in map(figure.get, results) if value is not None]


def case_name(case, figure):
    """driver/ring/direction/size."""
    if not figure.suffix:
        return case.name
    driver, ring, _, size = case.name.split('/')
    return f'{driver}/{ring}/{figure.suffix}/{size}'


def no_figure(case, figure, peer):
    """The entry that says that there is none, and why."""
    return {
        'case': case_name(case, figure), 'unit': figure.unit,
        'ours': 'vhost-dp-' + case.name.split('/')[0], 'peer': peer,
        'ours_median': None, 'peer_median': None, 'ratio': None,
        'rounds': 0, 'spread': 0.0, 'ours_spread': 0.0, 'peer_spread': 0.0,
        'ours_values': [], 'peer_values': [],
        'higher_is_better': figure.higher_is_better,
        'note': case.notes.get(peer, 'not measured'),
    }


def rows(case, runs):
    """One entry of results.json for each figure and peer.

    @runs: for each subject the results of its runs, in the order of rounds.
    """
    entries = []
    for figure in case.figures:
        ours = values(figure, runs.get('ours', []))
        entries += [no_figure(case, figure, peer) for peer in case.notes
                    if not values(figure, runs.get(peer, []))]
        for peer, results in runs.items():
            theirs = values(figure, results)
            if peer == 'ours' or not ours or not theirs:
                continue
            ours_median, peer_median = median(ours), median(theirs)
            entries.append({
                'case': case_name(case, figure),
                'unit': figure.unit,
                'ours': 'vhost-dp-' + case.name.split('/')[0],
                'peer': peer,
                'ours_median': round(ours_median, 6),
                'peer_median': round(peer_median, 6),
                'ratio': round(ours_median / peer_median, 4)
                         if peer_median else None,
                'rounds': min(len(ours), len(theirs)),
                'spread': round(max(spread(ours), spread(theirs)), 4),
                'ours_spread': round(spread(ours), 4),
                'peer_spread': round(spread(theirs), 4),
                'ours_values': [round(value, 6) for value in ours],
                'peer_values': [round(value, 6) for value in theirs],
                'higher_is_better': figure.higher_is_better,
            })
    return entries


def number(value):
    if value is None:
        return '-'
    if value == 0:
        return '0'
    return f'{value:.3g}' if value < 1000 else f'{value:.0f}'


def table(entries):
    """Markdown."""
    lines = ['| case | unit | ours | peer | its median | ratio | rounds '
             '| spread ours, peer |',
             '|---|---|---:|---|---:|---:|---:|---:|']
    for e in entries:
        if e.get('note'):
            lines.append(f'| {e["case"]} | {e["unit"]} | | {e["peer"]} | no '
                         f'comparable figure: {e["note"]} | | | |')
            continue
        ratio = '-' if e['ratio'] is None else f'{e["ratio"]:.2f}'
        if not e['higher_is_better'] and e['ratio'] is not None:
            ratio += ' (less is better)'
        lines.append(
            f'| {e["case"]} | {e["unit"]} | {number(e["ours_median"])} '
            f'| {e["peer"]} | {number(e["peer_median"])} | {ratio} '
            f'| {e["rounds"]} | {e["ours_spread"]:.0%}, '
            f'{e["peer_spread"]:.0%} |')
    return '\n'.join(lines) + '\n'


def extra_table(runs_by_case):
    """Wall-clock rates: they depend on the machine's other load."""
    lines = ['| case | subject | Mpps (wall) | Gbit/s (wall) '
             '| wake-ups per second |', '|---|---|---:|---:|---:|']
    for case, runs in runs_by_case:
        if case.figures[0].suffix:
            continue
        for subject, results in runs.items():
            if not results:
                continue
            wall = median([r['packets_per_second'] / 1e6 for r in results])
            bits = median([r['gbit_per_second'] for r in results])
            wakes = [r['wakeups'] / r['seconds'] for r in results
                     if 'wakeups' in r]
            lines.append(f'| {case.name} | {subject} | {number(wall)} '
                         f'| {number(bits)} '
                         f'| {number(median(wakes)) if wakes else "-"} |')
    return '\n'.join(lines) + '\n'


def dpdk_table(runs_by_case):
    """Both rates of a peer that polls; see cases.rate()."""
    lines = []
    for case, runs in runs_by_case:
        results = [r for r in runs.get('vhost-user-dpdk', [])
                   if r.get('busy_cycles') and r.get('tsc_mhz')]
        if results:
            every = median([r['packets_per_cpu_second'] / 1e6
                            for r in results])
            cycles = median([r['busy_cycles'] for r in results])
            lines.append(f'| {case.name} | {number(every)} '
                         f'| {number(results[0]["tsc_mhz"] / cycles)} '
                         f'| {number(cycles)} |')
    if not lines:
        return ''
    return ('| case | Mpps of all its CPU time | of busy polls only '
            '| TSC cycles per packet |\n'
            '|---|---:|---:|---:|\n' + '\n'.join(lines) + '\n')


def write_json(path, entries):
    path.write_text(json.dumps(entries, indent=1) + '\n', encoding='utf-8')
