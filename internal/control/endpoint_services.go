// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"slices"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// CreateServiceInput are the parameters of
// CreateVpcEndpointServiceConfiguration that have an effect.
type CreateServiceInput struct {
	Balancers          []vpc.ARN
	AcceptanceRequired bool
	AddressTypes       []string // SupportedIpAddressTypes; none is ipv4
	PrivateDNSName     string
	ClientToken        string
	Tags               vpc.Tags
}

// CreateService makes an endpoint service in front of the caller's network
// load balancers. It is Available at once.
func (c *Control) CreateService(ctx context.Context, caller Caller, in CreateServiceInput) (*vpc.EndpointService, error) {
	const action = "CreateVpcEndpointServiceConfiguration"
	token := in.ClientToken
	in.ClientToken = ""
	if err := checkToken(token); err != nil {
		return nil, err
	}
	if len(in.Balancers) == 0 {
		return nil, badEndpoint("exactly one of network_load_balancer_arn or gateway_load_balancer_arn is a required member")
	}
	if err := checkPrivateName(in.PrivateDNSName); err != nil {
		return nil, err
	}
	if err := checkAddressTypes(in.AddressTypes, nil); err != nil {
		return nil, err
	}
	var made *vpc.EndpointService
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		if id, err := remembered(tx, caller, action, token, in); err != nil {
			return err
		} else if id != "" {
			made, err = OwnedService(tx, caller, vpc.ServiceID(id))
			return err
		}
		id, err := c.newID(vpc.PrefixService)
		if err != nil {
			return err
		}
		s := &vpc.EndpointService{
			ID: vpc.ServiceID(id), Owner: caller.Account, Name: "com.amazonaws.vpce." + RegionOf(tx).Name + "." + id,
			AcceptanceRequired: in.AcceptanceRequired, Created: c.Now(), Tags: in.Tags,
		}
		if err := addBalancers(tx, caller, s, in.Balancers); err != nil {
			return err
		}
		types := in.AddressTypes
		if len(types) == 0 {
			types = []string{vpc.IPv4Only}
		}
		s.NoIPv4 = true // until it is among the types
		if err := setAddressTypes(tx, s, types, nil); err != nil {
			return err
		}
		captureZones(tx, s)
		if in.PrivateDNSName != "" {
			if err := c.nameService(tx, s, in.PrivateDNSName); err != nil {
				return err
			}
		}
		tx.Put(s)
		c.remember(tx, caller, action, token, in, id)
		made = s
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// ModifyServiceInput are the parameters of
// ModifyVpcEndpointServiceConfiguration that have an effect. Nil pointers are
// parameters that were not sent.
type ModifyServiceInput struct {
	ID vpc.ServiceID
	// PrivateDNSName "" removes the name, as RemovePrivateDNSName does.
	PrivateDNSName       *string
	RemovePrivateDNSName bool
	AcceptanceRequired   *bool
	AddBalancers         []vpc.ARN
	RemoveBalancers      []vpc.ARN
	AddAddressTypes      []string
	RemoveAddressTypes   []string
}

// ModifyService changes a service. Whatever else it does, it captures the
// zones of the load balancers anew. Setting the private DNS name it has changes
// nothing.
func (c *Control) ModifyService(ctx context.Context, caller Caller, in ModifyServiceInput) error {
	name := in.PrivateDNSName
	if in.RemovePrivateDNSName {
		if name != nil && *name != "" {
			return vpc.Errorf(vpc.Combination, "PrivateDnsName", "", "The parameters PrivateDnsName and RemovePrivateDnsName cannot be used together")
		}
		name = new(string)
	}
	if name != nil {
		if err := checkPrivateName(*name); err != nil {
			return err
		}
	}
	if err := checkAddressTypes(in.AddAddressTypes, in.RemoveAddressTypes); err != nil {
		return err
	}
	return c.update(ctx, caller, func(tx *store.Tx) error {
		s, err := OwnedService(tx, caller, in.ID)
		if err != nil {
			return err
		}
		s = vpc.Edit(s)
		if err := removeBalancers(tx, caller, s, in.RemoveBalancers); err != nil {
			return err
		}
		if err := addBalancers(tx, caller, s, in.AddBalancers); err != nil {
			return err
		}
		if len(s.Balancers) == 0 {
			return badEndpoint("The VPC endpoint service %s needs at least one network load balancer", s.ID)
		}
		if err := setAddressTypes(tx, s, in.AddAddressTypes, in.RemoveAddressTypes); err != nil {
			return err
		}
		captureZones(tx, s)
		if in.AcceptanceRequired != nil {
			s.AcceptanceRequired = *in.AcceptanceRequired
		}
		if name != nil && *name != s.PrivateDNSName {
			if err := c.renameService(tx, s, *name); err != nil {
				return err
			}
		}
		tx.Put(s)
		return nil
	})
}

// DeleteServices deletes services nobody is connected to. Endpoints that were
// rejected stay as they are. Its notifications go when what waits for them is
// delivered.
func (c *Control) DeleteServices(ctx context.Context, caller Caller, ids []vpc.ServiceID) ([]ItemError, error) {
	ids = unique(ids)
	var failed []ItemError
	err := c.update(ctx, caller, func(tx *store.Tx) error {
		failed = nil
		for _, id := range ids {
			s, err := OwnedService(tx, caller, id)
			switch {
			case err != nil:
				failed = append(failed, ItemError{string(id), serviceNotFound(KindServiceItem, id)})
			case connected(tx, s):
				failed = append(failed, ItemError{string(id), existingConnections(s)})
			default:
				c.closeNotifications(tx, vpc.IndexService, string(id))
				tx.Delete(s)
			}
		}
		return nil
	})
	return failed, err
}

func addBalancers(tx *store.Tx, caller Caller, s *vpc.EndpointService, arns []vpc.ARN) error {
	for _, arn := range unique(arns) {
		if _, err := Owned[vpc.LoadBalancer](tx, caller, arn); err != nil {
			return balancerNotFound(arn)
		}
		if slices.Contains(s.Balancers, arn) {
			continue
		}
		if o, ok := vpc.First[vpc.EndpointService](tx, vpc.IndexBalancer, arn); ok && o.ID != s.ID {
			return badEndpoint("The network load balancer %s is already associated with another VPC endpoint service", arn)
		}
		s.Balancers = append(s.Balancers, arn)
	}
	return nil
}

func removeBalancers(tx *store.Tx, caller Caller, s *vpc.EndpointService, arns []vpc.ARN) error {
	for _, arn := range unique(arns) {
		if _, err := Owned[vpc.LoadBalancer](tx, caller, arn); err != nil {
			return balancerNotFound(arn)
		}
		if !slices.Contains(s.Balancers, arn) {
			continue
		}
		if connected(tx, s) {
			return existingConnections(s)
		}
		s.Balancers = slices.DeleteFunc(s.Balancers, func(b vpc.ARN) bool { return b == arn })
	}
	return nil
}

// checkAddressTypes refuses IP address types that no service has, or that are
// added and removed at once.
func checkAddressTypes(add, remove []string) error {
	for _, t := range slices.Concat(add, remove) {
		if t != vpc.IPv4Only && t != vpc.IPv6Only {
			return badEndpoint("'%.32s' is not an IP address type (SupportedIpAddressType), use ipv4 or ipv6", t)
		}
		if slices.Contains(add, t) && slices.Contains(remove, t) {
			return vpc.Errorf(vpc.Combination, "AddSupportedIpAddressType", t, "The IP address type %s (AddSupportedIpAddressType) cannot be added and removed at once", t)
		}
	}
	return nil
}

// setAddressTypes changes the IP address types that the service supports, and
// holds its load balancers to them: for ipv6 each must be dualstack. A type that
// endpoints have is not taken from them. Writing the load balancers makes it
// conflict with changing their type.
func setAddressTypes(tx *store.Tx, s *vpc.EndpointService, add, remove []string) error {
	had4, had6 := !s.NoIPv4, s.IPv6
	has := func(t string, had bool) bool { return (had || slices.Contains(add, t)) && !slices.Contains(remove, t) }
	s.NoIPv4, s.IPv6 = !has(vpc.IPv4Only, had4), has(vpc.IPv6Only, had6)
	if len(s.AddressTypes()) == 0 {
		return badEndpoint("The IP address type %s (RemoveSupportedIpAddressType) is the service's last and cannot be removed", remove[len(remove)-1])
	}
	if had4 && s.NoIPv4 && connectedBy(tx, s, (*vpc.Endpoint).HasIPv4) || had6 && !s.IPv6 && connectedBy(tx, s, (*vpc.Endpoint).HasIPv6) {
		return existingConnections(s)
	}
	if !s.IPv6 {
		return nil
	}
	for _, arn := range s.Balancers {
		lb, ok := vpc.Get[vpc.LoadBalancer](tx, arn)
		if !ok {
			return balancerNotFound(arn)
		}
		if !lb.DualStack {
			return badEndpoint("The IP address type ipv6 (SupportedIpAddressType) requires dualstack load balancers: %s has the IP address type ipv4", arn)
		}
		tx.Touch(lb)
	}
	return nil
}

func balancerNotFound(arn vpc.ARN) error {
	return vpc.Errorf(vpc.NotFound, string(vpc.KindBalancer), string(arn), "The network load balancer ARN '%s' does not exist", arn)
}

// captureZones records the zones of the service's load balancers as they are now.
func captureZones(tx *store.Tx, s *vpc.EndpointService) {
	s.Zones = []string{}
	for _, arn := range s.Balancers {
		b, ok := vpc.Get[vpc.LoadBalancer](tx, arn)
		if !ok {
			continue
		}
		for _, n := range b.Nodes {
			s.Zones = append(s.Zones, n.Zone)
		}
	}
	slices.Sort(s.Zones)
	s.Zones = slices.Compact(s.Zones)
}

// connected reports whether an endpoint waits for or uses the service.
func connected(v vpc.View, s *vpc.EndpointService) bool {
	return connectedBy(v, s, func(*vpc.Endpoint) bool { return true })
}

// connectedBy is connected for the endpoints that match.
func connectedBy(v vpc.View, s *vpc.EndpointService, match func(*vpc.Endpoint) bool) bool {
	for e := range vpc.By[vpc.Endpoint](v, vpc.IndexService, s.ID) {
		if !match(e) {
			continue
		}
		if e.State == vpc.EndpointPendingAcceptance || e.Passes() {
			return true
		}
	}
	return false
}

func existingConnections(s *vpc.EndpointService) error {
	return vpc.Errorf(vpc.ExistingConnections, string(vpc.KindService), string(s.ID), "Service has existing active VPC Endpoint connections!")
}

// renameService changes or removes the private DNS name. A name that
// endpoints are connected under is not taken from them. Endpoints that are not
// connected lose their claim to it: a name they never agreed to must not
// come up in their VPC when they are accepted again.
func (c *Control) renameService(tx *store.Tx, s *vpc.EndpointService, name string) error {
	if s.PrivateDNSName != "" && connected(tx, s) {
		return existingConnections(s)
	}
	for e := range vpc.By[vpc.Endpoint](tx, vpc.IndexService, s.ID) {
		if e.PrivateDNS {
			e = vpc.Edit(e)
			e.PrivateDNS = false
			tx.Put(e)
		}
	}
	if name == "" {
		s.PrivateDNSName, s.Verification = "", nil
		return nil
	}
	return c.nameService(tx, s, name)
}

// OwnedService is Owned with AWS's text for an endpoint service.
func OwnedService(v vpc.View, caller Caller, id vpc.ServiceID) (*vpc.EndpointService, error) {
	s, err := Owned[vpc.EndpointService](v, caller, id)
	if err != nil {
		return nil, serviceNotFound(vpc.KindService, id)
	}
	return s, nil
}

// SetPayer makes the service's owner pay for its consumers' endpoints, which
// cannot be taken back. It is kept and shown: nobody is charged here.
func (c *Control) SetPayer(ctx context.Context, caller Caller, id vpc.ServiceID, payer string) error {
	if payer != vpc.PayerServiceOwner {
		return vpc.Errorf(vpc.Invalid, "PayerResponsibility", payer, "Value (%.64s) for parameter payerResponsibility is invalid. Use %s.", payer, vpc.PayerServiceOwner)
	}
	return c.update(ctx, caller, func(tx *store.Tx) error {
		s, err := OwnedService(tx, caller, id)
		if err != nil || s.Payer == payer {
			return err
		}
		s = vpc.Edit(s)
		s.Payer = payer
		tx.Put(s)
		return nil
	})
}

func serviceNotFound(kind vpc.Kind, id vpc.ServiceID) error {
	return vpc.Errorf(vpc.NotFound, string(kind), string(id), "The VpcEndpointService Id '%s' does not exist", id)
}
