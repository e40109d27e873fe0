/* SPDX-License-Identifier: MIT */
/* argon2.c - Argon2id through libargon2. */
#include "guard/argon2.h"

#include <argon2.h>
#include <string.h>

#include "base/error.h"
#include "guard/library.h"
#include "guard/wipe.h"

#define LIBARGON2 "libargon2.so.1"

int ltz__argon2_check(const struct ltz_argon2_cost *cost)
{
	if (cost->memory_kib < LTZ_ARGON2_MEMORY_KIB_MIN || cost->memory_kib > LTZ_ARGON2_MEMORY_KIB_MAX ||
	    cost->passes < LTZ_ARGON2_PASSES_MIN || cost->passes > LTZ_ARGON2_PASSES_MAX ||
	    cost->lanes < 1 || cost->lanes > LTZ_ARGON2_LANES_MAX)
		return -ERANGE;
	return 0;
}

/* libargon2's pointers are not const, but it wipes inputs only when told to. */
static uint8_t *at(struct ltz_bytes bytes)
{
	return (uint8_t *)(uintptr_t)bytes.data;
}

static int result_of(int code)
{
	if (code == ARGON2_OK)
		return 0;
	return code == ARGON2_MEMORY_ALLOCATION_ERROR ? -ENOMEM : -EINVAL;
}

static int run(const struct ltz_argon2_cost *cost, const struct ltz_argon2_input *input, struct ltz_room out)
{
	static const char *const name = "argon2id_ctx";
	argon2_context context = {
		.out = out.data, .outlen = (uint32_t)out.size,
		.pwd = at(input->password), .pwdlen = (uint32_t)input->password.size,
		.salt = at(input->salt), .saltlen = (uint32_t)input->salt.size,
		.secret = at(input->secret), .secretlen = (uint32_t)input->secret.size,
		.ad = at(input->associated), .adlen = (uint32_t)input->associated.size,
		.t_cost = cost->passes, .m_cost = cost->memory_kib, .lanes = cost->lanes,
		.threads = 1, .version = ARGON2_VERSION_13, .flags = ARGON2_DEFAULT_FLAGS,
	};
	__typeof__(argon2id_ctx) *function;
	void *address;
	int result = ltz__library_load(LIBARGON2, &name, 1, &address);

	if (result < 0)
		return result;
	memcpy(&function, &address, sizeof(function));
	return result_of(function(&context));
}

int ltz__argon2id_at_any_cost(const struct ltz_argon2_cost *cost, const struct ltz_argon2_input *input,
                              struct ltz_room out)
{
	int result = -EINVAL;

	if (out.size >= LTZ_ARGON2_OUT_BYTES_MIN && out.size <= LTZ_ARGON2_OUT_BYTES_MAX &&
	    input->salt.size >= LTZ_ARGON2_SALT_BYTES_MIN && input->salt.size <= UINT32_MAX &&
	    input->password.size <= UINT32_MAX && input->secret.size <= UINT32_MAX &&
	    input->associated.size <= UINT32_MAX)
		result = run(cost, input, out);
	if (result < 0)
		ltz__wipe(out.data, out.size);
	return result;
}

int ltz__argon2id(const struct ltz_argon2_cost *cost, const struct ltz_argon2_input *input, struct ltz_room out)
{
	int result = ltz__argon2_check(cost);

	if (result == 0)
		return ltz__argon2id_at_any_cost(cost, input, out);
	ltz__wipe(out.data, out.size);
	return result;
}
