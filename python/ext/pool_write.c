/* SPDX-License-Identifier: MIT */
/*
 * pool_write.c - set and its kin.
 */
#include "core.h"

int lz_store(lz_pool *self, const ltz_key *key, const ltz_value *value,
             const struct ltz_set_options *options)
{
	ltz_pool *handle = lz_enter(self);
	int result;

	if (handle == NULL)
		return -1;
	if (value->size > LZ_LARGE) {
		PyThreadState *thread = lz_release(self);
		result = ltz_set(handle, key, value, options, NULL);
		lz_reacquire(self, thread);
	} else {
		result = ltz_set(handle, key, value, options, NULL);
	}
	lz_leave(self);
	if (__builtin_expect(result < 0, 0)) {
		lz_raise_key(self->state, result, key);
		return -1;
	}
	return result;
}

/* One key, one value. A result of ltz_set, or -1 with an exception. */
static int write_one(lz_pool *self, PyObject *key_object, PyObject *value_object,
                     const struct ltz_set_options *options)
{
	struct lz_key key;
	struct lz_value value;
	int result = -1;

	if (lz_key_encode(self->state, key_object, &key) < 0)
		return -1;
	if (lz_value_encode(self->state, value_object, self->no_pickle, &value) == 0) {
		result = lz_store(self, &key.key, &value.value, options);
		lz_value_drop(&value);
	}
	lz_key_drop(&key);
	return result;
}

/* ---- set -------------------------------------------------------------------------- */

enum { SET_KEY, SET_VALUE, SET_AUTO_CLEAN, SET_NX, SET_XX, SET_KEEP_TTL, SET_IF_VERSION, SET_COUNT };

static int add_flag(PyObject *given, unsigned flag, struct ltz_set_options *options)
{
	int yes = given == NULL ? 0 : PyObject_IsTrue(given);

	if (yes > 0)
		options->flags |= flag;
	return yes < 0 ? -1 : 0;
}

static int read_version(PyObject *given, struct ltz_set_options *options)
{
	if (!PyLong_Check(given) || PyBool_Check(given)) {
		PyErr_Format(PyExc_TypeError, "if_version must be an int, not %.100s",
		             Py_TYPE(given)->tp_name);
		return -1;
	}
	unsigned long long version = PyLong_AsUnsignedLongLong(given);
	if (version == (unsigned long long)-1 && PyErr_Occurred()) {
		PyErr_SetString(PyExc_ValueError, "if_version must be a version from get_versioned(), or 0");
		return -1;
	}
	options->if_version = version;
	options->flags |= LTZ_IF_VERSION;
	return 0;
}

static int read_options(PyObject *const *given, struct ltz_set_options *options)
{
	PyObject *auto_clean = given[SET_AUTO_CLEAN], *version = given[SET_IF_VERSION];

	if (auto_clean != NULL && auto_clean != Py_None &&
	    lz_milliseconds(auto_clean, "auto_clean", &options->ttl_ms) < 0)
		return -1;
	if (add_flag(given[SET_NX], LTZ_NX, options) < 0 ||
	    add_flag(given[SET_XX], LTZ_XX, options) < 0 ||
	    add_flag(given[SET_KEEP_TTL], LTZ_KEEP_TTL, options) < 0)
		return -1;
	if (version != NULL && version != Py_None && read_version(version, options) < 0)
		return -1;
	if ((options->flags & LTZ_NX) && (options->flags & LTZ_XX)) {
		PyErr_SetString(PyExc_ValueError, "nx and xx exclude each other");
		return -1;
	}
	if ((options->flags & LTZ_KEEP_TTL) && options->ttl_ms != 0) {
		PyErr_SetString(PyExc_ValueError, "auto_clean and keep_ttl exclude each other");
		return -1;
	}
	return 0;
}

static PyObject *set_answer(int result)
{
	return result < 0 ? NULL : PyBool_FromLong(result == LTZ_OK);
}

PyObject *lz_pool_set(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const struct lz_signature signature = {
		"set", 2, 3, {"key", "value", "auto_clean", "nx", "xx", "keep_ttl", "if_version"}};
	lz_pool *self = (lz_pool *)object;
	struct ltz_set_options options = {0};
	PyObject *given[SET_COUNT];

	if (kwnames == NULL && nargs == 2)
		return set_answer(write_one(self, args[0], args[1], NULL));
	if (lz_args(&signature, args, nargs, kwnames, given) < 0 || read_options(given, &options) < 0)
		return NULL;
	return set_answer(write_one(self, given[SET_KEY], given[SET_VALUE], &options));
}

PyObject *lz_pool_setdefault(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
	static const struct lz_signature signature = {"setdefault", 1, 2, {"key", "default"}};
	static const struct ltz_set_options if_absent = {.flags = LTZ_NX};
	lz_pool *self = (lz_pool *)object;
	PyObject *given[2];
	struct lz_key key;
	ltz_item item;

	if (lz_args(&signature, args, nargs, kwnames, given) < 0)
		return NULL;
	if (self->readonly)
		return lz_raise_readonly(self->state);
	PyObject *fallback = given[1] == NULL ? Py_None : given[1];
	if (lz_key_encode(self->state, given[0], &key) < 0)
		return NULL;
	PyObject *value;
	for (;;) {
		bool found;
		value = lz_fetch(self, &key.key, &item, &found);
		if (found)
			break;
		int result = write_one(self, given[0], fallback, &if_absent);
		if (result == LTZ_REFUSED)
			continue; /* another one came first: theirs is the value */
		value = result < 0 ? NULL : Py_NewRef(fallback);
		break;
	}
	lz_key_drop(&key);
	return value;
}

/* ---- delete, expire ------------------------------------------------------------------ */

/* LTZ_OK, LTZ_NOT_FOUND, or -1 with an exception. */
static int delete_one(lz_pool *self, PyObject *object)
{
	struct lz_key key;
	int result = -1;

	if (lz_key_encode(self->state, object, &key) < 0)
		return -1;
	ltz_pool *handle = lz_enter(self);
	if (handle != NULL) {
		result = ltz_delete(handle, &key.key, 0);
		lz_leave(self);
		if (result < 0)
			lz_raise_key(self->state, result, &key.key);
	}
	lz_key_drop(&key);
	return result < 0 ? -1 : result;
}

PyObject *lz_pool_delete(PyObject *object, PyObject *key)
{
	lz_pool *self = (lz_pool *)object;

	if (self->readonly)
		return lz_raise_readonly(self->state);
	int result = delete_one(self, key);
	return result < 0 ? NULL : PyBool_FromLong(result == LTZ_OK);
}

int lz_pool_assign(PyObject *object, PyObject *key, PyObject *value)
{
	lz_pool *self = (lz_pool *)object;

	if (value != NULL)
		return write_one(self, key, value, NULL) < 0 ? -1 : 0;
	if (self->readonly) {
		lz_raise_readonly(self->state);
		return -1;
	}
	int result = delete_one(self, key);
	if (result == LTZ_NOT_FOUND) {
		PyObject *args = PyTuple_Pack(1, key);
		if (args != NULL)
			PyErr_SetObject(PyExc_KeyError, args);
		Py_XDECREF(args);
	}
	return result == LTZ_OK ? 0 : -1;
}

static PyObject *change_expiry(lz_pool *self, PyObject *object, uint64_t ttl_ms)
{
	struct lz_key key;
	int result = -1;

	if (self->readonly)
		return lz_raise_readonly(self->state);
	if (lz_key_encode(self->state, object, &key) < 0)
		return NULL;
	ltz_pool *handle = lz_enter(self);
	if (handle != NULL) {
		result = ltz_expire(handle, &key.key, ttl_ms);
		lz_leave(self);
		if (result < 0)
			lz_raise_key(self->state, result, &key.key);
	}
	lz_key_drop(&key);
	return result < 0 ? NULL : PyBool_FromLong(result == LTZ_OK);
}

PyObject *lz_pool_expire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const struct lz_signature signature = {"expire", 2, 2, {"key", "seconds"}};
	PyObject *given[2];
	uint64_t ttl_ms;

	if (lz_args(&signature, args, nargs, kwnames, given) < 0 ||
	    lz_milliseconds(given[1], "seconds", &ttl_ms) < 0)
		return NULL;
	return change_expiry((lz_pool *)object, given[0], ttl_ms);
}

PyObject *lz_pool_persist(PyObject *object, PyObject *key)
{
	return change_expiry((lz_pool *)object, key, 0);
}

PyObject *lz_pool_clear(PyObject *object, PyObject *Py_UNUSED(unused))
{
	lz_pool *self = (lz_pool *)object;

	if (self->readonly)
		return lz_raise_readonly(self->state);
	ltz_pool *handle = lz_enter(self);
	if (handle == NULL)
		return NULL;
	PyThreadState *thread = lz_release(self);
	int result = ltz_clear(handle, NULL);
	lz_reacquire(self, thread);
	lz_leave(self);
	if (result < 0)
		return lz_raise(self->state, result);
	Py_RETURN_NONE;
}
