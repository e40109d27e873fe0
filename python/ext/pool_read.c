/* SPDX-License-Identifier: MIT */
/*
 * pool_read.c - get and its kin.
 *
 * A get copies the value into a buffer on the stack and builds the object from
 * that. Only a value that does not fit (LTZ_TRUNCATED) is asked for again,
 * with memory of its size: bytes and bytearray are then filled in place.
 */
#include <stdlib.h>

#include "core.h"

/* ---- values larger than the stack buffer ----------------------------------------- */

static int read_into(lz_pool *self, const ltz_key *key, void *buffer, size_t capacity, ltz_item *item)
{
	ltz_pool *handle = lz_enter(self);
	int result;

	if (handle == NULL)
		return -1;
	if (capacity > LZ_LARGE) {
		PyThreadState *thread = lz_release(self);
		result = ltz_get(handle, key, buffer, capacity, item);
		lz_reacquire(self, thread);
	} else {
		result = ltz_get(handle, key, buffer, capacity, item);
	}
	lz_leave(self);
	if (result < 0)
		lz_raise_key(self->state, result, key);
	return result < 0 ? -1 : result;
}

/* What a large value is read into: an object that is the result, or plain memory. */
struct target {
	PyObject *object;
	void *memory;
	char *data;
};

static int target_open(struct target *target, uint8_t type, size_t size)
{
	target->object = NULL;
	target->memory = NULL;
	if (size > PY_SSIZE_T_MAX / 2) {
		PyErr_NoMemory();
		return -1;
	}
	if (type == LTZ_BYTES || type == LTZ_PICKLE) {
		target->object = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
		if (target->object == NULL)
			return -1;
		target->data = PyBytes_AS_STRING(target->object);
	} else if (type == LTZ_BYTEARRAY) {
		target->object = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)size);
		if (target->object == NULL)
			return -1;
		target->data = PyByteArray_AS_STRING(target->object);
	} else {
		target->data = target->memory = PyMem_RawMalloc(size);
		if (target->memory == NULL) {
			PyErr_NoMemory();
			return -1;
		}
	}
	return 0;
}

static void target_drop(struct target *target)
{
	Py_XDECREF(target->object);
	PyMem_RawFree(target->memory);
}

static PyObject *target_finish(lz_pool *self, struct target *target, const ltz_item *item)
{
	if (target->object != NULL)
		return item->type == LTZ_PICKLE
		           ? lz_value_unpickle(self->state, target->object, self->no_pickle)
		           : target->object;
	PyObject *object = lz_value_decode(self->state, item->type, target->data, item->size, self->no_pickle);
	PyMem_RawFree(target->memory);
	return object;
}

/* item says what was there a moment ago; it is tried until the value holds still. */
static PyObject *fetch_large(lz_pool *self, const ltz_key *key, ltz_item *item, bool *found)
{
	for (;;) {
		struct target target;
		uint8_t type = item->type;
		size_t size = item->size;

		*found = true;
		if (target_open(&target, type, size) < 0)
			return NULL;
		int result = read_into(self, key, target.data, size, item);
		if (result == LTZ_OK && item->type == type && item->size == size)
			return target_finish(self, &target, item);
		if (result == LTZ_OK) {
			/* replaced meanwhile by another that fits as well */
			PyObject *object = lz_value_decode(self->state, item->type, target.data, item->size,
			                                   self->no_pickle);
			target_drop(&target);
			return object;
		}
		target_drop(&target);
		if (result != LTZ_TRUNCATED) {
			*found = result < 0;
			return NULL;
		}
	}
}

PyObject *lz_fetch(lz_pool *self, const ltz_key *key, ltz_item *item, bool *found)
{
	char buffer[LZ_SMALL];
	ltz_pool *handle = lz_enter(self);

	*found = true;
	if (handle == NULL)
		return NULL;
	int result = ltz_get(handle, key, buffer, sizeof(buffer), item);
	lz_leave(self);
	if (__builtin_expect(result == LTZ_OK, 1))
		return lz_value_decode(self->state, item->type, buffer, item->size, self->no_pickle);
	if (result == LTZ_TRUNCATED)
		return fetch_large(self, key, item, found);
	*found = result < 0;
	return result < 0 ? lz_raise_key(self->state, result, key) : NULL;
}

int lz_peek(lz_pool *self, PyObject *object, ltz_item *item)
{
	struct lz_key key;

	if (lz_key_encode(self->state, object, &key) < 0)
		return -1;
	ltz_pool *handle = lz_enter(self);
	int result = -1;
	if (handle != NULL) {
		result = ltz_get(handle, &key.key, NULL, 0, item);
		lz_leave(self);
		if (result < 0)
			lz_raise_key(self->state, result, &key.key);
	}
	lz_key_drop(&key);
	if (result < 0)
		return -1;
	return result == LTZ_NOT_FOUND ? LTZ_NOT_FOUND : LTZ_OK;
}

/* ---- methods -------------------------------------------------------------------- */

/* KeyError(key): a tuple as key must not become the exception's arguments. */
static PyObject *raise_missing(PyObject *key)
{
	PyObject *args = PyTuple_Pack(1, key);

	if (args != NULL) {
		PyErr_SetObject(PyExc_KeyError, args);
		Py_DECREF(args);
	}
	return NULL;
}

static PyObject *fetch_or(lz_pool *self, PyObject *object, PyObject *missing)
{
	struct lz_key key;
	ltz_item item;
	bool found;

	if (lz_key_encode(self->state, object, &key) < 0)
		return NULL;
	PyObject *value = lz_fetch(self, &key.key, &item, &found);
	lz_key_drop(&key);
	if (found)
		return value;
	return missing != NULL ? Py_NewRef(missing) : raise_missing(object);
}

PyObject *lz_pool_get(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const struct lz_signature signature = {"get", 1, 2, {"key", "default"}};
	PyObject *given[2];

	if (kwnames == NULL && nargs == 1)
		return fetch_or((lz_pool *)object, args[0], Py_None);
	if (lz_args(&signature, args, nargs, kwnames, given) < 0)
		return NULL;
	return fetch_or((lz_pool *)object, given[0], given[1] == NULL ? Py_None : given[1]);
}

PyObject *lz_pool_subscript(PyObject *object, PyObject *key)
{
	return fetch_or((lz_pool *)object, key, NULL);
}

PyObject *lz_pool_get_versioned(PyObject *object, PyObject *key_object)
{
	lz_pool *self = (lz_pool *)object;
	struct lz_key key;
	ltz_item item;
	bool found;

	if (lz_key_encode(self->state, key_object, &key) < 0)
		return NULL;
	PyObject *value = lz_fetch(self, &key.key, &item, &found);
	lz_key_drop(&key);
	if (!found)
		return raise_missing(key_object);
	return value == NULL ? NULL : Py_BuildValue("(NK)", value, (unsigned long long)item.version);
}

int lz_pool_contains(PyObject *object, PyObject *key)
{
	ltz_item item;
	int result = lz_peek((lz_pool *)object, key, &item);

	return result < 0 ? -1 : result == LTZ_OK;
}

PyObject *lz_pool_exists(PyObject *object, PyObject *key)
{
	int result = lz_pool_contains(object, key);

	return result < 0 ? NULL : PyBool_FromLong(result);
}

PyObject *lz_pool_ttl(PyObject *object, PyObject *key)
{
	ltz_item item;
	int result = lz_peek((lz_pool *)object, key, &item);

	if (result < 0)
		return NULL;
	if (result == LTZ_NOT_FOUND)
		return raise_missing(key);
	if (item.ttl_ms < 0)
		Py_RETURN_NONE;
	return PyFloat_FromDouble((double)item.ttl_ms / 1000.0);
}

Py_ssize_t lz_pool_length(PyObject *object)
{
	lz_pool *self = (lz_pool *)object;
	uint64_t count;
	ltz_pool *handle = lz_enter(self);

	if (handle == NULL)
		return -1;
	int result = ltz_count(handle, &count);
	lz_leave(self);
	if (result < 0) {
		lz_raise(self->state, result);
		return -1;
	}
	return (Py_ssize_t)count;
}

/*
 * Not ltz_pop: a value that cannot be read back must stay where it is. The
 * version makes the two steps one.
 */
PyObject *lz_pool_pop(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
	lz_pool *self = (lz_pool *)object;
	struct lz_key key;
	ltz_item item;
	bool found = true;
	PyObject *value = NULL;

	if (nargs < 1 || nargs > 2) {
		PyErr_Format(PyExc_TypeError, "pop() takes a key and perhaps a default (%zd given)", nargs);
		return NULL;
	}
	if (self->readonly)
		return lz_raise_readonly(self->state);
	if (lz_key_encode(self->state, args[0], &key) < 0)
		return NULL;
	for (;;) {
		value = lz_fetch(self, &key.key, &item, &found);
		if (value == NULL)
			break;
		ltz_pool *handle = lz_enter(self);
		int result = handle == NULL ? -1 : ltz_delete(handle, &key.key, item.version);
		if (handle != NULL)
			lz_leave(self);
		if (result == LTZ_OK)
			break;
		Py_CLEAR(value);
		if (result < 0) {
			if (handle != NULL)
				lz_raise_key(self->state, result, &key.key);
			break;
		}
	}
	lz_key_drop(&key);
	if (found)
		return value;
	return nargs == 2 ? Py_NewRef(args[1]) : raise_missing(args[0]);
}
