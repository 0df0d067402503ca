/*
 * vhost-dp stress: what ThreadSanitizer cannot know of QEMU's primitives
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Only in the build for ThreadSanitizer.  Nothing here is about vhost-dp:
 * its own code gets neither annotations nor suppressions.  Guest memory needs
 * none, as the guest of this test has a mapping of its own.
 */

#include "qemu/osdep.h"
#include <sanitizer/tsan_interface.h>
#include "qemu/thread.h"

/* The header of GCC 14 has them, that of GCC 12 has not */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
const char *__tsan_default_options(void);
const char *__tsan_default_suppressions(void);
#pragma GCC diagnostic pop
void __real_qemu_event_set(QemuEvent *ev);
void __real_qemu_event_wait(QemuEvent *ev);
void __wrap_qemu_event_set(QemuEvent *ev);
void __wrap_qemu_event_wait(QemuEvent *ev);

const char *__tsan_default_options(void)
{
    return "second_deadlock_stack=1:history_size=4";
}

const char *__tsan_default_suppressions(void)
{
    return
        /*
         * QSLIST_INSERT_HEAD_ATOMIC() reads the head as a plain variable; a
         * compare-and-swap then finds out whether it was right.
         */
        "race_top:aio_bh_enqueue\n"
        /*
         * Polls thread_id, which the new thread sets, but only goes on after
         * a semaphore.
         */
        "race_top:iothread_init\n";
}

/*
 * Who waits for a QemuEvent is released by the kernel, and does not read the
 * event again: what orders the two threads is the system call.
 */

void __wrap_qemu_event_set(QemuEvent *ev)
{
    __tsan_release(ev);
    __real_qemu_event_set(ev);
}

void __wrap_qemu_event_wait(QemuEvent *ev)
{
    __real_qemu_event_wait(ev);
    __tsan_acquire(ev);
}
