# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: versions_qemu.py BUILD

Runs vhost-dp/migration-test between the QEMUs of BUILD and of the build directory
in the environment variable VHOST_DP_OTHER_BUILD, in both directions.  The machine is
of the older of the two.  Prints TAP.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import tap
from prep import versions

TEST = 'tests/qtest/vhost-dp/migration-test'
QEMU = 'qemu-system-x86_64'
CASE = re.compile(r'(ok|not ok) \d+ (?:- )?(\S+)(.*)')


def version_of(build):
    """(10, 2, 2) and "10.2.2" of the QEMU that @build is a build of."""
    said = subprocess.run([build / QEMU, '--version'], check=True, text=True,
                          capture_output=True).stdout
    text = re.search(r'version (\d+\.\d+\.\d+)', said)[1]
    return versions.parse(text), text


class Tap:
    number = 0
    bad = False

    def case(self, good, name, comment=''):
        self.number += 1
        self.bad |= not good
        print(f'{"ok" if good else "not ok"} {self.number} - {name}{comment}',
              flush=True)


def run(out, build, machine, source, target, name):
    """The test of @build, from @source to @target."""
    env = dict(os.environ, QTEST_QEMU_BINARY=str(source / QEMU),
               QTEST_QEMU_BINARY_DST=str(target / QEMU),
               VHOST_DP_QTEST_MACHINE=machine)
    result = subprocess.run([build / TEST, '--tap', '-k'], env=env, cwd=build,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            text=True, errors='replace', check=False)
    ran = 0
    for line in result.stdout.splitlines():
        match = CASE.match(line)
        if match:
            ran += 1
            out.case(match[1] == 'ok', f'{name}: {match[2]}', match[3])
        elif not line.startswith('1..'):
            print('# ' + line.lstrip('# '))
    if result.returncode != 0 or not ran:
        out.case(False, f'{name}: exit status {result.returncode} after '
                 f'{ran} cases')


def main():
    build = Path(sys.argv[1])
    other = os.environ.get('VHOST_DP_OTHER_BUILD')
    if not other:
        print('1..0 # SKIP VHOST_DP_OTHER_BUILD names no build of another '
              'version (make check-next does)')
        return 0
    other = Path(other).absolute()
    number, text = version_of(build)
    other_number, other_text = version_of(other)
    machine = 'pc-i440fx-{}.{}'.format(*min(number, other_number)[:2])
    out = Tap()
    run(out, build, machine, other, build, f'{other_text} to {text}')
    run(out, build, machine, build, other, f'{text} to {other_text}')
    print(f'1..{out.number}', flush=True)
    return 1 if out.bad else 0


if __name__ == '__main__':
    sys.exit(main())
