# SPDX-License-Identifier: GPL-2.0-or-later
"""Several versions of QEMU: what older ones get, and where a source comes from."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import fake
import tap
from prep import debian, edits, patches, versions
from prep.common import PrepareError, Unavailable
from prep.compat import Compat

OWN = 'int a(const void *data);\nint b;\n'
PATCHES = '''
[[stage]]
name = "0-all"
first = "api"

[[patch]]
name = "api"
subject = "net: first"
message = "Why."
files = ["net/own.c"]

[[patch]]
name = "build"
subject = "build: second"
message = "Why."

[[patch]]
name = "mended"
older = true
subject = "net: a fault of old"
message = "Why."
'''
HOST = 'mirror.invalid'

# Has of 11.1 the lists alone, of 10.2 the files.
APT = f'''\
#!/bin/sh
case " $* " in
*" indextargets "*) echo 'http://{HOST}/debian/|Debian|Debian|bookworm' ;;
*" showsrc "*) printf 'Version: %s\\n' 1:10.2.2+ds-1 1:11.1.3+ds-1 1:11.1.2+ds-3 ;;
*" update "*) exit 0 ;;
*"qemu=1:11.1"*) echo "E: Failed to fetch http://{HOST}/x  404  Not Found"; exit 100 ;;
*"qemu=1:9.2"*) echo "E: no space left on device"; exit 100 ;;
*" source "*) touch qemu_10.2.2.dsc ;;
esac
'''


def our_code():
    """Our C files, by path; compat/ has old names."""
    listed = subprocess.run(['git', 'ls-files'], cwd=tap.ROOT, check=True,
                            capture_output=True, text=True).stdout.split()
    return {path: (tap.ROOT / path).read_text(errors='replace')
            for path in listed if path.endswith(('.c', '.h', '.inc'))
            and not path.startswith('compat/') and (tap.ROOT / path).exists()}


class Older(fake.FakeProject):
    """A repository for newer QEMU, with all three kinds of help for 10.0."""

    def setUp(self):
        super().setUp()
        self.write('repository/net/own.c', OWN)
        self.write('repository/compat/10.0/rewrites.toml',
                   "[[rewrite]]\nfiles = ['net/*']\n"
                   "expression = 'const void '\nreplacement = 'void '\n")
        self.write('repository/compat/10.0/include/new.h', '#include "old.h"\n')
        self.write('repository/compat/10.1/net.toml',
                   "[[edit]]\npath = 'net/theirs.c'\nanchor = 'theirs'\n"
                   "after = 'for 10.1'\n"
                   "[[edit]]\npatch = 'mended'\npath = 'net/theirs.c'\n"
                   "anchor = 'theirs'\nafter = 'mended'\n")
        self.write('repository/integration/net.toml',
                   "patch = 'build'\n"
                   "[[edit]]\nqemu = '>=10.2'\npath = 'net/theirs.c'\n"
                   "anchor = 'theirs'\nbefore = 'for 10.2'\n")
        self.write('repository/integration/series/patches.toml', PATCHES)

    def text(self, path):
        return (self.tree / path).read_text()

    def update(self):
        self.run_script('update', f'--build-dir={self.build}')

    def with_version(self, version):
        self.make_qemu(version)
        return self.configure()

    def test_old(self):
        self.with_version('10.0.3')
        copy = self.tree / 'net' / 'own.c'
        self.assertFalse(copy.is_symlink())
        self.assertEqual(copy.read_text(), OWN.replace('const ', ''))
        self.assertEqual(copy.stat().st_mode & 0o222, 0)
        self.assertEqual(self.text('include/new.h'), '#include "old.h"\n')
        self.assertEqual(self.text('net/theirs.c'),
                         'theirs\nfor 10.1\nmended\n')

    def test_copy_becomes_a_link(self):
        """A build directory that exists: meson has to look for the file."""
        self.with_version('10.0.3')
        top = self.tree / 'meson.build'
        if not top.exists():
            top.write_text('')
        os.utime(top, (1, 1))
        self.update()
        self.assertEqual(top.stat().st_mtime, 1)
        (self.root / 'compat/10.0/rewrites.toml').unlink()
        self.update()
        self.assertTrue((self.tree / 'net' / 'own.c').is_symlink())
        self.assertGreater(top.stat().st_mtime, 1)

    def test_between(self):
        said = self.with_version('10.1.0')
        self.assertIn('QEMU 10.1.0: ', said)
        self.assertTrue((self.tree / 'net' / 'own.c').is_symlink())
        self.assertFalse((self.tree / 'include' / 'new.h').exists())
        self.assertEqual(self.text('net/theirs.c'),
                         'theirs\nfor 10.1\nmended\n')

    def test_new(self):
        for version in ('10.2.0', '10.2.50', '11.1.3'):
            with self.subTest(version=version):
                if self.build.exists():
                    self.run_script('distclean', f'--build-dir={self.build}')
                self.with_version(version)
                self.assertEqual(self.text('net/own.c'), OWN)
                self.assertEqual(self.text('net/theirs.c'), 'for 10.2\ntheirs\n')

    def test_since(self):
        """Our QAPI documentation, in our files and in edits, names this QEMU."""
        self.write('qemu/qapi/net.json', 'theirs, since 10.0\n')
        self.write('repository/qapi/own.json', '# Since: 10.0\n# @a: since 10.0\n'
                   '# since 10.05\n')
        self.write('repository/integration/qapi.toml',
                   "patch = 'api'\n[[edit]]\npath = 'qapi/net.json'\n"
                   "anchor = 'theirs'\nafter = '# @b: since 10.0'\n")
        for version, since in (('10.0.3', '10.0'), ('10.2.2', '10.2'),
                               ('10.1.50', '10.2'), ('10.2.50', '11.0')):
            with self.subTest(version=version):
                if self.build.exists():
                    self.run_script('distclean', f'--build-dir={self.build}')
                self.with_version(version)
                self.assertEqual(self.text('qapi/own.json'),
                                 f'# Since: {since}\n# @a: since {since}\n'
                                 '# since 10.05\n')
                self.assertEqual(self.text('qapi/net.json'),
                                 f'theirs, since 10.0\n# @b: since {since}\n')

    def test_development_tree(self):
        """10.1.50 has what 10.1 lacks."""
        self.with_version('10.1.50')
        self.assertEqual(self.text('net/theirs.c'), 'theirs\n')

    def test_copy_follows(self):
        self.with_version('10.0.3')
        self.write('repository/net/own.c', OWN + 'const void *c;\n')
        self.update()
        self.assertTrue(self.text('net/own.c').endswith('\nvoid *c;\n'))
        copy = self.tree / 'net' / 'own.c'
        os.utime(copy, (1000, 1000))
        self.update()
        self.assertEqual(copy.stat().st_mtime, 1000)
        self.write('repository/net/own.c', 'int c;\n')
        self.update()
        self.assertTrue(copy.is_symlink())
        (self.root / 'net' / 'own.c').unlink()
        self.update()
        self.assertFalse(os.path.lexists(copy))

    def series(self):
        source = self.tree
        version = versions.parse(self.text('VERSION').strip())
        return patches.Series(self.root, source, source / '.vhost-dp/pristine',
                              Compat(self.root, version))

    def test_series(self):
        self.with_version('10.0.3')
        old = self.series()
        self.assertEqual([patch.name for patch in old.patches],
                         ['api', 'build', 'mended'])
        first = old.tree(0)
        self.assertEqual(first['net/own.c'].decode(), self.text('net/own.c'))
        self.assertIn('include/new.h', first)
        self.assertEqual(old.tree(2)['net/theirs.c'].decode(),
                         self.text('net/theirs.c'))
        self.run_script('distclean', f'--build-dir={self.build}')
        self.with_version('10.2.2')
        new = self.series()
        self.assertEqual([patch.name for patch in new.patches],
                         ['api', 'build'])
        self.assertEqual(new.tree(1)['net/own.c'].decode(), OWN)
        self.assertNotIn('include/new.h', new.tree(1))

    def test_hidden_file(self):
        self.write('repository/compat/10.0/net/own.c', 'x\n')
        self.make_qemu('10.0.3')
        self.assertIn('hides', self.configure(good=False))

    def test_bad_tables(self):
        self.make_qemu('10.0.3')
        for text, wanted in (('[[rewrite]]\nfiles = []\n', 'needs files'),
                             ('[[edit]]\n', 'unknown key edit'),
                             ('[', 'rewrites.toml'),
                             ("[[rewrite]]\nfiles = ['*']\nexpression = '('\n"
                              "replacement = ''\n", 'expression'),
                             ("[[rewrite]]\nfiles = ['*']\nexpression = 'int'\n"
                              "replacement = '\\1'\n", 'replacement')):
            with self.subTest(text=text):
                self.write('repository/compat/10.0/rewrites.toml', text)
                said = self.configure(good=False)
                self.assertIn('compat/10.0/rewrites.toml', said)
                self.assertIn(wanted, said)

    def test_bad_condition(self):
        self.make_qemu()
        for condition in ('10.2', '<10.2', '>=10', '>= 10.2', ''):
            with self.subTest(condition=condition):
                self.write('repository/integration/net.toml',
                           f"[[edit]]\nqemu = '{condition}'\n"
                           "path = 'net/theirs.c'\nanchor = 'theirs'\n"
                           "after = 'x'\n")
                said = self.configure(good=False)
                self.assertIn('integration/net.toml, edit 1', said)
                self.assertIn('>=10.2', said)


class RealTables(unittest.TestCase):
    """Every edit of the real tables is for some version that is known."""

    def test_each_version_has_edits(self):
        numbers = [len(edits.load(tap.ROOT / 'integration',
                                  Compat(tap.ROOT, version)))
                   for version in ((10, 0, 13), (10, 1, 0), (10, 2, 2),
                                   (10, 2, 50))]
        self.assertTrue(all(numbers), numbers)

    def test_new_names(self):
        """What the newest QEMU does not have any more, and 10.2 has."""
        gone = re.compile(
            r'#include "(block/aio|exec/memory|exec/address-spaces|hw/qdev-core|'
            r'hw/(boards|irq|loader|qdev-properties(-system)?|sysbus))\.h"|'
            r'\bqatomic_(read|set)_u64\b|\bqemu_socket_set_nonblock\b|'
            r'class_init\(ObjectClass \*\w+,\s*void \*|'
            r'\bCharBackend\b|\bqtest_init_with_env\w*\(')
        found = [f'{path}: {match[0]}' for path, text in our_code().items()
                 for match in [gone.search(text)] if match]
        self.assertEqual(found, [])

    def test_rewrites_are_needed(self):
        """Each changes one of our files: or it is left from another time."""
        texts = our_code()
        for rewrite in Compat(tap.ROOT, versions.OLDEST + (0,)).rewrites:
            self.assertTrue(any(
                rewrite.apply(prefix + path, text) != text
                for path, text in texts.items()
                for prefix in ('', 'vhost-dp/')), rewrite.name)


class Archive(unittest.TestCase):
    """Which version of a series is fetched, from an archive without some."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix='vhost-dp-test-')
        self.addCleanup(scratch.cleanup)
        self.top = Path(scratch.name)
        for name in ('apt-get', 'apt-cache'):
            file = self.top / 'bin' / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(APT)
            file.chmod(0o755)
        (self.top / 'key').touch()
        (self.top / 'qemu').mkdir()
        patch = mock.patch.dict(
            os.environ, PATH=f'{self.top}/bin:{os.environ["PATH"]}')
        patch.start()
        self.addCleanup(patch.stop)
        patch = mock.patch.object(debian, 'KEYRINGS', (self.top / 'key',))
        patch.start()
        self.addCleanup(patch.stop)

    def fetch(self, series):
        # what it says of its steps is no TAP
        with mock.patch('builtins.print'):
            return debian.fetch_qemu_source(series, self.top / 'qemu',
                                            self.top / 'logs')

    def test_found(self):
        dsc, version = self.fetch('10.2')
        self.assertEqual((dsc.name, version), ('qemu_10.2.2.dsc',
                                               '1:10.2.2+ds-1'))
        # and is there now
        os.environ['PATH'] = '/nowhere'
        self.assertEqual(self.fetch('10.2'), (dsc, version))

    def test_listed_only(self):
        with self.assertRaises(Unavailable) as caught:
            self.fetch('11.1')
        for text in ('QEMU 11.1', 'sid lists 1:11.1.3+ds-1',
                     'trixie-backports lists 1:11.1.2+ds-3', '--qemu-src'):
            self.assertIn(text, str(caught.exception))

    def test_not_listed(self):
        with self.assertRaises(Unavailable) as caught:
            self.fetch('12.0')
        self.assertIn('forky has 1:11.1.3+ds-1, 1:11.1.2+ds-3, 1:10.2.2+ds-1',
                      str(caught.exception))

    def test_other_failure(self):
        """A full disk does not make it look elsewhere."""
        file = self.top / 'bin' / 'apt-cache'
        file.write_text(APT.replace('1:10.2.2+ds-1', '1:9.2.1'))
        with self.assertRaises(PrepareError) as caught:
            self.fetch('9.2')
        self.assertNotIsInstance(caught.exception, Unavailable)
        self.assertIn('no space left', str(caught.exception))

    def test_no_series(self):
        for text in ('10', '10.2.2', 'new', ''):
            with self.assertRaises(PrepareError) as caught:
                versions.series(text)
            self.assertIn(repr(text), str(caught.exception))


if __name__ == '__main__':
    tap.main()
