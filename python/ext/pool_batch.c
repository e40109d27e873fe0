/* SPDX-License-Identifier: MIT */
/*
 * pool_batch.c - mget, mset, delete_many: LZ_BATCH keys at a time are encoded,
 * announced to the caches with one ltz_prefetch, then worked on one by one.
 *
 * Pickling and unpickling run Python code that may change the caller's
 * containers: each chunk therefore owns its objects.
 */
#include "core.h"

struct chunk {
	size_t count;
	PyObject *objects[LZ_BATCH]; /* owned */
	PyObject *values[LZ_BATCH];  /* mset: owned */
	struct lz_key keys[LZ_BATCH];
};

static void chunk_drop(struct chunk *chunk)
{
	for (size_t i = 0; i < chunk->count; i++) {
		lz_key_drop(&chunk->keys[i]);
		Py_DECREF(chunk->objects[i]);
		Py_XDECREF(chunk->values[i]);
	}
	chunk->count = 0;
}

/* value may be NULL. */
static int chunk_add(lz_pool *self, struct chunk *chunk, PyObject *key, PyObject *value)
{
	if (lz_key_encode(self->state, key, &chunk->keys[chunk->count]) < 0)
		return -1;
	chunk->objects[chunk->count] = Py_NewRef(key);
	chunk->values[chunk->count] = Py_XNewRef(value);
	chunk->count++;
	return 0;
}

static int chunk_prefetch(lz_pool *self, const struct chunk *chunk)
{
	ltz_key keys[LZ_BATCH];
	ltz_pool *handle = lz_enter(self);

	if (handle == NULL)
		return -1;
	for (size_t i = 0; i < chunk->count; i++)
		keys[i] = chunk->keys[i].key;
	ltz_prefetch(handle, keys, chunk->count);
	lz_leave(self);
	return 0;
}

/* A tuple of the caller's keys; a str or bytes would be taken for its letters. */
static PyObject *keys_of(PyObject *keys)
{
	if (PyUnicode_Check(keys) || PyBytes_Check(keys) || PyByteArray_Check(keys)) {
		PyErr_Format(PyExc_TypeError, "keys must be an iterable of keys, not one %.100s",
		             Py_TYPE(keys)->tp_name);
		return NULL;
	}
	return PySequence_Tuple(keys);
}

static int chunk_of_tuple(lz_pool *self, struct chunk *chunk, PyObject *tuple, Py_ssize_t *at)
{
	while (chunk->count < LZ_BATCH && *at < PyTuple_GET_SIZE(tuple)) {
		if (chunk_add(self, chunk, PyTuple_GET_ITEM(tuple, *at), NULL) < 0)
			return -1;
		++*at;
	}
	return chunk_prefetch(self, chunk);
}

/* ---- mget --------------------------------------------------------------------- */

static int get_chunk(lz_pool *self, const struct chunk *chunk, PyObject *out)
{
	for (size_t i = 0; i < chunk->count; i++) {
		ltz_item item;
		bool found;
		PyObject *value = lz_fetch(self, &chunk->keys[i].key, &item, &found);
		if (value == NULL && found)
			return -1;
		if (value == NULL)
			continue;
		int result = PyDict_SetItem(out, chunk->objects[i], value);
		Py_DECREF(value);
		if (result < 0)
			return -1;
	}
	return 0;
}

PyObject *lz_pool_mget(PyObject *object, PyObject *keys)
{
	lz_pool *self = (lz_pool *)object;
	struct chunk chunk;
	PyObject *tuple = keys_of(keys);
	PyObject *out = tuple == NULL ? NULL : PyDict_New();

	chunk.count = 0;
	for (Py_ssize_t at = 0; out != NULL && at < PyTuple_GET_SIZE(tuple);) {
		if (chunk_of_tuple(self, &chunk, tuple, &at) < 0 || get_chunk(self, &chunk, out) < 0)
			Py_CLEAR(out);
		chunk_drop(&chunk);
	}
	Py_XDECREF(tuple);
	return out;
}

/* ---- mset ---------------------------------------------------------------------- */

/* Encodes every value of the chunk before it writes the first. */
static int set_chunk(lz_pool *self, const struct chunk *chunk, const struct ltz_set_options *options)
{
	struct lz_value values[LZ_BATCH];
	size_t encoded = 0;
	int result = chunk_prefetch(self, chunk);

	for (; result == 0 && encoded < chunk->count; encoded++) {
		if (lz_value_encode(self->state, chunk->values[encoded], self->no_pickle, &values[encoded]) < 0)
			break;
	}
	if (encoded < chunk->count)
		result = -1;
	for (size_t i = 0; result == 0 && i < chunk->count; i++)
		result = lz_store(self, &chunk->keys[i].key, &values[i].value, options) < 0 ? -1 : 0;
	for (size_t i = 0; i < encoded; i++)
		lz_value_drop(&values[i]);
	return result;
}

/*
 * Copying a dict is cheap beside writing it, and the copy holds still. Another
 * pool's copy() allows for keys that go meanwhile; key by key would not.
 */
static PyObject *dict_of(lz_pool *self, PyObject *mapping)
{
	if (PyDict_CheckExact(mapping))
		return PyDict_Copy(mapping);
	if (PyObject_TypeCheck(mapping, self->state->pool_type)) {
		PyObject *copy = PyObject_CallMethod(mapping, "copy", NULL);
		if (copy == NULL || PyDict_CheckExact(copy))
			return copy;
		Py_DECREF(copy); /* a subclass has its own idea */
	}
	if (!PyMapping_Check(mapping) || PySequence_Check(mapping) > PyObject_HasAttrString(mapping, "keys")) {
		PyErr_Format(PyExc_TypeError, "mset() takes a mapping, not %.100s", Py_TYPE(mapping)->tp_name);
		return NULL;
	}
	PyObject *dict = PyDict_New();
	if (dict != NULL && PyDict_Update(dict, mapping) < 0)
		Py_CLEAR(dict);
	return dict;
}

static int set_dict(lz_pool *self, PyObject *dict, const struct ltz_set_options *options)
{
	struct chunk chunk;
	PyObject *key, *value;
	Py_ssize_t at = 0;
	bool more = true;
	int result = 0;

	chunk.count = 0;
	while (more && result == 0) {
		while (result == 0 && chunk.count < LZ_BATCH && (more = PyDict_Next(dict, &at, &key, &value)))
			result = chunk_add(self, &chunk, key, value);
		if (result == 0 && chunk.count > 0)
			result = set_chunk(self, &chunk, options);
		chunk_drop(&chunk);
	}
	return result;
}

PyObject *lz_pool_mset(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const struct lz_signature signature = {"mset", 1, 2, {"mapping", "auto_clean"}};
	lz_pool *self = (lz_pool *)object;
	struct ltz_set_options options = {0};
	PyObject *given[2];

	if (lz_args(&signature, args, nargs, kwnames, given) < 0)
		return NULL;
	if (given[1] != NULL && given[1] != Py_None &&
	    lz_milliseconds(given[1], "auto_clean", &options.ttl_ms) < 0)
		return NULL;
	if (self->readonly)
		return lz_raise_readonly(self->state);
	PyObject *dict = dict_of(self, given[0]);
	if (dict == NULL)
		return NULL;
	int result = set_dict(self, dict, options.ttl_ms == 0 ? NULL : &options);
	Py_DECREF(dict);
	if (result < 0)
		return NULL;
	Py_RETURN_NONE;
}

/* ---- delete_many ------------------------------------------------------------------ */

static int delete_chunk(lz_pool *self, const struct chunk *chunk, Py_ssize_t *removed)
{
	for (size_t i = 0; i < chunk->count; i++) {
		ltz_pool *handle = lz_enter(self);
		if (handle == NULL)
			return -1;
		int result = ltz_delete(handle, &chunk->keys[i].key, 0);
		lz_leave(self);
		if (result < 0) {
			lz_raise_key(self->state, result, &chunk->keys[i].key);
			return -1;
		}
		*removed += result == LTZ_OK;
	}
	return 0;
}

PyObject *lz_pool_delete_many(PyObject *object, PyObject *keys)
{
	lz_pool *self = (lz_pool *)object;
	struct chunk chunk;
	Py_ssize_t removed = 0;
	int result = 0;

	if (self->readonly)
		return lz_raise_readonly(self->state);
	PyObject *tuple = keys_of(keys);
	if (tuple == NULL)
		return NULL;
	chunk.count = 0;
	for (Py_ssize_t at = 0; result == 0 && at < PyTuple_GET_SIZE(tuple);) {
		result = chunk_of_tuple(self, &chunk, tuple, &at);
		if (result == 0)
			result = delete_chunk(self, &chunk, &removed);
		chunk_drop(&chunk);
	}
	Py_DECREF(tuple);
	return result < 0 ? NULL : PyLong_FromSsize_t(removed);
}
