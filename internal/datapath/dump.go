// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"postern.dev/postern/bpf"
	"postern.dev/postern/internal/vpc"
)

// Entry is one entry of a map as the map's own type information describes it,
// so maps of another version's shapes are shown as they are. Key and Value are
// each one of
//
//	Fields                       a struct, without its padding
//	[]any                        an array
//	Number                       64 bits; an AWS id, a hash or a count
//	uint64                       any other number
//	vpc.VNI                      the number of an address space
//	netip.Addr, netip.Prefix     an address, or one with its length
//	net.HardwareAddr             a MAC address
//	time.Time                    a moment
//	string                       text, a name of an enumeration, or several with a |
type Entry struct {
	Map        string
	Key, Value any
}

// Number is 64 bits that may be vpc.Num of an AWS id. What they are, the map
// does not say.
type Number uint64

// Fields are what is in a struct, in its order.
type Fields []Field

// Field is one of Fields.
type Field struct {
	Name  string
	Value any
}

// Maps lists the pinned maps.
func (r *Reader) Maps() ([]string, error) {
	files, err := os.ReadDir(mapDir(r.dir))
	if err != nil {
		return nil, fmt.Errorf("list the pinned maps: %w", err)
	}
	var out []string
	for _, f := range files {
		out = append(out, f.Name())
	}
	return out, nil
}

// Dump walks one pinned map. Entries that come and go meanwhile may be missed
// or seen; an error ends the walk. An array's entry that is all zero has not
// been written and is left out.
func (r *Reader) Dump(name string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		m, err := openPinned(r.dir, name)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer m.Close()
		d, err := newDecoder(name, m)
		if err != nil {
			yield(Entry{}, fmt.Errorf("read the types of map %s: %w", name, err))
			return
		}
		for kv, err := range raw(m) {
			if err != nil {
				yield(Entry{}, fmt.Errorf("read map %s: %w", name, err))
				return
			}
			if !yield(Entry{name, d.key(kv[0]), d.value(kv[1])}, nil) {
				return
			}
		}
	}
}

// raw walks a map as bytes. The values of all CPUs are added up: what is kept
// per CPU here is counts.
func raw(m *ebpf.Map) iter.Seq2[[2][]byte, error] {
	switch m.Type() {
	case ebpf.PerCPUArray:
		return rawPerCPU(m)
	case ebpf.Array:
		return func(yield func([2][]byte, error) bool) {
			var k, v []byte
			it := m.Iterate()
			for it.Next(&k, &v) {
				if !isZero(v) && !yield([2][]byte{k, v}, nil) {
					return
				}
			}
			if err := it.Err(); err != nil {
				yield([2][]byte{}, err)
			}
		}
	}
	return rawBatches(m)
}

func rawBatches(m *ebpf.Map) iter.Seq2[[2][]byte, error] {
	const batch = 4096 // more than any bucket of a hash has
	slice := func(size uint32) reflect.Value {
		return reflect.MakeSlice(reflect.SliceOf(reflect.ArrayOf(int(size), reflect.TypeFor[byte]())), batch, batch)
	}
	return func(yield func([2][]byte, error) bool) {
		keys, values := slice(m.KeySize()), slice(m.ValueSize())
		var cursor ebpf.MapBatchCursor
		for {
			n, err := m.BatchLookup(&cursor, keys.Interface(), values.Interface(), nil)
			for i := range n {
				if !yield([2][]byte{keys.Index(i).Bytes(), values.Index(i).Bytes()}, nil) {
					return
				}
			}
			if errors.Is(err, ebpf.ErrKeyNotExist) {
				return
			}
			if err != nil {
				yield([2][]byte{}, err)
				return
			}
		}
	}
}

func rawPerCPU(m *ebpf.Map) iter.Seq2[[2][]byte, error] {
	return func(yield func([2][]byte, error) bool) {
		if m.ValueSize() != 8 {
			yield([2][]byte{}, fmt.Errorf("values of %d bytes per CPU: only counts can be added up", m.ValueSize()))
			return
		}
		for k := range m.MaxEntries() {
			var per []uint64
			if err := m.Lookup(k, &per); err != nil {
				yield([2][]byte{}, err)
				return
			}
			var sum uint64
			for _, n := range per {
				sum += n
			}
			if sum != 0 && !yield([2][]byte{binary.NativeEndian.AppendUint32(nil, k), binary.NativeEndian.AppendUint64(nil, sum)}, nil) {
				return
			}
		}
	}
}

func isZero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

// decoder turns one map's bytes into values.
type decoder struct {
	keyType, valueType btf.Type
	boot               time.Time
	enums              map[string]*btf.Enum // of the embedded programs
	keyEnum            string               // a key that is one of an enumeration
}

func newDecoder(name string, m *ebpf.Map) (*decoder, error) {
	h, err := m.Handle()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	types, err := h.Spec(nil)
	if err != nil {
		return nil, err
	}
	d := &decoder{boot: bootTime(), enums: map[string]*btf.Enum{}}
	k, v, err := typeIDs(m)
	if err != nil {
		return nil, err
	}
	if d.keyType, err = types.TypeByID(k); err != nil {
		return nil, err
	}
	if d.valueType, err = types.TypeByID(v); err != nil {
		return nil, err
	}
	spec, err := bpf.LoadDatapath()
	if err != nil {
		return nil, err
	}
	for t := range spec.Types.All() {
		if e, ok := t.(*btf.Enum); ok && e.Name != "" {
			d.enums[e.Name] = e
		}
	}
	if name == "counters" {
		d.keyEnum = "counter"
	}
	return d, nil
}

// typeIDs are those of the map's key and value within its type information.
// The eBPF library does not hand them out.
func typeIDs(m *ebpf.Map) (key, value btf.TypeID, err error) {
	var info struct { // struct bpf_map_info of the kernel
		_          [64]byte
		btf        uint32
		key, value uint32
		_          [12]byte
	}
	attr := struct {
		fd, length uint32
		info       unsafe.Pointer
	}{uint32(m.FD()), uint32(unsafe.Sizeof(info)), unsafe.Pointer(&info)}
	const getInfo = 15 // BPF_OBJ_GET_INFO_BY_FD
	if _, _, errno := unix.Syscall(unix.SYS_BPF, getInfo, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)); errno != 0 {
		return 0, 0, fmt.Errorf("ask for the map's types: %w", errno)
	}
	return btf.TypeID(info.key), btf.TypeID(info.value), nil
}

func (d *decoder) key(b []byte) any {
	if e, ok := d.enums[d.keyEnum]; ok && len(b) == 4 {
		return enumName(e, uint64(binary.NativeEndian.Uint32(b)))
	}
	return d.decode("", "", d.keyType, b)
}

func (d *decoder) value(b []byte) any { return d.decode("", "", d.valueType, b) }

// meaning says what a field is that its type does not tell: by its struct and
// name, else by its name. A field that is not here is a number.
var meaning = map[string]string{
	"interface.kind": "interface_kind", "interface.flags": "interface_flag", "port.flags": "port_flag",
	"route.kind": "route_kind", "listener.flags": "listener_flag",
	"conn.kind": "conn_kind", "conn.seen": "seen", "conn.flags": "conn_flag",
	"conn.proxy": "proxy_layout", "conn.proxy_state": "proxy_state", "listener.proxy": "proxy_layout",
	"drop_key.reason": "reason",
	"proto":           "protocol",
	"vni":             "vni", "link": "vni", "server_vni": "vni",
	"dns_key.name": "domain", "dns_answer.body": "bytes",
	"last": "time", "created": "time", "last_seen": "time", "refreshed": "time", "full": "time", "fragment_value.seen": "time",
}

// decode gives the value of type t that lies in b. parent and field say where.
func (d *decoder) decode(parent, field string, t btf.Type, b []byte) any {
	bigEndian := false
	for {
		def, ok := t.(*btf.Typedef)
		if !ok {
			break
		}
		if def.Name == "__be32" && len(b) >= 4 {
			return netip.AddrFrom4([4]byte(b[:4]))
		}
		bigEndian = bigEndian || strings.HasPrefix(def.Name, "__be")
		t = def.Type
	}
	size, err := btf.Sizeof(t)
	if err != nil || size > len(b) {
		return fmt.Sprintf("%x", b)
	}
	b = b[:size]
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return d.decodeStruct(t, b)
	case *btf.Array:
		return d.decodeArray(parent, field, t, b)
	case *btf.Int, *btf.Enum:
		n := integer(b, bigEndian)
		if what, ok := meaning[parent+"."+field]; ok {
			return d.means(what, n, size)
		}
		return d.means(meaning[field], n, size)
	}
	return fmt.Sprintf("%x", b)
}

func (d *decoder) means(what string, n uint64, size int) any {
	switch what {
	case "":
		if size == 8 {
			return Number(n)
		}
		return n
	case "vni":
		return vpc.VNI(n)
	case "time":
		if n == 0 {
			return time.Time{}
		}
		return d.boot.Add(time.Duration(n)).UTC()
	case "reason":
		return ReasonOf(uint32(n)).Name
	case "protocol":
		return ProtocolName(int(n))
	}
	e, ok := d.enums[what]
	switch {
	case !ok:
		return n
	case strings.HasSuffix(what, "_flag") || what == "seen" || what == "proxy_state":
		return flagNames(e, n)
	}
	return enumName(e, n)
}

func (d *decoder) decodeStruct(t *btf.Struct, b []byte) any {
	if t.Name == "addr" && len(b) == 16 {
		return netip.AddrFrom16([16]byte(b)).Unmap()
	}
	var out Fields
	length := -1 // of an address in a longest prefix key
	for _, m := range t.Members {
		from := int(m.Offset.Bytes())
		if strings.HasPrefix(m.Name, "pad") || from > len(b) {
			continue
		}
		v := d.decode(t.Name, m.Name, m.Type, b[from:])
		if n, ok := v.(uint64); ok && m.Name == "prefixlen" && slices.ContainsFunc(t.Members, func(m btf.Member) bool { return m.Name == "addr" }) {
			length = int(n) - 64
			continue
		}
		if a, ok := v.(netip.Addr); ok && length >= 0 {
			v = prefixOf(a, length)
		}
		out = append(out, Field{m.Name, v})
	}
	return out
}

// prefixOf is an address of 128 bits with the length of its prefix; those of
// IPv4 are behind 96 bits more.
func prefixOf(a netip.Addr, length int) netip.Prefix {
	if a.Is4() {
		length -= 96
	}
	return netip.PrefixFrom(a, length)
}

func (d *decoder) decodeArray(parent, field string, t *btf.Array, b []byte) any {
	size, err := btf.Sizeof(t.Type)
	if err != nil || size == 0 {
		return fmt.Sprintf("%x", b)
	}
	def, isTypedef := t.Type.(*btf.Typedef)
	switch {
	case size == 1 && t.Nelems == 6:
		return net.HardwareAddr(slices.Clone(b))
	case size == 1 && meaning[parent+"."+field] == "domain":
		return domainName(b)
	case size == 1 && meaning[parent+"."+field] == "bytes":
		return fmt.Sprintf("%x", bytes.TrimRight(b, "\x00"))
	case size == 1:
		return string(bytes.TrimRight(b, "\x00"))
	case size == 4 && t.Nelems == 2 && !(isTypedef && strings.HasPrefix(def.Name, "__be")): // split in number.go
		return Number(integer(b[:4], false) | integer(b[4:8], false)<<32)
	}
	var out []any
	for i := range int(t.Nelems) {
		out = append(out, d.decode(parent, field, t.Type, b[i*size:]))
	}
	return out
}

// domainName is a name of DNS in wire form as people write it.
func domainName(b []byte) string {
	var out strings.Builder
	for len(b) > 0 && b[0] != 0 && int(b[0]) < len(b) {
		fmt.Fprintf(&out, "%s.", b[1:1+b[0]])
		b = b[1+b[0]:]
	}
	return cmp.Or(out.String(), ".")
}

func integer(b []byte, bigEndian bool) uint64 {
	var order binary.ByteOrder = binary.NativeEndian
	if bigEndian {
		order = binary.BigEndian
	}
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(order.Uint16(b))
	case 4:
		return uint64(order.Uint32(b))
	case 8:
		return order.Uint64(b)
	}
	return 0
}

// enumName is a value's name in lower case, without what all names of its
// enumeration begin with.
func enumName(e *btf.Enum, n uint64) string {
	for _, v := range e.Values {
		if v.Value == n {
			return shortName(v.Name)
		}
	}
	return fmt.Sprint(n)
}

// flagNames tries what stands for several bits first.
func flagNames(e *btf.Enum, n uint64) string {
	var out []string
	values := slices.Clone(e.Values)
	slices.SortStableFunc(values, func(a, b btf.EnumValue) int { return bits.OnesCount64(b.Value) - bits.OnesCount64(a.Value) })
	for _, v := range values {
		if v.Value != 0 && n&v.Value == v.Value {
			out = append(out, shortName(v.Name))
			n &^= v.Value
		}
	}
	if n != 0 {
		out = append(out, fmt.Sprintf("0x%x", n))
	}
	return strings.Join(out, "|")
}

// shortName makes KIND_WORKLOAD "workload", and SEEN_FIN_INITIATOR "fin-initiator".
func shortName(s string) string {
	_, rest, _ := strings.Cut(s, "_")
	return strings.ReplaceAll(strings.ToLower(rest), "_", "-")
}

// ProtocolName is a protocol as people write it.
func ProtocolName(p int) string {
	switch p {
	case vpc.TCP:
		return "tcp"
	case vpc.UDP:
		return "udp"
	case vpc.ICMP:
		return "icmp"
	case vpc.ICMPv6:
		return "icmpv6"
	}
	return fmt.Sprint(p)
}

func openPinned(pinDir, name string) (*ebpf.Map, error) {
	if name != filepath.Base(name) {
		return nil, fmt.Errorf("%q is no map's name", name)
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(mapDir(pinDir), name), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("open the pinned map %s: %w", name, err)
	}
	return m, nil
}
