/* SPDX-License-Identifier: MIT */
/*
 * auth.c - passwords on their way into the library.
 *
 * What the caller gave is used where it lies. Only a str that is not ASCII has
 * to be encoded: that copy is ours, and is wiped. (PyUnicode_AsUTF8 would leave
 * a copy inside the caller's str for as long as that lives.)
 */
#include <string.h>

#include "core.h"

static int take_str(PyObject *object, struct lz_secret *out)
{
	if (PyUnicode_IS_COMPACT_ASCII(object)) {
		out->data = PyUnicode_1BYTE_DATA(object);
		out->size = (size_t)PyUnicode_GET_LENGTH(object);
		return 0;
	}
	out->encoded = PyUnicode_AsUTF8String(object);
	if (out->encoded == NULL) { /* its message would show the password */
		PyErr_Clear();
		PyErr_SetString(PyExc_ValueError, "auth_key has a lone surrogate, which UTF-8 cannot say");
		return -1;
	}
	out->data = PyBytes_AS_STRING(out->encoded);
	out->size = (size_t)PyBytes_GET_SIZE(out->encoded);
	return 0;
}

int lz_secret_take(PyObject *object, struct lz_secret *out)
{
	memset(out, 0, sizeof(*out));
	if (object == Py_None)
		return 0;
	if (PyUnicode_Check(object))
		return take_str(object, out);
	if (!PyBytes_Check(object) && !PyByteArray_Check(object)) {
		PyErr_Format(PyExc_TypeError, "auth_key must be a str, bytes, bytearray or RawKey, not %.100s",
		             Py_TYPE(object)->tp_name);
		return -1;
	}
	if (PyObject_GetBuffer(object, &out->buffer, PyBUF_SIMPLE) < 0)
		return -1;
	out->data = out->buffer.buf;
	out->size = (size_t)out->buffer.len;
	return 0;
}

void lz_secret_drop(struct lz_secret *secret)
{
	if (secret->encoded != NULL)
		explicit_bzero(PyBytes_AS_STRING(secret->encoded), (size_t)PyBytes_GET_SIZE(secret->encoded));
	Py_CLEAR(secret->encoded);
	if (secret->buffer.obj != NULL)
		PyBuffer_Release(&secret->buffer);
}
