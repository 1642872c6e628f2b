/* SPDX-License-Identifier: GPL-2.0-only */
/* kconfig.h - what bcc's prelude expects from the kernel's own headers, and XDP code needs: integer types, no more.
 *
 * bcc includes this file first. With BCC_KERNEL_SOURCE pointing here, no kernel-headers package is needed, since
 * XDP programs use UAPI headers only.
 */
#ifndef LB_COMPAT_KCONFIG_H
#define LB_COMPAT_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1
#define CONFIG_64BIT 1

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef _Bool bool;
typedef unsigned long size_t;
typedef unsigned long uintptr_t;
typedef int pid_t;

#define NULL ((void *)0)
#define true 1
#define false 0

/* Named in the prototypes of bcc's helpers; never looked into. */
struct task_struct;
struct pt_regs;
struct file;
struct sock;
struct bpf_perf_event_value;

#endif
