# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch series: what belongs to which patch, what a patch leaves out."""

import re
import unittest

import fake
import tap
from prep import patches
from prep.common import PrepareError

TABLE = '''
[[stage]]
name = "0-all"
first = "first"

[[patch]]
name = "first"
subject = "net: first"
message = "Why."
files = ["net/own.c", "net/meson.build"]

[[patch]]
name = "second"
subject = "net: second"
message = "Why."
files = ["net/other*", "net/deep/*"]
'''
MESON = '''\
ss.add(files(
  'other.c',
  'own.c',
))

tests = {
  'own': [own_files,
          'own.c'],
  'other': [own_files,
            'other.c'],
}
if other
  tests += 'other'
endif
ss.add(when: 'X', if_true: files(
  'other.c',
))
'''
MESON_FIRST = '''\
ss.add(files(
  'own.c',
))

tests = {
  'own': [own_files,
          'own.c'],
}
'''

# Like meson for series-check: ninja has it look anew when a meson.build changed.
GENERATE = '''\
#!/bin/sh
mkdir -p meson-info
{
    printf 'rule generate\\n  command = sh %s %s\\n  generator = 1\\n' "$0" "$1"
    echo "build build.ninja: generate $1/net/meson.build"
    printf 'rule copy\\n  command = cp $in $out\\n'
    echo "build qemu-system-x86_64: copy $1/VERSION"
    for test in "$1"/tests/unit/*.c; do
        echo "build tests/unit/$(basename "$test" .c): copy $test"
    done
} > new.ninja
for test in "$1"/tests/unit/*.c; do
    printf '{"name": "%s", "defined_in": "%s/tests/unit/meson.build", ' \\
        "$(basename "$test" .c)" "$(realpath "$1")"
    printf '"filename": ["%s/tests/unit/%s"]}\\n' "$PWD" \\
        "$(basename "$test" .c)"
done | paste -sd, | sed 's/.*/[&]/' > meson-info/intro-targets.json
mv new.ninja build.ninja
'''


def lines(text):
    return text.splitlines(keepends=True)


class Filters(unittest.TestCase):
    """What is left out of a list until a later patch."""

    present = patches.Present(['net/own.c'], ['net/other.c'])

    def test_meson(self):
        self.assertEqual(''.join(patches.filter_meson(
            lines(MESON), self.present, 'net')), MESON_FIRST)

    def test_meson_with_all(self):
        present = patches.Present(['net/own.c', 'net/other.c'], [])
        self.assertEqual(''.join(patches.filter_meson(
            lines(MESON), present, 'net')), MESON)

    def test_meson_of_directories(self):
        """A name counts where it stands: other folders have it, too."""
        present = patches.Present(
            ['net/own.c', 'net/deep/own.c', 'net/deep/meson.build'],
            ['net/other/own.c', 'net/other/meson.build', 'net/new.c',
             'net/deep/trace-events'])
        text = """\
subdir('deep')
subdir('other')
mine = files(
  'new.c',
)
events += [
  'deep',
]
files(
  'own.c',
  'other/own.c',
)
more += [dir / 'own.c']
more += [dir / 'other/own.c']
more += [dir / 'theirs.c']
"""
        self.assertEqual(''.join(patches.filter_meson(
            lines(text), present, 'net')), """\
subdir('deep')
mine = files()
files(
  'own.c',
)
more += [dir / 'own.c']
more += [dir / 'theirs.c']
""")
        self.assertIn("  '../deep/own.c',\n", patches.filter_meson(
            lines("files(\n  '../deep/own.c',\n  '../new.c',\n)\n"),
            present, 'net/x'))

    def test_meson_that_cannot_be_split(self):
        with self.assertRaises(PrepareError) as caught:
            patches.filter_meson(lines("files(\n  'own.c',\n  'other.c')\n"),
                                 self.present, 'net')
        self.assertIn("'other.c')", str(caught.exception))

    def test_trace_events(self):
        text = '# head\n\n# own.c\none() "1"\n\n# other.c\ntwo() "2"\n'
        self.assertEqual(''.join(patches.filter_trace_events(
            lines(text), self.present, 'net')),
            '# head\n\n# own.c\none() "1"\n\n')

    def test_maintainers(self):
        text = 'vhost-dp\nF: net/o*n.c\nF: net/other*\nF: net*\n'
        self.assertEqual(''.join(patches.filter_maintainers(
            lines(text), self.present, '')), 'vhost-dp\nF: net/o*n.c\n')


class Series(fake.FakeProject):
    def setUp(self):
        super().setUp()
        self.write('qemu/scripts/checkpatch.pl',
                   '@ARGV = ($ARGV[-1]);\n'
                   'die "shouted\\n" if grep { /SHOUT/ } <>;\n')
        self.write('repository/integration/series/patches.toml', TABLE)
        self.write('repository/integration/series/0-all.txt',
                   'The subject\n\nThe figures:\n\n@FIGURES@\n')
        self.write('repository/docs/devel/vhost-dp-performance.rst',
                   '.. vhost-dp-figures\n\n=  =\na  1\n=  =\n\nMore.\n')
        self.write('repository/net/meson.build', MESON)
        self.write('repository/net/other.c', 'one\n\ntwo\n2\n\nthree\n')
        self.write('repository/net/deep/file.h', 'deep\n')
        self.write('repository/integration/build.toml', '''
patch = "none"
[[edit]]
path = "meson.build"
anchor = "tests"
after = "only the repository's"
[[edit]]
patch = "first"
path = "meson.build"
anchor = "tests"
after = "first"
''')
        self.write('repository/integration/second.toml',
                   '[[edit]]\npath = "net/theirs.c"\nanchor = "theirs"\n'
                   'before = "second"\n')
        self.table('docs', 'files = ["docs/devel/*"]')

    def table(self, name, more):
        path = self.root / 'integration/series/patches.toml'
        path.write_text(path.read_text() + f'\n[[patch]]\nname = "{name}"\n'
                        f'subject = "{name}"\nmessage = "m"\n{more}\n')

    def series(self, command='check', good=True):
        words = [self.root / 'scripts/series.py', command, '--build-dir',
                 self.build]
        if good:
            return self.run_command(['python3', '-B', *words])
        return self.run_command(
            ['sh', '-c', '"$@" || { echo error: it failed; exit 1; }', 'sh',
             'python3', '-B', *words], good=False)

    def patch(self, number, stage='0-all'):
        return next((self.build / 'series' / stage).glob(
            f'{number:04}-*')).read_text()

    def test_series(self):
        self.configure()
        self.assertNotIn('not ok', self.series())
        self.assertEqual(len(list((self.build / 'series/0-all').iterdir())), 4)
        cover = self.patch(0)
        self.assertIn('[PATCH 0/3] The subject', cover)
        self.assertIn('  a  1\n', cover)
        first = self.patch(1)
        self.assertIn('Signed-off-by: ', first)
        self.assertIn('+first\n', first)
        self.assertNotIn('other', first)
        self.assertNotIn("only the repository's",
                         first + self.patch(2) + self.patch(3))
        self.assertIn("+  'other.c',\n", self.patch(2))
        self.assertIn('+second\n', self.patch(2))

    def stages(self, text):
        path = self.root / 'integration/series/patches.toml'
        path.write_text(text + path.read_text().partition(
            'first = "first"\n')[2])

    def test_stages(self):
        """A directory, numbers and a letter for each; one applies behind the
        other.
        """
        self.stages('[[stage]]\nname = "0-all"\nfirst = "first"\n'
                    '[[stage]]\nname = "1-more"\nfirst = "second"\n')
        self.configure()
        self.assertIn('stage 1-more has no cover letter: '
                      'integration/series/1-more.txt',
                      self.series('make', good=False))
        self.write('repository/integration/series/1-more.txt', 'More\n\n.\n')
        self.assertNotIn('not ok', self.series())
        self.assertIn('[PATCH 1/1] net: first', self.patch(1))
        self.assertIn('[PATCH 0/2] More', self.patch(0, '1-more'))
        self.assertIn('[PATCH 2/2] docs', self.patch(2, '1-more'))
        self.assertIn('1-more: 2 patches, ', self.series('make'))

    def test_bad_stages(self):
        self.configure()
        for text, said in (
                ('name = "0-all"\nfirst = "second"', 'with the first patch'),
                ('name = "0-all"\nfirst = "none"', "no patch 'none'"),
                ('name = "all"\nfirst = "first"', "name = 'all'"),
                ('name = "0-a"\nfirst = "first"\nlast = "x"', "last = 'x'")):
            with self.subTest(text=text):
                self.stages(f'[[stage]]\n{text}\n')
                self.assertIn(said, self.series('make', good=False))
                self.write('repository/integration/series/patches.toml', TABLE)
                self.table('docs', 'files = ["docs/devel/*"]')

    def test_lone(self):
        """Each against QEMU as it is, behind those that it needs."""
        self.stages('[[stage]]\nname = "0-all"\nfirst = "first"\n'
                    'alone = true\n')
        self.table('third', 'needs = ["second"]')
        self.write('repository/integration/third.toml',
                   '[[edit]]\npath = "net/theirs.c"\nanchor = "theirs"\n'
                   'after = "third"\n')
        self.configure()
        self.assertNotIn('not ok', self.series())
        alone = self.build / 'series/0-all/alone'
        self.assertEqual(sorted(path.name for path in alone.iterdir()),
                         ['01-first', '02-docs', '03-third'])
        third = self.patch(2, '0-all/alone/03-third')
        self.assertIn('[PATCH 2/2] third', third)
        self.assertIn('+third\n', third)
        self.assertIn('+second\n', self.patch(1, '0-all/alone/03-third'))
        self.assertIn('[PATCH] docs', self.patch(1, '0-all/alone/02-docs'))

    def test_needs_elsewhere(self):
        self.table('third', 'needs = ["second"]')
        self.configure()
        self.assertIn('patch third needs second: that is for',
                      self.series('make', good=False))

    def test_earlier(self):
        """What a file was like before patches that change it."""
        self.table('third', '[[earlier]]\npath = "net/other.c"\n'
                   'patch = "third"\nwithout = ["three"]\n'
                   "expression = 'two\\n2'\nreplacement = 'none'")
        self.configure()
        self.assertNotIn('not ok', self.series())
        self.assertIn('+one\n+\n+none\n+\n', self.patch(2))
        self.assertNotIn('three', self.patch(2))
        self.assertIn('-none\n+two\n+2\n', self.patch(4))
        self.assertIn('+three\n', self.patch(4))

    def test_bad_earlier(self):
        self.configure()
        table = self.root / 'integration/series/patches.toml'
        text = table.read_text()
        for patch, path, more, said in (
                ('docs', 'net/other.c', 'without = ["ten"]',
                 "the line 'ten' is 0 times in net/other.c, not once"),
                ('docs', 'net/other.c', "expression = 't'\nreplacement = 'x'",
                 "expression 't' is 2 times in"),
                ('docs', 'net/none.c', '', 'no patch before docs has this file'),
                ('second', 'net/other.c', '', 'no patch before second has'),
                ('docs', 'net/other.c', "expression = 'a'", 'and replacement'),
                ('docs', 'net/other.c', "expression = '('\nreplacement = ''",
                 "expression '('")):
            with self.subTest(said):
                table.write_text(f'{text}\n[[earlier]]\npatch = "{patch}"\n'
                                 f'path = "{path}"\n{more}\n')
                self.assertIn(said, self.series('make', good=False))

    def test_homeless_file(self):
        self.configure()
        self.write('repository/net/new.c', '')
        said = self.series('make', good=False)
        self.assertIn('file net/new.c belongs to no patch of '
                      'integration/series/patches.toml', said)

    def test_file_of_two_patches(self):
        self.configure()
        self.table('third', 'files = ["net/other*"]')
        self.assertIn('net/other.c belongs to several patches',
                      self.series('make', good=False))

    def test_closer_pattern(self):
        self.configure()
        self.table('third', 'files = ["net/other.c"]')
        self.assertNotIn('not ok', self.series())
        self.assertIn('+three\n', self.patch(4))

    def test_edit_of_no_patch(self):
        self.configure()
        self.write('repository/integration/loose.toml',
                   '[[edit]]\npath = "net/theirs.c"\nanchor = "theirs"\n'
                   'after = "loose"\n')
        said = self.series('make', good=False)
        self.assertIn('integration/loose.toml, edit 1', said)
        self.assertIn("no patch 'loose'", said)

    def test_hold(self):
        self.table('third', '[hold."net/other.c"]\nthird = ["two"]')
        self.configure()
        self.assertNotIn('not ok', self.series())
        self.assertNotIn('+two', self.patch(2))
        self.assertIn('+three', self.patch(2))
        self.assertIn('+two\n+2\n', self.patch(4))

    def test_hold_of_nothing(self):
        self.table('third', '[hold."net/other.c"]\nthird = ["ten"]')
        self.configure()
        said = self.series('make', good=False)
        self.assertIn("'ten' is in 0 paragraphs of net/other.c", said)

    def test_empty_patch(self):
        self.configure()
        self.table('third', 'files = ["net/other*"]')
        self.table('fourth', 'files = ["net/other.c"]')
        for command in ('make', 'check', 'build'):
            with self.subTest(command):
                self.assertIn('patch third is empty',
                              self.series(command, good=False))

    def test_pattern_of_no_file(self):
        self.configure()
        self.table('third', 'files = ["net/none*"]')
        self.assertIn('patch third has files net/none*, and there are none',
                      self.series('make', good=False))

    def test_patch_without_effect(self):
        """All of its edit waits for a file that comes with a later one."""
        self.write('repository/integration/build.toml', '''
[[edit]]
patch = "first"
path = "net/theirs.c"
anchor = "theirs"
after = "first"
[[edit]]
patch = "early"
path = "meson.build"
anchor = "tests"
after = "x = ['late.c']"
''')
        self.write('repository/net/late.c', '')
        self.table('early', '')
        self.table('late', 'files = ["net/late.c"]')
        self.configure()
        self.assertIn('patch early is empty', self.series('make', good=False))

    def test_build(self):
        """Each step builds the tests that it brings, not the next one."""
        self.configure()
        self.write('qemu/generate', GENERATE)
        self.write('qemu/tests/unit/test-theirs.c', '')
        self.write('qemu/configure', '#!/bin/sh\nmkdir -p pyvenv/bin\n'
                   'touch pyvenv/bin/meson\n'
                   'sh "$(dirname "$0")/generate" "$(dirname "$0")"\n')
        self.write('repository/tests/unit/test-early.c', '')
        self.write('repository/tests/unit/test-late.c', '')
        path = self.root / 'integration/series/patches.toml'
        path.write_text(path.read_text().replace(
            'files = ["net/own.c"', 'files = ["tests/unit/test-e*", "net/own.c"'
        ).replace('"net/deep/*"', '"net/deep/*", "tests/unit/*"'))
        self.run_script('distclean', f'--build-dir={self.build}')
        self.configure()
        self.assertEqual(re.findall(r'Building (?!build.ninja)(.*)',
                                    self.series('build')),
                         ['qemu-system-x86_64 tests/unit/test-early',
                          'qemu-system-x86_64 tests/unit/test-late',
                          'qemu-system-x86_64',
                          'tests/unit/test-early tests/unit/test-late'])

    def test_other_tree(self):
        """The check notices what is in the tree and not in the series."""
        self.configure()
        (self.tree / 'net' / 'own.c').unlink()
        (self.tree / 'net' / 'own.c').write_text('otherwise\n')
        self.assertIn('differs: net/own.c', self.series(good=False))

    def test_checkpatch(self):
        self.configure()
        self.write('repository/net/other.c', 'SHOUT\n')
        said = self.series(good=False)
        self.assertIn('# shouted', said)
        self.assertIn('not ok 4 - checkpatch: 0-all/0002-net-second.patch', said)

    def test_figures_missing(self):
        self.configure()
        self.write('repository/docs/devel/vhost-dp-performance.rst', 'None.\n')
        self.assertIn('has no table', self.series('make', good=False))


if __name__ == '__main__':
    tap.main()
