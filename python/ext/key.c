/* SPDX-License-Identifier: MIT */
/*
 * key.c - keys as bytes and back.
 *
 *   str    its UTF-8, without a copy
 *   bytes  itself
 *   int    int.c (a bool is its int)
 *   tuple  its elements one after another, each as
 *
 *              +------+-------------------+-----------------+
 *              | type | size, LEB128, 1-3 | `size` bytes    |
 *              +------+-------------------+-----------------+
 *
 *          type as enum ltz_key_type; a nested tuple's bytes are again such
 *          elements. Tuples nest up to 8 deep, the outermost counted.
 *
 * Instances of subclasses are keys as their base: an enum.IntEnum member finds
 * what its int stored, as in a dict.
 *
 * The encoding is a function of the value and self-delimiting, so two keys are
 * equal exactly if their types and bytes are. Encoding runs no Python code.
 */
#include <string.h>

#include "core.h"

#define DEPTH_MAX 8
#define VARINT_MAX 3 /* bytes: 7 bits each hold LTZ_KEY_MAX */
static_assert(LTZ_KEY_MAX < 1 << (7 * VARINT_MAX), "a size fits its varint");

static int refuse_size(void)
{
	PyErr_Format(PyExc_ValueError, "a key may have at most %d bytes when encoded", LTZ_KEY_MAX);
	return -1;
}

static int refuse_type(PyObject *object)
{
	PyErr_Format(PyExc_TypeError, "keys must be str, bytes, int or a tuple of these, not %.100s",
	             Py_TYPE(object)->tp_name);
	return -1;
}

static const char *utf8_of(struct lz_state *state, PyObject *text, Py_ssize_t *size)
{
	const char *utf8 = PyUnicode_AsUTF8AndSize(text, size);

	if (utf8 == NULL && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
		lz_chain(state->errors[LZ_SERIALIZATION], "a str key must not contain lone surrogates");
	return utf8;
}

/* ---- tuples ------------------------------------------------------------------ */

struct writer {
	struct lz_key *out;
	uint8_t *bytes;
	size_t used, capacity;
};

/* Room for `more` bytes; NULL with an exception. */
static uint8_t *reserve(struct writer *w, size_t more)
{
	if (w->used + more > LTZ_KEY_MAX + VARINT_MAX) {
		refuse_size();
		return NULL;
	}
	if (w->used + more > w->capacity) {
		size_t capacity = 2 * (w->used + more);
		uint8_t *heap = PyMem_Realloc(w->out->heap, capacity);
		if (heap == NULL) {
			PyErr_NoMemory();
			return NULL;
		}
		if (w->out->heap == NULL)
			memcpy(heap, w->out->inline_, w->used);
		w->out->heap = heap;
		w->bytes = heap;
		w->capacity = capacity;
	}
	return w->bytes + w->used;
}

static size_t put_varint(uint8_t *out, size_t number)
{
	size_t n = 0;

	while (number >= 0x80) {
		out[n++] = (uint8_t)(number | 0x80);
		number >>= 7;
	}
	out[n++] = (uint8_t)number;
	return n;
}

static int write_header(struct writer *w, uint8_t type, size_t size)
{
	uint8_t *out = size > LTZ_KEY_MAX ? (refuse_size(), NULL) : reserve(w, 1 + VARINT_MAX + size);

	if (out == NULL)
		return -1;
	out[0] = type;
	w->used += 1 + put_varint(out + 1, size);
	return 0;
}

static int write_leaf(struct writer *w, uint8_t type, const void *data, Py_ssize_t size)
{
	if (write_header(w, type, (size_t)size) < 0)
		return -1;
	memcpy(w->bytes + w->used, data, (size_t)size);
	w->used += (size_t)size;
	return 0;
}

static int write_int(struct writer *w, PyObject *integer)
{
	Py_ssize_t size = lz_int_size(integer);
	if (size < 0)
		return -1;
	if (size > LTZ_KEY_MAX + 1)
		return refuse_size();
	/* written behind the longest header, then moved to the header it needs */
	uint8_t *out = reserve(w, (size_t)(1 + VARINT_MAX + size));
	if (out == NULL)
		return -1;
	size = lz_int_write(integer, out + 1 + VARINT_MAX, size);
	if (size < 0)
		return -1;
	out[0] = LTZ_KEY_INT;
	size_t header = 1 + put_varint(out + 1, (size_t)size);
	memmove(out + header, out + 1 + VARINT_MAX, (size_t)size);
	w->used += header + (size_t)size;
	return 0;
}

static int write_elements(struct lz_state *state, struct writer *w, PyObject *tuple, int depth);

static int write_tuple(struct lz_state *state, struct writer *w, PyObject *tuple, int depth)
{
	if (reserve(w, 1 + VARINT_MAX) == NULL)
		return -1;
	size_t start = w->used;
	w->used += 1 + VARINT_MAX;
	if (write_elements(state, w, tuple, depth) < 0)
		return -1;
	size_t size = w->used - start - 1 - VARINT_MAX;
	w->bytes[start] = LTZ_KEY_TUPLE;
	size_t header = 1 + put_varint(w->bytes + start + 1, size);
	memmove(w->bytes + start + header, w->bytes + start + 1 + VARINT_MAX, size);
	w->used = start + header + size;
	return 0;
}

static int write_element(struct lz_state *state, struct writer *w, PyObject *object, int depth)
{
	Py_ssize_t size;

	if (PyUnicode_Check(object)) {
		const char *utf8 = utf8_of(state, object, &size);
		return utf8 == NULL ? -1 : write_leaf(w, LTZ_KEY_STR, utf8, size);
	}
	if (PyLong_Check(object))
		return write_int(w, object);
	if (PyBytes_Check(object))
		return write_leaf(w, LTZ_KEY_BYTES, PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object));
	if (PyTuple_Check(object))
		return write_tuple(state, w, object, depth + 1);
	return refuse_type(object);
}

static int write_elements(struct lz_state *state, struct writer *w, PyObject *tuple, int depth)
{
	if (depth > DEPTH_MAX) {
		PyErr_Format(PyExc_TypeError, "tuples in a key nest at most %d deep", DEPTH_MAX);
		return -1;
	}
	for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
		if (write_element(state, w, PyTuple_GET_ITEM(tuple, i), depth) < 0)
			return -1;
	}
	return 0;
}

static int encode_tuple(struct lz_state *state, PyObject *tuple, struct lz_key *out)
{
	struct writer w = {.out = out, .bytes = out->inline_, .capacity = sizeof(out->inline_)};

	if (write_elements(state, &w, tuple, 1) < 0 || (w.used > LTZ_KEY_MAX && refuse_size() < 0)) {
		lz_key_drop(out);
		out->heap = NULL;
		return -1;
	}
	out->key.data = w.bytes;
	out->key.size = (uint32_t)w.used;
	out->key.type = LTZ_KEY_TUPLE;
	return 0;
}

/* ---- one key ------------------------------------------------------------------- */

static int encode_int(PyObject *integer, struct lz_key *out)
{
	Py_ssize_t size = lz_int_size(integer);
	uint8_t *bytes = out->inline_;

	if (size < 0)
		return -1;
	if (size > LTZ_KEY_MAX + 1)
		return refuse_size();
	if ((size_t)size > sizeof(out->inline_)) {
		bytes = out->heap = PyMem_Malloc((size_t)size);
		if (bytes == NULL) {
			PyErr_NoMemory();
			return -1;
		}
	}
	size = lz_int_write(integer, bytes, size);
	if (size < 0 || (size > LTZ_KEY_MAX && refuse_size() < 0)) {
		lz_key_drop(out);
		out->heap = NULL;
		return -1;
	}
	out->key.data = bytes;
	out->key.size = (uint32_t)size;
	out->key.type = LTZ_KEY_INT;
	return 0;
}

/* A small int without the general conversion: up to 8 bytes. */
static int encode_word(int64_t number, struct lz_key *out)
{
	uint32_t size = 1;

	for (int64_t rest = number; rest < -128 || rest > 127; rest >>= 8)
		size++;
	memcpy(out->inline_, &number, sizeof(number));
	out->key.data = out->inline_;
	out->key.size = size;
	out->key.type = LTZ_KEY_INT;
	return 0;
}

static int encode_bytes(uint8_t type, const char *data, Py_ssize_t size, struct lz_key *out)
{
	if (size > LTZ_KEY_MAX)
		return refuse_size();
	out->key.data = data;
	out->key.size = (uint32_t)size;
	out->key.type = type;
	return 0;
}

int lz_key_encode_slow(struct lz_state *state, PyObject *object, struct lz_key *out)
{
	if (PyLong_Check(object)) {
		int overflow;
		long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
		return overflow == 0 ? encode_word(number, out) : encode_int(object, out);
	}
	if (PyUnicode_Check(object)) {
		Py_ssize_t size;
		const char *utf8 = utf8_of(state, object, &size);
		return utf8 == NULL ? -1 : encode_bytes(LTZ_KEY_STR, utf8, size, out);
	}
	if (PyBytes_Check(object))
		return encode_bytes(LTZ_KEY_BYTES, PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object), out);
	if (PyTuple_Check(object))
		return encode_tuple(state, object, out);
	return refuse_type(object);
}

/* ---- back ---------------------------------------------------------------------- */

static PyObject *refuse_bytes(struct lz_state *state)
{
	if (!PyErr_Occurred())
		PyErr_SetString(state->errors[LZ_SERIALIZATION], "a key of this pool cannot be read back");
	return NULL;
}

/* One element from data[*at]; its type, bytes and size, checked against `size`. */
static bool next_element(const uint8_t *data, size_t size, size_t *at, uint8_t *type,
                         size_t *element_size)
{
	size_t n = 0, i = *at + 1, shift = 0;

	for (;; i++, shift += 7) {
		if (i >= size || shift >= 7 * VARINT_MAX)
			return false;
		n |= (size_t)(data[i] & 0x7f) << shift;
		if (data[i] < 0x80)
			break;
	}
	i++;
	if (n > size - i)
		return false;
	*type = data[*at];
	*element_size = n;
	*at = i;
	return true;
}

static PyObject *decode(struct lz_state *state, uint8_t type, const uint8_t *data, size_t size,
                        int depth);

static PyObject *decode_tuple(struct lz_state *state, const uint8_t *data, size_t size, int depth)
{
	if (depth > DEPTH_MAX)
		return refuse_bytes(state);
	PyObject *list = PyList_New(0);
	if (list == NULL)
		return NULL;
	for (size_t at = 0; at < size;) {
		uint8_t type;
		size_t n;
		PyObject *element = NULL;
		if (next_element(data, size, &at, &type, &n))
			element = decode(state, type, data + at, n, depth);
		if (element == NULL || PyList_Append(list, element) < 0) {
			Py_XDECREF(element);
			Py_DECREF(list);
			return refuse_bytes(state);
		}
		Py_DECREF(element);
		at += n;
	}
	PyObject *tuple = PyList_AsTuple(list);
	Py_DECREF(list);
	return tuple;
}

static PyObject *decode(struct lz_state *state, uint8_t type, const uint8_t *data, size_t size,
                        int depth)
{
	PyObject *text;

	switch (type) {
	case LTZ_KEY_STR:
		text = PyUnicode_DecodeUTF8((const char *)data, (Py_ssize_t)size, NULL);
		if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) /* else: no memory */
			lz_chain(state->errors[LZ_SERIALIZATION], "a str key of this pool is not UTF-8");
		return text;
	case LTZ_KEY_BYTES:
		return PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
	case LTZ_KEY_INT:
		return lz_int_read(data, size);
	case LTZ_KEY_TUPLE:
		return decode_tuple(state, data, size, depth + 1);
	default:
		return refuse_bytes(state);
	}
}

PyObject *lz_key_decode(struct lz_state *state, uint8_t type, const uint8_t *data, size_t size)
{
	return decode(state, type, data, size, 0);
}
