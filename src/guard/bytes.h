/* SPDX-License-Identifier: MIT */
/* bytes.h - how this floor takes bytes in and gives them out: where they are, and how many. */
#ifndef LTZ_GUARD_BYTES_H
#define LTZ_GUARD_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Read only. data may be NULL if size is 0. */
struct ltz_bytes {
	const void *data;
	size_t size;
};

/* To be written. data may be NULL if size is 0. */
struct ltz_room {
	void *data;
	size_t size;
};

#endif
