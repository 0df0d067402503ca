# SPDX-License-Identifier: GPL-2.0-or-later
"""Each driver has all that docs/devel/vhost-dp-driver.rst says it has."""

import re
import tomllib
import unittest

import tap
from prep import patches

PAGE = 'docs/devel/vhost-dp-driver.rst'
SOURCES = 'net/vhost-dp/drivers'

# Drivers that stand on drivers
FILTERS = ('dump', 'throttle')

# The device tests of a driver that has no peer
OTHER_TESTS = {'null': 'soft'}


def text_of(path):
    return (tap.ROOT / path).read_text(encoding='utf-8')


def sources():
    """Text by path, relative to the repository."""
    return {str(path.relative_to(tap.ROOT)): path.read_text(encoding='utf-8')
            for path in sorted((tap.ROOT / SOURCES).rglob('*.[ch]'))}


def driver_names():
    """NAME for each type vhost-dp-NAME that is defined in SOURCES."""
    return sorted({name for text in sources().values()
                   for name in re.findall(r'#define TYPE_\w+ "vhost-dp-(\S+)"',
                                          text)})


def is_compiled(path):
    listing = (tap.ROOT / path).parent / 'meson.build'
    return listing.exists() and f"'{path.rpartition('/')[2]}'" in \
        listing.read_text()


def in_table(name):
    """Has a table all edits for driver @name?"""
    wanted = (f"'name': 'vhost-dp-{name}'", f"'vhost-dp-{name}': ",
              f'``-object vhost-dp-{name},')
    tables = [path.read_text(encoding='utf-8')
              for path in (tap.ROOT / 'integration').glob('*.toml')]
    return all(any(text in table for table in tables) for text in wanted)


def in_a_patch(path):
    table = tomllib.loads(text_of(patches.TABLE))
    return any(patches.matches(path, pattern) for patch in table['patch']
               for pattern in patch.get('files', []))


def missing(name):
    """The files that driver @name lacks, or that do not know it."""
    own = [path for path, text in sources().items()
           if f'"vhost-dp-{name}"' in text and path.endswith(('.c', '.h'))]
    folder = own[0].rpartition('/')[0] if own else SOURCES
    source = next((path for path in (f'{folder}/{name}.c', *own)
                   if (tap.ROOT / path).exists()), f'{SOURCES}/{name}.c')
    test = OTHER_TESTS.get(name, name) + '-test'
    has = {
        f'{SOURCES}/{name}.c': bool(own),
        f'{folder}/meson.build': is_compiled(source),
        'qapi/vhost-dp-drivers.json':
            f'for vhost-dp-{name} objects' in
            text_of('qapi/vhost-dp-drivers.json'),
        f'integration/{name}.toml': in_table(name),
        patches.TABLE: bool(own) and in_a_patch(source),
        f'docs/system/devices/vhost-dp/{name}.rst':
            (tap.ROOT / f'docs/system/devices/vhost-dp/{name}.rst').exists(),
        f'tests/qtest/vhost-dp/{test}.c':
            (tap.ROOT / f'tests/qtest/vhost-dp/{test}.c').exists(),
        'tests/qtest/vhost-dp/meson.build':
            f"'{test}'" in text_of('tests/qtest/vhost-dp/meson.build'),
        'tests/qtest/vhost-dp/driver-table.c':
            name in FILTERS or f'.type = "vhost-dp-{name}"' in
            text_of('tests/qtest/vhost-dp/driver-table.c'),
    }
    return [path for path, there in has.items() if not there]


class Drivers(unittest.TestCase):
    def test_found(self):
        names = driver_names()
        for name in ('af-packet', 'null', 'slirp', 'tap', 'vhost-net',
                     'vhost-user'):
            self.assertIn(name, names)

    def test_complete(self):
        for name in driver_names():
            with self.subTest(name):
                self.assertEqual(missing(name), [],
                                 f'see the files of a driver in {PAGE}')

    def test_page_names_them(self):
        """They are nine, and the page has the same ones."""
        wanted = missing('foo')
        self.assertEqual(len(wanted), 9)
        chapter = text_of(PAGE).partition('The files of a driver\n')[2]
        self.assertEqual(re.findall(r'^``(\S+)``$', chapter, re.MULTILINE),
                         wanted)

    def test_qtests(self):
        """What is tested with each driver is tested with all of them."""
        table = text_of('tests/qtest/vhost-dp/driver-table.c')
        names = re.findall(r'\.type = "vhost-dp-(\S+)"', table)
        self.assertEqual(sorted(names), [name for name in driver_names()
                                         if name not in FILTERS])

    def test_ids(self):
        """
        object_get_canonical_path_component() walks through all objects, which
        only the holder of the BQL may do: once, in driver.c.
        """
        users = [str(path.relative_to(tap.ROOT))
                 for path in (tap.ROOT / 'net/vhost-dp').rglob('*.[ch]')
                 if 'object_get_canonical_path' in path.read_text()]
        self.assertEqual(users, ['net/vhost-dp/driver.c'])


if __name__ == '__main__':
    tap.main()
