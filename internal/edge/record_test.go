// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"testing"

	"postern.dev/postern/internal/edge/tally"
)

// Only what the policies allowed and the service then refused is the service's
// denial: the edge answers requests that are not valid with the same statuses.
func TestWhoDenied(t *testing.T) {
	for _, status := range []int{400, 401, 403} {
		for decision, want := range map[string]string{DecisionAllow: tally.ByService, DecisionDeny: tally.ByEndpoint, DecisionInvalid: "", "": ""} {
			r := Record{Status: status, ServiceError: "AccessDenied: no", Judgement: Judgement{Decision: decision}}
			if got := r.DeniedBy(); got != want {
				t.Errorf("%d, decision %q: denied by %q, want %q", status, decision, got, want)
			}
			if got := r.Tally().Denied.Policy; got != want {
				t.Errorf("%d, decision %q: counted as denied by %q, want %q", status, decision, got, want)
			}
		}
	}
	allowed := Judgement{Decision: DecisionAllow}
	for _, r := range []Record{{Status: 200, Judgement: allowed}, {Status: 404, Judgement: allowed}, {Status: 400, ServiceError: "InvalidArgument: no", Judgement: allowed}} {
		if got := r.DeniedBy(); got != "" {
			t.Errorf("%d %s: denied by %q", r.Status, r.ServiceError, got)
		}
	}
	identity := Record{Status: 403, Judgement: Judgement{Decision: DecisionDeny, Policy: tally.ByIdentity}}
	if got := identity.DeniedBy(); got != tally.ByIdentity {
		t.Errorf("denied by %q, want %q", got, tally.ByIdentity)
	}
}
