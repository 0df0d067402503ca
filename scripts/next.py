#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Look at vhost-dp in the next QEMU (prep/versions.py), without building it all.

usage: next.py BUILD

In BUILD-next, beside the build directory, that QEMU is configured (its source is
fetched once) with our files and edits; then each of our C files and each file
that an edit changes is compiled once, where a warning is an error; and the
patch series for it is made and applied, and looked at by checkpatch.pl.  Prints
TAP; where its source cannot be fetched, the case is skipped.

`make check-next' builds and tests it whole, in the same directory.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import series                                               # noqa: E402
from prep import edits, versions                            # noqa: E402
from prep.common import UNAVAILABLE, PrepareError, tail     # noqa: E402

ROOT = series.ROOT
OPTIONS = ['--enable-werror']       # as in the Makefile
OURS = ('net/vhost-dp/', 'hw/virtio/vhost-dp/')


def run(command, log):
    """(exit status, what to say if it is not 0)"""
    with open(log, 'w', encoding='utf-8') as out:
        status = subprocess.run([str(word) for word in command], cwd=ROOT,
                                stdin=subprocess.DEVNULL, stdout=out,
                                stderr=subprocess.STDOUT,
                                check=False).returncode
    return status, f'exit status {status}; the end of {log}:\n{tail(log)}'


def prepare(build, log):
    if (build / 'prep' / 'configured.json').exists():
        # no ninja in it: configures again if that became necessary
        return run([ROOT / 'scripts/python.sh', ROOT / 'scripts/prepare.py',
                    'build', f'--build-dir={build}', 'build.ninja'], log)
    return run([ROOT / 'configure', f'--qemu={versions.NEXT}',
                f'--build-dir={build}', '--no-install', *OPTIONS], log)


def objects(maker):
    """One object of each file that is ours or edited, and what has none."""
    build = maker.tree.build
    source = Path(os.path.realpath(maker.tree.source))
    wanted = set(json.loads((maker.tree.state / 'links.json').read_text()))
    wanted |= set(edits.kept_paths(maker.tree.state / 'pristine'))
    found = {}
    for entry in json.loads((build / 'compile_commands.json').read_text()):
        path = os.path.relpath(os.path.normpath(
            os.path.join(entry['directory'], entry['file'])), source)
        if path in wanted:
            found.setdefault(path, entry['output'])
    missing = {path for path in wanted - set(found)
               if path.startswith(OURS) and path.endswith('.c')}
    return sorted(found.values()), sorted(missing)


def compile_objects(maker, log):
    outputs, missing = objects(maker)
    if missing or not outputs:
        return 0, f'not compiled: {", ".join(missing) or "anything"}'
    status, said = run(['ninja', '-C', maker.tree.build, '-k', '0', *outputs],
                       log)
    if status == 0:
        return len(outputs), ''
    lines = [line for line in log.read_text(errors='replace').splitlines()
             if ': error:' in line or line.startswith('FAILED')]
    return len(outputs), '\n'.join(lines[:20]) + '\n' + said


def main():
    build = Path(os.path.realpath(sys.argv[1]))
    build = build.with_name(build.name + '-next')
    logs = build / 'logs'
    logs.mkdir(parents=True, exist_ok=True)
    tap = series.Tap()
    lacks = [tool for tool in ('apt-get', 'dpkg-source', 'patch', 'xz')
             if not shutil.which(tool)]
    if lacks and not (build / 'prep' / 'configured.json').exists():
        tap.skip(f'QEMU {versions.NEXT}', 'its source cannot be fetched '
                 f'without {", ".join(lacks)}')
        return tap.end()
    status, said = prepare(build, logs / 'next-prepare.log')
    if status == UNAVAILABLE:
        why = [line for line in said.splitlines() if 'error: ' in line]
        tap.skip(f'QEMU {versions.NEXT}', ' '.join(why[-1:]))
        return tap.end()
    tap.case(f'QEMU {versions.NEXT} takes our files and edits',
             said if status else '')
    if status == 0:
        try:
            maker = series.Maker(build)
        except PrepareError as error:
            tap.case('its tree is complete', str(error))
            return tap.end()
        if maker.tree.version()[:2] != versions.series(versions.NEXT):
            tap.case('its tree is of that version',
                     f'{build} is of another one: remove it, and '
                     f'{build}.src')
            return tap.end()
        number, said = compile_objects(maker, logs / 'next-compile.log')
        tap.case(f'{number} files compile without a warning', said)
        series.check(maker, tap)
    return tap.end()


if __name__ == '__main__':
    sys.exit(main())
