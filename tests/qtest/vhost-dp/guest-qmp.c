/*
 * vhost-dp: qtests, what QEMU says about a netdev and uses for it
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "guest.h"
#include "commands.h"

QDict *dp_query(QTestState *qts, const char *id)
{
    QDict *response = qtest_qmp(qts, "{ 'execute': 'query-vhost-dp' }");
    QDict *found = NULL;
    const QListEntry *entry;

    g_assert_true(qdict_haskey(response, "return"));
    QLIST_FOREACH_ENTRY(qdict_get_qlist(response, "return"), entry) {
        QDict *info = qobject_to(QDict, qlist_entry_obj(entry));

        if (!strcmp(qdict_get_str(info, "id"), id)) {
            found = info;
            qobject_ref(found);
        }
    }
    qobject_unref(response);
    return found;
}

static QDict *query_queue(QDict *info, unsigned queue)
{
    const QListEntry *entry = qlist_first(qdict_get_qlist(info, "queues"));
    unsigned i;

    for (i = 0; i < queue / 2; i++) {
        entry = qlist_next(entry);
        g_assert_nonnull(entry);
    }
    return qdict_get_qdict(qobject_to(QDict, qlist_entry_obj(entry)),
                           queue % 2 == DP_RX ? "rx" : "tx");
}

/* In a list of { @key: name, @value: number }; @missing if it is not there */
static uint64_t find_number(QList *list, const char *key, const char *name,
                            const char *value, uint64_t missing)
{
    const QListEntry *entry;

    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *item = qobject_to(QDict, qlist_entry_obj(entry));

        if (!strcmp(qdict_get_str(item, key), name)) {
            return qdict_get_int(item, value);
        }
    }
    return missing;
}

uint64_t dp_counter(QTestState *qts, const char *id, unsigned queue,
                    const char *name)
{
    QDict *info = dp_query(qts, id);
    QDict *q;
    uint64_t n;

    g_assert_nonnull(info);
    q = query_queue(info, queue);
    if (g_str_has_prefix(name, "drop:")) {
        n = find_number(qdict_get_qlist(q, "drops"), "reason",
                        name + strlen("drop:"), "frames", 0);
    } else if (g_str_has_prefix(name, "violation:")) {
        n = find_number(qdict_get_qlist(q, "violations"), "violation",
                        name + strlen("violation:"), "count", 0);
    } else {
        n = qdict_get_int(q, name);
    }
    qobject_unref(info);
    return n;
}

void dp_wait_counter(QTestState *qts, const char *id, unsigned queue,
                     const char *name, uint64_t value)
{
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;
    uint64_t n;

    while ((n = dp_counter(qts, id, queue, name)) != value) {
        if (g_get_monotonic_time() > end) {
            g_error("netdev %s, virtqueue %u, %s: %" PRIu64 ", should be %"
                    PRIu64, id, queue, name, n, value);
        }
        g_usleep(500);
    }
}

uint64_t dp_filter_counter(QTestState *qts, const char *id, unsigned filter,
                           const char *name)
{
    QDict *info = dp_query(qts, id);
    const QListEntry *entry = qlist_first(qdict_get_qlist(info, "filters"));
    uint64_t value;

    while (filter--) {
        entry = qlist_next(entry);
    }
    value = find_number(qdict_get_qlist(qobject_to(QDict,
                                                   qlist_entry_obj(entry)),
                                        "counters"), "name", name, "value",
                        UINT64_MAX);
    qobject_unref(info);
    g_assert_cmpuint(value, !=, UINT64_MAX);
    return value;
}

char *dp_queue_state(QTestState *qts, const char *id, unsigned queue)
{
    QDict *info = dp_query(qts, id);
    char *state;

    g_assert_nonnull(info);
    state = g_strdup(qdict_get_str(query_queue(info, queue), "state"));
    qobject_unref(info);
    return state;
}

bool dp_link_is(DpRig *r, bool up, const char *word)
{
    QDict *info = dp_query(r->qts, "vd0");
    const char *reason = qdict_get_try_str(info, "link-reason");
    bool is = qdict_get_bool(info, "link-up") == up &&
              (!word || (reason && strstr(reason, word)));

    qobject_unref(info);
    return is && (!r->nic || dp_nic_link(r->nic) == up);
}

void dp_check_error(QDict *response, ...)
{
    const char *text, *want;
    va_list ap;

    if (!qdict_haskey(response, "error")) {
        g_error("the command should have failed");
    }
    text = qdict_get_str(qdict_get_qdict(response, "error"), "desc");
    g_test_message("%s", text);
    va_start(ap, response);
    while ((want = va_arg(ap, const char *))) {
        if (!strstr(text, want)) {
            g_test_message("\"%s\" should be in the error", want);
            g_test_fail();
        }
    }
    va_end(ap);
    qobject_unref(response);
}

void dp_run_good(QTestState *qts, const char *command)
{
    QDict *response;

    qtest_qmp_send_raw(qts, "%s", command);
    response = qtest_qmp_receive(qts);
    if (!qdict_haskey(response, "return")) {
        g_error("%s: %s", command,
                qdict_get_str(qdict_get_qdict(response, "error"), "desc"));
    }
    qobject_unref(response);
}

void dp_check_goes_on(QTestState *qts)
{
    QDict *info;

    dp_run_good(qts, ADD_TAP("good"));
    dp_run_good(qts, ADD_NETDEV("good", "good"));
    g_assert_true(dp_if_exists("good"));
    info = dp_query(qts, "good");
    g_assert_nonnull(info);
    g_assert_true(qdict_get_bool(info, "link-up"));
    qobject_unref(info);
    dp_run_good(qts, DEL_NETDEV("good"));
    g_assert_null(dp_query(qts, "good"));
    dp_run_good(qts, DEL_OBJECT("good"));
    dp_wait_until(!dp_if_exists("good"));
}

void dp_check_bad_command(const void *opaque)
{
    const DpBadCommand *bad = opaque;
    QTestState *qts = qtest_init("-M pc -nodefaults");

    dp_run_good(qts, ADD_DRIVER("null", "null0", ""));
    qtest_qmp_send_raw(qts, "%s", bad->command);
    dp_check_error(qtest_qmp_receive(qts), bad->texts[0], bad->texts[1],
                   bad->texts[2], NULL);
    dp_check_goes_on(qts);
    qtest_quit(qts);
}

void dp_add_bad_commands(const char *prefix, const DpBadCommand *commands,
                         unsigned n, void (*fn)(const void *command))
{
    unsigned i;

    for (i = 0; i < n; i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", prefix,
                                                commands[i].name);

        dp_add_test(path, &commands[i], fn);
    }
}

void dp_send_fds(QTestState *qts, const int *fd, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        char name[] = { 'a' + i, 0 };
        int one = fd[i];

        qtest_qmp_fds_assert_success(qts, &one, 1, "{ 'execute': 'getfd',"
                                     " 'arguments': { 'fdname': %s } }", name);
        close(fd[i]);
    }
}

void dp_close_fds(QTestState *qts, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        char name[] = { 'a' + i, 0 };

        qtest_qmp_assert_success(qts, "{ 'execute': 'closefd',"
                                 " 'arguments': { 'fdname': %s } }", name);
    }
}

static unsigned count_entries(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, name);
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

/* Drivers are attached soon after netdev_add, in the IOThreads */
static bool is_settled(QTestState *qts)
{
    QDict *response = qtest_qmp(qts, "{ 'execute': 'query-vhost-dp' }");
    const QListEntry *entry, *pair;
    bool settled = true;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(response, "return"), entry) {
        QDict *info = qobject_to(QDict, qlist_entry_obj(entry));

        if (qdict_haskey(info, "link-reason")) {
            /* Or it says here why not */
            continue;
        }
        QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "queues"), pair) {
            settled &= qdict_get_bool(qobject_to(QDict, qlist_entry_obj(pair)),
                                      "attached");
        }
    }
    qobject_unref(response);
    return settled;
}

void dp_wait_settled(QTestState *qts)
{
    dp_wait_until(is_settled(qts));
}

static DpUsage count_usage(QTestState *qts)
{
    return (DpUsage) {
        .fds = count_entries(qtest_pid(qts), "fd"),
        .threads = count_entries(qtest_pid(qts), "task"),
    };
}

DpUsage dp_usage(QTestState *qts)
{
    dp_wait_settled(qts);
    return count_usage(qts);
}

void dp_check_usage(QTestState *qts, DpUsage before)
{
    int64_t end = g_get_monotonic_time() + DP_TIMEOUT_US;
    DpUsage now = count_usage(qts);

    while (now.fds > before.fds || now.threads > before.threads) {
        if (g_get_monotonic_time() > end) {
            g_error("leak: %u descriptors, before %u; %u threads, before %u",
                    now.fds, before.fds, now.threads, before.threads);
        }
        g_usleep(1000);
        now = count_usage(qts);
    }
}

struct rlimit dp_limit_fds(QTestState *qts, unsigned left)
{
    struct rlimit limit, old;
    unsigned fd;

    g_assert_cmpint(prlimit(qtest_pid(qts), RLIMIT_NOFILE, NULL, &old), ==, 0);
    for (fd = 0;; fd++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fd/%u",
                                                (int)qtest_pid(qts), fd);
        struct stat st;

        if (lstat(path, &st) < 0 && !left--) {
            break;
        }
    }
    limit = old;
    limit.rlim_cur = fd;
    dp_set_limit_fds(qts, limit);
    return old;
}

void dp_set_limit_fds(QTestState *qts, struct rlimit limit)
{
    g_assert_cmpint(prlimit(qtest_pid(qts), RLIMIT_NOFILE, &limit, NULL), ==,
                    0);
}

size_t dp_heap(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps", qtest_pid(qts));
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    bool counts = false;
    size_t sum = 0;
    unsigned i;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i]; i++) {
        unsigned long start, end, kib;
        char mode[5];

        if (sscanf(lines[i], "%lx-%lx %4s", &start, &end, mode) == 3) {
            counts = mode[3] == 'p' && mode[2] != 'x';
        } else if (counts && sscanf(lines[i], "Anonymous: %lu", &kib) == 1) {
            sum += kib * 1024;
        }
    }
    g_assert_cmpuint(sum, >, 0);
    return sum;
}

unsigned dp_rounds(unsigned n)
{
    const char *text = getenv("VHOST_DP_QTEST_ROUNDS");

    return text ? MAX(1, atoi(text)) : n;
}

/* ---- vhost-dp-set-driver ---- */

QDict *dp_try_set_driver(QTestState *qts, const char *driver)
{
    return qtest_qmp(qts, "{ 'execute': 'vhost-dp-set-driver', 'arguments': {"
                     " 'id': 'vd0', 'driver': %s } }", driver);
}

void dp_check_driver(QTestState *qts, const char *driver)
{
    QDict *info = dp_query(qts, "vd0");

    g_assert_cmpstr(qdict_get_str(info, "driver"), ==, driver);
    qobject_unref(info);
}

void dp_set_driver(QTestState *qts, const char *driver)
{
    QDict *response = dp_try_set_driver(qts, driver);

    if (!qdict_haskey(response, "return")) {
        g_error("%s: %s", driver,
                qdict_get_str(qdict_get_qdict(response, "error"), "desc"));
    }
    qobject_unref(response);
    dp_check_driver(qts, driver);
}
