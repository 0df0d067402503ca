#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# usage: run.sh PROGRAM [ARGUMENT...]
#
# ThreadSanitizer of GCC 12 and clang 14 does not start where the kernel puts
# mappings at random with more than 28 bits: do without that if we may.

if setarch -R true 2>/dev/null; then
    exec setarch -R "$@"
fi
exec "$@"
