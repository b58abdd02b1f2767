// SPDX-License-Identifier: Apache-2.0

package route53

import (
	"cmp"
	"slices"
	"strings"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("POST", "hostedzone", "CreateHostedZone", createHostedZone)
	register("GET", "hostedzone/{Id}", "GetHostedZone", getHostedZone)
	register("POST", "hostedzone/{Id}", "UpdateHostedZoneComment", updateHostedZoneComment)
	register("DELETE", "hostedzone/{Id}", "DeleteHostedZone", deleteHostedZone)
	register("GET", "hostedzone", "ListHostedZones", listHostedZones)
	register("GET", "hostedzonesbyname", "ListHostedZonesByName", listHostedZonesByName)
	register("GET", "hostedzonecount", "GetHostedZoneCount", getHostedZoneCount)
	register("GET", "hostedzone/{HostedZoneId}/dnssec", "GetDNSSEC", getDNSSEC)
	register("GET", "change/{Id}", "GetChange", getChange)
}

// ZoneConfig is a zone's comment and kind.
type ZoneConfig struct {
	Comment string `xml:"Comment,omitempty"`
	Private bool   `xml:"PrivateZone"`
}

// ZoneConfigInput is ZoneConfig as it is sent.
type ZoneConfigInput struct {
	Comment string `query:"Comment"`
	Private *bool  `query:"PrivateZone"`
}

// HostedZone is a zone as answers have it.
type HostedZone struct {
	ID              string     `xml:"Id"`
	Name            string     `xml:"Name"`
	CallerReference string     `xml:"CallerReference"`
	Config          ZoneConfig `xml:"Config"`
	Records         int        `xml:"ResourceRecordSetCount"`
}

func hostedZone(z *vpc.HostedZone) HostedZone {
	return HostedZone{"/" + zonePrefix + string(z.ID), z.Name + ".", z.CallerReference, ZoneConfig{z.Comment, true}, z.Records}
}

func hostedZones(list []*vpc.HostedZone) []HostedZone {
	out := make([]HostedZone, len(list))
	for i, z := range list {
		out[i] = hostedZone(z)
	}
	return out
}

// CreateHostedZoneInput is the input of CreateHostedZone.
type CreateHostedZoneInput struct {
	Name            string           `query:"Name,required"`
	CallerReference string           `query:"CallerReference,required"`
	Config          ZoneConfigInput  `query:"HostedZoneConfig"`
	VPC             *VPC             `query:"VPC"`
	_               awsquery.Refused `query:"DelegationSetId,refuse"`
}

// CreateHostedZoneOutput is the output of CreateHostedZone.
type CreateHostedZoneOutput struct {
	HostedZone HostedZone `xml:"HostedZone"`
	ChangeInfo ChangeInfo `xml:"ChangeInfo"`
	VPC        VPC        `xml:"VPC"`
}

// Location implements awsquery.Created.
func (o *CreateHostedZoneOutput) Location() string {
	return "/" + awsquery.ServiceRoute53.Version + o.HostedZone.ID
}

func createHostedZone(c *Call, in *CreateHostedZoneInput) (*CreateHostedZoneOutput, error) {
	switch private := in.Config.Private; {
	case in.VPC != nil && private != nil && !*private:
		return nil, vpc.Errorf(vpc.Combination, "PrivateZone", "", "A hosted zone with a VPC is private: PrivateZone cannot be false")
	case in.VPC == nil:
		return nil, vpc.Errorf(vpc.Unsupported, "VPC", "", "Public hosted zones are not supported by this endpoint: it answers the VPCs of this installation and nobody outside. For a private hosted zone send the parameter VPC.")
	}
	id, err := vpcID(c, *in.VPC)
	if err != nil {
		return nil, err
	}
	z, change, err := c.Control.CreateZone(c.Context, c.Caller, control.CreateZoneInput{
		Name: in.Name, CallerReference: in.CallerReference, Comment: in.Config.Comment, VPC: id,
	})
	if err != nil {
		return nil, err
	}
	return &CreateHostedZoneOutput{hostedZone(z), changeInfo(change), VPC{c.Control.Region().Name, string(id)}}, nil
}

// ZoneInput is the input of actions on a zone and nothing else.
type ZoneInput struct {
	ID string `query:"Id,required"`
}

// GetHostedZoneOutput is the output of GetHostedZone.
type GetHostedZoneOutput struct {
	HostedZone HostedZone `xml:"HostedZone"`
	VPCs       []VPC      `xml:"VPCs>VPC"`
}

func getHostedZone(c *Call, in *ZoneInput) (*GetHostedZoneOutput, error) {
	z, err := control.OwnedZone(c.View(), c.Caller, zoneID(in.ID))
	if err != nil {
		return nil, err
	}
	return &GetHostedZoneOutput{hostedZone(z), vpcs(c, z.VPCs)}, nil
}

func vpcs(c *Call, ids []vpc.VPCID) []VPC {
	out := make([]VPC, len(ids))
	for i, id := range ids {
		out[i] = VPC{c.Control.Region().Name, string(id)}
	}
	return out
}

// UpdateHostedZoneCommentInput is the input of UpdateHostedZoneComment.
type UpdateHostedZoneCommentInput struct {
	ID      string `query:"Id,required"`
	Comment string `query:"Comment"` // "" removes it
}

// UpdateHostedZoneCommentOutput is the output of UpdateHostedZoneComment.
type UpdateHostedZoneCommentOutput struct {
	HostedZone HostedZone `xml:"HostedZone"`
}

func updateHostedZoneComment(c *Call, in *UpdateHostedZoneCommentInput) (*UpdateHostedZoneCommentOutput, error) {
	z, err := c.Control.SetZoneComment(c.Context, c.Caller, zoneID(in.ID), in.Comment)
	if err != nil {
		return nil, err
	}
	return &UpdateHostedZoneCommentOutput{hostedZone(z)}, nil
}

func deleteHostedZone(c *Call, in *ZoneInput) (*ChangeOutput, error) {
	return changed(c.Control.DeleteZone(c.Context, c.Caller, zoneID(in.ID)))
}

// ListHostedZonesInput is the input of ListHostedZones.
type ListHostedZonesInput struct {
	Marker   string           `query:"marker"`
	MaxItems *int32           `query:"maxitems"`
	Type     string           `query:"hostedzonetype,enum=PrivateHostedZone"`
	_        awsquery.Refused `query:"delegationsetid,refuse"`
}

// ListHostedZonesOutput is the output of ListHostedZones.
type ListHostedZonesOutput struct {
	HostedZones []HostedZone `xml:"HostedZones>HostedZone"`
	Marker      string       `xml:"Marker,omitempty"`
	IsTruncated bool         `xml:"IsTruncated"`
	NextMarker  string       `xml:"NextMarker,omitempty"`
	MaxItems    int          `xml:"MaxItems"`
}

func zones(c *Call) []*vpc.HostedZone {
	return slices.Collect(vpc.By[vpc.HostedZone](c.View(), vpc.IndexOwner, c.Caller.Account))
}

func listHostedZones(c *Call, in *ListHostedZonesInput) (*ListHostedZonesOutput, error) {
	n, err := pageSize("maxitems", in.MaxItems, maxItems)
	if err != nil {
		return nil, err
	}
	list, next := page(zones(c), (*vpc.HostedZone).Key, string(zoneID(in.Marker)), n)
	return &ListHostedZonesOutput{HostedZones: hostedZones(list), Marker: in.Marker, IsTruncated: next != "", NextMarker: next, MaxItems: n}, nil
}

// ListHostedZonesByNameInput is the input of ListHostedZonesByName.
type ListHostedZonesByNameInput struct {
	DNSName  string `query:"dnsname"`
	ZoneID   string `query:"hostedzoneid"`
	MaxItems *int32 `query:"maxitems"`
}

// ListHostedZonesByNameOutput is the output of ListHostedZonesByName.
type ListHostedZonesByNameOutput struct {
	HostedZones []HostedZone `xml:"HostedZones>HostedZone"`
	DNSName     string       `xml:"DNSName,omitempty"`
	ZoneID      string       `xml:"HostedZoneId,omitempty"`
	IsTruncated bool         `xml:"IsTruncated"`
	NextDNSName string       `xml:"NextDNSName,omitempty"`
	NextZoneID  string       `xml:"NextHostedZoneId,omitempty"`
	MaxItems    int          `xml:"MaxItems"`
}

func listHostedZonesByName(c *Call, in *ListHostedZonesByNameInput) (*ListHostedZonesByNameOutput, error) {
	n, err := pageSize("maxitems", in.MaxItems, maxItems)
	if err != nil {
		return nil, err
	}
	start := ""
	switch {
	case in.DNSName == "" && in.ZoneID != "":
		return nil, vpc.Errorf(vpc.Invalid, "hostedzoneid", "", "The parameter hostedzoneid is only for a request with dnsname")
	case in.DNSName != "":
		name, err := vpc.ParseDomainName(in.DNSName)
		if err != nil {
			return nil, vpc.Errorf(vpc.Invalid, "domain-name", in.DNSName, "%v", err)
		}
		start = byNameKey(name, zoneID(in.ZoneID))
	}
	list := zones(c)
	key := func(z *vpc.HostedZone) string { return byNameKey(z.Name, z.ID) }
	slices.SortFunc(list, func(a, b *vpc.HostedZone) int { return cmp.Compare(key(a), key(b)) })
	list, next := page(list, key, start, n)
	out := &ListHostedZonesByNameOutput{HostedZones: hostedZones(list), DNSName: in.DNSName, ZoneID: in.ZoneID, IsTruncated: next != "", MaxItems: n}
	if next != "" {
		_, out.NextZoneID, _ = strings.Cut(next, " ")
		for _, z := range zones(c) {
			if string(z.ID) == out.NextZoneID {
				out.NextDNSName = z.Name + "."
			}
		}
	}
	return out, nil
}

// byNameKey orders zones by their names with the labels reversed, then by id.
func byNameKey(name string, id vpc.HostedZoneID) string {
	return vpc.ReversedName(name) + " " + string(id)
}

// GetHostedZoneCountInput is the input of GetHostedZoneCount.
type GetHostedZoneCountInput struct{}

// GetHostedZoneCountOutput is the output of GetHostedZoneCount.
type GetHostedZoneCountOutput struct {
	Count int `xml:"HostedZoneCount"`
}

func getHostedZoneCount(c *Call, _ *GetHostedZoneCountInput) (*GetHostedZoneCountOutput, error) {
	return &GetHostedZoneCountOutput{len(zones(c))}, nil
}

// GetDNSSECInput is the input of GetDNSSEC.
type GetDNSSECInput struct {
	ID string `query:"HostedZoneId,required"`
}

// getDNSSEC answers what AWS does for every private zone: clients ask before
// they delete one.
func getDNSSEC(c *Call, in *GetDNSSECInput) (*void, error) {
	if _, err := control.OwnedZone(c.View(), c.Caller, zoneID(in.ID)); err != nil {
		return nil, err
	}
	return nil, vpc.Errorf(vpc.Invalid, "dnssec", in.ID, "Operation is unsupported for private hosted zones.")
}

// GetChangeInput is the input of GetChange.
type GetChangeInput struct {
	ID string `query:"Id,required"`
}

// getChange answers INSYNC when the resolver of every live host answers by it.
func getChange(c *Call, in *GetChangeInput) (*ChangeOutput, error) {
	change, done, err := c.Control.DNSChange(c.View(), c.Caller, strings.TrimPrefix(strings.TrimPrefix(in.ID, "/"), changePrefix))
	if err != nil {
		return nil, err
	}
	info := changeInfo(change)
	if done {
		info.Status = "INSYNC"
	}
	return &ChangeOutput{info}, nil
}
