// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/netip"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// maxDHCPOptions bounds the sets of one account.
const maxDHCPOptions = 100

// maxDHCPText is the longest value of an option.
const maxDHCPText = 255

// maxDHCPServers is how many servers of one family an option may have.
const maxDHCPServers = 4

// dhcpKeys are the options there are, with the most values each may have and
// a check of one value.
var dhcpKeys = map[string]struct {
	most int
	ok   func(string) bool
}{
	vpc.DHCPDomain:         {1, func(s string) bool { return s != "" && len(s) <= maxDHCPText }},
	vpc.DHCPServers:        {2 * maxDHCPServers, func(s string) bool { return s == vpc.AmazonDNS || isIPv4(s) || isIPv6(s) }},
	"ntp-servers":          {2 * maxDHCPServers, func(s string) bool { return isIPv4(s) || isIPv6(s) }},
	"netbios-name-servers": {maxDHCPServers, isIPv4},
	"netbios-node-type":    {1, func(s string) bool { return s == "1" || s == "2" || s == "4" || s == "8" }},
}

func isIPv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() && !a.Is4In6() && a.Zone() == ""
}

// tooMany reports whether there are more values of one family than there may be.
func tooMany(values []string) bool {
	n := map[bool]int{}
	for _, v := range values {
		n[isIPv6(v)]++
	}
	return max(n[true], n[false]) > maxDHCPServers
}

func checkDHCP(options []vpc.DHCPOption) error {
	seen := map[string]bool{}
	for _, o := range options {
		k, known := dhcpKeys[o.Key]
		switch {
		case !known:
			return vpc.Errorf(vpc.Invalid, "key", o.Key, "Value (%.64s) for parameter key is invalid. Unknown DHCP option", o.Key)
		case seen[o.Key]:
			return vpc.Errorf(vpc.Invalid, "key", o.Key, "Value (%s) for parameter key is invalid. The option is given twice", o.Key)
		case len(o.Values) == 0 || len(o.Values) > k.most || tooMany(o.Values):
			return vpc.Errorf(vpc.Invalid, o.Key, "", "The DHCP option %s takes 1 to %d values, not %d", o.Key, k.most, len(o.Values))
		}
		seen[o.Key] = true
		for _, v := range o.Values {
			if !k.ok(v) {
				return vpc.Errorf(vpc.Invalid, o.Key, v, "Value (%.64s) for parameter value is invalid. It is no value of the DHCP option %s", v, o.Key)
			}
		}
		if len(o.Values) > 1 && slices.Contains(o.Values, vpc.AmazonDNS) {
			return vpc.Errorf(vpc.Invalid, o.Key, vpc.AmazonDNS, "Value (%s) for parameter value is invalid. It cannot be used together with other name servers", vpc.AmazonDNS)
		}
	}
	return nil
}

// CreateDHCPOptions makes a set of DHCP options.
func (c *Control) CreateDHCPOptions(ctx context.Context, caller Caller, options []vpc.DHCPOption, tags vpc.Tags) (vpc.DHCPOptionsID, error) {
	if err := checkDHCP(options); err != nil {
		return "", err
	}
	var id vpc.DHCPOptionsID
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		touchAccount(tx, caller.Account)
		if count[vpc.DHCPOptions](tx, vpc.IndexOwner, caller.Account) >= maxDHCPOptions {
			return vpc.Errorf(vpc.Limit, string(vpc.KindDHCPOptions), "", "The maximum number of DHCP options sets has been reached: %d", maxDHCPOptions)
		}
		s, err := c.newID(vpc.PrefixDHCPOptions)
		if err != nil {
			return err
		}
		id = vpc.DHCPOptionsID(s)
		tx.Put(&vpc.DHCPOptions{ID: id, Owner: caller.Account, Options: options, Tags: tags})
		return nil
	})
	return id, err
}

// DefaultDHCPOptions is the region's set, which every account sees as its own.
func DefaultDHCPOptions(r *vpc.Region, owner vpc.AccountID) *vpc.DHCPOptions {
	return &vpc.DHCPOptions{ID: vpc.DHCPOptionsID(r.DHCPOptions), Owner: owner, Options: r.DefaultDHCPOptions()}
}

// SeenDHCPOptions finds a set of the caller's account, or the region's.
func SeenDHCPOptions(v vpc.View, caller Caller, id vpc.DHCPOptionsID) (*vpc.DHCPOptions, error) {
	if r := RegionOf(v); string(id) == r.DHCPOptions {
		return DefaultDHCPOptions(r, caller.Account), nil
	}
	d, err := Owned[vpc.DHCPOptions](v, caller, id)
	if err != nil {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindDHCPOptions), string(id), "The dhcpOption ID '%s' does not exist", id)
	}
	return d, nil
}

// AssociateDHCPOptions makes a VPC use a set: one of the account's, the
// region's, or none at all (vpc.DHCPNone).
func (c *Control) AssociateDHCPOptions(ctx context.Context, caller Caller, id vpc.DHCPOptionsID, to vpc.VPCID) error {
	return c.update(ctx, caller, func(tx *store.Tx) error {
		v, err := Owned[vpc.VPC](tx, caller, to)
		if err != nil {
			return err
		}
		if id != vpc.DHCPNone {
			if _, err := SeenDHCPOptions(tx, caller, id); err != nil {
				return err
			}
		}
		v = vpc.Edit(v)
		v.DHCPOptions = id
		if string(id) == RegionOf(tx).DHCPOptions {
			v.DHCPOptions = ""
		}
		tx.Put(v)
		return nil
	})
}

// DeleteDHCPOptions removes a set that no VPC uses. The region's stays.
func (c *Control) DeleteDHCPOptions(ctx context.Context, caller Caller, id vpc.DHCPOptionsID) error {
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		d, err := SeenDHCPOptions(tx, caller, id)
		if err != nil {
			return err
		}
		if string(id) == RegionOf(tx).DHCPOptions {
			return vpc.Errorf(vpc.NotPermitted, string(vpc.KindDHCPOptions), string(id), "The dhcpOptions '%s' are the region's and cannot be deleted.", id)
		}
		tx.Delete(d)
		return nil
	})
	return dependent(err, "The dhcpOptions '%s' has dependencies and cannot be deleted.", string(id))
}
