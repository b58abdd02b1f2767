// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"fmt"
	"iter"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/vpc/vpctest"
)

// counting is a view that counts the objects it hands out.
type counting struct {
	vpc.View
	n int
}

func (c *counting) LookupAfter(kind vpc.Kind, index, value, after string) iter.Seq[vpc.Object] {
	return func(yield func(vpc.Object) bool) {
		for o := range c.View.LookupAfter(kind, index, value, after) {
			c.n++
			if !yield(o) {
				return
			}
		}
	}
}

func TestAPageCostsWhatItReturns(t *testing.T) {
	const subnets = 300
	v := vpctest.Of()
	for i := range subnets {
		v.List = append(v.List, &vpc.Subnet{ID: vpc.SubnetID(fmt.Sprintf("subnet-%08x", i)), Owner: "111111111111", VPC: vpc.VPCID(fmt.Sprintf("vpc-%08x", i%10))})
	}
	call := &Call{Caller: control.Caller{Account: "111111111111"}}
	five := int32(5)
	page := func(token string, filters ...Filter) ([]*vpc.Subnet, string, int) {
		c := &counting{View: v}
		list, next, err := describeOwned(call, c, subnetResource, nil, filters, Page{MaxResults: &five, NextToken: token}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return list, next, c.n
	}
	seen, token := map[vpc.SubnetID]bool{}, ""
	for {
		list, next, looked := page(token)
		if looked > 6 {
			t.Fatalf("a page of %d looked at %d objects", len(list), looked)
		}
		for _, s := range list {
			if seen[s.ID] {
				t.Fatalf("%s came twice", s.ID)
			}
			seen[s.ID] = true
		}
		if token = next; token == "" {
			break
		}
	}
	if len(seen) != subnets {
		t.Errorf("%d subnets in all pages, want %d", len(seen), subnets)
	}
	for _, value := range []string{"vpc-00000003", "vpc-0000000[3]", "vpc-*3", `vpc-0000000\3`} {
		list, _, looked := page("", Filter{Name: "vpc-id", Values: []string{value}})
		if value == "vpc-00000003" && looked > 6 {
			t.Errorf("one VPC's subnets: %d objects were looked at for a page of 5", looked)
		}
		want := 5
		if value == "vpc-0000000[3]" {
			want = 0
		}
		if len(list) != want {
			t.Errorf("filter %s found %d, want %d", value, len(list), want)
		}
	}
	// Another account's objects under the same id are not the caller's.
	call.Caller.Account = "222222222222"
	if list, _, _ := page("", Filter{Name: "vpc-id", Values: []string{"vpc-00000003"}}); len(list) != 0 {
		t.Errorf("another account saw %d subnets", len(list))
	}
}
