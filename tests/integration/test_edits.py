# SPDX-License-Identifier: GPL-2.0-or-later
"""The edit tables: what they may say, what they find, what they leave."""

import os
import tempfile
import textwrap
import unittest
from pathlib import Path

import tap
from prep import edits
from prep.common import PrepareError

FILE = textwrap.dedent('''\
    first {
        same
    }
    second {
        same
    }
    number = 41
    ''')


class Tables(unittest.TestCase):
    """Each test has a table and a tree with one file in it."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix='vhost dp ')
        self.addCleanup(scratch.cleanup)
        self.top = Path(scratch.name)
        self.tables = self.top / 'integration'
        self.tree = self.top / 'tree'
        self.pristine = self.top / 'tree' / '.pristine'
        (self.tree / 'dir').mkdir(parents=True)
        self.tables.mkdir()
        self.file = self.tree / 'dir' / 'file'
        self.file.write_text(FILE)

    def write(self, text, name='one.toml'):
        (self.tables / name).write_text(text)

    def edit(self, **fields):
        """One more edit of dir/file in the table."""
        fields = {'path': 'dir/file', **fields}
        with open(self.tables / 'one.toml', 'a', encoding='utf-8') as out:
            out.write('[[edit]]\n')
            for key, value in fields.items():
                out.write(f"{key} = '''{value}'''\n")

    def apply(self):
        return edits.apply(edits.load(self.tables), self.tree, self.pristine)

    def refused(self, *texts):
        """Nothing is written, and the message has all of @texts."""
        with self.assertRaises(PrepareError) as caught:
            self.apply()
        for text in texts:
            self.assertIn(text, str(caught.exception))
        self.assertEqual(self.file.read_text(), FILE)


class Finding(Tables):
    def test_after(self):
        self.edit(anchor='first', after='new\n')
        self.assertEqual(self.apply(), ['dir/file'])
        self.assertEqual(self.file.read_text(),
                         FILE.replace('first {\n', 'first {\nnew\n'))

    def test_before(self):
        self.edit(anchor='second', before='    new')
        self.apply()
        self.assertEqual(self.file.read_text(),
                         FILE.replace('second', '    new\nsecond'))

    def test_first_and_last_line(self):
        self.edit(anchor='first', before='top\n')
        self.edit(anchor='number', after='bottom\n')
        self.apply()
        self.assertEqual(self.file.read_text(), f'top\n{FILE}bottom\n')

    def test_file_without_last_newline(self):
        self.file.write_text('only')
        self.edit(anchor='only', after='new\n')
        self.apply()
        self.assertEqual(self.file.read_text(), 'only\nnew\n')

    def test_within(self):
        self.edit(within='second {', anchor='same', after='new\n')
        self.apply()
        self.assertEqual(self.file.read_text(),
                         FILE[::-1].replace('same\n'[::-1],
                                            'same\nnew\n'[::-1], 1)[::-1])

    def test_anchor_missing(self):
        self.edit(anchor='nowhere', after='new\n')
        self.refused('integration/one.toml, edit 1', 'dir/file', 'nowhere',
                     '0 times')

    def test_anchor_ambiguous(self):
        self.edit(anchor='same', after='new\n')
        self.refused('dir/file', "'same'", '2 times', 'lines 2, 5')

    def test_anchor_twice_in_a_line(self):
        self.file.write_text('twice twice\n')
        self.edit(anchor='twice', after='new\n')
        with self.assertRaisesRegex(PrepareError, '2 times'):
            self.apply()

    def test_within_missing(self):
        self.edit(within='third', anchor='same', after='new\n')
        self.refused('within', 'third', '0 times')

    def test_within_ambiguous(self):
        self.edit(within='{', anchor='same', after='new\n')
        self.refused('within', '2 times')

    def test_anchor_missing_after_within(self):
        self.edit(within='second', anchor='first', after='new\n')
        self.refused('first', '0 times', 'second')

    def test_file_missing(self):
        self.edit(path='dir/none', anchor='first', after='new\n')
        self.refused('dir/none', 'no file')

    def test_good_and_bad_edit(self):
        """A bad edit keeps the good ones from being written, too."""
        self.edit(anchor='first', after='new\n')
        self.edit(anchor='same', after='new\n')
        self.refused('edit 2')
        self.assertFalse(self.pristine.exists())

    def test_expression(self):
        self.edit(expression=r'^number = (\d+)$', replacement=r'number = \g<1>2')
        self.apply()
        self.assertEqual(self.file.read_text(), FILE.replace('41', '412'))

    def test_expression_count(self):
        self.edit(expression=r'sa..', replacement='x')
        self.refused('dir/file', 'sa..', '2 times')
        (self.tables / 'one.toml').unlink()
        self.edit(expression=r'z+', replacement='x')
        self.refused('dir/file', 'z+', '0 times')

    def test_expression_bad(self):
        self.edit(expression='(', replacement='x')
        self.refused('expression')

    def test_replacement_bad(self):
        self.edit(expression='number', replacement=r'\3')
        self.refused('replacement')

    def test_overlap(self):
        self.edit(expression='number = ', replacement='x')
        self.edit(expression='= 41', replacement='y')
        self.refused('edit 1', 'edit 2', 'same')

    def test_order_does_not_matter_for_matching(self):
        """The second edit's anchor stands in the text of the first, too."""
        self.edit(anchor='first', after='second {\n')
        self.edit(anchor='second', after='new\n')
        self.apply()
        self.assertEqual(
            self.file.read_text(),
            FILE.replace('second {\n', 'second {\nnew\n')
                .replace('first {\n', 'first {\nsecond {\n'))

    def test_order_at_one_place(self):
        self.edit(anchor='first', after='one\n')
        self.edit(anchor='first', after='two\n')
        self.write("[[edit]]\npath='dir/file'\nanchor='first'\n"
                   "after='three'\n", 'two.toml')
        self.apply()
        self.assertIn('first {\none\ntwo\nthree\n', self.file.read_text())

    def test_odd_bytes_survive(self):
        self.file.write_bytes(b'first \xff\r\nlast\r\n')
        self.edit(anchor='last', before='new\n')
        self.apply()
        self.assertEqual(self.file.read_bytes(),
                         b'first \xff\r\nnew\nlast\r\n')


class Syntax(Tables):
    def test_not_toml(self):
        self.write('[[edit]\n')
        self.refused('integration/one.toml')

    def test_unknown_keys(self):
        self.edit(anchor='first', behind='new\n')
        self.refused('unknown key behind')
        self.write('edits = 1\n')
        self.refused('unknown key edits')

    def test_incomplete(self):
        for fields in ({}, {'anchor': 'first'}, {'after': 'new'},
                       {'anchor': 'first', 'after': 'a', 'before': 'b'},
                       {'expression': 'first'}, {'replacement': 'first'},
                       {'expression': 'a', 'replacement': 'b', 'anchor': 'c'}):
            with self.subTest(fields=fields):
                (self.tables / 'one.toml').unlink(missing_ok=True)
                self.edit(**fields)
                self.refused('integration/one.toml, edit 1')

    def test_outside(self):
        for path in ('/etc/passwd', '../x', 'a/../../x', ''):
            with self.subTest(path=path):
                (self.tables / 'one.toml').unlink(missing_ok=True)
                self.edit(path=path, anchor='first', after='new')
                self.refused('not a file inside')

    def test_long_anchor(self):
        self.edit(anchor='first {\n    same', after='new')
        self.refused('longer than a line')


class Repeating(Tables):
    def stamp(self):
        """Give the file a time that a write would change."""
        os.utime(self.file, (1000, 1000))

    def test_twice_is_once(self):
        self.edit(anchor='first', after='new\n')
        self.apply()
        text = self.file.read_text()
        self.stamp()
        self.assertEqual(self.apply(), [])
        self.assertEqual(self.file.read_text(), text)
        self.assertEqual(self.file.stat().st_mtime, 1000)

    def test_changed_edit(self):
        self.edit(anchor='first', after='new\n')
        self.apply()
        (self.tables / 'one.toml').unlink()
        self.edit(anchor='second', after='other\n')
        self.apply()
        self.assertEqual(self.file.read_text(),
                         FILE.replace('second {\n', 'second {\nother\n'))

    def test_removed_edit(self):
        self.file.chmod(0o755)
        self.edit(anchor='first', after='new\n')
        self.apply()
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o755)
        (self.tables / 'one.toml').unlink()
        self.assertEqual(self.apply(), ['dir/file'])
        self.assertEqual(self.file.read_text(), FILE)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o755)
        self.assertEqual(list(edits.kept_paths(self.pristine)), [])
        self.assertEqual(self.apply(), [])

    def test_failed_edit_keeps_the_last_result(self):
        self.edit(anchor='first', after='new\n')
        self.apply()
        text = self.file.read_text()
        self.edit(anchor='nowhere', after='new\n')
        with self.assertRaises(PrepareError):
            self.apply()
        self.assertEqual(self.file.read_text(), text)


if __name__ == '__main__':
    tap.main()
