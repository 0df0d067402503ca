# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/prepare.py is made of: see there."""
