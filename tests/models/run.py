#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Check the models with spin; TAP on stdout.

usage: run.py [--source DIR]

The last comment of a model says what is checked:

    holds: DEFINES                  spin finds nothing wrong, and every
                                    statement of the model was reached
    breaks: DEFINES: ERROR          spin finds exactly this error

so a model that cannot fail fails here.  Each C function that the model's first
comment names has to exist in DIR, our repository or the prepared tree.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = ('hw/virtio/vhost-dp', 'net/vhost-dp', 'include/hw/virtio',
           'include/net')
SECONDS = 120
# Longest execution to look at; it costs memory
DEPTH = {'holds': 2_000_000, 'breaks': 300_000}


class Run:
    """One check of a model."""

    def __init__(self, model, defines, expected):
        self.model = model
        self.defines = defines.split()
        self.expected = expected        # None: nothing is wrong

    def __str__(self):
        words = [self.model.stem] + self.defines
        what = self.expected or 'holds'
        return f'{" ".join(words)}: {what}'.replace('#', '')

    def check(self):
        """Return what is wrong, or None."""
        with tempfile.TemporaryDirectory(prefix='vhost-dp-model-') as where:
            # An error is found at once; a search to the end takes longer
            optimise = '-O0' if self.expected else '-O2'
            defines = [f'-D{define}' for define in self.defines]
            for command in (['spin', '-a', *defines, str(self.model)],
                            [os.environ.get('CC', 'cc'), optimise, '-w',
                             '-DSAFETY', '-o', 'pan', 'pan.c']):
                done = subprocess.run(command, cwd=where, text=True,
                                      stdout=subprocess.PIPE, check=False,
                                      stderr=subprocess.STDOUT)
                if done.returncode or 'rror:' in done.stdout:
                    return f'{" ".join(command)}: {done.stdout}'
            try:
                depth = DEPTH['breaks' if self.expected else 'holds']
                done = subprocess.run(['./pan', f'-m{depth}'], cwd=where,
                                      text=True, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, check=False,
                                      timeout=SECONDS)
            except subprocess.TimeoutExpired:
                return f'pan did not end within {SECONDS} seconds'
        return self.judge(done.stdout)

    def judge(self, text):
        """Compare pan's output @text with what is expected."""
        errors = re.search(r'errors: (\d+)', text)
        if not errors or 'max search depth too small' in text \
                or 'out of memory' in text:
            return f'the search was not complete:\n{text}'
        found = re.search(r'^pan:1: (.*?) \(at depth', text, re.MULTILINE)
        if self.expected is None:
            unreached = [line for line in
                         re.findall(r'\.pml:\d+, state \d+, "(.*)"', text)
                         if line != '-end-']
            if found or errors[1] != '0':
                return f'{found[1] if found else "an error"}\n{text}'
            if unreached:
                return f'never reached: {", ".join(unreached)}'
            return None
        if not found:
            return f'spin finds nothing wrong\n{text}'
        if ' '.join(found[1].split()) != self.expected:
            return f'another error: {found[1]}'
        return None


def runs_of(model):
    """What the model's last comment asks for."""
    last = model.read_text(encoding='utf-8').rpartition('/*')[2]
    runs = []
    for line in last.splitlines():
        match = re.match(r' \*   (holds|breaks):\s*([^:]*)(?:: (.*))?$', line)
        if match:
            runs.append(Run(model, match[2], match[3]))
            if (match[1] == 'breaks') != (match[3] is not None):
                sys.exit(f'{model}: cannot read "{line}"')
    return runs


def missing_functions(model, source):
    """C functions that the model's comment names and that do not exist."""
    text = model.read_text(encoding='utf-8')
    comment = text.partition('*/')[0]
    code = '\n'.join(path.read_text(encoding='utf-8')
                     for place in SOURCES
                     for path in sorted((source / place).glob('*vhost-dp*')
                                        if place.startswith('include')
                                        else (source / place).glob('*.[ch]*')))
    names = set(re.findall(r'\b([a-z]\w*_\w+)\(\)', comment))
    return sorted(name for name in names
                  if not re.search(rf'\b{name}\(', code))


def unchecked_variants(model, runs):
    """Broken variants that the comment lists and no run checks."""
    comment = model.read_text(encoding='utf-8').partition('*/')[0]
    listed = re.findall(r'^ \*   ([A-Z][A-Z_]+)  ', comment, re.MULTILINE)
    used = {define for run in runs for define in run.defines}
    return [variant for variant in listed if variant not in used]


def main():
    parser = argparse.ArgumentParser(description='Check the models.')
    parser.add_argument('--source', type=Path, default=HERE.parent.parent)
    parser.add_argument('models', nargs='*', type=Path,
                        help='default: all of them')
    arguments = parser.parse_args()
    if not shutil.which('spin'):
        print('Bail out! spin is not installed (Debian package spin)')
        return 1
    models = arguments.models or sorted(HERE.glob('*.pml'))
    checks = []
    for model in models:
        runs = runs_of(model)
        variants = unchecked_variants(model, runs)
        missing = missing_functions(model, arguments.source)
        checks.append((f'{model.stem}: names functions that exist',
                       lambda missing=missing: missing and
                       f'no longer there: {", ".join(missing)}'))
        checks.append((f'{model.stem}: every variant is checked',
                       lambda runs=runs, variants=variants:
                       'it has no runs' if not runs else variants and
                       f'never checked: {", ".join(variants)}'))
        checks += [(str(run), run.check) for run in runs]

    print(f'1..{len(checks)}', flush=True)
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(lambda check: check[1](), checks)
        for i, ((name, _), wrong) in enumerate(zip(checks, answers), 1):
            print(f'{"not ok" if wrong else "ok"} {i} - {name}', flush=True)
            if wrong:
                failed += 1
                print('\n'.join(f'# {line}' for line in wrong.splitlines()),
                      flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
