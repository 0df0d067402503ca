# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch series: which patch what belongs to, and each patch's tree.

integration/series/patches.toml lists the patches; integration/README.rst says
how a file, an edit, or a part of one is assigned to its patch.  A Series knows
the content of every file after any number of patches; what git makes of that
is scripts/series.py's business.
"""

import fnmatch
import os
import re
import tomllib
from pathlib import Path

from . import edits
from .common import PrepareError
from .compat import SAME_PATH
from .files import collect_files

TABLE = 'integration/series/patches.toml'
NONE = 'none'                   # edits that only this repository needs
PATCH_KEYS = {'name', 'subject', 'message', 'files', 'older', 'needs'}
STAGE_KEYS = {'name', 'first', 'alone'}
EARLIER_KEYS = {'path', 'patch', 'without', 'expression', 'replacement'}

# Lists of files, where an entry waits for the patch of what it names.
LISTS = ('meson.build', 'trace-events', 'MAINTAINERS')
# What may follow a line of C code
TRAILING = re.compile(r'(\s*/\*.*\*/)?\n$')
QUOTED = re.compile(r"'([^']*)'")


class Patch:
    def __init__(self, fields, index):
        if set(fields) - PATCH_KEYS or not {'name', 'subject', 'message'} <= \
           set(fields):
            raise PrepareError(f'{TABLE}: patch {index + 1} needs name, '
                               'subject and message, may have files, needs '
                               'and older, and has '
                               + ', '.join(sorted(fields)))
        self.index = index
        self.name = fields['name']
        self.subject = fields['subject']
        self.message = fields['message'].strip()
        self.files = fields.get('files', [])
        self.older = fields.get('older', False)     # compat/ alone may fill it
        self.needs = fields.get('needs', [])        # in a stage of lone patches


class Stage:
    """A part of the series that is sent, and reviewed, by itself."""

    def __init__(self, fields):
        if set(fields) - STAGE_KEYS or not {'name', 'first'} <= set(fields) \
           or not re.fullmatch(r'\d+-[a-z0-9-]+', fields['name']):
            raise PrepareError(f'{TABLE}: a stage needs a name, a number, a '
                               'dash and a word, and first, may have alone, '
                               'and has '
                               + ', '.join(f'{key} = {value!r}' for key, value
                                           in sorted(fields.items())))
        self.name = fields['name']
        self.number = int(self.name.partition('-')[0])
        self.first = fields['first']
        self.alone = fields.get('alone', False)
        self.patches = []


class Earlier:
    """What a file of ours is like until a patch that changes it."""

    def __init__(self, number, fields, patch_of):
        self.name = f'{TABLE}, earlier {number}'
        if set(fields) - EARLIER_KEYS or not {'path', 'patch'} <= set(fields) \
           or ('expression' in fields) != ('replacement' in fields):
            raise PrepareError(f'{self.name} needs path and patch, may have '
                               'without, or expression and replacement, and '
                               'has ' + ', '.join(sorted(fields)))
        self.path = fields['path']
        self.name += f' ({self.path})'
        self.patch = patch_of(fields['patch'], self.name)
        self.lines = fields.get('without', [])
        self.replacement = fields.get('replacement')
        try:
            self.pattern = re.compile(fields.get('expression', ''),
                                      re.MULTILINE)
        except re.error as error:
            raise PrepareError(f'{self.name}: expression '
                               f'{fields["expression"]!r}: {error}') from error

    def apply(self, text):
        lines = text.splitlines(keepends=True)
        for line in self.lines:
            found = [number for number, its in enumerate(lines)
                     if TRAILING.sub('', its) == line]
            self._require(len(found), f'the line {line!r}')
            del lines[found[0]]
        text = ''.join(lines)
        if self.replacement is not None:
            text, number = self.pattern.subn(self.replacement, text)
            self._require(number, f'expression {self.pattern.pattern!r}')
        return text

    def _require(self, number, what):
        if number != 1:
            raise PrepareError(f'{self.name}: {what} is {number} times in '
                               f'{self.path}, not once')


def matches(path, pattern):
    """As in MAINTAINERS: * does not stand for a slash."""
    return path.count('/') == pattern.count('/') and \
        fnmatch.fnmatchcase(path, pattern)


def _bracket_balance(line):
    line = QUOTED.sub('', line)
    return sum(line.count(c) for c in '([{') - sum(line.count(c)
                                                   for c in ')]}')


class Present:
    """What may be named: the files of the series that are there already."""

    def __init__(self, there, to_come):
        self.there = set(there)
        self.to_come = set(to_come)

    def waits(self, line, directory):
        """Whether @line of a file in @directory names, in quotes, a file of
        the series that is to come.
        """
        return any(self._waits(text, line, directory)
                   for text in QUOTED.findall(line))

    def _waits(self, text, line, directory):
        path = os.path.normpath(os.path.join(directory, text))
        # a file, a program of a list of them, a directory
        entered = 'meson.build' if 'subdir(' in line else 'trace-events'
        for name in (path, path + '.c', f'{path}/{entered}'):
            if name in self.there | self.to_come:
                return name in self.to_come
        if not text.endswith('.c'):
            return False
        # behind a directory in a variable, as in: dir / 'name.c'
        end = '/' + text
        return any(name.endswith(end) for name in self.to_come) and \
            not any(name.endswith(end) for name in self.there)

    def has_match(self, pattern):
        return any(matches(path, pattern) for path in self.there)


def filter_meson(lines, present, directory):
    """meson.build without the entries whose files are to come.

    An entry is a line that names files, and the following ones up to the
    bracket that it opens.  A statement that has lost all of its entries is left
    out, too, but for an assignment: the variable is empty.
    """
    out = []
    held = False                # something between here and out[-1]
    number = 0
    while number < len(lines):
        entry = [lines[number]]
        number += 1
        if any(os.path.splitext(text)[1] == '.c'
               for text in QUOTED.findall(entry[0])) \
           or present.waits(entry[0], directory):
            while sum(map(_bracket_balance, entry)) > 0:
                entry.append(lines[number])
                number += 1
        if any(present.waits(line, directory) for line in entry):
            if sum(map(_bracket_balance, entry)):
                raise PrepareError('cannot leave out by itself: '
                                   + ''.join(entry))
            held = True
            continue
        text = entry[0].strip()
        if held and out and text[:1] in (')', ']', '}') \
           and _bracket_balance(out[-1]) > 0 \
           and sum(map(_bracket_balance, [out[-1], *entry])) == 0:
            if re.match(r'\s*\w+ = ', out[-1]):
                out[-1] = out[-1].rstrip() + text + '\n'
                held = False
            else:
                out.pop()
            continue
        if held and out and text == 'endif' \
           and out[-1].strip().startswith('if '):
            out.pop()
            continue
        held = False
        out += entry
    return out


def filter_trace_events(lines, present, directory):
    """trace-events: the events below a comment that is a file's name."""
    out = []
    waits = False
    for line in lines:
        match = re.fullmatch(r'# (\S+\.c)\n', line)
        if match:
            waits = f'{directory}/{match[1]}' in present.to_come
        if not waits:
            out.append(line)
    return out


def filter_maintainers(lines, present, _directory):
    return [line for line in lines if not line.startswith('F: ')
            or not present.to_come or present.has_match(line[3:].strip())]


FILTERS = {'meson.build': filter_meson, 'trace-events': filter_trace_events,
           'MAINTAINERS': filter_maintainers}


class Series:
    """The series of the repository @root, for the prepared tree @source.

    @pristine has the originals of the files that are edited there, @compat
    what its QEMU lacks.
    """

    def __init__(self, root, source, pristine, compat):
        self.root = Path(root)
        self.compat = compat
        self.additions = compat.files()
        self.source = Path(source)
        self.pristine = Path(pristine)
        self._read_table()
        self.ours = self._own_files()
        self.edits = self._assign_edits()
        for path, _, _ in self.holds:
            if path not in self.ours:
                raise PrepareError(f'{TABLE}: holds a part of {path}, which is '
                                   'no file of ours')
        for earlier in self.earlier:
            if earlier.path not in self.ours or \
               self.ours[earlier.path].index >= earlier.patch.index:
                raise PrepareError(f'{earlier.name}: no patch before '
                                   f'{earlier.patch.name} has this file')
        used = {patch.name for its in self.edits.values() for _, patch in its}
        self.patches = [patch for patch in self.patches
                        if not patch.older or patch.name in used]
        for stage in self.stages:
            stage.patches = [patch for patch in stage.patches
                             if patch in self.patches]
        self._refuse_empty()

    def _read_table(self):
        try:
            with open(self.root / TABLE, 'rb') as source:
                table = tomllib.load(source)
        except tomllib.TOMLDecodeError as error:
            raise PrepareError(f'{TABLE}: {error}') from error
        self.patches = [Patch(fields, index)
                        for index, fields in enumerate(table['patch'])]
        self.by_name = {patch.name: patch for patch in self.patches}
        self.holds = [
            (path, self._patch(name, f'{TABLE}, hold of {path}'), line)
            for path, patches in table.get('hold', {}).items()
            for name, lines in patches.items() for line in lines]
        self.earlier = [Earlier(number, fields, self._patch) for number, fields
                        in enumerate(table.get('earlier', []), 1)]
        self._read_stages(table.get('stage', []))

    def _read_stages(self, entries):
        """Each patch belongs to the stage whose first patch is the last one
        before it.
        """
        self.stages = [Stage(fields) for fields in entries]
        starts = [self._patch(stage.first, f'{TABLE}, stage {stage.name}').index
                  for stage in self.stages]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise PrepareError(f'{TABLE}: the first stage begins with the first '
                               'patch, each other one behind those before it')
        for stage, start, end in zip(self.stages, starts,
                                     [*starts[1:], len(self.patches)]):
            stage.patches = self.patches[start:end]
            for patch in stage.patches:
                for name in patch.needs:
                    needed = self._patch(name, f'{TABLE}, patch {patch.name}')
                    if needed.index >= patch.index or not stage.alone:
                        raise PrepareError(
                            f'{TABLE}: patch {patch.name} needs {name}: that '
                            'is for patches before it, in a stage where each '
                            'stands alone')

    def stage(self, number):
        """The stage of that @number."""
        for stage in self.stages:
            if str(stage.number) == str(number):
                return stage
        raise PrepareError(f'there is no stage {number}; there are '
                           + ', '.join(stage.name for stage in self.stages))

    def lone(self, patch):
        """@patch of a stage that stands alone, behind those that it needs."""
        found = {patch.index}
        for name in patch.needs:
            found |= {needed.index for needed in self.lone(self.by_name[name])}
        return [its for its in self.patches if its.index in found]

    def _patch(self, name, who):
        if name not in self.by_name:
            raise PrepareError(f'{who}: there is no patch {name!r} in {TABLE} '
                               f'(it has {", ".join(self.by_name)})')
        return self.by_name[name]

    def _own_files(self):
        """Each file of ours in QEMU's directories, and its patch."""
        ours = {}
        homeless = []
        unused = {(patch.name, pattern) for patch in self.patches
                  for pattern in patch.files}
        for path in sorted(collect_files(self.root, SAME_PATH)):
            found = {}
            for patch in self.patches:
                for pattern in patch.files:
                    if matches(path, pattern):
                        weight = (len(pattern.partition('*')[0]), len(pattern))
                        found.setdefault(weight, set()).add(patch.name)
                        unused.discard((patch.name, pattern))
            if not found:
                homeless.append(path)
                continue
            best = found[max(found)]
            if len(best) > 1:
                raise PrepareError(f'file {path} belongs to several patches of '
                                   f'{TABLE}: {", ".join(sorted(best))}')
            ours[path] = self.by_name[best.pop()]
        if homeless:
            raise PrepareError(
                f'file {", ".join(homeless)} belongs to no patch of {TABLE}: '
                'add it, or a pattern, to the files of one')
        for name, pattern in sorted(unused):
            raise PrepareError(f'{TABLE}: patch {name} has files {pattern}, '
                               'and there are none')
        for path in self.additions:
            ours[path] = self._patch(edits.COMPAT_PATCH, path)
        return ours

    def _assign_edits(self):
        """The edits of each of QEMU's files, with their patches."""
        by_path = {}
        for edit in edits.load(self.root / 'integration',
                               self.compat):
            if edit.patch == NONE:
                continue
            patch = self._patch(edit.patch, edit.name)
            by_path.setdefault(edit.path, []).append((edit, patch))
        return by_path

    def _refuse_empty(self):
        """git format-patch would leave such a patch out without a word."""
        before = {}
        for patch in self.patches:
            after = {path: data for path, data in self.tree(patch.index).items()
                     if path in self.ours or data != self.original(path)}
            if after == before:
                raise PrepareError(
                    f'{TABLE}: patch {patch.name} is empty: no file, edit or '
                    'hold that changes anything belongs to it')
            before = after

    def original(self, path):
        """QEMU's file @path as it ships it, as bytes."""
        return self.where(path).read_bytes()

    def where(self, path):
        """The file in which the content of @path, or its original, is."""
        if path in self.additions:
            return self.additions[path]
        if path in self.ours:
            return self.root / path
        kept = self.pristine / path
        return kept if kept.exists() else self.source / path

    # ------------------------------------------------------------- steps

    def paths(self):
        return sorted(set(self.ours) | set(self.edits))

    def tree(self, index):
        """Contents, by path, after the patches up to number @index."""
        return self.tree_of([patch for patch in self.by_name.values()
                             if patch.index <= index])

    def tree_of(self, applied):
        """Contents, by path, after the patches @applied and no other."""
        applied = set(applied)
        present = Present(
            [path for path, patch in self.ours.items() if patch in applied],
            [path for path, patch in self.ours.items()
             if patch not in applied])
        result = {}
        for path in present.there:
            result[path] = self._own_text(path, applied, present)
        for path, its in self.edits.items():
            now = [edit for edit, patch in its if patch in applied]
            if now:
                result[path] = self._edited(path, now, present)
        return result

    def _own_text(self, path, applied, present):
        data = self.where(path).read_bytes()
        # what the last patch changes is undone first
        for earlier in sorted(self.earlier, key=lambda its: -its.patch.index):
            if earlier.path == path and earlier.patch not in applied:
                data = earlier.apply(data.decode()).encode()
        data = self.compat.rewrite(path, data)
        holds = [line for its_path, patch, line in self.holds
                 if its_path == path and patch not in applied]
        name = os.path.basename(path)
        if not holds and name not in FILTERS:
            return data
        lines = data.decode().splitlines(keepends=True)
        for line in holds:
            lines = _leave_out(path, lines, line)
        if name in FILTERS:
            lines = self._filter(path, lines, present)
        while lines and lines[-1] == '\n':
            lines.pop()
        return ''.join(lines).encode()

    def _edited(self, path, its, present):
        texts = {}
        if os.path.basename(path) in FILTERS:
            for edit in its:
                if edit.expression is None:
                    lines = edit.text.splitlines(keepends=True)
                    texts[edit] = ''.join(self._filter(path, lines, present))
        text = self.original(path).decode('utf-8', 'surrogateescape')
        return edits.edit_text(text, its, texts).encode('utf-8',
                                                        'surrogateescape')

    @staticmethod
    def _filter(path, lines, present):
        try:
            directory, name = os.path.split(path)
            return FILTERS[name](lines, present, directory)
        except PrepareError as error:
            raise PrepareError(f'{path}: {error}') from error


def _leave_out(path, lines, line):
    """@lines, of file @path, without the paragraph in which @line is."""
    paragraphs = ''.join(lines).split('\n\n')
    found = [paragraph for paragraph in paragraphs
             if line in paragraph.split('\n')]
    if len(found) != 1:
        raise PrepareError(f'{TABLE}: the line {line!r} is in {len(found)} '
                           f'paragraphs of {path}, not in one')
    paragraphs.remove(found[0])
    text = '\n\n'.join(paragraphs).rstrip('\n') + '\n'
    return text.splitlines(keepends=True)
