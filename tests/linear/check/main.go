// SPDX-License-Identifier: MIT

// check judges the histories that tests/linear/linear.c wrote: is there an
// order of the operations on each key, each between its call and its end, in
// which every outcome is right? The search is Porcupine's.
//
//	check FILE
//
// Some histories are then broken on purpose and must be refused (canary.go).
// Exit status: 0 linearizable and all canaries refused, 1 if not, 2 no history.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	searchLimit    = 60 * time.Second
	canariesWanted = 6 // refused ones of each kind
)

type totals struct {
	rounds, ops, pending, overlapping, clients, kills, stops, resizes, histories, longest int
	kinds                                                                                 [kindCount]int
	broken                                                                                []string
	refused                                                                               map[string]int
}

func judge(ops []*op, v *versions) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(modelOf(v), operations(ops), searchLimit)
}

func byKey(r *round) map[uint8][]*op {
	keys := map[uint8][]*op{}
	for i := range r.ops {
		o := &r.ops[i]
		keys[o.key] = append(keys[o.key], o)
	}
	return keys
}

func (t *totals) complain(r *round, key uint8, what string) {
	t.broken = append(t.broken, fmt.Sprintf("round %d, key %d: %s", r.number, key, what))
}

// fly sends canaries of this history until enough of each kind were refused.
func (t *totals) fly(r *round, key uint8, ops []*op) {
	for _, c := range canaries {
		if t.refused[c.name] >= canariesWanted {
			continue
		}
		broken := c.spoil(ops)
		if broken == nil {
			continue
		}
		if result := judge(broken, learnVersions(broken)); result == porcupine.Illegal {
			t.refused[c.name]++
		} else {
			t.complain(r, key, fmt.Sprintf("canary %q: %s instead of refused", c.name, result))
		}
	}
}

// explain writes the whole history of the key, for people.
func explain(r *round, key uint8, ops []*op) string {
	path := fmt.Sprintf("%s.round%d.key%d.txt", os.Args[1], r.number, key)
	file, err := os.Create(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	for _, o := range copyOf(ops) {
		fmt.Fprintln(file, o)
	}
	return path
}

func (t *totals) checkKey(r *round, key uint8, ops []*op) {
	t.histories++
	t.longest = max(t.longest, len(ops))
	for _, o := range ops {
		t.kinds[o.kind]++
		if o.pending() {
			t.pending++
		} else if o.result < 0 {
			t.complain(r, key, fmt.Sprintf("failed: %v", o))
		}
		if o.pending() || o.end > o.call+1 {
			t.overlapping++
		}
	}
	v := learnVersions(ops)
	if v.breach != "" {
		t.complain(r, key, v.breach)
	}
	if result := judge(ops, v); result != porcupine.Ok {
		t.complain(r, key, fmt.Sprintf("NOT LINEARIZABLE (%s), see %s", result, explain(r, key, ops)))
		return
	}
	t.fly(r, key, ops)
}

func (t *totals) checkRound(r *round) {
	t.rounds++
	t.ops += len(r.ops)
	t.clients += int(r.clients)
	t.kills += int(r.kills)
	t.stops += int(r.stops)
	t.resizes += int(r.resizes)
	for key, ops := range byKey(r) {
		t.checkKey(r, key, ops)
	}
}

func (t *totals) report(took time.Duration) {
	fmt.Printf("%d operations in %d rounds, %d processes, %d kills, %d stops, %d index resizes\n",
		t.ops, t.rounds, t.clients, t.kills, t.stops, t.resizes)
	for kind, count := range t.kinds {
		fmt.Printf("%s %d  ", kindNames[kind], count)
	}
	fmt.Printf("(%d cut off by a kill, %d overlapping others)\n", t.pending, t.overlapping)
	fmt.Printf("%d histories of one key, at most %d operations long, judged in %.1f s\n",
		t.histories, t.longest, took.Seconds())
	for _, c := range canaries {
		fmt.Printf("canary: %s: %d broken histories refused\n", c.name, t.refused[c.name])
		if t.refused[c.name] == 0 {
			t.broken = append(t.broken, fmt.Sprintf("canary %q: none was refused", c.name))
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: check FILE")
		os.Exit(2)
	}
	t := &totals{refused: map[string]int{}}
	begun := time.Now()
	if err := readHistory(os.Args[1], t.checkRound); err != nil || t.rounds == 0 {
		fmt.Fprintln(os.Stderr, "check:", os.Args[1], err)
		os.Exit(2)
	}
	t.report(time.Since(begun))
	for i, line := range t.broken {
		if i == 20 {
			fmt.Printf("and %d more\n", len(t.broken)-i)
			break
		}
		fmt.Println(line)
	}
	if len(t.broken) > 0 {
		fmt.Println("verdict: NOT linearizable")
		os.Exit(1)
	}
	fmt.Println("verdict: linearizable")
}
