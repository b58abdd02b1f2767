// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"time"
)

// Kinds of what surrounds the resources.
const (
	KindAccount Kind = "account"
	KindRegion  Kind = "region"
	KindHost    Kind = "host"
	KindToken   Kind = "client-token"
	KindDomain  Kind = "verified-domain"
)

// AccessKey is one signing key of an account.
type AccessKey struct {
	ID     string `json:"id"`     // AKIA...
	Secret string `json:"secret"` // never logged, never returned by an API
}

// Account owns resources. Name is what people type on the command line.
type Account struct {
	ID       AccountID   `json:"id"`
	Name     string      `json:"name"`
	Operator bool        `json:"operator,omitempty"`
	Keys     []AccessKey `json:"keys"`
	Created  time.Time   `json:"created"`
}

// IndexKey finds an account by access key id.
const IndexKey = "access-key"

func (*Account) Kind() Kind    { return KindAccount }
func (a *Account) Key() string { return string(a.ID) }
func (a *Account) Index(add func(index, value string)) {
	add(IndexName, a.Name)
	for _, k := range a.Keys {
		add(IndexKey, k.ID)
	}
}
func (a *Account) Refs(add func(Kind, string)) {}
func (a *Account) Claims(add func(string)) {
	add("account-name/" + a.Name)
	for _, k := range a.Keys {
		add("access-key/" + k.ID)
	}
}

// RootARN is the account's root principal.
func (a AccountID) RootARN() string { return "arn:aws:iam::" + string(a) + ":root" }

// Zone is an availability zone.
type Zone struct {
	Name string `json:"name"` // us-east-1a
	ID   string `json:"id"`   // use1-az1
}

// Region is the one region an installation is; there is exactly one object.
type Region struct {
	Name  string `json:"name"` // us-east-1
	Zones []Zone `json:"zones"`
	// DHCPOptions is the id of the region's default DHCP options set.
	DHCPOptions string `json:"dhcpOptions"`
	// Domain is the suffix of endpoint names: vpce.amazonaws.com.
	Domain string `json:"domain"`
	// ProxyLayout is whose layout PROXY protocol headers have: aws (also ""),
	// azure or alibaba.
	ProxyLayout string `json:"proxyLayout,omitempty"`
}

// RegionKey is the key of the one Region object.
const RegionKey = "region"

func (*Region) Kind() Kind                          { return KindRegion }
func (*Region) Key() string                         { return RegionKey }
func (*Region) Index(add func(index, value string)) {}
func (*Region) Refs(add func(Kind, string))         {}
func (*Region) Claims(add func(string))             {}

// ZoneID is the id of a zone by its name, "" if there is none.
func (r *Region) ZoneID(name string) string {
	for _, z := range r.Zones {
		if z.Name == name {
			return z.ID
		}
	}
	return ""
}

// ARN builds an EC2 ARN: arn:aws:ec2:region:account:resource.
func (r *Region) ARN(service string, owner AccountID, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, r.Name, owner, resource)
}

// Host is a machine that runs the agent. What it has applied is status, kept
// by the server its stream ends at, not here.
type Host struct {
	ID   HostID `json:"id"`
	Zone string `json:"zone"` // "" serves every zone (one machine alone)
	// Underlay is where other hosts send it packets of its VPCs: an IPv4
	// address that only hosts reach. A host without one exchanges none.
	Underlay netip.Addr `json:"underlay,omitzero"`
	// Join is the hash of a token with which a machine may become this host,
	// until JoinBefore; nil once it has.
	Join       []byte    `json:"join,omitempty"`
	JoinBefore time.Time `json:"joinBefore,omitzero"`
	// PublicKey is the hash of that of the machine that did: no other
	// certificate is this host's. nil for the server's own machine.
	PublicKey []byte `json:"publicKey,omitempty"`
}

// notUnderlay are IPv4 addresses that are no machine's among others.
var notUnderlay = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/3"),
}

// ValidUnderlay reports whether an address can be a host's Underlay.
func ValidUnderlay(a netip.Addr) bool {
	return a.Is4() && !slices.ContainsFunc(notUnderlay, func(p netip.Prefix) bool { return p.Contains(a) })
}

// hostName is a DNS name, as thisHost makes it of the machine's name.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*$`)

// MaxHostID is the length of the longest name of a host: a machine's on Linux.
const MaxHostID = 64

// ValidHostID reports whether a name can be a host's: it becomes a part of
// paths and of certificates.
func ValidHostID(id HostID) bool { return len(id) <= MaxHostID && hostName.MatchString(string(id)) }

func (*Host) Kind() Kind                            { return KindHost }
func (h *Host) Key() string                         { return string(h.ID) }
func (h *Host) Index(add func(index, value string)) {}
func (h *Host) Refs(add func(Kind, string))         {}
func (h *Host) Claims(add func(string)) {
	if h.Underlay.IsValid() {
		add("underlay/" + h.Underlay.String())
	}
}

// ClientToken remembers what a call with a client token made, so that the
// same call again answers with it and another call with it is refused.
type ClientToken struct {
	Account AccountID `json:"account"`
	Action  string    `json:"action"`
	Token   string    `json:"token"`
	Hash    string    `json:"hash"`   // of the other parameters
	Result  string    `json:"result"` // the id of what was made
	Created time.Time `json:"created"`
}

// TokenKey is the key of a client token's record.
func TokenKey(account AccountID, action, token string) string {
	return string(account) + "/" + action + "/" + token
}

func (*ClientToken) Kind() Kind                            { return KindToken }
func (t *ClientToken) Key() string                         { return TokenKey(t.Account, t.Action, t.Token) }
func (t *ClientToken) Index(add func(index, value string)) {}
func (t *ClientToken) Refs(add func(Kind, string))         {}
func (t *ClientToken) Claims(add func(string))             {}

// VerifiedDomain is a DNS domain the operator vouches for: endpoint services
// of the account may use it and the names below it as private DNS names.
type VerifiedDomain struct {
	Account AccountID `json:"account"`
	Domain  string    `json:"domain"` // canonical
}

func (*VerifiedDomain) Kind() Kind                            { return KindDomain }
func (d *VerifiedDomain) Key() string                         { return string(d.Account) + "/" + d.Domain }
func (d *VerifiedDomain) Index(add func(index, value string)) { add(IndexOwner, string(d.Account)) }
func (d *VerifiedDomain) Refs(add func(Kind, string))         {}
func (d *VerifiedDomain) Claims(add func(string))             {}

func init() {
	register[Account]()
	register[Region]()
	register[Host]()
	register[ClientToken]()
	register[VerifiedDomain]()
}
