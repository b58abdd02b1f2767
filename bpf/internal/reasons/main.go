// SPDX-License-Identifier: Apache-2.0

// Command reasons turns bpf/drop_reasons.h into the Go table of drop reasons,
// so that the header stays the only list. It runs in bpf/ by go generate and
// refuses a line that it does not understand, a number used twice and a
// reason without a sentence.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"log"
	"os"
	"regexp"
	"strings"
)

var line = regexp.MustCompile(`^DROP_([A-Z0-9_]+) = (\d+), /\* ([A-Z].*\.) \*/$`)

func main() {
	log.SetFlags(0)
	src, err := os.ReadFile("drop_reasons.h")
	if err != nil {
		log.Fatal(err)
	}
	out, err := generate(string(src))
	if err != nil {
		log.Fatalf("drop_reasons.h: %v", err)
	}
	if err := os.WriteFile("reasons_generated.go", out, 0o644); err != nil {
		log.Fatal(err)
	}
}

// generate reads the header and returns the formatted Go source.
func generate(header string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("// SPDX-License-Identifier: Apache-2.0\n\n// Code generated from drop_reasons.h by internal/reasons; DO NOT EDIT.\n\npackage bpf\n\n")
	b.WriteString("// Reasons a packet is dropped for, by number.\nconst (\n")
	var table bytes.Buffer
	seen := map[string]bool{}
	for n, l := range strings.Split(header, "\n") {
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "DROP_") {
			continue
		}
		m := line.FindStringSubmatch(l)
		if m == nil {
			return nil, fmt.Errorf("line %d is not \"DROP_NAME = number, /* One sentence. */\": %s", n+1, l)
		}
		name, code, text := m[1], m[2], m[3]
		if seen[code] {
			return nil, fmt.Errorf("line %d uses number %s again", n+1, code)
		}
		seen[code] = true
		fmt.Fprintf(&b, "\tDrop%s = %s // %s\n", camel(name), code, text)
		fmt.Fprintf(&table, "\t{%s, %q, %q},\n", code, strings.ReplaceAll(strings.ToLower(name), "_", "-"), text)
	}
	if len(seen) == 0 {
		return nil, fmt.Errorf("no reasons found")
	}
	b.WriteString(")\n\n// Reasons lists every reason in the header's order: number, name, sentence.\nvar Reasons = []struct {\n\tCode uint32\n\tName string\n\tText string\n}{\n")
	b.Write(table.Bytes())
	b.WriteString("}\n")
	return format.Source(b.Bytes())
}

// camel turns GROUP_EGRESS into GroupEgress; the usual initialisms stay whole.
func camel(s string) string {
	var b strings.Builder
	for _, w := range strings.Split(s, "_") {
		switch w {
		case "IP", "ACL", "MAC", "TCP", "NAT", "ARP", "ND", "ICMP", "IPV6":
			b.WriteString(strings.Replace(w, "IPV6", "IPv6", 1))
		default:
			b.WriteString(w[:1] + strings.ToLower(w[1:]))
		}
	}
	return b.String()
}
