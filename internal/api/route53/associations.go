// SPDX-License-Identifier: Apache-2.0

package route53

import (
	"encoding/base64"
	"slices"
	"strings"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("POST", "hostedzone/{HostedZoneId}/associatevpc", "AssociateVPCWithHostedZone", associateVPC)
	register("POST", "hostedzone/{HostedZoneId}/disassociatevpc", "DisassociateVPCFromHostedZone", disassociateVPC)
	register("GET", "hostedzonesbyvpc", "ListHostedZonesByVPC", listHostedZonesByVPC)
	register("POST", "hostedzone/{HostedZoneId}/authorizevpcassociation", "CreateVPCAssociationAuthorization", createAuthorization)
	register("GET", "hostedzone/{HostedZoneId}/authorizevpcassociation", "ListVPCAssociationAuthorizations", listAuthorizations)
	register("POST", "hostedzone/{HostedZoneId}/deauthorizevpcassociation", "DeleteVPCAssociationAuthorization", deleteAuthorization)
}

// AssociationInput is the input of AssociateVPCWithHostedZone and
// DisassociateVPCFromHostedZone.
type AssociationInput struct {
	ZoneID  string `query:"HostedZoneId,required"`
	VPC     VPC    `query:"VPC,required"`
	Comment string `query:"Comment"`
}

func associateVPC(c *Call, in *AssociationInput) (*ChangeOutput, error) {
	id, err := vpcID(c, in.VPC)
	if err != nil {
		return nil, err
	}
	return changed(c.Control.AssociateZone(c.Context, c.Caller, zoneID(in.ZoneID), id, in.Comment))
}

func disassociateVPC(c *Call, in *AssociationInput) (*ChangeOutput, error) {
	id, err := vpcID(c, in.VPC)
	if err != nil {
		return nil, err
	}
	return changed(c.Control.DisassociateZone(c.Context, c.Caller, zoneID(in.ZoneID), id, in.Comment))
}

// ListHostedZonesByVPCInput is the input of ListHostedZonesByVPC.
type ListHostedZonesByVPCInput struct {
	VPCID    string `query:"vpcid,required"`
	Region   string `query:"vpcregion,required"`
	MaxItems *int32 `query:"maxitems"`
	Token    string `query:"nexttoken"`
}

// ListHostedZonesByVPCOutput is the output of ListHostedZonesByVPC.
type ListHostedZonesByVPCOutput struct {
	Zones    []ZoneSummary `xml:"HostedZoneSummaries>HostedZoneSummary"`
	MaxItems int           `xml:"MaxItems"`
	Token    string        `xml:"NextToken,omitempty"`
}

// ZoneSummary is a zone of any account.
type ZoneSummary struct {
	ID    string    `xml:"HostedZoneId"`
	Name  string    `xml:"Name"`
	Owner ZoneOwner `xml:"Owner"`
}

// ZoneOwner is whose a zone is.
type ZoneOwner struct {
	Account string `xml:"OwningAccount"`
}

func listHostedZonesByVPC(c *Call, in *ListHostedZonesByVPCInput) (*ListHostedZonesByVPCOutput, error) {
	n, err := pageSize("maxitems", in.MaxItems, maxItems)
	if err != nil {
		return nil, err
	}
	start, err := placeOf(in.Token)
	if err != nil {
		return nil, err
	}
	id, err := inRegion(c, in.VPCID, in.Region)
	if err != nil {
		return nil, err
	}
	list, err := control.ZonesOfVPC(c.View(), c.Caller, id)
	if err != nil {
		return nil, err
	}
	list, next := page(list, (*vpc.HostedZone).Key, start, n)
	out := &ListHostedZonesByVPCOutput{MaxItems: n, Token: tokenOf(next)}
	for _, z := range list {
		out.Zones = append(out.Zones, ZoneSummary{string(z.ID), z.Name + ".", ZoneOwner{string(z.Owner)}})
	}
	return out, nil
}

// AuthorizationInput is the input of CreateVPCAssociationAuthorization and
// DeleteVPCAssociationAuthorization.
type AuthorizationInput struct {
	ZoneID string `query:"HostedZoneId,required"`
	VPC    VPC    `query:"VPC,required"`
}

// CreateAuthorizationOutput is the output of CreateVPCAssociationAuthorization.
type CreateAuthorizationOutput struct {
	ZoneID string `xml:"HostedZoneId"`
	VPC    VPC    `xml:"VPC"`
}

func createAuthorization(c *Call, in *AuthorizationInput) (*CreateAuthorizationOutput, error) {
	id, err := vpcID(c, in.VPC)
	if err != nil {
		return nil, err
	}
	zone := zoneID(in.ZoneID)
	if err := c.Control.AuthorizeZone(c.Context, c.Caller, zone, id); err != nil {
		return nil, err
	}
	return &CreateAuthorizationOutput{string(zone), VPC{c.Control.Region().Name, string(id)}}, nil
}

func deleteAuthorization(c *Call, in *AuthorizationInput) (*void, error) {
	id, err := vpcID(c, in.VPC)
	if err != nil {
		return nil, err
	}
	return &void{}, c.Control.UnauthorizeZone(c.Context, c.Caller, zoneID(in.ZoneID), id)
}

// ListAuthorizationsInput is the input of ListVPCAssociationAuthorizations.
type ListAuthorizationsInput struct {
	ZoneID     string `query:"HostedZoneId,required"`
	MaxResults *int32 `query:"maxresults"`
	Token      string `query:"nexttoken"`
}

// ListAuthorizationsOutput is the output of ListVPCAssociationAuthorizations.
type ListAuthorizationsOutput struct {
	ZoneID string `xml:"HostedZoneId"`
	VPCs   []VPC  `xml:"VPCs>VPC"`
	Token  string `xml:"NextToken,omitempty"`
}

// maxAuthorizations is the largest page of authorisations, as AWS has it.
const maxAuthorizations = 50

func listAuthorizations(c *Call, in *ListAuthorizationsInput) (*ListAuthorizationsOutput, error) {
	n, err := pageSize("maxresults", in.MaxResults, maxAuthorizations)
	if err != nil {
		return nil, err
	}
	start, err := placeOf(in.Token)
	if err != nil {
		return nil, err
	}
	z, err := control.OwnedZone(c.View(), c.Caller, zoneID(in.ZoneID))
	if err != nil {
		return nil, err
	}
	list, next := page(slices.Clone(z.Authorized), func(id vpc.VPCID) string { return string(id) }, start, n)
	return &ListAuthorizationsOutput{string(z.ID), vpcs(c, list), tokenOf(next)}, nil
}

// tokenStart is what a token is, before the key that the next page begins with.
const tokenStart = "from:"

func tokenOf(next string) string {
	if next == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(tokenStart + next))
}

// placeOf is the key that a token's page begins with, "" for no token.
func placeOf(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	start, ok := strings.CutPrefix(string(raw), tokenStart)
	if err != nil || !ok {
		return "", vpc.Errorf(vpc.BadToken, "nexttoken", "", "The value that you specified for nexttoken isn't valid: %.64s", token)
	}
	return start, nil
}
