// SPDX-License-Identifier: MIT

package main

import "sort"

// A canary is a real history of one key with one lie in it. Each is certainly
// not linearizable, so a checker that accepts it checks nothing.
type canary struct {
	name  string
	spoil func(ops []*op) []*op // a broken copy, or nil where the history offers no place
}

var canaries = []canary{
	{"stale read", staleRead},
	{"lost update", lostUpdate},
	{"forgotten write", forgottenWrite},
	{"read after pop", readAfterPop},
	{"two winners of one version", twoWinners},
}

// copyOf gives the operations in the order of their calls, each one's copy.
func copyOf(ops []*op) []*op {
	out := make([]*op, len(ops))
	for i, o := range ops {
		twin := *o
		out[i] = &twin
	}
	sort.Slice(out, func(i, j int) bool { return out[i].call < out[j].call })
	return out
}

func did(o *op, kind uint8) bool { return o.kind == kind && !o.pending() && o.result == ok }

// first is the first operation after the ticket, by its call, that is wanted.
func first(ops []*op, after uint64, wanted func(*op) bool) *op {
	for _, o := range ops {
		if o.call > after && wanted(o) {
			return o
		}
	}
	return nil
}

func of(kind uint8) func(*op) bool { return func(o *op) bool { return did(o, kind) } }

// begin is a ticket in the middle of the history.
func begin(ops []*op) uint64 { return ops[len(ops)/2].call }

// A set, a set after its end, and a get after that one's end which reads the first.
func staleRead(ops []*op) []*op {
	broken := copyOf(ops)
	old := first(broken, begin(broken), of(doSet))
	if old == nil {
		return nil
	}
	over := first(broken, old.end, of(doSet))
	if over == nil {
		return nil
	}
	read := first(broken, over.end, of(doGet))
	if read == nil {
		return nil
	}
	read.got, read.gotType, read.version = old.arg, old.argType, old.version
	return broken
}

// Of two additions, one after the other's end, the second does not contain the first.
func lostUpdate(ops []*op) []*op {
	broken := copyOf(ops)
	for at := begin(broken); ; {
		one := first(broken, at, of(doAdd))
		if one == nil {
			return nil
		}
		two := first(broken, one.end, of(doAdd))
		if two == nil {
			return nil
		}
		if two.got != int64(two.extra)+two.arg { // it found a number there
			two.got -= one.arg
			return broken
		}
		at = one.call
	}
}

// A set that was acknowledged, and read, is not in the history.
func forgottenWrite(ops []*op) []*op {
	broken := copyOf(ops)
	for i, o := range broken {
		if o.call < begin(broken) || !did(o, doSet) {
			continue
		}
		seen := first(broken, o.call, func(r *op) bool {
			return did(r, doGet) && r.got == o.arg && r.gotType == o.argType
		})
		if seen != nil {
			return append(broken[:i:i], broken[i+1:]...)
		}
	}
	return nil
}

// A get after the end of a pop finds what was popped.
func readAfterPop(ops []*op) []*op {
	broken := copyOf(ops)
	pop := first(broken, begin(broken), of(doPop))
	if pop == nil {
		return nil
	}
	read := first(broken, pop.end, of(doGet))
	if read == nil {
		return nil
	}
	read.got, read.gotType, read.version = pop.got, pop.gotType, pop.version
	return broken
}

// Two sets if the version is the same, and both are said to have won.
func twoWinners(ops []*op) []*op {
	broken := copyOf(ops)
	won := first(broken, begin(broken), func(o *op) bool {
		return did(o, doSet) && o.flags&setIfVersion != 0 && o.extra != 0
	})
	if won == nil {
		return nil
	}
	second := *won
	second.arg, second.version, second.client = won.arg^0x5555, won.version+1<<50, won.client+1000
	return append(broken, &second)
}
