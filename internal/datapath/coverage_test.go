// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Which lines of C do the tests execute? With POSTERN_COVERAGE=FILE every program
// that a test loads marks, in a map, each of its basic blocks that runs, and FILE
// says in the end which lines never did. A mark is two instructions with a register
// that holds nothing there; the rest of the program is as it was.

// coverage is the marks of all programs. It is nil unless asked for.
var coverage *marks

type marks struct {
	m      *ebpf.Map                // one value, a byte for each block
	lines  map[line]map[uint32]bool // blocks with instructions of a line
	silent int                      // blocks that have no register to spare
}

type line struct {
	file   string
	number uint32
}

const mostBlocks = 1 << 17

func newMarks() (*marks, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: mostBlocks, MaxEntries: 1})
	if err != nil {
		return nil, err
	}
	return &marks{m: m, lines: map[line]map[uint32]bool{}}, nil
}

// instrument adds marks to all programs of spec.
func (c *marks) instrument(spec *ebpf.CollectionSpec) error {
	if c == nil {
		return nil
	}
	next := uint32(0)
	c.silent = 0
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		p := spec.Programs[name]
		out, err := c.mark(p.Instructions, &next)
		if err != nil {
			return fmt.Errorf("program %s: %w", name, err)
		}
		p.Instructions = out
	}
	return nil
}

// mark numbers the blocks from next on: equal programs get equal numbers.
func (c *marks) mark(in asm.Instructions, next *uint32) (asm.Instructions, error) {
	// where jumps lead
	at := map[asm.RawInstructionOffset]int{}
	offsets := make([]asm.RawInstructionOffset, len(in))
	for it := in.Iterate(); it.Next(); {
		at[it.Offset], offsets[it.Index] = it.Index, it.Offset
	}
	target := map[int]int{}
	leads := map[int]bool{0: true}
	for i, ins := range in {
		if ins.Symbol() != "" {
			leads[i] = true
		}
		if !branches(ins) {
			continue
		}
		leads[i+1] = true
		if op := ins.OpCode.JumpOp(); op == asm.Exit {
			continue
		}
		if ins.OpCode.Class() == asm.Jump32Class && ins.OpCode.JumpOp() == asm.Ja {
			return nil, errors.New("a jump of 32 bits")
		}
		to, ok := at[offsets[i]+1+asm.RawInstructionOffset(ins.Offset)]
		if !ok {
			return nil, fmt.Errorf("instruction %d jumps between instructions", i)
		}
		target[i], leads[to] = to, true
	}
	live := liveness(in, target)

	before := map[int]asm.Instructions{} // what is put in front of an instruction
	for lead := range in {
		if !leads[lead] {
			continue
		}
		end := lead + 1
		for end < len(in) && !leads[end] {
			end++
		}
		block := *next
		*next++
		if block >= mostBlocks {
			return nil, errors.New("too many blocks")
		}
		where := -1
		var free asm.Register
		for i := lead; i < end && where < 0; i++ {
			if i == lead && in[i].Symbol() != "" {
				continue // the function begins here
			}
			for r := asm.R0; r <= asm.R9; r++ {
				if live[i]&(1<<r) == 0 {
					where, free = i, r
					break
				}
			}
		}
		if where < 0 {
			c.silent++
			continue
		}
		before[where] = asm.Instructions{asm.LoadMapValue(free, c.m.FD(), block), asm.StoreImm(free, 0, 1, asm.Byte)}
		var l line
		for i := lead; i < end; i++ {
			if src, ok := in[i].Source().(*btf.Line); ok && src.LineNumber() != 0 {
				l = line{filepath.Base(src.FileName()), src.LineNumber()}
			}
			if l.number == 0 {
				continue
			}
			if c.lines[l] == nil {
				c.lines[l] = map[uint32]bool{}
			}
			c.lines[l][block] = true
		}
	}

	label := map[int]string{} // of what is jumped to
	for _, to := range target {
		if label[to] = in[to].Symbol(); label[to] == "" {
			label[to] = fmt.Sprintf("block-%d", to)
		}
	}
	var out asm.Instructions
	for i, ins := range in {
		if to, ok := target[i]; ok {
			ins = ins.WithReference(label[to])
			ins.Offset = -1
		}
		extra := before[i]
		if l := label[i]; l != "" && ins.Symbol() == "" {
			if len(extra) > 0 {
				extra[0] = extra[0].WithSymbol(l)
			} else {
				ins = ins.WithSymbol(l)
			}
		}
		out = append(append(out, extra...), ins)
	}
	return out, nil
}

func branches(ins asm.Instruction) bool {
	return ins.OpCode.Class().IsJump() && ins.OpCode.JumpOp() != asm.Call
}

// liveness says which registers hold something before each instruction.
func liveness(in asm.Instructions, target map[int]int) []uint16 {
	live := make([]uint16, len(in)+1)
	for changed := true; changed; {
		changed = false
		for i := len(in) - 1; i >= 0; i-- {
			ins := in[i]
			var after uint16
			if !branches(ins) || ins.OpCode.JumpOp() != asm.Exit && ins.OpCode.JumpOp() != asm.Ja {
				after = live[i+1]
			}
			if to, ok := target[i]; ok {
				after |= live[to]
			}
			use, def := usage(ins)
			if now := after&^def | use; now != live[i] {
				live[i], changed = now, true
			}
		}
	}
	return live
}

// usage says which registers an instruction reads and which it fills.
func usage(ins asm.Instruction) (use, def uint16) {
	dst, src := uint16(1)<<ins.Dst, uint16(1)<<ins.Src
	op := ins.OpCode
	switch class := op.Class(); {
	case class.IsJump():
		switch op.JumpOp() {
		case asm.Call:
			return 0b111110, 0b111111
		case asm.Exit:
			return 1, 0
		case asm.Ja:
			return 0, 0
		}
		use = dst
		if op.Source() == asm.RegSource {
			use |= src
		}
	case class.IsALU():
		use, def = dst, dst
		if op.ALUOp() == asm.Swap { // its source bit says which order
			return use, def
		}
		if op.ALUOp() == asm.Mov {
			use = 0
		}
		if op.Source() == asm.RegSource {
			use |= src
		}
	case class == asm.LdXClass:
		use, def = src, dst
	case class == asm.LdClass:
		def = dst
	case class == asm.StClass:
		use = dst
	case class == asm.StXClass:
		use = dst | src
		if op.Mode() == asm.AtomicMode {
			use |= 1
		}
	}
	return use, def
}

// report writes, by file, how many lines with code ran, and which did not.
func (c *marks) report(to string) error {
	var ran []byte
	if err := c.m.Lookup(uint32(0), &ran); err != nil {
		return err
	}
	files := map[string][]line{}
	for l := range c.lines {
		files[l.file] = append(files[l.file], l)
	}
	var b strings.Builder
	all, hit := 0, 0
	for _, file := range slices.Sorted(maps.Keys(files)) {
		var missed []string
		lines := files[file]
		slices.SortFunc(lines, func(a, b line) int { return int(a.number) - int(b.number) })
		for _, l := range lines {
			ok := false
			for block := range c.lines[l] {
				ok = ok || ran[block] != 0
			}
			if !ok {
				missed = append(missed, fmt.Sprint(l.number))
			}
		}
		all, hit = all+len(lines), hit+len(lines)-len(missed)
		fmt.Fprintf(&b, "%-14s %4d of %4d lines, not: %s\n", file, len(lines)-len(missed), len(lines), strings.Join(missed, " "))
	}
	fmt.Fprintf(&b, "all %d of %d lines (%.1f %%); %d blocks without a mark\n", hit, all, 100*float64(hit)/float64(all), c.silent)
	return os.WriteFile(to, []byte(b.String()), 0o644)
}
