/* SPDX-License-Identifier: MIT */
/* secret.c - one page for one attachment's keys. */
#include "guard/secret.h"

#include "guard/wipe.h"

int ltz__secret_init(struct ltz_secret *secret)
{
	*secret = (struct ltz_secret){ 0 };
	return ltz__sys_locked_map(LTZ_SECRET_BYTES, &secret->bytes, &secret->how);
}

int ltz__secret_freeze(struct ltz_secret *secret)
{
	return ltz__sys_locked_protect(secret->bytes, LTZ_SECRET_BYTES, false);
}

void ltz__secret_inherited(struct ltz_secret *secret)
{
	if (secret->bytes == NULL || (secret->how & LTZ_SYS_HIDDEN) != 0)
		return;
	secret->how = 0;
	if (ltz__sys_locked_again(secret->bytes, LTZ_SECRET_BYTES) == 0)
		secret->how = LTZ_SYS_LOCKED;
}

void ltz__secret_deinit(struct ltz_secret *secret)
{
	if (secret->bytes == NULL)
		return;
	/* A hidden page may be a parent's or child's too: the kernel zeroes it after the last of us. */
	if ((secret->how & LTZ_SYS_HIDDEN) == 0 &&
	    ltz__sys_locked_protect(secret->bytes, LTZ_SECRET_BYTES, true) == 0)
		ltz__wipe(secret->bytes, LTZ_SECRET_BYTES);
	ltz__sys_unmap(secret->bytes, LTZ_SECRET_BYTES);
	*secret = (struct ltz_secret){ 0 };
}
