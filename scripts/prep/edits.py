# SPDX-License-Identifier: GPL-2.0-or-later
"""The edits to QEMU's own files: read integration/*.toml and apply them.

integration/README.rst describes the tables.  Everything is matched against
the file as QEMU ships it (its pristine copy is kept in the prepared tree), so
the result does not depend on what was applied before, nor on the order of the
tables; only texts inserted at the very same place follow the tables' order.
"""

import os
import re
import shutil
import tomllib
from pathlib import Path, PurePosixPath

from . import versions
from .common import PrepareError, write_if_changed
from .compat import Compat

KEYS = {'path', 'anchor', 'within', 'before', 'after', 'expression',
        'replacement', 'why', 'patch', 'qemu'}


class Edit:
    """One entry of a table; checked when it is made."""

    def __init__(self, table, number, fields, patch=None):
        self.name = f'{table}, edit {number}'
        unknown = set(fields) - KEYS
        if unknown:
            raise PrepareError(f'{self.name}: unknown key '
                               f'{", ".join(sorted(unknown))}')
        for key, value in fields.items():
            if not isinstance(value, str):
                raise PrepareError(f'{self.name}: {key} is no string')
        self.patch = fields.get('patch', patch)
        self.qemu = None            # the version from which on it is made
        if 'qemu' in fields:
            self.qemu = versions.condition(fields['qemu'])
            if self.qemu is None:
                raise PrepareError(f'{self.name}: qemu is {fields["qemu"]!r}, '
                                   "and not of the form '>=10.2' (what older "
                                   'ones need has its place in compat/)')
        self.path = fields.get('path', '')
        parts = PurePosixPath(self.path).parts
        if not parts or self.path.startswith('/') or '..' in parts:
            raise PrepareError(f'{self.name}: path is {self.path!r}, which is '
                               'not a file inside the QEMU tree')
        self.name += f' ({self.path})'
        self.anchor = fields.get('anchor')
        self.within = fields.get('within')
        self.expression = fields.get('expression')
        self.replacement = fields.get('replacement')
        self.where = [key for key in ('before', 'after') if key in fields]

        if self.expression is not None:
            if self.anchor is not None or self.within is not None \
               or self.where or self.replacement is None:
                raise PrepareError(f'{self.name}: expression goes with '
                                   'replacement and nothing else')
            try:
                self.pattern = re.compile(self.expression, re.MULTILINE)
            except re.error as error:
                raise PrepareError(f'{self.name}: expression '
                                   f'{self.expression!r}: {error}') from error
            return
        if self.replacement is not None:
            raise PrepareError(f'{self.name}: replacement without expression')
        if not self.anchor or len(self.where) != 1:
            raise PrepareError(f'{self.name}: needs anchor and one of before '
                               'and after (or expression and replacement)')
        for key in ('anchor', 'within'):
            if '\n' in (fields.get(key) or ''):
                raise PrepareError(f'{self.name}: {key} is longer than a line')
        self.text = fields[self.where[0]]
        if not self.text.endswith('\n'):
            self.text += '\n'

    def _lines_with(self, fragment, lines, key):
        """The number of the one line that holds @fragment."""
        found = [number for number, line in enumerate(lines)
                 if fragment in line]
        if len(found) != 1 or lines[found[0]].count(fragment) != 1:
            count = sum(line.count(fragment) for line in lines)
            raise PrepareError(
                f'{self.name}: {key} {fragment!r} occurs {count} times in '
                f'{self.path}, not once' + (
                    ' (lines ' + ', '.join(str(n + 1) for n in found) + ')'
                    if found else ''))
        return found[0]

    def locate(self, text, instead=None):
        """Return (start, end, new text): what to put where in @text.

        @instead takes the place of the text that is inserted.
        """
        if self.expression is not None:
            matches = list(self.pattern.finditer(text))
            if len(matches) != 1:
                raise PrepareError(
                    f'{self.name}: expression {self.expression!r} matches '
                    f'{len(matches)} times in {self.path}, not once')
            match = matches[0]
            try:
                new = match.expand(self.replacement)
            except (re.error, IndexError) as error:
                raise PrepareError(f'{self.name}: replacement '
                                   f'{self.replacement!r}: {error}') from error
            return match.start(), match.end(), new

        lines = text.splitlines(keepends=True)
        if self.within is None:
            number = self._lines_with(self.anchor, lines, 'anchor')
        else:
            first = self._lines_with(self.within, lines, 'within') + 1
            number = next((n for n in range(first, len(lines))
                           if self.anchor in lines[n]), None)
            if number is None:
                raise PrepareError(
                    f'{self.name}: anchor {self.anchor!r} occurs 0 times in '
                    f'{self.path} after {self.within!r}')
        if self.where[0] == 'after':
            number += 1
        offset = sum(len(line) for line in lines[:number])
        new = self.text if instead is None else instead
        if new and offset and text[offset - 1] != '\n':
            new = '\n' + new
        return offset, offset, new


# A line of MAINTAINERS that stands for one for each of our patterns.
OUR_FILES = 'F: @files of series/patches.toml@\n'


def _our_files(directory, compat):
    table = tomllib.loads((directory / 'series' / 'patches.toml').read_text())
    patterns = [pattern for patch in table['patch']
                for pattern in patch.get('files', [])]
    patterns += compat.files()
    return ''.join(f'F: {pattern}\n' for pattern in sorted(patterns))


# The patch of what older releases lack, unless a table or an edit says another.
COMPAT_PATCH = 'api'


def load(directory, compat=None):
    """All edits of the tables in @directory and @compat, by the tables' names.

    Those for newer versions of QEMU than that of @compat are left out; without
    @compat there are those for the newest.
    """
    directory = Path(directory)
    compat = compat or Compat(directory.parent)
    edits = []
    for table in [*sorted(directory.glob('*.toml')), *compat.tables()]:
        name = str(table.relative_to(directory.parent))
        try:
            with open(table, 'rb') as source:
                content = tomllib.load(source)
        except tomllib.TOMLDecodeError as error:
            raise PrepareError(f'{name}: {error}') from error
        entries = content.pop('edit', [])
        # what its edits belong to; by default the patch of the table's name
        patch = content.pop('patch', table.stem if table.parent == directory
                            else COMPAT_PATCH)
        if content:
            raise PrepareError(f'{name}: unknown key '
                               f'{", ".join(sorted(content))}')
        if not isinstance(entries, list):
            raise PrepareError(f'{name}: edits are [[edit]] tables')
        edits += [Edit(name, number, fields, patch)
                  for number, fields in enumerate(entries, 1)]
    edits = [edit for edit in edits if compat.wants(edit.qemu)]
    for edit in edits:
        if edit.expression is None and edit.path.startswith('qapi/'):
            edit.text = compat.since(edit.text)
        if edit.expression is None and OUR_FILES in edit.text:
            edit.text = edit.text.replace(OUR_FILES,
                                          _our_files(directory, compat))
    return edits


def edit_text(text, edits, texts=None):
    """@text with all of @edits made; @texts has what some insert instead."""
    places = [(*edit.locate(text, (texts or {}).get(edit)), edit)
              for edit in edits]
    # sorted() is stable: at one place, the tables' order
    places.sort(key=lambda place: (place[0], place[1]))
    parts = []
    end = 0
    last = None
    for start, stop, new, edit in places:
        if start < end:
            raise PrepareError(f'{edit.name} and {last.name} change the same '
                               'text')
        parts += [text[end:start], new]
        end = stop
        last = edit
    parts.append(text[end:])
    return ''.join(parts)


def _read(path):
    # newline='': line ends stay as they are
    with open(path, encoding='utf-8', errors='surrogateescape',
              newline='') as source:
        return source.read()


def apply(edits, tree, pristine):
    """Bring the files in @tree to what @edits say; return the changed ones.

    @pristine holds the original of each file that was ever edited.  A file
    with no edit any more gets its original content back.
    """
    tree = Path(tree)
    pristine = Path(pristine)
    by_path = {}
    for edit in edits:
        by_path.setdefault(edit.path, []).append(edit)

    # Work everything out before anything is written.
    results = {}
    for path, its_edits in by_path.items():
        original = pristine / path
        if not original.exists():
            original = tree / path
            if not original.is_file() or original.is_symlink():
                raise PrepareError(f'{its_edits[0].name}: QEMU has no file '
                                   f'{path}')
        results[path] = edit_text(_read(original), its_edits)

    changed = []
    for path, text in results.items():
        target = tree / path
        copy = pristine / path
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            partial = copy.with_name(copy.name + '.tmp')
            shutil.copy2(target, partial)
            os.replace(partial, copy)
        if write_if_changed(target,
                            text.encode('utf-8', 'surrogateescape'),
                            copy.stat().st_mode & 0o7777):
            changed.append(path)

    for path in list(kept_paths(pristine)):
        if path not in results:
            copy = pristine / path
            if write_if_changed(tree / path, copy.read_bytes(),
                                copy.stat().st_mode & 0o7777):
                changed.append(path)
            copy.unlink()
    return changed


def kept_paths(pristine):
    """The paths of all pristine copies."""
    for directory, _, names in os.walk(pristine):
        for name in names:
            if not name.endswith('.tmp'):
                yield str((Path(directory) / name).relative_to(pristine))
