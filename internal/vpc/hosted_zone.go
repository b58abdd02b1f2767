// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Kinds of private DNS objects.
const (
	KindHostedZone Kind = "hosted-zone"
	KindRecordSet  Kind = "record-set"
	KindDNSChange  Kind = "dns-change"
)

// IndexZone finds the record sets of a hosted zone, by its id: their keys are
// in the order in which Route 53 lists them. IndexZoneName finds those at one
// name, by ZoneNameValue.
const (
	IndexZone     = "zone"
	IndexZoneName = "zone-name"
)

// HostedZone is a private hosted zone: names that the VPCs associated with it
// resolve to its record sets.
type HostedZone struct {
	ID    HostedZoneID `json:"id"`
	Owner AccountID    `json:"owner"`
	Name  string       `json:"name"` // as ParseDomainName has it
	// CallerReference is the owner's word for the call that made it.
	CallerReference string `json:"callerReference"`
	Comment         string `json:"comment,omitempty"`
	// VPCs are those associated with it, of any account, in the order in which
	// they were. One that is deleted stays here, as it does on AWS.
	VPCs []VPCID `json:"vpcs"`
	// Authorized are VPCs of other accounts that those may associate.
	Authorized []VPCID `json:"authorized,omitempty"`
	// Records is how many record sets there are.
	Records int       `json:"records"`
	Created time.Time `json:"created"`
	Tags    Tags      `json:"tags,omitempty"`
}

func (*HostedZone) Kind() Kind    { return KindHostedZone }
func (z *HostedZone) Key() string { return string(z.ID) }
func (z *HostedZone) Index(add func(index, value string)) {
	add(IndexOwner, string(z.Owner))
	for _, id := range z.VPCs {
		add(IndexVPC, string(id))
	}
}
func (z *HostedZone) Refs(add func(Kind, string)) {}
func (z *HostedZone) Claims(add func(string)) {
	add(CallerReferenceClaim(z.Owner, z.CallerReference))
	for _, id := range z.VPCs {
		add(ZoneNameClaim(id, z.Name))
	}
}

// OwnerID is the account it belongs to.
func (z *HostedZone) OwnerID() AccountID { return z.Owner }

// CallerReferenceClaim makes an account's word for a call its only one.
func CallerReferenceClaim(owner AccountID, ref string) string {
	return "hosted-zone-reference/" + string(owner) + "/" + ref
}

// ZoneNameClaim makes a VPC have one hosted zone of a name.
func ZoneNameClaim(id VPCID, name string) string {
	return "hosted-zone-name/" + string(id) + "/" + name
}

// NewHostedZoneID makes an id of Route 53's form from random bytes.
func NewHostedZoneID(rnd io.Reader) (HostedZoneID, error) {
	s, err := newRoute53ID("Z", rnd)
	return HostedZoneID(s), err
}

// NewDNSChangeID makes the id of a DNSChange.
func NewDNSChangeID(rnd io.Reader) (string, error) { return newRoute53ID("C", rnd) }

func newRoute53ID(letter string, rnd io.Reader) (string, error) {
	b := make([]byte, 13)
	if _, err := io.ReadFull(rnd, b); err != nil {
		return "", fmt.Errorf("read random bytes for a new id: %w", err)
	}
	return letter + base32.StdEncoding.EncodeToString(b)[:20], nil
}

// RecordSet is all records of one name and type in a hosted zone. Either
// Values or Alias says what they are.
type RecordSet struct {
	Zone HostedZoneID `json:"zone"`
	Name string       `json:"name"` // as ParseDomainName has it
	Type RecordType   `json:"type"`
	TTL  uint32       `json:"ttl,omitempty"`
	// Values are the records as they were sent; RecordData reads one.
	Values []string `json:"values,omitempty"`
	Alias  *Alias   `json:"alias,omitempty"`
}

// Alias is a record set that answers with the records of another name.
type Alias struct {
	Zone HostedZoneID `json:"zone"` // of the name: the record set's own, or that of endpoints' or load balancers' names
	Name string       `json:"name"` // as ParseDomainName has it
	// EvaluateHealth is kept and shown: a name that has only one answer gives
	// it, whatever its health.
	EvaluateHealth bool `json:"evaluateHealth,omitempty"`
}

// RecordSetKey is the key of a record set: sorted, keys are in the order of
// the names with their labels reversed, and of a name's types.
func RecordSetKey(zone HostedZoneID, name string, t RecordType) string {
	// A space sorts before all that a name may have.
	return string(zone) + "/" + ReversedName(name) + " " + string(t)
}

// ReversedName is a name with its labels reversed, each followed by a dot:
// com.example.www.
func ReversedName(name string) string {
	labels := strings.Split(name, ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

// ZoneNameValue is what IndexZoneName has for a name of a zone.
func ZoneNameValue(zone HostedZoneID, name string) string { return string(zone) + "/" + name }

func (*RecordSet) Kind() Kind    { return KindRecordSet }
func (r *RecordSet) Key() string { return RecordSetKey(r.Zone, r.Name, r.Type) }
func (r *RecordSet) Index(add func(index, value string)) {
	add(IndexZone, string(r.Zone))
	add(IndexZoneName, ZoneNameValue(r.Zone, r.Name))
}

// Refs implements Object. The zone is no reference: whatever writes a record
// set writes its zone too, so that neither goes without the other.
func (r *RecordSet) Refs(add func(Kind, string)) {}
func (r *RecordSet) Claims(add func(string))     {}

// DNSChange is a change of hosted zones that was asked for. It is done when
// the resolver of every host answers by the revision that it was written at.
type DNSChange struct {
	ID        string    `json:"id"` // C...
	Owner     AccountID `json:"owner"`
	Comment   string    `json:"comment,omitempty"`
	Submitted time.Time `json:"submitted"`
}

func (*DNSChange) Kind() Kind                            { return KindDNSChange }
func (c *DNSChange) Key() string                         { return c.ID }
func (c *DNSChange) Index(add func(index, value string)) {}
func (c *DNSChange) Refs(add func(Kind, string))         {}
func (c *DNSChange) Claims(add func(string))             {}

// OwnerID is the account it belongs to.
func (c *DNSChange) OwnerID() AccountID { return c.Owner }

// The name servers that a private hosted zone shows: nobody can ask them.
const zoneMaster = "ns-1536.awsdns-00.co.uk."

// ZoneServers are the values of a new zone's NS record set.
func ZoneServers() []string {
	return []string{zoneMaster, "ns-0.awsdns-00.com.", "ns-1024.awsdns-00.org.", "ns-512.awsdns-00.net."}
}

// ApexRecords are the record sets that a new zone has.
func (z *HostedZone) ApexRecords() []*RecordSet {
	return []*RecordSet{
		{Zone: z.ID, Name: z.Name, Type: "NS", TTL: 172800, Values: ZoneServers()},
		{Zone: z.ID, Name: z.Name, Type: "SOA", TTL: 900, Values: []string{zoneMaster + " awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"}},
	}
}

// EndpointZoneID is the id of the zone of the region's endpoint names.
func EndpointZoneID(r *Region) HostedZoneID { return HostedZoneID(hostedZoneID(r.Domain, r.Name)) }

// DualStackPrefix is what clients put before a load balancer's name in an
// alias; it leads to the same.
const DualStackPrefix = "dualstack."

// BalancerZoneID is the id of the zone of the region's load balancer names.
func BalancerZoneID(r *Region) HostedZoneID {
	h := sha256.Sum256([]byte("load balancer zone " + r.Name))
	return HostedZoneID("Z" + strings.ToUpper(hex.EncodeToString(h[:]))[:13])
}

func init() {
	register[HostedZone]()
	register[RecordSet]()
	register[DNSChange]()
}
