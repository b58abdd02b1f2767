// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// fuzzVPCs have one record of each set, whose order is then no matter of chance.
var fuzzVPCs = map[vpc.VNI]desired.VPC{vniA: {
	DNS: true, PrivateZones: []string{"corp.example", "s3.us-east-1.amazonaws.com"},
	Records: []desired.Record{
		{Name: "*.s3.us-east-1.amazonaws.com", Addrs: addrs("10.0.0.1", "2001:db8::1"), TTL: 60},
		{Name: "a.corp.example", CNAME: "b.corp.example", TTL: 60},
		{Name: "b.corp.example", CNAME: "x.s3.us-east-1.amazonaws.com", TTL: 60},
		{Name: "out.corp.example", CNAME: "www.outside.test", TTL: 60},
		{Name: "loop.corp.example", CNAME: "loop.corp.example", TTL: 60},
		{Name: "alias.corp.example", Alias: "a.corp.example", AliasType: "A", TTL: 60},
		{Name: "txt.corp.example", Type: "TXT", Values: []string{"\"" + strings.Repeat("x", 255) + "\" \"" + strings.Repeat("y", 255) + "\""}, TTL: 60},
	},
}}

// header is the start of a query with so many of everything.
func header(questions, additional byte) []byte {
	return []byte{0xab, 0xcd, bitRD, 0, 0, questions, 0, 0, 0, 0, 0, additional}
}

func FuzzQuery(f *testing.F) {
	for _, name := range []string{"bucket.s3.us-east-1.amazonaws.com.", "A.corp.example.", "out.corp.example.", "loop.corp.example.", "txt.corp.example.", ".", "1.0.0.10.in-addr.arpa.", "\\000\\255.corp.example."} {
		for _, rrtype := range []uint16{dns.TypeA, dns.TypeANY, dns.TypeAXFR, dns.TypeTXT, dns.TypeCNAME} {
			q := new(dns.Msg).SetQuestion(name, rrtype)
			raw, _ := q.Pack()
			f.Add(raw, false)
			q.SetEdns0(4096, true)
			q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
			raw, _ = q.Pack()
			f.Add(raw, true)
			f.Add(raw[:len(raw)-1], false)
			f.Add(append(raw, 0), false)
		}
	}
	question := func(name string) []byte { return append(append(header(1, 0), name...), 0, 1, 0, 1) }
	// Names that are compressed: into the header, to themselves, in a circle,
	// past the end, and one that is right and leads forward into the question.
	f.Add(question("\xc0\x00"), false)
	f.Add(question("\xc0\x0c"), false)
	f.Add(question("\x01a\xc0\x0c"), false)
	f.Add(question("\xff\xff"), false)
	f.Add(question("\x04corp\xc0\x0e\x07example\x00"), false)
	f.Add(question("\x3f"+strings.Repeat("a", 63)+"\x00"), false)
	f.Add(question("\x40"+strings.Repeat("a", 64)+"\x00"), false)
	f.Add(question(strings.Repeat("\x01a", 127)+"\x00"), false)
	f.Add(question(strings.Repeat("\x01a", 128)+"\x00"), false)
	f.Add(append(header(1, 1), "\x01a\x00\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x05\x00\x0a\x00\x02x"...), false)
	f.Add([]byte(fmt.Sprintf("%012d", 0)), false)

	view := compiled(f, fuzzVPCs)
	r := New(Options{View: func() *View { return view }})
	f.Fuzz(func(t *testing.T, raw []byte, tcp bool) {
		given := bytes.Clone(raw)
		var sc scratch
		reply, later := r.handle(&sc, raw, Asker{VNI: vniA}, tcp)
		reply = bytes.Clone(reply)
		if later != nil {
			t.Fatal("forwarded without upstreams")
		}
		if !bytes.Equal(raw, given) {
			t.Fatal("the query was written to")
		}
		q, m := new(dns.Msg), new(dns.Msg)
		unreadable := q.Unpack(raw)
		if reply == nil {
			if len(raw) >= headerBytes && raw[2]&bitQR == 0 {
				t.Fatal("no answer")
			}
			return
		}
		if err := m.Unpack(reply); err != nil {
			t.Fatalf("the reply cannot be read: %v", err)
		}
		limit := dns.MaxMsgSize
		if !tcp {
			limit = dns.MinMsgSize
			if o := q.IsEdns0(); o != nil && unreadable == nil {
				limit = min(max(limit, int(o.UDPSize())), udpPayload)
			}
		}
		if len(reply) > limit || m.Id != uint16(raw[0])<<8|uint16(raw[1]) || !m.Response {
			t.Fatalf("%d bytes, %v", len(reply), m)
		}
		if unreadable == nil && len(q.Question) == 1 && (len(m.Question) != 1 || m.Question[0] != q.Question[0]) {
			t.Fatalf("asked for %v, answered %v", q.Question, m.Question)
		}
		// What is read here is what the library reads: the answer to the same
		// query in the library's words is the same.
		if new(query).read(raw, tcp) {
			form, other := usual(raw, tcp)
			if form == nil {
				t.Fatalf("the library answers %x instead", other)
			}
			again, _ := r.handle(new(scratch), form, Asker{VNI: vniA}, tcp)
			if !bytes.Equal(again, reply) {
				t.Fatalf("answered\n%x, in the library's words\n%x", reply, again)
			}
		}
	})
}

// What a tenant wrote into a record is one record's data or nothing.
func FuzzRecordData(f *testing.F) {
	for _, s := range []struct{ rrtype, value string }{
		{"TXT", `"a" "b\"c" \000`}, {"MX", "10 mail.corp.example."}, {"SRV", "1 2 3 a.b."}, {"CAA", `0 issue "ca"`}, {"TYPE65400", `\# 3 010203`},
		{"HTTPS", `1 . alpn="h2"`}, {"TXT", "(\n\"x\" )"}, {"TXT", "$INCLUDE /etc/hostname"}, {"A", "10.0.0.1"}, {"NAPTR", `1 1 "" "" "" .`}, {"ANY", ""}, {"CNAME", "A.b"},
		{"TXT", `"x" ; www 60 IN A 192.0.2.66`}, {"SOA", "a. b. 1 2 3 4 5"}, {"DS", "1 8 2 00"}, {"TYPE1", "10.0.0.1"},
	} {
		f.Add(s.rrtype, s.value)
	}
	f.Fuzz(func(t *testing.T, rrtype, value string) {
		n, data, err := recordData(rrtype, value)
		if err != nil {
			return
		}
		if !isData(n) || strings.ContainsAny(value, "\r\n") || len(data) > 0xffff {
			t.Fatalf("type %d, %d bytes of %q", n, len(data), value)
		}
		var q query
		question := new(dns.Msg).SetQuestion("x.corp.example.", n)
		raw, _ := question.Pack()
		if !q.read(raw, true) {
			t.Fatal("the question is not usual")
		}
		view := Compile(nil, map[vpc.VNI]desired.VPC{vniA: {DNS: true, Records: []desired.Record{{Name: "x.corp.example", Type: rrtype, Values: []string{value}, TTL: 5}}}}, nil, loggerTo(io.Discard))
		var w writer
		q.begin(&w)
		l := view.spaces[vniA].answer(&q, &w)
		m := new(dns.Msg)
		if err := m.Unpack(q.finish(&w, l)); err != nil {
			t.Fatalf("the answer with %q cannot be read: %v", value, err)
		}
		if len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != n || m.Answer[0].Header().Ttl != 5 {
			t.Fatalf("%q is answered %v", value, m.Answer)
		}
	})
}

// Names as people write them and as messages have them are the same names.
func FuzzName(f *testing.F) {
	for _, s := range []string{"corp.example", "*.Corp.Example.", ".", "", `a\.b.c`, `\000\255.x`, "a..b", strings.Repeat("a", 63) + ".b", strings.Repeat("a.", 127), "ünï.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := wire(s)
		if err != nil {
			return
		}
		var n name
		n.set([]byte(w))
		if len(w) > maxName || n.n != depth(w) || !isWithin(w, w) || w[len(w)-1] != 0 {
			t.Fatalf("%q is %x", s, w)
		}
		again, err := wire(text([]byte(w)))
		if err != nil || again != w {
			t.Fatalf("%q is %q in words, which is %x: %v", s, text([]byte(w)), again, err)
		}
	})
}

// told is an upstream that answers every question with the same bytes after its
// header and question.
type told struct {
	net.Conn
	flags  [2]byte
	counts [3]byte
	rest   []byte
	answer []byte
}

func (c *told) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, io.EOF } // makes it a packet socket to the library
func (c *told) WriteTo([]byte, net.Addr) (int, error)  { return 0, io.EOF }
func (c *told) Close() error                           { return nil }
func (c *told) SetDeadline(time.Time) error            { return nil }
func (c *told) SetReadDeadline(time.Time) error        { return nil }
func (c *told) SetWriteDeadline(time.Time) error       { return nil }
func (c *told) RemoteAddr() net.Addr                   { return &net.UDPAddr{} }
func (c *told) LocalAddr() net.Addr                    { return &net.UDPAddr{} }
func (c *told) Read(b []byte) (int, error) {
	if c.answer == nil {
		return 0, io.EOF
	}
	n := copy(b, c.answer)
	c.answer = nil
	return n, nil
}

func (c *told) Write(q []byte) (int, error) {
	end := headerBytes
	for q[end] != 0 {
		end += 1 + int(q[end])
	}
	end += 5
	c.answer = append(bytes.Clone(q[:end]), c.rest...)
	copy(c.answer[2:], c.flags[:])
	c.answer[7], c.answer[9], c.answer[11] = c.counts[0], c.counts[1], c.counts[2]
	return len(q), nil
}

// Whatever an upstream says, the asker gets a message that can be read, is no
// larger than it can take and answers its question.
func FuzzUpstreamAnswer(f *testing.F) {
	a := "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x01"
	for _, seed := range []struct {
		flags, counts int
		rest          string
	}{
		{0x8180, 0x010000, a},
		{0x8183, 0x000100, "\x04test\x00\x00\x06\x00\x01\x00\x00\x00\x3c\x00\x16\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x1e"},
		{0x8180, 0x020000, "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x10" + "\xc0\x10\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x01"},
		{0x8180, 0x010000, "\xc0\xff\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x01"}, // past the end
		{0x8180, 0x010000, "\xc0\x22\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x01"}, // to itself
		{0x8180, 0x010000, "\x01a\xc0\x22\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x01"},
		{0x8380, 0x000000, ""},
		{0x8182, 0x000001, "\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x08\x00\x0f\x00\x04\x00\x06xx"},
		{0x8180, 0x400000, strings.Repeat(a, 64)},
	} {
		f.Add(uint16(seed.flags), byte(seed.counts>>16), byte(seed.counts>>8), byte(seed.counts), []byte(seed.rest), byte(0))
		f.Add(uint16(seed.flags), byte(seed.counts>>16), byte(seed.counts>>8), byte(seed.counts), []byte(seed.rest), byte(3))
	}
	view := compiled(f, fuzzVPCs)
	f.Fuzz(func(t *testing.T, flags uint16, answers, others, additional byte, rest []byte, how byte) {
		r := New(Options{
			View: func() *View { return view }, Upstreams: func() []string { return []string{"192.0.2.53"} },
			Dial: func(context.Context, string, string) (net.Conn, error) {
				return &told{flags: [2]byte{byte(flags >> 8), byte(flags)}, counts: [3]byte{answers, others, additional}, rest: rest}, nil
			},
		})
		defer r.Shutdown(context.Background())
		q := new(dns.Msg).SetQuestion([]string{"www.OUTSIDE.test.", "out.corp.example."}[how&1], dns.TypeA)
		if how&2 != 0 {
			q.SetEdns0(900, true)
		}
		raw, _ := q.Pack()
		for range 2 { // asked, and from the cache
			reply, later := r.handle(new(scratch), raw, Asker{VNI: vniA}, false)
			if later != nil {
				reply = later(context.Background())
			}
			m := new(dns.Msg)
			if err := m.Unpack(reply); err != nil {
				t.Fatalf("%x: %v", reply, err)
			}
			if len(reply) > 512 && how&2 == 0 || len(reply) > 900 || m.Id != q.Id || m.Question[0] != q.Question[0] || (m.IsEdns0() != nil) != (how&2 != 0) || m.Authoritative {
				t.Fatalf("%d bytes: %v", len(reply), m)
			}
		}
	})
}
