// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// catalogueUse is one way to come to use a catalogue service.
type catalogueUse struct {
	what    string
	make    func(c *control.Control, s *vpc.CatalogueService) error
	refusal string // part of what it is told when the service is gone
}

func (f *endpoints) catalogueUses() []catalogueUse {
	me := controltest.Consumer
	return []catalogueUse{
		{"endpoint", func(c *control.Control, s *vpc.CatalogueService) error {
			_, err := c.CreateEndpoint(f.ctx, me, control.CreateEndpointInput{VPC: f.vpc, ServiceName: s.ServiceName})
			return err
		}, "does not exist"},
		{"endpoint", func(c *control.Control, s *vpc.CatalogueService) error {
			_, err := c.CreateEndpoint(f.ctx, me, control.CreateEndpointInput{VPC: f.vpc, Type: vpc.InterfaceEndpoint, ServiceName: s.ServiceName, Subnets: []vpc.SubnetID{subnetA}})
			return err
		}, "does not exist"},
		{"security group", func(c *control.Control, s *vpc.CatalogueService) error {
			_, err := c.AuthorizeRules(f.ctx, me, f.group, true, []control.RuleSpec{{Protocol: vpc.TCP, From: int(s.Prefixes[0].Addr().As4()[3]), To: 443, PrefixList: s.PrefixList}}, nil)
			return err
		}, "does not exist"},
	}
}

// add adds a service that has not been there.
func (f *endpoints) add(c *control.Control, n int) *vpc.CatalogueService {
	f.t.Helper()
	made, err := c.AddServices(f.ctx, []catalogue.Entry{{
		Name: fmt.Sprintf("added%d", n), Protocol: "s3", Types: []string{"Gateway", "Interface"}, Backend: "http://192.0.2.1",
		Prefixes: []string{fmt.Sprintf("203.0.113.%d/32", n)}, Addresses: []string{fmt.Sprintf("203.0.113.%d", n)},
		PublicNames: []string{fmt.Sprintf("added%d.example.com", n)},
	}}, false)
	if err != nil {
		f.t.Fatal(err)
	}
	return made[0]
}

// A service is removed on one server at the moment in which something comes to use
// it on another: one of the two is refused, and tells why.
func TestAServiceIsNotRemovedUnderWhatComesToUseIt(t *testing.T) {
	t.Parallel()
	one, two, clock := controltest.NewCluster(t)
	f := endpointsOn(t, one, clock)
	n := 0
	for _, use := range f.catalogueUses() {
		for range 15 {
			n++
			s := f.add(one, n)
			if _, err := two.Store.WaitFor(f.ctx, one.View().Revision()); err != nil {
				t.Fatal(err)
			}
			removed := make(chan error, 1)
			go func() { removed <- two.RemoveService(f.ctx, s.Name) }()
			used, refused := use.make(one, s), <-removed
			for _, c := range []*control.Control{one, two} {
				if _, err := c.Store.WaitFor(f.ctx, max(one.View().Revision(), two.View().Revision())); err != nil {
					t.Fatal(err)
				}
			}
			switch _, there := vpc.Get[vpc.CatalogueService](one.View(), s.Name); {
			case used == nil && refused == nil:
				t.Errorf("%s is used by a new %s and removed", s.Name, use.what)
			case used != nil && refused != nil:
				t.Errorf("%s: both were refused: %v, %v", s.Name, used, refused)
			case used != nil && (control.KindOf(used) != vpc.NotFound || !strings.Contains(used.Error(), use.refusal) || there):
				t.Errorf("%s was removed (there: %v), and the new %s is told: %v", s.Name, there, use.what, used)
			case refused != nil && (control.KindOf(refused) != vpc.InUse || !strings.Contains(refused.Error(), "is used by "+use.what) || !there):
				t.Errorf("%s is used (there: %v), and the removal is told: %v", s.Name, there, refused)
			}
		}
	}
}

// The same with the order of things given: what comes to use the service does so
// after a transaction of the other server has looked for such and before it commits.
func TestWhatUsesAServiceIsSeenByWhatTakesItAway(t *testing.T) {
	t.Parallel()
	one, two, clock := controltest.NewCluster(t)
	f := endpointsOn(t, one, clock)
	n := 0
	for _, use := range f.catalogueUses() {
		for what, change := range map[string]func(*store.Tx, *vpc.CatalogueService){
			"removed": func(tx *store.Tx, s *vpc.CatalogueService) { tx.Delete(s) },
			"changed": func(tx *store.Tx, s *vpc.CatalogueService) {
				other := vpc.Edit(s)
				other.PublicNames = []string{"other.example.com"}
				tx.Put(other)
				tx.Alone(s)
			},
		} {
			n++
			s := f.add(one, n)
			if _, err := two.Store.WaitFor(f.ctx, one.View().Revision()); err != nil {
				t.Fatal(err)
			}
			runs := 0
			_, err := two.Store.Update(f.ctx, func(tx *store.Tx) error {
				if runs++; runs > 1 {
					return nil // it has met the other
				}
				s, _ := vpc.Get[vpc.CatalogueService](tx, s.Name)
				if err := use.make(one, s); err != nil {
					t.Error(err)
				}
				change(tx, s)
				return nil
			})
			if err != nil || runs != 2 {
				t.Errorf("%s was %s under a new %s: %v after %d runs", s.Name, what, use.what, err, runs)
			}
		}
	}
}

// And the other way about: it goes while a call that is to use it is on its way.
func TestAServiceThatGoesMeanwhileIsNotFound(t *testing.T) {
	t.Parallel()
	one, two, clock := controltest.NewCluster(t)
	f := endpointsOn(t, one, clock)
	s := f.add(one, 1)
	if _, err := two.Store.WaitFor(f.ctx, one.View().Revision()); err != nil {
		t.Fatal(err)
	}
	cfg, asked := two.Config, 0
	cfg.Now = func() (now time.Time) {
		if asked++; asked == 1 { // within the transaction that has found the service
			if err := one.RemoveService(f.ctx, s.Name); err != nil {
				t.Error(err)
			}
		}
		return clock.Now()
	}
	_, err := control.New(cfg).CreateEndpoint(f.ctx, controltest.Consumer, control.CreateEndpointInput{VPC: f.vpc, ServiceName: s.ServiceName})
	var e *vpc.Error
	if !errors.As(err, &e) || e.Kind != vpc.NotFound || e.Resource != "service-name" {
		t.Errorf("%v", err)
	}
	for e := range vpc.All[vpc.Endpoint](two.View()) {
		t.Errorf("there is %s", e.ID)
	}
}
