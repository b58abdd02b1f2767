// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"errors"
	"hash/maphash"
	"strings"

	"github.com/miekg/dns"
)

// Limits of RFC 1035.
const (
	maxName   = 255 // bytes of a name in wire form
	maxLabels = 127
)

// name is a domain name with its labels found. Its bytes are in wire form and
// in lower case: the lengths of labels are no letters, so a whole name can be
// lowered and compared byte by byte.
type name struct {
	b []byte
	// offs are where labels begin; offs[n] is the root's.
	offs [maxLabels + 1]uint8
	n    int
}

// set reads a well-formed name in wire form, which it keeps.
func (n *name) set(b []byte) {
	n.b, n.n = b, 0
	for at := 0; ; at += int(b[at]) + 1 {
		n.offs[n.n] = uint8(at)
		if b[at] == 0 {
			return
		}
		n.n++
	}
}

// from is the name without its first i labels.
func (n *name) from(i int) []byte { return n.b[n.offs[i]:] }

// label is the text of a label.
func (n *name) label(i int) []byte { return n.b[int(n.offs[i])+1 : n.offs[i+1]] }

// text is a name in wire form as people write it, with its final dot.
func text(wire []byte) string {
	s, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return "" // names in wire form have been read before
	}
	return s
}

// wire is a name that people wrote in wire form and lower case.
func wire(s string) (string, error) {
	var buf [maxName + 1]byte
	n, err := dns.PackDomainName(dns.Fqdn(s), buf[:], 0, nil, false)
	if err != nil {
		return "", err
	}
	if n > maxName {
		return "", errors.New("the name is too long")
	}
	lower(buf[:n])
	return string(buf[:n]), nil
}

// lower lowers ASCII letters: DNS compares names byte by byte otherwise.
func lower(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}

// canonical lowers ASCII letters and drops the final dot.
func canonical(name string) string {
	name = strings.TrimSuffix(name, ".")
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			b := []byte(name)
			lower(b)
			return string(b)
		}
	}
	return name
}

// seed makes the places of names in tables unknown to those who choose names.
var seed = maphash.MakeSeed()
