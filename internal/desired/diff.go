// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strconv"

	"postern.dev/postern/internal/vpc"
)

// Delta turns the Host at revision Base into the one at Revision. Tables and
// entries go by their JSON names.
type Delta struct {
	Base     vpc.Revision                          `json:"base"`
	Revision vpc.Revision                          `json:"revision"`
	Set      map[string]map[string]json.RawMessage `json:"set,omitempty"`
	Delete   map[string][]string                   `json:"delete,omitempty"`
}

// Empty reports whether only the revision moves.
func (d Delta) Empty() bool { return len(d.Set) == 0 && len(d.Delete) == 0 }

// tables yields the table fields of Host by their JSON name.
func tables(f func(name string, field int)) {
	t := reflect.TypeFor[Host]()
	for i := range t.NumField() {
		if t.Field(i).Type.Kind() == reflect.Map {
			f(t.Field(i).Tag.Get("json"), i)
		}
	}
}

// Diff computes the delta from a to b.
func Diff(a, b Host) (Delta, error) {
	d := Delta{Base: a.Revision, Revision: b.Revision}
	var failed error
	tables(func(name string, field int) {
		old, now := reflect.ValueOf(a).Field(field), reflect.ValueOf(b).Field(field)
		for it := now.MapRange(); it.Next(); {
			was := old.MapIndex(it.Key())
			if was.IsValid() && reflect.DeepEqual(was.Interface(), it.Value().Interface()) {
				continue
			}
			raw, err := json.Marshal(it.Value().Interface())
			if err != nil {
				failed = fmt.Errorf("encode %s %v: %w", name, it.Key(), err)
				return
			}
			if d.Set == nil {
				d.Set = map[string]map[string]json.RawMessage{}
			}
			if d.Set[name] == nil {
				d.Set[name] = map[string]json.RawMessage{}
			}
			d.Set[name][keyText(it.Key())] = raw
		}
		for it := old.MapRange(); it.Next(); {
			if !now.MapIndex(it.Key()).IsValid() {
				if d.Delete == nil {
					d.Delete = map[string][]string{}
				}
				d.Delete[name] = append(d.Delete[name], keyText(it.Key()))
			}
		}
	})
	return d, failed
}

func keyText(k reflect.Value) string {
	if k.Kind() == reflect.String {
		return k.String()
	}
	return strconv.FormatUint(k.Uint(), 10)
}

// Apply gives the Host a delta leads to. h is not changed. A delta whose base
// is another revision is refused: ask for the whole.
func Apply(h Host, d Delta) (Host, error) {
	if h.Revision != d.Base {
		return h, fmt.Errorf("a change from revision %d does not fit revision %d", d.Base, h.Revision)
	}
	out := h
	out.Revision = d.Revision
	v := reflect.ValueOf(&out).Elem()
	var failed error
	tables(func(name string, field int) {
		set, del := d.Set[name], d.Delete[name]
		if len(set) == 0 && len(del) == 0 {
			return
		}
		f := v.Field(field)
		fresh := reflect.MakeMapWithSize(f.Type(), f.Len())
		for it := f.MapRange(); it.Next(); {
			fresh.SetMapIndex(it.Key(), it.Value())
		}
		for _, k := range del {
			key, err := keyValue(f.Type().Key(), k)
			if err != nil {
				failed = err
				return
			}
			fresh.SetMapIndex(key, reflect.Value{})
		}
		for k, raw := range set {
			key, err := keyValue(f.Type().Key(), k)
			if err != nil {
				failed = err
				return
			}
			e := reflect.New(f.Type().Elem())
			if err := json.Unmarshal(raw, e.Interface()); err != nil {
				failed = fmt.Errorf("decode %s %s: %w", name, k, err)
				return
			}
			switch e := e.Interface().(type) {
			case *VPC:
				e.Records = fit(e.Records)
			case *Zone:
				e.Records = fit(e.Records)
			}
			fresh.SetMapIndex(key, e.Elem())
		}
		f.Set(fresh)
	})
	if failed != nil {
		return h, failed
	}
	return out, nil
}

func keyValue(t reflect.Type, s string) (reflect.Value, error) {
	v := reflect.New(t).Elem()
	if t.Kind() == reflect.String {
		v.SetString(s)
		return v, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return v, fmt.Errorf("table key %q is no number", s)
	}
	v.SetUint(n)
	return v, nil
}

// Clone copies a Host's tables; entries are shared and never changed.
func (h Host) Clone() Host {
	h.VPCs = maps.Clone(h.VPCs)
	h.Subnets = maps.Clone(h.Subnets)
	h.RouteTables = maps.Clone(h.RouteTables)
	h.ACLs = maps.Clone(h.ACLs)
	h.Interfaces = maps.Clone(h.Interfaces)
	h.Hosts = maps.Clone(h.Hosts)
	h.RuleSets = maps.Clone(h.RuleSets)
	h.Balancers = maps.Clone(h.Balancers)
	h.Endpoints = maps.Clone(h.Endpoints)
	h.Services = maps.Clone(h.Services)
	h.Workloads = maps.Clone(h.Workloads)
	h.Probes = maps.Clone(h.Probes)
	h.Keys = maps.Clone(h.Keys)
	h.Users = maps.Clone(h.Users)
	h.Zones = maps.Clone(h.Zones)
	h.Uplink = maps.Clone(h.Uplink)
	return h
}

// SameTables reports whether b's tables are the very tables of h, as they are
// after a Delta that only moved the revision. It compares maps by identity,
// so false says nothing.
func (h Host) SameTables(b Host) bool {
	same := true
	tables(func(_ string, field int) {
		same = same && reflect.ValueOf(h).Field(field).Pointer() == reflect.ValueOf(b).Field(field).Pointer()
	})
	return same
}
