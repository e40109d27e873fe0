/* SPDX-License-Identifier: MIT */
/* test_library.c - a library comes when asked for, or a line that says which one is missing. */
#include "guard/library.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "harness.h"
#include "sys/fault.h"

#define LIBM "libm.so.6"

TEST(functions_come_in_the_order_of_their_names)
{
	static const char *const names[] = { "floor", "ceil" };
	double (*functions[2])(double);
	void *addresses[2];

	ASSERT_EQ_INT(ltz__library_load(LIBM, names, 2, addresses), 0);
	memcpy(functions, addresses, sizeof(functions));
	EXPECT_TRUE(functions[0](1.5) == 1.0 && functions[1](1.5) == 2.0);
}

TEST(a_missing_library_is_named)
{
	static const char *const names[] = { "floor" };
	void *address;

	EXPECT_EQ_INT(ltz__library_load("libnowhere.so.1", names, 1, &address), -ENOPKG);
	EXPECT_CONTAINS(ltz__detail(), "libnowhere.so.1");
}

TEST(a_missing_function_is_named)
{
	static const char *const names[] = { "floor", "no_such_function_here" };
	void *addresses[2];

	EXPECT_EQ_INT(ltz__library_load(LIBM, names, 2, addresses), -ENOPKG);
	EXPECT_CONTAINS(ltz__detail(), "no_such_function_here");
}

#ifdef LTZ_FAULTS
TEST(a_refused_load_has_a_line_too)
{
	static const char *const names[] = { "floor" };
	void *address;

	ltz__fault_set_call(LTZ_FAULT_THREAD, 1, 12);
	EXPECT_EQ_INT(ltz__library_load(LIBM, names, 1, &address), -ENOPKG);
	EXPECT_STR(ltz__detail(), LIBM);
}
#endif
