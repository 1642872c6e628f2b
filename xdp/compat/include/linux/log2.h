/* SPDX-License-Identifier: GPL-2.0-only */
/* log2.h - bcc includes it; nothing of it is used. */
