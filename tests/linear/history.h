/* SPDX-License-Identifier: MIT */
/*
 * history.h - one operation as a worker logs it, and as check/ reads it.
 *
 * A history file is rounds: struct history_round, then `count` struct
 * history_op, little endian, until the end of the file.
 */
#ifndef LTZ_TEST_HISTORY_H
#define LTZ_TEST_HISTORY_H

#include <assert.h>
#include <stdint.h>

#define HISTORY_MAGIC UINT64_C(0x31727473696e696c)

enum history_kind { DO_GET, DO_LOOK, DO_SET, DO_DELETE, DO_POP, DO_ADD, KIND_COUNT };

/* What was read is not what anybody writes: parts of two values, or foreign bytes. */
#define TYPE_TORN 255

/*
 * Tickets come from one counter that all processes share: the operation lies
 * between its two. end 0: its process was killed in it, so it may have
 * happened or not.
 */
struct history_op {
	uint64_t call, end;
	int64_t arg;      /* set: the value. add: the increment                        */
	uint64_t extra;   /* set, delete: if_version. add: the initial value           */
	int64_t got;      /* get, pop: the value. add: the sum                         */
	uint64_t version; /* get, look, pop: the record's. set: the new one's          */
	int32_t result;
	uint32_t client;
	uint8_t kind, key;
	uint8_t flags;    /* enum ltz_set_flags                                        */
	uint8_t arg_type, got_type; /* LTZ_INT64, LTZ_BYTES, TYPE_TORN                 */
	uint8_t padding[3];
};
static_assert(sizeof(struct history_op) == 64, "check/history.go reads 64 bytes");

struct history_round {
	uint64_t magic, seed, round, count;
	uint32_t clients, kills, stops, resizes;
};
static_assert(sizeof(struct history_round) == 48, "check/history.go reads 48 bytes");

#endif
