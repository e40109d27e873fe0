/* SPDX-License-Identifier: MIT */
/* results.c - what latzero.h says that a function may give when the system fails it. Keep in step with its words. */
#include "sweep.h"

#include <string.h>

struct row {
	const char *function;
	bool passes_on; /* what the system said, whatever that is */
	int errors[4];  /* of these, in any case; 0: no more      */
};

static const struct row rows[] = {
	/* on keys: private memory for the lane of a thread, memory for the value */
	{ "ltz_add", false, { -ENOMEM, -ENOSPC } },
	{ "ltz_expire", false, { -ENOMEM, -ENOSPC } },
	{ "ltz_set", false, { -ENOMEM, -ENOSPC } },
	{ "ltz_clear", false, { -ENOMEM } },
	{ "ltz_delete", false, { -ENOMEM } },
	{ "ltz_pop", false, { -ENOMEM } },
	{ "ltz_check", false, { -ENOMEM } },
	/* on names */
	{ "ltz_create", true, { -ENOMEM, -ENOSPC, -ENOSYS, -ETIMEDOUT } },
	{ "ltz_connect", true, { -ENOMEM, -ENOSPC, -ENOSYS, -ETIMEDOUT } },
	{ "ltz_import", true, { -ENOMEM, -ENOSPC, -ENOSYS } },
	{ "ltz_export", true, { -ENOMEM } },
	{ "ltz_harden", true, { 0 } },
	{ "ltz_destroy", true, { -ENOMEM, -ENOSPC, -ENOSYS, -ETIMEDOUT } },
	{ "ltz_exists", true, { -ENOMEM } },
	{ "ltz_list", true, { -ENOMEM } },
	/* the first call of a forked child joins, as ltz_import does */
	{ "after fork", true, { -ENOMEM, -ENOSPC, -ENOSYS } },
};

bool result_is_documented(const char *function, int result, int error)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct row *row = &rows[i];

		if (strcmp(row->function, function) != 0)
			continue;
		if (row->passes_on && result == -error && error != EINTR)
			return true;
		for (unsigned e = 0; e < 4 && row->errors[e] != 0; e++)
			if (row->errors[e] == result)
				return true;
	}
	return false;
}
