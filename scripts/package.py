#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Install the built QEMU, or make a Debian package of it.

usage: package.py install --build-dir DIR --destdir DIR [--prefix DIR]
       package.py deb --build-dir DIR [--output DIR]

QEMU finds its files relative to its program, so a finished build can be
installed below any prefix.  Firmware comes from the distribution's packages, by
absolute paths (--firmwarepath in prep/qemu.py).

The package installs below /usr/lib/qemu-vhost-dp, and in /usr/bin programs
whose names end in -vhost-dp: nothing of the distribution's own QEMU is
replaced or hidden, and both can be installed at the same time.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from prep.common import PrepareError, run_step, say         # noqa: E402

ROOT = Path(os.path.realpath(__file__)).parent.parent
PACKAGE = 'qemu-system-x86-vhost-dp'
HOME = 'usr/lib/qemu-vhost-dp'
# What vhost-dp is about; the other programs stay below HOME.
PROGRAMS = ('qemu-system-x86_64', 'qemu-img')

CONTROL = '''\
Package: {package}
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Section: otherosfs
Priority: optional
Installed-Size: {size}
Depends: {depends}, seabios, qemu-system-data, ipxe-qemu
Description: QEMU for x86, with the virtio-net data path vhost-dp
 QEMU {qemu} with -netdev vhost-dp, which moves the packets of virtio-net
 devices in IOThreads and hands them to pluggable drivers: TAP, AF_PACKET,
 AF_XDP, slirp, stream, vhost-user, vhost-net.
 .
 It is installed beside the distribution's QEMU. The program is
 qemu-system-x86_64-vhost-dp.
'''
COPYRIGHT = '''\
QEMU with vhost-dp.

QEMU as a whole is released under the GNU General Public License, version 2,
which is in /usr/share/common-licenses/GPL-2. The files of vhost-dp are
licensed under version 2 or, at your choice, any later version. QEMU's file
LICENSE, next to this one, says which parts have other licenses.

The source is QEMU's of version {qemu} and vhost-dp's of {version}.
'''


def output_of(*command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, check=True,
                          **options).stdout.strip()


class Build:
    def __init__(self, build):
        self.build = Path(os.path.realpath(build))
        self.logs = self.build / 'logs'
        self.meson = self.build / 'pyvenv' / 'bin' / 'meson'
        if not (self.build / 'qemu-system-x86_64').exists():
            raise PrepareError(f'{build} holds no finished build: run make')
        self.prefix = Path(self._option('prefix'))

    def _option(self, name):
        text = output_of(self.meson, 'introspect', '--buildoptions',
                         self.build)
        match = re.search(rf'"name": "{name}", "value": "([^"]*)"', text)
        if not match:
            raise PrepareError(f'meson knows no option {name}')
        return match[1]

    def qemu_version(self):
        return (self.build / 'src' / 'VERSION').read_text().strip()

    def install(self, destdir, prefix, strip=False):
        """Put what QEMU installs below @destdir/@prefix."""
        target = Path(destdir) / str(prefix).lstrip('/')
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent,
                                         prefix='.install-') as scratch:
            run_step(f'Installing below {target}',
                     [self.meson, 'install', '-C', self.build, '--no-rebuild',
                      '--destdir', scratch, *(['--strip'] if strip else [])],
                     self.logs / 'install.log')
            put_tree(Path(scratch) / self.prefix.relative_to('/'), target)
        return target

    # ------------------------------------------------------------- .deb

    def deb(self, output):
        """Make the package in @output; return its path."""
        for program in ('dpkg-deb', 'dpkg-shlibdeps', 'strip'):
            if not shutil.which(program):
                raise PrepareError(f'{program} is missing: a Debian package '
                                   'is made on Debian')
        stamp = commit_time()
        os.environ['SOURCE_DATE_EPOCH'] = stamp
        with tempfile.TemporaryDirectory(dir=self.build,
                                         prefix='deb-') as scratch:
            stage = Path(scratch) / 'stage'
            target = self.install(stage, HOME, strip=True)
            for name in ('applications', 'icons'):      # the distribution's
                shutil.rmtree(target / 'share' / name, ignore_errors=True)
            self._links(stage)
            version = f'{self.qemu_version()}+vhostdp{revision(stamp)}'
            self._documents(stage, version)
            self._control(Path(scratch), stage, version)
            output.mkdir(parents=True, exist_ok=True)
            architecture = output_of('dpkg', '--print-architecture')
            path = output / f'{PACKAGE}_{version}_{architecture}.deb'
            run_step(f'Packing {path.name}',
                     ['dpkg-deb', '--root-owner-group', '--build', stage, path],
                     self.logs / 'deb.log')
        return path

    @staticmethod
    def _links(stage):
        (stage / 'usr' / 'bin').mkdir(parents=True)
        for program in PROGRAMS:
            if (stage / HOME / 'bin' / program).exists():
                (stage / 'usr/bin' / f'{program}-vhost-dp').symlink_to(
                    f'../lib/qemu-vhost-dp/bin/{program}')

    def _documents(self, stage, version):
        place = stage / 'usr/share/doc' / PACKAGE
        shutil.copytree(ROOT / 'docs', place / 'docs')  # README has links
        shutil.copy(ROOT / 'README.md', place)
        shutil.copy(self.build / 'src' / 'LICENSE', place)
        (place / 'copyright').write_text(
            COPYRIGHT.format(qemu=self.qemu_version(), version=version))

    def _control(self, scratch, stage, version):
        programs = [path for path in (stage / HOME).rglob('*')
                    if path.is_file() and not path.is_symlink()
                    and path.open('rb').read(4) == b'\x7fELF']
        # dpkg-shlibdeps wants to stand in a source package, and tells the
        # binary one's root by its DEBIAN
        (scratch / 'debian').mkdir()
        (stage / 'DEBIAN').mkdir(mode=0o755)
        (scratch / 'debian/control').write_text('Source: qemu\n\nPackage: '
                                                f'{PACKAGE}\nArchitecture: any\n')
        depends = output_of('dpkg-shlibdeps', '-O', '--ignore-missing-info',
                            *programs, cwd=scratch)
        for path in [stage, *stage.rglob('*')]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK)
                           else 0o644)
        size = sum(path.lstat().st_size for path in stage.rglob('*')) // 1024
        (stage / 'DEBIAN/control').write_text(CONTROL.format(
            package=PACKAGE, version=version, size=size,
            architecture=output_of('dpkg', '--print-architecture'),
            maintainer='vhost-dp developers <vhost-dp@example.org>',
            depends=depends.partition('=')[2], qemu=self.qemu_version()))


def put_tree(made, target):
    """Put all that is in @made below @target, where some of it may be.

    A program that runs cannot be written to, but its name can be given to
    another file.  All files are there before the first gets its name: when
    there is no room for one, nothing has changed.
    """
    target.mkdir(parents=True, exist_ok=True)
    waiting = []
    try:
        for source in sorted(made.rglob('*')):
            goal = target / source.relative_to(made)
            if source.is_dir() and not source.is_symlink():
                if not goal.is_dir():
                    goal.mkdir()
                    shutil.copymode(source, goal)
                continue
            new = goal.with_name(f'.{goal.name}.{os.getpid()}.new')
            waiting.append((new, goal))
            shutil.copy2(source, new, follow_symlinks=False)
        while waiting:
            os.replace(*waiting[0])
            waiting.pop(0)
    finally:
        for new, _ in waiting:
            new.unlink(missing_ok=True)


def git(*words):
    found = subprocess.run(['git', *words], cwd=ROOT, capture_output=True,
                           text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ''


def commit_time():
    """Seconds since 1970: when this source was made."""
    return os.environ.get('SOURCE_DATE_EPOCH') or \
        git('log', '-1', '--format=%ct') or \
        str(int((ROOT / 'README.md').stat().st_mtime))


def revision(stamp):
    day = output_of('date', '-u', '-d', f'@{stamp}', '+%Y%m%d.%H%M%S')
    commit = git('rev-parse', '--short', 'HEAD')
    return day + (f'.{commit}' if commit else '')


def main():
    parser = argparse.ArgumentParser(description='Install or pack QEMU.')
    commands = parser.add_subparsers(dest='command', required=True)
    sub = commands.add_parser('install')
    sub.add_argument('--build-dir', required=True)
    sub.add_argument('--destdir', default='/')
    sub.add_argument('--prefix', help='[as configured]')
    sub = commands.add_parser('deb')
    sub.add_argument('--build-dir', required=True)
    sub.add_argument('--output', type=Path)
    arguments = parser.parse_args()
    try:
        build = Build(arguments.build_dir)
        if arguments.command == 'install':
            build.install(arguments.destdir or '/',
                          arguments.prefix or build.prefix)
        else:
            path = build.deb(arguments.output or build.build)
            say(f'Install it with: apt-get install {path}')
    except (PrepareError, OSError, subprocess.CalledProcessError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
