/* SPDX-License-Identifier: MIT */
/*
 * pool_number.c - increment and decrement.
 *
 * Numbers of 64 bits are added inside the pool (ltz_add). When a sum or an
 * operand is larger, Python adds, and the version makes read and write one
 * step; the loop ends because somebody's write succeeds whenever it goes round.
 */
#include "core.h"

static bool is_number(PyObject *object)
{
	return (PyLong_Check(object) && !PyBool_Check(object)) || PyFloat_Check(object);
}

/* 1 and *out, 0 when it does not fit 64 bits, -1 with an exception. */
static int to_number(PyObject *object, ltz_number *out)
{
	int overflow;

	if (PyFloat_Check(object)) {
		out->type = LTZ_FLOAT64;
		out->as.f64 = PyFloat_AS_DOUBLE(object);
		return 1;
	}
	out->type = LTZ_INT64;
	out->as.i64 = PyLong_AsLongLongAndOverflow(object, &overflow);
	if (overflow == 0 && out->as.i64 == -1 && PyErr_Occurred())
		return -1;
	return overflow == 0;
}

static PyObject *from_number(const ltz_number *number)
{
	return number->type == LTZ_FLOAT64 ? PyFloat_FromDouble(number->as.f64)
	                                   : PyLong_FromLongLong(number->as.i64);
}

static PyObject *refuse_value(void)
{
	PyErr_SetString(PyExc_TypeError, "the value of this key is not an int or a float");
	return NULL;
}

/* int or float, exactly: what a subclass means by + is its own. */
static PyObject *to_plain(PyObject *object)
{
	return PyFloat_Check(object) ? PyFloat_FromDouble(PyFloat_AS_DOUBLE(object))
	                             : PyNumber_Long(object);
}

/* The sum, stored; NULL with *again set when somebody else wrote the key, else with an exception. */
static PyObject *try_add(lz_pool *self, const ltz_key *key, PyObject *by, PyObject *initial, bool *again)
{
	struct ltz_set_options options = {.flags = LTZ_KEEP_TTL | LTZ_IF_VERSION};
	ltz_item item;
	bool found;

	*again = false;
	PyObject *old = lz_fetch(self, key, &item, &found);
	if (found && old == NULL)
		return NULL;
	if (!found)
		old = Py_NewRef(initial);
	else
		options.if_version = item.version;
	if (!PyLong_CheckExact(old) && !PyFloat_CheckExact(old)) {
		Py_DECREF(old);
		return refuse_value();
	}
	PyObject *sum = PyNumber_Add(old, by);
	Py_DECREF(old);
	if (sum == NULL)
		return NULL;

	struct lz_value value;
	int result = -1;
	if (lz_value_encode(self->state, sum, self->no_pickle, &value) == 0) {
		result = lz_store(self, key, &value.value, &options);
		lz_value_drop(&value);
	}
	*again = result == LTZ_REFUSED;
	if (result != LTZ_OK)
		Py_CLEAR(sum);
	return sum;
}

static PyObject *add_exactly(lz_pool *self, const ltz_key *key, PyObject *by, PyObject *initial)
{
	PyObject *sum = NULL;
	bool again = true;

	by = to_plain(by);
	initial = by == NULL ? NULL : to_plain(initial);
	while (initial != NULL && again)
		sum = try_add(self, key, by, initial, &again);
	Py_XDECREF(by);
	Py_XDECREF(initial);
	return sum;
}

static PyObject *add(lz_pool *self, PyObject *key_object, PyObject *by, PyObject *initial)
{
	ltz_number by_number, initial_number, sum;
	uint8_t item_type = LTZ_NONE;
	PyObject *answer = NULL;
	struct lz_key key;

	if (lz_key_encode(self->state, key_object, &key) < 0)
		return NULL;
	int fits = to_number(by, &by_number);
	if (fits > 0)
		fits = to_number(initial, &initial_number);
	if (fits > 0) {
		ltz_pool *handle = lz_enter(self);
		int result = handle == NULL ? -1
		             : ltz_add(handle, &key.key, by_number, initial_number, &sum, &item_type);
		if (handle != NULL)
			lz_leave(self);
		if (result == LTZ_OK)
			answer = from_number(&sum);
		else if (result == LTZ_OVERFLOW || (result == LTZ_MISMATCH && item_type == LTZ_BIGINT))
			fits = 0;
		else if (result == LTZ_MISMATCH)
			refuse_value();
		else if (handle != NULL)
			lz_raise_key(self->state, result, &key.key);
	}
	if (fits == 0)
		answer = add_exactly(self, &key.key, by, initial);
	lz_key_drop(&key);
	return answer;
}

static PyObject *add_method(lz_pool *self, const struct lz_signature *signature,
                            PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, bool negate)
{
	PyObject *given[3], *answer = NULL;

	if (lz_args(signature, args, nargs, kwnames, given) < 0)
		return NULL;
	for (int i = 1; i < 3; i++) {
		if (given[i] != NULL && !is_number(given[i])) {
			PyErr_Format(PyExc_TypeError, "%s must be an int or a float, not %.100s",
			             signature->names[i], Py_TYPE(given[i])->tp_name);
			return NULL;
		}
	}
	PyObject *one = PyLong_FromLong(1), *zero = PyLong_FromLong(0); /* cached by Python */
	PyObject *by = given[1] == NULL ? one : given[1];
	by = negate ? PyNumber_Negative(by) : Py_NewRef(by);
	if (self->readonly)
		lz_raise_readonly(self->state);
	else if (by != NULL)
		answer = add(self, given[0], by, given[2] == NULL ? zero : given[2]);
	Py_XDECREF(by);
	Py_DECREF(one);
	Py_DECREF(zero);
	return answer;
}

PyObject *lz_pool_increment(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
	static const struct lz_signature signature = {"increment", 1, 2, {"key", "by", "initial"}};

	return add_method((lz_pool *)object, &signature, args, nargs, kwnames, false);
}

PyObject *lz_pool_decrement(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
	static const struct lz_signature signature = {"decrement", 1, 2, {"key", "by", "initial"}};

	return add_method((lz_pool *)object, &signature, args, nargs, kwnames, true);
}
