# SPDX-License-Identifier: GPL-2.0-or-later
"""Files from Debian's archive, with an apt configuration of our own.

The machine's apt is asked for one thing only: the address of its archive.
Sources list, package lists and caches live below the build directory, so
nothing on the machine changes and no privilege is needed.  What is downloaded
is checked by apt against the archive's signature.
"""

import os
import re
import subprocess
from pathlib import Path

from .common import PrepareError, Unavailable, note, run_step

KEYRINGS = ('/usr/share/keyrings/debian-archive-keyring.gpg',
            '/usr/share/keyrings/debian-archive-keyring.pgp')

# The suites that carry a series of QEMU, the best first; others are looked for
# in the last ones.
QEMU_SUITES = {'10.0': ('trixie', 'trixie-updates', 'trixie-security',
                        'bookworm-backports'),
               '10.2': ('sid', 'forky', 'trixie-backports')}
NEW_SUITES = ('sid', 'forky', 'trixie-backports')

# The suites that carry meson 1.5 or later as a package without any binary.
MESON_SUITES = ('bookworm-backports', 'trixie')


def os_release():
    fields = {}
    for name in ('/etc/os-release', '/usr/lib/os-release'):
        try:
            text = Path(name).read_text(encoding='utf-8')
        except OSError:
            continue
        for line in text.splitlines():
            key, found, value = line.partition('=')
            if found:
                fields[key] = value.strip('"\'')
        break
    return fields


class Entry:
    """One place that the machine's apt knows."""

    def __init__(self, uri, suite, security):
        self.uri = uri.rstrip('/')
        self.suite = suite
        self.security = security


def parse_indextargets(text):
    """Entries from lines URI|ORIGIN|LABEL|CODENAME, Debian's own alone."""
    entries = []
    for line in text.splitlines():
        uri, origin, label, codename = (line.split('|') + [''] * 4)[:4]
        if origin == 'Debian' and label in ('Debian', 'Debian-Security'):
            entries.append(Entry(uri, codename, label == 'Debian-Security'))
    return entries


def parse_one_line(text):
    """Entries from a file in sources.list's one-line form."""
    entries = []
    for line in text.splitlines():
        match = re.match(r'\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)', line)
        if match:
            entries.append(_guess(match[1], match[2]))
    return entries


def parse_stanzas(text):
    """Entries from a file in the *.sources form."""
    entries = []
    for stanza in re.split(r'\n\s*\n', text):
        fields = {}
        key = None
        for line in stanza.splitlines():
            if line.startswith('#'):
                continue
            if line[:1].isspace() and key:
                fields[key] += ' ' + line.strip()
            else:
                key, _, value = line.partition(':')
                key = key.strip().lower()
                fields[key] = value.strip()
        if fields.get('enabled', 'yes').lower() == 'no':
            continue
        if 'deb' not in fields.get('types', '').split():
            continue
        for uri in fields.get('uris', '').split():
            for suite in fields.get('suites', '').split():
                entries.append(_guess(uri, suite))
    return entries


def _guess(uri, suite):
    """Without lists there is no origin and label to go by: use the names."""
    return Entry(uri, suite, suite.endswith(('-security', '/updates')))


def archives(entries, security=False):
    """The distinct addresses in @entries, in order."""
    found = []
    for entry in entries:
        if entry.security == security and entry.uri not in found \
           and not entry.uri.startswith('cdrom:'):
            found.append(entry.uri)
    return found


def machine_entries():
    """What the machine's own apt is configured for."""
    try:
        text = subprocess.run(
            ['apt-get', 'indextargets', '--format',
             '$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(CODENAME)'],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        text = ''
    entries = parse_indextargets(text)
    if archives(entries):
        return entries

    # apt has fetched no lists yet (a fresh container): read its sources.
    etc = Path('/etc/apt')
    codename = os_release().get('VERSION_CODENAME', '')
    for path in [etc / 'sources.list',
                 *sorted((etc / 'sources.list.d').glob('*'))]:
        try:
            text = path.read_text(encoding='utf-8')
        except (OSError, UnicodeDecodeError):
            continue
        if path.suffix == '.list':
            entries += parse_one_line(text)
        elif path.suffix == '.sources':
            entries += parse_stanzas(text)
    # Other people's archives are served under other suites.
    return [entry for entry in entries
            if codename and entry.suite.split('-')[0].split('/')[0]
            in (codename, 'stable', 'oldstable', 'testing')]


def version_key_max(versions):
    """The newest of @versions by dpkg's order."""
    best = None
    for version in versions:
        if best is None or subprocess.run(
                ['dpkg', '--compare-versions', version, 'gt', best],
                check=False).returncode == 0:
            best = version
    return best


class PrivateApt:
    """apt with one source, below @directory."""

    def __init__(self, directory, logs):
        self.directory = Path(directory)
        self.logs = Path(logs)
        self.config = self.directory / 'apt.conf'
        self.keyring = next((k for k in KEYRINGS if os.path.exists(k)), None)
        if self.keyring is None:
            raise PrepareError('no key to check Debian\'s archive with: '
                               'install debian-archive-keyring')

    def _configure(self, kind, uri, suite):
        for name in ('lists/partial', 'cache/archives/partial'):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        sources = self.directory / 'sources.list'
        sources.write_text(f'{kind} [signed-by={self.keyring}] {uri} {suite} '
                           'main\n', encoding='utf-8')
        # Read after the machine's configuration (a proxy set there counts).
        # Hooks of the machine are for the machine's own lists.
        lines = [f'Dir::Etc::sourcelist "{sources}";',
                 'Dir::Etc::sourceparts "/dev/null";',
                 f'Dir::State::Lists "{self.directory}/lists";',
                 f'Dir::Cache "{self.directory}/cache";',
                 'Acquire::Languages "none";',
                 'Acquire::Retries "3";',
                 'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled '
                 '"false";',
                 '#clear APT::Update::Pre-Invoke;',
                 '#clear APT::Update::Post-Invoke;',
                 '#clear APT::Update::Post-Invoke-Success;',
                 '#clear DPkg::Post-Invoke;']
        if os.geteuid() == 0:
            # The directory may be unreadable for apt's own user.
            lines.append('APT::Sandbox::User "root";')
        self.config.write_text('\n'.join(lines) + '\n', encoding='utf-8')

    def update(self, kind, uri, suite):
        """Fetch the lists of @suite; @kind is deb or deb-src."""
        self._configure(kind, uri, suite)
        run_step(f'Reading the package lists of {suite}',
                 ['apt-get', '-c', self.config, '-o',
                  'APT::Update::Error-Mode=any', 'update'],
                 self.logs / f'apt-update-{suite}.log')

    def query(self, *arguments):
        return subprocess.run(
            ['apt-cache', '-c', self.config, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, env={**os.environ, 'LC_ALL': 'C'}).stdout

    def run(self, title, log, cwd, *arguments):
        run_step(title, ['apt-get', '-c', self.config, '-q', *arguments],
                 self.logs / log, cwd=cwd)


def field_values(text, field):
    return re.findall(rf'^{field}: *(\S+)', text, re.MULTILINE)


def _each_suite(apt, kind, suites):
    """Yield every suite whose lists could be fetched, with them in place."""
    entries = machine_entries()
    found = archives(entries)
    if not found:
        raise Unavailable(
            'this machine\'s apt knows no Debian archive (looked at apt-get '
            'indextargets and /etc/apt): add one, or give a QEMU tree '
            'with --qemu-src=DIR')
    problems = []
    reached = False
    for suite in suites:
        for uri in archives(entries, suite.endswith('-security')):
            try:
                apt.update(kind, uri, suite)
            except PrepareError as error:
                problems.append(str(error))
                note(f'{suite} is not to be had from {uri}')
                continue
            reached = True
            yield suite
            break
    if not reached:
        raise Unavailable(
            (problems or ['the archive has none of the suites'])[0]
            + '\nNo package list could be fetched.  Is there a network?  A '
            'QEMU tree that is already on this machine can be given with '
            '--qemu-src=DIR')


def newest_first(versions):
    """@versions by dpkg's order, each once."""
    left = set(versions)
    ordered = []
    while left:
        ordered.append(version_key_max(left))
        left.remove(ordered[-1])
    return ordered


def fetch_qemu_source(series, directory, logs):
    """Download the source package of QEMU @series, as '10.0'.

    Returns (its .dsc file, its version).  An archive may list a version and not
    have its files: then the next one is taken, here or in the next suite.
    """
    directory = Path(directory)
    done = directory / 'complete'
    if done.exists():
        version = done.read_text(encoding='utf-8').strip()
        dsc = next(directory.glob('qemu_*.dsc'), None)
        if dsc:
            return dsc, version
    apt = PrivateApt(directory / 'apt', logs)
    found = []                      # what there was instead
    for suite in _each_suite(apt, 'deb-src',
                             QEMU_SUITES.get(series, NEW_SUITES)):
        offered = newest_first(field_values(
            apt.query('showsrc', '--only-source', 'qemu'), 'Version'))
        wanted = [v for v in offered
                  if re.match(rf'(\d+:)?{re.escape(series)}\.', v) and
                  '~rc' not in v]
        if not wanted:
            found.append(f'{suite} has {", ".join(offered) or "no qemu"}')
            note(f'{suite} has no QEMU {series} (it has '
                 f'{", ".join(offered) or "none"})')
        for version in wanted:
            dsc = _fetch_version(apt, suite, version, directory)
            if dsc:
                done.write_text(version + '\n', encoding='utf-8')
                return dsc, version
            found.append(f'{suite} lists {version}, whose files the archive '
                         'does not have')
    raise Unavailable(f'no suite offers the source of QEMU {series}: '
                      f'{"; ".join(found)}.  Give a tree with --qemu-src=DIR')


def _fetch_version(apt, suite, version, directory):
    """The .dsc file of @version; None if the archive does not have it all."""
    for old in directory.glob('qemu_*'):
        old.unlink()
    try:
        apt.run(f'Fetching the QEMU source (qemu {version} from {suite})',
                'fetch-qemu.log', directory,
                'source', '--download-only', '--only-source',
                f'qemu={version}')
    except PrepareError as error:
        if not re.search(r'\b404 +Not Found\b', str(error)):
            raise
        note(f'{suite} lists qemu {version}, but the archive answers 404 when '
             'asked for it')
        return None
    dsc = next(directory.glob('qemu_*.dsc'), None)
    if dsc is None:
        raise PrepareError(f'apt-get fetched no qemu_*.dsc; see {apt.logs}/'
                           'fetch-qemu.log')
    return dsc


def fetch_package(name, suites, directory, logs, accept=lambda version: True):
    """Unpack the package @name below @directory/@name; return that path.

    Nothing is installed.  @accept decides by version whether it will do.
    """
    directory = Path(directory)
    result = directory / name
    if result.is_dir():
        return result
    work = directory / f'{name}.tmp'
    subprocess.run(['rm', '-rf', work], check=True)
    work.mkdir(parents=True)
    apt = PrivateApt(work / 'apt', logs)
    for suite in _each_suite(apt, 'deb', suites):
        text = apt.query('show', '--no-all-versions', f'{name}/{suite}')
        version = next(iter(field_values(text, 'Version')), None)
        if version is None or not accept(version):
            note(f'{suite} has no suitable {name} ({version or "none"})')
            continue
        apt.run(f'Fetching {name} {version} from {suite} (unpacked below '
                f'{directory}, not installed)', f'fetch-{name}.log', work,
                'download', f'{name}={version}')
        deb = next(work.glob('*.deb'))
        run_step(f'Unpacking {name}', ['dpkg-deb', '-x', deb, work / 'root'],
                 logs / f'unpack-{name}.log')
        os.rename(work / 'root', result)
        subprocess.run(['rm', '-rf', work], check=True)
        return result
    raise PrepareError(f'none of {", ".join(suites)} offers a suitable {name}')


def unpack_source(dsc, target, logs):
    run_step(f'Unpacking {Path(dsc).name}',
             ['dpkg-source', '--no-copy', '-x', dsc, target], logs / 'unpack-qemu.log')
