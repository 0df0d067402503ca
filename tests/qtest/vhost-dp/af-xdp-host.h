/*
 * vhost-dp: qtests of vhost-dp-af-xdp, what others load into the kernel
 *
 * Copyright (c) 2026 The vhost-dp developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VHOST_DP_AF_XDP_HOST_H
#define TESTS_QTEST_VHOST_DP_AF_XDP_HOST_H

/* A map of sockets, as the driver or somebody else makes it; or -1 */
int dp_xdp_map_new(unsigned entries);

/* The XDP program of an interface, or 0 */
uint32_t dp_xdp_prog_id(const char *name);

/*
 * Somebody else's program on v0, with @map.  Returns its link, which removes
 * it when closed.
 */
int dp_xdp_prog_attach(int map);

/*
 * Take the program off an interface by force, though others have its link, as
 * 'bpftool link detach' does
 */
void dp_xdp_link_detach(const char *name);

/*
 * An AF_XDP socket as somebody else would open it for QEMU, in @map at @key;
 * @map may be -1
 */
int dp_xdp_socket_new(int map, uint32_t key);

/*
 * The program that libxdp attaches by default to v0, by netlink as it does.
 * Returns its number.
 */
uint32_t dp_xdp_attach_default(void);
void dp_xdp_detach_default(void);

/* Does @name leave it to the receiver to put VLAN tags into frames? */
void dp_vlan_set_offload(const char *name, bool on);

/* From now on what @name sends has this tag, beside the frame if it can */
void dp_vlan_push(const char *name, uint16_t proto, uint16_t tci);

void dp_bridge_new(const char *name);

/* A BPF file system of the test's own, in a directory that is to be freed */
char *dp_bpf_fs_mount(void);
void dp_bpf_fs_unmount(const char *dir);

#endif
