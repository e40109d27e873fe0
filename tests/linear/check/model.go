// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math"

	"github.com/anishathalye/porcupine"
)

// A value is what a key holds. Every value ever written to a key is one of a
// kind (62 random bits, or a sum of random increments), so it stands for its
// record and has exactly one version.
type value struct {
	number int64
	kind   uint8
}

type state struct {
	present bool
	value   value
}

// versions knows each value's version, from everybody who saw both.
type versions struct {
	of     map[value]uint64
	holder map[uint64]value
	breach string // two versions of one value, or one version of two values
}

func (v *versions) learn(o *op, seen value) {
	if o.version == 0 {
		v.breach = fmt.Sprintf("version 0: %v", o)
		return
	}
	if known, there := v.of[seen]; there && known != o.version {
		v.breach = fmt.Sprintf("a value with the versions %d and %d: %v", known, o.version, o)
		return
	}
	if held, there := v.holder[o.version]; there && held != seen {
		v.breach = fmt.Sprintf("version %d came back: %x and %x: %v", o.version, held.number, seen.number, o)
		return
	}
	v.of[seen], v.holder[o.version] = o.version, seen
}

func learnVersions(ops []*op) *versions {
	v := &versions{of: map[value]uint64{}, holder: map[uint64]value{}}
	for _, o := range ops {
		if o.pending() || o.result != ok {
			continue
		}
		switch o.kind {
		case doSet:
			v.learn(o, value{o.arg, o.argType})
		case doGet, doPop:
			v.learn(o, value{o.got, o.gotType})
		}
	}
	return v
}

// of a state; 0: absent, or present with a version that nobody ever saw.
func (v *versions) ofState(s state) uint64 {
	if !s.present {
		return 0
	}
	return v.of[s.value]
}

// matches: may the version that was given be this state's? A version is given
// only by who has seen it, so one that nobody saw is matched by nothing.
func (v *versions) matches(s state, given uint64) bool {
	if !s.present {
		return given == 0
	}
	return given != 0 && v.of[s.value] == given
}

// step says whether the operation, with the outcome it had, can happen in this
// state, and what the state is then. A pending operation has no outcome.
func (v *versions) step(s state, o *op) (bool, state) {
	is := func(result int32) bool { return o.pending() || o.result == result }
	switch o.kind {
	case doGet, doPop:
		if !s.present {
			return is(notFound), s
		}
		after := s
		if o.kind == doPop {
			after = state{}
		}
		return o.pending() || o.result == ok && s.value == value{o.got, o.gotType}, after
	case doLook:
		if !s.present {
			return is(notFound), s
		}
		return o.pending() || o.result == truncated && v.looksLike(s, o.version), s
	case doSet:
		return v.stepSet(s, o)
	case doDelete:
		if !s.present {
			return is(notFound), s
		}
		if o.extra != 0 && !v.matches(s, o.extra) {
			return is(refused), s
		}
		return is(ok), state{}
	default:
		return stepAdd(s, o)
	}
}

// A look tells a version without its value: it must be this one's, or one that
// was seen by looks only if this one's is not known.
func (v *versions) looksLike(s state, version uint64) bool {
	if known := v.ofState(s); known != 0 {
		return known == version
	}
	_, another := v.holder[version]
	return version != 0 && !another
}

func (v *versions) stepSet(s state, o *op) (bool, state) {
	refuse := o.flags&setNX != 0 && s.present ||
		o.flags&setXX != 0 && !s.present ||
		o.flags&setIfVersion != 0 && !v.matches(s, o.extra)
	if refuse {
		return o.pending() || o.result == refused, s
	}
	return o.pending() || o.result == ok, state{true, value{o.arg, o.argType}}
}

func stepAdd(s state, o *op) (bool, state) {
	if s.present && s.value.kind != typeInt64 {
		return o.pending() || o.result == mismatch, s
	}
	sum := int64(o.extra) + o.arg
	if s.present {
		sum = s.value.number + o.arg
	}
	good := o.pending() || o.result == ok && o.got == sum && o.gotType == typeInt64
	return good, state{true, value{sum, typeInt64}}
}

func modelOf(v *versions) porcupine.Model {
	return porcupine.Model{
		Init: func() interface{} { return state{} },
		Step: func(s, input, _ interface{}) (bool, interface{}) {
			return v.step(s.(state), input.(*op))
		},
		Hash: func(s interface{}) uint64 {
			held := s.(state)
			h := uint64(held.value.number)*0x9e3779b97f4a7c15 + uint64(held.value.kind)
			if held.present {
				h = ^h
			}
			return h
		},
	}
}

// operations gives Porcupine's form. A pending one may take effect at any later time.
func operations(ops []*op) []porcupine.Operation {
	out := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		end := int64(math.MaxInt64)
		if !o.pending() {
			end = int64(o.end)
		}
		out[i] = porcupine.Operation{ClientId: int(o.client), Input: o, Call: int64(o.call), Return: end}
	}
	return out
}
