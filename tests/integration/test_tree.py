# SPDX-License-Identifier: GPL-2.0-or-later
"""Preparing a tree: copying QEMU, linking our files, configuring, building."""

import os
import shutil
import time

import fake
import tap


class Source(fake.FakeProject):
    def test_copy(self):
        before = sorted(self.qemu.rglob('*'))
        self.configure()
        self.assertTrue((self.tree / 'net' / 'theirs.c').is_file())
        self.assertFalse((self.tree / '.git').exists())
        self.assertFalse((self.tree / 'old-build').exists())
        self.assertEqual(sorted(self.qemu.rglob('*')), before)
        self.assertEqual((self.qemu / 'meson.build').read_text(),
                         "project('qemu')\nsubdir('tests')\n")

    def test_read_only_original(self):
        for path in [self.qemu, *self.qemu.rglob('*')]:
            path.chmod(path.stat().st_mode & ~0o222)
        self.addCleanup(lambda: [p.chmod(0o755) for p in
                                 [self.qemu, *self.qemu.rglob('*')]])
        self.configure()

    def test_other_release(self):
        for version in ('9.2.1', '9.2.50', '10.00', '11', 'x'):
            with self.subTest(version=version):
                self.make_qemu(version)
                said = self.configure(good=False)
                self.assertIn(f'QEMU {version}', said)
                self.assertIn('10.0', said)
                self.assertIn(str(self.qemu), said)
                self.assertFalse(self.tree.exists())

    def test_not_qemu(self):
        (self.qemu / 'VERSION').unlink()
        said = self.configure(good=False)
        self.assertIn('no QEMU source tree', said)
        self.assertIn(str(self.qemu), said)

    def test_other_project(self):
        (self.qemu / 'meson.build').write_text("project('other')\n")
        self.assertIn('no QEMU source tree', self.configure(good=False))

    def test_no_directory(self):
        shutil.rmtree(self.qemu)
        self.assertIn('no such directory', self.configure(good=False))

    def test_prepared_tree_is_no_original(self):
        self.configure()
        self.qemu = self.tree
        self.build = self.root / 'build2'
        self.assertIn('prepared', self.configure(good=False))

    def test_half_prepared(self):
        self.configure()
        (self.tree / '.vhost-dp' / 'source.json').unlink()
        for said in (self.configure(good=False), self.rebuild(good=False)):
            self.assertIn('not complete', said)
            self.assertIn('make distclean', said)

    def test_leftover_of_an_interrupted_copy(self):
        self.configure()
        tmp = self.tree.with_name(self.tree.name + '.tmp')
        self.run_script('distclean', f'--build-dir={self.build}')
        (tmp / 'junk').mkdir(parents=True)
        self.configure()
        self.assertFalse((self.tree / 'junk').exists())
        self.assertFalse(tmp.exists())

    def test_other_original(self):
        self.configure()
        other = self.top / 'other'
        shutil.copytree(self.qemu, other)
        first = self.qemu
        self.qemu = other
        said = self.configure(good=False)
        self.assertIn(str(first), said)
        self.assertIn(str(other), said)
        # without --qemu-src, what is there is used
        self.configure(src=False)


class Links(fake.FakeProject):
    def test_links(self):
        self.configure()
        link = self.tree / 'net' / 'own.c'
        self.assertTrue(link.is_symlink())
        self.assertFalse(os.path.isabs(os.readlink(link)))
        self.assertEqual(link.read_text(), 'own\n')
        self.assertEqual((self.tree / 'vhost-dp' / 'meson.build').resolve(),
                         self.root / 'meson.build')
        self.assertTrue((self.tree / 'vhost-dp/tests/guest/boot').exists())

    def test_unwanted_files(self):
        for name in ('x.c~', '.x.c.swp', 'x.c.orig', '__pycache__/x.pyc'):
            self.write(f'repository/net/{name}', '')
        self.configure()
        self.assertEqual(sorted(p.name for p in (self.tree / 'net').iterdir()),
                         ['own.c', 'theirs.c'])

    def test_new_file(self):
        self.configure()
        self.write('repository/hw/new/directory/file.c', 'new\n')
        self.assertIn('(changed: 1)', self.rebuild())
        self.assertEqual((self.tree / 'hw/new/directory/file.c').read_text(),
                         'new\n')

    def test_stale_link(self):
        self.write('repository/hw/new/directory/file.c', 'new\n')
        self.configure()
        shutil.rmtree(self.root / 'hw')
        self.rebuild()
        self.assertFalse((self.tree / 'hw').exists())
        self.assertTrue((self.tree / 'net' / 'own.c').exists())

    def test_moved_file(self):
        """A file that became a directory."""
        self.configure()
        (self.root / 'net/own.c').rename(self.root / 'own.c')
        self.write('repository/net/own.c/own.c', 'moved\n')
        self.run_script('update', f'--build-dir={self.build}')
        self.assertEqual((self.tree / 'net/own.c/own.c').read_text(),
                         'moved\n')

    def test_clash(self):
        self.write('repository/net/theirs.c', 'ours\n')
        said = self.configure(good=False)
        self.assertIn('net/theirs.c', said)
        self.assertFalse((self.tree / 'net' / 'theirs.c').is_symlink())
        self.assertEqual((self.tree / 'net' / 'theirs.c').read_text(),
                         'theirs\n')

    def test_new_clash(self):
        self.configure()
        self.write('repository/net/theirs.c', 'ours\n')
        self.assertIn('net/theirs.c', self.rebuild(good=False))

    def test_test_directories(self):
        self.configure()
        listing = self.tree / 'vhost-dp' / 'tests' / 'meson.build'
        self.assertIn("subdir('guest')", listing.read_text())
        self.assertNotIn('bench', listing.read_text())
        os.utime(listing, (1000, 1000))
        self.rebuild()
        self.assertEqual(listing.stat().st_mtime, 1000)
        self.write('repository/tests/bench/meson.build', '')
        self.rebuild()
        self.assertIn("subdir('bench')", listing.read_text())


class Building(fake.FakeProject):
    def calls(self):
        return (self.build / 'called').read_text().split('\n')

    def test_options(self):
        said = self.configure('--enable-asan', '--disable-tcg')
        calls = self.calls()
        self.assertEqual(calls[-3:-1], ['--enable-asan', '--disable-tcg'])
        self.assertIn('--target-list=x86_64-softmmu', calls)
        self.assertNotIn('--enable-vhost-dp', calls)
        self.assertIn('10.0.3', said)

    def test_own_option(self):
        """--enable-vhost-dp is passed once an edit defines it."""
        self.configure()
        os.utime(self.build / 'build.ninja', (1000, 1000))
        self.rebuild()
        self.assertEqual((self.build / 'build.ninja').stat().st_mtime, 1000)
        self.write('qemu/scripts/meson-buildoptions.sh', '')
        self.write('repository/integration/options.toml',
                   "[[edit]]\npath = 'scripts/meson-buildoptions.sh'\n"
                   "expression = '\\A'\n"
                   "replacement = '--enable-vhost-dp) ;;'\n")
        self.assertIn('Configuring QEMU', self.rebuild())
        self.assertIn('--enable-vhost-dp', self.calls())

    def test_build(self):
        self.configure()
        self.rebuild()
        self.assertEqual((self.build / 'result').read_text(), 'own\n')
        self.assertTrue((self.build / 'src').is_symlink())
        stamps = {path: path.lstat().st_mtime_ns
                  for path in self.tree.rglob('*')}
        time.sleep(0.02)
        self.write('repository/net/own.c', 'changed\n')
        self.rebuild()
        self.assertEqual((self.build / 'result').read_text(), 'changed\n')
        self.assertEqual(stamps, {path: path.lstat().st_mtime_ns
                                  for path in self.tree.rglob('*')})

    def test_failed_build(self):
        self.configure()
        (self.root / 'net' / 'own.c').unlink()
        said = self.rebuild(good=False)
        self.assertIn('build failed', said)
        self.assertIn('net/own.c', said)

    def test_failed_configure(self):
        (self.qemu / 'fail').touch()
        said = self.configure(good=False)
        self.assertIn('a line of the fake configure', said)
        self.assertIn('logs/configure.log', said)
        # make tries again, and goes on where it stopped
        self.rebuild(good=False)
        (self.tree / 'fail').unlink()
        self.rebuild()

    def test_source_removed(self):
        self.configure()
        shutil.rmtree(self.tree)
        self.assertIn('Copying the QEMU source', self.rebuild())
        self.assertTrue((self.tree / 'net' / 'own.c').exists())

    def test_bad_edit(self):
        self.write('repository/integration/more.toml',
                   "[[edit]]\npath = 'net/theirs.c'\nanchor = 'none'\n"
                   "after = 'new'\n")
        said = self.configure(good=False)
        self.assertIn('integration/more.toml', said)
        self.assertIn('net/theirs.c', said)
        self.assertFalse((self.build / 'called').exists())

    def test_path_with_space(self):
        """The fake project's path has one, and QEMU refuses it."""
        said = self.configure()
        self.assertTrue(self.build.is_symlink())
        self.assertNotIn(' ', os.path.realpath(self.build))
        self.assertIn(os.path.realpath(self.build), said)
        self.rebuild()

    def test_not_configured(self):
        self.assertIn('./configure', self.rebuild(good=False))

    def test_foreign_build_directory(self):
        self.build = self.top.parent / 'mine'
        self.build.mkdir()
        (self.build / 'precious').touch()
        self.assertIn('not empty', self.configure(good=False))
        self.assertIn('left alone', self.run_script(
            'distclean', f'--build-dir={self.build}', good=False))
        self.assertTrue((self.build / 'precious').exists())

    def test_empty_build_directory(self):
        self.build = self.top.parent / 'mine'
        self.build.mkdir()
        self.configure()
        self.assertFalse(self.build.is_symlink())

    def test_moved(self):
        self.build = self.top.parent / 'here'
        self.configure()
        moved = self.top.parent / 'there'
        shutil.copytree(self.build, moved, symlinks=True)
        self.build = moved
        self.assertIn('moved', self.rebuild(good=False))

    def test_distclean(self):
        self.configure()
        real = self.build.resolve()
        self.run_script('distclean', f'--build-dir={self.build}')
        self.assertFalse(os.path.lexists(self.build))
        self.assertEqual(list(real.parent.iterdir()), [])
        self.run_script('distclean', f'--build-dir={self.build}')
        self.assertTrue((self.root / 'net' / 'own.c').exists())


if __name__ == '__main__':
    tap.main()
