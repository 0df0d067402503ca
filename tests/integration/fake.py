# SPDX-License-Identifier: GPL-2.0-or-later
"""A small repository and a small QEMU to try the scripts on.

The QEMU's configure does what matters here of the real one: it records how it
was called and leaves a build.ninja and a pyvenv.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import tap

CONFIGURE = '''\
#!/bin/sh
# like QEMU's, with $PWD as the build directory
printf '%s\\n' "$@" >> called
echo "a line of the fake configure"
test ! -e "$(dirname "$0")/fail" || exit 3
mkdir -p pyvenv/bin pyvenv/lib/python3.11/site-packages
touch pyvenv/bin/meson
cat > build.ninja <<EOF
rule copy
  command = cp \\$in \\$out
build result: copy $(dirname "$0")/net/own.c
EOF
'''


class FakeProject(unittest.TestCase):
    """A repository and a QEMU tree in a directory with a space in its name."""

    name = 'a directory'

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix='vhost-dp-test-')
        self.addCleanup(scratch.cleanup)
        self.top = Path(scratch.name) / self.name
        self.top.mkdir()
        self.root = self.top / 'repository'
        self.qemu = self.top / 'qemu'
        self.build = self.root / 'build'
        self.make_repository()
        self.make_qemu()
        # no wheel, no download: the test neither needs nor gets a real meson
        (self.qemu / 'python' / 'wheels').mkdir(parents=True)
        (self.qemu / 'python' / 'wheels' / 'meson-1.5.0.whl').touch()
        self.env = dict(os.environ, XDG_CACHE_HOME=scratch.name + '/cache',
                        CC='cc')
        self.env.pop('V', None)

    def make_repository(self):
        shutil.copytree(tap.ROOT / 'scripts', self.root / 'scripts',
                        ignore=shutil.ignore_patterns('__pycache__'))
        shutil.copy(tap.ROOT / 'configure', self.root)
        self.write('repository/meson.build', "subdir('tests')\n")
        self.write('repository/net/own.c', 'own\n')
        self.write('repository/tests/guest/meson.build', '')
        self.write('repository/tests/guest/boot', 'boot\n')
        self.write('repository/integration/build.toml',
                   "[[edit]]\npath = 'meson.build'\nanchor = 'tests'\n"
                   "after = 'new'\n")

    def make_qemu(self, version='10.0.3'):
        self.write('qemu/VERSION', version + '\n')
        self.write('qemu/meson.build', "project('qemu')\nsubdir('tests')\n")
        self.write('qemu/configure', CONFIGURE)
        (self.qemu / 'configure').chmod(0o755)
        self.write('qemu/pythondeps.toml', '')
        self.write('qemu/scripts/meson-buildoptions.sh', '')
        self.write('qemu/net/theirs.c', 'theirs\n')
        self.write('qemu/.git/config', '')
        self.write('qemu/old-build/build.ninja', '')

    def write(self, path, text):
        path = self.top / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def tree(self):
        """The prepared tree."""
        real = Path(os.path.realpath(self.build))
        return real.with_name(real.name + '.src')

    def run_script(self, *words, good=True):
        """Run prepare.py; return what it said."""
        return self.run_command([sys.executable, '-B',
                                 self.root / 'scripts' / 'prepare.py', *words],
                                good)

    def run_command(self, command, good=True, cwd=None):
        result = subprocess.run(
            [str(word) for word in command], env=self.env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False, cwd=cwd or self.root)
        if good:
            self.assertEqual(result.returncode, 0, result.stdout)
        else:
            self.assertEqual(result.returncode, 1, result.stdout)
            self.assertIn('error: ', result.stdout)
            self.assertNotIn('Traceback', result.stdout)
        return result.stdout

    def configure(self, *words, good=True, src=True):
        options = [f'--qemu-src={self.qemu}'] if src else []
        return self.run_script('configure', f'--build-dir={self.build}',
                               *options, '--', *words, good=good)

    def rebuild(self, good=True):
        return self.run_script('build', f'--build-dir={self.build}', good=good)
