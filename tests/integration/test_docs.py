# SPDX-License-Identifier: GPL-2.0-or-later
"""What the documentation names exists: files, functions, types, tests."""

import re
import unittest

import tap

PAGES = sorted([*(tap.ROOT / 'docs').rglob('*.rst'), tap.ROOT / 'README.md',
                *(tap.ROOT / folder / 'README.rst' for folder in
                  ('integration', 'compat', 'tests/bench', 'tests/guest',
                   'tests/nested'))])

# A path from the root of the repository, or a pattern of such (vring-*.c.inc)
OURS = ('net/vhost-dp/', 'hw/virtio/vhost-dp/', 'include/net/vhost-dp',
        'include/hw/virtio/vhost-dp', 'qapi/vhost-dp', 'integration/',
        'compat/', 'scripts/', 'tests/', 'docs/devel/vhost-dp',
        'docs/system/devices/vhost-dp', 'util/uring-burst')
PATH = re.compile(r'`(?:build\.src/)?((?:%s)[\w./*-]*)`' %
                  '|'.join(map(re.escape, OURS)))

# A file of ours by its name alone
NAME = re.compile(r'`((?:port|pair|vring|tap|vq|vhost-net|vhost-user|ifwatch|'
                  r'af-packet|af-xdp|slirp|stream|fault|fuzz)[a-z-]*\.(?:[ch]|pml))`')
IDENTIFIER = re.compile(r'`((?:vhost_dp_|VhostDP|Port[A-Z]|port_)\w+)')

# Of the driver "foo" that vhost-dp-driver.rst explains, and what is made
EXAMPLES = {'net/vhost-dp/drivers/foo.c', 'integration/foo.toml',
            'docs/system/devices/vhost-dp/foo.rst',
            'tests/qtest/vhost-dp/foo-test.c', 'compat/X.Y'}


def found(pattern):
    """Each (page, match) of @pattern, a regular expression with one group."""
    for page in PAGES:
        for match in pattern.finditer(page.read_text(encoding='utf-8')):
            yield str(page.relative_to(tap.ROOT)), match[1]


class Docs(unittest.TestCase):
    def test_paths(self):
        paths = list(found(PATH))
        self.assertGreater(len(paths), 50)
        lost = [(page, path) for page, path in paths if path not in EXAMPLES
                and 'NAME' not in path and '...' not in path
                and not any(tap.ROOT.glob(path.rstrip('/')))]
        self.assertEqual(lost, [])

    def test_names(self):
        names = list(found(NAME))
        self.assertGreater(len(names), 10)
        have = {path.name for folder in ('net', 'hw', 'include', 'tests')
                for path in (tap.ROOT / folder).rglob('*')}
        self.assertEqual([(page, name) for page, name in names
                          if name not in have], [])

    def test_qtests(self):
        names = list(found(re.compile(r'`(?:vhost-dp/)?([a-z0-9-]+-test)`')))
        self.assertGreater(len(names), 10)
        folder = tap.ROOT / 'tests/qtest/vhost-dp'
        self.assertEqual([(page, name) for page, name in names
                          if not (folder / f'{name}.c').exists()], [])

    def test_identifiers(self):
        """Functions and types, as written in C or in the schema."""
        text = '\n'.join(
            path.read_text(encoding='utf-8')
            for folder in ('net', 'hw', 'include', 'qapi', 'integration',
                           'tests')
            for path in (tap.ROOT / folder).rglob('*')
            if path.suffix in ('.c', '.h', '.inc', '.json', '.toml'))
        words = set(re.findall(r'\w+', text))
        names = list(found(IDENTIFIER))
        self.assertGreater(len(names), 30)
        self.assertEqual([(page, name) for page, name in names
                          if name not in words
                          and not name.startswith('VhostDPFoo')], [])

    def test_index(self):
        """Each row of "Where do I change ..." names files that exist."""
        page = (tap.ROOT / 'docs/devel/vhost-dp.rst').read_text()
        table = page.partition('Where do I change ...\n')[2]
        rows = table.split('\n\n')[1].splitlines()[3:-1]
        self.assertGreater(len(rows), 20)
        for row in rows:
            paths = PATH.findall(row)
            self.assertTrue(paths, row)
            for path in paths:
                self.assertTrue(any(tap.ROOT.glob(path)), path)

    def test_toctree(self):
        """Each page is in a table of contents."""
        trees = (tap.ROOT / 'integration/docs.toml').read_text() + \
            (tap.ROOT / 'docs/system/devices/vhost-dp.rst').read_text()
        for page in PAGES:
            if page.suffix != '.rst' or page.stem == 'README' \
               or page.parent.name == 'vhost-dp':     # by a pattern
                continue
            self.assertRegex(trees, rf'(?m)^   \S*\b{page.stem}(\.rst)?$')


if __name__ == '__main__':
    tap.main()
