# SPDX-License-Identifier: GPL-2.0-or-later
"""The include graph of the data path goes down the list of its layers.

LAYERS says which layers a layer may include; each stands above them in the
list, so there are no circles.  A folder of a driver is a layer that needs no
entry.
"""

import fnmatch
import os
import re
import unittest

import tap

NET = 'net/vhost-dp/'
DRIVERS = NET + 'drivers/'
HW = 'hw/virtio/vhost-dp/'
HW_API = 'include/hw/virtio/vhost-dp-'
PLACES = (NET, HW, HW_API, 'include/net/vhost-dp')

# From the top: the layer, its files, which layers they include
LAYERS = [
    ('netdev', [NET + 'netdev[.-]*', NET + 'query.c', NET + 'stub.c'],
     ['port', 'control', 'api']),
    # The engine: see port-int.h
    ('port', [NET + 'port.*', NET + 'port-query.c', NET + 'port-settings.c'],
     ['port-turn', 'port-rx', 'port-tx', 'port-tx-share', 'port-frame', 'pair', 'control',
      'api']),
    ('port-turn', [NET + 'port-turn.*'],
     ['port-rx', 'port-tx', 'port-frame', 'port-int']),
    ('port-tx', [NET + 'port-tx.*'],
     ['port-tx-share', 'port-soft', 'port-int', 'offload']),
    ('port-tx-share', [NET + 'port-tx-int.h', NET + 'port-tx-share.*'],
     ['port-soft', 'port-int', 'offload']),
    ('port-rx', [NET + 'port-rx.*'],
     ['port-rx-into', 'port-rx-frame', 'port-int', 'offload']),
    ('port-rx-into', [NET + 'port-rx-int.h', NET + 'port-rx-into.c',
                      NET + 'port-rx-steer.*'],
     ['port-rx-frame', 'port-soft', 'offload', 'classify']),
    ('port-rx-frame', [NET + 'port-rx-frame.*'], ['port-int', 'offload']),
    ('port-soft', [NET + 'port-soft.*'], ['port-frame', 'offload']),
    ('port-frame', [NET + 'port-frame.*'], ['port-int']),
    ('port-int', [NET + 'port-int.h'],
     ['port-parts', 'pair', 'control', 'api']),
    ('port-parts', [NET + f'port-{part}.*'
                    for part in ('coalesce', 'flows', 'inbox', 'link',
                                 'outbox', 'poll')],
     ['port-stored', 'api']),
    ('port-stored', [NET + 'port-stored.h'], ['api']),
    ('vhost-ops', [HW + 'vhost-ops.*'], ['pair']),
    # Its files from top to bottom: see pair-int.h
    ('pair', [HW + 'pair[.-]*', HW_API + 'pair.h'],
     ['translate', 'vring', 'iotlb', 'memory']),
    ('translate', [HW + 'translate.*', HW_API + 'translate.h'],
     ['iotlb', 'memory']),
    ('vring', [HW + 'vring[.-]*', HW_API + 'vring.h'], ['iotlb', 'memory']),
    ('iotlb', [HW + 'iotlb.*', HW_API + 'iotlb.h'], ['memory']),
    ('memory', [HW + 'memory.*', HW_API + 'memory.h'], []),
    ('driver', [NET + 'driver.c'], ['api']),
    # Those of one file; other drivers are folders
    ('drivers', [DRIVERS + '*.[ch]'], ['filter', 'lib', 'offload', 'api']),
    # What drivers that stand on drivers have in common
    ('filter', [NET + 'filter.*'], ['api']),
    ('virtq', [DRIVERS + 'virtq/*'], ['lib', 'api']),
    ('lib', [DRIVERS + 'lib/*'], ['control', 'api']),
    ('offload', [NET + 'offload/[!c]*', NET + 'offload/csum.c'],
     ['control', 'api']),
    ('control', [NET + 'control.c', 'include/net/vhost-dp-control.h'],
     ['classify']),
    ('classify', [NET + 'offload/classify.*'], []),
    ('api', ['include/net/vhost-dp.h'], []),
]
# A folder of a driver
DRIVER_INCLUDES = ['filter', 'lib', 'offload', 'control', 'api']
# Those whose peer is a virtio device
WITH_VIRTQUEUES = ('tap', 'vhost-user')

# Headers of QEMU's that are none of a layer's business, by their beginning
QEMU_HEADERS = {
    ('vhost-ops', 'pair', 'translate', 'vring', 'iotlb', 'memory'): 'net/',
    ('offload', 'lib', 'virtq', 'api', 'driver', 'drivers'): 'hw/',
}


def layer_of(path):
    """The layer of @path and what it may include."""
    for name, patterns, includes in LAYERS:
        if any(fnmatch.fnmatchcase(path, pattern)
               and path.count('/') == pattern.count('/') for pattern in patterns):
            return name, includes
    match = re.match(DRIVERS + '([^/]+)/', path)
    if match:
        return f'drivers/{match[1]}', DRIVER_INCLUDES + (
            ['virtq'] if match[1] in WITH_VIRTQUEUES else [])
    return None, []


def qemu_header(layer, text):
    return any(text.startswith(start) and layer.partition('/')[0] in layers
               for layers, start in QEMU_HEADERS.items())


def wrong_edges(sources):
    """A sentence about each include in @sources (texts by path) that breaks
    the rules.
    """
    found = []
    for path, text in sources.items():
        layer, includes = layer_of(path)
        if layer is None:
            found.append(f'{path} belongs to no layer')
            continue
        for name in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE):
            target = next((place for place in (
                os.path.normpath(os.path.join(os.path.dirname(path), name)),
                name, f'include/{name}') if place in sources), None)
            if target is None:
                if qemu_header(layer, name):
                    found.append(f'{path}, of layer {layer}, '
                                 f'includes {name} of QEMU\'s')
                continue
            its = layer_of(target)[0]
            if its not in (layer, *includes) \
               and os.path.basename(target) != 'trace.h':
                found.append(f'{path}, of layer {layer}, includes {target}, '
                             f'of layer {its}')
    return found


def sources():
    """Text by path of what LAYERS is about."""
    found = {}
    for place in PLACES:
        for path in tap.ROOT.glob(f'{place}**/*' if place.endswith('/')
                                  else f'{place}*'):
            if path.suffix in ('.c', '.h', '.inc') and path.name != 'trace.h':
                found[str(path.relative_to(tap.ROOT))] = path.read_text()
    return found


class Layers(unittest.TestCase):
    def test_no_circles(self):
        above = set()
        for name, _, includes in reversed(LAYERS):
            self.assertLessEqual(set(includes), above, name)
            above.add(name)

    def test_tree(self):
        tree = sources()
        self.assertIn(DRIVERS + 'tap/tap.c', tree)
        self.assertIn('include/net/vhost-dp.h', tree)
        self.assertEqual(wrong_edges(tree), [])

    def test_names(self):
        """What other files can call has the prefix."""
        names = [(path, name) for path, text in sources().items()
                 if path.endswith('.h')
                 for name in re.findall(r'^(?!static|typedef|#| |/)[\w ]+?[ *]'
                                        r'([a-z]\w+)\([^;{]*\);', text, re.MULTILINE)]
        self.assertIn((NET + 'port.h', 'vhost_dp_port_query'), names)
        self.assertEqual([each for each in names
                          if not each[1].startswith('vhost_dp_')], [])

    def test_back_end_type(self):
        """virtio-net asks by net/virtio-net-backend.h, not by the type."""
        word = 'NET_CLIENT_DRIVER_VHOST_DP'
        users = {str(path.relative_to(tap.ROOT))
                 for folder in ('compat', 'hw', 'include', 'integration', 'net')
                 for path in (tap.ROOT / folder).rglob('*.*')
                 if path.is_file() and word in path.read_text()}
        self.assertEqual(users, {'integration/net.toml', NET + 'netdev.c',
                                 NET + 'netdev.h'})

    def check(self, path, *includes):
        """The sentences about a file with @includes."""
        sources = {name: '' for name in (
            NET + 'port.h', NET + 'port-turn.h', NET + 'port-rx.h',
            NET + 'netdev.h', NET + 'offload/offload.h',
            DRIVERS + 'virtq/vq.h', DRIVERS + 'lib/fds.h',
            DRIVERS + 'tap/tap-int.h', DRIVERS + 'other/other.h',
            HW + 'pair-int.h', HW_API + 'pair.h', 'include/net/vhost-dp.h')}
        sources[path] = ''.join(f'#include "{name}"\n' for name in includes)
        return wrong_edges(sources)

    def test_down(self):
        for path, *includes in (
                (NET + 'port.c', 'port.h', 'port-rx.h',
                 'hw/virtio/vhost-dp-pair.h'),
                (DRIVERS + 'tap/tap-x.c', 'tap-int.h', '../lib/fds.h',
                 'net/vhost-dp/drivers/virtq/vq.h', 'net/vhost-dp.h'),
                (DRIVERS + 'other/x.c', 'other.h', 'net/eth.h')):
            self.assertEqual(self.check(path, *includes), [])

    def test_up(self):
        for path, include in (
                (NET + 'port.c', 'netdev.h'),
                (NET + 'port-rx.c', 'port.h'),
                (NET + 'port-rx.c', 'port-turn.h'),
                (NET + 'port.c', 'drivers/tap/tap-int.h'),
                (NET + 'offload/x.c', 'net/vhost-dp/port.h'),
                (DRIVERS + 'null.c', 'virtq/vq.h'),
                (DRIVERS + 'other/x.c', '../tap/tap-int.h'),
                (DRIVERS + 'other/x.c', 'net/vhost-dp/drivers/virtq/vq.h'),
                (DRIVERS + 'other/x.c', 'hw/virtio/virtio.h'),
                (DRIVERS + 'tap/x.c', 'net/vhost-dp/port.h'),
                (DRIVERS + 'lib/x.c', '../tap/tap-int.h'),
                (HW + 'pair.c', 'net/vhost-dp.h'),
                (HW + 'vhost-ops.c', 'net/net.h'),
                (HW + 'translate.c', 'pair-int.h'),
                (HW + 'translate.c', 'hw/virtio/vhost-dp-pair.h'),
                (HW + 'vring.c', 'net/net.h'),
                (HW + 'vring.c', 'hw/virtio/vhost-dp-pair.h'),
                (NET + 'stranger.c', 'net/vhost-dp.h')):
            with self.subTest(path=path, include=include):
                self.assertEqual(len(self.check(path, include)), 1)


if __name__ == '__main__':
    tap.main()
