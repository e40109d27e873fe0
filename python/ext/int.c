/* SPDX-License-Identifier: MIT */
/*
 * int.c - Python integers of any size as bytes and back: two's complement,
 * little endian, the fewest bytes that hold the value and its sign, at least
 * one. Equal integers give equal bytes, so the bytes can be a key.
 *
 * CPython 3.13 made these conversions public; before, they are private names
 * that have been stable since 2.3.
 */
#include "core.h"

Py_ssize_t lz_int_size(PyObject *integer)
{
#if PY_VERSION_HEX >= 0x030D0000
	return PyLong_AsNativeBytes(integer, NULL, 0, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
	size_t bits = _PyLong_NumBits(integer);
	if (bits == (size_t)-1 && PyErr_Occurred())
		return -1;
	return (Py_ssize_t)(bits / 8 + 1);
#endif
}

Py_ssize_t lz_int_write(PyObject *integer, uint8_t *out, Py_ssize_t size)
{
#if PY_VERSION_HEX >= 0x030D0000
	if (PyLong_AsNativeBytes(integer, out, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN) < 0)
		return -1;
#else
	if (_PyLong_AsByteArray((PyLongObject *)integer, out, (size_t)size, 1, 1) < 0)
		return -1;
#endif
	/* drop bytes that only repeat the sign: -128 is 0x80, not 0xff80 */
	while (size > 1) {
		uint8_t top = out[size - 1], next = out[size - 2];
		if (!(top == 0x00 && next < 0x80) && !(top == 0xff && next >= 0x80))
			break;
		size--;
	}
	return size;
}

PyObject *lz_int_read(const uint8_t *data, size_t size)
{
	if (size <= 8) {
		uint64_t bits = size > 0 && data[size - 1] >= 0x80 ? ~(uint64_t)0 : 0;
		for (size_t i = size; i > 0; i--)
			bits = bits << 8 | data[i - 1];
		return PyLong_FromLongLong((long long)bits);
	}
#if PY_VERSION_HEX >= 0x030D0000
	return PyLong_FromNativeBytes(data, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
	return _PyLong_FromByteArray(data, size, 1, 1);
#endif
}
