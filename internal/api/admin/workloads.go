// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

// Times of /v1/run: how long an instance may take to run, and how long its
// removal may take when it did not.
const (
	runTime     = 30 * time.Second
	cleanupTime = 5 * time.Second
)

// Values RunInstances asks for and nothing depends on.
const (
	runImage = "ami-postern"
	runType  = "t3.micro"
)

// operator is who may do what no tenant can: attach what is on a host.
var operator = control.Caller{Name: "operator", Operator: true}

func (h *handler) getWorkload(r *http.Request) (any, error) {
	return workload(h.c.View(), r.PathValue("id"))
}

// workload finds an instance or an interface of any account.
func workload(v vpc.View, id string) (Workload, error) {
	eni := vpc.InterfaceID(id)
	var inst *vpc.Instance
	switch {
	case vpc.ValidID(vpc.PrefixInstance, id):
		i, ok := vpc.Get[vpc.Instance](v, id)
		if !ok {
			return Workload{}, vpc.Errorf(vpc.NotFound, string(vpc.KindInstance), id, "instance %s does not exist", id)
		}
		inst, eni = i, i.Primary
	case !vpc.ValidID(vpc.PrefixInterface, id):
		return Workload{}, vpc.Errorf(vpc.Malformed, string(vpc.KindInstance), "", "%.64q is neither an instance id (i-...) nor an interface id (eni-...)", id)
	}
	n, ok := vpc.Get[vpc.NetworkInterface](v, eni)
	if !ok && inst == nil {
		return Workload{}, vpc.Errorf(vpc.NotFound, string(vpc.KindInterface), id, "interface %s does not exist", id)
	}
	var w Workload
	if ok {
		w = Workload{Name: n.Tags["Name"], Owner: n.Owner, Interface: n.ID, Addr: n.Addr, VPC: n.VPC, Subnet: n.Subnet, Zone: n.Zone}
		if a := n.Attachment; a != nil {
			w.Host, w.External = a.Host, a.External
			if inst == nil && a.Instance != "" {
				inst, _ = vpc.Get[vpc.Instance](v, a.Instance)
			}
		}
	}
	if i := inst; i != nil {
		w.Instance, w.State, w.Host = i.ID, i.State, i.Host
		if i.Tags["Name"] != "" {
			w.Name = i.Tags["Name"]
		}
		if !ok { // ended: what is left is what the instance remembers
			w.Owner, w.Interface, w.Addr, w.VPC, w.Subnet, w.Zone = i.Owner, i.Primary, i.Addr, i.VPC, i.Subnet, i.Zone
		}
	}
	if a, ok := vpc.Get[vpc.Account](v, w.Owner); ok {
		w.Account = a.Name
	}
	if p, ok := vpc.Get[vpc.VPC](v, w.VPC); ok {
		w.Servers, w.Search = vpc.Resolution(v, p)
	}
	return w, nil
}

// run starts one instance and answers when it runs. An instance that does not
// come to run, or whose caller has gone, is terminated again: nobody would
// know of it.
func (h *handler) run(r *http.Request) (any, error) {
	in, err := read[NewRun](r)
	if err != nil {
		return nil, err
	}
	if h.c.LocalHost == "" {
		return nil, vpc.Errorf(vpc.Unsupported, "datapath", "", "this server runs without a datapath, so a command has nothing to run in on its machine; start it with --datapath ebpf, or enter an instance on another host")
	}
	v := h.c.View()
	s, ok := vpc.Get[vpc.Subnet](v, in.Subnet)
	if !ok {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindSubnet), string(in.Subnet), "subnet %.64q does not exist", in.Subnet)
	}
	if in.Account != "" {
		a, err := account(v, in.Account)
		if err != nil {
			return nil, err
		}
		if a.ID != s.Owner {
			return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindSubnet), string(s.ID), "subnet %s does not belong to account %s", s.ID, a.Name)
		}
	}
	caller := callerFor(v, s.Owner)
	// Whoever runs something in it is on this machine.
	ask := control.RunInstancesInput{Min: 1, Max: 1, ImageID: runImage, InstanceType: runType, Subnet: s.ID, Groups: in.Groups, Host: h.c.LocalHost}
	if in.Name != "" {
		ask.Tags = vpc.Tags{"Name": in.Name}
		if err := control.CheckTags(ask.Tags); err != nil {
			return nil, err
		}
	}
	// Not the caller's context: if the caller goes while the instance is being
	// written, its id must still be learnt, to end it.
	_, ids, err := h.c.RunInstances(context.WithoutCancel(r.Context()), caller, ask)
	if err != nil {
		return nil, err
	}
	if len(ids) != 1 {
		return nil, fmt.Errorf("asked for one instance, got %d", len(ids))
	}
	if err := h.awaitRunning(r.Context(), ids[0]); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), cleanupTime)
		defer cancel()
		if _, terr := h.c.TerminateInstances(ctx, caller, ids); terr != nil {
			h.c.Log.Error("instance that did not start is left behind", "instance", ids[0], "error", terr)
		}
		return nil, err
	}
	return workload(h.c.View(), string(ids[0]))
}

func (h *handler) awaitRunning(ctx context.Context, id vpc.InstanceID) error {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	for {
		snap, changed := h.c.Store.Changed()
		i, ok := vpc.Get[vpc.Instance](snap, id)
		switch {
		case ok && i.State == vpc.InstanceRunning:
			return nil
		case !ok || i.State != vpc.InstancePending:
			return vpc.Errorf(vpc.WrongState, string(vpc.KindInstance), string(id), "instance %s was terminated before it ran", id)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return vpc.Errorf(vpc.Unavailable, string(vpc.KindInstance), string(id), "instance %s does not run yet: %s", id, h.whyPending(i))
		}
	}
}

// whyPending is what the instance's host says of it.
func (h *handler) whyPending(i *vpc.Instance) string {
	hosts, _ := h.c.Hosts.Status()
	s := hosts[i.Host]
	if !s.Live {
		return fmt.Sprintf("host %s is not connected", i.Host)
	}
	if e := s.Errors[string(i.Primary)]; e != "" {
		return fmt.Sprintf("host %s: %s", i.Host, e)
	}
	return fmt.Sprintf("host %s has not applied it in time; `postern status` shows how far it is", i.Host)
}

func (h *handler) terminate(r *http.Request) (any, error) {
	in, err := read[Target](r)
	if err != nil {
		return nil, err
	}
	v := h.c.View()
	i, ok := vpc.Get[vpc.Instance](v, in.Instance)
	if !ok {
		return nil, vpc.Errorf(vpc.NotFound, string(vpc.KindInstance), string(in.Instance), "instance %.64q does not exist", in.Instance)
	}
	_, err = h.c.TerminateInstances(r.Context(), callerFor(v, i.Owner), []vpc.InstanceID{i.ID})
	return nil, err
}

func (h *handler) attach(r *http.Request) (any, error) {
	in, err := read[Attachment](r)
	if err != nil {
		return nil, err
	}
	if in.Host == "" {
		in.Host = h.c.LocalHost
	}
	if in.Host == "" {
		return nil, vpc.Errorf(vpc.Unsupported, "datapath", "", "this server runs without a datapath, so nothing of its machine can be attached; start it with --datapath ebpf, or name another host")
	}
	return nil, h.c.AttachExternal(r.Context(), operator, in.Interface, in.Workload, in.Host)
}

func (h *handler) detach(r *http.Request) (any, error) {
	in, err := read[Target](r)
	if err != nil {
		return nil, err
	}
	return nil, h.c.DetachExternal(r.Context(), operator, in.Interface)
}
