#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# usage: scripts/docs.sh BUILD
#
# QEMU's manual with our pages, by QEMU's own sphinx configuration, to
# BUILD/manual.  Every warning is an error.

set -eu

build=$(cd "$1" && pwd -P)
source=$build/src
python=/usr/bin/python3

echo "==> Building the manual"
nice "$python" -m sphinx -q -j auto -W --keep-going -D kerneldoc_werror=1 \
    -D "version=$(cat "$source/VERSION")" -D release=vhost-dp \
    -b html -d "$build/manual.p" "$source/docs" "$build/manual"
echo "    $build/manual/system/devices/vhost-dp.html"
