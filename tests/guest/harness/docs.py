# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples of the pages about drivers, taken from the pages as a reader would copy them.

A page (docs/system/devices/vhost-dp/*.rst) has two literal blocks, each behind a comment that marks it:

    .. vhost-dp-example: host

    ::

        shell commands, the last of which is QEMU

    .. vhost-dp-example: guest

and so on. (The page about libvirt has blocks for virsh and of libvirt's XML, which have a code-block of their
language in place of the "::".) A line that ends in a backslash goes on in the next one.
"""

import os
import re
import textwrap
from xml.etree import ElementTree

PAGES = os.path.join(os.path.dirname(os.path.realpath(__file__)),
                     "..", "..", "..", "docs", "system", "devices", "vhost-dp")
HOSTING = "../vhost-dp-hosting"     # libvirt, tuning: a page about no driver


class BadPage(Exception):
    """A page has no example, or one that is not of the form that is looked for."""


def pages():
    """The names of the pages, without .rst."""
    return sorted(name[:-len(".rst")] for name in os.listdir(PAGES) if name.endswith(".rst"))


def _block(page, all_of_it, kind):
    found = re.findall(rf"^\.\. vhost-dp-example: {kind}\n\n(?:::|\.\. code-block:: \w+)\n\n((?:[ ]+[^\n]*\n|\n)+)",
                       all_of_it, re.MULTILINE)
    if len(found) != 1:
        raise BadPage(f"{page}.rst has {len(found)} blocks behind '.. vhost-dp-example: {kind}', not one")
    return textwrap.dedent(found[0]).strip() + "\n"


def text(page):
    """All of a page."""
    with open(os.path.join(PAGES, page + ".rst")) as f:
        return f.read()


def example(page):
    """What the page says: (commands before QEMU, QEMU's command, commands in the guest)."""
    host = _block(page, text(page), "host")
    before, name, command = host.rpartition("qemu-system-x86_64 ")
    if not name or before and not before.endswith("\n"):
        raise BadPage(f"{page}.rst: the last command of its example is not qemu-system-x86_64")
    return before, name + command, _block(page, text(page), "guest")


def libvirt_arguments():
    """What libvirt's XML on the page about it puts on QEMU's command line."""
    root = ElementTree.fromstring(_block(HOSTING, text(HOSTING), "libvirt"))
    space = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    return [arg.get("value") for arg in root.find(f"{space}commandline").findall(f"{space}arg")]


def virsh_commands():
    """The commands by which a descriptor is passed."""
    return _block(HOSTING, text(HOSTING), "virsh")
