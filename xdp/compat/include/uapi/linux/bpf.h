/* SPDX-License-Identifier: GPL-2.0-only */
/* bpf.h - bcc's own copy, which knows the helpers of the running bcc. */
#ifndef __LINUX_BPF_H__
#include <bcc/bpf.h>
#endif
