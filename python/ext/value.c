/* SPDX-License-Identifier: MIT */
/*
 * value.c - values as bytes and back, by type byte (enum ltz_value_type).
 *
 *   None, False, True   no bytes
 *   int                 8 bytes if it fits, else int.c
 *   float               8 bytes
 *   str                 UTF-8; a lone surrogate as the 3 bytes of 'surrogatepass'
 *   bytes, bytearray    themselves
 *   all others          pickle, protocol 5
 *
 * Only exact types take the short forms: an instance of a subclass of int
 * comes back as what it was, so it is pickled.
 */
#include <string.h>

#include "core.h"

#if PY_BIG_ENDIAN
#error "values are little endian; latzero runs on x86-64 and arm64"
#endif

/* ---- pickle ---------------------------------------------------------------------- */

static int load_pickle(struct lz_state *state)
{
	if (state->pickle_loads != NULL)
		return 0;
	PyObject *module = PyImport_ImportModule("pickle");
	if (module == NULL)
		return -1;
	PyObject *dumps = PyObject_GetAttrString(module, "dumps");
	PyObject *loads = PyObject_GetAttrString(module, "loads");
	PyObject *protocol = PyLong_FromLong(5);
	Py_DECREF(module);
	if (dumps == NULL || loads == NULL || protocol == NULL) {
		Py_XDECREF(dumps);
		Py_XDECREF(loads);
		Py_XDECREF(protocol);
		return -1;
	}
	/* importing ran Python code: somebody may have been here meanwhile */
	Py_XSETREF(state->pickle_dumps, dumps);
	Py_XSETREF(state->pickle_protocol, protocol);
	Py_XSETREF(state->pickle_loads, loads);
	return 0;
}

/* Errors of the value itself; what says nothing about it (no memory, Ctrl-C) passes. */
static bool is_about_the_value(void)
{
	return PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError);
}

static const char *current_error_name(void)
{
	PyObject *type = PyErr_Occurred();
	return type != NULL && PyType_Check(type) ? ((PyTypeObject *)type)->tp_name : "error";
}

static int encode_pickle(struct lz_state *state, PyObject *object, bool no_pickle,
                         struct lz_value *out)
{
	if (no_pickle) {
		PyErr_Format(state->errors[LZ_UNSAFE_PICKLE],
		             "this pool was made with pickle=False and takes no %.100s",
		             Py_TYPE(object)->tp_name);
		return -1;
	}
	if (load_pickle(state) < 0)
		return -1;
	PyObject *args[] = {object, state->pickle_protocol};
	PyObject *bytes = PyObject_Vectorcall(state->pickle_dumps, args, 2, NULL);
	if (bytes == NULL) {
		if (is_about_the_value())
			lz_chain(state->errors[LZ_SERIALIZATION], "cannot store a %.100s: pickle raised %.100s",
			         Py_TYPE(object)->tp_name, current_error_name());
		return -1;
	}
	if (!PyBytes_CheckExact(bytes)) {
		Py_DECREF(bytes);
		PyErr_SetString(state->errors[LZ_SERIALIZATION], "pickle.dumps did not return bytes");
		return -1;
	}
	out->owner = bytes;
	out->value.data = PyBytes_AS_STRING(bytes);
	out->value.size = (uint64_t)PyBytes_GET_SIZE(bytes);
	out->value.type = LTZ_PICKLE;
	return 0;
}

PyObject *lz_value_unpickle(struct lz_state *state, PyObject *bytes, bool no_pickle)
{
	PyObject *object = NULL;

	if (no_pickle) {
		PyErr_SetString(state->errors[LZ_UNSAFE_PICKLE],
		                "this value is a pickle, and this pool was made with pickle=False");
	} else if (load_pickle(state) == 0) {
		object = PyObject_CallOneArg(state->pickle_loads, bytes);
		if (object == NULL && is_about_the_value())
			lz_chain(state->errors[LZ_SERIALIZATION],
			         "a stored pickle cannot be read back: %.100s", current_error_name());
	}
	Py_DECREF(bytes);
	return object;
}

/* ---- out ------------------------------------------------------------------------------ */

static void take_bytes(struct lz_value *out, uint8_t type, const void *data, Py_ssize_t size)
{
	out->value.data = data;
	out->value.size = (uint64_t)size;
	out->value.type = type;
}

static int encode_int(PyObject *integer, struct lz_value *out)
{
	int overflow;
	out->scalar.i64 = PyLong_AsLongLongAndOverflow(integer, &overflow);
	if (overflow == 0) {
		take_bytes(out, LTZ_INT64, &out->scalar, 8);
		return 0;
	}
	Py_ssize_t size = lz_int_size(integer);
	if (size < 0)
		return -1;
	out->heap = PyMem_Malloc((size_t)size);
	if (out->heap == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	size = lz_int_write(integer, out->heap, size);
	if (size < 0) {
		lz_value_drop_slow(out);
		return -1;
	}
	take_bytes(out, LTZ_BIGINT, out->heap, size);
	return 0;
}

/*
 * PyUnicode_AsUTF8AndSize would keep the UTF-8 inside the str for as long as
 * that lives: worth it for a key, not for a value.
 */
static int encode_text(PyObject *text, struct lz_value *out)
{
	out->owner = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
	if (out->owner == NULL)
		return -1;
	take_bytes(out, LTZ_STR, PyBytes_AS_STRING(out->owner), PyBytes_GET_SIZE(out->owner));
	return 0;
}

static int encode_bytearray(PyObject *object, struct lz_value *out)
{
	/* the export keeps others from resizing it while the GIL is released */
	if (PyObject_GetBuffer(object, &out->buffer, PyBUF_SIMPLE) < 0) {
		out->buffer.obj = NULL;
		return -1;
	}
	take_bytes(out, LTZ_BYTEARRAY, out->buffer.buf, out->buffer.len);
	return 0;
}

int lz_value_encode_slow(struct lz_state *state, PyObject *object, bool no_pickle,
                         struct lz_value *out)
{
	if (PyLong_CheckExact(object))
		return encode_int(object, out);
	if (PyFloat_CheckExact(object)) {
		out->scalar.f64 = PyFloat_AS_DOUBLE(object);
		take_bytes(out, LTZ_FLOAT64, &out->scalar, 8);
		return 0;
	}
	if (object == Py_None) {
		take_bytes(out, LTZ_NONE, NULL, 0);
		return 0;
	}
	if (PyBool_Check(object)) {
		take_bytes(out, object == Py_True ? LTZ_TRUE : LTZ_FALSE, NULL, 0);
		return 0;
	}
	if (PyUnicode_CheckExact(object))
		return encode_text(object, out);
	if (PyByteArray_CheckExact(object))
		return encode_bytearray(object, out);
	return encode_pickle(state, object, no_pickle, out);
}

void lz_value_drop_slow(struct lz_value *value)
{
	Py_CLEAR(value->owner);
	PyMem_Free(value->heap);
	value->heap = NULL;
	if (value->buffer.obj != NULL)
		PyBuffer_Release(&value->buffer);
}

/* ---- in -------------------------------------------------------------------------------- */

static PyObject *refuse(struct lz_state *state, uint8_t type, size_t size)
{
	PyErr_Format(state->errors[LZ_SERIALIZATION],
	             "a stored value of type %d with %zu bytes cannot be read back", (int)type, size);
	return NULL;
}

static PyObject *decode_text(struct lz_state *state, const void *data, size_t size)
{
	PyObject *text = PyUnicode_DecodeUTF8(data, (Py_ssize_t)size, "surrogatepass");

	if (text == NULL && is_about_the_value())
		lz_chain(state->errors[LZ_SERIALIZATION], "a stored str is not UTF-8");
	return text;
}

static PyObject *decode_pickle(struct lz_state *state, const void *data, size_t size, bool no_pickle)
{
	PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);

	return bytes == NULL ? NULL : lz_value_unpickle(state, bytes, no_pickle);
}

static PyObject *decode_word(struct lz_state *state, uint8_t type, const void *data, size_t size)
{
	double f64;
	int64_t i64;

	if (size != 8)
		return refuse(state, type, size);
	if (type == LTZ_INT64) {
		memcpy(&i64, data, 8);
		return PyLong_FromLongLong(i64);
	}
	memcpy(&f64, data, 8);
	return PyFloat_FromDouble(f64);
}

PyObject *lz_value_decode_slow(struct lz_state *state, uint8_t type, const void *data, size_t size,
                               bool no_pickle)
{
	switch (type) {
	case LTZ_BYTES:
		return PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
	case LTZ_STR:
		return decode_text(state, data, size);
	case LTZ_INT64:
	case LTZ_FLOAT64:
		return decode_word(state, type, data, size);
	case LTZ_BYTEARRAY:
		return PyByteArray_FromStringAndSize(data, (Py_ssize_t)size);
	case LTZ_BIGINT:
		return size == 0 ? refuse(state, type, size) : lz_int_read(data, size);
	case LTZ_PICKLE:
		return decode_pickle(state, data, size, no_pickle);
	case LTZ_NONE:
	case LTZ_FALSE:
	case LTZ_TRUE:
		if (size != 0)
			return refuse(state, type, size);
		return Py_NewRef(type == LTZ_NONE ? Py_None : type == LTZ_TRUE ? Py_True : Py_False);
	default:
		return refuse(state, type, size);
	}
}
