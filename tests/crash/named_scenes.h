/* SPDX-License-Identifier: MIT */
/* named_scenes.h - work for victims that die at crash points, beside that of operations.c: named_core.c. */
#ifndef LTZ_TEST_NAMED_SCENES_H
#define LTZ_TEST_NAMED_SCENES_H

#include "named.h"
#include "scene.h"

/* What needs others in between, or failures, to come to pass. */
extern const struct operation more_operations[];
extern const unsigned more_operation_count;

#endif
