// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// The words of history.h and latzero.h.
const (
	doGet = iota
	doLook
	doSet
	doDelete
	doPop
	doAdd
	kindCount
)

const (
	ok        = 0
	notFound  = 1
	refused   = 2
	truncated = 3
	mismatch  = 4

	setNX        = 1
	setXX        = 2
	setIfVersion = 8

	typeInt64 = 3
	typeBytes = 6

	historyMagic = 0x31727473696e696c
	opSize       = 64
	headSize     = 48
)

var kindNames = [kindCount]string{"get", "look", "set", "delete", "pop", "add"}

// An op is one operation of one process. end 0: its process was killed in it.
type op struct {
	call, end        uint64
	arg              int64
	extra            uint64
	got              int64
	version          uint64
	result           int32
	client           uint32
	kind, key, flags uint8
	argType, gotType uint8
}

func (o *op) pending() bool { return o.end == 0 }

func (o *op) String() string {
	end := "killed"
	if !o.pending() {
		end = fmt.Sprint(o.end)
	}
	return fmt.Sprintf("[%d..%s] client %d: %s key %d flags %d arg %d/%x extra %x -> %d got %d/%x version %d",
		o.call, end, o.client, kindNames[o.kind], o.key, o.flags, o.argType, o.arg, o.extra,
		o.result, o.gotType, o.got, o.version)
}

type round struct {
	seed, number                   uint64
	clients, kills, stops, resizes uint32
	ops                            []op
}

func parseOp(b []byte) op {
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	return op{
		call: u64(0), end: u64(8), arg: int64(u64(16)), extra: u64(24), got: int64(u64(32)), version: u64(40),
		result: int32(u32(48)), client: u32(52),
		kind: b[56], key: b[57], flags: b[58], argType: b[59], gotType: b[60],
	}
}

// readRound gives io.EOF at the end of the file.
func readRound(in io.Reader) (*round, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint64(head[0:]) != historyMagic {
		return nil, fmt.Errorf("no history")
	}
	r := &round{
		seed:    binary.LittleEndian.Uint64(head[8:]),
		number:  binary.LittleEndian.Uint64(head[16:]),
		clients: binary.LittleEndian.Uint32(head[32:]),
		kills:   binary.LittleEndian.Uint32(head[36:]),
		stops:   binary.LittleEndian.Uint32(head[40:]),
		resizes: binary.LittleEndian.Uint32(head[44:]),
	}
	r.ops = make([]op, binary.LittleEndian.Uint64(head[24:]))
	var b [opSize]byte
	for i := range r.ops {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return nil, fmt.Errorf("history cut off: %w", err)
		}
		r.ops[i] = parseOp(b[:])
		if r.ops[i].kind >= kindCount {
			return nil, fmt.Errorf("operation of kind %d", r.ops[i].kind)
		}
	}
	return r, nil
}

func readHistory(path string, visit func(*round)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	for {
		r, err := readRound(in)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		visit(r)
	}
}
