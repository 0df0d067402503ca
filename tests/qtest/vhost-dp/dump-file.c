/*
 * vhost-dp: qtests, a reader of pcapng files
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "dump-file.h"

/* What is left of a block or a file */
typedef struct Part {
    const uint8_t *p;
    size_t left;
} Part;

static Part part_take(Part *from, size_t len)
{
    Part part = { from->p, len };

    g_assert_cmpuint(len, <=, from->left);
    from->p += len;
    from->left -= len;
    return part;
}

static uint16_t get16(Part *part)
{
    uint16_t value;

    memcpy(&value, part_take(part, sizeof(value)).p, sizeof(value));
    return value;
}

static uint32_t get32(Part *part)
{
    uint32_t value;

    memcpy(&value, part_take(part, sizeof(value)).p, sizeof(value));
    return value;
}

static uint64_t get64(Part *part)
{
    uint64_t value;

    memcpy(&value, part_take(part, sizeof(value)).p, sizeof(value));
    return value;
}

static uint64_t get_time(Part *part)
{
    uint64_t high = get32(part);

    return high << 32 | get32(part);
}

/* @len bytes, and up to three of padding */
static Part get_padded(Part *part, size_t len)
{
    Part value = part_take(part, len);
    Part padding = part_take(part, -len % 4);

    g_assert_cmpmem(padding.p, padding.left, "\0\0\0", padding.left);
    return value;
}

static char *get_text(const Part *value)
{
    return g_strndup((const char *)value->p, value->left);
}

/* The next option of a block; false: it was the last one */
static bool get_option(Part *block, uint16_t *code, Part *value)
{
    *code = get16(block);
    *value = get_padded(block, get16(block));
    if (*code) {
        return true;
    }
    g_assert_cmpuint(value->left, ==, 0);
    g_assert_cmpuint(block->left, ==, 0);
    return false;
}

static void read_section(DumpFile *file, Part *block)
{
    uint16_t code;
    Part value;

    g_assert_null(file->application);
    g_assert_cmphex(get32(block), ==, 0x1a2b3c4d);
    g_assert_cmpuint(get16(block), ==, 1);
    g_assert_cmpuint(get16(block), ==, 0);
    g_assert_cmphex(get64(block), ==, UINT64_MAX);
    while (get_option(block, &code, &value)) {
        g_assert_cmpuint(code, ==, 4);
        file->application = get_text(&value);
    }
    g_assert_nonnull(file->application);
}

static void read_interface(DumpFile *file, Part *block)
{
    uint8_t time_unit = 0;
    uint16_t code;
    Part value;

    g_assert_null(file->name);
    g_assert_cmpuint(get16(block), ==, 1);      /* Ethernet */
    g_assert_cmpuint(get16(block), ==, 0);
    file->snaplen = get32(block);
    while (get_option(block, &code, &value)) {
        switch (code) {
        case 2:
            file->name = get_text(&value);
            break;
        case 3:
            file->description = get_text(&value);
            break;
        case 9:
            g_assert_cmpuint(value.left, ==, 1);
            time_unit = *value.p;
            break;
        case 11:
            g_assert_cmpuint(*part_take(&value, 1).p, ==, 0);
            file->expression = get_text(&value);
            break;
        case 13:
            g_assert_cmpmem(value.p, value.left, "\0", 1);
            break;
        default:
            g_error("option %u of an interface", code);
        }
    }
    g_assert_cmpuint(time_unit, ==, 9);
    g_assert_nonnull(file->name);
    g_assert_nonnull(file->description);
}

static void free_frame(void *opaque)
{
    DumpFrame *frame = opaque;

    g_free(frame->bytes);
    g_free(frame->comment);
    g_free(frame);
}

static void read_frame(DumpFile *file, Part *block)
{
    DumpFrame *frame = g_new0(DumpFrame, 1);
    uint16_t code;
    Part value;

    g_assert_cmpuint(get32(block), ==, 0);
    frame->time = get_time(block);
    frame->kept = get32(block);
    frame->len = get32(block);
    g_assert_cmpuint(frame->kept, ==, MIN(frame->len, file->snaplen));
    value = get_padded(block, frame->kept);
    frame->bytes = g_memdup2(value.p, value.left);
    while (get_option(block, &code, &value)) {
        switch (code) {
        case 1:
            frame->comment = get_text(&value);
            break;
        case 2:
            frame->flags = get32(&value);
            g_assert_cmpuint(value.left, ==, 0);
            break;
        case 6:
            frame->queue = get32(&value);
            g_assert_cmpuint(value.left, ==, 0);
            break;
        default:
            g_error("option %u of a frame", code);
        }
    }
    g_ptr_array_add(file->frames, frame);
}

static void read_stats(DumpFile *file, Part *block)
{
    uint64_t at;
    uint16_t code;
    Part value;

    g_assert_cmpuint(get32(block), ==, 0);
    at = get_time(block);
    while (get_option(block, &code, &value)) {
        g_assert_cmpuint(value.left, ==, 8);
        switch (code) {
        case 2:
            file->start = get_time(&value);
            break;
        case 3:
            file->end = get_time(&value);
            break;
        case 4:
            file->seen = get64(&value);
            break;
        case 5:
            file->lost = get64(&value);
            break;
        case 6:
            file->matched = get64(&value);
            break;
        default:
            g_error("option %u of the statistics", code);
        }
    }
    g_assert_cmpuint(file->end, ==, at);
    file->has_stats = true;
}

/* Returns false if there is none that is whole */
static bool get_block(Part *rest, uint32_t *type, Part *block)
{
    Part header = *rest;
    uint32_t len;

    if (rest->left < 12) {
        return false;
    }
    *type = get32(&header);
    len = get32(&header);
    g_assert_cmpuint(len, >=, 12);
    g_assert_cmpuint(len % 4, ==, 0);
    if (len > rest->left) {
        return false;
    }
    part_take(rest, 8);
    *block = part_take(rest, len - 12);
    g_assert_cmpuint(get32(rest), ==, len);
    return true;
}

DumpFile *dump_file_read(const char *path)
{
    DumpFile *file = g_new0(DumpFile, 1);
    g_autofree char *text = NULL;
    g_autoptr(GError) err = NULL;
    uint32_t type;
    Part rest, block;

    file->frames = g_ptr_array_new_with_free_func(free_frame);
    g_file_get_contents(path, &text, &file->size, &err);
    g_assert_no_error(err);
    rest = (Part) { (uint8_t *)text, file->size };
    while (get_block(&rest, &type, &block)) {
        g_assert_false(file->has_stats);
        switch (type) {
        case 0x0a0d0d0a:
            read_section(file, &block);
            break;
        case 1:
            read_interface(file, &block);
            break;
        case 5:
            read_stats(file, &block);
            break;
        case 6:
            g_assert_nonnull(file->name);
            read_frame(file, &block);
            break;
        default:
            g_error("block of type %u", type);
        }
    }
    g_assert_cmpuint(rest.left, ==, 0);
    return file;
}

void dump_file_free(DumpFile *file)
{
    g_ptr_array_free(file->frames, true);
    g_free(file->application);
    g_free(file->name);
    g_free(file->description);
    g_free(file->expression);
    g_free(file);
}
