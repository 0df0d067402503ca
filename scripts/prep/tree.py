# SPDX-License-Identifier: GPL-2.0-or-later
"""The prepared tree: QEMU's source with our files linked into it.

meson refuses a source tree inside its build directory, so the tree of the
build directory BUILD is BUILD.src, next to it; BUILD/src is a link to it.

The tree is complete when it holds STATE/source.json, which is written last
before the tree gets its name.  STATE also holds the list of our links and the
pristine copies of edited files.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import debian, versions
from .common import PrepareError, note, run_step, write_if_changed
from .compat import SAME_PATH, Compat
from .files import collect_files

STATE = '.vhost-dp'

# QEMU's build enters these through our own fragment, and meson's subdir() does
# not leave the directory of the meson.build that calls it: they appear below
# FRAGMENT, where the fragment is.  (tests/bench exists in QEMU, too.)
FRAGMENT = 'vhost-dp'
OWN_TESTS = ('tests/guest', 'tests/integration', 'tests/bench', 'tests/fuzz',
             'tests/models', 'tests/nested', 'tests/tsan',
             'tests/differential')


# ------------------------------------------------------------ QEMU's source

def qemu_version(directory):
    """The version of the QEMU tree @directory; PrepareError if unsuitable."""
    directory = Path(directory)
    if not directory.is_dir():
        raise PrepareError(f'--qemu-src={directory}: no such directory')
    try:
        version = (directory / 'VERSION').read_text(encoding='utf-8').strip()
        project = (directory / 'meson.build').read_text(encoding='utf-8')
        is_qemu = re.search(r"project\('qemu'", project) is not None \
            and (directory / 'configure').is_file()
    except (OSError, UnicodeDecodeError):
        is_qemu = False
    if not is_qemu:
        raise PrepareError(f'{directory} is no QEMU source tree (it needs '
                           'VERSION, configure, and a meson.build of the '
                           "project 'qemu')")
    number = versions.parse(version)
    if number is None or number[:2] < versions.OLDEST:
        raise PrepareError(f'{directory} is QEMU {version}; vhost-dp needs '
                           f'{".".join(map(str, versions.OLDEST))} or later '
                           f'({versions.KNOWN})')
    return version


def _is_build_directory(path):
    # In a prepared tree, qapi has a link of the name vhost-dp.json.
    return any((path / name).exists() and not (path / name).is_symlink()
               for name in ('build.ninja', 'config-host.mak', 'vhost-dp.json',
                            'auto-created-by-configure'))


def copy_source(source, target, log):
    """Copy the tree @source, without history and build directories."""
    entries = [entry for entry in sorted(source.iterdir())
               if entry.name not in ('.git', 'GNUmakefile')
               and not (entry.is_dir() and not entry.is_symlink()
                        and _is_build_directory(entry))]
    target.mkdir(parents=True)
    run_step(f'Copying the QEMU source from {source}',
             ['cp', '-a', '--reflink=auto', '--', *entries, target], log)
    # It may come from a place where nothing can be written.
    subprocess.run(['chmod', '-R', 'u+rwX', target], check=True)


def source_of(build):
    """Where the tree of the build directory @build is."""
    build = Path(build)
    return build.with_name(build.name + '.src')


class Tree:
    """The prepared tree of one build directory."""

    def __init__(self, build, root):
        self.build = Path(build)
        self.root = Path(root)
        self.source = source_of(self.build)
        self.state = self.source / STATE
        self.stamp = self.state / 'source.json'
        self.logs = self.build / 'logs'

    def origin(self):
        """What the tree was made of; None when there is none."""
        if not self.source.exists():
            return None
        try:
            return json.loads(self.stamp.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            raise PrepareError(
                f'{self.source} is not complete (it has no '
                f'{STATE}/source.json).  Remove it, or run make distclean, '
                'and try again') from None

    def version(self):
        """The version of the tree that is there, as numbers."""
        return versions.parse(self.origin()['version'])

    def ensure_source(self, qemu_src, series=None):
        """Make the tree unless it is there.

        @qemu_src is a path or None.  Without it, it is Debian's QEMU @series,
        by default versions.DEFAULT.
        """
        if qemu_src is not None:
            qemu_src = Path(os.path.realpath(qemu_src))
        origin = self.origin()
        self._link_for_people()
        if origin is not None:
            if qemu_src is not None and origin['from'] != str(qemu_src):
                raise PrepareError(
                    f'{self.source} was made from {origin["from"]}, not from '
                    f'--qemu-src={qemu_src}.  Run make distclean first, or '
                    'use another --build-dir')
            if series is not None and \
               versions.parse(origin['version'])[:2] != versions.series(series):
                raise PrepareError(
                    f'{self.source} is QEMU {origin["version"]}, and not of '
                    f'--qemu={series}.  Run make distclean first, or use '
                    'another --build-dir')
            return origin
        unfinished = self.source.with_name(self.source.name + '.tmp')
        if unfinished.exists():
            shutil.rmtree(unfinished)
        if qemu_src is not None:
            version = self._check_given(qemu_src)
            copy_source(qemu_src, unfinished, self.logs / 'copy-qemu.log')
            made_from = str(qemu_src)
        else:
            series = series or versions.DEFAULT
            versions.series(series)
            download = self.build / 'prep' / f'qemu-{series}'
            download.mkdir(parents=True, exist_ok=True)
            dsc, package = debian.fetch_qemu_source(series, download, self.logs)
            debian.unpack_source(dsc, unfinished, self.logs)
            version = qemu_version(unfinished)
            made_from = f'Debian source package qemu {package}'
        if not versions.is_tested(versions.parse(version)):
            note(f'QEMU {version}: {versions.KNOWN}.  An edit that does not '
                 'fit is named below')
        origin = {'from': made_from, 'version': version}
        write_if_changed(unfinished / STATE / 'source.json',
                         json.dumps(origin, indent=2) + '\n')
        os.rename(unfinished, self.source)
        return origin

    def _link_for_people(self):
        link = self.build / 'src'
        if not link.is_symlink():
            link.symlink_to(f'../{self.source.name}')

    def _check_given(self, qemu_src):
        version = qemu_version(qemu_src)
        if (qemu_src / STATE).exists():
            raise PrepareError(f'--qemu-src={qemu_src} was itself prepared by '
                               'this configure: give the original')
        return version

    # -------------------------------------------------------- our files

    def compat(self):
        """What the QEMU of this tree lacks."""
        return Compat(self.root, self.version())

    def _own_files(self, compat):
        """Map the path in the QEMU tree to our file, for all of our files."""
        wanted = collect_files(self.root, SAME_PATH)
        for path, ours in collect_files(self.root, OWN_TESTS).items():
            wanted[f'{FRAGMENT}/{path}'] = ours
        wanted[f'{FRAGMENT}/meson.build'] = self.root / 'meson.build'
        for path, ours in compat.files().items():
            if path in wanted:
                raise PrepareError(f'{ours} hides {wanted[path]}')
            wanted[path] = ours
        return wanted

    def link(self):
        """Link all of our files; return the paths that were added or removed.

        A file that has to be otherwise for this QEMU is there as a copy that
        cannot be written.  Nothing of QEMU's is ever replaced, and nothing is
        touched that is already as it should be.
        """
        record = self.state / 'links.json'
        try:
            old = set(json.loads(record.read_text(encoding='utf-8')))
        except FileNotFoundError:
            old = set()
        compat = self.compat()
        wanted = self._own_files(compat)

        # First, because a file may have become a directory.
        changed = []
        for path in sorted(old - set(wanted)):
            target = self.source / path
            if target.is_symlink() or target.is_file():
                target.unlink()
                changed.append(path)
            self._remove_empty(target.parent)

        for path in sorted(wanted):
            target = self.source / path
            if os.path.lexists(target) and path not in old:
                raise PrepareError(f'{path} is a file of QEMU\'s own: ours of '
                                   'that name would hide it.  Rename ours')

        # Recorded before they are made: an interrupted run leaves no link
        # behind that the next one takes for QEMU's.
        write_if_changed(record, json.dumps(sorted(old | set(wanted)),
                                            indent=0) + '\n')
        other_kind = False
        for path, ours in sorted(wanted.items()):
            target = self.source / path
            was_there = os.path.lexists(target)
            was_link = target.is_symlink()
            if self._put(path, ours, compat):
                changed.append(path)
                other_kind |= was_there and target.is_symlink() != was_link
        write_if_changed(record, json.dumps(sorted(wanted), indent=0) + '\n')

        # meson writes down where a link leads, so it has to look again when a
        # link has become a copy, or a copy a link.
        top = self.source / 'meson.build'
        if other_kind and top.exists():
            top.touch()

        # meson notices a changed file, but not a new directory: the list of
        # directories is a file.
        lines = ['# written by scripts/prepare.py\n']
        for directory in OWN_TESTS:
            if f'{FRAGMENT}/{directory}/meson.build' in wanted:
                lines.append(f"subdir('{os.path.basename(directory)}')\n")
        write_if_changed(self.source / FRAGMENT / 'tests' / 'meson.build',
                         ''.join(lines))
        return changed

    def _put(self, path, ours, compat):
        """Put our file to its place in the tree; return whether it was not."""
        target = self.source / path
        data = ours.read_bytes()
        rewritten = compat.rewrite(path, data)
        if target.is_file() and not target.is_symlink() and \
           target.stat().st_mode & 0o200 and \
           target.read_bytes() not in (data, rewritten):
            raise PrepareError(f'{target} was changed, where a link to {ours} '
                               'was: move the change there, and remove it')
        if rewritten != data:
            return write_if_changed(target, rewritten, 0o444)
        directory = os.path.dirname(os.path.join(os.path.realpath(self.source),
                                                 path))
        text = os.path.relpath(os.path.realpath(ours.parent) + '/'
                               + ours.name, directory)
        if os.path.lexists(target):
            if target.is_symlink() and os.readlink(target) == text:
                return False
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(text)
        return True

    def _remove_empty(self, directory):
        while directory != self.source:
            try:
                directory.rmdir()
            except OSError:
                return
            directory = directory.parent
