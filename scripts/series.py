#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch series that makes QEMU's source what `make' builds.

usage: series.py {make | check | build} [--build-dir DIR] ...

  make    write BUILD/series/STAGE/*.patch, with a cover letter for each stage
  check   write it, apply it with `git am' to QEMU's own files, compare the
          result with the prepared tree byte by byte, run checkpatch.pl.
          Prints TAP.
  build   build the tree after each patch, in BUILD.series/build: of --stage, or
          --from and --to a patch's name, if given.  Where patches stand alone,
          each is built alone, then all of them

What the series is, and what belongs to which patch: integration/README.rst and
scripts/prep/patches.py.  git's configuration counts for nothing but the
author's name; without any it is that of nobody.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from prep import edits, patches, qemu                       # noqa: E402
from prep.common import (PrepareError, note, say,           # noqa: E402
                         write_if_changed)
from prep.tree import (FRAGMENT, Tree, copy_source,         # noqa: E402
                       source_of)

ROOT = Path(os.path.realpath(__file__)).parent.parent
COVERS = 'integration/series'
FIGURES = 'docs/devel/vhost-dp-performance.rst'
NOBODY = ('vhost-dp developers', 'vhost-dp@example.org')


# ------------------------------------------------------------------ git

def author():
    """Name and address of whoever runs this, for From and Signed-off-by."""
    found = subprocess.run(['git', 'var', 'GIT_AUTHOR_IDENT'], cwd=ROOT,
                           capture_output=True, text=True, check=False)
    match = re.match(r'(.+) <(.+)> ', found.stdout)
    return match.groups() if match else NOBODY


class Repository:
    """A git repository in @directory, alone in the world."""

    def __init__(self, directory, mode_of):
        self.directory = Path(directory)
        self.mode_of = mode_of              # of a path in it
        name, address = author()
        self.env = dict(os.environ, GIT_CONFIG_GLOBAL='/dev/null',
                        GIT_CONFIG_NOSYSTEM='1', LC_ALL='C', TZ='UTC')
        for variable in [key for key in self.env if key.startswith('GIT_')]:
            if not variable.startswith('GIT_CONFIG_'):
                del self.env[variable]
        for who in ('AUTHOR', 'COMMITTER'):
            self.env[f'GIT_{who}_NAME'] = name
            self.env[f'GIT_{who}_EMAIL'] = address
        self.git('init', '-q', '-b', 'series', '.')

    def git(self, *words, **options):
        result = subprocess.run(
            ['git', '-c', 'core.autocrlf=false', '-c', 'gc.auto=0', *words],
            cwd=self.directory, env=self.env, capture_output=True, text=True,
            errors='replace', stdin=subprocess.DEVNULL, check=False, **options)
        if result.returncode != 0:
            raise PrepareError(f'git {words[0]}: {result.stdout}'
                               f'{result.stderr}')
        return result.stdout

    def put(self, contents):
        """Make the work tree hold @contents (by path), and stage that."""
        for path, data in contents.items():
            target = self.directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            write_if_changed(target, data, self.mode_of(path))
        self.git('add', '-A', '.')

    def commit(self, message, *options):
        self.git('commit', '-q', '--no-verify', '-m', message, *options)

    def files(self):
        names = self.git('ls-files', '-z').split('\0')
        return {name: (self.directory / name).read_bytes()
                for name in names if name}


# --------------------------------------------------------------- series

class Maker:
    """Makes the series of a build directory, and looks at it."""

    def __init__(self, build):
        self.tree = Tree(Path(os.path.realpath(build)), ROOT)
        if self.tree.origin() is None:
            raise PrepareError(f'{build} is not configured: run ./configure')
        self.place = self.tree.build / 'series'
        self.series = patches.Series(ROOT, self.tree.source,
                                     self.tree.state / 'pristine',
                                     self.tree.compat())

    def mode_of(self, path):
        return self.series.where(path).stat().st_mode & 0o755

    def base(self, directory):
        """A repository with those files of QEMU's that the series changes."""
        repository = Repository(directory, self.mode_of)
        repository.put({path: self.series.original(path)
                        for path in self.series.edits})
        repository.commit('QEMU ' + self.tree.origin()['version'])
        return repository

    def make(self):
        """Write the patches of all stages; return their paths, in order."""
        if self.place.exists():
            shutil.rmtree(self.place)
        found = []
        with tempfile.TemporaryDirectory(prefix='vhost-dp-') as scratch:
            repository = self.base(scratch)
            for stage in self.series.stages:
                for patch in stage.patches:
                    self._commit(repository, patch,
                                 self.series.tree(patch.index))
                place = self.place / stage.name
                found += self._format(repository, stage, place,
                                      len(stage.patches), '--cover-letter')
                self._write_cover(stage, place / '0000-cover-letter.patch')
        for stage in self.series.stages:
            if stage.alone:
                self._make_lone(stage)
        return found

    @staticmethod
    def _commit(repository, patch, contents):
        repository.put(contents)
        repository.commit(f'{patch.subject}\n\n{patch.message}', '-s')

    def _format(self, repository, stage, place, number, *options):
        """Write the last @number commits as patches; return their paths."""
        place.mkdir(parents=True, exist_ok=True)
        repository.git('format-patch', '-q', '--no-signature', '--no-base',
                       '--stat=72', *options, '-o', str(place),
                       f'series~{number}..series')
        return [path for path in sorted(place.glob('*.patch'))
                if not path.name.startswith('0000-')]

    def _make_lone(self, stage):
        """Each patch of @stage against QEMU as it is, for who sends it."""
        needed = {name for patch in stage.patches for name in patch.needs}
        lone = [patch for patch in stage.patches if patch.name not in needed]
        for number, patch in enumerate(lone, 1):
            with tempfile.TemporaryDirectory(prefix='vhost-dp-') as scratch:
                repository = self.base(scratch)
                group = self.series.lone(patch)
                for end, member in enumerate(group, 1):
                    self._commit(repository, member,
                                 self.series.tree_of(group[:end]))
                self._format(repository, stage, self.place / stage.name /
                             'alone' / f'{number:02}-{patch.name}', len(group))

    def _write_cover(self, stage, path):
        cover = ROOT / COVERS / f'{stage.name}.txt'
        try:
            subject, _, text = cover.read_text().partition('\n')
        except FileNotFoundError:
            raise PrepareError(f'stage {stage.name} has no cover letter: '
                               f'{COVERS}/{cover.name}') from None
        text = text.strip().replace('@QEMU@', self.tree.origin()['version'])
        if '@FIGURES@' in text:
            text = text.replace('@FIGURES@', figures())
        letter = path.read_text()
        for mark, what in (('*** SUBJECT HERE ***', subject),
                           ('*** BLURB HERE ***', text)):
            if mark not in letter:
                raise PrepareError(f'git format-patch: no {mark} in {path}')
            letter = letter.replace(mark, what)
        path.write_text(letter)

    def lines(self, stage):
        """How many lines the patches of @stage add."""
        return sum(1 for patch in (self.place / stage.name).glob('*.patch')
                   if not patch.name.startswith('0000-')
                   for line in patch.read_text(errors='replace').splitlines()
                   if line.startswith('+') and not line.startswith('+++ '))

    # ------------------------------------------------------------ checks

    def apply(self, found, directory):
        """git am on QEMU's own files; return the resulting contents."""
        repository = self.base(directory)
        repository.git('am', '-q', *map(str, found))
        return repository.files()

    def expected(self):
        """The prepared tree, but for what only this repository needs."""
        links = json.loads((self.tree.state / 'links.json').read_text())
        contents = {path: (self.tree.source / path).read_bytes()
                    for path in links if not path.startswith(FRAGMENT + '/')}
        by_path = {}
        for edit in edits.load(ROOT / 'integration', self.tree.compat()):
            by_path.setdefault(edit.path, []).append(edit)
        for path, its in by_path.items():
            text = self.series.original(path).decode('utf-8',
                                                     'surrogateescape')
            prepared = (self.tree.source / path).read_bytes()
            if edits.edit_text(text, its).encode(
                    'utf-8', 'surrogateescape') != prepared:
                raise PrepareError(f'{path} is not as integration/ says: run '
                                   'make')
            rest = [edit for edit in its if edit.patch != patches.NONE]
            if rest:
                contents[path] = edits.edit_text(text, rest).encode(
                    'utf-8', 'surrogateescape')
        return contents

    def checkpatch(self, path):
        """What checkpatch.pl has to say about a patch; '' is nothing."""
        script = self.tree.source / 'scripts' / 'checkpatch.pl'
        result = subprocess.run(
            ['perl', script, '--no-tree', '--quiet', path], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, errors='replace', check=False)
        said = result.stdout
        if result.returncode != 0 and not said:
            said = f'exit status {result.returncode}'
        return said


def figures():
    """The table of measurements, from the page that has it."""
    text = (ROOT / FIGURES).read_text()
    match = re.search(r'^\.\. vhost-dp-figures\n\n((?:.+\n)+)', text,
                      re.MULTILINE)
    if not match:
        raise PrepareError(f'{FIGURES} has no table behind the comment '
                           '".. vhost-dp-figures"')
    return textwrap.indent(match[1].rstrip(), '  ')


# ------------------------------------------------------------- commands

def command_make(arguments):
    maker = Maker(arguments.build_dir)
    found = maker.make()
    for stage in maker.series.stages:
        note(f'{stage.name}: {len(stage.patches)} patches, '
             f'{maker.lines(stage)} lines, and a cover letter')
    say(f'{len(found)} patches in {maker.place}')


class Tap:
    def __init__(self):
        self.number = 0
        self.bad = False

    def case(self, name, complaint=''):
        self.number += 1
        self.bad |= bool(complaint)
        print(f'{"not ok" if complaint else "ok"} {self.number} - {name}')
        for line in complaint.splitlines():
            print('# ' + line)

    def skip(self, name, why):
        self.number += 1
        print(f'ok {self.number} - {name} # SKIP {why}')

    def end(self):
        print(f'1..{self.number}', flush=True)
        return 1 if self.bad else 0


def differences(got, wanted):
    """What @got lacks, has too much, or has otherwise than @wanted."""
    return ''.join([f'lacks {path}\n' for path in sorted(set(wanted) - set(got))]
                   + [f'has {path}\n' for path in sorted(set(got) - set(wanted))]
                   + [f'differs: {path}\n' for path in sorted(got)
                      if path in wanted and got[path] != wanted[path]])


def check(maker, tap):
    """Make the series, and report to @tap what is wrong with it."""
    try:
        found = maker.make()
        tap.case('each file and each edit belongs to one patch')
        with tempfile.TemporaryDirectory(prefix='vhost-dp-') as scratch:
            got = maker.apply(found, scratch)
        tap.case('git am makes the tree that is built',
                 differences(got, maker.expected()))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, said in zip(found, pool.map(maker.checkpatch, found)):
                tap.case(f'checkpatch: {path.parent.name}/{path.name}', said)
    except PrepareError as error:
        tap.case('the series can be made', str(error))


def command_check(arguments):
    tap = Tap()
    check(Maker(arguments.build_dir), tap)
    return tap.end()


def command_build(arguments):
    maker = Maker(arguments.build_dir)
    all_patches = maker.series.patches
    if arguments.stage is not None:
        if arguments.first or arguments.last:
            raise PrepareError('a stage excludes from and to')
        chosen = maker.series.stage(arguments.stage).patches
    else:
        names = [patch.name for patch in all_patches]
        for name in (arguments.first, arguments.last):
            if name is not None and name not in names:
                raise PrepareError(f'there is no patch {name}; there are '
                                   + ', '.join(names))
        first = names.index(arguments.first) if arguments.first else 0
        last = names.index(arguments.last) if arguments.last else len(names) - 1
        chosen = all_patches[first:last + 1]
    steps = Steps(maker)
    lone = {patch for stage in maker.series.stages if stage.alone
            for patch in stage.patches}
    for patch in chosen:
        where = f'{all_patches.index(patch) + 1}/{len(all_patches)}'
        if patch in lone:
            say(f'{where} {patch.subject}, alone')
            steps.build(maker.series.lone(patch))
        if patch not in lone or patch is chosen[-1]:
            say(f'{where} {patch.subject}')
            steps.build(all_patches[:all_patches.index(patch) + 1])
    steps.build_tests()
    say(f'Every step from {chosen[0].name} to {chosen[-1].name} builds')


class Steps:
    """QEMU's whole source after each of the patches, and its build."""

    def __init__(self, maker):
        self.maker = maker
        self.series = maker.series
        build = maker.tree.build
        # Named like the others, as paths are what ccache goes by
        place = build.with_name(build.name + '.series')
        os.environ.setdefault('CCACHE_NOHASHDIR', '1')
        os.environ['CCACHE_BASEDIR'] = str(place)
        self.build_dir = place / 'build'
        self.source = source_of(self.build_dir)
        self.logs = self.build_dir / 'logs'
        self.config = json.loads((build / 'vhost-dp.json').read_text())
        self.qemu = qemu.Qemu(
            types.SimpleNamespace(build=self.build_dir, source=self.source,
                                  logs=self.logs),
            self.config['python'], [*self.config['options'], '--disable-tools'])
        self.tests = []                 # those of the series so far
        if not (self.source / 'VERSION').exists():
            self._copy()

    def _copy(self):
        """The prepared tree, as it was before it was prepared."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.source)
        self.source.parent.mkdir(exist_ok=True)
        copy_source(self.maker.tree.source, self.source,
                    self.logs / 'copy.log')
        shutil.rmtree(self.source / '.vhost-dp')
        shutil.rmtree(self.source / FRAGMENT)
        links = json.loads((self.maker.tree.state / 'links.json').read_text())
        for path in links:
            with contextlib.suppress(FileNotFoundError):
                (self.source / path).unlink()

    def _put(self, contents):
        for path in self.series.paths():
            target = self.source / path
            if path in contents:
                write_if_changed(target, contents[path],
                                 self.maker.mode_of(path))
            elif path in self.series.edits:
                write_if_changed(target, self.series.original(path),
                                 self.maker.mode_of(path))
            else:
                target.unlink(missing_ok=True)

    def build(self, applied):
        """QEMU with these patches, and the tests that were not there before."""
        contents = self.series.tree_of(applied)
        self._put(contents)
        if not self.qemu.is_current():
            self.qemu.configure()
        self.qemu.ninja(['build.ninja'])    # knows the tests of this patch
        before = set(self.tests)
        self.tests = self._tests(contents)
        self.qemu.ninja(['qemu-system-x86_64', *(
            test for test in self.tests if test not in before)])

    def build_tests(self):
        """All tests, whatever the later patches made of them."""
        if self.tests:
            self.qemu.ninja(self.tests)

    def _tests(self, contents):
        """The test programs that the series has brought so far."""
        listing = json.loads((self.build_dir / 'meson-info' /
                              'intro-targets.json').read_text())
        brought = {os.path.splitext(path)[0]
                   for path in contents
                   if path.startswith('tests/')}
        source = os.path.realpath(self.source)
        return [os.path.relpath(target['filename'][0], self.build_dir)
                for target in listing
                if os.path.relpath(os.path.join(
                    os.path.dirname(os.path.realpath(target['defined_in'])),
                    target['name']), source) in brought]


def main():
    parser = argparse.ArgumentParser(
        description='Make, check and build the patch series.')
    commands = parser.add_subparsers(dest='command', required=True)
    for name, function in (('make', command_make), ('check', command_check),
                           ('build', command_build)):
        sub = commands.add_parser(name)
        sub.add_argument('--build-dir', default=str(ROOT / 'build'))
        sub.set_defaults(function=function)
        if name == 'build':
            sub.add_argument('--from', dest='first', metavar='PATCH')
            sub.add_argument('--to', dest='last', metavar='PATCH')
            sub.add_argument('--stage', metavar='NUMBER')
    arguments = parser.parse_args()
    try:
        return arguments.function(arguments) or 0
    except PrepareError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
