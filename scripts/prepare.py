#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prepare a QEMU tree with vhost-dp in it, configure it, build it.

Called by ./configure and the Makefile, which have made sure that python and
the packages are there.  The commands:

  configure   fetch or copy QEMU's source to BUILD.src (unless it is there),
              link our files into it, apply the edits of integration/, run
              QEMU's configure with BUILD as its build directory
  update      link and edit again: writes only what differs
  build       update, configure again if that became necessary, run ninja
  diff        print what the edits change, as a unified diff
  fetch-package NAME
              unpack a Debian package below BUILD/prep/NAME, not installing it;
              prints that directory's path (for tests that need some file)
  clean       remove what was built
  distclean   remove the whole build directory

What lies in the build directory, next to what QEMU's build puts there:

  vhost-dp.json       how ./configure was called; marks the directory as ours
  src                 a link to the prepared tree, BUILD.src
  prep/               the source package, a private apt, meson on Debian 12
  logs/               the output of each step
  .vhost-dp.lock      held while something of the above is changed

The tree is next to the build directory because meson refuses to have it inside
(see scripts/prep/tree.py).  BUILD.src.tmp is the tree while it is unpacked.

QEMU's configure refuses a directory with a space or a colon in its path.  The
build directory of a checkout at such a path is made elsewhere, and BUILD is a
symbolic link to it.

The parts: prep/common.py (steps, errors), prep/debian.py (the archive),
prep/tree.py (source and links), prep/edits.py (the edits), prep/qemu.py
(configure and ninja).
"""

import argparse
import contextlib
import difflib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from prep import debian, edits, qemu                        # noqa: E402
from prep.common import (UNAVAILABLE, PrepareError,         # noqa: E402
                         Unavailable, note, say, write_if_changed)
from prep.tree import Tree, source_of                                  # noqa: E402

ROOT = Path(os.path.realpath(__file__)).parent.parent
CONFIG = 'vhost-dp.json'
# Characters that QEMU's configure refuses in a path.
REFUSED = re.compile(r'[\s:]')


# ------------------------------------------------- the build directory

def elsewhere(path):
    """A place for the build directory @path that QEMU's configure accepts."""
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    candidates = [os.environ.get('XDG_CACHE_HOME')]
    if os.environ.get('HOME'):
        candidates.append(os.path.join(os.environ['HOME'], '.cache'))
    for base in candidates:
        if not base or not os.path.isabs(base) \
           or REFUSED.search(os.path.realpath(base)):
            continue
        with contextlib.suppress(OSError):
            place = Path(os.path.realpath(base)) / 'vhost-dp'
            place.mkdir(parents=True, exist_ok=True)
            if os.access(place, os.W_OK):
                return place / f'build-{digest}'
    # Everybody can write there: make sure that the directory is ours.
    place = Path(f'/var/tmp/vhost-dp-{os.getuid()}')
    place.mkdir(mode=0o700, exist_ok=True)
    status = place.lstat()
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode) \
       or status.st_mode & 0o022:
        raise PrepareError(f'{place} is not a directory of this user alone')
    return place / f'build-{digest}'


def make_build_directory(name):
    """Make the build directory; return its real path."""
    path = Path(os.path.abspath(name))
    if path.is_symlink() and not path.exists():
        path.unlink()               # its target was removed
    if not path.exists():
        real = os.path.realpath(path)
        if REFUSED.search(real):
            target = elsewhere(real)
            target.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)
            say(f'The build directory is {target}')
            note(f'because QEMU\'s configure refuses the path {real}; '
                 f'{path.name} is a link to it')
        else:
            path.mkdir(parents=True)
    build = Path(os.path.realpath(path))
    if not build.is_dir():
        raise PrepareError(f'--build-dir={name}: not a directory')
    if REFUSED.search(str(build)):
        raise PrepareError(f'--build-dir={name}: QEMU\'s configure refuses the '
                           f'path {build}.  Remove that directory; configure '
                           'makes it as a link to a better place')
    mark = build / CONFIG
    if not mark.exists():
        if any(entry.name not in ('logs', 'prep', '.vhost-dp.lock')
               for entry in build.iterdir()):
            raise PrepareError(f'--build-dir={name}: the directory is not '
                               'empty, and not one that configure made')
    return build


@contextlib.contextmanager
def locked(build):
    """Keep a second make out of the same build directory."""
    with open(build / '.vhost-dp.lock', 'w', encoding='utf-8') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f'Waiting for another make in {build}')
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def load_config(name):
    """(real path, configuration) of the configured build directory @name."""
    build = Path(os.path.realpath(name))
    try:
        config = json.loads((build / CONFIG).read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise PrepareError(f'{name} is not configured: run ./configure'
                           ) from None
    except ValueError as error:
        raise PrepareError(f'{build / CONFIG}: {error}.  Run ./configure '
                           'again') from error
    if config['build'] != str(build) or config['root'] != str(ROOT):
        raise PrepareError(
            f'{build} was configured as {config["build"]} for '
            f'{config["root"]}, and was moved or copied since.  Run make '
            'distclean and build again')
    return build, config


# ---------------------------------------------------------- commands

def update_tree(tree):
    """Link and edit; say what changed."""
    linked = tree.link()
    changed = edits.apply(edits.load(ROOT / 'integration', tree.compat()),
                          tree.source, tree.state / 'pristine')
    if linked:
        say(f'Linking our files (changed: {len(linked)})')
    for path in changed:
        note(f'edited {path}')


def command_configure(arguments):
    build = make_build_directory(arguments.build_dir)
    with locked(build):
        tree = Tree(build, ROOT)
        # Marks the directory as one that distclean may remove.
        config = {'build': str(build), 'root': str(ROOT),
                  'python': sys.executable, 'options': arguments.options,
                  'install': not arguments.no_install,  # for the Makefile
                  'qemu': arguments.qemu,
                  'qemu_src': arguments.qemu_src and
                  os.path.abspath(arguments.qemu_src)}
        write_if_changed(build / CONFIG, json.dumps(config, indent=2) + '\n')
        qemu.describe(tree.ensure_source(arguments.qemu_src, arguments.qemu))
        update_tree(tree)
        qemu.Qemu(tree, sys.executable, arguments.options).configure()
    say(f'Configured in {arguments.build_dir}.  Now run make')


def prepared(arguments):
    build, config = load_config(arguments.build_dir)
    tree = Tree(build, ROOT)
    if tree.origin() is None:
        # an earlier run could not fetch it, or somebody removed it
        with locked(build):
            qemu.describe(tree.ensure_source(config.get('qemu_src'),
                                             config.get('qemu')))
    return tree, qemu.Qemu(tree, config['python'], config['options'])


def command_update(arguments):
    tree, _ = prepared(arguments)
    with locked(tree.build):
        update_tree(tree)


def command_build(arguments):
    tree, build = prepared(arguments)
    with locked(tree.build):
        update_tree(tree)
        if not build.is_current():
            build.configure()
        build.ninja(arguments.targets, arguments.jobs)


def command_diff(arguments):
    tree, _ = prepared(arguments)
    pristine = tree.state / 'pristine'
    for path in sorted(edits.kept_paths(pristine)):
        old = (pristine / path).read_text(errors='surrogateescape')
        new = (tree.source / path).read_text(errors='surrogateescape')
        sys.stdout.writelines(difflib.unified_diff(
            old.splitlines(keepends=True), new.splitlines(keepends=True),
            f'a/{path}', f'b/{path}'))


def command_fetch_package(arguments):
    build, _ = load_config(arguments.build_dir)
    suites = arguments.suite or [debian.os_release().get('VERSION_CODENAME')]
    with locked(build), contextlib.redirect_stdout(sys.stderr):
        place = debian.fetch_package(arguments.name, suites, build / 'prep',
                                     build / 'logs')
    print(place)


def command_clean(arguments):
    build, _ = load_config(arguments.build_dir)
    with locked(build):
        if (build / 'build.ninja').exists():
            subprocess.run(['ninja', 'clean'], cwd=build, check=False,
                           stdout=subprocess.DEVNULL)
        for path in (build / 'logs', build / 'meson-logs'):
            shutil.rmtree(path, ignore_errors=True)


def command_distclean(arguments):
    path = Path(os.path.abspath(arguments.build_dir))
    if not os.path.lexists(path):
        return
    build = Path(os.path.realpath(path))
    if build.exists() and not (build / CONFIG).exists() and \
       any(entry.name not in ('logs', 'prep') for entry in build.iterdir()):
        raise PrepareError(f'{path} was not made by configure; it is left '
                           'alone')
    source = source_of(build)
    say(f'Removing {build} and {source.name}')
    for directory in (source, source.with_name(source.name + '.tmp'),
                      build.with_name(build.name + '.series'), build):
        if directory.exists():
            shutil.rmtree(directory)
    if path.is_symlink():
        path.unlink()


def parse_arguments(words):
    parser = argparse.ArgumentParser(
        description='Prepare, configure and build QEMU with vhost-dp.')
    commands = parser.add_subparsers(dest='command', required=True)

    def command(name, function):
        sub = commands.add_parser(name)
        sub.add_argument('--build-dir', default=str(ROOT / 'build'))
        sub.set_defaults(function=function)
        return sub

    sub = command('configure', command_configure)
    sub.add_argument('--qemu')
    sub.add_argument('--qemu-src')
    sub.add_argument('--no-install', action='store_true')
    sub.add_argument('options', nargs='*', help="QEMU's configure options")
    command('update', command_update)
    sub = command('build', command_build)
    sub.add_argument('-j', '--jobs')
    sub.add_argument('targets', nargs='*')
    command('diff', command_diff)
    sub = command('fetch-package', command_fetch_package)
    sub.add_argument('--suite', action='append')
    sub.add_argument('name')
    command('clean', command_clean)
    command('distclean', command_distclean)
    return parser.parse_args(words)


def main():
    arguments = parse_arguments(sys.argv[1:])
    try:
        arguments.function(arguments)
    except Unavailable as error:
        print(f'error: {error}', file=sys.stderr)
        return UNAVAILABLE
    except PrepareError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
