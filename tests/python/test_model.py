# SPDX-License-Identifier: MIT
"""A pool against a dict: whatever is done to both, both answer the same."""

from __future__ import annotations

from typing import Any

import latzero
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

keys = st.sampled_from(["a", "b", "ab", "", b"a", b"b", 0, 1, -1, 2**70, ("a",), ("a", 1), ()]) | st.text(
    "abc", max_size=3
)
values = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.binary(min_size=900, max_size=1200)
    | st.sampled_from([[1, (2,)], {"k": 1}, ()])
    | st.builds(bytes, st.just(70_000))
)

MISSING = object()


def answer(call: Any) -> Any:
    """What a call returned or raised, types included."""
    try:
        value = call()
    except (KeyError, TypeError) as error:
        return type(error)
    return type(value), value


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.manager = latzero.SharedMemoryPool()
        self.model: dict[Any, Any] = {}

    @initialize()
    def make(self) -> None:
        self.pool = self.manager.create("model")
        self.other = self.manager.connect("model")

    def teardown(self) -> None:
        try:
            if hasattr(self, "pool"):
                assert self.pool.check() == []
        finally:
            self.manager.close()

    @rule(key=keys, value=values)
    def set_item(self, key: Any, value: Any) -> None:
        self.pool[key] = value
        self.model[key] = value

    @rule(key=keys, value=values, auto_clean=st.none() | st.just(1000))
    def set(self, key: Any, value: Any, auto_clean: int | None) -> None:
        assert self.other.set(key, value, auto_clean) is True
        self.model[key] = value
        assert (self.pool.ttl(key) is None) == (auto_clean is None)

    @rule(key=keys, value=values, nx=st.booleans())
    def set_on_condition(self, key: Any, value: Any, nx: bool) -> None:
        there = key in self.model
        assert self.pool.set(key, value, nx=nx, xx=not nx) is (there != nx)
        if there != nx:
            self.model[key] = value

    @rule(key=keys, value=values)
    def set_if_version(self, key: Any, value: Any) -> None:
        if key in self.model:
            _, version = self.other.get_versioned(key)
            assert self.pool.set(key, value, if_version=version + 1) is False
            assert self.pool.set(key, value, if_version=version) is True
        else:
            assert self.pool.set(key, value, if_version=0) is True
        self.model[key] = value

    @rule(key=keys)
    def get(self, key: Any) -> None:
        assert answer(lambda: self.other.get(key)) == answer(lambda: self.model.get(key))
        assert answer(lambda: self.pool[key]) == answer(lambda: self.model[key])
        assert (key in self.pool) is (key in self.model)

    @rule(key=keys)
    def delete(self, key: Any) -> None:
        assert self.pool.delete(key) is (self.model.pop(key, MISSING) is not MISSING)

    @rule(key=keys)
    def del_item(self, key: Any) -> None:
        assert answer(lambda: self.pool.__delitem__(key)) == answer(
            lambda: self.model.__delitem__(key)
        )

    @rule(key=keys, default=values)
    def pop(self, key: Any, default: Any) -> None:
        assert answer(lambda: self.pool.pop(key, default)) == answer(
            lambda: self.model.pop(key, default)
        )

    @rule(key=keys, default=values)
    def setdefault(self, key: Any, default: Any) -> None:
        assert answer(lambda: self.pool.setdefault(key, default)) == answer(
            lambda: self.model.setdefault(key, default)
        )

    @rule()
    def popitem(self) -> None:
        if not self.model:
            assert answer(self.pool.popitem) is KeyError
            return
        key, value = self.pool.popitem()
        expected = self.model.pop(key)
        assert (type(value), value) == (type(expected), expected)

    @rule(key=keys, by=st.integers(-5, 5) | st.integers() | st.sampled_from([0.5, 2**63]))
    def increment(self, key: Any, by: Any) -> None:
        old = self.model.get(key, 0)
        try:
            if type(old) not in (int, float):
                raise TypeError
            new = old + by
        except (TypeError, OverflowError) as error:
            expected: type[Exception] = type(error)
            try:
                self.pool.increment(key, by)
            except (TypeError, OverflowError) as error:
                assert type(error) is expected
            else:
                raise AssertionError("increment did not raise") from None
            return
        assert answer(lambda: self.pool.increment(key, by)) == (type(new), new)
        self.model[key] = new

    @rule(key=keys, item=st.text(max_size=5) | st.binary(max_size=5) | st.integers())
    def append(self, key: Any, item: Any) -> None:
        old = self.model.get(key, [])
        if type(old) is list:
            new: Any = [*old, item]
        elif type(old) in (str, bytes) and type(item) is type(old):
            new = old + item
        else:
            assert answer(lambda: self.pool.append(key, item)) is TypeError
            return
        assert self.pool.append(key, item) == len(new)
        self.model[key] = new

    @rule(key=keys, expected=values, new=values)
    def compare_and_set(self, key: Any, expected: Any, new: Any) -> None:
        old = self.model.get(key, MISSING)
        yes = type(old) is type(expected) and old == expected
        assert self.pool.compare_and_set(key, expected, new) is yes
        if yes:
            self.model[key] = new

    @rule(items=st.dictionaries(keys, values, max_size=40))
    def update(self, items: dict[Any, Any]) -> None:
        self.pool.update(items)
        self.model.update(items)

    @rule(some=st.lists(keys, max_size=40))
    def mget(self, some: list[Any]) -> None:
        assert self.other.mget(some) == {key: self.model[key] for key in some if key in self.model}

    @rule(some=st.lists(keys, max_size=40))
    def delete_many(self, some: list[Any]) -> None:
        there = {key for key in some if key in self.model}
        assert self.pool.delete_many(some) == len(there)
        for key in there:
            del self.model[key]

    @rule()
    def clear(self) -> None:
        self.pool.clear()
        self.model.clear()

    @invariant()
    def same_content(self) -> None:
        if not hasattr(self, "pool"):
            return
        assert len(self.pool) == len(self.model)
        assert self.other.copy() == self.model
        prefixed = {k for k in self.model if isinstance(k, str) and k.startswith("a")}
        assert set(self.pool.keys("a")) == prefixed


Model.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TestModel = Model.TestCase
