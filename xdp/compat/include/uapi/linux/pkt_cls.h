/* SPDX-License-Identifier: GPL-2.0-only */
/* A plain include would find this file again: bcc searches include/uapi too. */
#include_next <linux/pkt_cls.h>
