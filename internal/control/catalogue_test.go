// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

func sqs(backend string) catalogue.Entry {
	return catalogue.Entry{Name: "sqs", Types: []string{"Gateway", "Interface"}, Prefixes: []string{"203.0.113.0/24"}, Addresses: []string{"203.0.113.5"}, Backend: backend}
}

// configured is what a configuration with S3 alone makes.
func configured(t *testing.T) []vpc.CatalogueService {
	t.Helper()
	e := catalogue.Default()
	e[0].Prefixes, e[0].Addresses, e[0].Prefixes6 = e[0].Prefixes[:1], e[0].Addresses[:1], nil
	made, err := catalogue.Check(e, catalogue.Place{Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return []vpc.CatalogueService{*made[0]}
}

func seedAgain(t *testing.T, c *control.Control, services ...vpc.CatalogueService) error {
	t.Helper()
	r := *c.Region()
	return c.Seed(t.Context(), r, services, nil, vpc.AccessKey{ID: "AKIAOPERATOR00000009", Secret: "the-secret-of-the-operator"})
}

func TestAddedServicesStayAndTheConfigurationsGoWithIt(t *testing.T) {
	c, _ := controltest.New(t)
	if err := seedAgain(t, c, configured(t)...); err != nil {
		t.Fatal(err)
	}
	made, err := c.AddServices(t.Context(), []catalogue.Entry{sqs("http://192.0.2.1"), {Name: "ec2", Backend: "self"}}, false)
	if err != nil || len(made) != 2 {
		t.Fatal(err)
	}
	caller := controltest.Consumer
	if o, err := control.OfferNamed(c.View(), caller, "com.amazonaws.us-east-1.sqs"); err != nil || !o.PolicySupported() {
		t.Errorf("%+v, %v", o, err)
	}
	// A start with another configuration, as after a restart.
	if err := seedAgain(t, c); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"sqs": true, "ec2": true, "s3": false} {
		if _, ok := vpc.Get[vpc.CatalogueService](c.View(), name); ok != want {
			t.Errorf("%s is there: %v", name, ok)
		}
	}
	// A configuration that does not fit is refused, and one with the name takes it over.
	clash := configured(t)[0]
	clash.Prefixes = made[0].Prefixes
	if err := seedAgain(t, c, clash); err == nil || !strings.Contains(err.Error(), "added with `postern service add`") {
		t.Errorf("%v", err)
	}
	own := *made[0]
	own.Added = false
	if err := seedAgain(t, c, own); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveService(t.Context(), "sqs"); control.KindOf(err) != vpc.NotPermitted {
		t.Errorf("the configuration's entry was removed: %v", err)
	}
	if err := c.RemoveService(t.Context(), "ec2"); err != nil {
		t.Error(err)
	}
	if _, err := control.OfferNamed(c.View(), caller, "com.amazonaws.us-east-1.ec2"); err == nil {
		t.Error("a removed service is offered")
	}
}

func TestEntriesAreAddedAllOrNone(t *testing.T) {
	c, _ := controltest.New(t)
	if err := seedAgain(t, c, configured(t)...); err != nil {
		t.Fatal(err)
	}
	bad := sqs("http://192.0.2.1")
	bad.Prefixes, bad.Addresses = []string{"198.51.100.128/25", "192.0.2.0/25"}, []string{"198.51.100.130"}
	_, err := c.AddServices(t.Context(), []catalogue.Entry{{Name: "ec2", Backend: "self"}, bad}, false)
	var problems catalogue.Problems
	if !errors.As(err, &problems) || len(problems) != 2 || problems[0].Entry != 1 ||
		!strings.Contains(err.Error(), "prefixes[0]: 198.51.100.128/25 overlaps 198.51.100.0/24 of service s3") || !strings.Contains(err.Error(), "the publicPool") {
		t.Errorf("%v", err)
	}
	if _, ok := vpc.Get[vpc.CatalogueService](c.View(), "ec2"); ok {
		t.Error("the good entry beside a bad one was added")
	}
	if _, err := c.AddServices(t.Context(), []catalogue.Entry{{Name: "s3", Backend: "http://192.0.2.1"}}, true); control.KindOf(err) != vpc.NotPermitted {
		t.Errorf("the configuration's entry was replaced: %v", err)
	}
	if _, err := c.AddServices(t.Context(), nil, false); control.KindOf(err) != vpc.Missing {
		t.Errorf("nothing was added: %v", err)
	}
	// A block that a host is in.
	if _, err := c.Store.Update(t.Context(), func(tx *store.Tx) error {
		tx.Put(&vpc.Host{ID: "h9", Underlay: netip.MustParseAddr("203.0.113.77")})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddServices(t.Context(), []catalogue.Entry{sqs("http://192.0.2.1")}, false); err == nil || !strings.Contains(err.Error(), "the underlay of host h9") {
		t.Errorf("%v", err)
	}
}

func TestAServiceInUseStaysAsItIsUsed(t *testing.T) {
	c, _ := controltest.New(t)
	network, _ := controltest.Network(t, c)
	if _, err := c.AddServices(t.Context(), []catalogue.Entry{sqs("http://192.0.2.1")}, false); err != nil {
		t.Fatal(err)
	}
	e, err := c.CreateEndpoint(t.Context(), controltest.Consumer, control.CreateEndpointInput{
		Type: vpc.GatewayEndpoint, VPC: network, ServiceName: "com.amazonaws.us-east-1.sqs", Policy: `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(change func(*catalogue.Entry)) error {
		in := sqs("http://192.0.2.2")
		change(&in)
		_, err := c.AddServices(t.Context(), []catalogue.Entry{in}, true)
		return err
	}
	if err := replaced(func(*catalogue.Entry) {}); err != nil {
		t.Errorf("another backend: %v", err)
	}
	if err := replaced(func(e *catalogue.Entry) { e.Types = []string{"Interface"} }); control.KindOf(err) != vpc.InUse {
		t.Errorf("the type went: %v", err)
	}
	if err := replaced(func(e *catalogue.Entry) { e.PolicySupported = new(bool) }); control.KindOf(err) != vpc.InUse {
		t.Errorf("policies went: %v", err)
	}
	if err := c.RemoveService(t.Context(), "sqs"); control.KindOf(err) != vpc.InUse || !strings.Contains(fmt.Sprint(err), string(e.ID)) {
		t.Errorf("removed in use: %v", err)
	}
}

func TestAServiceWithoutPolicies(t *testing.T) {
	c, _ := controltest.New(t)
	network, _ := controltest.Network(t, c)
	in := sqs("http://192.0.2.1")
	in.PolicySupported = new(bool)
	if _, err := c.AddServices(t.Context(), []catalogue.Entry{in}, false); err != nil {
		t.Fatal(err)
	}
	endpoint := control.CreateEndpointInput{
		Type: vpc.GatewayEndpoint, VPC: network, ServiceName: "com.amazonaws.us-east-1.sqs", Policy: `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`}
	if _, err := c.CreateEndpoint(t.Context(), controltest.Consumer, endpoint); control.KindOf(err) != vpc.Invalid || !strings.Contains(err.Error(), "does not support endpoint policies") {
		t.Errorf("a policy: %v", err)
	}
	endpoint.Policy = ""
	if _, err := c.CreateEndpoint(t.Context(), controltest.Consumer, endpoint); err != nil {
		t.Errorf("no policy: %v", err)
	}
}

func TestHealthOfBackendsIsWhatLiveHostsSay(t *testing.T) {
	h := control.NewHosts()
	h.Report(control.HostStatus{Host: "h1", Backends: map[string]map[string]bool{"sqs": {"http://a": true, "http://b": false}}})
	h.Report(control.HostStatus{Host: "h2", Backends: map[string]map[string]bool{"sqs": {"http://a": true}}})
	h.Gone("h2")
	if got := fmt.Sprint(h.BackendHealth("sqs", "http://a"), h.BackendHealth("sqs", "http://b"), h.BackendHealth("sqs", "http://c")); got != "map[h1:healthy] map[h1:unhealthy] map[]" {
		t.Error(got)
	}
}
