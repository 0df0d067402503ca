# SPDX-License-Identifier: GPL-2.0-or-later
"""Running QEMU's configure, and ninja."""

import collections
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import debian
from .common import (Alive, PrepareError, note, run_step, say, verbose,
                     write_if_changed)

MESON_NEEDED = (1, 5)

# The virtual machine monitor with what vhost-dp and its tests use, no more.
OPTIONS = [
    '--target-list=x86_64-softmmu',
    '--without-default-features',
    '--disable-install-blobs',
    '--enable-system',
    '--enable-kvm',
    '--enable-tcg',
    '--enable-slirp',
    '--enable-vhost-net',
    '--enable-vhost-kernel',
    '--enable-vhost-user',
    '--enable-linux-io-uring',
    '--enable-bpf',
    '--enable-fdt=system',
    '--enable-seccomp',
    '--enable-tools',
    # A machine that happens to have sphinx would need a minute longer
    '--disable-docs',
    '--firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu',
]

# Those that our edits define; a tree with a part of the series lacks some
OUR_OPTIONS = ['--enable-vhost-dp', '--enable-pcap']

# What decides, apart from the options, whether configure has to run again:
# QEMU's own build notices a change of everything else.
CONFIGURE_INPUTS = ('VERSION', 'configure', 'pythondeps.toml',
                    'scripts/meson-buildoptions.sh')


# ---------------------------------------------------------------- meson

def _version_tuple(text):
    return tuple(int(part) for part in re.findall(r'\d+', text)[:2])


def _python_output(python, code, env=None):
    result = subprocess.run([python, '-c', code], stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, check=False,
                            env=env, cwd='/')
    return result.stdout.strip() if result.returncode == 0 else ''


def find_meson(python, source, prep, logs):
    """Return the directory to add to PYTHONPATH for meson, or None.

    None means that QEMU's configure finds one by itself: the system's, or a
    wheel that comes with the source.
    """
    version = _python_output(
        python, 'import importlib.metadata as m; print(m.version("meson"))')
    if version and _version_tuple(version) >= MESON_NEEDED:
        return None
    if list((source / 'python' / 'wheels').glob('meson-*.whl')):
        return None
    if shutil.which('apt-get') and shutil.which('dpkg-deb'):
        root = debian.fetch_package(
            'meson', debian.MESON_SUITES, prep, logs,
            lambda v: _version_tuple(v) >= MESON_NEEDED)
        return root / 'usr' / 'lib' / 'python3' / 'dist-packages'
    raise PrepareError(
        f'meson {".".join(map(str, MESON_NEEDED))} or later is needed; '
        f'{python} has {"version " + version if version else "none"}')


# ------------------------------------------------------------ configure

class Qemu:
    """QEMU's build in @build, of the tree @tree."""

    def __init__(self, tree, python, user_options):
        self.tree = tree
        self.build = tree.build
        self.python = python
        self.user_options = user_options
        self.stamp = self.build / 'prep' / 'configured.json'

    def options(self):
        result = [f'--python={self.python}', *OPTIONS]
        source = self.tree.source
        if (source / 'subprojects' / 'keycodemapdb' / 'README').exists():
            result.append('--disable-download')
        known = (source / 'scripts' / 'meson-buildoptions.sh').read_text(
            encoding='utf-8', errors='replace')
        for option in OUR_OPTIONS:
            if f'{option})' in known:
                result.append(option)
        if shutil.which('ccache') and not os.environ.get('CC') \
           and not any(o.startswith('--cc=') for o in self.user_options):
            result.append('--cc=ccache gcc')
        # the user's come last, so that they win
        return result + list(self.user_options)

    def fingerprint(self):
        digest = hashlib.sha256()
        for name in CONFIGURE_INPUTS:
            digest.update((self.tree.source / name).read_bytes())
        return {'options': self.options(), 'inputs': digest.hexdigest()}

    def is_current(self):
        try:
            recorded = json.loads(self.stamp.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return False
        return recorded == self.fingerprint() \
            and (self.build / 'build.ninja').exists() \
            and (self.build / 'pyvenv' / 'bin' / 'meson').exists()

    def configure(self):
        self.stamp.unlink(missing_ok=True)
        meson = find_meson(self.python, self.tree.source, self.build / 'prep',
                           self.tree.logs)
        env = dict(os.environ)
        env['PWD'] = str(self.build)
        if meson:
            env['PYTHONPATH'] = os.pathsep.join(
                [str(meson)] + [p for p in [env.get('PYTHONPATH')] if p])
        fingerprint = self.fingerprint()
        self._unlink_firmware()
        run_step('Configuring QEMU', [f'../{self.tree.source.name}/configure', *self.options()],
                 self.tree.logs / 'configure.log', cwd=self.build, env=env)
        if meson:
            # ninja calls build/pyvenv/bin/meson when a meson.build changed,
            # and knows nothing of PYTHONPATH.
            for site in (self.build / 'pyvenv' / 'lib').glob(
                    'python3*/site-packages'):
                write_if_changed(site / 'vhost-dp-meson.pth', f'{meson}\n')
        self._link_firmware()
        write_if_changed(self.stamp, json.dumps(fingerprint, indent=2) + '\n')

    # An emulator that is run from its build directory looks for absolute paths
    # below BUILD/qemu-bundle.  QEMU's build puts links there to what it would
    # install, which is no firmware; so do we to the system's firmware.  Ours are
    # gone while configure runs: it must not write through a link of ours.

    def _firmware_places(self):
        option = [o for o in self.options() if o.startswith('--firmwarepath=')]
        for directory in option[-1].partition('=')[2].split(':'):
            if os.path.isabs(directory):
                yield (self.build / 'qemu-bundle' / directory.lstrip('/'),
                       directory)

    def _unlink_firmware(self):
        for place, _ in self._firmware_places():
            if place.is_symlink():
                place.unlink()

    def _link_firmware(self):
        for place, directory in self._firmware_places():
            if place.exists():
                # the installation prefix is such that QEMU's own are here
                for file in sorted(Path(directory).glob('*')):
                    if not os.path.lexists(place / file.name):
                        (place / file.name).symlink_to(file)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(directory)

    # ------------------------------------------------------------ ninja

    def ninja(self, targets=(), jobs=None):
        command = ['ninja']
        if jobs:
            command.append(f'-j{jobs}')
        if verbose():
            command.append('-v')
        command += targets
        say('Building' + (' ' + ' '.join(targets) if targets else ' QEMU'))
        if verbose() or os.isatty(1):
            status = subprocess.run(command, cwd=self.build,
                                    stdin=subprocess.DEVNULL,
                                    check=False).returncode
            place = ''
        else:
            log = self.tree.logs / 'build.log'
            status = self._quiet_ninja(command, log)
            place = f'; the whole output is in {log}'
        if status != 0:
            raise PrepareError(f'the build failed (see above{place})')

    def _quiet_ninja(self, command, log):
        """ninja without the lines that only tell what it does."""
        env = dict(os.environ, NINJA_STATUS='[%f/%t] ')
        progress = collections.deque([''], maxlen=1)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, 'w', encoding='utf-8') as out, \
             Alive(lambda: progress[0]), \
             subprocess.Popen(command, cwd=self.build, env=env, text=True,
                              errors='replace', stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as process:
            regenerating = False
            for line in process.stdout:
                out.write(line)
                match = re.match(r'(\[\d+/\d+\]) (.*)', line)
                if match:
                    progress[0] = match[1]
                    # meson is talkative; an error of it still has to be seen
                    regenerating = 'Regenerating build files' in match[2]
                elif regenerating and 'ERROR' not in line:
                    pass
                elif not line.startswith('ninja: Entering'):
                    print('    ' + line, end='', flush=True)
        return process.returncode


def describe(origin):
    note(f'source: {origin["from"]}, version {origin["version"]}')
