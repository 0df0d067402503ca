# SPDX-License-Identifier: GPL-2.0-or-later
"""configure's options, need.sh, the Makefile, installing, the archive's address, the count of tests."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import fake
import tap
import check
import package
from prep import debian

HOST = 'mirror.invalid'


class Options(fake.FakeProject):
    def test_configure(self):
        said = self.run_command(
            [self.root / 'configure', f'--qemu-src={self.qemu}',
             '--enable-asan'])
        self.assertIn('Configured', said)
        self.assertIn('--enable-asan\n',
                      (self.build / 'called').read_text())

    def test_help(self):
        said = self.run_command([self.root / 'configure', '--help'])
        self.assertIn('--qemu-src', said)
        self.assertFalse(self.build.exists())

    def test_bad_words(self):
        for word in ('--qemu-src', '--qemu=', '--build-dir=', 'word',
                     '--qemu-src=/nowhere', ):
            with self.subTest(word=word):
                said = self.run_command([self.root / 'configure', word],
                                        good=False)
                self.assertIn(word.strip('='), said)

    def test_two_sources(self):
        said = self.run_command(
            [self.root / 'configure', '--qemu=10.2', f'--qemu-src={self.qemu}'],
            good=False)
        self.assertIn('--qemu and --qemu-src exclude each other', said)

    def test_no_series(self):
        for series in ('10', '10.2.2', 'new'):
            with self.subTest(series=series):
                said = self.run_script('configure', f'--build-dir={self.build}',
                                       f'--qemu={series}', good=False)
                self.assertIn(repr(series), said)

    def test_another_series(self):
        """What is there is not of the series that is asked for."""
        self.configure()
        said = self.run_script('configure', f'--build-dir={self.build}',
                               '--qemu=10.2', good=False)
        self.assertIn('QEMU 10.0.3', said)
        self.assertIn('--qemu=10.2', said)
        self.assertIn('distclean', said)

    def test_no_install(self):
        """Nothing is installed, now or by a later make; what is missing is named."""
        self.write('repository/scripts/packages.list',
                   'build some-package cmd:no-such-program\n')
        for name in ('apt-get', 'sudo'):
            self.write(f'bin/{name}', '#!/bin/sh\necho CALLED\n')
            (self.top / 'bin' / name).chmod(0o755)
        self.env['PATH'] = f'{self.top}/bin:{self.env["PATH"]}'
        command = [self.root / 'configure', f'--qemu-src={self.qemu}']
        said = self.run_command([*command, '--no-install'], good=False)
        self.assertIn('cmd:no-such-program', said)
        self.assertIn('apt-get install -y --no-install-recommends '
                      'some-package', said)
        self.assertNotIn('CALLED', said)
        self.env['NO_INSTALL'] = '1'
        self.assertNotIn('CALLED', self.run_command(command, good=False))
        del self.env['NO_INSTALL']

        # It is known to make, which asks for more
        self.write('repository/scripts/packages.list', '')
        self.run_command([*command, '--no-install'])
        self.assertNotIn('--no-install', (self.build / 'called').read_text())
        self.write('repository/scripts/packages.list',
                   'run some-package cmd:no-such-program\n')
        shutil.copy(tap.ROOT / 'Makefile', self.root)
        made = subprocess.run(['make', 'need-run'], cwd=self.root,
                              env=self.env, capture_output=True, text=True,
                              check=False)
        self.assertNotEqual(made.returncode, 0)
        self.assertIn('cmd:no-such-program', made.stderr)
        self.assertNotIn('CALLED', made.stdout + made.stderr)

    def test_bad_python(self):
        said = self.run_command(
            [self.root / 'configure', '--python=/bin/false',
             f'--qemu-src={self.qemu}'], good=False)
        self.assertIn('/bin/false', said)


class Need(fake.FakeProject):
    def need(self, purpose, good=True):
        return self.run_command([self.root / 'scripts/need.sh', purpose], good)

    def without_apt(self, *programs):
        """Leave only a few programs in PATH."""
        tools = self.top / 'tools'
        tools.mkdir()
        for name in ('sh', 'sed', 'dirname', 'env', 'id', 'grep', *programs):
            (tools / name).symlink_to(shutil.which(name))
        self.env['PATH'] = str(tools)
        # need.sh looks in /usr/sbin and /sbin, too; apt-get is in neither

    def list(self, text):
        self.write('repository/scripts/packages.list', text)

    def test_all_there(self):
        self.list('# nothing\nx some cmd:sh\nx other file:/none|/\n')
        self.assertEqual(self.need('x'), '')

    def test_other_purpose(self):
        self.list('y some cmd:no-such-program\n')
        self.assertEqual(self.need('x'), '')

    def test_missing_without_apt(self):
        self.list('x some-package cmd:no-such-program\n'
                  'x more file:/none\n')
        self.without_apt()
        said = self.need('x', good=False)
        self.assertIn('cmd:no-such-program', said)
        self.assertIn('some-package', said)
        self.assertIn('file:/none', said)

    def test_missing_unprivileged(self):
        """Without root and sudo: the command to run, and no attempt."""
        self.list('x some-package cmd:no-such-program\n')
        self.without_apt()
        for name, text in (('apt-get', 'echo CALLED'), ('dpkg', 'true'),
                           ('id', 'echo 1000')):
            path = self.top / 'tools' / name
            path.unlink(missing_ok=True)
            path.write_text(f'#!/bin/sh\n{text}\n')
            path.chmod(0o755)
        said = self.need('x', good=False)
        self.assertIn('apt-get install -y --no-install-recommends '
                      'some-package', said)
        self.assertNotIn('CALLED', said)

    def test_installs(self):
        """As root: apt-get is called after its line was printed."""
        self.list('x some-package cmd:made-by-apt\n')
        self.without_apt('touch', 'chmod', 'mktemp', 'rm', 'tail')
        self.env['V'] = '1'
        tools = self.top / 'tools'
        for name, text in (
                ('apt-get', f'echo "CALLED $*"; touch "{tools}/made-by-apt"; '
                            f'chmod +x "{tools}/made-by-apt"'),
                ('apt-cache', 'echo " Candidate: 1"'),
                ('dpkg', 'true'), ('id', 'echo 0')):
            path = tools / name
            path.unlink(missing_ok=True)
            path.write_text(f'#!/bin/sh\n{text}\n')
            path.chmod(0o755)
        said = self.need('x')
        self.assertRegex(said, r'(?s)install -y --no-install-recommends '
                               r'some-package\n.*CALLED .*install')
        self.assertNotIn('update', said)

    def test_installation_fails(self):
        self.list('x some-package cmd:made-by-apt\n')
        self.without_apt('mktemp', 'rm', 'tail')
        self.env['TMPDIR'] = str(self.top)
        for name, text in (
                ('apt-get', 'echo "E: the reason"; exit 100'),
                ('apt-cache', 'echo " Candidate: 1"'),
                ('dpkg', 'true'), ('id', 'echo 0')):
            path = self.top / 'tools' / name
            path.unlink(missing_ok=True)
            path.write_text(f'#!/bin/sh\n{text}\n')
            path.chmod(0o755)
        said = self.need('x', good=False)
        self.assertIn('E: the reason', said)
        self.assertIn('some-package', said)

    def test_unknown_probe(self):
        self.list('x some what:ever\n')
        self.assertIn('what:ever', self.need('x', good=False))

    def test_our_list(self):
        """Every line of the real list has a purpose, a package, a probe."""
        text = (tap.ROOT / 'scripts/packages.list').read_text()
        for line in text.splitlines():
            words = line.partition('#')[0].split()
            if words:
                self.assertEqual(len(words), 3, line)


class Make(fake.FakeProject):
    """The Makefile, with a script that prints what it was called with."""

    def setUp(self):
        super().setUp()
        shutil.copy(tap.ROOT / 'Makefile', self.root)
        self.write('repository/scripts/python.sh', '#!/bin/sh\necho "$@"\n')
        (self.root / 'scripts/python.sh').chmod(0o755)
        self.write('repository/build/vhost-dp.json', '{}')
        for name in ('MAKEFLAGS', 'MAKELEVEL', 'MFLAGS'):
            self.env.pop(name, None)

    def test_jobs(self):
        """-jN goes on to ninja, however it is written; -j is its default."""
        for words, want in (([], []), (['-j'], []), (['-j1'], ['-j1']),
                            (['-j', '3'], ['-j3']), (['--jobs=4'], ['-j4']),
                            (['-kj5', 'V=1'], ['-j5'])):
            with self.subTest(words=words):
                said = self.run_command(['make', *words, 'build'])
                found = [word for word in said.split()
                         if word.startswith('-j')]
                self.assertEqual(found, want, said)


class Install(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix='vhost-dp-test-')
        self.addCleanup(scratch.cleanup)
        self.made = Path(scratch.name) / 'made'
        self.target = Path(scratch.name) / 'target'
        (self.made / 'bin').mkdir(parents=True)
        shutil.copy(shutil.which('sleep'), self.made / 'bin' / 'program')
        (self.made / 'bin' / 'link').symlink_to('program')
        (self.made / 'share').mkdir()
        (self.made / 'share' / 'data').write_text('old')

    def test_again_while_it_runs(self):
        """A program that runs is replaced, and goes on."""
        package.put_tree(self.made, self.target)
        program = self.target / 'bin' / 'program'
        with subprocess.Popen([program, '60']) as running:
            try:
                (self.made / 'share' / 'data').write_text('new')
                package.put_tree(self.made, self.target)
                self.assertIsNone(running.poll())
            finally:
                running.kill()
        self.assertTrue(os.access(program, os.X_OK))
        self.assertEqual((self.target / 'bin' / 'link').readlink().name,
                         'program')
        self.assertEqual((self.target / 'share' / 'data').read_text(), 'new')
        self.assertEqual(sorted(path.name
                                for path in self.target.rglob('*')),
                         ['bin', 'data', 'link', 'program', 'share'])

    def test_failure_changes_nothing(self):
        package.put_tree(self.made, self.target)
        (self.made / 'share' / 'data').write_text('new')
        (self.made / 'share' / ('y' * 255)).write_text('the name is too long')
        with self.assertRaises(OSError):
            package.put_tree(self.made, self.target)
        self.assertEqual((self.target / 'share' / 'data').read_text(), 'old')
        self.assertEqual(sorted(path.name
                                for path in (self.target / 'share').iterdir()),
                         ['data'])


class Archive(unittest.TestCase):
    def test_indextargets(self):
        entries = debian.parse_indextargets(
            f'http://{HOST}/debian/|Debian|Debian|trixie\n'
            f'http://{HOST}/debian/|Debian|Debian|trixie-updates\n'
            f'http://{HOST}/security/|Debian|Debian-Security|trixie-security\n'
            f'http://{HOST}/other/|Other|Other|trixie\n'
            'broken\n')
        self.assertEqual(debian.archives(entries), [f'http://{HOST}/debian'])
        self.assertEqual(debian.archives(entries, True),
                         [f'http://{HOST}/security'])

    def test_one_line(self):
        entries = debian.parse_one_line(
            f'# deb http://{HOST}/no trixie main\n'
            f'deb-src http://{HOST}/no trixie main\n'
            f'deb [arch=amd64 signed-by=/k] http://{HOST}/debian/ trixie main\n'
            f'deb http://{HOST}/security trixie-security main\n')
        self.assertEqual(debian.archives(entries), [f'http://{HOST}/debian'])
        self.assertEqual(debian.archives(entries, True),
                         [f'http://{HOST}/security'])

    def test_stanzas(self):
        entries = debian.parse_stanzas(
            f'Types: deb deb-src\n# a comment\nURIs: http://{HOST}/debian\n'
            'Suites: trixie\n trixie-updates\nComponents: main\n\n'
            f'Types: deb-src\nURIs: http://{HOST}/no\nSuites: trixie\n\n'
            f'Enabled: no\nTypes: deb\nURIs: http://{HOST}/no\n'
            'Suites: trixie\n')
        self.assertEqual(debian.archives(entries), [f'http://{HOST}/debian'])
        self.assertEqual([entry.suite for entry in entries],
                         ['trixie', 'trixie-updates'])

    def test_cdrom(self):
        self.assertEqual(debian.archives(debian.parse_one_line(
            'deb cdrom:[Debian]/ trixie main\n')), [])

    @unittest.skipUnless(shutil.which('dpkg'), 'no dpkg here')
    def test_newest_version(self):
        self.assertEqual(debian.version_key_max(
            ['1:10.0.2+ds-2', '1:10.0.13+ds-0+deb13u1', '1:10.0.9~rc1']),
            '1:10.0.13+ds-0+deb13u1')
        self.assertIsNone(debian.version_key_max([]))


class Counting(unittest.TestCase):
    def count(self, stdout, result='OK', tap_protocol=True, code=0, **more):
        return check.count_test({'name': 't', 'result': result,
                                 'stdout': stdout, 'returncode': code, **more},
                                tap_protocol)

    def test_tap(self):
        count = self.count('# random seed\nTAP version 13\n1..4\n'
                           'ok 1 /a/b\n    ok 1 nested\nok 2 - c # SKIP no kvm\n'
                           'not ok 3 /d\nok 4 e # TODO later\n', 'FAIL')
        self.assertEqual(str(count), '1 passed, 1 failed, 2 skipped')
        self.assertEqual(count.failed, [('t', '/d', '')])
        self.assertIn(('t', 'c', 'no kvm'), count.skipped)

    def test_reason(self):
        count = self.count('not ok 1 a\n# Traceback:\n#   f()\n'
                           '# AssertionError: no answer\n# more\nok 2 b\n'
                           'not ok 3 c\n# line too long\nnot ok 4 d\n'
                           'ok 5 e\n# Error: of e\n', 'FAIL')
        self.assertEqual([reason for _, _, reason in count.failed],
                         ['AssertionError: no answer', 'line too long', ''])

    def test_all_skipped(self):
        count = self.count('1..0 # SKIP nothing here\n', 'SKIP')
        self.assertEqual(count.skipped, [('t', '', 'nothing here')])
        self.assertEqual(count.passed, 0)

    def test_crash_after_good_cases(self):
        count = self.count('1..3\nok 1 /a\nok 2 /b\n', 'ERROR', code=-11)
        self.assertEqual(count.passed, 2)
        self.assertEqual(count.failed,
                         [('t', '', 'killed by SIGSEGV after /b')])

    def test_last_words(self):
        count = self.count('1..3\nok 1 /a\nBail out! FATAL-ERROR: leak: 2\n',
                           'ERROR', code=-5)
        self.assertEqual(count.failed,
                         [('t', '', 'killed by SIGTRAP after /a: leak: 2')])

    def test_timeout(self):
        count = self.count('', 'TIMEOUT', code=-9)
        self.assertEqual(count.failed, [('t', '', 'timed out')])

    def test_exit_status(self):
        self.assertEqual(self.count('', tap_protocol=False).passed, 1)
        count = self.count('', 'FAIL', tap_protocol=False, code=1)
        self.assertEqual(len(count.failed), 1)
        count = self.count('x\nneeds root\n', 'SKIP', tap_protocol=False,
                           code=77)
        self.assertEqual(count.skipped, [('t', '', 'needs root')])

    def test_select(self):
        tests = [{'name': 'test-vhost-dp-x', 'suite': ['qemu:unit']},
                 {'name': 'test-other', 'suite': ['qemu:unit']},
                 {'name': 'qtest-x86_64/vhost-dp/x',
                  'suite': ['qemu:qtest', 'qemu:qtest-x86_64']},
                 {'name': 'boot', 'suite': ['qemu:guest']}]
        self.assertEqual(check.SUITES['unit'].select(tests),
                         ['test-vhost-dp-x'])
        self.assertEqual(check.SUITES['qtest'].select(tests),
                         ['qtest-x86_64/vhost-dp/x'])
        self.assertEqual(check.SUITES['guest'].select(tests), ['boot'])

    def test_pretty_name(self):
        self.assertEqual(check.plain_name('qemu:qtest+qtest-x86_64 / '
                                          'qtest-x86_64/qos-test'),
                         'qtest-x86_64/qos-test')
        self.assertEqual(check.plain_name('alone'), 'alone')


if __name__ == '__main__':
    tap.main()
