# SPDX-License-Identifier: GPL-2.0-or-later
"""What older releases of QEMU lack: compat/X.Y/, up to the last X.Y.z.

Our code is written for the newest QEMU.  compat/README.rst says what is in such
a directory: files, edits to QEMU's files, and rewrites of ours.
"""

import fnmatch
import re
import tomllib
from pathlib import Path

from . import versions
from .common import PrepareError
from .files import collect_files

# Our directories that appear at the same path in the QEMU tree.
SAME_PATH = ('include', 'net', 'hw', 'util', 'qapi', 'docs',
             'tests/unit', 'tests/qtest', 'tests/vhost-dp')
REWRITES = 'rewrites.toml'
# What our QAPI documentation says, and what it stands for: versions.since()
SINCE = re.compile(r'(?<=\b[Ss]ince )10\.0\b|(?<=\b[Ss]ince: )10\.0\b')
REWRITE_KEYS = {'files', 'expression', 'replacement', 'why'}


class Rewrite:
    """A change of our own files: for what no header can say."""

    def __init__(self, name, fields):
        if set(fields) - REWRITE_KEYS or REWRITE_KEYS - {'why'} - set(fields):
            raise PrepareError(f'{name} needs files, expression and '
                               'replacement, may have why, and has '
                               + ', '.join(sorted(fields)))
        self.name = name
        self.files = fields['files']
        self.replacement = fields['replacement']
        try:
            self.pattern = re.compile(fields['expression'], re.MULTILINE)
        except re.error as error:
            raise PrepareError(f'{name}: expression '
                               f'{fields["expression"]!r}: {error}') from error

    def apply(self, path, text):
        if not any(fnmatch.fnmatchcase(path, files) for files in self.files):
            return text
        try:
            return self.pattern.sub(self.replacement, text)
        except (re.error, IndexError) as error:
            raise PrepareError(f'{self.name}: replacement '
                               f'{self.replacement!r}: {error}') from error


class Compat:
    """What the QEMU of @version needs of @root/compat; nothing if None."""

    def __init__(self, root, version=None):
        self.version = version
        self.directories = []
        places = [place for place in (Path(root) / 'compat').iterdir()
                  if place.is_dir() and place.name[0].isdigit()] \
            if (Path(root) / 'compat').is_dir() else []
        for place in sorted(places, key=lambda p: versions.series(p.name)):
            x, y = versions.series(place.name)
            if version is not None and version < (x, y, 50):
                self.directories.append(place)
        self.rewrites = [rewrite for place in self.directories
                         for rewrite in self._read_rewrites(place)]

    @staticmethod
    def _read_rewrites(place):
        table = place / REWRITES
        name = f'compat/{place.name}/{REWRITES}'
        if not table.exists():
            return []
        try:
            content = tomllib.loads(table.read_text(encoding='utf-8'))
        except tomllib.TOMLDecodeError as error:
            raise PrepareError(f'{name}: {error}') from error
        entries = content.pop('rewrite', [])
        if content:
            raise PrepareError(f'{name}: unknown key '
                               f'{", ".join(sorted(content))}')
        return [Rewrite(f'{name}, rewrite {number}', fields)
                for number, fields in enumerate(entries, 1)]

    def tables(self):
        """The tables of edits."""
        return [table for place in self.directories
                for table in sorted(place.glob('*.toml'))
                if table.name != REWRITES]

    def files(self):
        """Map the path in QEMU's tree to the file that goes there."""
        found = {}
        for place in self.directories:
            for path, file in collect_files(place, SAME_PATH).items():
                if path in found:
                    raise PrepareError(f'{file} and {found[path]} are for the '
                                       'same place')
                found[path] = file
        return found

    def rewrite(self, path, data):
        """Our file @path, which has @data, as this QEMU needs it."""
        old = text = data.decode('utf-8', 'surrogateescape')
        if path.startswith('qapi/'):
            text = self.since(text)
        elif path.endswith(('.c', '.h', '.inc')):
            for rewrite in self.rewrites:
                text = rewrite.apply(path, text)
        return data if text == old else text.encode('utf-8', 'surrogateescape')

    def since(self, text):
        """QAPI documentation, with the release that this QEMU is or leads to."""
        return SINCE.sub(versions.since(self.version), text) if self.version \
            else text

    def wants(self, condition):
        """Whether an edit with this condition is for this QEMU."""
        return condition is None or self.version is None or \
            self.version >= condition
