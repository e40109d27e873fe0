/* SPDX-License-Identifier: MIT */
/* library.c - shared libraries that are loaded when they are first needed. */
#include "guard/library.h"

#include <dlfcn.h>

#include "base/error.h"
#include "sys/fault.h"

/* dlerror() has one line for each thread. */
static int missing(const char *soname)
{
	const char *why = dlerror();

	return ltz__fail(-ENOPKG, "%s", why != NULL ? why : soname);
}

int ltz__library_load(const char *soname, const char *const *names, size_t count, void **functions)
{
	/* All of it now: no lazy look-up, which could end the process, in the middle of an operation. */
	void *library = LTZ_PTR_CALL(NULL, dlopen(soname, RTLD_NOW | RTLD_LOCAL));

	if (library == NULL)
		return missing(soname);
	for (size_t i = 0; i < count; i++) {
		functions[i] = dlsym(library, names[i]);
		if (functions[i] == NULL)
			return missing(soname);
	}
	return 0;
}
